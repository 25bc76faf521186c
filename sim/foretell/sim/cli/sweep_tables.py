"""A sweep as one table for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foretell.sim.cli.comparison_tables import figure_cell
from foretell.sim.objectives import objectives_from_mapping
from foretell.sim.report.choices import field_titles
from foretell.sim.report.words import chance
from foretell.sim.sweeping import Row, Sweep

_OF_REQUESTS = (
    "ttft_p99_s",
    "tpot_p99_s",
    "output_throughput_tps",
    "utilisation",
    "usd_per_million_output_tokens",
)
_OF_TASKS = ("accuracy", "e2e_p50_s", "e2e_p99_s", "tokens_per_query", "utilisation", "usd_per_query")
_UNITS = {"_s": "", "_rps": "/s", "_tps": " tok/s", "_J": " kJ", "_W": " W"}
_SHORT = {
    "utilisation": "busy",
    "output_throughput_tps": "output tok/s",
    "tokens_per_query": "tokens",
    "usd_per_query": "$/query",
    "usd_per_correct": "$/right",
    "usd_per_million_output_tokens": "$/M output",
}
_ROWS = 200
"""Points that are shown; files have all."""


def show_sweep(sweep: Sweep, figures: Sequence[str] = (), console: Console | None = None) -> None:
    """Print a sweep: every point's values and figures, then why some have none, and notes."""
    out = console or Console(highlight=False)
    out.print(_table(sweep, _chosen(sweep, figures)))
    if len(sweep.rows) > _ROWS:
        out.print(Text(f"... and {len(sweep.rows) - _ROWS:,} more; --output DIR or --json has them all"))
    for line in (*_failures(sweep), *_legend(sweep)):
        out.print(Text(line, style="dim"))


def _chosen(sweep: Sweep, figures: Sequence[str]) -> list[str]:
    """The figures asked for, or those of the objectives and the usual ones."""
    if figures:
        return list(dict.fromkeys(figures))
    usual = _OF_REQUESTS if sweep.scenario.workload.task is None else _OF_TASKS
    limits = objectives_from_mapping(sweep.scenario.objectives)
    wanted = dict.fromkeys([*(limit.key for limit in limits), *usual])
    return [name for name in wanted if any(math.isfinite(row.figure(name).value) for row in sweep.rows)]


def _table(sweep: Sweep, figures: Sequence[str]) -> Table:
    goals = bool(sweep.scenario.objectives)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    paths = [path for path in sweep.paths if _varies(sweep, path)] or list(sweep.paths)
    for title in field_titles(paths):
        table.add_column(title.replace("_", " "), overflow="fold")
    for title in [*(["meets"] if goals else []), *map(_title, figures)]:
        table.add_column(title.replace(" ", "\n"), justify="right", no_wrap=True)
    for row in sweep.rows[:_ROWS]:
        cells: list[str | Text] = [row.labels.get(path, "–") for path in paths]
        if row.reason:
            table.add_row(*cells, Text("failed", style="red"))
            continue
        cells += [_meets(row)] if goals else []
        table.add_row(*cells, *(figure_cell(name, row.figure(name), True) for name in figures))
    return table


def _varies(sweep: Sweep, path: str) -> bool:
    return any(row.labels.get(path) != sweep.rows[0].labels.get(path) for row in sweep.rows)


def _title(name: str) -> str:
    """The figure's name in words, with its unit where numbers do not carry it."""
    if name in _SHORT:
        return _SHORT[name]
    for suffix, unit in _UNITS.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("_", " ") + unit
    return name.replace("_", " ")


def _meets(row: Row) -> Text:
    met = bool(row.record["met"])
    chances = [each["probability"] for each in row.record["objectives"] if each["probability"] is not None]
    return Text(chance(min(chances)) if chances else "yes" if met else "no", style="green" if met else "red")


def _failures(sweep: Sweep) -> list[str]:
    """One line a reason."""
    by_reason: dict[str, list[str]] = {}
    for row in sweep.rows:
        if row.reason:
            values = ", ".join(f"{path} {text}" for path, text in row.labels.items())
            by_reason.setdefault(row.reason, []).append(values)
    return [
        f"- failed: {points[0]}{f' and {len(points) - 1} more' if len(points) > 1 else ''}: {reason}"
        for reason, points in by_reason.items()
    ]


def _legend(sweep: Sweep) -> list[str]:
    lines = []
    told = [row.record["notes"] for row in sweep.rows if not row.reason]
    n = sweep.scenario.replications
    if sweep.method == "closed_form":
        lines.append("Closed form of an endless run, queues in the mean; overloaded points have no latency.")
    if any(each["low"] is not None for row in sweep.rows for each in row.record["figures"].values()):
        of = "the models' and profiles' own errors" if sweep.method == "closed_form" else "one run"
        lines.append(f"Below a figure: {of} in 9 of 10 cases, from {n} replications.")
    common = [note for note in told[0] if all(note in notes for notes in told)] if told else []
    return lines + [f"- {note}" for note in common]
