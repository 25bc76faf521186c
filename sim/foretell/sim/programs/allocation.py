"""Budgets by difficulty, by sub-question and by time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from foretell.sim.programs.answers import majority
from foretell.sim.programs.hidden import WRONG, chance
from foretell.sim.programs.llm import LLM, MAIN, Call, Judge, PoolName, Program, Query, Steps, every
from foretell.sim.programs.sampling import ORACLE
from foretell.sim.programs.tools import joined, one_of, side_by_side, whole, within
from foretell.sim.programs.traces import split


def compute_optimal(
    *,
    easier: Sequence[float] = (0.2, 0.7),
    chains: Sequence[int] = (16, 8, 2),
    rounds: Sequence[int] = (0, 1, 1),
    probes: int = 0,
    noise: float = 0.0,
    select: str = "best",
    verifier: Judge = ORACLE,
    solver: PoolName = MAIN,
) -> Program:
    """Compute-optimal scaling: how many parallel chains of how many revisions, by estimated difficulty.

    Snell et al. 2024 (arXiv 2408.03314): questions are binned by difficulty, and each bin gets what is best
    for it. Difficulty is estimated by `probes`, first answers that also count as chains: the share of the
    most frequent one; without probes by a predictor of the chance, at no cost, whose error is normal on the
    probit scale. `foretell.models.accuracy.allocation` finds the bins' best options.

    Args:
        easier: ascending limits of the estimate, between bins from hard to easy.
        chains, rounds: of each bin, one more than the limits: parallel chains, and revisions of each.
        probes: answers that estimate the difficulty, each at most the fewest chains; 0: the predictor.
        noise: standard deviation of the predictor's error.
        select: "best" by the verifier, or "vote", among all answers of all chains.
        verifier: of "best".
        solver: the pool.
    """
    one_of("select", select, ("best", "vote"))
    whole("probes", probes, 0)
    within("noise", noise, 0)
    for limit, following in pairwise([0.0, *easier, 1.0]):
        within("easier", following, limit, 1)
    for n in chains:
        whole("chains", n, max(probes, 1))
    for n in rounds:
        whole("rounds", n, 0)
    if not len(chains) == len(rounds) == len(easier) + 1:
        raise ValueError(f"chains: {len(chains)} and rounds: {len(rounds)}, for {len(easier) + 1} bins")

    def program(query: Query, llm: LLM) -> Steps:
        first = [llm.sample(query, pool=solver) for _ in range(probes)]
        if first:
            yield every(first)
            said = [call.answer for call in first if call.answer is not None]
            estimate = max((said.count(answer) for answer in said), default=0) / probes
        else:
            estimate = _predicted(chance(query, llm, solver), noise * query.normal() if noise else 0.0)
        place = sum(estimate >= limit for limit in easier)
        heads = first + [llm.sample(query, pool=solver) for _ in range(chains[place] - probes)]
        calls = list(heads)

        def chain(call: Call) -> Steps:
            yield every([call])
            for number in range(rounds[place]):
                if not call.done:
                    break
                call = llm.revise(call, number)
                yield call
                calls.append(call)
            return None

        yield joined(llm, side_by_side(llm, [chain(head) for head in heads]))
        answered = [call for call in calls if call.answer is not None]
        if not answered or select == "vote":
            return majority(answered, query)
        verdicts = [llm.judge(call, verifier) for call in answered]
        yield every(verdicts)
        ranked = [(judged.score, -i) for i, judged in enumerate(verdicts) if judged.done]
        return answered[-max(ranked)[1]].answer if ranked else majority(answered, query)

    return program


def _predicted(p: float, error: float) -> float:
    from statistics import NormalDist

    if not error or not 0 < p < 1:
        return p
    normal = NormalDist()
    return normal.cdf(normal.inv_cdf(p) + error)


def plan_and_budget(
    *,
    budget_tokens: int = 8192,
    subquestions: int = 5,
    schedule: str = "linear",
    front: float = 0.0,
    spread: float = 0.3,
    plan_tokens: int = 200,
    planner: PoolName = MAIN,
    solver: PoolName = MAIN,
) -> Program:
    """Plan-and-Budget: sub-questions with token budgets of their own, larger for the early, uncertain ones.

    Lin et al. 2025 (arXiv 2505.16122): a decay schedule shares the budget out. Assumed: the whole trace is
    the sub-questions' texts; each settles on its result at a share of its length as the profile's traces do;
    a budget that ends before loses the answer, one that ends later saves what overthinking would have
    written.

    Args:
        budget_tokens: of all sub-questions.
        subquestions: of a query.
        schedule: of the budgets: "uniform", "linear", "polynomial", "exponential" or "cosine" decay.
        front: how much more the early sub-questions really need: tokens go as e^(−front·i/(n−1)).
        spread: standard deviation of the log tokens of a sub-question, within a query.
        plan_tokens: to decompose.
        planner, solver: pools.
    """
    whole("budget_tokens", budget_tokens)
    whole("subquestions", subquestions)
    one_of("schedule", schedule, tuple(_SCHEDULES))
    within("spread", spread, 0)
    x = [i / max(subquestions - 1, 1) for i in range(subquestions)]
    budgets = split(budget_tokens, [_SCHEDULES[schedule](at) for at in x])

    def program(query: Query, llm: LLM) -> Steps:
        trace, settling = llm.foresee(query, solver), llm.samples(solver).profile.settling
        plan = llm.write(query, plan_tokens, pool=planner)
        yield plan
        need = [math.exp(-front * at + (spread * query.normal() if spread else 0.0)) for at in x]
        text, lost = plan, False
        for tokens, budget in zip(split(trace.tokens, need), budgets, strict=True):
            lost |= budget < tokens * query.uniform() ** (1 / settling)
            text = llm.write(query, min(tokens, budget), pool=solver, after=text)
            yield text
            if not text.done:
                return None
        return WRONG if lost else trace.answer

    return program


_SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "uniform": lambda x: 1.0,
    "linear": lambda x: 1.5 - x,
    "polynomial": lambda x: (1.5 - x) ** 2,
    "exponential": lambda x: math.exp(-2 * x),
    "cosine": lambda x: 0.25 + (1 + math.cos(math.pi * x)) / 2,
}


def timed_vote(*, n: int = 8, within_s: float = 60.0, solver: PoolName = MAIN) -> Program:
    """Latency-aware scaling: n branches at once, and a vote of those that have ended within the time.

    Wang et al. 2025, Faster and Better LLMs via Latency-Aware Test-Time Scaling: for a time limit the best
    number of branches, and speculation within each, is where more votes weigh up slower steps; it is the
    engine that says how much slower. Speculation is the engine's (`num_speculative_tokens`).

    Args:
        n: branches.
        within_s: after which the rest are given up.
        solver: the pool.
    """
    whole("n", n)
    within("within_s", within_s, 0)

    def program(query: Query, llm: LLM) -> Steps:
        calls = [llm.sample(query, pool=solver) for _ in range(n)]
        yield every(calls) | llm.wait(within_s)
        llm.cancel(calls)
        return majority(calls, query)

    return program
