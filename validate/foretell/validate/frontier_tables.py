"""`foretell validate frontier` in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from foretell.validate.frontier_page import cells, headline, judged_parts, parts

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_HEADS = ("groups", "points", "beyond", "across", "90 %", "by group", "along", "speed", "each", "steep")


def show_frontier(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print targets and errors; the columns are those of the page."""
    from rich.console import Console
    from rich.text import Text

    from foretell.validate.silicon_tables import targets_table

    out = console or Console(highlight=False)
    out.print(Text(headline(summary), style="bold"))
    out.print(Text(summary["source"], style="dim"))
    out.print(targets_table(summary["targets"]))
    out.print(_table("", parts(summary)))
    out.print(_table("judged", judged_parts(summary)))
    out.print(
        Text(
            "across: tokens/s/accelerator at equal tokens/s/user; along: the other way round; speed: both by "
            "one factor; each: tokens/s/accelerator of every configuration",
            style="dim",
        )
    )
    missed = [target["name"] for target in summary["targets"] if target["met"] is False]
    if missed:
        out.print(Text(f"Missed: {'; '.join(missed)}", style="red"))


def _table(what: str, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Table:
    from rich.table import Table

    table = Table(what, show_edge=False)
    for head in _HEADS:
        table.add_column(head, justify="right")
    for name, one in rows:
        table.add_row(name, *cells(one))
    return table
