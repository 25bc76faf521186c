"""Independent samples of one model: one, the best, the most frequent or the first of several."""

from __future__ import annotations

import math

from foretell.models.verifiers import Verifier
from foretell.sim.programs.answers import majority, weighted_majority
from foretell.sim.programs.llm import LLM, MAIN, Call, Judge, PoolName, Program, Query, Steps, every, first
from foretell.sim.programs.tools import whole

ORACLE = Judge(None, Verifier(auc=1.0))


def single(*, solver: PoolName = MAIN, max_tokens: int | None = None) -> Program:
    """One sample a query, cut at `max_tokens`; a sample that is cut has no answer."""

    def program(query: Query, llm: LLM) -> Steps:
        call = yield llm.sample(query, pool=solver, max_tokens=max_tokens)
        return _answer(call)

    return program


def best_of_n(
    *,
    n: int = 8,
    verifier: Judge = ORACLE,
    solver: PoolName = MAIN,
    max_tokens: int | None = None,
) -> Program:
    """Answer with the sample that the verifier likes best, of n drawn at once.

    Without a verifier an oracle judges, at no cost: right if any sample is, which is pass@n. A verifier
    that gives verdicts (unit tests, say) leaves ties, and the first that it accepts is taken.
    Source: Cobbe et al., arXiv:2110.14168 (outcome reward); Brown et al., arXiv:2407.21787 (oracle).
    """
    whole("n", n)

    def program(query: Query, llm: LLM) -> Steps:
        calls = [llm.sample(query, pool=solver, max_tokens=max_tokens) for _ in range(n)]
        yield every(calls)
        answered = [call for call in calls if call.answer is not None]
        if not answered:
            return None
        verdicts = [llm.judge(call, verifier) for call in answered]
        yield every(verdicts)
        scored = [(v.score, -i) for i, v in enumerate(verdicts) if v.done]
        return answered[-max(scored)[1]].answer if scored else answered[0].answer

    return program


def self_consistency(*, n: int = 16, solver: PoolName = MAIN, max_tokens: int | None = None) -> Program:
    """The most frequent answer of n samples drawn at once; ties go to a draw.

    Source: Wang et al., arXiv:2203.11171.
    """
    whole("n", n)

    def program(query: Query, llm: LLM) -> Steps:
        calls = [llm.sample(query, pool=solver, max_tokens=max_tokens) for _ in range(n)]
        yield every(calls)
        return majority(calls, query)

    return program


def weighted_vote(
    *,
    n: int = 16,
    verifier: Judge | None = None,
    temperature: float = 1.0,
    solver: PoolName = MAIN,
    max_tokens: int | None = None,
) -> Program:
    """The answer with most weight of n samples, a sample's weight being exp(score/temperature).

    The score is the verifier's, or without one the sample's own confidence.
    Source: Li et al., arXiv:2206.02336 (verifier); Taubenfeld et al., arXiv:2502.06233 (confidence).
    """
    whole("n", n)
    if not temperature > 0:
        raise ValueError(f"temperature: {temperature!r} is not a number > 0")

    def program(query: Query, llm: LLM) -> Steps:
        calls = [llm.sample(query, pool=solver, max_tokens=max_tokens) for _ in range(n)]
        yield every(calls)
        answered = [call for call in calls if call.answer is not None]
        scores = [call.confidence for call in answered]
        if verifier is not None and answered:
            verdicts = [llm.judge(call, verifier) for call in answered]
            yield every(verdicts)
            scores = [v.score if v.done else 0.0 for v in verdicts]
        top = max(scores, default=0.0)
        weights = [1.0 if s == top else math.exp((s - top) / temperature) for s in scores]
        return weighted_majority(answered, weights, query)

    return program


def first_finish(*, n: int = 4, solver: PoolName = MAIN, max_tokens: int | None = None) -> Program:
    """The answer of the first of n samples to finish; the others are given up.

    Source: Agarwal et al., "First Finish Search", arXiv:2505.18149.
    """
    whole("n", n)

    def program(query: Query, llm: LLM) -> Steps:
        calls = [llm.sample(query, pool=solver, max_tokens=max_tokens) for _ in range(n)]
        winner = yield first(calls)
        llm.cancel(calls)
        return _answer(winner)

    return program


