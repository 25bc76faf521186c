"""The validation's figures as tables for a terminal: the targets first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foretell.validate.silicon_report import headline, percent, show_asked, show_target, variant_figures

if TYPE_CHECKING:
    import pandas as pd

_MARKS = {True: ("met", "green"), False: ("missed", "bold red"), None: ("not measured", "dim")}


def show_silicon(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a summary of `report.summarise`."""
    out = console or Console(highlight=False)
    out.print(Text(headline(summary), style="bold"))
    out.print(Text(f"{summary['source']}; {summary['variant']}", style="dim"))
    out.print(targets_table(summary["targets"]))
    out.print(_figures("variant", variant_figures(summary)))
    out.print(_figures("model, GPU", summary["by_group"]))
    if summary["other_backends"]:
        out.print(_figures("other backends", summary["other_backends"]))
    for reason, rows in summary["not_predicted"].items():
        out.print(Text(f"- {rows} rows without a forecast: {reason}", style="dim"))
    for reason, rows in summary["left_out"].items():
        out.print(Text(f"- {rows} rows not simulated: {reason}", style="dim"))
    for reason in sorted({one["reason"] for one in summary["set_aside"]}):
        rows = sum(one["reason"] == reason for one in summary["set_aside"])
        out.print(Text(f"- {rows} rows set aside: {reason}", style="dim"))
    missed = [target["name"] for target in summary["targets"] if target["met"] is False]
    if missed:
        out.print(Text(f"Missed: {'; '.join(missed)}", style="red"))


def show_table(table: pd.DataFrame, title: str, console: Console | None = None) -> None:
    """Print a data frame: text at the left, numbers at the right with three digits."""
    out = console or Console(highlight=False)
    shown = Table(title=title, title_justify="left")
    numeric = {name: table[name].dtype.kind in "iuf" for name in table}
    for name in table:
        shown.add_column(str(name), justify="right" if numeric[name] else "left")
    for row in table.itertuples(index=False):
        shown.add_row(*(_cell(value) for value in row))
    out.print(shown)


def show_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print named figures, one a line; figures of a part are named after it."""
    out = console or Console(highlight=False)
    for name, value in summary.items():
        if isinstance(value, Mapping):
            show_summary({f"{name}, {part}": one for part, one in value.items()}, out)
        else:
            out.print(f"{name}: {_cell(value)}")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if value == value else "–"
    return str(value)


def targets_table(targets: Iterable[Mapping[str, Any]]) -> Table:
    """What was asked, what is reached, and whether that is enough."""
    table = Table("target", show_edge=False)
    for name in ("asked", "reached"):
        table.add_column(name, justify="right")
    table.add_column("")
    for target in targets:
        word, style = _MARKS[target["met"]]
        reached = show_target(target["reached"], target["asked"]["unit"])
        table.add_row(target["name"], show_asked(target["asked"]), reached, Text(word, style=style))
    return table


def _figures(what: str, parts: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(what, show_edge=False)
    for name in ("rows", "predicted", "TPOT median", "mean", "TTFT median", "mean", "90 % covers"):
        table.add_column(name, justify="right")
    keys = ("tpot_median_ape", "tpot_mean_ape", "ttft_median_ape", "ttft_mean_ape")
    for name, one in parts.items():
        table.add_row(
            name,
            str(one.get("rows", "")),
            str(one.get("rows_predicted", "")),
            *(percent(one[key]) for key in keys),
            show_target(one.get("interval_coverage_90"), ""),
        )
    return table
