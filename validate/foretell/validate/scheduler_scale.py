"""The same large scenarios through vLLM's scheduler and through ours: identical decisions, then the time.

vLLM's time is its process CPU seconds in making requests (which hashes their prompts), in add_request,
schedule and update_from_output. Ours is all of a run without recording: making requests, drive, engine; best
of several.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from foretell.models.stepcost import AffineCost
from foretell.sim.case import Call, Case
from foretell.sim.config import EngineConfig
from foretell.sim.serve import serve
from foretell.sim.watch import first_difference, watch
from foretell.validate.scheduler_cases import MILLISECOND
from foretell.validate.vllm_client import VllmScheduler

_COST = AffineCost(5 * MILLISECOND, MILLISECOND / 16, MILLISECOND / 8, MILLISECOND / 8192, 0.0)
_REPEATS = 15
_SCENARIOS: Mapping[str, tuple[int, float, Mapping[str, Any]]] = {
    "near capacity": (2000, 12.0, {}),
    "near capacity, asynchronous": (2000, 12.0, {"async_scheduling": True}),
    "overload": (1500, 24.0, {}),
    "prefix groups": (2000, 14.0, {"enable_prefix_caching": True, "num_gpu_blocks": 6000}),
    "small KV": (1500, 12.0, {"num_gpu_blocks": 1800, "scheduler_reserve_full_isl": False}),
    "priority": (1500, 12.0, {"scheduling_policy": "priority", "num_gpu_blocks": 2500}),
}
"""Requests, requests a second, and settings that are not the default."""


def scale_cases(seed: int) -> Iterator[tuple[str, Case]]:
    """The scenarios: Poisson arrivals, lognormal lengths, step costs of a GPU's order."""
    for stream, (name, (n, rate, changed)) in zip(
        np.random.SeedSequence(seed).spawn(len(_SCENARIOS)), _SCENARIOS.items(), strict=True
    ):
        rng = np.random.default_rng(stream)
        settings = {"num_gpu_blocks": 8000, "max_model_len": 8192, "max_num_seqs": 128} | dict(changed)
        arrivals = np.floor(np.cumsum(rng.exponential(1 / rate, n)) / MILLISECOND) * MILLISECOND
        prompts = np.clip(rng.lognormal(5.5, 0.8, n), 8, 4000).astype(int).tolist()
        answers = np.clip(rng.lognormal(5.0, 0.7, n), 2, 2000).astype(int).tolist()
        groups = rng.integers(0, 20, n).tolist()
        priorities = rng.integers(0, 3, n).tolist()
        shares = bool(changed.get("enable_prefix_caching"))
        urgent = "scheduling_policy" in changed
        calls = tuple(
            Call(
                id=f"r{i}",
                arrival_s=at,
                prompt_tokens=prompt,
                output_tokens=answer,
                priority=priority if urgent else 0,
                segments=((f"g{group}", min(prompt, 256)),) if shares else (),
            )
            for i, (at, prompt, answer, group, priority) in enumerate(
                zip(arrivals.tolist(), prompts, answers, groups, priorities, strict=True)
            )
        )
        yield name, Case(EngineConfig(**settings), _COST, calls)


def compare_scale(vllm: VllmScheduler, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the comparison, one a scenario.

    Raises:
        OracleError: vLLM failed.

    """
    for name, case in scale_cases(seed):
        answer = vllm.ask(case)
        identical = first_difference(answer.record, watch(case)) is None
        ours_s = min(_seconds(case) for _ in range(_REPEATS))
        n = len(case.calls)
        yield {
            "name": name,
            "requests": n,
            "steps": len(answer.record.steps),
            "preemptions": sum(outcome[3] for outcome in answer.record.requests.values()),
            "cached_tokens": sum(outcome[4] for outcome in answer.record.requests.values()),
            "identical": identical,
            "vllm_cpu_s": answer.cpu_s,
            "foretell_cpu_s": ours_s,
            "vllm_requests_per_cpu_s": n / answer.cpu_s,
            "foretell_requests_per_cpu_s": n / ours_s,
            "times": answer.cpu_s / ours_s,
        }


def _seconds(case: Case) -> float:
    began = time.process_time()
    serve([call.request() for call in case.calls], case.config, case.cost)
    return time.process_time() - began
