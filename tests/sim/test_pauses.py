"""When preempted requests are in no step: by the batches of every step, and the engines' totals."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from foretell.models import AffineCost
from foretell.sim import Scenario, forecast
from foretell.sim.config import EngineConfig
from foretell.sim.engine import Batch
from foretell.sim.simulation import simulate
from foretell.sim.steps import with_loads
from foretell.traces import Trace


@dataclass
class Replay:
    """Follows every request through the batches, and finds where it is computed anew."""

    computed: dict[int, int] = field(default_factory=dict)
    ended_s: dict[int, float] = field(default_factory=dict)  # of the last step that carried it
    behind: dict[int, int] = field(default_factory=dict)  # tokens after which it has caught up
    pauses: dict[int, list[list[float]]] = field(default_factory=lambda: defaultdict(list))

    def step(self, replica: int, number: int, start_s: float, end_s: float, batch: Batch) -> None:
        for request, tokens, before in batch:
            row, after = request.row, before + tokens
            had = self.computed.get(row, 0)
            if before < had:
                self.pauses[row].append([self.ended_s[row], start_s, np.nan])
                self.behind[row] = max(had + 1, request.prompt_tokens, self.behind.get(row, 0))
            self.computed[row], self.ended_s[row] = after, end_s
            if after >= self.behind.get(row, np.inf):
                self.pauses[row][-1][2] = end_s
                del self.behind[row]


CONFIGS = {
    "line": EngineConfig(num_gpu_blocks=130),
    "asynchronous": EngineConfig(num_gpu_blocks=130, async_scheduling=True, scheduler_reserve_full_isl=False),
    "priority": EngineConfig(num_gpu_blocks=130, scheduling_policy="priority", async_scheduling=True),
    "chunks": EngineConfig(
        num_gpu_blocks=130, max_num_seqs=48, max_num_batched_tokens=48, scheduler_reserve_full_isl=False
    ),
    "long prompts": EngineConfig(num_gpu_blocks=130, long_prefill_token_threshold=48),
    "step by step": EngineConfig(num_gpu_blocks=130, kv_cache_groups=(0, 64)),
    "step by step, asynchronous": EngineConfig(
        num_gpu_blocks=130, kv_cache_groups=(0, 64), async_scheduling=True
    ),
}


def workload(n: int = 60) -> Trace:
    rng = np.random.default_rng(5)
    return Trace(
        np.sort(rng.uniform(0, 3, n)),
        prompt_tokens=rng.integers(20, 300, n),
        output_tokens=rng.integers(1, 200, n),
        priority=rng.integers(0, 3, n),
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_pauses_are_the_gaps_between_the_batches(name: str) -> None:
    replay = Replay()
    cost = AffineCost(0.01, 1e-4, 1e-5, 1e-7, 0)
    run = simulate(workload(), cost, CONFIGS[name], loads=True, on_step=replay.step)
    assert run.pauses is not None
    (pauses,) = run.pauses
    assert len(pauses) == run.engines[0].preemptions == run.n_preemptions.sum() > 5
    assert np.bincount(pauses[:, 0].astype(int), minlength=len(run)).tolist() == run.n_preemptions.tolist()
    back = pauses[~np.isnan(pauses[:, 2])]  # the others ended by a token that was in flight
    ends = run.finish_s[pauses[np.isnan(pauses[:, 2]), 0].astype(int)]
    assert ends.tolist() == pauses[np.isnan(pauses[:, 2]), 1].tolist()
    for row in range(len(run)):
        own = back[back[:, 0] == row, 1:]
        np.testing.assert_array_equal(own, np.reshape(replay.pauses[row], (-1, 3)))
    assert run.scheduled_s is not None
    waited = (run.scheduled_s - run.arrival_s).sum() + (back[:, 2] - back[:, 1]).sum()
    assert waited == pytest.approx(run.engines[0].queue_s)


_POOL = {"model": "llama-3.1-8b", "hardware": "h100-sxm"}
_TASK = {"task": "aime24", "arrivals": {"process": "poisson", "rate_per_s": 0.05}, "num_requests": 8}
_LENGTHS = {"prompt": {"uniform": {"low": 20, "high": 300}}, "output": {"uniform": {"low": 50, "high": 400}}}
SCENARIOS: dict[str, dict[str, Any]] = {
    "program": {
        "workload": _TASK,
        "pools": {
            "solver": {"model": "qwen3-8b", "hardware": "h100-sxm", "engine": {"num_gpu_blocks": 9000}}
        },
        "strategy": {"name": "first_finish", "n": 4},
    },
    "disaggregated": {
        "workload": {
            "arrivals": {"process": "poisson", "rate_per_s": 20},
            "lengths": _LENGTHS,
            "num_requests": 80,
        },
        "pools": {"front": _POOL, "back": {**_POOL, "replicas": 2, "engine": {"num_gpu_blocks": 180}}},
        "strategy": {"name": "disaggregated", "prefill": "front", "decode": "back"},
    },
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_pauses_are_told_by_the_rows_of_the_run(name: str) -> None:
    run = with_loads(forecast(Scenario.from_dict({**SCENARIOS[name], "replications": 1}))).run
    assert run.pauses is not None
    counted = np.zeros(len(run), dtype=int)
    for i, (pauses, stats) in enumerate(zip(run.pauses, run.engines, strict=True)):
        assert len(pauses) == stats.preemptions
        rows = pauses[:, 0].astype(int)
        np.add.at(counted, rows, 1)
        assert (run.replica[rows] == i).all()
        since, until, again = pauses[:, 1:].T
        assert (run.arrival_s[rows] < since).all()
        assert not (until <= since).any() and not (again <= until).any()
        done = ~np.isnan(run.finish_s[rows])
        assert not (again[done] > run.finish_s[rows][done]).any()
    assert counted.tolist() == run.n_preemptions.tolist() and counted.sum() > 5
