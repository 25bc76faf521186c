"""`foretell validate frontier`: capacity frontiers of real servers, measured and in closed form."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

BACKENDS = ("vllm", "sglang", "trtllm")


@click.command("frontier")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one page with charts.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of recordings; without it $FORETELL_SHARED/data, or shared/data beside the working folder.",
)
@click.option("--backend", type=click.Choice(BACKENDS), multiple=True, help="Only these; repeatable.")
@click.option("--refit", is_flag=True, help="Fit the scales without each pair again: minutes.")
@click.option(
    "--simulate",
    type=click.IntRange(min=1),
    metavar="ROWS",
    help="Compare the closed form with the simulation of so many rows of each kind instead: minutes.",
)
def frontier_command(
    as_json: bool,
    html: Path | None,
    data: Path | None,
    backend: tuple[str, ...],
    refit: bool,
    simulate: int | None,
) -> None:
    """Compare tokens/s/accelerator against tokens/s/user with measured servers, in closed form.

    Exit code 0 even when a target is missed: which ones are is part of the report.
    """
    from foretell.models.silicon_source import data_folder as tables
    from foretell.validate.cli import data_folder, print_json, write_whole
    from foretell.validate.silicon_rows import CLOSED_LOOP

    if html is not None and not html.absolute().parent.is_dir():
        raise ValueError(f"--html: folder {html.parent} does not exist; make it first")
    if html is not None and simulate is not None:
        raise ValueError(
            "--html: the page is of measured frontiers, which --simulate leaves out; drop either"
        )
    folder = data_folder(data)
    if data is not None and not (data / CLOSED_LOOP).is_file():
        raise ValueError(f"--data: {data} has no {CLOSED_LOOP}; name the folder that has it, or drop --data")
    tables()  # says what is missing
    from foretell.validate.frontier_scales import fitted
    from foretell.validate.frontier_simulated import against_simulation
    from foretell.validate.frontier_summary import validate_frontier
    from foretell.validate.silicon_rows import measured_rows, reasons

    found = measured_rows(folder)
    wanted = backend or BACKENDS
    rows = [row for row in found.rows if row.run.backend in wanted]
    scales = fitted(found.rows) if refit else None
    if simulate is not None:
        _print_simulated(against_simulation(rows, simulate, scales, _progress), as_json)
        return
    left_out = reasons([row for row in found.left_out if row.backend in wanted])
    summary, groups = validate_frontier(rows, found.source, left_out, scales, _progress)
    if html is not None:
        from foretell.validate.frontier_page import render

        write_whole(html, render(summary, groups))
        click.echo(f"foretell: wrote {html}", err=True)
    if as_json:
        print_json(summary)
    else:
        from foretell.validate.frontier_tables import show_frontier

        show_frontier(summary)


def _print_simulated(found: dict[str, Any], as_json: bool) -> None:
    from foretell.validate.cli import print_json
    from foretell.validate.silicon_tables import show_summary

    if as_json:
        print_json(found)
    else:
        show_summary(found)


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty() and (done % 50 == 0 or done == total):
        click.echo(f"\rforetell: {done} of {total} rows", err=True, nl=done == total)
