"""A difference with its interval as a small picture round a line at nothing, for a table's cell."""

from __future__ import annotations

import math
from html import escape

from foretell.sim.report.svg import marker

WIDTH_PX, HEIGHT_PX = 120, 14


def span(value: float, low: float, high: float, reach: tuple[float, float], told: str) -> str:
    """Plot one difference.

    Args:
        value: the difference.
        low, high: its interval; NaN without one.
        reach: least and most of all differences that are set beside it; the line at 0 is always shown.
        told: what it says, for those who cannot see it.

    """
    first, last = min(reach[0], 0.0), max(reach[1], 0.0)
    air = 0.05 * (last - first) or 1.0
    first, last = first - air, last + air

    def at(where: float) -> float:
        return WIDTH_PX * (where - first) / (last - first)

    middle = HEIGHT_PX / 2
    line = ""
    if math.isfinite(low) and math.isfinite(high):
        weak = ' stroke-opacity=".5"' if low <= 0 <= high else ""
        line = (
            f'<path d="M{at(low):.1f} {middle:g}H{at(high):.1f}" stroke="var(--c0)" stroke-width="2"{weak}/>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" width="{WIDTH_PX}" height="{HEIGHT_PX}" role="img" '
        f'aria-label="{escape(told)}"><path class="equal" d="M{at(0):.1f} 0V{HEIGHT_PX}"/>{line}'
        f'<path fill="var(--c0)" d="{marker(0, at(value), middle)}"/></svg>'
    )
