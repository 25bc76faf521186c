"""Coverage, pass@k: the chance that at least one of k samples is right.

Between problems the chance p of one sample being right follows a Beta law with extra mass at zero, from which
pass@k follows in closed form; a power law is offered beside it, as the literature fits it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.outcomes import Difficulty, FloatArray

_LOG_BOUND = np.log(1e4)  # of a and b: beyond, the Beta law is a point or two, and no counts tell it further


def unbiased_pass_at_k(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike) -> FloatArray:
    """Estimate of a problem's pass@k from c right ones of n samples: 1 − C(n−c, k)/C(n, k).

    It is the share of the k-subsets of the samples that hold a right one, and unbiased for every k <= n
    (Chen et al. 2021, arXiv:2107.03374, eq. 1). Arguments broadcast.

    Raises:
        ValueError: unless 0 <= c <= n and 1 <= k <= n.

    """
    from scipy.special import gammaln

    drawn, right, tried = _counts(n, c, k)
    if np.any(tried < 1) or np.any(tried > drawn):
        raise ValueError(f"k: {tried.min():g} to {tried.max():g} is not within 1 and n, {drawn.min():g}")
    wrong = drawn - right
    left = np.maximum(wrong - tried, 0.0)  # where fewer are wrong than are tried, one of these is right
    log_miss = gammaln(wrong + 1) - gammaln(left + 1) - gammaln(drawn + 1) + gammaln(drawn - tried + 1)
    return np.asarray(np.where(wrong >= tried, -np.expm1(np.minimum(log_miss, 0.0)), 1.0))


def pass_at_k(p: npt.ArrayLike, k: npt.ArrayLike) -> FloatArray:
    """Chance 1 − (1−p)^k that one of k independent samples of a problem is right. Arguments broadcast."""
    tried, chance = np.asarray(k, dtype=np.float64), np.asarray(p, dtype=np.float64)
    log_miss = np.log1p(-np.minimum(chance, 1 - 2**-53))
    return np.asarray(np.where((chance == 1) & (tried > 0), 1.0, -np.expm1(tried * log_miss)))


def beta_pass_at_k(k: npt.ArrayLike, difficulty: Difficulty) -> FloatArray:
    """Mean pass@k over problems: (1−z)·[1 − B(a, b+k)/B(a, b)], p being 0 with chance z, else Beta(a, b).

    For large k the miss falls as Γ(a+b)/Γ(b)·k^−a: a power law whose exponent is a (Schaeffer et al. 2025,
    arXiv:2502.17578). k may be any array of numbers >= 0.
    """
    from scipy.special import betaln

    law = difficulty
    log_miss = betaln(law.a, law.b + np.asarray(k, dtype=np.float64)) - betaln(law.a, law.b)
    return np.asarray(-(1 - law.zero) * np.expm1(np.minimum(log_miss, 0.0)), dtype=np.float64)


def samples_until_right(difficulty: Difficulty, cap: float = np.inf) -> float:
    """Mean number of samples drawn one after another until one is right, or `cap` are drawn.

    Σ_{j<cap} (1 − pass@j); without a cap it is (a+b−1)/(a−1), infinite for a <= 1 or z > 0: a mean over
    problems of 1/p, which U-shaped laws do not have.
    """
    law = difficulty
    if np.isinf(cap):
        return (law.a + law.b - 1) / (law.a - 1) if law.a > 1 and not law.zero else np.inf
    return float(np.sum(1 - beta_pass_at_k(np.arange(int(cap)), law)))


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """pass@k = exp(−scale·k^−exponent) (Brown et al. 2024, arXiv:2407.21787); both >= 0."""

    scale: float
    exponent: float

    def pass_at_k(self, k: npt.ArrayLike) -> FloatArray:
        """Coverage of k samples, k > 0."""
        with np.errstate(over="ignore"):
            return np.exp(-self.scale * np.asarray(k, dtype=np.float64) ** -self.exponent)


def fit_power_law(k: npt.ArrayLike, coverage: npt.ArrayLike) -> PowerLaw:
    """Least squares of pass@k on a curve of at least two points, every coverage within [0, 1].

    Raises:
        ValueError: fewer points, or a coverage out of range.

    """
    from scipy.optimize import least_squares

    x, y = _curve(k, coverage, 2)
    depth = np.log(-np.log(np.clip(y, 1e-12, 1 - 1e-12)))
    slope, level = np.polyfit(np.log(x), depth, 1)

    def misfit(free: FloatArray) -> FloatArray:
        return PowerLaw(np.exp(free[0]), free[1]).pass_at_k(x) - y

    bounds = ((-np.inf, 0.0), (np.inf, np.inf))
    found = least_squares(misfit, (level, max(-slope, 1e-6)), bounds=bounds)
    return PowerLaw(float(np.exp(found.x[0])), float(found.x[1]))


def fit_difficulty_curve(k: npt.ArrayLike, coverage: npt.ArrayLike, *, inflated: bool = True) -> Difficulty:
    """Least squares of pass@k on a curve of at least three points, where no counts by problem are to be had.

    Raises:
        ValueError: fewer points, or a coverage out of range.

    """
    from scipy.optimize import least_squares

    x, y = _curve(k, coverage, 3)
    top = 0.999 if inflated else 1e-12

    def misfit(free: FloatArray) -> FloatArray:
        return beta_pass_at_k(x, Difficulty(np.exp(free[0]), np.exp(free[1]), free[2])) - y

    mean = float(np.clip(y[np.argmin(x)], 1e-3, 1 - 1e-3))
    bounds = ((-_LOG_BOUND, -_LOG_BOUND, 0.0), (_LOG_BOUND, _LOG_BOUND, top))
    starts = [(np.log(size * mean), np.log(size * (1 - mean)), top / 20) for size in (0.3, 1.0, 5.0)]
    found = min((least_squares(misfit, start, bounds=bounds) for start in starts), key=lambda fit: fit.cost)
    a, b, zero = (float(v) for v in found.x)
    return Difficulty(a=float(np.exp(a)), b=float(np.exp(b)), zero=zero if inflated else 0.0)


def fit_difficulty(n: npt.ArrayLike, c: npt.ArrayLike, *, inflated: bool = True) -> Difficulty:
    """Maximum-likelihood zero-inflated Beta law of problems' chances, from c right ones of n samples each.

    A problem has likelihood z·1[c=0] + (1−z)·BetaBinomial(c | n, a, b); `inflated=False` holds z at 0.
    Of two samples a problem the counts do not tell z from a and b; of one they tell the mean only.

    Args:
        n, c: samples and right ones, a problem each (broadcast).
        inflated: whether z is free.

    Raises:
        ValueError: unless 0 <= c <= n and n >= 1.

    """
    drawn, right = _counts(n, c)
    if not drawn.size or np.any(drawn < 1):
        raise ValueError("n: a fit needs problems with one sample or more each")
    pairs, seen = np.unique(np.stack([drawn.ravel(), right.ravel()]), axis=1, return_counts=True)
    drawn, right, times = pairs[0], pairs[1], seen / seen.sum()
    mean = float(np.clip((times * right).sum() / (times * drawn).sum(), 1e-3, 1 - 1e-3))
    missed = float(times[right == 0].sum())
    starts = [(0.0, mean)]
    if inflated and 0 < missed < 1:
        starts.append((missed / 2, min(mean / (1 - missed / 2), 1 - 1e-3)))
    fits = [_climb(drawn, right, times, zero, share, inflated) for zero, share in starts]
    log_a, log_b, zero = min(fits, key=lambda fit: fit[0])[1]
    return Difficulty(a=float(np.exp(log_a)), b=float(np.exp(log_b)), zero=float(zero))


def _climb(
    n: FloatArray, c: FloatArray, times: FloatArray, zero: float, mean: float, inflated: bool
) -> tuple[float, FloatArray]:
    from scipy.optimize import minimize
    from scipy.special import betaln, gammaln, psi

    missed = c == 0
    ways = gammaln(n + 1) - gammaln(c + 1) - gammaln(n - c + 1)  # keeps chances of many samples above zero

    def loss(x: FloatArray) -> tuple[float, FloatArray]:
        a, b, z = np.exp(x[0]), np.exp(x[1]), x[2]
        beta = np.exp(ways + betaln(c + a, n - c + b) - betaln(a, b))
        seen = np.where(missed, z, 0.0) + (1 - z) * beta
        share = times * (1 - z) * beta / seen  # of the counts that the Beta part explains
        common = psi(a + b) - psi(n + a + b)
        by_a = a * np.sum(share * (psi(c + a) - psi(a) + common))
        by_b = b * np.sum(share * (psi(n - c + b) - psi(b) + common))
        by_z = np.sum(times * (missed - beta) / seen)
        return -float(np.sum(times * np.log(seen))), -np.array([by_a, by_b, by_z])

    top = 1 - 1e-6 if inflated else 0.0
    found = minimize(
        loss,
        (np.log(mean), np.log1p(-mean), zero),
        jac=True,
        method="L-BFGS-B",
        bounds=((-_LOG_BOUND, _LOG_BOUND), (-_LOG_BOUND, _LOG_BOUND), (0.0, top)),
        options={"ftol": 1e-13, "gtol": 1e-8},
    )
    return float(found.fun), np.asarray(found.x)


def _counts(*counts: npt.ArrayLike) -> tuple[FloatArray, ...]:
    n, c, *rest = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in counts))
    if np.any(c < 0) or np.any(c > n):
        raise ValueError("c: right samples are not within 0 and n")
    return n, c, *rest


def _curve(k: npt.ArrayLike, coverage: npt.ArrayLike, least: int) -> tuple[FloatArray, FloatArray]:
    x, y = np.asarray(k, dtype=np.float64), np.asarray(coverage, dtype=np.float64)
    if x.size < least or x.shape != y.shape or np.any(x <= 0) or np.any(y < 0) or np.any(y > 1 + 1e-9):
        raise ValueError(f"coverage: a fit needs {least} or more points with k > 0 and coverage in [0, 1]")
    return x, y
