"""What charts with two axes share: grid, ticks and titles, limits, and the legend below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from foretell.sim.report.axes import CHARACTER_PX, Scale
from foretell.sim.report.names import Box

BELOW_PX, RIGHT_PX = 38, 14
"""Room below and right of a plot."""
TOP_PX, ROW_PX = 22, 14
"""Room above a plot, and for each row of limits' texts."""


def frame(across: Scale, up: Scale, height: float, top: float) -> list[str]:
    """Grid, ticks and titles; ticks that would touch are left out."""
    left, right, floor = across.start_px, across.end_px, height - BELOW_PX
    parts, free = [], -1e9
    for value, text in across.ticks:
        at, half = across.at(value), CHARACTER_PX * len(text) / 2
        parts.append(f'<path class="grid" d="M{at:.1f} {top:.0f}V{floor:.0f}"/>')
        if at - half > free:
            inside = min(at, right + RIGHT_PX - half)
            parts.append(f'<text x="{inside:.1f}" y="{floor + 15:.0f}" text-anchor="middle">{text}</text>')
            free = at + half + 5
    for value, text in up.ticks:
        at = up.at(value)
        parts.append(
            f'<path class="grid" d="M{left:.1f} {at:.1f}H{right:.0f}"/>'
            f'<text x="{left - 5:.1f}" y="{at + 4:.1f}" text-anchor="end">{text}</text>'
        )
    parts.append(f'<path class="equal" d="M{left:.1f} {floor:.0f}H{right:.0f}"/>')
    parts.append(f'<text class="dim" x="2" y="12">{escape(up.title)}</text>')
    middle = (left + right) / 2
    parts.append(
        f'<text class="dim" x="{middle:.0f}" y="{height - 6:.0f}" text-anchor="middle">'
        f"{escape(across.title)}</text>"
    )
    return parts


def stacked(upright: Mapping[str, float], across: Scale) -> dict[str, int]:
    """The row above the plot in which each limit's text has room."""
    rows: dict[str, int] = {}
    ends: list[float] = []
    for name, value in sorted(upright.items(), key=lambda item: item[1]):
        if not across.shows(value):
            continue
        start, end = _span(name, across.at(value), across)
        row = next((row for row, free in enumerate(ends) if start > free), len(ends))
        ends[row:] = [end + 12, *ends[row + 1 :]]
        rows[name] = row
    return rows


def _span(name: str, at: float, across: Scale) -> tuple[float, float]:
    """Where a limit's text starts and ends, kept within the chart."""
    half = CHARACTER_PX * len(name) / 2
    start = min(max(at - half, 2), max(2, across.end_px + RIGHT_PX - 2 * half))
    return start, start + 2 * half


def uprights(
    upright: Mapping[str, float], rows: Mapping[str, int], across: Scale, height: float
) -> list[str]:
    """Limits of x, their texts above the plot in these rows."""
    parts = []
    for name, row in rows.items():
        at, y = across.at(upright[name]), 30 + ROW_PX * row
        start, _ = _span(name, at, across)
        parts.append(f'<path class="limit" d="M{at:.1f} {y + 3}V{height - BELOW_PX:.0f}"/>')
        parts.append(f'<text class="limit-text" x="{start:.1f}" y="{y:.0f}">{escape(name)}</text>')
    return parts


def levels(level: Mapping[str, float], up: Scale, across: Scale) -> list[str]:
    """Limits of y, each text above its line, or below it where another is there."""
    parts = []
    for name, y in _level_rows(level, up):
        at = up.at(level[name])
        parts.append(
            f'<path class="limit" d="M{across.start_px:.1f} {at:.1f}H{across.end_px:.0f}"/>'
            f'<text class="limit-text" x="{across.end_px - 3:.0f}" y="{y:.1f}" text-anchor="end">'
            f"{escape(name)}</text>"
        )
    return parts


def level_boxes(level: Mapping[str, float], up: Scale, across: Scale) -> list[Box]:
    """Where the texts of limits of y lie."""
    right = across.end_px - 3
    return [Box(right - CHARACTER_PX * len(name), y - 11, right, y + 3) for name, y in _level_rows(level, up)]


def _level_rows(level: Mapping[str, float], up: Scale) -> list[tuple[str, float]]:
    rows, last = [], -1e9
    for name, value in sorted(level.items(), key=lambda item: -item[1]):
        if up.shows(value):
            at = up.at(value)
            last = at - 4 if at - 4 - last > 12 else max(at + 12, last + 12)
            rows.append((name, last))
    return rows


def key(items: Iterable[tuple[str, str]], width: float, height: float) -> tuple[list[str], float]:
    """The legend below a chart, and the height with it: marks, drawn about the origin, and what they mean."""
    parts, x, y = [], 12.0, height + 12
    for mark, text in items:
        wide = 12 + CHARACTER_PX * len(text) + 16
        if x > 12 and x + wide > width:
            x, y = 12.0, y + 17
        parts.append(f'<g transform="translate({x:.1f} {y - 4:.0f})">{mark}</g>')
        parts.append(f'<text x="{x + 12:.1f}" y="{y:.0f}">{escape(text)}</text>')
        x += wide
    return parts, y + 6
