"""The files of a recorded run: what the recorder saw, as tables.

steps.csv and batch.csv.gz have the steps that were not empty, requests.csv and itls.jsonl the requests.
Times are seconds on the run's clock, from its start.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# fmt: off
STEP_COLUMNS = (
    "step", "t_start_s", "dur_s", "sched_s", "exec_s", "update_s", "cpu_s", "wall_s",
    "num_scheduled_tokens", "n_prefill_tokens", "n_prefill_seqs", "n_decode_seqs", "decode_ctx_sum",
    "prefill_ctx_sum", "prefill_attn_work", "n_sampled", "num_running", "num_waiting", "num_waiting_before",
    "n_preempted", "kv_blocks_used", "kv_blocks_total",
)
BATCH_COLUMNS = (
    "step", "request_id", "num_scheduled_tokens", "num_computed_before", "phase", "samples_token",
)
REQUEST_COLUMNS = (
    "request_id", "arrival_s", "added_s", "prompt_tokens", "output_tokens", "ttft_s", "e2e_s", "finish_s",
    "mean_itl_s", "n_preemptions", "cached_tokens", "priority", "prefix_group", "n_out",
)
# fmt: on


def write_steps(folder: Path, steps: Sequence[Mapping[str, Any]], blocks: int) -> None:
    """Write steps.csv and batch.csv.gz."""
    with (folder / "steps.csv").open("w", newline="") as s, _gzip_text(folder / "batch.csv.gz") as b:
        step_rows, batch_rows = csv.writer(s, lineterminator="\n"), csv.writer(b, lineterminator="\n")
        step_rows.writerow(STEP_COLUMNS)
        batch_rows.writerow(BATCH_COLUMNS)
        for number, step in enumerate(steps):
            batch_rows.writerows([number, _own(name), *rest] for name, *rest in step["batch"])
            step_rows.writerow([number, *_step_row(step), blocks])


def _gzip_text(path: Path) -> io.TextIOWrapper:
    """Open for writing; equal contents give equal files."""
    return io.TextIOWrapper(gzip.GzipFile(path, "wb", mtime=0), newline="")


def _own(request_id: str) -> str:
    """The name that was given; vLLM adds a suffix of its own."""
    return request_id.partition("-")[0]


def _step_row(step: Mapping[str, Any]) -> list[Any]:
    prefills = [entry for entry in step["batch"] if entry[3] != "d"]
    decodes = [entry for entry in step["batch"] if entry[3] == "d"]
    times = (
        step["start"],
        step["end"] - step["start"],
        step["scheduled"] - step["start"],
        step["executed"] - step["scheduled"],
        step["end"] - step["executed"],
        step["cpu"],
        step["wall"],
    )
    return [
        *(f"{t:.6f}" for t in times),
        sum(n for _, n, *_ in step["batch"]),
        sum(n for _, n, *_ in prefills),
        len(prefills),
        len(decodes),
        sum(c for _, _, c, *_ in decodes),
        sum(c for _, _, c, *_ in prefills),
        sum(n * (c + (n + 1) / 2) for _, n, c, *_ in prefills),
        sum(entry[4] for entry in step["batch"]),
        step["running"],
        step["waiting"],
        step["waiting_before"],
        len(step["preempted"]),
        step["blocks"],
    ]


def write_requests(
    folder: Path,
    rows: Sequence[Mapping[str, str]],
    added: Sequence[float],
    tokens: Sequence[Sequence[float]],
    steps: Sequence[Mapping[str, Any]],
) -> None:
    """Write requests.csv and itls.jsonl."""
    victims = Counter(_own(name) for step in steps for name in step["preempted"])
    cached: dict[str, int] = {}
    for step in steps:
        for name, _, computed, *_ in step["batch"]:
            cached.setdefault(_own(name), computed)
    with (folder / "requests.csv").open("w", newline="") as r, (folder / "itls.jsonl").open("w") as g:
        table = csv.writer(r, lineterminator="\n")
        table.writerow(REQUEST_COLUMNS)
        for row, at, times in zip(rows, added, tokens, strict=True):
            arrival, gaps = float(row["arrival_s"]), np.diff(times)
            mean = float(gaps.mean()) if len(gaps) else 0.0
            figures = (times[0] - arrival, times[-1] - arrival, times[-1], mean)
            table.writerow(
                [row["id"], f"{arrival:.6f}", f"{at:.6f}", row["prompt_tokens"], row["output_tokens"]]
                + [f"{x:.6f}" for x in figures]
                + [
                    victims[row["id"]],
                    cached.get(row["id"], 0),
                    row["priority"],
                    row["prefix_group"],
                    len(times),
                ]
            )
            g.write(json.dumps({"id": row["id"], "itl": [round(float(x), 6) for x in gaps]}) + "\n")


def summary(
    rows: Sequence[Mapping[str, str]], tokens: Sequence[Sequence[float]], steps: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Counts, and means and percentiles of the latencies [s]."""
    arrivals = [float(row["arrival_s"]) for row in rows]
    gaps = [np.diff(times) for times in tokens if len(times) > 1]
    latencies = {
        "ttft": [times[0] - at for times, at in zip(tokens, arrivals, strict=True)],
        "e2e": [times[-1] - at for times, at in zip(tokens, arrivals, strict=True)],
        "itl": np.concatenate(gaps) if gaps else [],
    }
    found: dict[str, Any] = {"n_requests": len(rows), "n_done": sum(map(bool, tokens)), "steps": len(steps)}
    for name, values in latencies.items():
        if len(values):
            quantiles = {f"p{q}": round(float(np.percentile(values, q)), 6) for q in (50, 90, 99)}
            found[name] = {"mean": round(float(np.mean(values)), 6)} | quantiles
    return found | {"preemptions": sum(len(step["preempted"]) for step in steps)}


def write_probes(folder: Path, probes: Sequence[Sequence[float]]) -> None:
    """Write probes.csv: when the machine was probed, and what reading and computing took [s]."""
    with (folder / "probes.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("at_s", "memory_s", "compute_s"))
        table.writerows([f"{value:.6f}" for value in probe] for probe in probes)


def quiet(probes: Sequence[Sequence[float]]) -> dict[str, Any]:
    """What the probes took [s]: the same work each, so that their spread is the machine's."""
    found = {}
    for name, values in zip(
        ("probe_memory_s", "probe_compute_s"), list(zip(*probes, strict=True))[1:], strict=True
    ):
        found[name] = {f"p{q}": round(float(np.percentile(values, q)), 6) for q in (10, 50, 90)}
    return found
