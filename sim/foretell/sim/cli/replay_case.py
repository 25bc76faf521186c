"""`foretell replay` of a replay file: the case in it, and the first step that differs from vLLM's."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from foretell.sim.case import Case
    from foretell.sim.watch import Record


def replay_case(path: Path, output: Path) -> None:
    """Run the case of a replay file, write what foretell does, say where that differs from vLLM.

    Raises:
        ValueError: the file is not a replay file, or `output` cannot be written.

    """
    from foretell.sim.forecast_json import tool_version
    from foretell.sim.records import REPLAY_FILES, output_folder, write_json
    from foretell.sim.replayfile import read_replay_file, tell
    from foretell.sim.watch import first_difference, watch

    replay = read_replay_file(path)
    record = watch(replay.case)
    with output_folder(output, REPLAY_FILES) as folder:
        _write_batches(folder / "batch.csv.gz", record)
        _write_requests(folder / "requests.csv", replay.case, record)
        resolved = {
            "tool": "foretell",
            "tool_version": tool_version(),
            "trace": str(path),
            "step_cost": {"kind": "affine", **dataclasses.asdict(replay.case.cost)},
            **dataclasses.asdict(replay.case.config),
        }
        write_json(folder / "settings.json", resolved)
    if replay.note:
        click.echo(replay.note)
    stuck = "; requests preempt each other for ever" if record.livelock else ""
    click.echo(f"{len(replay.case.calls):,} requests, {len(record.steps):,} steps{stuck}; see {output}")
    if replay.vllm is None:
        click.echo("the file has no record of vLLM to compare with")
        return
    difference = first_difference(replay.vllm, record)
    if difference is None:
        click.echo(f"equal to vLLM {replay.version} in all {len(replay.vllm.steps):,} steps")
    for line in tell(difference, replay.version) if difference else ():
        click.echo(line)


def _write_batches(path: Path, record: Record) -> None:
    from foretell.sim.records import batch_recorder

    with batch_recorder(path) as write:
        for n, (start, end, rows, _, _) in enumerate(record.steps):
            batch: Any = [(SimpleNamespace(id=id), tokens, before) for id, tokens, before in rows]
            write(0, n, start, end, batch)


def _write_requests(path: Path, case: Case, record: Record) -> None:
    from foretell.sim.records import CALL_COLUMNS

    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(CALL_COLUMNS)
        for call in case.calls:
            status, first, finish, preemptions, cached = record.requests[call.id]
            total = min(call.prompt_tokens + call.output_tokens, case.config.max_model_len)
            served = status == "finished"
            writer.writerow(
                (
                    call.id,
                    call.arrival_s,
                    call.prompt_tokens,
                    total - call.prompt_tokens if served else 0,
                    first - call.arrival_s if served else "",
                    finish - call.arrival_s if served else "",
                    finish if served else "",
                    preemptions,
                    cached,
                    0,
                    status,
                )
            )
