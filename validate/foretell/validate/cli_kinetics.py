"""`foretell validate kinetics`: the scaling laws of the Kinetics paper, done again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("kinetics")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one page with charts.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of recordings; without it $FORETELL_SHARED/data, or shared/data beside the working folder.",
)
def kinetics_command(as_json: bool, html: Path | None, data: Path | None) -> None:
    """Compare frontiers, switch points and sparse attention with the Kinetics paper's.

    Without the paper's points (kinetics/ among the data) the shipped fits to them are used. Exit code 0
    whatever differs: what does is the report.
    """
    from foretell.validate.cli import data_folder, print_json, write_whole

    if html is not None and not html.absolute().parent.is_dir():
        raise ValueError(f"--html: folder {html.parent} does not exist; make it first")
    from foretell.validate.kinetics_summary import kinetics, plain_figures

    folder = data_folder(data)
    if data is None and folder is not None and not (folder / "kinetics").is_dir():
        folder = None
    result = kinetics(folder)
    if html is not None:
        from foretell.validate.kinetics_page import render

        write_whole(html, render(result))
        click.echo(f"foretell: wrote {html}", err=True)
    if as_json:
        print_json(plain_figures(result))
    else:
        from foretell.validate.kinetics_tables import show_kinetics

        show_kinetics(result)
