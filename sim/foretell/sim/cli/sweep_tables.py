"""A sweep as one table for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foretell.sim.cli.comparison_tables import figure_cell
from foretell.sim.report.choices import common, field_titles, varied
from foretell.sim.report.sweep_words import chosen, failures, how_found, meets
from foretell.sim.sweeping import Row, Sweep

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
    out.print(_table(sweep, chosen(sweep, figures)))
    if len(sweep.rows) > _ROWS:
        out.print(Text(f"... and {len(sweep.rows) - _ROWS:,} more; --output DIR or --json has them all"))
    for line in (*_failures(sweep), *_legend(sweep)):
        out.print(Text(line, style="dim"))


def _table(sweep: Sweep, figures: Sequence[str]) -> Table:
    goals = bool(sweep.scenario.objectives)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    paths = varied([row.labels for row in sweep.rows])
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


def _title(name: str) -> str:
    """The figure's name in words, with its unit where numbers do not carry it."""
    if name in _SHORT:
        return _SHORT[name]
    for suffix, unit in _UNITS.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("_", " ") + unit
    return name.replace("_", " ")


def _meets(row: Row) -> Text:
    return Text(meets(row), style="green" if row.record["met"] else "red")


def _failures(sweep: Sweep) -> list[str]:
    """One line a reason."""
    return [
        f"- failed: {points[0]}{f' and {len(points) - 1} more' if len(points) > 1 else ''}: {reason}"
        for reason, points in failures(sweep).items()
    ]


def _legend(sweep: Sweep) -> list[str]:
    notes = common([row.record["notes"] for row in sweep.rows if not row.reason])
    return [*how_found(sweep), *(f"- {note}" for note in notes)]