def last_finish(*, n: int = 4, solver: PoolName = MAIN, max_tokens: int | None = None) -> Program:
    """The answer of the longest of n samples: what first finish is compared with."""
    whole("n", n)

    def program(query: Query, llm: LLM) -> Steps:
        calls = [llm.sample(query, pool=solver, max_tokens=max_tokens) for _ in range(n)]
        yield every(calls)
        return _answer(max((c for c in calls if c.answer is not None), key=_tokens, default=None))

    return program


def shortest_majority(
    *, n: int = 16, m: int = 4, solver: PoolName = MAIN, max_tokens: int | None = None
) -> Program:
    """The most frequent answer of the first m of n samples to finish; the others are given up.

    Source: Hassid et al., "Don't Overthink it", short-m@k, arXiv:2505.17813.
    """
    whole("m", m)
    whole("n", n, m)

    def program(query: Query, llm: LLM) -> Steps:
        calls = [llm.sample(query, pool=solver, max_tokens=max_tokens) for _ in range(n)]
        running = list(calls)
        for _ in range(min(m, n)):
            yield first(running)
            running = [call for call in running if not call.triggered]
            if not running:
                break
        llm.cancel(running)
        return majority([call for call in calls if call.done], query)

    return program


def budget_forcing(
    *, max_tokens: int = 8192, probe_tokens: int = 16, waits: int = 0, solver: PoolName = MAIN
) -> Program:
    """Think for at most `max_tokens`, then be made to answer; or be made to think on, `waits` times.

    A trace that is cut is asked for its answer so far (`LLM.probe`). One that ends before its budget is
    told to wait and looks at its answer again, as a round of revision, as long as rounds and budget last.
    Source: Muennighoff et al., "s1: simple test-time scaling", arXiv:2501.19393.
    """
    whole("max_tokens", max_tokens)
    whole("probe_tokens", probe_tokens)

    def program(query: Query, llm: LLM) -> Steps:
        call = yield llm.sample(query, pool=solver, max_tokens=max_tokens)
        if call.done and call.answer is None:
            call = yield llm.probe(call, probe_tokens)
            return _answer(call)
        spent = call.tokens
        for wait in range(waits):
            if query.over or spent >= max_tokens:
                break
            revised = yield llm.revise(call, wait)
            if not revised.done:
                break
            call, spent = revised, spent + revised.tokens
        return _answer(call)

    return program


def rejection_by_length(*, max_tokens: int = 8192, tries: int = 8, solver: PoolName = MAIN) -> Program:
    """Sample one after the other until one ends within `max_tokens`, which is the answer.

    Source: Muennighoff et al., arXiv:2501.19393, whose figure has accuracy fall as the budget grows.
    """
    whole("max_tokens", max_tokens)
    whole("tries", tries)

    def program(query: Query, llm: LLM) -> Steps:
        for _ in range(tries):
            call = yield llm.sample(query, pool=solver, max_tokens=max_tokens)
            if call.answer is not None or query.over:
                return _answer(call)
        return None

    return program


def sequential_until_accepted(*, n: int = 8, verifier: Judge = ORACLE, solver: PoolName = MAIN) -> Program:
    """Sample one after the other until the verifier accepts one (score > 0), at most n times.

    With an imperfect verifier accuracy has a ceiling, and may fall with n (Stroebl et al., "Inference
    Scaling fLaws", arXiv:2411.17501). Without an accepted sample there is no answer.
    """
    whole("n", n)

    def program(query: Query, llm: LLM) -> Steps:
        for _ in range(n):
            call = yield llm.sample(query, pool=solver)
            if query.over:
                break
            verdict = yield llm.judge(call, verifier)
            if verdict.done and verdict.score > 0:
                return _answer(call)
        return None

    return program


def _tokens(call: Call) -> int:
    return call.tokens


def _answer(call: Call | None) -> int | None:
    return call.answer if call is not None else None
