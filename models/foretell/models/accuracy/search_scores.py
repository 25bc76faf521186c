"""What a process reward model makes of partial solutions: its belief, and how many of the best are right.

A score is normal with standard deviation 1 around ±separation/2, or a verdict of ±1 (`Verifier`). Its
*reward* R is the chance that the scored thing is right if right and wrong were equally likely before:
R = 1/(1 + e^−odds), odds the logarithm of the likelihood ratio. So R lies in [0, 1], as the scores of
process reward models do, and it is calibrated at even chances.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foretell.models.accuracy.common import Mixture, rates, separations
from foretell.models.outcomes import FloatArray
from foretell.models.verifiers import Verifier

MOST = 20.0
"""Bound of the log odds: even an oracle's word counts for no more than e^20."""


def log_odds(verifier: Verifier, score: npt.ArrayLike) -> FloatArray:
    """Log of the likelihood ratio of right over wrong given a score (or a verdict, ±1), within ±MOST."""
    score = np.asarray(score, dtype=np.float64)
    if verifier.completeness is None:
        with np.errstate(invalid="ignore"):  # 0 · ∞: a score without a side
            odds = np.clip(verifier.separation * score, -MOST, MOST)
            return np.asarray(np.nan_to_num(odds), dtype=np.float64)
    yes, no = verifier.completeness, 1 - verifier.soundness
    with np.errstate(divide="ignore", invalid="ignore"):
        accepted, rejected = np.log(yes) - np.log(no), np.log1p(-yes) - np.log1p(-no)
    odds = np.clip(np.where(score > 0, accepted, rejected), -MOST, MOST)
    return np.asarray(np.nan_to_num(odds), dtype=np.float64)


def reward(verifier: Verifier, score: npt.ArrayLike) -> FloatArray:
    """Chance in [0, 1] that what has this score is right, right and wrong being equally likely before."""
    return np.asarray(1 / (1 + np.exp(-log_odds(verifier, score))), dtype=np.float64)


def binomial(n: npt.ArrayLike, chance: npt.ArrayLike, most: int) -> FloatArray:
    """P(k of n succeed), k = 0 ... most along a new last axis; n and chance broadcast."""
    from scipy.special import gammaln, xlog1py, xlogy

    k = np.arange(most + 1)
    n, chance = np.asarray(n)[..., None], np.asarray(chance, dtype=np.float64)[..., None]
    rest = np.maximum(n - k, 0)
    log = gammaln(n + 1) - gammaln(k + 1) - gammaln(rest + 1) + xlogy(k, chance) + xlog1py(rest, -chance)
    return np.asarray(np.where(k <= n, np.exp(log), 0.0), dtype=np.float64)


def kept(verifier: Verifier, n: int, keep: int) -> FloatArray:
    """P(j of the `keep` best-scored of n are right | m of the n are right), shape (n + 1, keep + 1).

    With scores it integrates over the keep-th largest one, which is a right one's or a wrong one's; with
    verdicts (and an AUC of 0 or 1) the accepted go first, and chance decides among equals. Errors in common
    are averaged over: for scores that of separations, for verdicts that of rates on right and on wrong ones.

    Raises:
        ValueError: keep is not in [1, n].

    """
    if not 1 <= keep <= n:
        raise ValueError(f"keep: {keep} is not in [1, {n}], the number of candidates")
    if verifier.completeness is not None:
        yes, no = (rates(x, verifier.common) for x in (verifier.completeness, 1 - verifier.soundness))
        return _kept_by_verdict(yes, no, n, keep)
    mixed = separations(verifier.separation, verifier.common)
    return np.asarray(sum(weight * _kept_by_gap(gap, n, keep) for weight, gap in mixed))


def chosen(verifier: Verifier, n: int) -> FloatArray:
    """P(the best-scored of n is right | m of the n are right), shape (n + 1,)."""
    return kept(verifier, n, 1)[:, 1]


def _kept_by_gap(separation: float, n: int, keep: int) -> FloatArray:
    if np.isfinite(separation):
        return _kept_by_score(separation, n, keep)
    oracle = float(separation > 0)
    return _kept_by_verdict([(1.0, oracle)], [(1.0, 1 - oracle)], n, keep)


def _kept_by_score(separation: float, n: int, keep: int) -> FloatArray:
    from scipy.special import ndtr

    edge = 9 + abs(separation) / 2
    t, dt = np.linspace(-edge, edge, 601, retstep=True)  # trapezoids: exact for such smooth, closed humps
    above_right, above_wrong = ndtr(separation / 2 - t), ndtr(-separation / 2 - t)
    at_right = np.exp(-((t - separation / 2) ** 2) / 2) / np.sqrt(2 * np.pi)
    at_wrong = np.exp(-((t + separation / 2) ** 2) / 2) / np.sqrt(2 * np.pi)
    table = np.zeros((n + 1, keep + 1))
    for m in range(n + 1):
        right, wrong = binomial(m, above_right, keep), binomial(n - m, above_wrong, keep)
        right_less = binomial(max(m - 1, 0), above_right, keep) * (m * at_right)[:, None]
        wrong_less = binomial(max(n - m - 1, 0), above_wrong, keep) * ((n - m) * at_wrong)[:, None]
        # The last one kept, at t, is one of the m right ones, or one of the others.
        table[m, 1:] += np.sum(right_less[:, :-1] * wrong[:, keep - 1 :: -1], axis=0) * dt
        table[m, :-1] += np.sum(right[:, :-1] * wrong_less[:, keep - 1 :: -1], axis=0) * dt
    return np.asarray(table / table.sum(axis=1, keepdims=True), dtype=np.float64)


def _kept_by_verdict(yes: Mixture, no: Mixture, n: int, keep: int) -> FloatArray:
    table = np.zeros((n + 1, keep + 1))
    for m in range(n + 1):
        weight = np.outer(_accepted(m, yes), _accepted(n - m, no))
        for a, b in np.argwhere(weight > 0):  # a right and b wrong ones accepted
            first = min(keep, a + b)
            among_yes = _hypergeometric(a, b, first, keep)
            among_no = _hypergeometric(m - a, n - m - b, keep - first, keep)
            table[m] += weight[a, b] * np.convolve(among_yes, among_no)[: keep + 1]
    return table


def _accepted(n: int, rate: Mixture) -> FloatArray:
    """P(k of n are accepted), which share their rate."""
    return np.asarray(sum(weight * binomial(n, value, n) for weight, value in rate))


def _hypergeometric(right: int, wrong: int, drawn: int, most: int) -> FloatArray:
    from scipy.special import comb

    k = np.arange(most + 1)
    return np.asarray(comb(right, k) * comb(wrong, drawn - k) / comb(right + wrong, drawn), dtype=np.float64)


def mean_doubt(verifier: Verifier) -> float:
    """Mean of −ln R over what is right, R being its reward: what a right step adds to its path's doubt."""
    if verifier.completeness is not None:
        yes, no = reward(verifier, [1.0, -1.0])
        return float(-verifier.completeness * np.log(yes) - (1 - verifier.completeness) * np.log(no))
    node, weight = np.polynomial.hermite_e.hermegauss(64)
    return float(-weight @ np.log(reward(verifier, node + verifier.separation / 2)) / weight.sum())
