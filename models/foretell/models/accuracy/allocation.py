"""Difficulty-aware allocation: more samples, or another strategy, where they help most for their cost."""

from __future__ import annotations

from heapq import heapify, heapreplace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from foretell.models.outcomes import FloatArray


def greedy_samples(
    p: npt.ArrayLike, budget: int, weights: npt.ArrayLike | None = None
) -> npt.NDArray[np.int64]:
    """Samples for each problem that make Σ weight·pass@k greatest with Σ k <= budget.

    The (k+1)-th sample gains weight·p·(1−p)^k, less each time, so that taking the greatest gain first is
    optimal for independent resampling with an oracle (Snell et al. 2024, arXiv:2408.03314, is the idea).
    Ties go to the first problem.
    """
    chance = np.asarray(p, dtype=np.float64)
    worth = np.ones_like(chance) if weights is None else np.asarray(weights, dtype=np.float64)
    samples = np.zeros(chance.shape, dtype=np.int64)
    if not chance.size:
        return samples
    heap = [(-w * x, i) for i, (x, w) in enumerate(zip(chance, worth, strict=True))]
    heapify(heap)
    for _ in range(budget):
        gain, i = heap[0]
        if gain == 0:
            break
        samples[i] += 1
        heapreplace(heap, (gain * (1 - chance[i]), i))
    return samples


def compute_optimal(
    accuracy: npt.ArrayLike, cost: npt.ArrayLike, weights: npt.ArrayLike, budget: float
) -> FloatArray:
    """Share of each bin of problems to give to each option, for the best mean accuracy within a mean cost.

    Snell's compute-optimal rule, max Σ w_b·acc[b, o(b)] with Σ w_b·cost[b, o(b)] <= budget, its options mixed
    within a bin: steps along each bin's upper concave hull are taken in order of gain over cost,
    the last one in part. At most one bin is mixed, of two options; where none is, this is the pure rule.

    Args:
        accuracy, cost: by bin and option, shape (bins, options).
        weights: share of problems in each bin.
        budget: mean cost of a problem that may be spent.

    Raises:
        ValueError: if even the cheapest options cost more.

    """
    gain, paid = np.asarray(accuracy, dtype=np.float64), np.asarray(cost, dtype=np.float64)
    share = np.asarray(weights, dtype=np.float64)
    hulls = [_hull(gain[b], paid[b]) for b in range(len(gain))]
    left = budget - sum(share[b] * paid[b, hull[0]] for b, hull in enumerate(hulls))
    if left < -1e-12 * max(abs(budget), 1.0):
        raise ValueError(f"budget: {budget:g} is less than the cheapest options cost, {budget - left:g}")
    chosen = np.zeros_like(gain)
    steps = []
    for b, hull in enumerate(hulls):
        chosen[b, hull[0]] = 1.0
        for before, after in pairwise(hull):
            more = paid[b, after] - paid[b, before]
            steps.append(((gain[b, after] - gain[b, before]) / more, share[b] * more, b, before, after))
    for _, price, b, before, after in sorted(steps, reverse=True):
        part = 1.0 if price <= left else left / price
        chosen[b, before], chosen[b, after] = 1 - part, part
        left -= part * price
        if part < 1:
            break
    return chosen


def _hull(gain: FloatArray, cost: FloatArray) -> list[int]:
    """Options on the upper concave hull that starts at the cheapest, as long as accuracy rises."""
    order = sorted(range(len(gain)), key=lambda o: (cost[o], -gain[o]))
    hull: list[int] = []
    for o in order:
        if hull and gain[o] <= gain[hull[-1]]:
            continue
        while len(hull) > 1 and (gain[o] - gain[hull[-1]]) * (cost[hull[-1]] - cost[hull[-2]]) >= (
            gain[hull[-1]] - gain[hull[-2]]
        ) * (cost[o] - cost[hull[-1]]):
            hull.pop()
        hull.append(o)
    return hull
