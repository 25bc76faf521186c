"""What the search of a plan costs in a space of a million candidates.

    pytest -m benchmark tests/benchmarks/test_plan_speed.py -s

The target is two minutes on two cores, and at most about 10,000 forecasts; the search takes one core.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from foretell.sim import Scenario
from foretell.sim.planning_search import search

pytestmark = pytest.mark.benchmark

TARGET_S = 120.0
MOST_FORECASTS = 10_000

FIELDS = {
    "pools.chat.model": ["qwen3-30b-a3b", "gpt-oss-20b"],
    "pools.chat.hardware": ["h100-sxm", "h200", "b200", "l40s", "a100-80gb-sxm"],
    "pools.chat.tensor_parallel_size": [1, 2, 4],
    "pools.chat.pipeline_parallel_size": [1, 2],
    "pools.chat.data_parallel_size": [1, 2],
    "pools.chat.enable_expert_parallel": [False, True],
    "pools.chat.quantization": [None, "fp8"],
    "pools.chat.kv_cache_dtype": ["auto", "fp8"],
    "pools.chat.engine.max_num_seqs": [64, 128, 256, 512, 1024],
    "pools.chat.engine.max_num_batched_tokens": [1024, 2048, 4096, 8192, 16384],
    "pools.chat.replicas": {"low": 1, "high": 64},
}


def test_a_million_candidates(benchmark: Any) -> None:
    scenario = Scenario.from_dict(
        {
            "workload": {
                "arrivals": {"process": "poisson", "rate_per_s": 40},
                "lengths": "sharegpt",
                "num_requests": 1000,
            },
            "pools": {"chat": {"model": "qwen3-30b-a3b", "hardware": "h100-sxm"}},
            "objectives": {"ttft_p99": "<= 1 s", "tpot_p99": "<= 40 ms"},
            "plan": {"fields": FIELDS, "headroom": "20 %", "spare": 1},
        }
    )
    start, cpu = time.perf_counter(), time.process_time()
    found = benchmark.pedantic(lambda: search(scenario), rounds=1)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(
        f"\n{found.space:,} candidates: {seconds:.1f} s, {cpu:.1f} CPU-s; {found.bounded:,} cut by bounds, "
        f"{found.analysed:,} forecasts; cheapest {found.best[0].usd_per_h:.2f} USD/h"
    )
    benchmark.extra_info.update(space=found.space, forecasts=found.analysed, cpu_s=cpu)
    assert found.space > 1_000_000
    assert len(found.best) == 8
    assert found.analysed <= MOST_FORECASTS
    assert cpu <= TARGET_S
