"""Draws of what a request meets, by inversion on a fixed lattice of points: nothing is random."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foretell.models.queueing.lengths import Lengths

Array = npt.NDArray[np.float64]
POINTS = 2048
DIMENSIONS = 8


def lattice() -> Array:
    """Points of the unit cube, shape (POINTS, DIMENSIONS): Roberts' additive recurrence, no randomness."""
    ratio = 2.0
    for _ in range(40):
        ratio = (1 + ratio) ** (1 / (DIMENSIONS + 1))
    steps = ratio ** -np.arange(1.0, DIMENSIONS + 1)
    points: Array = (0.5 + np.arange(1, POINTS + 1)[:, None] * steps) % 1.0
    return points


def draw(weights: Array, row: npt.NDArray[np.int64], u: Array) -> npt.NDArray[np.int64]:
    """Column drawn from the weights of each row, by inversion."""
    cumulated = np.cumsum(weights, axis=1)
    cumulated /= cumulated[:, -1:]
    flat = (cumulated + np.arange(len(weights))[:, None]).ravel()
    found = np.searchsorted(flat, row + np.minimum(u, 1 - 1e-9)) - row * weights.shape[1]
    column: npt.NDArray[np.int64] = np.clip(found, 0, weights.shape[1] - 1)
    return column


def tokens_of(law: Lengths, mean: Array, scv: float, u: Array, v: Array) -> Array:
    """Prompt tokens of those who come near a request: the first of them drawn, the rest at their mean."""
    count = counts(mean, scv, u)
    first = law.prompt[(v * len(law.prompt)).astype(np.int64)]
    return np.where(count > 0, first + (count - 1) * law.mean_prompt, 0.0)


def counts(mean: Array, scv: float, u: Array) -> Array:
    """Arrivals in a time after (or before) one of them, by inversion, up to 40; Poisson with scv 1."""
    count = np.zeros_like(mean)
    some = np.arange(len(mean))  # who has k or more
    for k in range(1, 41):
        some = some[u[some] > 1 - chance(mean[some], k, scv)]
        if not some.size:
            break
        count[some] = k
    return count


def chance(mean: Array, k: int, scv: float) -> Array:
    """That k arrivals or more follow one of them in a time in which `mean` are expected: gamma gaps."""
    if scv == 1 and k == 1:  # not 1 - exp: chances are divided by each other, small ones too
        return np.asarray(-np.expm1(-mean), dtype=np.float64)
    from scipy.special import gammainc

    shape = 1 / max(scv, 1e-3)
    return np.asarray(gammainc(k * shape, shape * mean), dtype=np.float64)
