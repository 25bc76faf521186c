"""Where a bounded sum of terms fits best: the Newton rounds of `foretell.models.calibration`.

A coefficient with a log-normal prior is sought by its logarithm, the others as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FAR = 30.0
"""Most that a logarithm may fall in a draw: to nothing."""
LEAST_ERROR = 1e-4
"""Least relative error that is believed: clocks are no better."""
_ROUNDS = 60
_TRUST = 2.0
"""Most that a logarithm may change in one round."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The checked problem: y ~ x @ coefficients, weights w, priors by median and precision in logarithms."""

    x: Floats
    y: Floats
    w: Floats
    lower: Floats
    log_prior: Floats
    precision: Floats

    @property
    def k(self) -> int:
        """Coefficients."""
        return int(self.x.shape[1])

    @property
    def total(self) -> float:
        """Observations."""
        return float(self.w.sum())

    @property
    def logs(self) -> npt.NDArray[np.bool_]:
        """Which coefficients have a prior."""
        return np.asarray(self.precision > 0)

    def pull(self, at: Floats) -> Floats:
        """How far the priors' medians are above, in logarithms; 0 without a prior."""
        safe = np.where(self.logs, at, 1.0)
        return np.where(self.logs, self.log_prior - np.log(safe), 0.0)


@dataclass(frozen=True, slots=True)
class Local:
    """Residuals and derivatives at a point, by coefficient (or its logarithm)."""

    residual: Floats
    jacobian: Floats
    psi: Floats
    slope: float
    curvature: Floats
    weights: Floats


def first_guess(data: Problem) -> Floats:
    """The bounded least squares of relative residuals; priors hold what has one."""
    from scipy.optimize import nnls

    size = np.sqrt(np.mean((data.x / data.y[:, None]) ** 2, axis=0))
    size[size == 0] = 1.0
    relative = data.x / data.y[:, None]
    root = np.sqrt(data.w)
    centre = np.exp(data.log_prior)
    extra = np.where(data.logs, np.sqrt(np.minimum(data.precision, 1e6)) / centre, 0.0)
    a = np.concatenate([root[:, None] * relative, np.diag(extra)])
    b = np.concatenate([root, extra * centre]) - a @ data.lower
    gram, moment = (a / size).T @ (a / size), (a / size).T @ b
    at: Floats = data.lower + nnls(*_root_system(gram, moment))[0] / size
    floor = np.where(data.logs, 1e-3 * centre, 0.0)
    return np.asarray(_positive(data, np.maximum(at, floor)))


def _positive(data: Problem, at: Floats) -> Floats:
    """Make every row take time: raise what it has to the least that does."""
    if (data.x @ at > 0).all():
        return at
    size = data.x.max(axis=0)
    least = np.where(size > 0, 1e-6 * data.y.min() / np.where(size > 0, size, 1.0), 0.0)
    return np.asarray(np.maximum(at, least))


def local_at(data: Problem, at: Floats, width: float) -> Local:
    """Residuals and derivatives; residuals beyond `width` count less."""
    fitted = data.x @ at
    residual = np.log(data.y) - np.log(fitted)
    bend = 1 + (residual / width) ** 2
    jacobian = data.x / fitted[:, None] * np.where(data.logs, at, 1.0)
    slopes = bend**-1.5
    slope = float(np.sum(data.w * slopes) / data.total)
    curvature = jacobian.T @ ((data.w * slopes)[:, None] * jacobian)
    return Local(residual, jacobian, residual / np.sqrt(bend), slope, curvature, data.w)


def loss_at(data: Problem, at: Floats, width: float, scale: float) -> float:
    """What the fit minimises: pseudo-Huber loss of the residuals, and the priors' squares."""
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.log(data.y) - np.log(data.x @ at)
    if np.isinf(width):
        each = residual**2 / 2
    else:
        each = width**2 * (np.sqrt(1 + (residual / width) ** 2) - 1)
    value = scale * np.sum(data.w * each) + 0.5 * np.sum(data.precision * data.pull(at) ** 2)
    return float(value) if np.isfinite(value) else np.inf


