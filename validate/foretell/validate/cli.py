"""`foretell validate`: forecasts against measurements, as tables, JSON or one HTML page.

The command line of `foretell.sim` finds `validate_command` by name; a subcommand loads what it needs.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foretell.validate.cli_accuracy import accuracy_command
from foretell.validate.cli_client import client_command
from foretell.validate.cli_frontier import frontier_command
from foretell.validate.cli_kinetics import kinetics_command
from foretell.validate.cli_papers import papers_command
from foretell.validate.cli_record import record_command
from foretell.validate.cli_report import report_command
from foretell.validate.cli_runs import runs_command
from foretell.validate.cli_scheduler import scheduler_command
from foretell.validate.cli_theory import theory_command

if TYPE_CHECKING:
    import pandas as pd

BACKENDS = ("vllm", "sglang", "trtllm")
_data = click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of recordings; without it $FORETELL_SHARED/data, or shared/data beside the working folder.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")


@click.group("validate")
def validate_command() -> None:
    """Forecast what was measured, and say how far off that is.

    \b
    Examples:
      foretell validate silicon
      foretell validate silicon --json --html silicon.html
      foretell validate operators --accelerator h200
    """  # noqa: D301 (click's sign for lines that stay as they are)


@validate_command.command("silicon")
@_json
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one page with charts.")
@_data
@click.option("--backend", type=click.Choice(BACKENDS), multiple=True, help="Only these engines; repeatable.")
@click.option("--sample", type=click.IntRange(min=1), help="Only so many runs, drawn evenly: a quick look.")
@click.option(
    "--operator-times",
    type=click.Choice(["silicon", "curves"]),
    default="silicon",
    show_default=True,
    help="Measured operators, or the curves that are shipped.",
)
def silicon_command(
    as_json: bool,
    html: Path | None,
    data: Path | None,
    backend: tuple[str, ...],
    sample: int | None,
    operator_times: str,
) -> None:
    """Simulate measured server runs as the closed loops they were.

    Exit code 0 even when a target is missed: which ones are is part of the report.
    """
    if html is not None and not html.absolute().parent.is_dir():
        raise ValueError(f"--html: folder {html.parent} does not exist; make it first")
    folder = data_folder(data)
    _need_silicon()
    from foretell.validate.report import summarise
    from foretell.validate.silicon import validate_silicon
    from foretell.validate.silicon_rows import measured_rows, reasons, spread

    found = measured_rows(folder)
    wanted = backend or BACKENDS
    rows = spread([row for row in found.rows if row.run.backend in wanted], sample)
    table = validate_silicon(rows, _progress, operator_times)
    left_out = reasons([row for row in found.left_out if row.backend in wanted])
    summary = summarise(table, found.source, left_out)
    if html is not None:
        from foretell.validate.silicon_report import render

        write_whole(html, render(table, summary))
        click.echo(f"foretell: wrote {html}", err=True)
    if as_json:
        print_json(summary)
    else:
        from foretell.validate.silicon_tables import show_silicon

        show_silicon(summary)


@validate_command.command("operators")
@_json
@click.option("--accelerator", multiple=True, help="Only these, by foretell's names; repeatable.")
@click.option(
    "--sample", type=click.IntRange(min=1), default=2000, show_default=True, help="Points a family."
)
def operators_command(as_json: bool, accelerator: Sequence[str], sample: int) -> None:
    """Leave measured operators out and interpolate them from the others."""
    _need_silicon()
    from foretell.validate.operators import operator_errors

    _print(operator_errors(list(accelerator) or None, sample), "Errors of interpolated operators", as_json)


@validate_command.command("energy")
@_json
@_data
def energy_command(as_json: bool, data: Path | None) -> None:
    """Compare power and joules a token with those that ml-energy measured."""
    folder = data_folder(data)
    runs = folder / "ml-energy" / "llm_runs.csv" if folder else None
    if runs is None or not runs.is_file():
        raise ValueError("the measured runs are missing: --data names the folder with ml-energy/llm_runs.csv")
    from foretell.validate.energy_ways import validate_energy

    table, summary = validate_energy(runs)
    _print(table, "Errors of the energy per token", as_json, summary)


@validate_command.command("kv")
@_json
def kv_command(as_json: bool) -> None:
    """Compare the KV cache's capacity with what servers logged."""
    from foretell.validate.kv import validate_kv

    table, summary = validate_kv()
    _print(table, "KV capacity, each run left out of the fit", as_json, summary)


def data_folder(given: Path | None) -> Path | None:
    """The folder given, $FORETELL_SHARED/data, or shared/data beside the working folder; None if absent.

    Raises:
        ValueError: the given one is not a folder.

    """
    if given is not None:
        if not given.is_dir():
            raise ValueError(f"--data: {given} is not a folder")
        return given
    shared = os.environ.get("FORETELL_SHARED")
    found = Path(shared) / "data" if shared else Path.cwd().parent / "shared" / "data"
    return found if found.is_dir() else None


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its place and put it there when it is complete."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        beside.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """A value as JSON knows it: numpy's numbers as Python's, None for what is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _need_silicon() -> None:
    from foretell.models.silicon_source import data_folder as tables

    tables()  # says what is missing


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\rforetell: {done} of {total} runs simulated", err=True, nl=done == total)


def _print(table: pd.DataFrame, title: str, as_json: bool, summary: Mapping[str, Any] | None = None) -> None:
    rows = table.to_dict("records")
    if as_json:
        print_json(rows if summary is None else {"summary": dict(summary), "rows": rows})
        return
    from foretell.validate.silicon_tables import show_summary, show_table

    show_table(table, title)
    if summary is not None:
        show_summary(summary)


def print_json(value: Any) -> None:
    """Print what a command found."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


validate_command.add_command(accuracy_command)
validate_command.add_command(client_command)
validate_command.add_command(frontier_command)
validate_command.add_command(kinetics_command)
validate_command.add_command(papers_command)
validate_command.add_command(record_command)
validate_command.add_command(report_command)
validate_command.add_command(runs_command)
validate_command.add_command(scheduler_command)
validate_command.add_command(theory_command)
