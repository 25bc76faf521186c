"""Axes of charts: from figures to pixels, with ticks that people read without thinking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.sim.quantities import show_number
from foretell.sim.report.svg import decades

FloatArray = npt.NDArray[np.float64]
CHARACTER_PX = 6.3
"""Width of a usual character of a chart's text, somewhat generous."""

_SECONDS = ((1e-3, "µs", 1e-6), (1.0, "ms", 1e-3), (600.0, "s", 1.0), (36_000.0, "min", 60.0))
_LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows.

    Attributes:
        label: what it is, in words.
        unit: "s" (shown as µs, ms, s, min or h), "share" (0 to 1, shown in %), "usd", "" for plain numbers,
            or any other word, which is shown.
        log: whether logarithmic; what is not above 0 is left out then.
        low, high: its ends; None: what the figures need, from 0 where 0 is near.

    """

    label: str
    unit: str = ""
    log: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis over pixels.

    Attributes:
        low, high: its ends in the axis' own unit.
        start_px, end_px: where they lie.
        log: whether logarithmic.
        title: label and unit.
        ticks: values and their texts.

    """

    low: float
    high: float
    start_px: float
    end_px: float
    log: bool
    title: str
    ticks: tuple[tuple[float, str], ...]

    def place(self, values: npt.ArrayLike) -> FloatArray:
        """Pixels of values; NaN where there is no place: not finite, or not above 0 on a logarithmic axis."""
        found = np.asarray(values, dtype=np.float64)
        found = np.where(np.isfinite(found), found, np.nan)
        low, high = self.low, self.high
        if self.log:
            found = np.log10(np.where(found > 0, found, np.nan))
            low, high = math.log10(low), math.log10(high)
        return self.start_px + (found - low) / (high - low) * (self.end_px - self.start_px)

    def at(self, value: float) -> float:
        """The pixel of one value."""
        return float(self.place(value))

    def shows(self, value: float) -> bool:
        """Whether a value lies on it."""
        return self.low <= value <= self.high


def scale(axis: Axis, values: FloatArray, start_px: float, end_px: float, *, across: bool) -> Scale:
    """Fit an axis to the values that it must show; upright axes end on a tick."""
    low, high = _ends(axis, values)
    room = abs(end_px - start_px) / (62 if across else 38)
    if axis.log:
        places = _log_ticks(low, high, room)
    else:
        factor = _factor(axis, high)
        step = _nice(max(high - low, 1e-300) / factor / max(room, 2)) * factor
        if not across and axis.high is None:
            high = math.ceil(high / step - 1e-9) * step
        if not across and axis.low is None:
            low = math.floor(low / step + 1e-9) * step
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        places = [step * index for index in range(first, last + 1)]
    title, texts = _texts(axis, places, high)
    return Scale(low, high, start_px, end_px, axis.log, title, tuple(zip(places, texts, strict=True)))


def _ends(axis: Axis, values: FloatArray) -> tuple[float, float]:
    found = values[np.isfinite(values) & ((values > 0) | (not axis.log))]
    low = float(found.min()) if len(found) else (0.1 if axis.log else 0.0)
    high = float(found.max()) if len(found) else 1.0
    if not axis.log and 0 <= low <= 0.6 * high:
        low = 0.0
    if not axis.log and axis.unit == "share" and 0.6 <= high <= 1:
        high = 1.0
    low = low if axis.low is None else axis.low
    high = high if axis.high is None else axis.high
    if axis.log and not high > low * 1.05:
        return low / 1.5, low * 1.5
    if not high > low:
        spare = 0.05 * abs(low) or 1.0
        return low - spare * (low != 0), low + spare
    return low, high


def _nice(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5, 10 times a power of ten that is not less."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * part for part in (1, 2, 2.5, 5, 10) if power * part >= least * (1 - 1e-9))


def _log_ticks(low: float, high: float, room: float) -> list[float]:
    start, end = math.log10(low), math.log10(high)
    places = decades(start - 1e-9, end + 1e-9)
    if len(places) < 2:
        step = _nice((high - low) / 4)
        return [step * i for i in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]
    if len(places) > room:
        whole = [place for place in places if abs(math.log10(place) % 1) < 1e-6]
        places = whole if len(whole) > 1 else places
        places = places[:: max(1, math.ceil(len(places) / room))]
    return places


def _factor(axis: Axis, high: float) -> float:
    """What one unit of the axis' texts is, so that steps are round in it."""
    if axis.unit == "s":
        return next((factor for below, _, factor in _SECONDS if high < below), 3600.0)
    return 0.01 if axis.unit == "share" else 1.0


def _texts(axis: Axis, places: Sequence[float], high: float) -> tuple[str, list[str]]:
    """The axis' title, and a text for each tick."""
    unit, factor = {"share": "%", "usd": "USD"}.get(axis.unit, axis.unit), _factor(axis, high)
    if axis.unit == "s":
        if axis.log:
            return f"{axis.label}, log scale", [_time(place) for place in places]
        unit = next((unit for below, unit, _ in _SECONDS if high < below), "h")
    if axis.log:
        texts = [_plain(place / factor) for place in places]
        return ", ".join(filter(None, (axis.label, unit, "log scale"))), texts
    step = abs(places[1] - places[0]) / factor if len(places) > 1 else max(abs(high) / factor, 1e-12)
    size, prefix = next(((size, name) for size, name in _LARGE if abs(high) / factor >= 10 * size), (1.0, ""))
    small = abs(high) / factor < 1e-3 and high != 0
    if small:
        size, power = (
            10.0 ** math.floor(math.log10(abs(high) / factor)),
            math.floor(math.log10(high / factor)),
        )
        unit = f"10{str(power).translate(_RAISED)} {unit}".strip()
    decimals = _decimals(step / size)
    texts = [f"{place / factor / size:,.{decimals}f}{prefix}" if place else "0" for place in places]
    return f"{axis.label} ({unit})" if unit else axis.label, texts


def _decimals(step: float) -> int:
    """Decimals that a step needs."""
    return next((d for d in range(9) if abs(step * 10**d - round(step * 10**d)) < 1e-6 * step * 10**d), 9)


def _time(seconds: float) -> str:
    unit, factor = next(((u, f) for below, u, f in _SECONDS[:2] if seconds < below * (1 - 1e-9)), ("s", 1.0))
    return f"{_plain(seconds / factor)} {unit}"


def _plain(value: float) -> str:
    """A tick of a logarithmic axis."""
    for size, name in _LARGE:
        if value >= size * (1 - 1e-9):
            return f"{value / size:.6g}{name}"
    if value >= 1e-6:
        return f"{value:,.{_decimals(value)}f}"
    return show_number(value)
