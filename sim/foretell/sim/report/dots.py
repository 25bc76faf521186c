"""Figures of named rows with their intervals, one below the other, and the limit as a line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from html import escape

import numpy as np

from foretell.sim.intervals import Estimate
from foretell.sim.report.axes import CHARACTER_PX, Axis, scale
from foretell.sim.report.frame import BELOW_PX, RIGHT_PX, TOP_PX, frame, stacked, uprights
from foretell.sim.report.svg import marker, svg

_ROW_PX = 20


def dots(
    rows: Mapping[str, Estimate],
    x: Axis,
    title: str,
    about: str,
    *,
    upright: Mapping[str, float] | None = None,
    width: int = 460,
) -> str:
    """Plot one figure of several rows.

    Args:
        rows: by name, from top to bottom; one without a value keeps its row empty.
        x: the axis of the figure.
        title, about: for those who cannot see it.
        upright: limits by what is written at them.
        width: [px].

    """
    limits = dict(upright or {})
    room = int(0.42 * width / CHARACTER_PX)
    left = 14 + CHARACTER_PX * min(room, max(map(len, rows), default=1))
    ends = [v for one in rows.values() for v in (one.value, one.low, one.high) if math.isfinite(v)]
    values = np.array([*ends, *limits.values()], dtype=np.float64)
    across = scale(x, values, left, width - RIGHT_PX, across=True)
    top = TOP_PX * bool(limits) + 4
    height = top + _ROW_PX * len(rows) + BELOW_PX
    up = scale(
        replace(x, label="", log=False, low=0.0, high=1.0), values, height - BELOW_PX, top, across=False
    )
    parts = frame(across, replace(up, title="", ticks=()), height, top)
    for i, (name, one) in enumerate(rows.items()):
        y = top + _ROW_PX * (i + 0.5)
        shown = name if len(name) <= room else f"{name[: room - 1]}…"
        parts.append(
            f'<text x="{left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(shown)}'
            f"<title>{escape(name)}</title></text>"
        )
        if math.isfinite(one.low) and math.isfinite(one.high) and one.low < one.high:
            low, high = across.at(max(one.low, across.low)), across.at(one.high)
            parts.append(f'<path d="M{low:.1f} {y:.1f}H{high:.1f}" stroke="var(--c0)" stroke-width="2"/>')
        if math.isfinite(one.value):
            parts.append(f'<path fill="var(--c0)" d="{marker(0, across.at(one.value), y)}"/>')
    parts += uprights(limits, stacked(limits, across), across, height)
    return svg(width, height, title, about, parts)
