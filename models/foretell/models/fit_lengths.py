"""Maximum-likelihood lengths of samples: random effects between problems, censored at the cap.

A problem's log median length is normal with mean μ − sd_between·hardness·ease and standard deviation
sd_between·√(1−hardness²); its ease is known as far as its right and wrong samples tell. Within a problem the
log lengths are normal: of right samples given that they end before the cap, of wrong ones censored there
(a Tobit model). Both the ease and the median are integrated out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.outcomes import Difficulty, FloatArray, Lengths, Outcomes

_EASES, _MEDIANS = 40, 120  # nodes of the ease and of a problem's log median
_NAMES = ("median_tokens", "sd_between", "sd_within", "hardness", "wrong_ratio")


@dataclass(frozen=True, slots=True)
class LengthFit:
    """Lengths, and the standard error of each of its fitted figures, in its own unit."""

    lengths: Lengths
    errors: dict[str, float]


def fit_lengths(
    problem: npt.NDArray[np.int64],
    tokens: FloatArray,
    correct: npt.NDArray[np.bool_],
    capped: npt.NDArray[np.bool_],
    cap_tokens: int,
    difficulty: Difficulty,
) -> LengthFit:
    """Fit by maximum likelihood; standard errors from the scores of the problems (outer products).

    Args:
        problem: index of each sample's problem.
        tokens, correct, capped: output tokens, whether right, and whether cut at the cap, by sample.
        cap_tokens: the cap.
        difficulty: the law of chances that was fitted to the same samples.

    Raises:
        ValueError: fewer than three problems, or no problem with two samples that ended.

    """
    from scipy.optimize import minimize

    problems = int(problem.max()) + 1
    y = np.log(tokens)

    def sums(mask: npt.NDArray[np.bool_]) -> tuple[FloatArray, FloatArray, FloatArray]:
        of = problem[mask]
        held = [np.bincount(of, y[mask] ** power, problems).astype(np.float64) for power in (0, 1, 2)]
        return held[0], held[1], held[2]

    right, wrong = sums(correct & ~capped), sums(~correct & ~capped)
    if problems < 3 or not np.any(right[0] + wrong[0] > 1):
        raise ValueError("lengths need three problems or more, and two samples that ended of one of them")
    cut = np.bincount(problem[capped], minlength=problems).astype(np.float64)
    held = _Data(
        right=right,
        wrong=wrong,
        cut=cut,
        log_cap=float(np.log(cap_tokens)),
        eased=_ease_weights(problem, correct, difficulty),
        medians=np.linspace(y.min() - 0.5, y.max() + 1.5, _MEDIANS),
    )
    start = _start(held, y)

    def loss(free: FloatArray) -> float:
        return -float(_log_likelihood(free, held).sum())

    found = minimize(loss, start, method="L-BFGS-B", bounds=_bounds(held))
    x = np.asarray(found.x)
    step = 1e-4
    scores = np.stack(
        [
            (_log_likelihood(x + step * unit, held) - _log_likelihood(x - step * unit, held)) / (2 * step)
            for unit in np.eye(len(x))
        ]
    )
    covariance = np.linalg.pinv(scores @ scores.T)
    figures = _figures(x)
    slopes = np.array([figures[0], figures[1], figures[2], 1 - figures[3] ** 2, figures[4]])
    spread = np.abs(slopes) * np.sqrt(np.diag(covariance))
    median, between, within, hardness, ratio = (float(v) for v in figures)
    return LengthFit(
        Lengths(max(median, 1.0), between, within, hardness, ratio, cap_tokens),
        dict(zip(_NAMES, map(float, spread), strict=True)),
    )


@dataclass(frozen=True, slots=True)
class _Data:
    """Per problem: (number, Σ log, Σ log²) of ended right and wrong samples; cut ones; its ease."""

    right: tuple[FloatArray, ...]
    wrong: tuple[FloatArray, ...]
    cut: FloatArray
    log_cap: float
    eased: FloatArray
    medians: FloatArray


def _figures(x: FloatArray) -> FloatArray:
    return np.array([np.exp(x[0]), np.exp(x[1]), np.exp(x[2]), np.tanh(x[3]), np.exp(x[4])])


def _bounds(held: _Data) -> list[tuple[float, float]]:
    return [(held.medians[0], held.medians[-1]), (-4.0, 1.5), (-4.0, 1.5), (-2.5, 2.5), (-2.0, 2.0)]


def _start(held: _Data, y: FloatArray) -> FloatArray:
    n = held.right[0] + held.wrong[0]
    some = n > 1
    means = (held.right[1] + held.wrong[1])[some] / n[some]
    within = (held.right[2] + held.wrong[2])[some] / n[some] - means**2
    between = max(float(np.var(means)), 0.01)
    return np.array(
        [np.median(y), np.log(between) / 2, np.log(max(float(within.mean()), 1e-3)) / 2, 0.3, 0.0]
    )


def _ease_nodes() -> FloatArray:
    from scipy.special import ndtri

    return np.asarray(ndtri((np.arange(_EASES) + 0.5) / _EASES))


def _ease_weights(
    problem: npt.NDArray[np.int64], correct: npt.NDArray[np.bool_], difficulty: Difficulty
) -> FloatArray:
    """P(ease | right and wrong samples), [problem, node]."""
    chance = Outcomes("", "", difficulty, Lengths(1, 0, 0)).chance(_ease_nodes())
    n = np.bincount(problem)
    c = np.bincount(problem, correct)
    p = np.clip(chance, 1e-9, 1 - 1e-9)
    log_weight = c[:, None] * np.log(p) + (n - c)[:, None] * np.log1p(-p)
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _log_likelihood(x: FloatArray, held: _Data) -> FloatArray:
    """Log likelihood of each problem's lengths given its right and wrong samples."""
    from scipy.special import log_ndtr

    _, between, within, hardness, ratio = _figures(x)
    m = held.medians
    shift = np.log(ratio)
    log_lik = _gauss(held.right, m, within) + _gauss(held.wrong, m + shift, within)
    log_lik -= held.right[0][:, None] * log_ndtr((held.log_cap - m) / within)
    log_lik += held.cut[:, None] * log_ndtr((m + shift - held.log_cap) / within)
    own = max(between * np.sqrt(1 - hardness**2), 0.6 * (m[1] - m[0]))  # no narrower than the nodes resolve
    centre = x[0] - between * hardness * _ease_nodes()
    prior = np.exp(-0.5 * ((m - centre[:, None]) / own) ** 2)
    prior /= prior.sum(axis=1, keepdims=True)
    top = log_lik.max(axis=1, keepdims=True)
    joint = held.eased @ prior
    return np.asarray(np.log(np.sum(joint * np.exp(log_lik - top), axis=1) + 1e-300) + top[:, 0])


def _gauss(held: tuple[FloatArray, ...], mean: FloatArray, sd: float) -> FloatArray:
    n, total, squares = (each[:, None] for each in held)
    return np.asarray(-(squares - 2 * mean * total + n * mean**2) / (2 * sd**2) - n * np.log(sd))
