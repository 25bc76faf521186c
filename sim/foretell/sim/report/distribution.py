"""How a figure is distributed over the requests of a run, and how far that of another run may lie."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.sim.intervals import Estimate

FloatArray = npt.NDArray[np.float64]
_TAME = 4.0
"""How far an interval's ends may lie apart, as a factor, for a curve to be scaled to them."""
_FROM = 0.01
"""Share from which on a band is drawn."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Values in order and the share of all that is at or below each.

    Attributes:
        values: (n,), ascending.
        share: (n,), of (0, 1].

    """

    values: FloatArray
    share: FloatArray

    def __len__(self) -> int:
        return len(self.values)

    def quantile(self, share: float) -> float:
        """The smallest value that this share is at or below."""
        return float(self.values[min(int(np.searchsorted(self.share, share - 1e-12)), len(self.values) - 1)])

    def within(self, limit: float) -> float:
        """The share at or below a limit."""
        at = int(np.searchsorted(self.values, limit, side="right"))
        return float(self.share[at - 1]) if at else 0.0


def distribution(values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Distribution:
    """The empirical distribution of values that are not NaN; `weights` says how often each is there."""
    found = np.asarray(values, dtype=np.float64)
    count = np.ones_like(found) if weights is None else np.asarray(weights, dtype=np.float64)
    kept = ~np.isnan(found) & (count > 0)
    found, count = found[kept], count[kept]
    order = np.argsort(found, kind="stable")
    return Distribution(found[order], np.cumsum(count[order]) / max(float(count.sum()), 1e-300))


def quantiles(summary: Mapping[str, Estimate], metric: str) -> dict[float, Estimate]:
    """The forecast's percentiles of a latency, by share."""
    name = re.compile(rf"{re.escape(metric)}_p([\d.]+)_s")
    found = {float(m[1]) / 100: e for key, e in summary.items() if (m := name.fullmatch(key))}
    return {share: found[share] for share in sorted(found) if np.isfinite(found[share].value)}


def band(
    of: Distribution, known: Mapping[float, Estimate]
) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Where another run's curve lies in 9 of 10 cases: values, lowest and highest share; None if unknown.

    At the percentiles that have an interval it is theirs; between them, the ratio of the interval's ends to
    the curve is interpolated over the share; below the lowest it is as there; above the highest it ends.
    """
    sure = {q: e for q, e in known.items() if 0 < e.low < e.high < np.inf}
    if len(sure) < 2 or not len(of) or any(e.high > _TAME * e.low for e in sure.values()):
        return None
    shares = np.array(list(sure))
    at = np.array([of.quantile(share) for share in shares])
    if not (at > 0).all():
        return None
    grid = np.linspace(_FROM, shares[-1], 160)
    curve = np.array([of.quantile(share) for share in grid])
    fast, slow = (
        np.maximum.accumulate(curve * np.interp(grid, shares, np.array(ends) / at))
        for ends in ([e.low for e in sure.values()], [e.high for e in sure.values()])
    )
    values = np.unique(np.concatenate([fast, slow]))
    values = values[(values >= fast[0]) & (values <= slow[-1])]
    low = np.where(values < slow[0], _FROM, np.interp(values, slow, grid))
    high = np.interp(values, fast, grid)
    return values, low, high
