"""Fit the coefficients of a cost that is a sum of terms, with bounds, priors and a posterior.

Seconds are modelled as features @ coefficients with a relative error: residuals are taken of the logarithm,
since steps from 1 ms to 1 s err by like shares. The posterior is a Laplace approximation around the fit: a
normal law of the score, of which each draw solves the bounded quadratic problem again, so that draws keep
the bounds. The score's covariance is the larger of two in every direction: what independent errors of the
fitted size give, and what the scores of whole groups (runs, stretches of a log) give, whose errors are
correlated. (A bootstrap of groups estimates the second alone, and fails with few rows or few groups.)

Sources: Huber & Ronchetti, Robust Statistics, 2009 (M-estimates, efficiency of the loss); Liang & Zeger,
Biometrika 73(1), 1986 (the covariance by groups); Bardsley et al., SIAM J. Sci. Comput. 36(4), 2014
(randomize-then-optimize: draws by solving perturbed problems).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from foretell.models.bounded_fit import (
    FAR,
    LEAST_ERROR,
    Floats,
    Local,
    Problem,
    bounded_steps,
    first_guess,
    information,
    local_at,
    moved,
    optimum,
    residual_spread,
    root_diagonal,
    scaled,
)

Loss = Literal["soft_l1", "linear"]

_TUNING = 1.345
"""Residuals beyond so many standard errors count less; 95 % efficient under a normal law."""
_KNOWN = 0.5
"""A coefficient is known if its error is at most so much of itself, or of its prior's error."""
_TAIL = 5.0
"""Standard errors of a prior beyond which nothing is drawn."""
_ALIKE = 0.9
"""Errors of two coefficients that are correlated so much cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Coefficients and how sure they are.

    Attributes:
        names: of the coefficients, length k.
        coefficients: (k,), in seconds per unit of their feature.
        draws: (m, k), from the posterior; they keep the bounds.
        log_error: standard deviation of the logarithm of seconds around the fit, for one row.
        identified: whether the data, rather than a bound or a prior, determine each coefficient.
        warnings: a sentence for each that they do not.

    """

    names: tuple[str, ...]
    coefficients: Floats
    draws: Floats
    log_error: float
    identified: tuple[bool, ...]
    warnings: tuple[str, ...]

    def predict(self, features: npt.ArrayLike) -> Floats:
        """Seconds of rows of features, (n, k) -> (n,)."""
        return np.asarray(np.asarray(features, dtype=np.float64) @ self.coefficients)

    def interval(self, level: float = 0.9) -> Floats:
        """Equal-tailed interval of each coefficient, (k, 2)."""
        tails = [(1 - level) / 2, (1 + level) / 2]
        return np.asarray(np.quantile(self.draws, tails, axis=0).T)


def fit_coefficients(
    features: npt.ArrayLike,
    seconds: npt.ArrayLike,
    names: Sequence[str],
    *,
    prior: npt.ArrayLike | None = None,
    prior_log_error: npt.ArrayLike | None = None,
    lower: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
    loss: Loss = "soft_l1",
    noise_log_error: float | None = None,
    groups: npt.ArrayLike | None = None,
    rng: np.random.Generator | None = None,
    draws: int = 200,
) -> Fit:
    """Fit seconds ~ features @ coefficients, with residuals in the logarithm.

    Args:
        features: (n, k), >= 0; seconds of each term, or counts.
        seconds: (n,), > 0.
        names: of the k coefficients, for warnings.
        prior: (k,), medians > 0 of log-normal priors; without it only the bounds are known.
        prior_log_error: (k,) or a scalar, their standard deviations in the logarithm; inf for none.
        lower: (k,), bounds >= 0 that no coefficient falls below; 0 by default.
        weights: (n,), how many observations each row stands for; 1 by default.
        loss: "soft_l1" lets outliers pull less than squares ("linear") do.
        noise_log_error: standard deviation of one row's logarithm; estimated by default, which takes
            several rows more than coefficients.
        groups: (n,), labels of rows whose errors are correlated; by default every row is by itself.
        rng: for the draws; by default the same ones every time.
        draws: m.

    Raises:
        ValueError: shapes that do not fit, or values out of range; one line.

    """
    data = _checked(features, seconds, names, prior, prior_log_error, lower, weights)
    error = np.inf if noise_log_error is None else float(noise_log_error)
    if not error > 0:
        raise ValueError(f"noise_log_error: {noise_log_error!r} is not a number > 0")
    known = noise_log_error is not None
    at, width = first_guess(data), np.inf
    spread = error if known else residual_spread(data, at)
    for _ in range(3):  # the scale of the residuals and the fit depend on each other
        width = np.inf if loss == "linear" else _TUNING * spread
        at = optimum(data, at, width, information(data, at, width, spread))
        if known:
            break
        spread = residual_spread(data, at)
    local = local_at(data, at, width)
    if known:
        scale = information(data, at, width, spread)
        square = local.slope / scale
    else:
        scale, square = _settled(data, local)
    posterior = _posterior(data, at, local, scale, scale**2 * _score_noise(local, square, groups))
    random = np.random.default_rng(0) if rng is None else rng
    drawn = _draws(data, at, posterior, random, draws, _freedom(data, groups))
    identified, warnings = _judged(data, at, posterior.covariance, tuple(names))
    rest = max(data.total - data.k, 1.0) if not known else data.total
    log_error = float(np.sqrt(np.sum(data.w * local.residual**2) / rest))
    return Fit(tuple(names), at, drawn, log_error, identified, warnings)


