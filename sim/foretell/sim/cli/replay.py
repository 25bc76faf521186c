"""`foretell replay`: one engine, one trace, exactly these settings."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from foretell.sim.cli.options import engine_options


@click.command("replay")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option(
    "--step-cost",
    metavar="affine:BASE,PER_TOKEN,PER_SEQ,PER_CONTEXT_TOKEN,PER_ATTENTION_PAIR|constant:SECONDS",
    help="Seconds of a step: BASE + PER_TOKEN·tokens + PER_SEQ·entries + PER_CONTEXT_TOKEN·Σ(context + 1) "
    "over decodes + PER_ATTENTION_PAIR·Σ n·(c + (n + 1)/2) over others.",
)
@engine_options
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder for the records."
)
@click.option("--record-steps", is_flag=True, help="Write every step's batch too (batch.csv.gz).")
@click.option("--trace-format", metavar="NAME", help="Format of the trace; told from its content by default.")
def replay_command(
    trace: Path,
    step_cost: str | None,
    output: Path,
    record_steps: bool,
    trace_format: str | None,
    **given: Any,
) -> None:
    """Replay TRACE on one engine with exactly the settings given.

    What is not given has vLLM's default, except prefix caching and asynchronous scheduling, which are off
    here. max_model_len defaults to 131072, or to max_num_batched_tokens without chunked prefill. Requests
    that can never fit are rejected. Writes settings.json, requests.csv and, with --record-steps,
    batch.csv.gz to DIR; files of these names there are replaced.

    TRACE may also be a replay file, as `foretell validate scheduler` writes for a mismatch: it has its own
    settings, step cost and requests, is always recorded, and the first step that differs from vLLM's is told.
    """
    from foretell.sim.replayfile import is_replay_file

    if is_replay_file(trace):
        from foretell.sim.cli.replay_case import replay_case

        more = [name for name, value in {**given, "step_cost": step_cost}.items() if value is not None]
        if more:
            raise ValueError(f"{more[0]}: given, but {trace} is a replay file, which has settings of its own")
        replay_case(trace, output)
        return
    if step_cost is None:
        raise ValueError("--step-cost: missing; a trace has no step times, so give the cost of a step")
    from foretell.sim.config import EngineConfig
    from foretell.sim.costspec import parse_step_cost
    from foretell.sim.forecast_json import tool_version
    from foretell.sim.records import REPLAY_FILES, batch_recorder, output_folder, write_calls, write_json
    from foretell.sim.simulation import simulate
    from foretell.traces.readers import read_trace

    cost = parse_step_cost(step_cost)
    config = EngineConfig(**settings_of(given))
    requests = read_trace(trace, trace_format)
    with output_folder(output, REPLAY_FILES) as folder, contextlib.ExitStack() as stack:
        record: Callable[..., None] | None = None
        if record_steps:
            record = stack.enter_context(batch_recorder(folder / "batch.csv.gz"))
        run = simulate(requests, cost, config, on_step=record)
        stack.close()
        write_calls(folder / "requests.csv", run)
        resolved = {
            "tool": "foretell",
            "tool_version": tool_version(),
            "trace": str(trace),
            "step_cost": {"kind": "affine", **dataclasses.asdict(cost)},
            **dataclasses.asdict(config),
        }
        write_json(folder / "settings.json", resolved)
    from foretell.sim.cli.text import replay_line

    click.echo(replay_line(run, output))


def settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """Complete the settings that were given: vLLM derives two of its defaults from others."""
    from foretell.sim.config import EngineConfig

    settings = {name: value for name, value in given.items() if value is not None}
    defaults = {field.name: field.default for field in dataclasses.fields(EngineConfig)}
    budget = settings.get("max_num_batched_tokens", defaults["max_num_batched_tokens"])
    settings.setdefault("max_num_seqs", min(defaults["max_num_seqs"], budget))
    if settings.get("enable_chunked_prefill") is False:
        settings.setdefault("max_model_len", budget)
    return settings
