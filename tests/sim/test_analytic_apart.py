"""Prefill and decode apart: the queues in a row against the simulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.sim import Scenario, forecast
from foretell.sim.analytic import analyse

LIMITS = {
    "ttft_mean_s": 0.20,
    "ttft_p99_s": 0.25,
    "tpot_mean_s": 0.05,
    "tpot_p99_s": 0.25,
    "e2e_mean_s": 0.10,
    "e2e_p99_s": 0.25,
    "kv_transfer_mean_s": 0.25,
    "prefill_utilisation": 0.12,
    "decode_utilisation": 0.05,
}
ENGINE = {"num_gpu_blocks": 40_000, "max_num_seqs": 128, "max_num_batched_tokens": 8192}
SCENARIO: dict[str, Any] = {
    "workload": {
        "arrivals": {"process": "poisson", "rate_per_s": 1},
        "lengths": {
            "prompt": {"lognormal": {"mean": 2000, "sigma": 0.6, "maximum": 12000}},
            "output": {"lognormal": {"mean": 150, "sigma": 0.7, "minimum": 1, "maximum": 1500}},
        },
        "num_requests": 2000,
    },
    "pools": {
        "prefill": {"step_cost": "affine:8e-3,8e-5,1e-5,0", "replicas": 2, "engine": ENGINE},
        "decode": {"step_cost": "affine:8e-3,8e-5,6e-5,2e-8", "engine": ENGINE},
    },
    "strategy": {
        "name": "disaggregated",
        "kv_transfer": {"link": "infiniband-ndr", "bytes_per_token": 320e3},
    },
    "replications": 1,
}


def at_load(load: float, **changes: Any) -> Scenario:
    scenario = Scenario.from_dict(SCENARIO).replace(**changes)
    rate = load * analyse(scenario).figures["capacity_rps"]
    warmup = 0.2 * SCENARIO["workload"]["num_requests"] / rate
    return scenario.replace(**{"workload.arrivals.rate_per_s": rate, "workload.warmup_s": warmup})


def misses(scenario: Scenario, wider: float = 1.0) -> dict[str, float]:
    found, truth = analyse(scenario).figures, forecast(scenario).summary
    errors = {name: found[name] / truth[name].value - 1 for name in LIMITS}
    return {name: error for name, error in errors.items() if abs(error) > wider * LIMITS[name]}


def test_it_agrees_with_the_simulator() -> None:
    assert misses(at_load(0.5)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("router", ["round_robin", "least_outstanding", "random"])
@pytest.mark.parametrize("first_token", ["prefill", "decode"])
@pytest.mark.parametrize("load", [0.2, 0.7])
def test_it_agrees_however_requests_are_routed(load: float, first_token: str, router: str) -> None:
    changes = {"pools.prefill.router": router, "strategy.first_token": first_token}
    assert misses(at_load(load, **changes), 1.5 if load > 0.6 else 1.0) == {}


def test_the_load_is_that_of_the_fuller_pool() -> None:
    scenario = at_load(0.5)
    at = analyse(scenario).figures
    assert at["load"] == pytest.approx(0.5)
    assert at["load"] == max(at["prefill_load"], at["decode_load"])
    more = analyse(scenario.replace(**{"pools.prefill.replicas": 4})).figures
    assert more["prefill_load"] == pytest.approx(at["prefill_load"] / 2)
    assert more["decode_load"] == pytest.approx(at["decode_load"])
    assert more["ttft_mean_s"] < at["ttft_mean_s"]


def test_a_full_cache_of_the_decode_pool_computes_prompts_that_others_had_handed_over() -> None:
    longer = {
        "workload.lengths.prompt.lognormal.mean": 500,
        "workload.lengths.output.lognormal": {"mean": 800, "sigma": 0.5, "minimum": 2, "maximum": 3000},
        "workload.num_requests": 1500,
        "pools.decode.engine.num_gpu_blocks": 4000,
        "pools.decode.step_cost": "affine:8e-3,3e-4,6e-5,2e-8",
    }
    scenario = Scenario.from_dict(SCENARIO).replace(**longer)
    capacity = analyse(scenario).figures["capacity_rps"]
    run = forecast(scenario.replace(**{"workload.arrivals.rate_per_s": 3 * capacity})).run
    again = run.engines[-1].prefill_tokens / len(run.finish_s)
    assert again > 100  # of the prompts that it was handed
    ended = np.sort(run.finish_s)
    some = ended[len(ended) // 4 : 2 * len(ended) // 3]  # neither filling up nor running dry
    assert capacity == pytest.approx((len(some) - 1) / (some[-1] - some[0]), rel=0.06)


def test_overload_is_told() -> None:
    over = analyse(at_load(1.1))
    assert over.figures["e2e_mean_s"] == float("inf")
    assert any(note.startswith("overloaded") for note in over.notes)


def test_a_slow_link_is_waited_for_and_may_bind() -> None:
    scenario = at_load(0.3)
    slow = scenario.replace(**{"strategy.kv_transfer.efficiency": 0.1})
    at, more = (analyse(each).figures for each in (scenario, slow))
    assert more["kv_transfer_mean_s"] > 3 * at["kv_transfer_mean_s"] > 0
    assert more["kv_transfer_utilisation"] == pytest.approx(8 * at["kv_transfer_utilisation"])
    stuck = analyse(scenario.replace(**{"strategy.kv_transfer.efficiency": 0.01})).figures
    assert stuck["load"] > 1


def test_who_delivers_the_first_token_moves_the_transfer_into_ttft() -> None:
    early = at_load(0.3)
    late = early.replace(**{"strategy.first_token": "decode"})
    at, other = (analyse(each).figures for each in (early, late))
    more = other["ttft_mean_s"] - at["ttft_mean_s"]
    assert more > at["kv_transfer_mean_s"]
    assert other["e2e_mean_s"] == pytest.approx(at["e2e_mean_s"], rel=0.02)


def test_answers_of_one_token_end_where_the_prompt_does() -> None:
    scenario = at_load(0.3)
    with pytest.raises(ValueError, match=r"^lengths: every answer has one token"):
        analyse(scenario.replace(**{"workload.lengths": {"prompt": 1000, "output": 1}}))
