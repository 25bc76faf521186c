"""Pieces of pages: cells of tables with intervals, text to copy, wide pictures on narrow screens."""

from __future__ import annotations

import math
from html import escape

from foretell.sim.intervals import Estimate
from foretell.sim.report.words import between, prose, show


def code(text: str, name: str) -> str:
    """Text to copy: a click into it selects all of it."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f'<pre style="user-select:all;-webkit-user-select:all">{escape(text)}</pre></div>'
    )


def figure_td(figure: str, found: Estimate | None) -> str:
    """A cell with a figure and, below it, its interval."""
    if found is None or not math.isfinite(found.value):
        return "<td>–</td>"
    low_high = between(figure, found)
    return f"<td>{prose(show(figure, found.value))}{small(low_high)}</td>"


def small(text: str) -> str:
    """A second line of a table's cell."""
    return f"<br><small>{prose(text)}</small>" if text else ""


def scrolling(chart: str, name: str) -> str:
    """A wide chart that keeps its size on a narrow screen and scrolls there."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f'<div style="min-width:36rem">{chart}</div></div>'
    )
