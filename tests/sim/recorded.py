"""Recorded behaviour of vLLM 0.32 as data for tests: scheduler scenarios and real runs.

The recordings lie beside the repository, in ../shared; without them the tests that need them skip.
"""

from __future__ import annotations

import csv
import gzip
import json
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.models.stepcost import AffineCost, constant_cost
from foretell.sim.config import EngineConfig
from naive import BatchRow, Call
from places import SHARED

ROOT = SHARED / "data" / "vllm-cpu"
MISSING = f"recordings not present: ../{ROOT.relative_to(ROOT.parents[2])}"
SCENARIOS = (
    "base",
    "base_wm02",
    "bursty",
    "bursty_noreserve",
    "kv500",
    "long_mbt2048",
    "mbt256",
    "prefix_kv700",
    "prefix_on",
    "prefix_prio_kv600",
    "prio_kv650",
)
RUNS = (
    "burst_m_cpu1",
    "burst_m_cpu2",
    "cal_burst_llama_l",
    "cal_burst_llama_s",
    "cal_burst_m",
    "cal_burst_mixtral_s",
    "cal_burst_qwen3moe_s",
    "l_mid_r2",
    "m_bs64_kv60_r10",
    "m_kv120_r10",
    "m_low_r3",
    "m_lpt128_r6",
    "m_mbt256_r6",
    "m_mid_r6",
    "m_mid_r6_rep",
    "m_mns8_r6",
    "m_near_r10",
    "m_nochunk_r6",
    "m_over_r15",
    "m_prefix_off_r6",
    "m_prefix_on_r6",
    "m_prio_r12",
    "mix_mid_r13",
    "q3moe_mid_r13",
    "s_mid_r18",
    "s_near_r30",
)


@dataclass(frozen=True, slots=True)
class Recording:
    """Calls, settings and step cost to replay, and what the real scheduler made of them."""

    name: str
    calls: list[Call]
    config: EngineConfig
    cost: AffineCost
    batches: list[list[BatchRow]]
    blocks_used: list[int]
    requests: list[dict[str, str]]
    step_starts_s: list[float]
    step_ends_s: list[float]


def load_scenario(name: str) -> Recording:
    """The real scheduler, stepped on a virtual clock with an affine step time: times must be equal too."""
    folder = ROOT / "oracle" / name
    settings = json.loads((folder / "summary.json").read_text())["args"]
    calls = [_call(row, float(row["arrival_s"])) for row in _rows(ROOT / "oracle" / _trace(settings))]
    steps = list(_rows(folder / "steps.csv.gz"))
    starts = [float(row["t_start_s"]) for row in steps]
    return Recording(
        name=name,
        calls=calls,
        config=EngineConfig(
            num_gpu_blocks=settings["num_blocks"],
            block_size=settings["block_size"],
            max_num_seqs=settings["max_num_seqs"],
            max_num_batched_tokens=settings["max_num_batched_tokens"],
            max_model_len=settings["max_model_len"],
            enable_chunked_prefill=settings["chunked_prefill"],
            long_prefill_token_threshold=settings["long_prefill_token_threshold"],
            scheduler_reserve_full_isl=settings["reserve_full_isl"],
            watermark=settings["watermark"],
            scheduling_policy=settings["policy"],
            enable_prefix_caching=settings["prefix_caching"],
        ),
        cost=AffineCost(*(float(x) for x in settings["step"].split(","))),
        batches=_batches(folder),
        blocks_used=[int(row["kv_blocks_used"]) for row in steps],
        requests=list(_rows(folder / "requests.csv")),
        step_starts_s=starts,
        step_ends_s=[start + float(row["dur_s"]) for start, row in zip(starts, steps, strict=True)],
    )


def load_run(name: str) -> Recording:
    """A real run on its own clock, as a replay on the clock of its steps.

    Step n lasts from n to n + 1. A request that was added between the starts of steps n - 1 and n
    arrives in (n - 1, n), so it joins before step n, in the order in which requests were added.
    """
    folder = ROOT / "runs" / name
    meta = json.loads((folder / "config.json").read_text())
    args, scheduler = meta["engine_args"], meta["scheduler_meta"]
    steps = list(_rows(folder / "steps.csv"))
    starts = [float(row["t_start_s"]) for row in steps]
    requests = list(_rows(folder / "requests.csv"))
    of_request = {row["id"]: row for row in _rows(folder / "trace.csv")}
    # A stable sort: requests added in one go keep their order.
    added = sorted(requests, key=lambda row: float(row["added_s"]))
    calls = []
    for rank, row in enumerate(added):
        step = bisect_left(starts, float(row["added_s"]))
        arrival = step - 1 + (rank + 1) / (len(added) + 1) if step else 0.0
        calls.append(_call(of_request[row["request_id"]], arrival))
    return Recording(
        name=name,
        calls=calls,
        config=EngineConfig(
            num_gpu_blocks=scheduler["num_gpu_blocks"],
            block_size=scheduler["block_size"],
            max_num_seqs=scheduler["max_num_running_reqs"],
            max_num_batched_tokens=scheduler["max_num_scheduled_tokens"],
            max_model_len=scheduler["max_model_len"],
            enable_chunked_prefill=scheduler["chunked"],
            long_prefill_token_threshold=args.get("long_prefill_token_threshold", 0),
            scheduler_reserve_full_isl=scheduler["reserve_full_isl"],
            watermark=scheduler["watermark"],
            scheduling_policy=args.get("scheduling_policy", "fcfs"),
            enable_prefix_caching=scheduler["prefix_caching"],
        ),
        cost=constant_cost(1.0),
        batches=_batches(folder),
        blocks_used=[int(row["kv_blocks_used"]) for row in steps],
        requests=requests,
        step_starts_s=starts,
        step_ends_s=[start + float(row["dur_s"]) for start, row in zip(starts, steps, strict=True)],
    )


def first_difference(
    expected: list[list[BatchRow]], actual: list[list[BatchRow]]
) -> tuple[int, object, object] | None:
    """The first step whose batch differs, with both batches, or None if all agree."""
    for step in range(max(len(expected), len(actual))):
        ours = actual[step] if step < len(actual) else "no such step"
        theirs = expected[step] if step < len(expected) else "no such step"
        if ours != theirs:
            return step, theirs, ours
    return None


def _rows(path: Path) -> Iterator[dict[str, str]]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    yield from csv.DictReader(text.splitlines())


def _trace(settings: dict[str, Any]) -> str:
    return f"traces/{Path(settings['trace']).name}"


def _call(row: dict[str, str], arrival_s: float) -> Call:
    shared = int(row.get("prefix_tokens") or 0) if int(row.get("prefix_group") or -1) >= 0 else 0
    return Call(
        id=row["id"],
        arrival_s=arrival_s,
        prompt_tokens=int(row["prompt_tokens"]),
        output_tokens=int(row["output_tokens"]),
        priority=int(row.get("priority") or 0),
        segments=((row["prefix_group"], shared),) if shared else (),
    )


def _batches(folder: Path) -> list[list[BatchRow]]:
    batches: list[list[BatchRow]] = []
    for row in _rows(folder / "batch.csv.gz"):
        step = int(row["step"])
        while len(batches) <= step:
            batches.append([])
        scheduled, computed = int(row["num_scheduled_tokens"]), int(row["num_computed_before"])
        batches[step].append((row["request_id"], scheduled, computed))
    return batches