def _checked(
    features: Any, seconds: Any, names: Sequence[str], prior: Any, error: Any, lower: Any, weights: Any
) -> Problem:
    x, y = np.asarray(features, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(y):
        raise ValueError(f"features: shape {x.shape} does not go with seconds of shape {y.shape}")
    n, k = x.shape
    if len(names) != k:
        raise ValueError(f"names: {len(names)} given for {k} columns of features")
    if not (np.isfinite(x).all() and (x >= 0).all()):
        raise ValueError("features: every value must be finite and >= 0")
    if not (np.isfinite(y).all() and (y > 0).all()):
        raise ValueError("seconds: every value must be finite and > 0")
    low = np.zeros(k) if lower is None else np.broadcast_to(np.asarray(lower, dtype=np.float64), (k,))
    if not (np.isfinite(low).all() and (low >= 0).all()):
        raise ValueError("lower: every bound must be finite and >= 0")
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (n,) or not (np.isfinite(w).all() and (w >= 0).all() and w.any()):
        raise ValueError(f"weights: {n} finite values >= 0 are needed, not all 0")
    centre, precision = np.ones(k), np.zeros(k)
    if prior is not None:
        if error is None:
            raise ValueError("prior_log_error: missing; a prior needs its error")
        centre = np.broadcast_to(np.asarray(prior, dtype=np.float64), (k,))
        spread = np.broadcast_to(np.asarray(error, dtype=np.float64), (k,))
        if not (np.isfinite(centre).all() and (centre > 0).all() and (spread > 0).all()):
            raise ValueError("prior: medians must be finite and > 0, and prior_log_error > 0")
        precision = spread**-2.0
    if (x @ np.maximum(np.where(x.any(axis=0), 1.0, 0.0), low) <= 0).any():
        raise ValueError("features: a row is all 0, though its seconds are not")
    return Problem(x, y, w, low, np.log(centre), precision)


def _settled(data: Problem, local: Local) -> tuple[float, float]:
    """Weight of the data, and the mean square of the influences, freed of the bias of the fit.

    Each takes away as many rows as the data alone would determine coefficients.
    """
    total = float(np.sum(data.w * local.psi**2))
    rest = max(data.total - data.k, 1.0)
    square = max(total / rest, LEAST_ERROR**2)
    return local.slope / square, square


def _score_noise(local: Local, square: float, groups: Any) -> Floats:
    """Covariance of the score: by independent rows, or by groups where that is more."""
    weighted = local.weights[:, None] * local.jacobian
    plain: Floats = square * weighted.T @ local.jacobian
    if groups is None:
        return plain
    labels = np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
    if len(labels) != len(local.residual):
        raise ValueError(f"groups: {len(labels)} labels for {len(local.residual)} rows")
    count = int(labels.max()) + 1
    if count < 2:
        return plain
    scores = np.zeros((count, plain.shape[0]))
    np.add.at(scores, labels, weighted * local.psi[:, None])
    d = root_diagonal(plain)
    values, vectors = np.linalg.eigh(plain / np.outer(d, d))
    keep = values > 1e-12 * values[-1]
    root = vectors[:, keep] * np.sqrt(values[keep])
    white = (scores / d) @ (vectors[:, keep] / np.sqrt(values[keep]))
    sizes, axes = np.linalg.eigh(white.T @ white * count / (count - 1))
    across = root @ axes * np.sqrt(np.maximum(sizes, 1.0))
    return np.asarray((across @ across.T) * np.outer(d, d))


def _freedom(data: Problem, groups: Any) -> float:
    count = data.total if groups is None else len(np.unique(np.asarray(groups)))
    if groups is not None and count < 2:
        count = data.total
    return float(max(count - 1, 2.0))


@dataclass(frozen=True, slots=True)
class _Posterior:
    """The quadratic problem around the fit: matrix, slope left at bounds, noise of the data and of priors."""

    hessian: Floats
    downhill: Floats
    noise: Floats
    loose: Floats

    @property
    def covariance(self) -> Floats:
        """What the errors would be without bounds."""
        d = root_diagonal(self.hessian)
        inverse = np.linalg.pinv(scaled(self.hessian), rcond=1e-15, hermitian=True) / np.outer(d, d)
        # By a root of the noise, so that rounding makes no variance negative.
        root = inverse @ np.column_stack([_root(self.noise), np.diag(np.sqrt(self.loose))])
        return np.asarray(root @ root.T)


def _posterior(data: Problem, at: Floats, local: Local, scale: float, noise: Floats) -> _Posterior:
    d = np.sqrt(np.diag(scale * local.curvature))
    size = d * np.where(data.logs, 1.0, at)
    # Where the data say nothing, anything up to ten times the largest term is as likely.
    loose = np.where(d > 0, d / (10 * size.max()), 0.0) ** 2 + data.precision
    downhill = scale * local.jacobian.T @ (data.w * local.psi) + data.precision * data.pull(at)
    return _Posterior(scale * local.curvature + np.diag(loose), downhill, noise, loose)


def _draws(
    data: Problem, at: Floats, posterior: _Posterior, rng: np.random.Generator, count: int, freedom: float
) -> Floats:
    """Solve the problem again with the score and the priors' medians drawn anew."""
    root = _root(posterior.noise)
    # Student's t: the noise itself is known from few rows or groups only.
    stretch = np.sqrt(freedom / rng.chisquare(freedom, (count, 1)))
    score = rng.standard_normal((count, data.k)) @ root.T * stretch
    score += rng.standard_normal((count, data.k)) * np.sqrt(posterior.loose)
    # What is downhill still at a bound keeps coefficients there that the data want beyond it.
    steps = bounded_steps(data, at, posterior.hessian, posterior.downhill + score, FAR)
    # Where a term all but vanishes, its logarithm's slope does too: no draw leaves what its prior allows.
    safe = np.where(data.logs, np.maximum(at, 1e-300), 1.0)
    edge = data.log_prior + _TAIL / np.sqrt(np.where(data.logs, data.precision, 1.0)) - np.log(safe)
    steps = np.where(data.logs, np.minimum(steps, np.maximum(edge, 0.0)), steps)
    return np.asarray([moved(data, at, step) for step in steps])


def _root(matrix: Floats) -> Floats:
    """R of R·Rᵀ, for a matrix that is positive but for rounding."""
    values, vectors = np.linalg.eigh(scaled(matrix))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)) * root_diagonal(matrix)[:, None])


