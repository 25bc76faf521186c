"""What only the environment knows, for programs that model a part of it."""

from __future__ import annotations

from foretell.sim.programs.llm import LLM, Query

WRONG = 1
"""The answer of what went wrong in a way that no profile tells apart."""


def chance(query: Query, llm: LLM, pool: str = "") -> float:
    """Chance that one sample of the pool's model answers this query right.

    Raises:
        ValueError: the pool has no outcome profile.
    """
    return float(llm.samples(pool).chance[query.id])
