"""`foretell validate papers`: what papers claim of inference strategies, beside what foretell says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click


@click.command("papers")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one page.")
@click.option("--only", metavar="PAPER", help="Only papers whose name contains this.")
@click.option("--quick", is_flag=True, help="A tenth of the simulated queries: wider intervals.")
def papers_command(as_json: bool, html: Path | None, only: str | None, quick: bool) -> None:
    """Run the claims of papers that a simulation can speak to, and say where it agrees.

    Direction and size are judged by one rule for each kind of figure, printed with the results. Exit code 0
    even where we disagree: that, and why, is part of the report.
    """
    if html is not None and not html.absolute().parent.is_dir():
        raise ValueError(f"--html: folder {html.parent} does not exist; make it first")
    from foretell.validate.papers import papers_summary

    summary = papers_summary(only, 0.1 if quick else 1.0)
    if html is not None:
        from foretell.validate.cli import write_whole
        from foretell.validate.papers_page import render

        write_whole(html, render(summary))
        click.echo(f"foretell: wrote {html}", err=True)
    if as_json:
        from foretell.validate.cli import print_json

        print_json(summary)
    else:
        _show(summary)


def _show(summary: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from foretell.validate.papers_page import headline, marked, ours

    out = Console(highlight=False)
    out.print(headline(summary))
    table = Table("paper", "claim", "published", "ours", "direction", "size", box=None, pad_edge=False)
    for one in summary["findings"]:
        table.add_row(
            one["paper"],
            one["claim"],
            one["published"],
            ours(one),
            marked(one["direction_agrees"]),
            marked(one["size_agrees"]),
        )
    out.print(table)
    for one in summary["findings"]:
        if one["why"]:
            out.print(f"- {one['paper']}, {one['claim']}: {one['why']}", style="dim", markup=False)
    out.print("Rules", style="bold")
    for kind, rule in summary["rules"].items():
        out.print(f"{kind}: {rule}", style="dim", markup=False)
