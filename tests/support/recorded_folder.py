"""Folders in the format of recorded runs, from runs of our own engine with a known step cost."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from foretell.models import AffineCost
from foretell.sim.config import EngineConfig
from foretell.sim.engine import Batch
from foretell.sim.request import Request
from foretell.sim.serve import serve

COST = AffineCost(8e-3, 1e-4, 3e-4, 6e-7, 2e-8)
CONFIG = EngineConfig(num_gpu_blocks=120, block_size=32, max_num_seqs=8, max_num_batched_tokens=256)
GAP_S = 1e-4
"""From a step's end to its tokens, and to the next step."""


def write_run(
    folder: Path,
    *,
    seed: int = 0,
    rate_per_s: float = 4.0,
    n: int = 40,
    cost: AffineCost = COST,
    config: EngineConfig = CONFIG,
    model: str = "planted",
) -> Path:
    """Simulate and write a run; a rate of inf makes a burst. Prefix groups and priorities are in it."""
    rng = np.random.default_rng(seed)
    arrival = np.round(np.cumsum(rng.exponential(1 / rate_per_s, n)), 6)
    prompts, outputs = rng.integers(5, 400, n), rng.integers(1, 60, n)
    groups, ranks = rng.integers(-1, 3, n), rng.integers(0, 3, n)
    shared = np.where(groups >= 0, np.minimum(prompts, 128), 0)
    requests = [
        Request(
            f"r{i:03d}",
            float(arrival[i]),
            int(prompts[i]),
            int(outputs[i]),
            i,
            priority=int(ranks[i]),
            segments=((str(groups[i]), int(shared[i])),) if groups[i] >= 0 else (),
        )
        for i in range(n)
    ]
    steps: list[tuple[float, float]] = []
    entries: list[list[Any]] = []
    tokens: list[list[float]] = [[] for _ in requests]

    def on_step(step: int, start_s: float, end_s: float, batch: Batch) -> None:
        steps.append((start_s, end_s))
        for request, scheduled, computed in batch:
            made = len(tokens[request.row])
            samples = computed + scheduled == request.prompt_tokens + made
            decodes = samples and made > 0 and scheduled == 1
            phase = "d" if decodes else "r" if made else "p"
            entries.append([step, request.id, scheduled, computed, phase, int(samples)])
            if samples:
                tokens[request.row].append(end_s)

    serve(requests, config, cost, on_step=on_step)
    folder.mkdir(parents=True)
    _table(
        folder / "trace.csv",
        "id arrival_s prompt_tokens output_tokens prefix_group prefix_tokens priority",
        [[f"r{i:03d}", arrival[i], prompts[i], outputs[i], groups[i], shared[i], ranks[i]] for i in range(n)],
    )
    _table(
        folder / "requests.csv",
        "request_id arrival_s added_s ttft_s finish_s n_preemptions cached_tokens",
        [
            [
                r.id,
                r.arrival_s,
                r.arrival_s,
                _us(t[0] - r.arrival_s),
                _us(t[-1]),
                r.n_preemptions,
                r.cached_tokens,
            ]
            for r, t in zip(requests, tokens, strict=True)
        ],
    )
    gaps = [
        {"id": r.id, "itl": np.round(np.diff(t), 6).tolist()} for r, t in zip(requests, tokens, strict=True)
    ]
    (folder / "itls.jsonl").write_text("".join(json.dumps(line) + "\n" for line in gaps))
    _table(
        folder / "steps.csv",
        "step t_start_s dur_s kv_blocks_used",
        [[i, _us(start), _us(end - start - GAP_S), 0] for i, (start, end) in enumerate(steps)],
    )
    columns = ["step", "request_id", "num_scheduled_tokens", "num_computed_before", "phase", "samples_token"]
    lines = "\n".join(",".join(map(str, row)) for row in [columns, *entries]) + "\n"
    (folder / "batch.csv.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    about = {
        "model": model,
        "model_config": {"model_type": model},
        "engine_args": {
            "scheduling_policy": config.scheduling_policy,
            "long_prefill_token_threshold": config.long_prefill_token_threshold,
        },
        "scheduler_meta": {
            "num_gpu_blocks": config.num_gpu_blocks,
            "block_size": config.block_size,
            "max_num_running_reqs": config.max_num_seqs,
            "max_num_scheduled_tokens": config.max_num_batched_tokens,
            "max_model_len": config.max_model_len,
            "chunked": config.enable_chunked_prefill,
            "reserve_full_isl": config.scheduler_reserve_full_isl,
            "watermark": config.watermark,
            "prefix_caching": config.enable_prefix_caching,
        },
    }
    (folder / "config.json").write_text(json.dumps(about))
    return folder


def _us(seconds: float) -> str:
    return f"{seconds:.6f}"


def _table(path: Path, columns: str, rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns.split())
        table.writerows(rows)
