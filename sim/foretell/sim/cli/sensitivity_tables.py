"""A sensitivity for people: a tornado in text, and what it is worth to know each input."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foretell.sim.objectives import objectives_from_mapping
from foretell.sim.quantities import show_number
from foretell.sim.report.words import chance

if TYPE_CHECKING:
    from foretell.sim.sensitivity import At, Sensitivity, Swing

_HALF = 11
"""Characters of a bar to either side."""
_LESS, _MORE = "░", "█"
_SAME = 5e-4
"""Room that is no difference, as a share of the limit."""


def show_sensitivity(found: Sensitivity, console: Console | None = None) -> None:
    """Print a sensitivity: what has the least room, the inputs by what they do to it, notes."""
    out = console or Console(highlight=False)
    out.print(_headline(found))
    out.print(_table(found))
    for line in _legend(found):
        out.print(Text(line, style="dim"))


def _headline(found: Sensitivity) -> Text:
    value = found.base.figures.get(found.nearest.key, math.nan)
    where = f"{found.nearest}, found {found.nearest.show(value)}"
    if found.met:
        return Text(f"Meets every objective; the least room has {where}", style="bold green")
    if not found.base.met:
        return Text(f"Misses {where}", style="bold red")
    counts = "+".join(map(str, found.base.replicas or ()))
    return Text(f"Overloaded; with {counts} replicas, the least room has {where}", style="bold red")


def _table(found: Sensitivity) -> Table:
    by = f"{found.change * 100:g} %"
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title, justify in (
        ("Input", "left"),
        (f"−{by}", "right"),
        ("less room | more", "center"),
        (f"+{by}", "right"),
        ("replicas", "right"),
        ("known to", "right"),
        ("worth USD/h", "right"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    scale = max(
        (abs(_shift(found, at)) for swing in found.swings for at in (swing.low, swing.high)), default=0.0
    )
    for swing in found.swings:
        table.add_row(
            swing.label,
            _value(found, swing.low),
            _bar(_shift(found, swing.low), _shift(found, swing.high), scale),
            _value(found, swing.high),
            _replicas(swing),
            f"{swing.log_error * 100:.2g} %{'*' if swing.assumed else ' '}",
            _worth(swing),
        )
    return table


def _shift(found: Sensitivity, at: At) -> float:
    """What the nearest objective gains in room; a missing figure is taken as all of the limit above it."""
    room, usual = (max(each.margins[found.nearest.name], -1.0) for each in (at, found.base))
    return room - usual


def _value(found: Sensitivity, at: At) -> Text:
    value = at.figures.get(found.nearest.key, math.nan)
    return Text(found.nearest.show(value), style="" if at.met else "red")


def _bar(low: float, high: float, scale: float) -> str:
    """The shifts by less (light) and by more (full) of an input, to the sides they go."""
    sides = [[" "] * _HALF, [" "] * _HALF]
    for shift, mark in sorted([(low, _LESS), (high, _MORE)], key=lambda pair: -abs(pair[0])):
        if abs(shift) > _SAME:
            length = max(round(abs(shift) / scale * _HALF), 1)
            sides[shift > 0][:length] = [mark] * length
    return "".join(reversed(sides[0])) + "|" + "".join(sides[1])


def _replicas(swing: Swing) -> str:
    low, high = (
        "none" if at.replicas is None else "+".join(map(str, at.replicas)) for at in (swing.low, swing.high)
    )
    return low if low == high else f"{low} → {high}"


def _worth(swing: Swing) -> str:
    worth = swing.worth.usd_per_h
    return show_number(worth) if math.isfinite(worth) else "–"


def _legend(found: Sensitivity) -> Iterator[str]:
    base = found.base
    yield f"{_LESS} less of an input, {_MORE} more of it; a value in red misses an objective."
    others = [o for o in objectives_from_mapping(found.scenario.objectives) if o != found.nearest]
    missed = {
        o.name: [
            s.label.lower() for s in found.swings if min(s.low.margins[o.name], s.high.margins[o.name]) < 0
        ]
        for o in others
    }
    for name, labels in missed.items():
        if labels:
            yield f"{name} is missed as well, by a change of: {', '.join(labels)}."
    yield f"Replicas: the fewest that meet every objective{_terms(found)}; {_today(found)}."
    if math.isfinite(base.usd_per_h):
        yield (
            "Worth: what is saved, on average, by learning an input before renting instead of after, meeting "
            f"every objective with a chance of {chance(found.probability)} either way, others as they are."
        )
    if any(swing.assumed for swing in found.swings):
        yield "Known to: one standard deviation; * assumed, the others by their models' own errors."
    yield f"{found.method[0].upper()}{found.method[1:]}."
    for note in found.notes:
        yield f"- {note}"


def _terms(found: Sensitivity) -> str:
    more = [f"{found.headroom:.0%} more traffic".replace("%", " %")] if found.headroom else []
    more += [f"{found.spare} lost"] if found.spare else []
    return f", with {' or '.join(more)} too" if more else ""


def _today(found: Sensitivity) -> str:
    names = f" of {' + '.join(found.parts)}" if len(found.parts) > 1 else ""
    if found.base.replicas is None:
        return f"as things are, no number{names} does"
    counts = "+".join(map(str, found.base.replicas))
    rent = f", {show_number(found.base.usd_per_h)} USD/h" if math.isfinite(found.base.usd_per_h) else ""
    return f"as things are, {counts}{names}{rent}"
