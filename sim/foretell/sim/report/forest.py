"""A figure with its interval as a small picture round a line, for a table's cell."""

from __future__ import annotations

import math
from html import escape

from foretell.sim.report.svg import marker

WIDTH_PX, HEIGHT_PX = 120, 14


def span(
    value: float,
    low: float,
    high: float,
    reach: tuple[float, float],
    told: str,
    *,
    line: float = 0.0,
    style: str = "equal",
) -> str:
    """Plot one figure.

    Args:
        value: the figure, such as a difference.
        low, high: its interval; NaN without one.
        reach: least and most of all figures that are set beside it; the line is always shown.
        told: what it says, for those who cannot see it.
        line: where the line stands: no difference, or a limit.
        style: of the line, a class of the page.

    """
    first, last = min(reach[0], line), max(reach[1], line)
    air = 0.05 * (last - first) or 0.1 * abs(line) or 1.0
    first, last = first - air, last + air

    def at(where: float) -> float:
        return WIDTH_PX * (where - first) / (last - first)

    middle = HEIGHT_PX / 2
    interval = ""
    if math.isfinite(low) and math.isfinite(high):
        weak = ' stroke-opacity=".5"' if low <= line <= high else ""
        interval = (
            f'<path d="M{at(low):.1f} {middle:g}H{at(high):.1f}" stroke="var(--c0)" stroke-width="2"{weak}/>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" width="{WIDTH_PX}" height="{HEIGHT_PX}" '
        f'style="min-width:{WIDTH_PX}px" role="img" '
        f'aria-label="{escape(told)}"><path class="{style}" d="M{at(line):.1f} 0V{HEIGHT_PX}"/>{interval}'
        f'<path fill="var(--c0)" d="{marker(0, at(value), middle)}"/></svg>'
    )
