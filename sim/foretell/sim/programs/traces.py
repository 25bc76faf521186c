"""Traces that several calls write: the whole sample is drawn first, and then written piece by piece."""

from __future__ import annotations

import math
from itertools import accumulate

from foretell.models.outcomes import Outcomes
from foretell.sim.programs.draws import RIGHT, Outcome
from foretell.sim.programs.llm import LLM, Query


def foresee(query: Query, llm: LLM, pool: str = "") -> Outcome:
    """The next sample of the pool's model to this query, without asking for it.

    For strategies that have the text of one answer written by many calls. They may use its length as they
    write it, and its answer at the end.
    """
    pool = pool or llm.first_pool
    profile_of(query, llm, pool)
    number = query.sampled.get(pool, 0)
    query.sampled[pool] = number + 1
    return query.draws.samples[pool].outcome(query.id, number)


def profile_of(query: Query, llm: LLM, pool: str = "") -> Outcomes:
    """The outcome profile of a pool's model.

    Raises:
        ValueError: it has none.
    """
    pool = pool or llm.first_pool
    if pool not in query.draws.samples:
        raise ValueError(f"pools.{pool}: its model has no outcome profile; give outcomes")
    return query.draws.samples[pool].profile


def steps_of(tokens: int, step_tokens: float) -> list[int]:
    """A trace cut into steps of so many tokens, the last one shorter; they add up to `tokens`."""
    n = max(math.ceil(tokens / step_tokens), 1)
    ends = [min(round((i + 1) * step_tokens), tokens) for i in range(n)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False) if end > start]


def split(tokens: float, weights: list[float]) -> list[int]:
    """Whole shares of `tokens` in proportion to weights; they add up to its rounded value."""
    total = sum(weights)
    ends = [round(tokens * part / total) for part in accumulate(weights)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def stage_is_right(query: Query, survival: float, candidates: int, separation: float) -> bool:
    """Whether the candidate that a scorer likes best of one stage's is right; each is with `survival`.

    Candidates are independent; scores are normal, `separation` apart. One candidate needs no score.
    """
    rights = [query.uniform() < survival for _ in range(candidates)]
    if all(rights) or not any(rights):
        return rights[0]
    if math.isinf(separation):
        return separation > 0
    scores = [(query.normal() + (separation if right else 0.0), right) for right in rights]
    return max(scores)[1]


def verdict(right: bool) -> int:
    """The answer of a program that knows only whether it got there: right, or the commonest wrong one."""
    return RIGHT if right else RIGHT + 1
