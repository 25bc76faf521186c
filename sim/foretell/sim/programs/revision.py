"""Sequential revision: answers that are looked at again, with or without somebody who judges them.

What a round does to an answer are the profile's rates of repair and corruption, by round. Closed forms:
`foretell.models.accuracy.revision`.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import simpy

from foretell.sim.programs.answers import majority
from foretell.sim.programs.llm import LLM, MAIN, Call, Judge, PoolName, Program, Query, Steps, every
from foretell.sim.programs.sampling import ORACLE
from foretell.sim.programs.tools import one_of, whole


def revision(
    *,
    rounds: int = 3,
    select: str = "last",
    prompt_tokens: int = 30,
    verifier: Judge = ORACLE,
    solver: PoolName = MAIN,
) -> Program:
    """A chain of revisions: answer with its last link, its most frequent answer, or a verifier's favourite.

    Snell et al. 2024 (arXiv 2408.03314), §6: revisions at inference, all earlier answers in the prompt;
    they select by vote or verifier since a right answer may be revised away. A round that the deadline cuts
    leaves the chain as it was.

    Args:
        rounds: revisions after the first answer.
        select: "last", "vote" or "best".
        prompt_tokens: what asks for a revision.
        verifier: of "best".
        solver: the pool.
    """
    whole("rounds", rounds, 0)
    one_of("select", select, ("last", "vote", "best"))

    def program(query: Query, llm: LLM) -> Steps:
        chain = [llm.sample(query, pool=solver)]
        yield chain[0]
        for number in range(rounds):
            if not chain[-1].done:
                break
            chain.append(llm.revise(chain[-1], number, prompt_tokens))
            yield chain[-1]
        done = [call for call in chain if call.done]
        if not done or select == "last":
            return done[-1].answer if done else None
        if select == "vote":
            return majority(done, query)
        best, _ = yield from _best(llm, done, verifier)
        return best.answer

    return program


def self_refine(
    *,
    rounds: int = 4,
    threshold: float = 0.0,
    verifier: Judge,
    prompt_tokens: int = 30,
    solver: PoolName = MAIN,
) -> Program:
    """Self-Refine: feedback on the answer, then another one, until the feedback finds no fault.

    Madaan et al. 2023 (arXiv 2303.17651). The feedback is a verifier's call, on the solver's own pool for
    the paper's system; it stops at a score above `threshold` (verdicts are ±1) or after `rounds` revisions,
    and answers with the last.

    Args:
        verifier: who gives feedback; its output tokens are the feedback's.
        rounds: revisions at most.
        threshold: score above which an answer stands.
        prompt_tokens: what asks for a revision, besides the feedback.
        solver: the pool.
    """
    whole("rounds", rounds, 0)

    def program(query: Query, llm: LLM) -> Steps:
        call = llm.sample(query, pool=solver)
        yield call
        for number in range(rounds):
            if not call.done:
                break
            judged = llm.judge(call, verifier)
            yield judged
            if not judged.done or judged.score > threshold:
                break
            new = llm.revise(call, number, prompt_tokens + judged.tokens)
            yield new
            if not new.done:
                break
            call = new
        return call.answer

    return program


def hint_marginalisation(
    *, rounds: int = 3, width: int = 8, hint_tokens: int = 20, solver: PoolName = MAIN
) -> Program:
    """Hint marginalisation: rounds of answers with hints drawn from the last round's; then the mode.

    Pal et al. 2024 (arXiv 2412.13292): p_{t+1}(y) = Σ_h p(y | hint h)·p_t(h), by Monte Carlo, with a barrier
    between rounds. Assumed: an answer with a hint is a revision of the answer that the hint gives; its prompt
    holds that whole answer, where the paper's holds its result alone.

    Args:
        rounds: the first one without hints.
        width: answers of a round.
        hint_tokens: around the hint.
        solver: the pool.
    """
    whole("rounds", rounds)
    whole("width", width)

    def program(query: Query, llm: LLM) -> Steps:
        calls: list[Call] = [llm.sample(query, pool=solver) for _ in range(width)]
        yield every(calls)
        for number in range(rounds - 1):
            hints = [call for call in calls if call.answer is not None]
            if not hints or query.over:
                break
            new = [
                llm.revise(hints[int(query.uniform() * len(hints))], number, hint_tokens)
                for _ in range(width)
            ]
            yield every(new)
            if not all(call.done for call in new):
                break
            calls = new
        return majority(calls, query)

    return program


def _best(llm: LLM, calls: list[Call], verifier: Judge) -> Generator[simpy.Event, Any, tuple[Call, float]]:
    """(call, score) of what a verifier likes best; the first on a tie."""
    verdicts = [llm.judge(call, verifier) for call in calls]
    yield every(verdicts)
    score, place = max((v.score if v.done else -math.inf, -i) for i, v in enumerate(verdicts))
    return calls[-place], score
