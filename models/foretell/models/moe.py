"""Mixtures of experts: how many experts a step reads, and how uneven the ranks' loads are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from foretell.models.numeric import is_array, least


def expected_distinct_experts(tokens: Any, num_experts: int, top_k: int) -> Any:
    """Experts that at least one of `tokens` tokens is routed to, when all experts are equally popular.

    N·(1 − (1 − k/N)^T): a token misses a given expert with probability (N − k)/N. Exact for tokens routed
    independently to k distinct experts each.

    Args:
        tokens: T >= 0, a scalar or an array.
        num_experts: N.
        top_k: k.

    """
    if num_experts == top_k:
        return num_experts * (tokens > 0) + 0.0 * tokens
    # expm1 keeps the figure right for one token among very many experts
    exponent = tokens * math.log1p(-top_k / num_experts)
    return -num_experts * (np.expm1(exponent) if is_array(exponent) else math.expm1(exponent))


def zipf_popularity(num_experts: int, exponent: float) -> tuple[float, ...]:
    """Popularities ∝ 1/rank^exponent that sum to 1; exponent 0 is uniform."""
    weights = [rank**-exponent for rank in range(1, num_experts + 1)]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def expected_distinct_skewed(tokens: Any, popularity: tuple[float, ...], top_k: int) -> Any:
    """Experts read by `tokens` tokens when expert i is drawn with probability `popularity[i]`.

    Σ 1 − (1 − q_i)^T with q_i = min(1, k·p_i), the excess of experts that every token meets being dealt to
    the rest in proportion, so that Σ q_i = k. An approximation of sampling without replacement; it equals
    `expected_distinct_experts` where all p_i are equal, and is below it elsewhere.
    """
    hit = _inclusion(popularity, top_k)
    log_miss = np.log1p(-np.minimum(hit, 1 - 1e-15))
    total = -np.expm1(np.multiply.outer(np.asarray(tokens, dtype=float), log_miss)).sum(axis=-1)
    return total if is_array(tokens) else float(total)


def _inclusion(popularity: tuple[float, ...], top_k: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Probabilities q_i <= 1 in proportion to popularity that sum to k."""
    p = np.asarray(popularity, dtype=float)
    hit = top_k * p
    certain = np.zeros(p.size, dtype=bool)
    while (hit[~certain] > 1).any():
        certain |= hit > 1
        hit = np.where(certain, 1.0, p * (top_k - certain.sum()) / p[~certain].sum())
    return hit


def most_loaded_rank_factor(assignments: Any, ranks: int) -> Any:
    """Load of the fullest of `ranks` expert-parallel ranks over the mean, for balanced routing.

    Assignments (tokens × k, over all ranks) fall on ranks as balls in bins: mean m = A/R, variance
    m·(1 − 1/R), and the greatest of R about normal counts is near m + sqrt(2·ln R · m·(1 − 1/R)) [Raab &
    Steger, "Balls into bins", 1998, the heavily loaded case]; never above R, all on one rank. Validity:
    balanced routing; a skewed router or a hot expert makes it worse. An upper bound in spirit: within 15 %
    of simulation for m >= 4.
    """
    if ranks <= 1:
        return 1.0 + 0.0 * assignments
    spread = 2.0 * math.log(ranks) * (ranks - 1)
    ratio = spread / (assignments + (assignments <= 0))
    root = np.sqrt(ratio) if is_array(ratio) else math.sqrt(ratio)
    return least(1.0 + root, float(ranks))
