"""A picture of a plan's candidates: rent against the room to the limits, what meets them above the line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from foretell.sim.planning import MONEY
from foretell.sim.planning_verify import Plan
from foretell.sim.planning_walk import Checked
from foretell.sim.report.axes import CHARACTER_PX, Axis, scale
from foretell.sim.report.frame import BELOW_PX, RIGHT_PX, TOP_PX, frame, key, level_boxes, levels
from foretell.sim.report.names import Box, placed_names
from foretell.sim.report.plan_words import layout
from foretell.sim.report.svg import marker, svg
from foretell.sim.report.words import percent, show

LEAST = -1.0
"""Room below which a candidate is drawn at the edge: its limits are missed by as much again."""
_LIMIT = {"within the limits above, beyond them below": 0.0}


@dataclass(frozen=True, slots=True)
class Mark:
    """A candidate.

    Attributes:
        usd_per_h: its rent.
        room: least room to a limit, money apart, as a share of it; below 0 where one is missed.
        met: whether it holds.
        simulated: or judged by closed form alone.
        name: written at it.
        told: what the pointer is told.
        chosen: whether it is the answer.

    """

    usd_per_h: float
    room: float
    met: bool
    simulated: bool
    name: str
    told: str
    chosen: bool = False


def marks(plan: Plan) -> list[Mark]:
    """The candidates that a plan tells of, simulated ones first; each once."""
    cheaper = plan.cheaper
    found: dict[str, Mark] = {}
    for one in plan.finalists:
        for checked in (one.checked, *one.settled.failed):
            text = layout(checked.candidate)
            chosen = one is plan.best and checked is one.checked
            named = text if chosen or checked is cheaper or one is plan.nearest else ""
            made = Mark(checked.usd_per_h, _room(checked), checked.met, True, named, _told(checked), chosen)
            if text not in found or chosen:
                found[text] = made
    for expected in plan.others:
        text = layout(expected.candidate)
        told = f"{text}: {_rent(expected.usd_per_h)}, by closed form {percent(expected.margin)} room"
        found.setdefault(text, Mark(expected.usd_per_h, expected.margin, expected.met, False, "", told))
    return [mark for mark in found.values() if math.isfinite(mark.usd_per_h) and not math.isnan(mark.room)]


def candidates(plan: Plan, width: int = 700, height: int = 320) -> str:
    """Plot the candidates; empty where none has a rent."""
    shown = marks(plan)
    if not shown:
        return ""
    usd = np.array([mark.usd_per_h for mark in shown])
    rooms = np.array([_drawn(mark.room) for mark in shown])
    air = 0.06 * (usd.max() - usd.min()) or 0.1 * usd.max() or 1.0
    low, high = min(float(rooms.min()) - 0.08, -0.05), max(float(rooms.max()) + 0.08, 0.15)
    up = scale(
        Axis("Least room to a limit, as a share of it", "share", low=low, high=high),
        rooms,
        height - BELOW_PX,
        TOP_PX,
        across=False,
    )
    left = 10 + CHARACTER_PX * max(len(text) for _, text in up.ticks)
    rent = Axis("Rent", "USD/h", low=max(0.0, float(usd.min()) - air), high=float(usd.max()) + air)
    across = scale(rent, usd, left, width - RIGHT_PX, across=True)
    parts = frame(across, up, height, TOP_PX)
    places = [(across.at(mark.usd_per_h), up.at(_drawn(mark.room))) for mark in shown]
    for mark, (x, y) in sorted(zip(shown, places, strict=True), key=lambda pair: pair[0].simulated):
        parts += _mark(mark, x, y)
    taken = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in places] + level_boxes(_LIMIT, up, across)
    room = Box(left + 2, TOP_PX + 2, width - RIGHT_PX - 1, height - BELOW_PX - 2)
    wanted = [(at, mark.name) for mark, at in zip(shown, places, strict=True) if mark.name]
    parts += placed_names(wanted, taken, places, room)
    parts += levels(_LIMIT, up, across)
    drawn_key, full = key(_legend(shown), width, height)
    about = "; ".join(mark.told for mark in shown[:40])
    return svg(width, full, "Candidates: rent against room to the limits", about, [*parts, *drawn_key])


def _drawn(room: float) -> float:
    return min(max(room, LEAST), 1.0)


def _room(checked: Checked) -> float:
    """Least room, money apart: rent is the other axis."""
    from foretell.sim.objectives import room_of

    rooms = [
        room_of(verdict.objective, verdict.value)
        for trial in checked.trials.values()
        for verdict in trial.verdicts
        if verdict.objective.name not in MONEY
    ]
    return min(rooms, default=checked.room)


def _told(checked: Checked) -> str:
    said = (
        f"meets every objective, {percent(_room(checked))} room" if checked.met else "; ".join(checked.missed)
    )
    return f"{layout(checked.candidate)}: {_rent(checked.usd_per_h)}, simulated: {said}"


def _rent(usd_per_h: float) -> str:
    return f"{show('usd_per_h', usd_per_h)}/h"


def _mark(mark: Mark, x: float, y: float) -> Iterator[str]:
    colour, shape = ("var(--good)", 0) if mark.met else ("var(--bad)", 4)
    fill = colour if mark.simulated else "var(--page)"
    if mark.chosen:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="none" stroke="{colour}" stroke-width="1.6"/>'
    yield (
        f'<g transform="translate({x:.1f} {y:.1f}) scale(1.6)"><path fill="{fill}" stroke="{colour}" '
        f'stroke-width=".8" d="{marker(shape, 0, 0)}"><title>{escape(mark.told)}</title></path></g>'
    )


def _legend(shown: Sequence[Mark]) -> Iterator[tuple[str, str]]:
    kinds = (
        (True, True, "meets everything, simulated"),
        (True, False, "fails, simulated"),
        (False, True, "meets, by closed form"),
        (False, False, "fails, by closed form"),
    )
    for simulated, met, text in kinds:
        if any(mark.simulated == simulated and mark.met == met for mark in shown):
            yield (
                "".join(_mark(Mark(0, 0, met, simulated, "", ""), 0, 0)).replace("<title></title>", ""),
                text,
            )
    if any(mark.chosen for mark in shown):
        yield '<circle r="6" fill="none" stroke="var(--good)" stroke-width="1.4"/>', "the answer"
