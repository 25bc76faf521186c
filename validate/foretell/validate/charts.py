"""Charts as inline SVG, from arrays to text: no library, no script, nothing loaded, colours by CSS variables.

A chart is an image to assistive technology (`role="img"` with a title and a description); series differ by
colour and by marker, so that colour alone never tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_WIDTH, _HEIGHT = 460, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 12, 46
_MARKERS: tuple[Callable[[float, float], str], ...] = (  # paths round a point
    lambda x, y: f"M{x - 2.6:.1f} {y:.1f}a2.6 2.6 0 1 0 5.2 0a2.6 2.6 0 1 0-5.2 0",
    lambda x, y: f"M{x - 2.4:.1f} {y - 2.4:.1f}h4.8v4.8h-4.8z",
    lambda x, y: f"M{x:.1f} {y - 3.2:.1f}l3.2 5.6h-6.4z",
    lambda x, y: f"M{x:.1f} {y - 3.4:.1f}l3.4 3.4l-3.4 3.4l-3.4-3.4z",
)
COLOURS = 8
"""CSS variables --c0, --c1, ... that a page must define."""


@dataclass(frozen=True, slots=True)
class Points:
    """A series of a scatter plot: measured and predicted seconds, and a label of each point."""

    measured: Array
    predicted: Array
    labels: Sequence[str]


def scatter(series: Mapping[str, Points], title: str) -> str:
    """Plot predicted over measured, on like logarithmic axes, with the diagonal and ±20 % beside it."""
    values = np.concatenate([np.r_[one.measured, one.predicted] for one in series.values()] or [np.ones(1)])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return "<p>No row is predicted.</p>"
    low, high = math.log10(values.min()) - 0.05, math.log10(values.max()) + 0.05

    def across(value: float) -> float:
        return _LEFT + (math.log10(value) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def up(value: float) -> float:
        return _HEIGHT - _BOTTOM - (math.log10(value) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    ends = 10**low, 10**high
    parts = []
    for tick in _decades(low, high):
        x, y, text = across(tick), up(tick), _short(tick)
        parts.append(
            f'<path class="grid" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{text}</text>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )
    for factor, kind in ((1.0, "equal"), (1.2, "near"), (1 / 1.2, "near")):
        start, end = max(ends[0], ends[0] / factor), min(ends[1], ends[1] / factor)
        parts.append(
            f'<path class="{kind}" d="M{across(start):.1f} {up(start * factor):.1f}'
            f'L{across(end):.1f} {up(end * factor):.1f}"/>'
        )
    for index, one in enumerate(series.values()):
        marks = [
            f'<path d="{marker(index, across(x), up(y))}"><title>{escape(label)}</title></path>'
            for x, y, label in zip(one.measured, one.predicted, one.labels, strict=True)
            if np.isfinite(x) and np.isfinite(y) and x > 0 and y > 0
        ]
        parts.append(f'<g fill="var(--c{index % COLOURS})" class="mark">{"".join(marks)}</g>')
    parts.append(
        f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">measured</text>'
        f'<text transform="translate(14 {_HEIGHT / 2 - 20}) rotate(-90)" text-anchor="middle">'
        f"predicted</text>"
    )
    count = sum(len(one.measured) for one in series.values())
    about = f"{count} points on logarithmic axes; the full line is equality, the dashed ones ±20 %."
    return _svg(_WIDTH, _HEIGHT, title, about, parts)


def boxes(groups: Mapping[str, Array], title: str, limit: float = 60.0) -> str:
    """Show residuals [%] by group: whiskers from 5 to 95 %, a box from 25 to 75 %, the median, and the count.

    Args:
        groups: residuals of each group.
        title: for assistive technology.
        limit: where the axis ends on both sides; what lies beyond is drawn at its end.

    """
    row, left, right = 20, 170, 44
    width, height = _WIDTH, row * len(groups) + 34

    def across(value: float) -> float:
        return left + (min(max(value, -limit), limit) + limit) / (2 * limit) * (width - left - right)

    parts = [
        f'<path class="{"equal" if tick == 0 else "grid"}" d="M{across(tick):.1f} 4V{height - 26}"/>'
        f'<text x="{across(tick):.1f}" y="{height - 10}" text-anchor="middle">'
        f"{format(tick, '+g' if tick else 'g')} %</text>"
        for tick in np.linspace(-limit, limit, 5)
    ]
    words = []
    for index, (name, values) in enumerate(groups.items()):
        finite = values[np.isfinite(values)]
        y = 4 + row * (index + 0.5)
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<text x="{width - 4}" y="{y + 4:.1f}" text-anchor="end" class="dim">{len(finite)}</text>'
        )
        if not len(finite):
            continue
        ends = np.quantile(finite, [0.05, 0.25, 0.5, 0.75, 0.95])
        words.append(f"{name}: median {ends[2]:+.1f} %")
        a, b, c, d, e = (across(end) for end in ends)
        parts.append(
            f'<path class="whisker" d="M{a:.1f} {y:.1f}H{b:.1f}M{d:.1f} {y:.1f}H{e:.1f}"/>'
            f'<rect class="box" x="{b:.1f}" y="{y - 6:.1f}" width="{max(d - b, 0.5):.1f}" height="12"/>'
            f'<path class="median" d="M{c:.1f} {y - 7:.1f}v14"/>'
        )
    return _svg(width, height, title, "; ".join(words) or "no row", parts)


def legend(names: Sequence[str]) -> str:
    """The marker and colour of every series, in the order of `scatter`."""
    items = "".join(
        f'<li><svg width="12" height="12" aria-hidden="true"><path fill="var(--c{index % COLOURS})" '
        f'd="{marker(index, 6, 6)}"/></svg> {escape(name)}</li>'
        for index, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def marker(series: int, x: float, y: float) -> str:
    """The path of a series' marker round a point."""
    return _MARKERS[series % len(_MARKERS)](x, y)


def _svg(width: float, height: float, title: str, about: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><desc>{escape(about)}</desc>{''.join(parts)}</svg>"
    )


def _decades(low: float, high: float) -> list[float]:
    steps = (1.0, 2.0, 5.0) if high - low < 2.5 else (1.0,)
    ticks = (step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps)
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


def _short(seconds: float) -> str:
    return f"{seconds * 1e3:g} ms" if seconds < 1 else f"{seconds:g} s"
