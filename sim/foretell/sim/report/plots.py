"""Charts as inline SVG: lines (with bands, marks and limits) and stacked bars.

Series take the colours --c0, --c1, ... of the page in their order, and marks by which they differ without
colour too; several series get a legend inside the chart, below it. Curves are thinned to what pixels show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from foretell.sim.quantities import show_number
from foretell.sim.report.axes import CHARACTER_PX, Axis, FloatArray, Scale, scale
from foretell.sim.report.frame import BELOW_PX, RIGHT_PX, ROW_PX, TOP_PX, frame, levels, stacked, uprights
from foretell.sim.report.svg import COLOURS, marker, svg

__all__ = ["Axis", "Line", "bars", "lines"]

_BUDGET = 46_000
"""Bytes that a chart's curves and marks may take."""
_SPARSE = 4
"""Marks on a curve that only tell it from another."""


@dataclass(frozen=True, slots=True)
class Line:
    """A series.

    Attributes:
        x, y: its points, in the units of their axes; what is not finite interrupts it.
        low, high: a band round it, as y.
        step: whether y holds until the next x.
        dashed: whether the curve is.
        marks: whether each point is marked.
        labels: what the pointer is told at each mark.
        joined: whether there is a curve at all.
        left, right: an interval of x at each mark.

    """

    x: npt.ArrayLike
    y: npt.ArrayLike
    low: npt.ArrayLike | None = None
    high: npt.ArrayLike | None = None
    step: bool = False
    dashed: bool = False
    marks: bool = False
    labels: Sequence[str] = ()
    joined: bool = True
    left: npt.ArrayLike | None = None
    right: npt.ArrayLike | None = None


def lines(
    series: Mapping[str, Line],
    x: Axis,
    y: Axis,
    title: str,
    about: str,
    *,
    upright: Mapping[str, float] | None = None,
    level: Mapping[str, float] | None = None,
    width: float = 460,
    height: float = 300,
) -> str:
    """Plot series; the legend is part of the chart where there are several.

    Args:
        series: by their names.
        x, y: the axes.
        title: of the chart, for those who cannot see it.
        about: what it shows in words, with its main figures.
        upright: limits of x by what is written at them.
        level: limits of y.
        width, height: [px] of the plot with its axes; a legend comes below.

    """
    upright, level = dict(upright or {}), dict(level or {})
    xs = _all([_array(one.x) for one in series.values()] + [np.array(list(upright.values()), dtype=float)])
    ys = _all(
        [_array(part) for one in series.values() for part in (one.y, one.low, one.high) if part is not None]
        + [np.array(list(level.values()), dtype=float)]
    )
    rows = stacked(upright, scale(x, xs, 50, width - RIGHT_PX, across=True))
    top = TOP_PX + ROW_PX * (max(rows.values(), default=-1) + 1)
    up = scale(y, ys, height - BELOW_PX, top, across=False)
    left = 16 + CHARACTER_PX * max((len(text) for _, text in up.ticks), default=1)
    across = scale(x, xs, left, width - RIGHT_PX, across=True)
    parts = [*frame(across, up, height, top), *levels(level, up, across)]
    parts += uprights(upright, rows, across, height)
    paths = sum((1 + 2 * (one.low is not None)) * (1 + one.step) for one in series.values())
    budget = _BUDGET // max(1, paths)
    several = sum(one.joined for one in series.values()) > 1
    for index, one in enumerate(series.values()):
        parts += _drawn(one, index, across, up, budget, several=several)
    if len(series) > 1:
        key, height = _legend(list(series.items()), width, height)
        parts += key
    return svg(width, height, title, about, parts)


