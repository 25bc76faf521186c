"""What `foretell validate theory` prints: a summary as plain values, and the same as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from foretell.validate.theory import Theory
from foretell.validate.theory_batching import LIMITS, Point
from foretell.validate.theory_map import NAMES, by_case, shown, tallies
from foretell.validate.theory_replications import CALM, FAMILY, Judged, Row, judge


def theory_summary(theory: Theory) -> dict[str, Any]:
    """Plain values: what was simulated, how textbook models came off, and every point of ours."""
    judged = judge(theory.rows)
    return {
        "made": dict(theory.made),
        "headline": headline(theory, judged),
        "textbook": {
            "judged": {
                "exact_and_bounds": judged.rows,
                "inside": judged.rows - len(judged.outside),
                "outside": [
                    f"{row.model} by {row.by}, {row.figure}, load {row.load:g}" for row in judged.outside
                ],
                "level_of_each_interval": judged.level,
                "chance_that_all_hold": FAMILY,
                "exact": judged.exact,
                "outside_95": judged.beyond_95,
                "chance_of_so_many": judged.chance,
                "exact_up_to_90": judged.calm,
                "outside_95_up_to_90": judged.calm_beyond,
                "median_half_width": judged.spread,
            },
            "rows": [{**asdict(row), "off": row.off, "half_width": row.spread} for row in theory.rows],
            "cells": [
                {**dict(zip(("model", "figure", "kind", "by"), row, strict=True)), **_by_load(cells)}
                for row, cells in textbook_cells(theory.rows).items()
            ],
        },
        "batching": {
            "limits_below_90_percent": LIMITS,
            "tallies": {
                figure: {"limit": LIMITS[figure], **asdict(one)}
                for figure, one in tallies(theory.points).items()
                if one.asked
            },
            "points": [
                {
                    **asdict(point),
                    "off": point.off,
                    "half_width": point.spread,
                    "missed": point.judged and point.missed,
                    "surely_missed": point.judged and point.surely_missed,
                }
                for point in theory.points
            ],
            "cells": {
                case: {
                    figure: _by_load({point.load: marked(point) for point in points})
                    for figure, points in figures.items()
                }
                for case, figures in by_case(theory.points).items()
            },
            "by_case": {
                case: _judged([point for points in figures.values() for point in points if point.judged])
                for case, figures in by_case(theory.points).items()
            },
        },
        "absent": list(theory.absent),
    }


def _judged(points: Sequence[Point]) -> dict[str, Any]:
    """Of a case below 90 % load: figures beyond their limits, from which load on, and extremes by figure."""
    missed = [point for point in points if point.missed]
    extremes = {}
    for figure in {point.figure: None for point in points}:
        offs = [point.off for point in points if point.figure == figure]
        widest = max(point.spread for point in points if point.figure == figure)
        extremes[figure] = {"lowest": min(offs), "highest": max(offs), "widest": widest}
    loads = [point.load for point in missed]
    return {"missed": len(missed), "from_load": min(loads, default=None), **extremes}


def _by_load(cells: Mapping[float, str]) -> dict[str, str]:
    """Texts by load; a figure of no load, a capacity, is "whole"."""
    return {"whole" if math.isnan(load) else f"{load:g}": text for load, text in cells.items()}


HEADS = (
    *("figure", "limit", "asked", "within", "beyond"),
    *("unwarned", "needless", "surely beyond", "median", "worst"),
)
"""Columns of `tally_rows`."""


def headline(theory: Theory, judged: Judged) -> str:
    """What came out, in one line."""
    all_of = tallies(theory.points)
    asked, met = (sum(getattr(one, name) for one in all_of.values()) for name in ("asked", "met"))
    sure = sum(one.surely_missed for one in all_of.values())
    inside = judged.rows - len(judged.outside)
    parts = []
    if judged.rows:
        parts.append(
            f"{inside} of {judged.rows} exact textbook figures and bounds inside intervals that hold "
            f"together with {100 * FAMILY:g} %, "
            f"{judged.beyond_95} of {judged.exact} exact ones outside of 95 %"
        )
    if asked:
        parts.append(
            f"of {asked} figures of continuous batching below 90 % load {met} within their limit, "
            f"{sure} surely beyond it"
        )
    return "; ".join(parts) or "nothing was compared"


def show_theory(theory: Theory) -> None:
    """Print tables: textbook models, continuous batching by figure, and the map in numbers."""
    from rich.console import Console

    judged = judge(theory.rows)
    out = Console(highlight=False)
    if not out.is_terminal:
        out.width = 120
    out.print(headline(theory, judged))
    made = theory.made
    out.print(f"simulated {made['date']}, {made['effort']}, seed {made['seed']}", style="dim")
    if theory.rows:
        _textbook(out, theory.rows, judged)
    if theory.points:
        _batching(out, theory.points)
    for text in theory.absent:
        out.print(f"- {text}", style="dim", markup=False)


def _textbook(out: Any, rows: Sequence[Row], judged: Judged) -> None:
    from rich.table import Table

    loads = sorted({row.load for row in rows})
    table = Table("textbook queue", *(f"{load:g}" for load in loads), box=None, pad_edge=False)
    for (name, figure, kind, by), cells in textbook_cells(rows).items():
        more = "" if kind == "exact" else f", {kind}"
        about = f"{name}: {figure}{more} ({by})"
        table.add_row(about, *(cells.get(load, "") for load in loads))
    out.print("\nTextbook queues: error of theory ± half the 95 % interval, per cent, by load", style="bold")
    out.print(table)
    out.print(textbook_note(judged), style="dim")


def textbook_cells(rows: Sequence[Row]) -> Mapping[tuple[str, str, str, str], Mapping[float, str]]:
    """Errors of theory by model and load, as texts; * where a figure or bound is not in its interval."""
    outside = {(row.model, row.by, row.kind, row.figure, row.load) for row in judge(rows).outside}
    found: dict[tuple[str, str, str, str], dict[float, str]] = {}
    for row in rows:
        star = "*" if (row.model, row.by, row.kind, row.figure, row.load) in outside else ""
        text = f"{shown(row.off)}±{100 * row.spread:.2g}{star}" if row.mean else "–"
        found.setdefault((row.model, row.figure, row.kind, row.by), {})[row.load] = text
    return found


def textbook_note(judged: Judged) -> str:
    """How textbook rows are judged, and how that came out."""
    inside = judged.rows - len(judged.outside)
    return (
        f"{inside} of {judged.rows} exact figures and bounds lie in intervals that hold all at once with "
        f"{100 * FAMILY:g} % ({100 * judged.level:.3f} % each). Of {judged.exact} exact ones "
        f"{judged.beyond_95} lie outside of their 95 % intervals, of which one in twenty should; so many or "
        f"more have a chance of {100 * judged.chance:.3g} %. Up to {CALM:g} load it is {judged.calm_beyond} "
        f"of {judged.calm}: nearer to saturation the means of replications are skewed to the right, so that "
        f"intervals hold less than they say. Half a 95 % interval is {100 * judged.spread:.2g} % in the "
        "median. Approximations are shown, not judged."
    )


def _batching(out: Any, points: Sequence[Point]) -> None:
    from rich.table import Table

    table = Table(
        *HEADS,
        box=None,
        pad_edge=False,
    )
    for name, cells in tally_rows(points):
        table.add_row(name, *cells)
    out.print("\nContinuous batching below 90 % load: errors of the closed form", style="bold")
    out.print(table)
    loads = sorted({point.load for point in points if not math.isnan(point.load)})
    for figure in list(NAMES)[1:]:
        chart = Table("case", *(f"{load:g}" for load in loads), box=None, pad_edge=False)
        for case, cells in map_rows(points, figure, loads):
            chart.add_row(case, *cells)
        out.print(f"\n{NAMES[figure]}: error in per cent by load (! beyond, !! surely beyond)", style="bold")
        out.print(chart)
    capacity = Table("case", "error", box=None, pad_edge=False)
    for case, figures in by_case(points).items():
        for point in figures.get("capacity", ()):
            capacity.add_row(case, f"{marked(point)} ±{100 * point.spread:.2g}")
    out.print("\nCapacity: error in per cent", style="bold")
    out.print(capacity)


def tally_rows(points: Sequence[Point]) -> list[tuple[str, tuple[str, ...]]]:
    """Tallies by figure as texts."""
    return [
        (
            NAMES[figure],
            (
                f"{100 * LIMITS[figure]:g} %",
                str(one.asked),
                str(one.met),
                str(one.missed),
                str(one.unwarned),
                str(one.needless),
                str(one.surely_missed),
                f"{100 * one.median:.1f} %",
                f"{100 * one.worst:.0f} %",
            ),
        )
        for figure, one in tallies(points).items()
        if one.asked
    ]


def map_rows(
    points: Sequence[Point], figure: str, loads: Sequence[float]
) -> list[tuple[str, tuple[str, ...]]]:
    """The map of a figure as texts."""
    rows = []
    for case, figures in by_case(points).items():
        at = {point.load: marked(point) for point in figures.get(figure, ())}
        rows.append((case, tuple(at.get(load, "") for load in loads)))
    return rows


def marked(point: Point) -> str:
    """An error, with ! where it is beyond its limit and !! where it surely is."""
    mark = "!!" if point.surely_missed else "!" if point.missed else ""
    return shown(point.off) + (mark if point.judged else "")
