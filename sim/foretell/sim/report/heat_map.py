"""A figure over two fields: a grid of cells, the more the fuller, with its value where there is room."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from foretell.sim.report.axes import CHARACTER_PX
from foretell.sim.report.svg import svg
from foretell.sim.report.words import show

MOST = 40
"""Values of a field that are drawn; of more, so many that are spread evenly."""
_LEAST_PX = 7
"""Pixels that a character of a cell's value needs."""
_TOLD = 400
"""Cells up to which each tells the pointer what it is."""


def spread(values: Sequence[str], most: int = MOST) -> list[str]:
    """At most so many of the values, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def heat_map(
    cells: Mapping[tuple[str, str], float],
    xs: Sequence[str],
    ys: Sequence[str],
    labels: tuple[str, str],
    figure: str,
    title: str,
    *,
    missed: frozenset[tuple[str, str]] = frozenset(),
    log: bool = False,
    width: int = 460,
) -> str:
    """Plot a figure over two fields.

    Args:
        cells: values by those of both fields; what is missing or not finite stays empty.
        xs, ys: the fields' values, from left to right and from bottom to top.
        labels: of the fields.
        figure: name of the figure, for its unit.
        title: for those who cannot see it.
        missed: cells whose figure is beyond its limit, written in red with a cross.
        log: whether equal ratios differ equally in colour.
        width: [px].

    """
    left = 12 + CHARACTER_PX * max((len(y) for y in ys), default=1)
    wide = (width - left - 8) / len(xs)
    high = min(30.0, max(9.0, 300 / len(ys)))
    floor = 22.0 + high * len(ys)
    finite = [v for v in cells.values() if math.isfinite(v) and (v > 0 or not log)]
    low, most = min(finite, default=0.0), max(finite, default=1.0)
    parts = [f'<text class="dim" x="2" y="12">{escape(labels[1])}</text>']
    several = len(xs) * len(ys) <= _TOLD
    for i, x in enumerate(xs):
        for j, y in enumerate(ys):
            value = cells.get((x, y), math.nan)
            px, py = left + wide * i, floor - high * (j + 1)
            if not math.isfinite(value):
                continue
            share = _share(value, low, most, log=log)
            told = f"{labels[0]} {x}, {labels[1]} {y}: {show(figure, value)}"
            inner = f"<title>{escape(told)}</title>" if several else ""
            parts.append(
                f'<rect x="{px:.1f}" y="{py:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="var(--c0)" '
                f'fill-opacity="{0.06 + 0.46 * share:.2f}" stroke="var(--page)">{inner}</rect>'
            )
            text = ("× " if (x, y) in missed else "") + show(figure, value)
            if len(text) * _LEAST_PX <= wide and high >= 14:
                halo = 'class="limit-text" stroke="var(--page)" stroke-width="2.5" paint-order="stroke" '
                style = halo if (x, y) in missed else ""
                parts.append(
                    f'<text {style}x="{px + wide / 2:.1f}" y="{py + high / 2 + 4:.1f}" text-anchor="middle">'
                    f"{escape(text)}</text>"
                )
    every_y = max(1, math.ceil(13 / high))
    for j, y in enumerate(ys):
        if j % every_y == 0:
            at = floor - high * (j + 0.5) + 4
            parts.append(f'<text x="{left - 5:.1f}" y="{at:.1f}" text-anchor="end">{escape(y)}</text>')
    every_x = max(1, math.ceil((CHARACTER_PX * max(map(len, xs), default=1) + 6) / wide))
    for i, x in enumerate(xs):
        if i % every_x == 0:
            at = left + wide * (i + 0.5)
            parts.append(f'<text x="{at:.1f}" y="{floor + 15:.1f}" text-anchor="middle">{escape(x)}</text>')
    middle = (left + width - 8) / 2
    name = escape(labels[0])
    parts.append(
        f'<text class="dim" x="{middle:.0f}" y="{floor + 32:.0f}" text-anchor="middle">{name}</text>'
    )
    about = f"From {show(figure, low)} (light) to {show(figure, most)} (full)."
    parts.append(f'<text class="dim" x="2" y="{floor + 52:.0f}">{escape(about)}</text>')
    return svg(width, floor + 58, title, about, parts)


def _share(value: float, low: float, high: float, *, log: bool) -> float:
    if not high > low:
        return 0.5
    if log:
        return math.log(max(value, low) / low) / math.log(high / low)
    return (value - low) / (high - low)
