"""Compute where the model is unsure: forks at uncertain tokens, candidates for uncertain steps."""

from __future__ import annotations

import math
from collections import Counter

from foretell.sim.programs.hidden import chance
from foretell.sim.programs.llm import LLM, MAIN, Call, Judge, PoolName, Program, Query, Steps, every
from foretell.sim.programs.sampling import ORACLE
from foretell.sim.programs.staged import answer_of, stage
from foretell.sim.programs.tools import whole, within
from foretell.sim.programs.traces import split, steps_of


def eager(*, n: int = 8, peak_tokens: float = 1000.0, extra: int = 0, solver: PoolName = MAIN) -> Program:
    """EAGer: a trace forks where the next token's entropy peaks; branches share the KV of what is before.

    Scalena et al. 2025 (arXiv 2510.11170). Harder queries peak more often, so fork more; saved budget goes to
    queries whose branches disagree. Assumed: peaks come at random, on average every
    peak_tokens/(1 − p) tokens of the first trace, p being the query's chance; a branch before the trace has
    settled is a new sample from there, later it says the same; the answer is the vote's. The paper's budget
    is shared by a batch of queries, here every query has its own.

    Args:
        n: branches at most, the first trace included.
        peak_tokens: between peaks of a hopeless query.
        extra: whole samples more where the branches disagree.
        solver: the pool.
    """
    whole("n", n)
    within("peak_tokens", peak_tokens, 1)
    whole("extra", extra, 0)

    def program(query: Query, llm: LLM) -> Steps:
        trace, unsure = llm.foresee(query, solver), 1 - chance(query, llm, solver)
        said: list[tuple[Call, int | None]] = []
        text: Call | None = None
        at = 0
        while len(said) < n - 1 and unsure > 0:
            gap = max(round(-math.log(query.uniform()) * peak_tokens / unsure), 1)
            if at + gap >= trace.tokens:
                break
            text = llm.write(query, gap, pool=solver, after=text)
            yield text
            at += gap
            other = trace if at >= trace.settled_at else llm.foresee(query, solver)
            branch = llm.write(query, max(other.tokens - at, 1), pool=solver, after=text)
            said.append((branch, other.answer))
        last = llm.write(query, trace.tokens - at, pool=solver, after=text)
        said.append((last, trace.answer))
        yield every([call for call, _ in said])
        if extra and len({answer for _, answer in said}) > 1:
            more = [llm.sample(query, pool=solver) for _ in range(extra)]
            yield every(more)
            said += [(call, call.answer) for call in more]
        votes = Counter(answer for call, answer in said if call.done and answer is not None)
        most = [answer for answer, held in votes.items() if held == max(votes.values())]
        return most[int(query.uniform() * len(most))] if most else None

    return program


def mur(
    *,
    triggered: float = 0.3,
    blame: float = 0.7,
    candidates: int = 4,
    verifier: Judge = ORACLE,
    solver: PoolName = MAIN,
) -> Program:
    """MUR: only steps more uncertain than the momentum of those before get candidates, and a judge.

    Yan et al. 2025 (arXiv 2507.14958); gamma of the paper sets the share that is `triggered`. Assumed: a
    trace fails at a step; the triggered steps hold `blame` of the log chance, evenly, the others the rest.

    Args:
        triggered: share of steps that get candidates; 1 scales every step.
        blame: share of the failures that happen at these, in [0, 1]; `triggered` if uncertainty says nothing.
        candidates: of a triggered step.
        verifier: who picks one.
        solver: the pool.
    """
    within("triggered", triggered, 0, 1)
    within("blame", blame, 0, 1)
    whole("candidates", candidates)

    def program(query: Query, llm: LLM) -> Steps:
        trace, p = llm.foresee(query, solver), chance(query, llm, solver)
        steps = steps_of(trace.tokens, llm.samples(solver).profile.step_tokens)
        flagged = [query.uniform() < triggered for _ in steps]
        m = sum(flagged)
        blamed = 1.0 if m == len(steps) else blame if m else 0.0
        text, right = None, True
        for depth, (tokens, unsure) in enumerate(zip(steps, flagged, strict=True), 1):
            text, fine = yield from stage(
                query,
                llm,
                survival=p ** (blamed / m if unsure else (1 - blamed) / (len(steps) - m)),
                tokens=tokens,
                candidates=candidates if unsure else 1,
                verifier=verifier,
                pool=solver,
                after=text,
                depth=depth,
            )
            right &= fine
            if not text.done:
                return None
        return answer_of(right)

    return program


def scale(
    *,
    subproblems: int = 5,
    hard: int = 2,
    noise: float = 0.5,
    quick_ratio: float = 0.3,
    haste: float = 1.2,
    candidates: int = 2,
    plan_tokens: int = 300,
    verifier: Judge = ORACLE,
    solver: PoolName = MAIN,
) -> Program:
    """SCALE: the problem is cut into sub-problems; the hard ones are thought about, the others done fast.

    Xiao et al. 2025 (arXiv 2512.00466): decompose, rate, then solve one after the other in the context so
    far, in System 1 or System 2. Assumed: sub-problems have equal shares of the trace's tokens, and
    exponential ones of its log chance; System 1 writes `quick_ratio` as much and fails `haste` times as often
    (in log chance); System 2 has candidates, and a verifier.

    Args:
        subproblems: of a query.
        hard: how many of them System 2 gets: those rated hardest.
        noise: of the rating, as standard deviation of the log share.
        quick_ratio, haste: tokens and failures of System 1 over those of a trace's part.
        candidates: of System 2.
        plan_tokens: to decompose and rate.
        verifier: who picks one.
        solver: the pool.
    """
    whole("subproblems", subproblems)
    whole("hard", hard, 0)
    within("noise", noise, 0)
    within("quick_ratio", quick_ratio, 0, 1)
    within("haste", haste, 0)
    whole("candidates", candidates)

    def program(query: Query, llm: LLM) -> Steps:
        trace, p = llm.foresee(query, solver), chance(query, llm, solver)
        draws = [-math.log(query.uniform()) for _ in range(subproblems)]
        rated = [math.log(draw) + noise * query.normal() for draw in draws]
        slow = set(sorted(range(subproblems), key=lambda i: -rated[i])[:hard])
        text: Call = llm.write(query, plan_tokens, pool=solver)
        yield text
        right = True
        for i, tokens in enumerate(split(trace.tokens, [1.0] * subproblems)):
            think, share = i in slow, draws[i] / sum(draws)
            text, fine = yield from stage(
                query,
                llm,
                survival=p ** (share if think else share * haste),
                tokens=tokens if think else tokens * quick_ratio,
                candidates=candidates if think else 1,
                verifier=verifier,
                pool=solver,
                after=text,
                depth=i + 1,
            )
            right &= fine
            if not text.done:
                return None
        return answer_of(right)

    return program
