"""Answers written stage by stage, where a stage may have several candidates.

A query whose chance is p is right if all its stages are: the log chance is shared out among them, and a stage
whose share is w is right with p^w. One candidate everywhere gives p again.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from foretell.sim.programs.hidden import WRONG
from foretell.sim.programs.llm import LLM, RIGHT, Call, Judge, Query, every


def stage(
    query: Query,
    llm: LLM,
    *,
    survival: float,
    tokens: float,
    candidates: int,
    verifier: Judge,
    pool: str = "",
    after: Call | None = None,
    depth: int = 0,
) -> Generator[simpy.Event, Any, tuple[Call, bool]]:
    """Write one stage: candidates at once, of which a verifier's favourite stays; one needs no verifier.

    Args:
        query, llm: of the program.
        survival: chance that a candidate is right.
        tokens: of each.
        candidates: how many.
        verifier: who chooses.
        pool: who writes.
        after: the text so far.
        depth: which stage it is; a verifier's errors in common are of one stage.

    Returns:
        the call that stays, and whether it is right.
    """
    rights = [query.uniform() < survival for _ in range(candidates)]
    calls = [llm.write(query, tokens, pool=pool, after=after) for _ in rights]
    yield every(calls)
    if candidates == 1:
        return calls[0], rights[0]
    verdicts = [llm.judge(call, verifier, right, depth) for call, right in zip(calls, rights, strict=True)]
    yield every(verdicts)
    chosen = -max((judged.score, -place) for place, judged in enumerate(verdicts))[1]
    return calls[chosen], rights[chosen] and verdicts[chosen].done


def answer_of(right: bool) -> int:
    """What a program answers that knows only whether all stages are right."""
    return RIGHT if right else WRONG
