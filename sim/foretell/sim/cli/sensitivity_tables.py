"""A sensitivity for people: a tornado in text, and what it is worth to know each input."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foretell.sim.report.sensitivity_words import headline, meanings, missed_as_well
from foretell.sim.report.swings import counts_between, worth

if TYPE_CHECKING:
    from foretell.sim.sensitivity import At, Sensitivity

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
    return Text(headline(found), style="bold green" if found.met else "bold red")


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
            counts_between(swing.low.replicas, swing.high.replicas),
            f"{swing.log_error * 100:.2g} %{'*' if swing.assumed else ' '}",
            worth(swing.worth.usd_per_h),
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


def _legend(found: Sensitivity) -> Iterator[str]:
    yield f"{_LESS} less of an input, {_MORE} more of it; a value in red misses an objective."
    yield from missed_as_well(found)
    yield from meanings(found)
    for note in found.notes:
        yield f"- {note}"