def bars(
    rows: Mapping[str, Mapping[str, float]],
    title: str,
    about: str,
    *,
    unit: str = "share",
    width: float = 460,
) -> str:
    """Plot stacked bars, one a row, its parts by series; with the legend where there are several.

    Args:
        rows: parts by series by the row's name; a series' colour is the same in every row.
        title, about: as for `lines`.
        unit: of the parts, as of an `Axis`.
        width: [px].

    """
    names = list(dict.fromkeys(name for parts in rows.values() for name in parts))
    sums = np.array([sum(max(0.0, v) for v in parts.values() if np.isfinite(v)) for parts in rows.values()])
    longest = max((len(name) for name in rows), default=0)
    left = min(12 + CHARACTER_PX * longest, 0.4 * width)
    room = int((left - 8) / CHARACTER_PX)
    height = 6.0 + 26 * len(rows) + BELOW_PX
    across = scale(Axis("", unit, low=0.0), sums, left, width - RIGHT_PX - 8, across=True)
    parts = [
        f'<path class="grid" d="M{across.at(value):.1f} 4V{height - BELOW_PX}"/>'
        f'<text class="dim" x="{across.at(value):.1f}" y="{height - BELOW_PX + 15}" text-anchor="middle">'
        f"{text}{' %' if unit == 'share' else ''}</text>"
        for value, text in across.ticks
    ]
    if unit != "share" and across.title.strip():
        middle = (left + width - RIGHT_PX) / 2
        words = escape(across.title.strip().strip("()"))
        parts.append(
            f'<text class="dim" x="{middle:.0f}" y="{height - 6}" text-anchor="middle">{words}</text>'
        )
    for row, (name, values) in enumerate(rows.items()):
        y, at = 8 + 26 * row, 0.0
        shown = name if len(name) <= room else f"{name[: room - 1]}…"
        parts.append(f'<text x="{left - 6:.1f}" y="{y + 13}" text-anchor="end">{escape(shown)}</text>')
        for series, key in enumerate(names):
            value = values.get(key, 0.0)
            if not (np.isfinite(value) and value > 0):
                continue
            start, end = across.at(at), across.at(at + value)
            told = f"{name}, {key}: {_told(value, unit)}"
            parts.append(
                f'<rect x="{start:.1f}" y="{y}" width="{max(end - start, 0.5):.1f}" height="18" '
                f'fill="var(--c{series % COLOURS})" stroke="var(--page)"><title>{escape(told)}</title></rect>'
            )
            if end - start > 26:  # the legend's mark, so that colour alone does not tell
                parts.append(f'<path fill="var(--page)" d="{marker(series, (start + end) / 2, y + 9)}"/>')
            at += value
    if len(names) > 1:
        boxes: list[tuple[str, Line]] = [(name, Line((), (), joined=False)) for name in names]
        key_parts, height = _legend(boxes, width, height)
        parts += key_parts
    return svg(width, height, title, about, parts)


def _drawn(one: Line, index: int, across: Scale, up: Scale, budget: int, *, several: bool) -> list[str]:
    """A series: band, curve, marks."""
    colour = f"var(--c{index % COLOURS})"
    x, y = across.place(_array(one.x)), _within(up, one.y)
    parts = []
    if one.low is not None and one.high is not None:
        low, high = _within(up, one.low), _within(up, one.high)
        shown = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
        there = [
            _thinned(*_cut(x[shown], edge[shown], across, step=one.step), budget) for edge in (high, low)
        ]
        if len(there[0]):
            edge = [*_points(*there[0].T, step=one.step), *_points(*there[1].T, step=one.step)[::-1]]
            parts.append(f'<path fill="{colour}" fill-opacity=".16" d="M{"L".join(edge)}Z"/>')
    if one.joined:
        pieces = []
        for piece in _pieces(x, y):
            kept = _thinned(*_cut(x[piece], y[piece], across, step=one.step), budget)
            if len(kept):
                pieces.append(f"M{'L'.join(_points(*kept.T, step=one.step))}")
        dashes = ' stroke-dasharray="5 4"' if one.dashed else ""
        if pieces:
            curve = f'fill="none" stroke="{colour}" stroke-width="1.7"{dashes} stroke-linejoin="round"'
            parts.append(f'<path {curve} d="{"".join(pieces)}"/>')
    inside = (x >= across.start_px - 0.5) & (x <= across.end_px + 0.5)
    seen = np.flatnonzero(inside & np.isfinite(y))
    if one.left is not None and one.right is not None:
        ends = [
            np.clip(across.place(_array(end)), across.start_px, across.end_px)
            for end in (one.left, one.right)
        ]
        whiskers = "".join(
            f"M{a:.1f} {at:.1f}H{b:.1f}"
            + "".join(f"M{end:.1f} {at - 3:.1f}v6" for end in (a, b) if across.start_px < end < across.end_px)
            for a, b, at in zip(*ends, y, strict=True)
            if np.isfinite([a, b, at]).all()
        )
        parts.append(f'<path fill="none" stroke="{colour}" stroke-width="1.3" d="{whiskers}"/>')
    if one.marks or not one.joined:
        parts += _marks(one, index, x, y, seen, budget, colour)
    elif several and len(seen):
        spread = (np.arange(_SPARSE) + 0.5 + 0.13 * (index % 5)) / _SPARSE
        targets = across.start_px + spread * (across.end_px - across.start_px)
        near = {int(seen[np.abs(x[seen] - target).argmin()]) for target in targets}
        path = "".join(marker(index, x[i], y[i]) for i in sorted(near))
        parts.append(f'<path fill="{colour}" d="{path}"/>')
    return parts


def _within(up: Scale, values: npt.ArrayLike) -> FloatArray:
    """Pixels of y, kept inside the plot."""
    ends = sorted((up.start_px, up.end_px))
    kept: FloatArray = np.clip(up.place(_array(values)), ends[0], ends[1])
    return kept


