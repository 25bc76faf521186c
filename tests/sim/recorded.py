"""Recorded behaviour of vLLM 0.32 as data for tests: scheduler scenarios and real runs.

The recordings lie beside the repository, in ../shared; without them the tests that need them skip.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.models.stepcost import AffineCost, constant_cost
from foretell.sim.config import EngineConfig
from foretell.validate import recorded_runs
from foretell.validate.recorded_runs import BatchRow
from foretell.validate.replayed_runs import on_step_clock
from naive import Call
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
    calls = [
        _call(row, float(row["arrival_s"])) for row in recorded_runs.rows(ROOT / "oracle" / _trace(settings))
    ]
    steps = list(recorded_runs.rows(folder / "steps.csv.gz"))
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
        batches=recorded_runs.read_batches(folder / "batch.csv.gz"),
        blocks_used=[int(row["kv_blocks_used"]) for row in steps],
        requests=list(recorded_runs.rows(folder / "requests.csv")),
        step_starts_s=starts,
        step_ends_s=[start + float(row["dur_s"]) for start, row in zip(starts, steps, strict=True)],
    )


def load_run(name: str) -> Recording:
    """A real run on the clock of its steps: step n lasts from n to n + 1."""
    run = recorded_runs.load_run(ROOT / "runs" / name)
    requests = list(recorded_runs.rows(run.folder / "requests.csv"))
    trace = recorded_runs.rows(run.folder / "trace.csv")
    calls = [_call(row, at) for row, at in zip(trace, on_step_clock(run).tolist(), strict=True)]
    return Recording(
        name=name,
        calls=sorted(calls, key=lambda call: call.arrival_s),
        config=run.config,
        cost=constant_cost(1.0),
        batches=run.batches,
        blocks_used=run.blocks_used.tolist(),
        requests=requests,
        step_starts_s=run.starts_s.tolist(),
        step_ends_s=run.ends_s.tolist(),
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


def _trace(settings: dict[str, Any]) -> str:
    return f"traces/{Path(settings['trace']).name}"


def _call(row: dict[str, str], arrival_s: float) -> Call:
    return Call(
        id=row["id"],
        arrival_s=arrival_s,
        prompt_tokens=int(row["prompt_tokens"]),
        output_tokens=int(row["output_tokens"]),
        priority=int(row.get("priority") or 0),
        segments=recorded_runs.segments_of(row),
    )
