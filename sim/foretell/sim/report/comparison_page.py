"""A comparison as one page: which cell to take, the frontiers, what the others lose, every cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from foretell.sim.comparing import Compared, Comparison, difference
from foretell.sim.comparing_records import AGAINST_BEST
from foretell.sim.intervals import Estimate
from foretell.sim.objectives import objectives_from_mapping
from foretell.sim.report.asked import asked_section
from foretell.sim.report.choices import by_reason, common, grouping, name_of, varied
from foretell.sim.report.comparison_words import headline, how_found, name, respects, runner_up, told_cells
from foretell.sim.report.forest import span
from foretell.sim.report.page import document, figure, section, table
from foretell.sim.report.pareto_front import Point, front
from foretell.sim.report.pieces import failed_section, figure_td, small
from foretell.sim.report.words import (
    axis,
    chance,
    heading,
    limit_text,
    more_is_better,
    prose,
    ranges,
    show,
    signed,
    signed_between,
    wide,
    words_of,
)

PICTURES = (
    ("e2e_p99_s", "accuracy"),
    ("usd_per_query", "accuracy"),
    ("usd_per_query", "e2e_p99_s"),
)
"""What stands across and up in the pictures; of energy where there is no price."""
_FIGURES = (
    "accuracy",
    "e2e_p50_s",
    "e2e_p99_s",
    "tokens_per_query",
    "usd_per_query",
    "usd_per_correct",
    "energy_per_query_J",
    "energy_per_correct_J",
)
_ROWS = 300
"""Cells of the table at most, and those on the frontier."""
_SURE = 0.8
"""Chance below which it is said that a run may well miss."""
_COMPARED = 12
"""Cells that are set against the first."""


def comparison_page(comparison: Comparison) -> str:
    """The whole page of a comparison."""
    scenario = comparison.scenario
    task = scenario.workload.task
    title = f"{len(comparison.cells):,} cells compared{f' on {task}' if task else ''}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _answer(comparison),
        section("frontier", "The frontier", _pictures(comparison)),
        _against(comparison),
        section("cells", "All cells", _cells(comparison)),
        failed_section(by_reason((cell.reason, name(cell)) for cell in comparison.cells if cell.reason)),
        asked_section(
            scenario,
            how_found(comparison, "Whiskers, and below a figure"),
            common([cell.notes for cell in told_cells(comparison)]),
        ),
    ]
    return document(f"{title}: foretell", "".join(parts))


def _answer(comparison: Comparison) -> str:
    first = comparison.cells[0]
    least = min((v.probability for v in first.verdicts if not math.isnan(v.probability)), default=1.0)
    style = " missed" if comparison.best is None else " met" if least >= _SURE else ""
    words = f'<p class="answer{style}">{prose(headline(comparison))}</p>'
    then = runner_up(comparison)
    words += f"<p>{prose(then)}.</p>" if then else ""
    if comparison.best is not None and least < _SURE:
        sure = prose(chance(least))
        words += f"<p>Its means are within the limits; a single run is with a chance of {sure}.</p>"
    rows = "".join(
        f"<tr><th scope=row>{escape(str(v.objective))}</th><td>{escape(v.objective.show(v.value))}</td>"
        f'<td>{chance(v.probability)}</td><td class="{"met" if v.met else "missed"}">'
        f"{'met' if v.met else 'missed'}</td></tr>"
        for v in first.verdicts
    )
    whose = "the best cell" if comparison.best is not None else "the closest cell"
    return words + (table(["Objective", "Forecast", "Chance", ""], rows, f"Of {whose}") if rows else "")


def pictured(comparison: Comparison) -> list[tuple[str, str]]:
    """The pairs of figures that some cells have, across and up."""
    told = told_cells(comparison)
    known = {f for cell in told for f in cell.summary if math.isfinite(cell.value(f))}
    dear = "usd_per_query" if "usd_per_query" in known else "energy_per_query_J"
    pairs = [tuple(dear if f == "usd_per_query" else f for f in pair) for pair in PICTURES]
    return [(x, y) for x, y in pairs if x in known and y in known]


def _pictures(comparison: Comparison) -> str:
    charts = "".join(_picture(comparison, x, y) for x, y in pictured(comparison))
    told = told_cells(comparison)
    missing = sum(not _keeps_up(comparison, cell) for cell in told)
    left_out = f" {missing} of {len(told)} cells have no latency, being overloaded, and are left out."
    n = comparison.scenario.replications
    whose = (
        ranges(n, closed_form=comparison.method == "closed_form") if n > 1 else "none, with one replication"
    )
    about = (
        "Large marks: no cell is as good in both respects of the picture and better in one. Hollow marks: on "
        f"the frontier of all respects together ({respects(comparison)}). Small marks: another cell beats "
        f"them. Whiskers: {whose}.{left_out if missing else ''}"
    )
    return f'<p class="dim">{escape(about)}</p><div class="pair">{charts}</div>'


def points(comparison: Comparison, x: str, y: str) -> list[Point]:
    """The cells that keep up with their load as points of a picture."""
    told = [
        (cell, on)
        for cell, on in zip(comparison.cells, comparison.frontier, strict=True)
        if not cell.reason and _keeps_up(comparison, cell)
    ]
    labels = [cell.labels for cell, _ in told]
    by = grouping(labels)
    rest = [path for path in varied(labels) if path != by]
    best = comparison.best
    return [
        Point(
            cell.value(x),
            cell.value(y),
            name=name_of(cell.labels, rest or [by]),
            told=f"{name(cell)}: {show(y, cell.value(y))}, {show(x, cell.value(x))}",
            group=cell.labels.get(by, ""),
            x_range=_range(cell, x),
            y_range=_range(cell, y),
            chosen=cell is best,
            kept=on,
        )
        for cell, on in told
    ]


def _keeps_up(comparison: Comparison, cell: Compared) -> bool:
    """Whether it has every figure of the frontier; a cell that is overloaded has no latency."""
    return all(math.isfinite(cell.value(figure_name)) for figure_name, _ in comparison.respects)


def _range(cell: Compared, figure_name: str) -> tuple[float, float] | None:
    found = cell.summary.get(figure_name)
    return None if found is None or not found.low < found.high else (found.low, found.high)


def _picture(comparison: Comparison, x: str, y: str) -> str:
    drawn = points(comparison, x, y)
    limits = {
        o.key: (limit_text(o), o.limit) for o in objectives_from_mapping(comparison.scenario.objectives)
    }
    shown = [point for point in drawn if point.drawn]
    across = axis(x, log=wide([point.x for point in shown]))
    up = axis(y, log=y != "accuracy" and wide([point.y for point in shown]))
    title = f"{words_of(y)} against {words_of(x)[0].lower()}{words_of(x)[1:]}"
    better = tuple("max" if more_is_better(each) else "min" for each in (x, y))
    chart = front(
        drawn,
        across,
        up,
        title,
        f"{len(shown)} cells; those that no other cell beats in both respects are joined.",
        better=(better[0], better[1]),
        upright={limits[x][0]: limits[x][1]} if x in limits else None,
        level={limits[y][0]: limits[y][1]} if y in limits else None,
    )
    return figure(chart, title)


def _against(comparison: Comparison) -> str:
    """Differences of other cells to the first, run by run."""
    first = comparison.cells[0]
    others = [
        cell
        for place, cell in enumerate(comparison.cells[1:], 1)
        if not cell.reason and (cell.met or comparison.frontier[place])
    ]
    figures = [f for f in AGAINST_BEST if math.isfinite(first.value(f))]
    if not others or not figures or comparison.scenario.replications < 2:
        return ""
    shown = others[:_COMPARED]
    paths = varied([cell.labels for cell in (first, *shown)])
    columns = [_column(first, shown, each) for each in figures]
    rows = "".join(
        f"<tr><th scope=row>{escape(name_of(cell.labels, paths))}</th>{''.join(row)}</tr>"
        for cell, row in zip(shown, zip(*columns, strict=True), strict=True)
    )
    good = {True: "right is better", False: "left is better"}
    heads = ["", *(f"{words_of(f)} ({good[more_is_better(f)]})" for f in figures)]
    more = f" The first {_COMPARED} of {len(others)}." if len(others) > len(shown) else ""
    about = (
        f"More or less than {name_of(first.labels, paths)}, run by run with the same arrivals, problems and "
        "samples: those that meet the objectives or lie on the frontier. Where an interval spans the line, "
        f"a run may go either way.{more}"
    )
    of = "best" if comparison.best is not None else "closest"
    body = f'<p class="dim">{prose(about)}</p>{table(heads, rows, "")}'
    return section("against", f"Against the {of} cell", body)


def _column(first: Compared, others: Sequence[Compared], figure_name: str) -> list[str]:
    """Cells of one figure: the difference, its interval, and both as a picture on one scale."""
    found = [_difference(first, cell, figure_name) for cell in others]
    ends = [end for one in found for end in (one.value, one.low, one.high) if math.isfinite(end)]
    reach = min(ends, default=0.0), max(ends, default=0.0)
    cells = []
    for one in found:
        if not math.isfinite(one.value):
            cells.append("<td>–</td>")
            continue
        text = signed(figure_name, one.value)
        low_high = signed_between(figure_name, one.low, one.high)
        told = f"{text}{f', {low_high}' if low_high else ''}"
        picture = span(one.value, one.low, one.high, reach, told)
        cells.append(f"<td>{prose(text)}<br>{picture}{small(low_high)}</td>")
    return cells


def _difference(first: Compared, other: Compared, figure_name: str) -> Estimate:
    missing = Estimate(math.nan, math.nan, math.nan)
    return difference(other.summary.get(figure_name, missing), first.summary.get(figure_name, missing))


def _cells(comparison: Comparison) -> str:
    cells, frontier = comparison.cells, comparison.frontier
    shown = [(i, cell) for i, cell in enumerate(cells) if not cell.reason and (i < _ROWS or frontier[i])]
    figures = [f for f in _FIGURES if any(math.isfinite(cell.value(f)) for _, cell in shown)]
    paths = varied([cell.labels for cell in cells])
    goals = bool(comparison.scenario.objectives)
    heads = ["Cell", *(["Meets"] if goals else []), "On the frontier", *map(heading, figures)]
    body = "".join(_row(comparison, i, cell, paths, figures, goals) for i, cell in shown)
    told = len(told_cells(comparison))
    about = "On the frontier: in how many of the replications."
    if len(shown) < told:
        about += (
            f" {len(shown)} of {told:,} cells: the first {_ROWS} and the frontier; "
            "foretell compare --output has them all."
        )
    return table(heads, body, about, "figures dense")


def _row(
    comparison: Comparison,
    place: int,
    cell: Compared,
    paths: Sequence[str],
    figures: Sequence[str],
    goals: bool,
) -> str:
    chances = [v.probability for v in cell.verdicts if not math.isnan(v.probability)]
    meets = chance(min(chances)) if chances else ("yes" if cell.met else "no")
    share = comparison.frontier_share[place]
    on = f"{share:.0%}".replace("%", " %") if comparison.scenario.replications > 1 else ""
    mark = ("★ " if comparison.frontier[place] else "") + on
    style = ' class="best"' if cell is comparison.best else ""
    verdict = f'<td class="{"met" if cell.met else "missed"}">{meets}</td>' if goals else ""
    names = f"<th scope=row>{place + 1}. {escape(name_of(cell.labels, paths))}</th>"
    told = "".join(figure_td(f, cell.summary.get(f)) for f in figures)
    return f"<tr{style}>{names}{verdict}<td>{mark}</td>{told}</tr>"
