"""Intervals from replications: where one more run would land, by Student's t.

The n replications differ in seed (arrivals, lengths, routing) and in a draw of what is not known for
sure: the step cost's own error and the KV cache. The value beside the interval is that of the same
seeds with nothing drawn. The interval is the t prediction interval of one more drawn run,
mean ± t·s·√(1 + 1/n): it speaks of the deployment, not of the mean of many, and does not shrink to
nothing with n. Figures that are positive in every run are taken in logarithms, so that the interval
stays positive and may be lopsided; where they spread over more than a factor of e (around saturation),
the upper end is the plain one, since the logarithmic one runs away. Others are cut at 0, shares at 1.

Source: Hahn and Meeker, Statistical Intervals (1991), section 4.7; Abramowitz and Stegun 26.7.3-4 for t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

LEVEL = 0.9
"""Confidence level of every interval."""


FEW = 4
"""Runs below which the interval is their range: Student's t would be wider than anything physical."""
_RUNAWAY = 1.0
"""Spread of logarithms from which on their upper end is not used."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure of a forecast.

    Attributes:
        value: mean over the nominal runs that have one; NaN when none has.
        low, high: 90 % prediction interval for one run; NaN from a single replication.
        values: the figure in every drawn run.

    """

    value: float
    low: float
    high: float
    values: tuple[float, ...] = ()


def estimate(
    values: Sequence[float],
    *,
    nominal: Sequence[float] | None = None,
    share: bool = False,
    level: float = LEVEL,
) -> Estimate:
    """Summarise the replications of a figure.

    Args:
        values: in the drawn runs, for the interval.
        nominal: in the nominal ones, for the value; the same when None.
        share: cuts the interval to [0, 1].
        level: of the interval.
    """
    given = values if nominal is None else nominal
    told = [value for value in given if not math.isnan(value)]
    kept = [value for value in values if not math.isnan(value)]
    mean = math.fsum(told) / len(told) if told else math.nan
    if len(kept) < 2 or not told:
        return Estimate(mean, math.nan, math.nan, tuple(values))
    if min(kept) == max(kept):
        same = kept[0] if min(told) == max(told) else mean  # a mean of equal values may not be one of them
        return Estimate(same, min(same, kept[0]), max(same, kept[0]), tuple(values))
    if len(kept) < FEW:
        return Estimate(mean, min(mean, *kept), max(mean, *kept), tuple(values))
    logs = _logarithms(kept, share)
    t = t_quantile((1 + level) / 2, len(kept) - 1)
    centre, spread = _moments(kept)
    low, high = centre - t * spread, centre + t * spread
    if logs:
        centre, spread = _moments(logs)
        low = math.exp(centre - t * spread)
        if spread < _RUNAWAY:
            high = math.exp(centre + t * spread)
    low = max(low, min(0.0, *kept))  # no figure is below zero
    if share:
        high = min(high, 1.0)
    return Estimate(mean, min(low, mean), max(high, mean), tuple(values))


def chance_below(values: Sequence[float], limit: float, *, share: bool = False) -> float:
    """Probability that one more run's figure is at most `limit`; NaN if any replication lacks the figure."""
    if not values or any(math.isnan(value) for value in values):
        return math.nan
    logs = _logarithms(values, share)
    if len(values) < 2:
        return math.nan
    centre, spread = _moments(logs or list(values))
    if logs and limit <= 0:
        return 0.0
    at = math.log(limit) if logs else limit
    if spread <= 1e-12 * max(abs(centre), 1.0):
        return float(math.fsum(values) / len(values) <= limit)
    return t_cdf((at - centre) / spread, len(values) - 1)


def t_cdf(t: float, df: int) -> float:
    """Student's t distribution function with `df` >= 1 whole degrees of freedom."""
    theta = math.atan2(t, math.sqrt(df))
    cosine = math.cos(theta)
    term, total = (cosine if df % 2 else 1.0), 0.0
    for k in range(3 if df % 2 else 2, df + 1, 2):  # A&S: Σ of (k−2)!!/(k−1)!! cosᵏ⁻²
        total += term
        term *= (k - 1) / k * cosine * cosine
    if df % 2:
        inside = 2 / math.pi * (theta + math.sin(theta) * total)
    else:
        inside = math.sin(theta) * total
    return (1 + inside) / 2


@cache
def t_quantile(p: float, df: int) -> float:
    """Student's t quantile for 0 < p < 1, by bisection to 12 digits."""
    if p < 0.5:
        return -t_quantile(1 - p, df)
    high = 1.0
    while t_cdf(high, df) < p:
        high *= 2
    low = 0.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return high


def _logarithms(values: Sequence[float], share: bool) -> list[float] | None:
    return [math.log(v) for v in values] if not share and all(0 < v < math.inf for v in values) else None


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and the standard error of predicting one more value."""
    n = len(values)
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return mean, math.sqrt(variance * (1 + 1 / n))
