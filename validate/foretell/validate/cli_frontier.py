"""`foretell validate frontier`: capacity frontiers of real servers, measured and in closed form."""

from __future__ import annotations

import sys
from pathlib import Path

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
def frontier_command(
    as_json: bool, html: Path | None, data: Path | None, backend: tuple[str, ...], refit: bool
) -> None:
    """Compare tokens/s/accelerator against tokens/s/user with measured servers, in closed form.

    Exit code 0 even when a target is missed: which ones are is part of the report.
    """
    from foretell.models.silicon_source import data_folder as tables
    from foretell.validate.cli import data_folder, print_json, write_whole
    from foretell.validate.silicon_rows import CLOSED_LOOP

    if html is not None and not html.absolute().parent.is_dir():
        raise ValueError(f"--html: folder {html.parent} does not exist; make it first")
    folder = data_folder(data)
    if data is not None and not (data / CLOSED_LOOP).is_file():
        raise ValueError(f"--data: {data} has no {CLOSED_LOOP}; name the folder that has it, or drop --data")
    tables()  # says what is missing
    from foretell.validate.frontier_scales import fitted
    from foretell.validate.frontier_summary import validate_frontier
    from foretell.validate.silicon_rows import measured_rows, reasons

    found = measured_rows(folder)
    wanted = backend or BACKENDS
    summary, groups = validate_frontier(
        [row for row in found.rows if row.run.backend in wanted],
        found.source,
        reasons([row for row in found.left_out if row.backend in wanted]),
        fitted(found.rows) if refit else None,
        _progress,
    )
    if html is not None:
        from foretell.validate.frontier_page import render

        write_whole(html, render(summary, groups))
        click.echo(f"foretell: wrote {html}", err=True)
    if as_json:
        print_json(summary)
    else:
        from foretell.validate.frontier_tables import show_frontier

        show_frontier(summary)


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty() and (done % 50 == 0 or done == total):
        click.echo(f"\rforetell: {done} of {total} rows", err=True, nl=done == total)
