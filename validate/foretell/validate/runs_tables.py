"""The figures of recorded runs as tables for a terminal: the targets first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foretell.sim.quantities import show_seconds, show_seconds_between
from foretell.validate.silicon_report import percent
from foretell.validate.silicon_tables import targets_table

_SHOWN = ("tpot_mean", "e2e_mean", "ttft_mean", "tpot_p99", "e2e_p99", "ttft_p99")


def show_runs(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a summary of `runs_report.summary`."""
    out = console or Console(highlight=False)
    out.print(
        Text(
            f"{found['runs']} recorded runs: {found['steps_equal']:,} of {found['steps_compared']:,} steps "
            f"and {found['tokens_in_step']:,} of {found['tokens']:,} tokens as in the run",
            style="bold",
        )
    )
    out.print(Text(f"Latencies are {found['boundary']}", style="dim"))
    out.print(targets_table(found["targets"]))
    out.print(_errors(found))
    out.print(_by_run(found["by_run"]))
    if found["served"]:
        out.print(_served(found["served"]))
    for name, run in found["by_run"].items():
        if run["difference"]:
            out.print(Text(f"- {name}: {run['difference']}", style="red"))
        if run["not_predicted"]:
            out.print(Text(f"- {name} is not predicted: {run['not_predicted']}", style="dim"))
    for one, other in found["noise"]["pairs"]:
        out.print(Text(f"- repeats: {one} and {other}", style="dim"))
    missed = [target["name"] for target in found["targets"] if target["met"] is False]
    if missed:
        out.print(Text(f"Missed: {'; '.join(missed)}", style="red"))


def _errors(found: Mapping[str, Any]) -> Table:
    table = Table("median error over runs", show_edge=False, pad_edge=False)
    for name in ("runs", *(name.replace("_", "\n") for name in _SHOWN)):
        table.add_column(name, justify="right")
    noise, bursts, halves = found["noise"], found["bursts_alone"], found["random_halves"]
    rows = {
        "fitted on the other half": (found["runs_predicted"], found),
        **_by_origin(found["by_origin"]),
        **{f"  {name}": (part["runs_predicted"], part) for name, part in found["by_model"].items()},
        f"mean of {halves['divisions']} random halves": (found["runs_predicted"], halves),
        "the same, told the machine's speed in the run": (found["runs_predicted"], found["speed_known"]),
        "a repeat of the run": (2 * len(noise["pairs"]), noise),
        "fitted on bursts alone": (bursts["runs_predicted"], bursts),
    }
    for name, (count, part) in rows.items():
        cells = []
        for figure in _SHOWN:
            text = percent(part.get(f"{figure}_ape"))
            band = part.get(f"{figure}_ape_90") if not name.startswith("  ") else None
            cells.append(f"{text}\n{band[0]:.0f}–{band[1]:.0f}" if band else text)
        table.add_row(name, str(count), *cells)
    if bursts["steps_error_range"]:
        low, high = bursts["steps_error_range"]
        middle = bursts["steps_error"]
        table.caption = (
            "Below: nine of ten draws of runs, or divisions. Fitted on bursts alone, the time of all "
            f"a run's steps is off by {middle:+.0f} % in the median ({low:+.0f} to {high:+.0f} %)."
        )
    return table


def _by_origin(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, Mapping[str, Any]]]:
    rows: dict[str, tuple[int, Mapping[str, Any]]] = {}
    for name, part in parts.items():
        rows[f"  {name}"] = part["runs_predicted"], part
        rows[f"  {name}: a repeat"] = 2 * len(part["noise"]["pairs"]), part["noise"]
    return rows


def _by_run(runs: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("run; errors in %", overflow="fold")
    for name in ("steps", "differ", "their\ntime", *(name.replace("_", "\n") for name in _SHOWN)):
        table.add_column(name, justify="right")
    for name, run in runs.items():
        counts = (run["steps_compared"], run["steps_compared"] - run["steps_equal"])
        errors = (run.get(f"{figure}_error") for figure in ("steps", *_SHOWN))
        cells = ("–" if value is None else f"{value:+.0f}" for value in errors)
        table.add_row(name, *(f"{count:,}" for count in counts), *cells)
    table.caption = "their time: of all steps together, by the cost that the other half was fitted with"
    return table


def _served(found: Mapping[str, Any]) -> Table:
    table = Table("served run", show_edge=False)
    for name in ("figure", "measured", "forecast", "90 % interval", "error"):
        table.add_column(name, justify="right")
    for name, run in found["runs"].items():
        for figure, told in run["figures"].items():
            low, high = told["interval_s"]
            table.add_row(
                name,
                figure.replace("_", " "),
                show_seconds(told["measured_s"]),
                show_seconds(told["forecast_s"]),
                show_seconds_between(low, high),
                f"{told['error']:+.1f} %",
            )
            name = ""
    table.caption = "Servers on GPUs, forecast from their description alone; times of the engine"
    return table
