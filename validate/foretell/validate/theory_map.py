"""Where the closed form of continuous batching holds: load by case for each figure, in words and as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from foretell.validate.charts import Heat, heat
from foretell.validate.theory_batching import JUDGED_LOAD, LIMITS, Point

NAMES = {
    "capacity": "capacity",
    "tpot_mean": "TPOT, mean",
    "e2e_mean": "E2E, mean",
    "ttft_mean": "TTFT, mean",
    "tpot_p99": "TPOT, p99",
    "e2e_p99": "E2E, p99",
    "ttft_p99": "TTFT, p99",
}
"""Figures for people, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Points below 90 % of the capacity: how many, and how they lie to their limit.

    Attributes:
        asked: points.
        met, missed: taking the simulated figure as exact.
        unwarned: missed where the forecast's notes say nothing of the method's validity.
        needless: met where they do.
        surely_met, surely_missed: wherever in its 95 % interval the simulated figure really is.
        median, worst: of the errors without their signs, as shares.

    """

    asked: int
    met: int
    missed: int
    unwarned: int
    needless: int
    surely_met: int
    surely_missed: int
    median: float
    worst: float


def tally(points: Iterable[Point]) -> Tally:
    """Count those points of which something is asked."""
    judged = [point for point in points if point.judged]
    errors = sorted(abs(point.off) for point in judged)
    return Tally(
        len(judged),
        sum(not point.missed for point in judged),
        sum(point.missed for point in judged),
        sum(point.missed and not point.warned for point in judged),
        sum(point.warned and not point.missed for point in judged),
        sum(point.surely_met for point in judged),
        sum(point.surely_missed for point in judged),
        errors[len(errors) // 2] if errors else math.nan,
        errors[-1] if errors else math.nan,
    )


def tallies(points: Sequence[Point]) -> dict[str, Tally]:
    """Tallies by figure, in the order of `NAMES`."""
    return {figure: tally(p for p in points if p.figure == figure) for figure in NAMES}


def validity_map(points: Sequence[Point], figure: str) -> str:
    """The map of a figure as SVG: a row a case, a column a load, colour and number the error.

    Colour is full at three times the limit. A full line is round errors that are surely beyond the limit, a
    dashed one round those that may be, by the simulation's own uncertainty.
    """
    own = [point for point in points if point.figure == figure]
    cases = list(dict.fromkeys(point.case for point in own))
    loads = sorted({point.load for point in own})
    columns = ["" if math.isnan(load) else f"{load:g}" for load in loads]
    cells = [
        Heat(
            cases.index(point.case),
            0 if math.isnan(point.load) else loads.index(point.load),
            shown(point.off),
            point.off / (3 * LIMITS[figure]),
            _line(point),
            told(point),
        )
        for point in own
    ]
    apart = sum(not load >= JUDGED_LOAD for load in loads)
    return heat(cases, columns, cells, f"Errors of {NAMES[figure]}", described(own, figure), apart)


def described(points: Sequence[Point], figure: str) -> str:
    """The map in words."""
    at = tally(points)
    beyond: dict[str, list[str]] = {}
    for point in points:
        if point.judged and point.missed:
            beyond.setdefault(point.case, []).append(f"{shown(point.off)} % at {_where(point)}")
    far = "; ".join(f"{case}: {', '.join(found)}" for case, found in beyond.items())
    return (
        f"{at.met} of {at.asked} errors of {NAMES[figure]} below 90 % load are within "
        f"{100 * LIMITS[figure]:g} %, {at.surely_missed} surely beyond." + (f" Beyond: {far}." if far else "")
    )


def shown(off: float) -> str:
    """An error in whole per cent with its sign; from ten times the figure on as a multiple of it."""
    if not math.isfinite(off):
        return "∞"
    if off >= 9.5:
        return f"×{1 + off:.0f}"
    return f"{round(100 * off) + 0:+d}".replace("-", "−").replace("+0", "0")


def told(point: Point) -> str:
    """A point in words."""
    close = "overload" if not math.isfinite(point.closed) else f"{point.closed:.4g}"
    unit = "requests/s" if point.figure == "capacity" else "s"
    return (
        f"{point.case}, {_where(point)}: closed form {close}, simulated {point.truth:.4g} "
        f"± {point.truth * point.spread:.2g} {unit}"
    )


def by_case(points: Sequence[Point]) -> Mapping[str, Mapping[str, tuple[Point, ...]]]:
    """Points by case and figure, in order of their load."""
    found: dict[str, dict[str, list[Point]]] = {}
    for point in points:
        found.setdefault(point.case, {}).setdefault(point.figure, []).append(point)
    return {
        case: {figure: tuple(sorted(some, key=lambda p: p.load)) for figure, some in figures.items()}
        for case, figures in found.items()
    }


def _line(point: Point) -> str:
    if not point.judged:
        return "none"
    return "full" if point.surely_missed else "dashed" if point.missed else "none"


def _where(point: Point) -> str:
    return "no load asked" if math.isnan(point.load) else f"load {point.load:g}"