def _judged(
    data: Problem, at: Floats, covariance: Floats, names: tuple[str, ...]
) -> tuple[tuple[bool, ...], tuple[str, ...]]:
    """Tell which coefficients the data determine, and why not the others."""
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    seen = data.x.max(axis=0) > 0
    share = (data.x / (data.x @ at)[:, None]).max(axis=0)
    correlation = covariance / np.outer(root_diagonal(covariance), root_diagonal(covariance))
    identified, warnings = [], []
    for i, name in enumerate(names):
        if data.logs[i]:
            good = seen[i] and error[i] <= _KNOWN * data.precision[i] ** -0.5
        else:
            good = seen[i] and at[i] > 0 and error[i] <= _KNOWN * at[i]
        bound = data.lower[i] > 0 and at[i] <= data.lower[i] * (1 + 1e-9)
        identified.append(bool(good and not bound))
        if identified[-1]:
            continue
        held = "its prior decides" if data.logs[i] and not bound else f"it is left at {at[i]:.3g}"
        most = share[i] * (at[i] * np.exp(min(error[i], _TAIL)) if data.logs[i] else at[i] + 1.645 * error[i])
        others = [n for j, n in enumerate(names) if j != i and abs(correlation[i, j]) > _ALIKE]
        if not seen[i]:
            warnings.append(f"{name}: nothing in the data depends on it; {held}")
        elif bound:
            warnings.append(f"{name}: the data ask for less than its bound; {held}")
        elif others:
            warnings.append(f"{name}: cannot be told apart from {' and '.join(others)}; {held}")
        elif most < 0.1:
            warnings.append(
                f"{name}: at most {most * 100:.1f} % of any time here, too little to tell; {held}"
            )
        else:
            warnings.append(f"{name}: the data say little about it; {held}")
    return tuple(identified), tuple(warnings)
