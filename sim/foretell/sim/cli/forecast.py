"""`foretell forecast`: a scenario, from a file or from flags, to an answer."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foretell.sim.cli.options import (
    COUNT,
    POSITIVE,
    SECONDS,
    WHOLE,
    Number,
    engine_options,
    html_option,
    json_option,
)
from foretell.sim.cli.outputs import output_targets, write_outputs

if TYPE_CHECKING:
    from foretell.sim.scenario import Scenario

_MODEL = [
    click.option("--model", help="Bundled model (`foretell list models`), or a path to a config.json."),
    click.option("--hardware", help="Bundled accelerator (`foretell list hardware`), or a path to a .toml."),
    click.option("--tensor-parallel-size", "-tp", type=COUNT),
    click.option("--pipeline-parallel-size", "-pp", type=COUNT),
    click.option("--data-parallel-size", "-dp", type=COUNT),
    click.option("--enable-expert-parallel", is_flag=True, default=None),
    click.option("--dtype", help="auto, bfloat16, float16 or float32."),
    click.option(
        "--quantization", "-q", help="fp8, modelopt_fp4, mxfp4, awq, gptq, int8, ...; default: as shipped."
    ),
    click.option("--kv-cache-dtype", help="auto or fp8."),
    click.option("--step-cost", help="affine:... or constant:... instead of model and hardware."),
    click.option("--calibration", metavar="FILE", help="A profile that `foretell calibrate` wrote."),
    click.option(
        "--operator-times",
        type=click.Choice(["auto", "silicon", "curves", "roofline"]),
        help="Where the times of a step's operators come from.",
    ),
    click.option("--replicas", type=COUNT, help="Replicas behind the router. [default: 1]"),
    click.option("--router", help="`foretell list routers`, or module:attr. [default: round_robin]"),
    click.option(
        "--price",
        "price_usd_per_h",
        type=Number(least=0),
        metavar="USD",
        help="Rent of an accelerator per hour.",
    ),
]
_ENGINE = [
    click.option("--preset", help="Engine preset (`foretell list presets`). [default: vllm-0.32-server]"),
    click.option("--gpu-memory-utilization", type=Number(above=0)),
    click.option(
        "--enforce-eager/--no-enforce-eager",
        default=None,
        help="Launch kernels one by one, without CUDA graphs.",
    ),
    click.option("--performance-mode", type=click.Choice(["balanced", "throughput"])),
]
_WORKLOAD = [
    click.option("--trace", metavar="FILE", help="A recorded trace; its format is told from its content."),
    click.option("--trace-format", "format", metavar="NAME"),
    click.option("--head", type=COUNT, help="Only the trace's first requests."),
    click.option("--start", "start_s", type=SECONDS, metavar="S", help="Only what is asked from here on."),
    click.option("--time-limit", type=POSITIVE, metavar="S", help="Only so many seconds of the trace."),
    click.option("--rate-scale", type=POSITIVE, help="Arrivals come so many times as fast."),
    click.option(
        "--request-rate", type=Number(above=0, infinite=True), help="Requests per second; inf is all at once."
    ),
    click.option("--burstiness", type=POSITIVE, help="1 is Poisson, less is burstier, more is smoother."),
    click.option("--max-concurrency", type=COUNT, help="At most so many requests in flight."),
    click.option("--num-prompts", type=COUNT, help="Requests to draw. [default: 1000]"),
    click.option(
        "--duration", "duration_s", type=POSITIVE, metavar="S", help="Seconds of arrivals, instead."
    ),
    click.option("--input-len", type=COUNT, help="Prompt tokens of every request."),
    click.option("--output-len", type=COUNT, help="Answer tokens of every request."),
    click.option("--task", help="What is asked (`foretell list tasks`): answers then are right or wrong."),
    click.option(
        "--strategy", metavar="NAME[:KEY=VALUE,...]", help="`foretell list strategies`; with a task."
    ),
    click.option("--outcomes", help="Another model's outcome profile, or one of `foretell fit-profile`."),
    click.option("--deadline", "deadline_s", type=POSITIVE, metavar="S", help="With a task: answer by then."),
    click.option("--dataset", help="Lengths by name (`foretell list lengths`). [default: sharegpt]"),
    click.option("--warmup", "warmup_s", type=SECONDS, metavar="S", help="Leave out what arrives before."),
]
_ASK = [
    click.option(
        "--method",
        type=click.Choice(["simulate", "closed_form"]),
        default="simulate",
        help="Simulate, or compute an endless run in milliseconds. [default: simulate]",
    ),
    click.option(
        "--slo",
        multiple=True,
        metavar="METRIC:STAT:LIMIT",
        help="Objective, as in ttft:p99:500ms. Repeatable.",
    ),
    click.option(
        "--goodput",
        multiple=True,
        metavar="METRIC:LIMIT",
        help="Per-request limit, as in ttft:500ms. Repeatable.",
    ),
    click.option("--seed", type=WHOLE),
    click.option("--replications", type=COUNT, help="Runs that the intervals come from. [default: 8]"),
    click.option("--processes", type=COUNT, help="Processes to spread them over."),
]
_OUT = [
    json_option,
    html_option,
    click.option(
        "--timeline",
        "timeline_to",
        metavar="FILE",
        help="The first run's steps and requests to FILE, for ui.perfetto.dev.",
    ),
    click.option(
        "--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder for JSON and records."
    ),
    click.option("--no-progress", is_flag=True, help="No progress bar."),
]


def _all(*groups: list[Any]) -> Callable[..., Any]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return add


@click.command("forecast")
@click.argument("scenario", type=click.Path(path_type=Path), required=False)
@_all(_MODEL, _ENGINE)
@engine_options
@_all(_WORKLOAD, _ASK, _OUT)
def forecast_command(
    scenario: Path | None,
    method: str,
    json_to: str | None,
    html_to: str | None,
    timeline_to: str | None,
    output: Path | None,
    no_progress: bool,
    processes: int | None,
    **flags: Any,
) -> int:
    """Forecast SCENARIO.yaml, or what the flags describe; flags override the file.

    Exits with 1 when an objective is missed, so that scripts can gate on it.
    """
    from foretell.sim.cli.flags import scenario_of
    from foretell.sim.forecasting import forecast
    from foretell.sim.records import output_folder

    targets = output_targets(json_to, html_to, timeline_to, {"the scenario": scenario})
    if method == "closed_form":
        _refuse_runs(output, processes, timeline_to)
        return _closed_form(scenario_of(scenario, flags), json_to, targets)
    asked = scenario_of(scenario, flags)
    with contextlib.ExitStack() as stack:
        folder = None if output is None else stack.enter_context(output_folder(output, _FILES))
        with _progress_bar(not no_progress) as tick:
            result = forecast(asked, processes=processes, progress=tick)
        text = result.to_json(detailed=True) if "json" in targets or folder is not None else ""
        if folder is not None:
            _write_records(folder, text, result)
        write_outputs(result, targets, text)
    if json_to == "-":
        click.echo(result.to_json(), nl=False)
    else:
        from foretell.sim.cli.tables import show_forecast

        show_forecast(result)
    return 0 if result.met else 1


def _closed_form(asked: Scenario, json_to: str | None, targets: Mapping[str, Path]) -> int:
    from foretell.sim.closed_form import forecast_closed_form

    result = forecast_closed_form(asked)
    write_outputs(result, targets, result.to_json())
    if json_to == "-":
        click.echo(result.to_json(), nl=False)
    else:
        from foretell.sim.cli.tables import show_forecast

        show_forecast(result)
    return 0 if result.met else 1


def _refuse_runs(output: Path | None, processes: int | None, timeline_to: str | None) -> None:
    if timeline_to is not None:
        raise click.UsageError("--timeline: a closed form has no course of events; use --method simulate")
    if output is not None:
        raise click.UsageError(
            "--output: a closed form has no records of requests; --json FILE has its figures"
        )
    if processes is not None:
        raise click.UsageError("--processes: a closed form runs in one; drop it, or use --method simulate")


_FILES = ("forecast.json", "requests.csv", "requests.parquet", "queries.csv")


def _write_records(folder: Path, text: str, result: Any) -> None:
    from foretell.sim.records import has_parquet, write_calls

    (folder / "forecast.json").write_text(text, encoding="utf-8")
    write_calls(folder / "requests.csv", result.run)
    if result.run.queries is not None:
        result.queries.to_csv(folder / "queries.csv", index=False)
    if has_parquet():
        result.calls.to_parquet(folder / "requests.parquet", index=False)


@contextlib.contextmanager
def _progress_bar(wanted: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar on stderr, where that is a terminal; it draws from this thread, since workers are forked."""
    if not (wanted and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task("simulate", total=None)

        def tick(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, refresh=True)

        yield tick
