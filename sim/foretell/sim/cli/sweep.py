"""`foretell sweep`: a grid or a sample of a scenario's fields, in one table."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from foretell.sim.cli.options import COUNT, WHOLE, html_option, html_target, json_option, json_target


@click.command("sweep")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUES",
    help="As in pools.main.replicas=1,2,3 or FIELD='{low: 1, high: 20}'. Repeatable; overrides the file's.",
)
@click.option("--sample", type=COUNT, metavar="N", help="Draw N points, instead of every combination.")
@click.option(
    "--sampler",
    type=click.Choice(["latin_hypercube", "sobol"]),
    default="latin_hypercube",
    help="How to draw them. [default: latin_hypercube]",
)
@click.option(
    "--method",
    type=click.Choice(["simulate", "closed_form"]),
    default="simulate",
    help="Run every point, or estimate it in milliseconds. [default: simulate]",
)
@click.option(
    "--figure", "figures", multiple=True, metavar="NAME", help="Column, as in ttft_p99_s. Repeatable."
)
@click.option("--slo", multiple=True, metavar="METRIC:STAT:LIMIT", help="Objective, as in ttft:p99:500ms.")
@click.option("--seed", type=WHOLE)
@click.option("--replications", type=COUNT, help="Runs of each point. [default: the scenario's]")
@click.option("--processes", type=COUNT, help="Processes to spread the points over. [default: one a core]")
@click.option("--dask", metavar="ADDRESS", help="Run on a Dask cluster instead: tcp://HOST:PORT.")
@json_option
@html_option
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for points.csv, and the journal from which an interrupted sweep goes on.",
)
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def sweep_command(
    scenario: Path,
    settings: tuple[str, ...],
    figures: tuple[str, ...],
    slo: tuple[str, ...],
    seed: int | None,
    replications: int | None,
    dask: str | None,
    json_to: str | None,
    html_to: str | None,
    output: Path | None,
    no_progress: bool,
    **how: Any,
) -> int:
    """Forecast every point of SCENARIO.yaml's `sweep` section, or of what --set gives.

    With --output, finished points are kept at once: the same command goes on where it was interrupted.
    Exits with 1 when no point can be forecast.
    """
    from foretell.sim.cli.compare import scenario_with
    from foretell.sim.records import write_text
    from foretell.sim.sweeping import sweep

    target = json_target(json_to)
    others = {} if output is None else {f"--output's {name}": output / name for name in (*_FILES, _JOURNAL)}
    page = html_target(html_to, {"--json": target, "the scenario": scenario, **others})
    if output is not None and output.exists() and not output.is_dir():
        raise ValueError(f"output {output}: is a file; name a folder")
    if dask is not None and how["processes"] is not None:
        raise click.UsageError("--processes: the cluster has its own; drop it, or --dask")
    # A cluster's workers stand in other folders: files are named from the root.
    file = scenario if dask is None else scenario.absolute()
    asked = scenario_with(file, slo, seed, replications, sweep=_settings(settings))
    journal = None if output is None else output / _JOURNAL
    with contextlib.ExitStack() as stack:
        if dask is not None:
            from foretell.sim.sweeping_workers import dask_executor

            how["executor"] = stack.enter_context(dask_executor(dask))
        tick = stack.enter_context(_progress(journal, shown=not no_progress and sys.stderr.isatty()))
        try:
            result = sweep(asked, figures=figures, journal=journal, progress=tick, **how)
        except ValueError as error:
            raise ValueError(f"{scenario}: {error}") from None
    text = _json(result) if json_to is not None else ""
    if output is not None:
        _write(output, result)
    if target is not None:
        write_text(target, text)
    if page is not None:
        result.to_html(page, figures)
    if json_to == "-":
        click.echo(text, nl=False)
    else:
        from foretell.sim.cli.sweep_tables import show_sweep

        show_sweep(result, figures)
        if result.resumed:
            click.echo(f"{result.resumed} of {len(result.rows)} points were in {journal}.")
    return 1 if all(row.reason for row in result.rows) else 0


_JOURNAL = "journal.jsonl"
_FILES = ("points.csv", "points.parquet")


def _settings(texts: tuple[str, ...]) -> dict[str, Any]:
    """Read FIELD=VALUES, the values as YAML has them between brackets."""
    import yaml

    settings: dict[str, Any] = {}
    for text in texts:
        path, sign, values = text.partition("=")
        try:
            found = yaml.safe_load(f"[{values}]") if sign and path.strip() and values.strip() else None
        except yaml.YAMLError:
            found = None
        if not found:
            raise click.UsageError(f"--set {text}: write FIELD=VALUES, as in pools.main.replicas=1,2,3")
        first = found[0]
        is_range = len(found) == 1 and isinstance(first, dict) and {"low", "high"} & set(first)
        settings[path.strip()] = first if is_range else found
    return settings


def _write(output: Path, result: Any) -> None:
    from foretell.sim.records import has_parquet, output_folder
    from foretell.sim.sweeping_records import sweep_csv

    with output_folder(output, _FILES) as folder:
        (folder / "points.csv").write_text(sweep_csv(result), encoding="utf-8")
        if has_parquet():
            result.frame.to_parquet(folder / "points.parquet", index=False)


def _json(result: Any) -> str:
    import json

    return json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n"


def _lines(journal: Path | None) -> int:
    return journal.read_bytes().count(b"\n") if journal is not None and journal.exists() else 0


@contextlib.contextmanager
def _progress(journal: Path | None, *, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """Count points on stderr, and say what an interrupt leaves."""
    total = others = 0  # points; lines of the journal that are not of this sweep

    def tick(done: int, of: int) -> None:
        nonlocal total, others
        if not total:
            total, others = of, _lines(journal) - done
        if shown:
            click.echo(f"\r{done} of {of} points", err=True, nl=False)

    try:
        yield tick
    except (KeyboardInterrupt, SystemExit):
        kept = "nothing is kept; with --output DIR, a sweep can go on where it stopped"
        if not total:
            kept = "before the first point"
        elif journal is not None:
            there = _lines(journal) - others  # an interrupt may come between a point's line and its tick
            kept = f"{there} of {total} points are in {journal}; the same command goes on from there"
        click.echo(("\r" if shown else "") + f"foretell: interrupted: {kept}", err=True)
        raise
    finally:
        if shown:
            click.echo("\r" + " " * 40 + "\r", err=True, nl=False)
