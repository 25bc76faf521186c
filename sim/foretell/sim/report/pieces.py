"""Pieces of pages: cells of tables with intervals, text to copy, wide pictures on narrow screens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from foretell.sim.intervals import Estimate
from foretell.sim.report.page import section
from foretell.sim.report.words import between, prose, show

_NAMED = 12


def code(text: str, name: str) -> str:
    """Text to copy: a click into it selects all of it."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f'<pre style="user-select:all;-webkit-user-select:all">{escape(text)}</pre></div>'
    )


def failed_section(failed: Mapping[str, Sequence[str]]) -> str:
    """What has no forecast, by the reason: the first names of each; empty where nothing failed."""
    if not failed:
        return ""
    items = []
    for reason, names in failed.items():
        more = f"; and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        items.append(
            f"<li><strong>{escape(reason)}</strong><br>{escape('; '.join(names[:_NAMED]) + more)}</li>"
        )
    count = sum(map(len, failed.values()))
    return section("failed", f"Without a forecast: {count:,}", f"<ul>{''.join(items)}</ul>")


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


def words_td(text: str) -> str:
    """A cell of words, which wrap."""
    return f'<td style="white-space:normal;text-align:left;min-width:10rem">{prose(text)}</td>'


def name_th(text: str) -> str:
    """The first cell of a row with a long name."""
    return f'<th scope=row style="min-width:13rem">{prose(text)}</th>'


def tiles(facts: Sequence[tuple[str, str, str]]) -> str:
    """Small boxes of a figure each: what it is, its value, and what is said below."""
    items = "".join(
        f'<li><span class="what">{prose(what)}</span><strong>{prose(value)}</strong>'
        f"<small>{prose(below)}</small></li>"
        for what, value, below in facts
    )
    return f'<ul class="tiles small-tiles">{items}</ul>'
