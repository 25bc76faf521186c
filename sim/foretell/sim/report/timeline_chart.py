"""Pictures of engines over time: how their time was spent in bins, and their single steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import accumulate, islice
from typing import Any

import numpy as np

from foretell.sim.quantities import show_seconds
from foretell.sim.report.axes import CHARACTER_PX, Axis, Scale, scale
from foretell.sim.report.svg import svg
from foretell.sim.steps import KINDS, EngineSteps, Floats

_COLOURS = (1, 2, 0)
"""Of the kinds of steps, those of the roofline."""
_WIDTH, _RIGHT, _TOP, _BELOW = 920, 12, 6, 54
_BINS = 4000
"""Columns of all rows together, about."""


def shares_over_time(steps: EngineSteps, edges: Floats) -> Floats:
    """Seconds of each kind of step between successive edges, shape (3, len(edges) - 1)."""
    found = []
    for kind in range(len(KINDS)):
        rows = steps.where(steps.kind == kind)
        times = np.column_stack([rows.start_s, rows.end_s]).ravel()
        sums = np.column_stack([np.cumsum(rows.seconds) - rows.seconds, np.cumsum(rows.seconds)]).ravel()
        found.append(np.diff(np.interp(edges, times, sums)) if len(times) else np.zeros(len(edges) - 1))
    return np.array(found)


def overview(engines: Sequence[EngineSteps], start_s: float, end_s: float, title: str, about: str) -> str:
    """A row an engine: in every bin of time, how much of it went to steps of each kind; the rest is idle."""
    bins = int(np.clip(_BINS // max(len(engines), 1), 100, 230))
    edges = np.linspace(start_s, end_s, bins + 1)
    high = _row_px(len(engines))
    across, parts, height = _canvas(engines, high, Axis("time", "s"), start_s, end_s, "o")
    for row, steps in enumerate(engines):
        seconds = shares_over_time(steps, edges)
        foot = _TOP + (row + 1) * (high + 4) - 4
        below = np.zeros(bins)
        for kind in (2, 1, 0):  # decoding below, prompts on top
            above = below + seconds[kind] / np.diff(edges)
            tops = foot - high * np.minimum(above, 1)
            parts += _area(across.place(edges), foot - high * below, tops, kind, "o")
            below = above
        parts += _marks(steps.preempted_s, across, foot - high, 0.0, end_s)
    return svg(_WIDTH, height, title, about, parts)


def close_up(engines: Sequence[EngineSteps], start_s: float, end_s: float, title: str, about: str) -> str:
    """A row an engine: its single steps between two times, the higher the more requests are in them."""
    high = max(_row_px(len(engines)), 22)
    axis = Axis(f"time since {start_s:,.3f} s", "s")
    across, parts, height = _canvas(engines, high, axis, 0.0, end_s - start_s, "c")
    shown = [list(single_steps(steps, start_s, end_s)) for steps in engines]
    largest = max((batch for own in shown for _, _, _, batch in own), default=1.0)
    for row, own in enumerate(shown):
        foot = _TOP + (row + 1) * (high + 4) - 4
        for begin, until, kind, batch in own:
            x = across.at(max(begin, start_s) - start_s)
            wide = max(across.at(min(until, end_s) - start_s) - x, 0.4)
            tall = high * (0.25 + 0.75 * batch / largest)
            told = f"{KINDS[kind]}, {show_seconds(until - begin)}, {batch:.0f} requests, at {begin:.3f} s"
            parts.append(
                f'<rect x="{x:.1f}" y="{foot - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
                f'{_fill(kind, "c")} stroke="var(--page)" stroke-width=".5"><title>{told}</title></rect>'
            )
        parts += _marks(engines[row].preempted_s, across, foot - high, start_s, end_s)
    return svg(_WIDTH, height, title, about, parts)


def single_steps(
    steps: EngineSteps, start_s: float, end_s: float
) -> Iterator[tuple[float, float, int, float]]:
    """Start, end [s], kind and requests of every step that lies, in part at least, between two times."""
    rows = steps.where((steps.start_s < end_s) & (steps.end_s > start_s))
    load: Any = rows.load
    for i in range(len(rows)):
        begin, kind, seqs = float(rows.start_s[i]), int(rows.kind[i]), int(load.decode_seqs[i])
        batch = float(load.prefill_seqs[i]) + seqs
        count = int(rows.count[i])
        if count == 1:
            yield begin, float(rows.end_s[i]), kind, batch
            continue
        each = islice(steps.part.cost.decode_steps(seqs, int(load.decode_context[i])), count)
        for until in islice(accumulate(each, initial=begin), 1, None):
            if until > start_s and begin < end_s:
                yield begin, until, kind, batch
            begin = until


def _row_px(rows: int) -> int:
    return int(np.clip(260 / max(rows, 1), 12, 64))


def _canvas(
    engines: Sequence[EngineSteps], high: int, axis: Axis, low: float, top: float, mark: str
) -> tuple[Scale, list[str], float]:
    """The axis, what lies behind the rows with their names and the legend, and the height of all."""
    longest = max((len(steps.name) for steps in engines), default=0)
    left = min(14 + CHARACTER_PX * longest, 0.25 * _WIDTH)
    room = int((left - 8) / CHARACTER_PX)
    floor = _TOP + len(engines) * (high + 4)
    timed = Axis(axis.label, axis.unit, low=low, high=top)
    across = scale(timed, np.array([low, top]), left, _WIDTH - _RIGHT, across=True)
    parts = [_patterns(mark)]
    for row, steps in enumerate(engines):
        y = _TOP + row * (high + 4)
        name = steps.name if len(steps.name) <= room else f"{steps.name[: room - 1]}…"
        parts.append(
            f'<rect x="{left:.1f}" y="{y}" width="{_WIDTH - _RIGHT - left:.1f}" height="{high}" '
            'fill="var(--band)" stroke="var(--line)" stroke-width=".5"/>'
            f'<text x="{left - 6:.1f}" y="{y + high / 2 + 4:.1f}" text-anchor="end">{escape(name)}</text>'
        )
    for value, text in across.ticks:
        at = across.at(value)
        parts.append(
            f'<path class="grid" d="M{at:.1f} {floor - 4}v5"/>'
            f'<text x="{at:.1f}" y="{floor + 12}" text-anchor="middle">{text}</text>'
        )
    parts.append(
        f'<text class="dim" x="{(left + _WIDTH) / 2:.0f}" y="{floor + 27}" text-anchor="middle">'
        f"{escape(across.title)}</text>"
    )
    x = left
    for kind, name in enumerate((*KINDS, "idle")):
        fill = _fill(kind, mark) if kind < len(KINDS) else 'fill="var(--band)"'
        parts.append(
            f'<rect x="{x:.0f}" y="{floor + 36}" width="18" height="11" {fill} stroke="var(--line)"/>'
            f'<text x="{x + 23:.0f}" y="{floor + 46}">{name}</text>'
        )
        x += 40 + CHARACTER_PX * len(name)
    if any(len(steps.preempted_s) for steps in engines):
        parts.append(
            f'<path d="{_mark(x + 12, floor + 43)}" fill="var(--text)"/>'
            f'<text x="{x + 23:.0f}" y="{floor + 46}">a request is preempted</text>'
        )
    return across, parts, floor + _BELOW


def _patterns(mark: str) -> str:
    """Fills that differ without colour: dots, stripes, plain."""
    dots = '<circle cx="2.5" cy="2.5" r="1" fill="var(--page)"/>'
    stripes = '<path d="M-1 6L6 -1M-1 1L1 -1M4 6L6 4" stroke="var(--page)" stroke-width="1"/>'
    return (
        "<defs>"
        + "".join(
            f'<pattern id="steps-{mark}{kind}" width="5" height="5" patternUnits="userSpaceOnUse">'
            f'<rect width="5" height="5" fill="var(--c{_COLOURS[kind]})"/>{drawn}</pattern>'
            for kind, drawn in enumerate((dots, stripes))
        )
        + "</defs>"
    )


def _fill(kind: int, mark: str) -> str:
    return f'fill="url(#steps-{mark}{kind})"' if kind < 2 else f'fill="var(--c{_COLOURS[kind]})"'


def _marks(times: Floats, across: Scale, y: float, start_s: float, end_s: float) -> Iterator[str]:
    """Marks on a row whose top is at `y`, none twice in a place; the axis tells times from `start_s`."""
    there = times[(times >= start_s) & (times <= end_s)] - start_s
    places = np.unique(np.round(across.place(there))).tolist()
    if places:
        yield f'<path d="{"".join(_mark(x, y) for x in places)}" fill="var(--text)"/>'


def _mark(x: float, y: float) -> str:
    """An arrow head, with its point on a row."""
    return f"M{x - 3:.0f} {y - 4:.0f}h6l-3 6Z"


def _area(x: Floats, low: Floats, high: Floats, kind: int, mark: str) -> Iterator[str]:
    """Columns from `low` up to `high` (pixels) between successive `x`, those without height left out."""
    pieces = []
    filled = np.flatnonzero(low - high >= 0.05)
    for run in np.split(filled, np.flatnonzero(np.diff(filled) > 1) + 1):
        if not len(run):
            continue
        there = "".join(f"V{high[i]:.1f}H{x[i + 1]:.1f}" for i in run)
        back = "".join(f"V{low[i]:.1f}H{x[i]:.1f}" for i in run[::-1])
        pieces.append(f"M{x[run[0]]:.1f} {low[run[0]]:.1f}{there}{back}Z")
    if pieces:
        yield f'<path {_fill(kind, mark)} d="{"".join(pieces)}"/>'
