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

from foretell.sim.report.svg import COLOURS, decades, marker, svg

Array = npt.NDArray[np.float64]
_WIDTH, _HEIGHT = 460, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 12, 46
DRAWN = 5000
"""Points of a chart that are drawn at most, if nothing else is said."""


@dataclass(frozen=True, slots=True)
class Points:
    """A series of a scatter plot: measured and predicted seconds, and a label of each point."""

    measured: Array
    predicted: Array
    labels: Sequence[str]


def scatter(
    series: Mapping[str, Points], title: str, band: float = 0.2, unit: str = "s", drawn: int = DRAWN
) -> str:
    """Plot predicted over measured, on like logarithmic axes, with the diagonal and ±`band` beside it.

    Of more than `drawn` points an even choice is drawn.
    """
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
    for tick in decades(low, high):
        x, y, text = across(tick), up(tick), _short(tick, unit)
        parts.append(
            f'<path class="grid" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{text}</text>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )
    for factor, kind in ((1.0, "equal"), (1 + band, "near"), (1 - band, "near")):
        start, end = max(ends[0], ends[0] / factor), min(ends[1], ends[1] / factor)
        parts.append(
            f'<path class="{kind}" d="M{across(start):.1f} {up(start * factor):.1f}'
            f'L{across(end):.1f} {up(end * factor):.1f}"/>'
        )
    step = _step(series, drawn)
    for index, one in enumerate(series.values()):
        shown = (one.measured > 0) & (one.predicted > 0)
        parts.append(_marks(index, one, shown, across, up, step))
    parts.append(
        f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">measured</text>'
        f'<text transform="translate(14 {_HEIGHT / 2 - 20}) rotate(-90)" text-anchor="middle">'
        f"predicted</text>"
    )
    count = sum(len(one.measured) for one in series.values())
    near = sum(int(np.sum(np.abs(one.predicted / one.measured - 1) <= band)) for one in series.values())
    about = (
        f"{count} points on logarithmic axes; the full line is equality, the dashed ones ±{100 * band:g} %, "
        f"between which {near} of the points lie."
    )
    return svg(_WIDTH, _HEIGHT, title, about, parts)


def against(
    series: Mapping[str, Points], title: str, across: str, limit: float = 60.0, drawn: int = DRAWN
) -> str:
    """Plot errors [%] over a load on a logarithmic axis, with 0 and ±10 %; what lies beyond is at the end.

    Args:
        series: loads as `measured`, errors as `predicted`.
        title: for assistive technology.
        across: what the load is.
        limit: where the axis of errors ends on both sides.
        drawn: points that are drawn at most, an even choice.

    """
    values = np.concatenate([one.measured for one in series.values()] or [np.zeros(0)])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return "<p>No row is predicted.</p>"
    height = 300
    low, high = math.log10(values.min()) - 0.05, math.log10(values.max()) + 0.05

    def place(value: float) -> float:
        return _LEFT + (math.log10(value) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def up(error: float) -> float:
        kept = min(max(error, -limit), limit)
        return _TOP + (limit - kept) / (2 * limit) * (height - _TOP - _BOTTOM)

    parts = [
        f'<path class="grid" d="M{place(tick):.1f} {_TOP}V{height - _BOTTOM}"/>'
        f'<text x="{place(tick):.1f}" y="{height - _BOTTOM + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in decades(low, high)
    ]
    for error in (*np.linspace(-limit, limit, 5), -10.0, 10.0):
        kind = "equal" if error == 0 else "near" if abs(error) == 10 else "grid"
        parts.append(f'<path class="{kind}" d="M{_LEFT} {up(error):.1f}H{_WIDTH - _RIGHT}"/>')
        if abs(error) != 10 or limit < 40:
            text = format(error, "+g" if error else "g").replace("-", "−")
            parts.append(f'<text x="{_LEFT - 6}" y="{up(error) + 4:.1f}" text-anchor="end">{text} %</text>')
    step = _step(series, drawn)
    for index, one in enumerate(series.values()):
        shown = (one.measured > 0) & np.isfinite(one.predicted)
        parts.append(_marks(index, one, shown, place, up, step))
    parts.append(
        f'<text x="{(_LEFT + _WIDTH) / 2}" y="{height - 8}" text-anchor="middle">{escape(across)}</text>'
    )
    errors = np.concatenate([one.predicted for one in series.values()])
    inside = np.mean(np.abs(errors[np.isfinite(errors)]) <= 10)
    about = f"{len(errors)} points; {100 * inside:.0f} % of them are within ±10 %, the dashed lines."
    return svg(_WIDTH, height, title, about, parts)


def shares(rows: Mapping[str, tuple[float, int]], title: str, nominal: float = 0.9) -> str:
    """Show shares of [0, 1] as bars beside a line at the nominal one, with the share and its count."""
    row, left, right = 22, 190, 92
    width, height = _WIDTH, row * len(rows) + 30
    scale = width - left - right
    parts = []
    for index, (name, (share, count)) in enumerate(rows.items()):
        y = 4 + row * (index + 0.5)
        parts.append(
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="box" x="{left}" y="{y - 6:.1f}" width="{share * scale:.1f}" height="12"/>'
            f'<text x="{width - 4}" y="{y + 4:.1f}" text-anchor="end">{100 * share:.0f} % of {count:,}</text>'
        )
    line = left + nominal * scale
    parts.append(
        f'<path class="median" d="M{line:.1f} 2V{height - 22}"/>'
        f'<text x="{line:.1f}" y="{height - 8}" text-anchor="middle">nominal {100 * nominal:g} %</text>'
    )
    about = "; ".join(f"{name}: {100 * share:.0f} % of {count}" for name, (share, count) in rows.items())
    return svg(width, height, title, about, parts)


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
    return svg(width, height, title, "; ".join(words) or "no row", parts)


@dataclass(frozen=True, slots=True)
class Heat:
    """A cell of a `heat` map: where it lies, its text, and its colour from −1 over 0 (none) to 1.

    `line` is "full" or "dashed" round it, or "none"; `label` is what the pointer is told.
    """

    row: int
    column: int
    text: str
    colour: float
    line: str
    label: str


def heat(
    rows: Sequence[str], columns: Sequence[str], cells: Sequence[Heat], title: str, about: str, apart: int
) -> str:
    """Draw a table of coloured cells, with a line before column `apart`.

    Colours and their texts say the same; colours are two, for what is too low (--c0) and too high (--c1).
    """
    left, top, wide, high = 172, 22, 36, 17
    width, height = max(left + wide * len(columns) + 4, _WIDTH), top + high * len(rows) + 4
    parts = [
        f'<text x="{left + wide * (i + 0.5):.1f}" y="{top - 7}" text-anchor="middle">{escape(name)}</text>'
        for i, name in enumerate(columns)
    ]
    parts += [
        f'<text x="{left - 6}" y="{top + high * (i + 0.5) + 4:.1f}" text-anchor="end">{escape(name)}</text>'
        for i, name in enumerate(rows)
    ]
    lines = {
        "full": "stroke:var(--text);stroke-width:1.8",
        "dashed": "stroke:var(--text);stroke-width:1;stroke-dasharray:3 2",
    }
    for cell in sorted(cells, key=lambda one: one.line != "none"):  # lines are drawn over their neighbours
        x, y = left + wide * cell.column, top + high * cell.row
        colour = "var(--c1)" if cell.colour > 0 else "var(--c0)"
        strength = 0.55 * min(abs(cell.colour), 1.0)
        parts.append(
            f'<g><title>{escape(cell.label)}</title><rect x="{x + 1}" y="{y + 1}" width="{wide - 2}" '
            f'height="{high - 2}" style="fill:{colour};fill-opacity:{strength:.2f};'
            f'{lines.get(cell.line, "stroke:var(--line);stroke-width:.5")}"/>'
            f'<text x="{x + wide / 2}" y="{y + high / 2 + 4}" text-anchor="middle">{escape(cell.text)}</text>'
            "</g>"
        )
    if 0 < apart < len(columns):
        parts.append(f'<path class="equal" d="M{left + wide * apart} 4V{height - 4}"/>')
    return svg(width, height, title, about, parts)


def _marks(
    index: int,
    one: Points,
    shown: npt.NDArray[np.bool_],
    across: Callable[[float], float],
    up: Callable[[float], float],
    step: int,
) -> str:
    """Every `step`-th of a series' points that can be shown."""
    chosen = np.flatnonzero(shown & np.isfinite(one.measured) & np.isfinite(one.predicted))[::step]
    marks = (
        f'<path d="{marker(index, across(one.measured[i]), up(one.predicted[i]))}">'
        f"<title>{escape(one.labels[i])}</title></path>"
        for i in chosen
    )
    return f'<g fill="var(--c{index % COLOURS})" class="mark">{"".join(marks)}</g>'


def _step(series: Mapping[str, Points], drawn: int) -> int:
    return max(1, math.ceil(sum(len(one.measured) for one in series.values()) / drawn))


def _short(value: float, unit: str) -> str:
    return f"{value * 1e3:g} m{unit}" if value < 1 and unit in ("s", "J") else f"{value:g} {unit}".strip()
