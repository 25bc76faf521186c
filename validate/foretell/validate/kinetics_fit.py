"""Laws of accuracy fitted to the paper's points: truncation by length, and the KV budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.kinetics import PAPER, PAPER_INTENSITY, DecoderShape, query_cost
from foretell.models.kinetics_curves import Kept, law_curve
from foretell.models.kinetics_frontier import truncated_accuracy

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Truncation:
    """A, g50 and s of one model, and the root mean square of what is left of its curve."""

    ceiling: float
    half_tokens: float
    spread: float
    rmse: float

    @property
    def figures(self) -> tuple[float, float, float]:
        """As `law_curve` takes them."""
        return self.ceiling, self.half_tokens, self.spread


def tokens_of(shape: DecoderShape, costs: FloatArray, prompt: float) -> FloatArray:
    """Tokens that one trial generates for so many eFLOPs, by the published dense law."""
    grid = np.geomspace(1, 1e6, 4000)
    spent = query_cost(shape, prompt, grid, law=PAPER).eflops(PAPER_INTENSITY)
    return np.asarray(np.exp(np.interp(np.log(costs), np.log(spent), np.log(grid))))


def fit_truncation(
    shape: DecoderShape, costs: FloatArray, accuracy: FloatArray, ceiling: float, prompt: float
) -> Truncation:
    """Least squares of g50 and s, A given, on a dense curve whose costs are turned into tokens."""
    from scipy.optimize import curve_fit

    generated = tokens_of(shape, costs, prompt)

    def law(log_tokens: FloatArray, log_half: float, spread: float) -> FloatArray:
        return truncated_accuracy(np.exp(log_tokens), ceiling, np.exp(log_half), spread)

    found, _ = curve_fit(law, np.log(generated), accuracy, p0=(np.log(6000), 0.4))
    rmse = float(np.sqrt(np.mean((law(np.log(generated), *found) - accuracy) ** 2)))
    return Truncation(ceiling, float(np.exp(found[0])), float(found[1]), rmse)


def resampled(
    shape: DecoderShape, costs: FloatArray, accuracy: FloatArray, fit: Truncation, prompt: float, seed: int
) -> Truncation:
    """The fit to its own curve plus residuals drawn in runs of ten, which keeps their steps together."""
    rng = np.random.default_rng(seed)
    smooth = truncated_accuracy(tokens_of(shape, costs, prompt), *fit.figures)
    starts = rng.integers(0, len(costs) - 10, size=len(costs) // 10 + 1)
    drawn = np.concatenate([(accuracy - smooth)[start : start + 10] for start in starts])[: len(costs)]
    return fit_truncation(shape, costs, smooth + drawn, fit.ceiling, prompt)


@dataclass(frozen=True, slots=True)
class SparseFit:
    """B₀ and κ that several models share, A∞ of each, and the root mean square of what is left of each."""

    scale: float
    shape: float
    ceilings: Mapping[str, float]
    rmse: Mapping[str, float]


def fit_budget(
    shapes: Mapping[str, DecoderShape],
    truncations: Mapping[str, Truncation],
    costs: FloatArray,
    sparse: Mapping[str, FloatArray],
    prompt: float,
    sizes: Sequence[str],
) -> SparseFit:
    """Least squares of A(B) = A∞·(1 − exp(−(B/B₀)^κ)) on top-k frontiers, B₀ and κ alike for all `sizes`.

    Lengths follow the truncation law of the dense curves. For each pair (B₀, κ) A∞ follows linearly, since a
    frontier is in proportion to it.
    """
    from scipy.optimize import minimize

    def curves(free: FloatArray) -> dict[str, FloatArray]:
        kept = Kept(float(np.exp(free[0])), float(np.exp(free[1])))
        return {s: unit_curve(shapes[s], truncations[s], costs, prompt, kept) for s in sizes}

    def loss(free: FloatArray) -> float:
        made = curves(free)
        return float(sum(np.sum((ceiling(made[s], sparse[s]) * made[s] - sparse[s]) ** 2) for s in sizes))

    starts = [np.log((b, k)) for b in (100.0, 300.0) for k in (0.8, 1.6)]
    found = min((minimize(loss, x, method="Nelder-Mead") for x in starts), key=lambda one: one.fun).x
    made = curves(found)
    ceilings = {s: ceiling(made[s], sparse[s]) for s in sizes}
    left = {s: float(np.sqrt(np.mean((ceilings[s] * made[s] - sparse[s]) ** 2))) for s in sizes}
    return SparseFit(float(np.exp(found[0])), float(np.exp(found[1])), ceilings, left)


def unit_curve(
    shape: DecoderShape, fit: Truncation, costs: FloatArray, prompt: float, kept: Kept
) -> FloatArray:
    """The sparse frontier of a model whose A∞ is 1."""
    return law_curve(costs, shape, (1.0, fit.half_tokens, fit.spread), prompt, kept=kept)


def ceiling(curve: npt.ArrayLike, points: FloatArray) -> float:
    """The factor that brings a curve closest to points."""
    made = np.asarray(curve, dtype=np.float64)
    return float(made @ points / (made @ made))
