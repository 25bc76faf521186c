"""Traces that several calls write: the whole sample is drawn first, and then written piece by piece."""

from __future__ import annotations

import math
from itertools import accumulate

from foretell.models.outcomes import Outcomes
from foretell.sim.programs.draws import Outcome
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