def information(data: Problem, at: Floats, width: float, spread: float) -> float:
    """Weight of the data against priors: mean slope over mean square of the residuals' influence."""
    spread = max(spread, LEAST_ERROR)
    if np.isinf(width):
        return spread**-2
    # Under a normal law of this spread, by quadrature.
    z = np.linspace(-6, 6, 241)
    law = np.exp(-(z**2) / 2)
    bend = 1 + (z * spread / width) ** 2
    return float(np.sum(law * bend**-1.5) / np.sum(law * (z * spread) ** 2 / bend))


def residual_spread(data: Problem, at: Floats) -> float:
    """The robust standard deviation of the residuals: their median size, for a normal law."""
    residual = np.abs(np.log(data.y) - np.log(data.x @ at))
    order = np.argsort(residual)
    below = np.cumsum(data.w[order])
    middle = residual[order][np.searchsorted(below, 0.5 * below[-1])]
    return max(float(middle) * 1.4826, LEAST_ERROR)


def optimum(data: Problem, at: Floats, width: float, scale: float) -> Floats:
    """Damped Newton rounds, each a bounded quadratic problem of k unknowns."""
    value = loss_at(data, at, width, scale)
    for _ in range(_ROUNDS):
        local = local_at(data, at, width)
        hessian = scale * local.curvature + np.diag(data.precision)
        downhill = scale * local.jacobian.T @ (data.w * local.psi) + data.precision * data.pull(at)
        step = bounded_steps(data, at, hessian, downhill[None, :], _TRUST)[0]
        size = 1.0
        while True:
            new = moved(data, at, np.minimum(size * step, np.where(data.logs, _TRUST, np.inf)))
            gained = value - (new_value := loss_at(data, new, width, scale))
            if gained >= 0 or size < 1e-6:
                break
            size /= 2
        if not gained > 1e-10 * (1 + abs(value)):
            return new if gained > 0 else at
        at, value = new, new_value
    return at


def moved(data: Problem, at: Floats, step: Floats) -> Floats:
    """Take a step, in logarithms where there is a prior, and keep the bounds."""
    with np.errstate(over="ignore"):
        new = np.where(data.logs, at * np.exp(np.where(data.logs, step, 0.0)), at + step)
    return np.asarray(np.maximum(new, data.lower))


def bounded_steps(data: Problem, at: Floats, hessian: Floats, downhill: Floats, trust: float) -> Floats:
    """Minimise ½ s·H·s − g·s over steps that keep the bounds, for every row g of `downhill`."""
    from scipy.optimize import nnls

    safe = np.where(data.lower > 0, data.lower, 1.0)
    fall = np.where(data.lower > 0, np.log(np.maximum(at, 1e-300) / safe), trust)
    room = np.where(data.logs, np.minimum(fall, trust), at - data.lower)
    d = root_diagonal(hessian)
    moment = (downhill + room @ hessian) / d  # of the distance to the bound, d·(step + room) >= 0
    a, b = _root_system(hessian / np.outer(d, d), moment.T)
    return np.asarray([nnls(a, column)[0] / d - room for column in b.T])


def _root_system(gram: Floats, moment: Floats) -> tuple[Floats, Floats]:
    """A and b with AᵀA = gram and Aᵀb = moment (as far as gram has rank)."""
    values, vectors = np.linalg.eigh(gram)
    keep = values > 1e-15 * max(values[-1], 1e-300)
    root = np.sqrt(values[keep])
    a = root[:, None] * vectors[:, keep].T
    shape = (-1,) + (1,) * (moment.ndim - 1)
    return a, (vectors[:, keep].T @ moment) / root.reshape(shape)


def root_diagonal(matrix: Floats) -> Floats:
    """Square roots of the diagonal, 1 where it is 0."""
    d = np.sqrt(np.diag(matrix))
    return np.asarray(np.where(d > 0, d, 1.0))


def scaled(matrix: Floats) -> Floats:
    """Scale a matrix to a diagonal of ones, so that units do not matter to what is small."""
    d = root_diagonal(matrix)
    return np.asarray(matrix / np.outer(d, d))
