"""What is claimed, how it was checked and what came of it: the sections of the page of evidence, as data.

A section is made from what a command of `foretell validate` printed. Whether a target is met is judged here,
by its bounds: what a summary says of itself is not asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foretell.validate.charts import Points

ROWS = 100
"""Rows of a table that are shown at most."""


@dataclass(frozen=True, slots=True)
class Check:
    """A figure beside what was asked of it, both as text; `met` is None where nothing was measured."""

    name: str
    asked: str
    reached: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of texts."""

    caption: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Scatter:
    """Forecast over measured, in `unit`."""

    caption: str
    series: Mapping[str, Points]
    unit: str = "s"


@dataclass(frozen=True, slots=True)
class Residuals:
    """Errors [%] (`predicted`) over a load (`measured`)."""

    caption: str
    series: Mapping[str, Points]
    across: str
    limit: float = 60.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of what was measured lay inside the forecasts' intervals: a share of [0, 1] of `count`."""

    what: str
    share: float
    count: int
    nominal: float = 0.9


@dataclass(frozen=True, slots=True)
class Section:
    """One claim and its evidence.

    Attributes:
        key, title: short, and for people.
        answer: what came out, in one sentence that starts with what it was and how much of it.
        claim, how, command: what is claimed, how it was checked, what checks it again.
        would_fail: what would have shown the claim to be wrong.
        checks: figures with a target.
        misses: what is off beside the targets, each by name and size.
        grids, charts, coverage: the figures.
        source: where the measured data come from, with the licence.
        absent: parts that were not measured, and why.

    """

    key: str
    title: str
    answer: str
    claim: str
    how: Sequence[str]
    would_fail: Sequence[str]
    command: str
    source: str
    checks: Sequence[Check] = ()
    misses: Sequence[str] = ()
    grids: Sequence[Grid] = ()
    charts: Sequence[Scatter | Residuals] = ()
    coverage: Sequence[Coverage] = ()
    absent: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """When and with what a section's figures were made."""

    date: str
    versions: str
    machine: str
    origin: str


@dataclass(frozen=True, slots=True)
class NotRun:
    """A section that is not there, why, and what would make it."""

    title: str
    reason: str
    command: str


def missed(section: Section) -> Iterator[str]:
    """Everything by which a section is wrong: targets missed, then what is off beside them."""
    for check in section.checks:
        if check.met is False:
            yield f"{check.name}: asked {check.asked}, reached {check.reached}"
    yield from section.misses


def check(
    name: str, reached: float | None, low: float | None = None, high: float | None = None, unit: str = "%"
) -> Check:
    """Judge a figure by its bounds, both included; the unit "%" is per cent already, "" a share of [0, 1]."""
    value = None if reached is None or not math.isfinite(reached) else float(reached)
    ends = [f"at least {_shown(low, unit, 6)}"] if low is not None else []
    ends += [f"at most {_shown(high, unit, 6)}"] if high is not None else []
    met = value is not None and _within(value, low, high)
    digits = 3
    if value is not None:  # rounding must not show a miss as met, nor the other way round
        while digits < 12 and _within(float(f"{value:.{digits}g}"), low, high) != met:
            digits += 1
    shown = _shown(value, unit, digits)
    return Check(name, " and ".join(ends) or "–", shown, None if value is None else met)


def checks(targets: Sequence[Mapping[str, Any]]) -> tuple[Check, ...]:
    """The targets of a summary, judged anew."""
    return tuple(
        check(
            str(one["name"]),
            one.get("reached"),
            one["asked"].get("at_least"),
            one["asked"].get("at_most"),
            str(one["asked"].get("unit", "%")),
        )
        for one in targets
    )


def beyond(
    what: str,
    errors: Iterable[tuple[str, float | None]],
    limit: float,
    of: str = "runs",
    worst: int = 4,
    show: Callable[[float], str] | None = None,
) -> list[str]:
    """How many errors [%] are larger than the limit, and the largest by name; nothing where none is.

    Args:
        what: whose errors.
        errors: each with its name, which need not be unique; None where there is none.
        limit: in per cent.
        of: what the names are.
        worst: how many are named.
        show: how; without it with their signs.

    """
    known = [(name, value) for name, value in errors if value is not None and math.isfinite(value)]
    far = sorted((one for one in known if abs(one[1]) > limit), key=lambda one: -abs(one[1]))
    if not far:
        return []
    named = ", ".join(f"{name} {(show or signed)(value)}" for name, value in far[:worst])
    rest = f" and {len(far) - worst} more" if len(far) > worst else ""
    return [f"{what}: {len(far)} of {len(known)} {of} are off by more than {limit:g} %: {named}{rest}"]


def uncovered(found: Sequence[Coverage], slack: float = 0.05) -> list[str]:
    """Intervals that hold less, or more, than they say, by more than `slack` of what is nominal."""
    return [
        f"{one.what}: intervals that should hold {100 * one.nominal:g} % held {100 * one.share:.0f} % of "
        f"{one.count:,}"
        for one in found
        if abs(one.share - one.nominal) > slack and one.count
    ]


def percent(value: float | None, digits: int = 1) -> str:
    """An error in per cent; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f} %"


def signed(value: float | None) -> str:
    """An error in per cent with its sign."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{round(value, 1) + 0.0:+.1f} %".replace("-", "−")


def count(value: Any) -> str:
    """A whole number with its thousands apart."""
    return f"{int(value):,}" if isinstance(value, int | float) and math.isfinite(value) else "–"


def seconds(value: float | None) -> str:
    """A time, in milliseconds below a second."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{1e3 * value:.4g} ms" if abs(value) < 1 else f"{value:.4g} s"


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _shown(value: float | None, unit: str, digits: int) -> str:
    if value is None:
        return "–"
    if unit in ("%", ""):
        return f"{value if unit == '%' else 100 * value:.{digits}g} %"
    return f"{value:,.0f} {unit}" if float(value).is_integer() else f"{value:,.{digits}g} {unit}"