def _cut(x: FloatArray, y: FloatArray, across: Scale, *, step: bool) -> tuple[FloatArray, FloatArray]:
    """A curve within the plot; it ends at the plot's edge where it goes on beyond."""
    ends = np.array([across.start_px, across.end_px])
    inside = (x >= ends[0] - 0.01) & (x <= ends[1] + 0.01)
    if inside.all() or np.any(np.diff(x) < 0):
        return x[inside], y[inside]
    edges = ends[(ends > x[0]) & (ends < x[-1])]
    if step:
        there = y[np.searchsorted(x, edges, side="right") - 1]
    else:
        there = np.interp(edges, x, y)
    x, y = np.r_[x[inside], edges], np.r_[y[inside], there]
    order = np.argsort(x, kind="stable")
    return x[order], y[order]


def _pieces(x: FloatArray, y: FloatArray) -> list[npt.NDArray[np.int64]]:
    """Runs of points that have a place."""
    shown = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    return [run for run in np.split(shown, np.flatnonzero(np.diff(shown) > 1) + 1) if len(run)]


def _thinned(x: FloatArray, y: FloatArray, budget: int) -> FloatArray:
    """The points (n, 2) that can be told apart: first, lowest, highest and last of each column of pixels."""
    points: FloatArray = np.column_stack([x, y])
    most = max(16, budget // 12)
    if len(points) <= most // 2:
        return points
    if np.any(np.diff(x) < 0):
        few = np.linspace(0, len(points) - 1, min(most, len(points)))
        return np.take(points, np.unique(few.astype(int)), axis=0)
    columns = np.floor((x - x[0]) / max(x[-1] - x[0], 1e-9) * (most // 4 - 1)).astype(int)
    starts = np.flatnonzero(np.r_[True, np.diff(columns) > 0])
    ends = np.r_[starts[1:], len(x)]
    kept = [
        i
        for start, end in zip(starts, ends, strict=True)
        for i in (start, start + y[start:end].argmin(), start + y[start:end].argmax(), end - 1)
    ]
    return np.take(points, np.unique(kept), axis=0)


def _points(x: FloatArray, y: FloatArray, *, step: bool) -> list[str]:
    """Places of a path; a step's corners are among them."""
    if step and len(x) > 1:
        x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
    places = [f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True)]
    return [place for i, place in enumerate(places) if i == 0 or place != places[i - 1]]


def _marks(
    one: Line,
    index: int,
    x: FloatArray,
    y: FloatArray,
    seen: npt.NDArray[np.int64],
    budget: int,
    colour: str,
) -> list[str]:
    """The marks of points; of those that hide each other one."""
    most = max(8, budget // (130 if one.labels else 40))
    cell = 1.0
    while len(seen) > most:
        cells = np.column_stack([x[seen], y[seen]]) // cell
        seen = seen[np.sort(np.unique(cells, axis=0, return_index=True)[1])]
        cell *= 1.6
    if not one.labels:
        path = "".join(marker(index, x[i], y[i]) for i in seen)
        return [f'<path class="mark" fill="{colour}" d="{path}"/>'] if path else []
    return [
        f'<path class="mark" fill="{colour}" d="{marker(index, x[i], y[i])}">'
        f"<title>{escape(one.labels[i])}</title></path>"
        for i in seen
    ]


def _legend(series: Sequence[tuple[str, Line]], width: float, height: float) -> tuple[list[str], float]:
    """The legend below a chart, and the height with it."""
    parts, x, y = [], 6.0, height + 12
    several = sum(one.joined for _, one in series) != 1
    for index, (name, one) in enumerate(series):
        wide = 24 + CHARACTER_PX * len(name) + 12
        if x > 6 and x + wide > width:
            x, y = 6.0, y + 17
        colour = f"var(--c{index % COLOURS})"
        if one.joined:
            dashes = ' stroke-dasharray="5 4"' if one.dashed else ""
            parts.append(f'<path d="M{x:.1f} {y - 4:.0f}h18" stroke="{colour}" stroke-width="1.7"{dashes}/>')
        if one.marks or not one.joined or several:
            parts.append(f'<path fill="{colour}" d="{marker(index, x + 9, y - 4)}"/>')
        parts.append(f'<text x="{x + 24:.1f}" y="{y:.0f}">{escape(name)}</text>')
        x += wide
    return parts, y + 6


def _told(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.3g} %"
    from foretell.sim.quantities import show_seconds

    return show_seconds(value) if unit == "s" else f"{show_number(value)} {unit}".strip()


def _array(values: npt.ArrayLike) -> FloatArray:
    return np.asarray(values, dtype=np.float64).ravel()


def _all(parts: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate(parts) if parts else np.zeros(0)
