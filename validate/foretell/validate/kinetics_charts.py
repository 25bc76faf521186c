"""Curves of accuracy over cost as inline SVG: lines for ours, marks for somebody else's points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from foretell.sim.report.svg import COLOURS, marker

FloatArray = npt.NDArray[np.float64]
_WIDTH, _HEIGHT = 460, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 46


@dataclass(frozen=True, slots=True)
class Line:
    """A curve and points beside it, over costs of their own.

    Attributes:
        costs, accuracy: of the line; empty for none.
        point_costs, point_accuracy: of the marks; empty for none.
        dashed: whether the line is.

    """

    costs: FloatArray
    accuracy: FloatArray
    point_costs: FloatArray
    point_accuracy: FloatArray
    dashed: bool = False


def line(costs: npt.ArrayLike, accuracy: npt.ArrayLike, *, dashed: bool = False) -> Line:
    """A curve without points."""
    none = np.zeros(0)
    return Line(
        np.asarray(costs, dtype=np.float64), np.asarray(accuracy, dtype=np.float64), none, none, dashed
    )


def over_costs(
    series: Mapping[str, Sequence[Line]], title: str, across: str, low: float, high: float, every: int = 2
) -> str:
    """Plot accuracy [%] over cost, logarithmic, from `low` to `high`; every n-th point is drawn.

    Series take colours and markers in their order, as `charts.legend` shows them; a series' lines share them.
    """
    start, end = math.log10(low), math.log10(high)
    top = max((_highest(lines) for lines in series.values()), default=1.0)
    top = min(1.0, math.ceil(10 * top + 1e-9) / 10)

    def place(cost: float) -> float:
        return _LEFT + (math.log10(cost) - start) / (end - start) * (_WIDTH - _LEFT - _RIGHT)

    def up(accuracy: float) -> float:
        return _HEIGHT - _BOTTOM - accuracy / top * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<path class="grid" d="M{place(10**power):.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
        f'<text x="{place(10**power):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">'
        f'10<tspan dy="-4" font-size="8">{power}</tspan></text>'
        for power in range(math.ceil(start), math.floor(end) + 1)
    ]
    parts += [
        f'<path class="grid" d="M{_LEFT} {up(share):.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 6}" y="{up(share) + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>'
        for share in np.arange(0, top + 0.01, 0.2)
    ]
    for index, one in ((i, one) for i, lines in enumerate(series.values()) for one in lines):
        colour = f"var(--c{index % COLOURS})"
        inside = (one.point_costs >= low) & (one.point_costs <= high)
        chosen = np.flatnonzero(inside)[::every]
        marks = "".join(marker(index, place(one.point_costs[i]), up(one.point_accuracy[i])) for i in chosen)
        if marks:
            parts.append(f'<path class="mark" fill="{colour}" d="{marks}"/>')
        within = (one.costs >= low) & (one.costs <= high)
        steps = zip(one.costs[within], one.accuracy[within], strict=True)
        if within.any():
            parts.append(_path([f"{place(x):.1f} {up(y):.1f}" for x, y in steps], colour, dashed=one.dashed))
    parts.append(
        f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>'
    )
    about = "; ".join(f"{name}: up to {100 * _highest(lines):.0f} %" for name, lines in series.items())
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><desc>{escape(about)}</desc>{''.join(parts)}</svg>"
    )


def _path(steps: Sequence[str], colour: str, *, dashed: bool) -> str:
    dashes = ";stroke-dasharray:5 4;opacity:.7" if dashed else ""
    return f'<path style="fill:none;stroke:{colour};stroke-width:1.6{dashes}" d="M{"L".join(steps)}"/>'


def _highest(lines: Sequence[Line]) -> float:
    return max(float(np.max(np.r_[one.accuracy, one.point_accuracy])) for one in lines)
