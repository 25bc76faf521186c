"""`foretell compare`: strategies, models and hardware on one task and load, side by side."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from foretell.sim.cli.options import COUNT, WHOLE, html_option, html_target, json_option, json_target

_BY = (
    "usd_per_query",
    "usd_per_correct",
    "energy_per_query_J",
    "energy_per_correct_J",
    "tokens_per_query",
    "e2e_mean_s",
)


@click.command("compare")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--method",
    type=click.Choice(["simulate", "closed_form"]),
    default="simulate",
    help="Run every cell, or estimate it in milliseconds. [default: simulate]",
)
@click.option(
    "--by",
    type=click.Choice(_BY),
    help="What decides among cells that meet the objectives. [default: price a query]",
)
@click.option(
    "--slo", multiple=True, metavar="METRIC:STAT:LIMIT", help="Objective, as in accuracy:0.8. Repeatable."
)
@click.option("--seed", type=WHOLE)
@click.option("--replications", type=COUNT, help="Runs of each cell. [default: the scenario's]")
@click.option("--processes", type=COUNT, help="Processes to spread the cells over.")
@json_option
@html_option
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder for cells.csv and compare.json."
)
@click.option("--no-progress", is_flag=True, help="No progress bar.")
def compare_command(
    scenario: Path,
    method: str,
    by: str | None,
    slo: tuple[str, ...],
    seed: int | None,
    replications: int | None,
    processes: int | None,
    json_to: str | None,
    html_to: str | None,
    output: Path | None,
    no_progress: bool,
) -> int:
    """Forecast every cell of SCENARIO.yaml's `compare` section, the best first.

    Exits with 1 when no cell meets every objective, so that scripts can gate on it.
    """
    from foretell.sim.comparing import compare
    from foretell.sim.records import output_folder, write_text

    target = json_target(json_to)
    others = {} if output is None else {f"--output's {name}": output / name for name in _FILES}
    page = html_target(html_to, {"--json": target, "the scenario": scenario, **others})
    asked = scenario_with(scenario, slo, seed, replications)
    with contextlib.ExitStack() as stack:
        folder = None if output is None else stack.enter_context(output_folder(output, _FILES))
        with _progress_bar(not no_progress) as tick:
            try:
                result = compare(asked, method=method, by=by, processes=processes, progress=tick)
            except ValueError as error:
                raise ValueError(f"{scenario}: {error}") from None
        text = _json(result) if json_to is not None or folder is not None else ""
        if folder is not None:
            from foretell.sim.comparing_records import comparison_csv

            (folder / "compare.json").write_text(text, encoding="utf-8")
            (folder / "cells.csv").write_text(comparison_csv(result), encoding="utf-8")
        if target is not None:
            write_text(target, text)
        if page is not None:
            result.to_html(page)
    if json_to == "-":
        click.echo(text, nl=False)
    else:
        from foretell.sim.cli.comparison_tables import show_comparison

        show_comparison(result)
    return 0 if result.met else 1


_FILES = ("compare.json", "cells.csv")


def scenario_with(
    file: Path,
    slo: tuple[str, ...],
    seed: int | None,
    replications: int | None,
    sweep: dict[str, Any] | None = None,
) -> Any:
    """Read a scenario file with flags laid over it.

    Raises:
        ValueError: bad input, in one line.

    """
    from foretell.sim.objectives import objective_from_flag
    from foretell.sim.scenario import Scenario
    from foretell.sim.schema import load_values

    values = load_values(file)
    for text in slo:
        name = objective_from_flag(text).name
        values["objectives"] = dict(values.get("objectives") or {}) | {name: text.rpartition(":")[2]}
    if sweep:
        values["sweep"] = dict(values.get("sweep") or {}) | sweep
    given = {"seed": seed, "replications": replications}
    values |= {name: value for name, value in given.items() if value is not None}
    try:
        return Scenario.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _json(result: Any) -> str:
    import json

    return json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n"


@contextlib.contextmanager
def _progress_bar(wanted: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Count cells on stderr, where that is a terminal."""
    if not (wanted and sys.stderr.isatty()):
        yield None
        return
    try:
        yield lambda done, total: click.echo(f"\r{done} of {total} cells", err=True, nl=False)
    finally:
        click.echo("\r" + " " * 40 + "\r", err=True, nl=False)
