"""`foretell validate accuracy`: outcome profiles and their closed forms against measured accuracy."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("accuracy")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of recordings; without it $FORETELL_SHARED/data, or shared/data beside the working folder.",
)
def accuracy_command(as_json: bool, data: Path | None) -> None:
    """Predict coverage, votes, cascades and truncated thinking that were measured.

    Held out wherever the recordings allow: each table says what was fitted to what. Exit code 0 even when a
    target is missed: which ones are is part of the report.
    """
    from foretell.validate.cli import data_folder, print_json

    folder = data_folder(data)
    if folder is None:
        raise ValueError(
            "the measured samples are missing: --data names the folder with epoch-logs/, kinetics/, routellm/"
        )
    from foretell.validate.accuracy import TITLES, accuracy_summary, accuracy_tables

    tables = accuracy_tables(folder)
    summary = accuracy_summary(tables)
    if as_json:
        rows = {name: table.to_dict("records") for name, table in tables.items()}
        print_json({"summary": summary, "tables": rows})
        return
    from foretell.validate.silicon_tables import show_summary, show_table

    for name, title in TITLES.items():
        show_table(tables[name], title)
    show_summary(summary)
