"""The plan's choice against the truth: every candidate of a small space simulated."""

from __future__ import annotations

from typing import Any

import pytest

from foretell.sim import Scenario
from foretell.sim.planning_verify import plan
from planned import LONG, chat, cheapest, drawn, replicas_off, simulated


def upto(most: int) -> dict[str, int]:
    return {"low": 1, "high": most}


def spaces() -> dict[str, Scenario]:
    """Small spaces in which different things bind."""
    both = ["h100-sxm", "l40s"]
    e2e = {"ttft_p90": "<= 1 s", "e2e_p90": "<= 15 s"}
    bursts: dict[str, Any] = {"process": "gamma", "burstiness": 0.2}
    small_batch = {"engine.max_num_seqs": [16, 64], "engine.max_num_batched_tokens": [2048, 8192]}
    return {
        "tp": chat(
            {"hardware": both, "tensor_parallel_size": [1, 2], "replicas": upto(6)},
            {"tpot_p99": "<= 12 ms"},
            rate=24,
            requests=500,
        ),
        "capacity": chat({"hardware": both, "replicas": upto(6)}, e2e, rate=40, requests=1200),
        "kv cache": chat(
            {"hardware": ["l40s"], "kv_cache_dtype": ["auto", "fp8"], "replicas": upto(8)},
            {"ttft_p90": "<= 3 s"},
            rate=3,
            requests=400,
            lengths=LONG,
            pool={"model": "qwen3-14b"},
        ),
        "bursts": chat(
            {"hardware": ["h100-sxm", "a100-80gb-sxm"], "replicas": upto(6)},
            {"ttft_p99": "<= 1 s"},
            rate=20,
            requests=600,
            arrivals=bursts,
        ),
        "budget": chat(
            {"hardware": both, "replicas": upto(6)},
            {"tpot_p99": "<= 20 ms", "budget": "3 usd/h"},
            rate=20,
            requests=400,
        ),
        "too small a budget": chat(
            {"hardware": both, "replicas": upto(6)},
            {"tpot_p99": "<= 20 ms", "budget": "2 usd/h"},
            rate=20,
            requests=400,
        ),
        "fp8": chat(
            {"hardware": both, "quantization": [None, "fp8"], "replicas": upto(5)},
            {"tpot_p99": "<= 25 ms", "ttft_p90": "<= 0.5 s"},
            rate=15,
            requests=400,
        ),
        "headroom and spare": chat(
            {"hardware": both, "replicas": upto(8)},
            {"tpot_p99": "<= 30 ms", "ttft_p99": "<= 1 s"},
            rate=15,
            requests=400,
            headroom="20 %",
            spare=1,
        ),
        "batch limits": chat(
            {**small_batch, "replicas": upto(6)},
            {"tpot_p99": "<= 15 ms", "ttft_p90": "<= 300 ms"},
            rate=30,
            requests=600,
        ),
    }


def test_the_choice_is_the_true_one_in_a_tiny_space() -> None:
    asked = chat(
        {"hardware": ["h100-sxm", "l40s"], "replicas": upto(4)},
        {"tpot_p99": "<= 40 ms"},
        rate=25,
        requests=300,
    ).replace(replications=2)
    truth = cheapest(simulated(asked))
    found = plan(asked)
    assert truth is not None
    assert found.best is not None
    assert found.best.candidate.changes == truth.changes
    assert truth.changes["pools.chat.replicas"] > 1, "nothing to choose"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*spaces(), "drawn 2", "drawn 3", "drawn 8", "drawn 10"])
def test_the_choice_is_at_most_one_replica_off_the_truth(name: str) -> None:
    asked = drawn(int(name.split()[1])) if name.startswith("drawn") else spaces()[name]
    truth = cheapest(simulated(asked))
    off = replicas_off(plan(asked), truth)
    print(f"{name}: true {truth and dict(truth.changes)}, plan {off:g} replicas dearer")
    assert -1e-9 <= off <= 1
