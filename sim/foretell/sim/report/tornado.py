"""A tornado: what each input, changed by itself, does to the objective that is nearest to its limit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from foretell.sim.objectives import Objective
from foretell.sim.report.axes import CHARACTER_PX, Axis, Scale, scale
from foretell.sim.report.page import figure
from foretell.sim.report.pieces import scrolling
from foretell.sim.report.svg import svg
from foretell.sim.report.swings import Bar, Tornado, light, whole
from foretell.sim.report.words import axis, lowered, wide

if TYPE_CHECKING:
    from foretell.sim.scenario import Scenario
    from foretell.sim.sensitivity import Sensitivity

__all__ = ["Tornado", "light", "light_section", "tornado"]

_ROW_PX, _TOP, _BELOW, _KEY = 22, 34, 38, 22
_OUT_OF_SIGHT = 3.0
"""Times the values by which a limit is beyond the picture."""
_NOTHING = 2e-3
"""Change of a figure, as a share of it, that is none."""


def light_section(scenario: Scenario) -> str:
    """A light tornado as the body of a report's section (HTML), or why there is none.

    It costs up to 40 closed forms: about a CPU second for chat on one pool, two for two pools.
    """
    try:
        found = light(scenario)
    except ValueError as error:
        return f"<p>Not known here: this needs a closed form, and there is none ({escape(str(error))}).</p>"
    doing = [bar for bar in found.bars if _moves(bar, found.base)]
    idle = [lowered(bar.label) for bar in found.bars if not _moves(bar, found.base)]
    by, name = f"{found.change * 100:g} %", found.objective.name
    words = "<p>Nothing that was tried changes it.</p>"
    if doing:
        first = doing[0]
        words = (
            f"<p>What matters most: <strong>{escape(lowered(first.label))}</strong>. With {by} less, "
            f"{escape(name)} is {escape(_said(first.low, found))}; with {by} more, "
            f"{escape(_said(first.high, found))}.</p>"
        )
    about = (
        f'<p class="dim">Each input changed by {by} by itself, the others as they are. By closed form alone, '
        f"not simulated ({escape(found.method.removeprefix('closed form: '))}). "
        "<code>foretell sensitivity</code> also tells how many replicas each change needs, and what it is "
        "worth to know an input better.</p>"
    )
    without = f'<p class="dim">Without effect: {escape(", ".join(idle))}.</p>' if idle else ""
    chart = tornado(Tornado(found.objective, found.change, found.base, tuple(doing), (), found.method))
    return (
        f"{words}{figure(scrolling(chart, name), f'{name} with less and more of each input')}{without}{about}"
    )


def _moves(bar: Bar, base: float) -> bool:
    return not all(abs(value - base) <= _NOTHING * abs(base) for value in (bar.low, bar.high))


def tornado(found: Sensitivity | Tornado, width: int = 700) -> str:
    """Plot a tornado: light bars with less of an input, full ones with more, the limit as a line.

    Args:
        found: a sensitivity, or what `light` made.
        width: [px].

    """
    asked = found if isinstance(found, Tornado) else whole(found)
    objective = asked.objective
    height = _TOP + _ROW_PX * len(asked.bars) + _BELOW
    left = 14 + CHARACTER_PX * max((len(bar.label) for bar in asked.bars), default=4)
    columns = _columns(asked)
    across = _scale(asked, left, width - 16 - sum(columns))
    parts = [*_frame(across, height)]
    parts += _limit(objective, across, height)
    for row, bar in enumerate(asked.bars):
        parts += _bar(bar, asked, across, _TOP + _ROW_PX * row, left)
    if math.isfinite(asked.base) and across.shows(asked.base):
        at = across.at(asked.base)
        parts.append(f'<path class="equal" d="M{at:.1f} {_TOP - 4}V{height - _BELOW}"/>')
        parts.append(
            f'<text x="{at:.1f}" y="{_TOP - 8}" text-anchor="middle">{objective.show(asked.base)}</text>'
        )
    parts += _beside(asked, columns, width)
    parts += _key(asked.change, left, height)
    title = f"What {objective.name} hangs on"
    about = (
        f"{objective.name} is {objective.show(asked.base)}. With each input changed by itself: "
        + "; ".join(
            f"{bar.label} {objective.show(bar.low)} to {objective.show(bar.high)}" for bar in asked.bars
        )
    )
    return svg(width, height + _KEY, title, about, parts)


def _columns(asked: Tornado) -> list[float]:
    """Widths of what stands beside the bars."""
    return [
        18 + CHARACTER_PX * max([len(head), *(len(bar.beside[i]) for bar in asked.bars)])
        for i, head in enumerate(asked.heads)
    ]


def _scale(asked: Tornado, start: float, end: float) -> Scale:
    values = [v for bar in asked.bars for v in (bar.low, bar.high, asked.base) if math.isfinite(v)]
    limit = asked.objective.limit
    if _in_sight(limit, values):
        values.append(limit)
    described = axis(asked.objective.key, log=wide(values))
    low, high = min(values, default=0.0), max(values, default=1.0)
    if described.log:
        air = (high / low) ** 0.05
        values += [low / air, high * air]
    else:
        air = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        values += [max(low - air, 0.0), high + air]
        described = Axis(described.label, described.unit, low=min(values), high=max(values))
    return scale(described, np.array(values), start, end, across=True)


def _in_sight(limit: float, values: list[float]) -> bool:
    if not (math.isfinite(limit) and values):
        return False
    return max(values) * _OUT_OF_SIGHT >= limit and limit * _OUT_OF_SIGHT >= min(values)


def _frame(across: Scale, height: float) -> Iterator[str]:
    floor = height - _BELOW
    free = -1e9
    for value, text in across.ticks:
        at, half = across.at(value), CHARACTER_PX * len(text) / 2
        yield f'<path class="grid" d="M{at:.1f} {_TOP - 4}V{floor}"/>'
        if at - half > free:
            yield f'<text x="{at:.1f}" y="{floor + 15}" text-anchor="middle">{text}</text>'
            free = at + half + 5
    middle = (across.start_px + across.end_px) / 2
    title = escape(across.title)
    yield f'<text class="dim" x="{middle:.0f}" y="{height - 6}" text-anchor="middle">{title}</text>'


def _limit(objective: Objective, across: Scale, height: float) -> Iterator[str]:
    if not math.isfinite(objective.limit):
        return
    text = f"limit {objective.show(objective.limit)}"
    if across.shows(objective.limit):
        at = across.at(objective.limit)
        yield f'<path class="limit" d="M{at:.1f} 16V{height - _BELOW}"/>'
        half = CHARACTER_PX * len(text) / 2
        at = min(max(at, half + 2), across.end_px + 16 - half)
        yield f'<text class="limit-text" x="{at:.1f}" y="12" text-anchor="middle">{text}</text>'
    elif objective.limit > across.high:
        yield f'<text class="limit-text" x="{across.end_px:.1f}" y="12" text-anchor="end">{text} →</text>'
    else:
        yield f'<text class="limit-text" x="{across.start_px:.1f}" y="12">← {text}</text>'


def _bar(bar: Bar, asked: Tornado, across: Scale, top: float, left: float) -> Iterator[str]:
    """The half with less of the input above the half with more, the input's name beside them."""
    yield f'<text x="{left - 8:.1f}" y="{top + 13:.0f}" text-anchor="end">{escape(bar.label)}</text>'
    by = f"{asked.change * 100:g} %"
    halves = (("less", bar.low, bar.low_met), ("more", bar.high, bar.high_met))
    start = across.at(asked.base) if math.isfinite(asked.base) else across.start_px
    for which, value, met in halves:
        end = _end(value, asked, across)
        wide_px = max(abs(end - start), 0.6)
        y, high = (top + 3, 6) if which == "less" else (top + 9, 6)
        fill = "var(--c0)" if which == "more" else "var(--c1)"
        told = f"{by} {which} {lowered(bar.label)}: {asked.objective.name} {_said(value, asked)}"
        told += "" if met or not math.isfinite(asked.objective.limit) else ", an objective is missed"
        yield (
            f'<rect x="{min(start, end):.1f}" y="{y:.0f}" width="{wide_px:.1f}" height="{high}" '
            f'fill="{fill}"><title>{escape(told)}</title></rect>'
        )
        if not math.isfinite(value):
            low = end == across.start_px
            x, anchor = (end + 4, "start") if low else (end - 4, "end")
            yield (
                f'<text class="limit-text" x="{x:.1f}" y="{top + 13:.0f}" text-anchor="{anchor}" '
                'stroke="var(--page)" stroke-width="3" paint-order="stroke">overloaded</text>'
            )


