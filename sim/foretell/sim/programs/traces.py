"""Traces that several calls write, piece by piece (see `LLM.foresee`): how they are cut."""

from __future__ import annotations

import math
from itertools import accumulate


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
