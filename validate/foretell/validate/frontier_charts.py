"""A measured frontier and foretell's as inline SVG: tokens/s/accelerator over tokens/s/user."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from foretell.sim.report.svg import COLOURS, marker
from foretell.validate.frontier import Array, gaps

NAMES = ("measured", "foretell, closed form")
_WIDTH, _HEIGHT = 460, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 12, 46


def frontier_chart(
    measured: Array, predicted: Array, title: str, others: Sequence[tuple[float, float]] = ()
) -> str:
    """Two frontiers on logarithmic axes, the predicted one dashed; series as `charts.legend(NAMES)` has them.

    Args:
        measured, predicted: (tokens/s/user, tokens/s/accelerator), shape (n, 2).
        title: for assistive technology, which also hears how far apart they are.
        others: measured points that are not on the frontier, drawn dim.

    """
    every = np.log10(np.concatenate([measured, predicted, np.asarray(others).reshape(-1, 2)]))
    low, high = (every.min(axis=0) - 0.05).tolist(), (every.max(axis=0) + 0.05).tolist()

    def across(value: float) -> float:
        share: float = (math.log10(value) - low[0]) / (high[0] - low[0])
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def up(value: float) -> float:
        share: float = (math.log10(value) - low[1]) / (high[1] - low[1])
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<path class="grid" d="M{across(tick):.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
        f'<text x="{across(tick):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in _ticks(low[0], high[0])
    ]
    parts += [
        f'<path class="grid" d="M{_LEFT} {up(tick):.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in _ticks(low[1], high[1])
    ]
    dots = "".join(f"M{across(x) - 1.5:.1f} {up(y):.1f}h3" for x, y in others)
    if dots:
        parts.append(f'<path style="stroke:var(--dim);stroke-width:3" d="{dots}"/>')
    for index, points in enumerate((measured, predicted)):
        colour = f"var(--c{index % COLOURS})"
        steps = "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in points.tolist())
        dashes = ";stroke-dasharray:5 4" if index else ""
        marks = "".join(marker(index, across(x), up(y)) for x, y in points.tolist())
        parts.append(
            f'<path style="fill:none;stroke:{colour};stroke-width:1.6{dashes}" d="M{steps}"/>'
            f'<path class="mark" fill="{colour}" d="{marks}"/>'
        )
    parts.append(
        f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">tokens/s of a user</text>'
        f'<text transform="translate(12 {_HEIGHT / 2 - 20}) rotate(-90)" text-anchor="middle">'
        "tokens/s of an accelerator</text>"
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><desc>{escape(_about(measured, predicted))}</desc>"
        f"{''.join(parts)}</svg>"
    )


def _about(measured: Array, predicted: Array) -> str:
    """The picture in words."""
    ends = measured[[0, -1]].tolist()
    told = " to ".join(f"{y:,.0f} tokens/s of an accelerator at {x:,.0f} of a user" for x, y in ends)
    off = 100 * np.expm1(gaps(measured, predicted)["across"])
    off = off[np.isfinite(off)]
    if not len(off):
        return f"Measured: {told}. The frontiers do not overlap."
    return (
        f"Measured: {told}. At equal speed for a user foretell has {off.min():+.0f} to {off.max():+.0f} % "
        f"of it per accelerator, {np.median(off):+.0f} % in the median."
    )


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten; powers alone where those were too many."""
    steps = (1.0, 2.0, 5.0) if high - low < 2.5 else (1.0,)
    every = (step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps)
    return [tick for tick in every if low <= math.log10(tick) <= high]