def _end(value: float, asked: Tornado, across: Scale) -> float:
    if math.isfinite(value):
        return across.at(min(max(value, across.low), across.high))
    return across.end_px if asked.objective.direction == "<=" else across.start_px


def _said(value: float, asked: Tornado) -> str:
    return asked.objective.show(value) if math.isfinite(value) else "has no value: overloaded"


def _beside(asked: Tornado, columns: list[float], width: float) -> Iterator[str]:
    right = width - 2 - sum(columns)
    for i, (head, wide_px) in enumerate(zip(asked.heads, columns, strict=True)):
        right += wide_px
        yield f'<text class="dim" x="{right:.1f}" y="{_TOP - 8}" text-anchor="end">{escape(head)}</text>'
        for row, bar in enumerate(asked.bars):
            y = _TOP + _ROW_PX * row + 13
            yield f'<text x="{right:.1f}" y="{y}" text-anchor="end">{escape(bar.beside[i])}</text>'


def _key(change: float, left: float, height: float) -> Iterator[str]:
    y = height + 12
    by = f"{change * 100:g} %"
    for i, (fill, text) in enumerate((("--c1", f"above: {by} less of it"), ("--c0", f"below: {by} more"))):
        x = left + 160 * i
        yield f'<rect x="{x:.1f}" y="{y - 9}" width="14" height="8" fill="var({fill})"/>'
        yield f'<text x="{x + 20:.1f}" y="{y - 1}">{text}</text>'
