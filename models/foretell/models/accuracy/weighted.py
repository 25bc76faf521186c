"""Weighted vote: answers add up exp(score/temperature) of their samples, and the heaviest one wins.

Scores are normal with standard deviation 1 around +δ/2 for right samples and −δ/2 for wrong ones, AUC =
Φ(δ/√2): weights are log-normal. As with plain votes, who wins given m right and v wrong votes is a table.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from foretell.models.accuracy.voting import MOST_VOTES, all_held, top_shares, vote
from foretell.models.outcomes import Answers, FloatArray

COLDEST, HOTTEST = 0.75, 30.0
"""Temperatures of the table: below, weights differ by more than its grid holds; above, by less."""
_BINS, _CELLS, _TAIL = 1 << 13, 400, 4.5


def weighted_vote(
    p: npt.ArrayLike,
    k: int,
    answers: Answers,
    auc: float,
    temperature: float = 1.0,
    wrong: npt.ArrayLike | None = None,
) -> FloatArray:
    """Chance that the right answer has most weight of k samples, to about 1e-3.

    Sources of the strategy: Li et al. 2022, arXiv:2206.02336; Taubenfeld et al. 2025, arXiv:2502.06233.

    Args:
        p, k, answers, wrong: as in `majority_vote`.
        auc: of the scores, in (0, 1).
        temperature: `COLDEST` to `HOTTEST`; the higher, the more alike votes weigh.

    Raises:
        ValueError: a figure out of range.

    """
    return vote(p, weighted_win_table(k, answers, auc, temperature), wrong)


@lru_cache(maxsize=64)
def weighted_win_table(k: int, answers: Answers, auc: float, temperature: float = 1.0) -> FloatArray:
    """Chance that m right votes outweigh every answer of v wrong ones, [m, v], each 0 to k.

    ∫ f_m(x)·G_x[v] dx, f_m the density of m right weights' sum and G_x[v] the chance that no wrong answer
    weighs more than x: `all_held` of H_i(x), the law of the sum of i wrong weights. Sums are convolved on a
    grid.
    """
    if not 1 <= k <= MOST_VOTES:
        raise ValueError(f"k: {k} samples are not within 1 and {MOST_VOTES}, where votes are counted exactly")
    if not 0 < auc < 1:
        raise ValueError(f"auc: {auc} is not within 0 and 1, both left out")
    if not COLDEST <= temperature <= HOTTEST:
        raise ValueError(f"temperature: {temperature} is not within {COLDEST} and {HOTTEST}")
    half, sd = _half_separation(auc) / temperature, 1 / temperature
    top = k * np.exp(abs(half) + sd**2 / 2) * (1 + 4 * np.sqrt(np.expm1(sd**2) / k)) + np.exp(
        abs(half) + _TAIL * sd
    )
    low = np.exp(-abs(half) - _TAIL * sd) if k > 1 else 1e-3
    edge = np.geomspace(low, top, _CELLS + 1)
    centre = np.sqrt(edge[1:] * edge[:-1])
    mass = np.diff(_sums_below(edge, k, half, sd, top), axis=1)  # of right sums, [m, cell]
    held = _sums_below(centre, k, -half, sd, top).T  # of wrong sums, [cell, i]
    table = np.zeros((k + 1, k + 1))
    for s, share in zip(*top_shares(answers), strict=True):
        table[1:] += share * (mass[1:] @ all_held(held, float(s)))
    table[1:] /= np.maximum(mass[1:].sum(axis=1, keepdims=True), 1e-300)
    table.setflags(write=False)
    return table


def _sums_below(x: FloatArray, k: int, mean: float, sd: float, top: float) -> FloatArray:
    """Chance that the sum of i = 0 to k log-normal weights is below x: [i, x]."""
    from scipy.special import ndtr

    step = top / _BINS
    with np.errstate(divide="ignore"):
        below = ndtr((np.log(np.arange(_BINS + 1) * step) - mean) / sd)
        one = ndtr((np.log(x) - mean) / sd)
    wave = np.fft.rfft(np.diff(below), 2 * _BINS)
    power, laws = wave, [np.ones(len(x)), one]
    for i in range(2, k + 1):
        power = power * wave
        law = np.cumsum(np.fft.irfft(power)[:_BINS])
        # The bins' lower edges were added up; on average a sum lies i/2 steps above that of its edges.
        laws.append(np.interp(x / step, np.arange(1, _BINS + 1) + (i - 1) / 2, law, left=0.0))
    return np.array(laws[: k + 1])


def gaussian_weighted_vote(
    p: npt.ArrayLike,
    top_wrong: npt.ArrayLike,
    k: npt.ArrayLike,
    right_moments: tuple[float, float],
    wrong_moments: tuple[float, float],
) -> FloatArray:
    """Φ(√k·Δ/σ) for weighing votes, right against the most frequent wrong answer alone.

    Δ = p·E[W|right] − p_w·E[W|wrong], σ² = p·E[W²|right] + p_w·E[W²|wrong] − Δ². Valid where no few votes
    decide: weights of a small spread, and k·(p + p_w) of ten or more.

    Args:
        p, top_wrong: chances of the right and of the most frequent wrong answer.
        k: samples.
        right_moments, wrong_moments: first and second moment of a vote's weight (see `weight_moments`).

    """
    from scipy.special import ndtr

    right, wrong = np.asarray(p, dtype=np.float64), np.asarray(top_wrong, dtype=np.float64)
    lead = right * right_moments[0] - wrong * wrong_moments[0]
    variance = right * right_moments[1] + wrong * wrong_moments[1] - lead**2
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.sqrt(np.asarray(k, dtype=np.float64)) * lead / np.sqrt(np.maximum(variance, 0.0))
    return np.asarray(np.where(np.isnan(z), 0.5, ndtr(z)), dtype=np.float64)


def weight_moments(auc: float, temperature: float = 1.0) -> tuple[tuple[float, float], tuple[float, float]]:
    """First and second moment of the weight of right votes, and of wrong votes."""
    half, variance = _half_separation(auc) / temperature, 1 / temperature**2
    right, wrong = (
        (float(np.exp(x + variance / 2)), float(np.exp(2 * (x + variance)))) for x in (half, -half)
    )
    return right, wrong


def _half_separation(auc: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(auc) / np.sqrt(2))
