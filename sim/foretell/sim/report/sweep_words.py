"""A sweep in words, for tables and pages alike: which figures, which points meet, how they were found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from foretell.sim.objectives import objectives_from_mapping
from foretell.sim.report.choices import by_reason, titled, varied
from foretell.sim.report.words import chance, more_is_better, ranges, show, words_of
from foretell.sim.sweeping import Row, Sweep

_OF_REQUESTS = (
    "ttft_p99_s",
    "tpot_p99_s",
    "output_throughput_tps",
    "utilisation",
    "usd_per_million_output_tokens",
)
_OF_TASKS = ("accuracy", "e2e_p50_s", "e2e_p99_s", "tokens_per_query", "utilisation", "usd_per_query")
_DEAR = ("usd_per_query", "usd_per_million_output_tokens", "usd_per_h", "energy_per_query_J")
"""What decides among points that meet the objectives, the first that all of them have."""
_TOLD = 3
"""Figures whose range is told where there are no objectives."""


def chosen(sweep: Sweep, figures: Sequence[str] = ()) -> list[str]:
    """The figures asked for, or those of the objectives and the usual ones."""
    if figures:
        return list(dict.fromkeys(figures))
    usual = _OF_REQUESTS if sweep.scenario.workload.task is None else _OF_TASKS
    limits = objectives_from_mapping(sweep.scenario.objectives)
    wanted = dict.fromkeys([*(limit.key for limit in limits), *usual])
    return [name for name in wanted if any(math.isfinite(row.figure(name).value) for row in sweep.rows)]


def told_rows(sweep: Sweep) -> list[Row]:
    """The points that have a forecast."""
    return [row for row in sweep.rows if not row.reason]


def cheapest(sweep: Sweep) -> tuple[Row, str] | None:
    """Of the points that meet every objective the cheapest, and by which figure; None where none does."""
    if not sweep.scenario.objectives:
        return None
    meeting = [row for row in told_rows(sweep) if row.record["met"]]
    by = next((f for f in _DEAR if all(math.isfinite(row.figure(f).value) for row in meeting)), "")
    if not meeting or not by:
        return None
    return min(meeting, key=lambda row: row.figure(by).value), by


def headline(sweep: Sweep, figures: Sequence[str]) -> str:
    """What came of the points."""
    told, count = told_rows(sweep), len(sweep.rows)
    if not told:
        return f"None of {count:,} points can be forecast"
    if not sweep.scenario.objectives:
        return "; ".join(_range(sweep, figure) for figure in figures[:_TOLD])
    meeting = sum(bool(row.record["met"]) for row in told)
    if not meeting:
        return f"None of {count:,} points meets every objective"
    text = f"{meeting:,} of {count:,} points meet every objective"
    least = cheapest(sweep)
    if least is None:
        return text
    row, by = least
    paths = varied([each.labels for each in sweep.rows])
    sure = _chances(row)
    told_sure = f", with a chance of {chance(min(sure))}" if sure else ""
    return (
        f"{text}; the cheapest of them: {titled(row.labels, paths)}, at {show(by, row.figure(by).value)} "
        f"({words_of(by).lower()}){told_sure}"
    )


def _range(sweep: Sweep, figure: str) -> str:
    """Where a figure is best and worst."""
    rows = [row for row in told_rows(sweep) if math.isfinite(row.figure(figure).value)]
    paths = varied([each.labels for each in sweep.rows])
    ends = sorted(rows, key=lambda row: row.figure(figure).value, reverse=more_is_better(figure))
    best, worst = ends[0], ends[-1]
    words = f"{words_of(figure)}: {show(figure, best.figure(figure).value)} at {titled(best.labels, paths)}"
    if best.figure(figure).value == worst.figure(figure).value:
        return f"{words_of(figure)}: {show(figure, best.figure(figure).value)} everywhere"
    return f"{words} to {show(figure, worst.figure(figure).value)} at {titled(worst.labels, paths)}"


def meets(row: Row) -> str:
    """The chance of a point's least certain objective, or whether it meets them."""
    chances = _chances(row)
    return chance(min(chances)) if chances else "yes" if row.record["met"] else "no"


def _chances(row: Row) -> list[float]:
    return [each["probability"] for each in row.record["objectives"] if each["probability"] is not None]


def failures(sweep: Sweep) -> dict[str, list[str]]:
    """Points without a forecast, by the reason."""
    return by_reason(
        (row.reason, ", ".join(f"{path} {text}" for path, text in row.labels.items()))
        for row in sweep.rows
        if row.reason
    )


def how_found(sweep: Sweep, where: str = "Below a figure") -> Iterator[str]:
    """How its figures were found, and what stands beside them."""
    if sweep.method == "closed_form":
        yield "Closed form of an endless run, queues in the mean; overloaded points have no latency."
    if any(each["low"] is not None for row in sweep.rows for each in row.record["figures"].values()):
        n = sweep.scenario.replications
        yield f"{where}: {ranges(n, closed_form=sweep.method == 'closed_form')}."
