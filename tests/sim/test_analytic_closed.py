"""Closed loops by mean values, against the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from foretell.sim import Scenario, forecast
from foretell.sim.analytic import analyse

SCENARIO: dict[str, Any] = {
    "workload": {
        "concurrency": 16,
        "lengths": {
            "prompt": {"lognormal": {"mean": 800, "sigma": 0.6}},
            "output": {"lognormal": {"mean": 150, "sigma": 0.6, "minimum": 2}},
        },
        "num_requests": 1500,
        "warmup_s": 10.0,  # the first come all at once
    },
    "pools": {
        "main": {
            "step_cost": "affine:8e-3,5e-5,6e-5,2e-8",
            "engine": {"num_gpu_blocks": 60_000, "max_num_seqs": 128, "max_num_batched_tokens": 4096},
        }
    },
    "replications": 1,
}


@pytest.mark.parametrize("concurrency", [1, 16, 100])
def test_means_agree_with_the_simulator(concurrency: int) -> None:
    scenario = Scenario.from_dict(SCENARIO).replace(**{"workload.concurrency": concurrency})
    at, truth = analyse(scenario).figures, forecast(scenario).summary
    for name, limit in (
        ("tpot_mean_s", 0.05),
        ("e2e_mean_s", 0.05),
        ("ttft_mean_s", 0.10),
        ("output_throughput_tps", 0.12),  # the run has an end, in which fewer are in flight
    ):
        assert at[name] == pytest.approx(truth[name].value, rel=limit), name


SERVED: dict[str, Any] = {
    "workload": SCENARIO["workload"] | {"num_requests": 600},
    "pools": {"main": {"model": "llama-3.1-8b", "hardware": "h100-sxm"}},
    "replications": 1,
}


@pytest.mark.parametrize("concurrency", [4, 16, 64])
@pytest.mark.parametrize("asynchronous", [True, False])
def test_the_first_token_comes_after_the_step_that_was_planned(concurrency: int, asynchronous: bool) -> None:
    """On a GPU whose steps grow by fits and starts, in which differences of steps are of no use."""
    scenario = Scenario.from_dict(SERVED).replace(
        **{"workload.concurrency": concurrency, "pools.main.engine": {"async_scheduling": asynchronous}}
    )
    at, truth = analyse(scenario).figures, forecast(scenario).summary
    assert at["ttft_mean_s"] == pytest.approx(truth["ttft_mean_s"].value, rel=0.1)
    assert at["tpot_mean_s"] == pytest.approx(truth["tpot_mean_s"].value, rel=0.05)


@pytest.mark.parametrize("tokens", [256, 8192])
def test_requests_that_are_alike_come_in_groups(tokens: int) -> None:
    """Prompts of 4 groups fill a step each; or a prompt does, and needs two steps beside those who decode."""
    workload = {"concurrency": 64 if tokens == 256 else 8, "lengths": {"prompt": tokens, "output": 300}}
    engine = {"max_num_batched_tokens": 4096 if tokens == 256 else 8192}
    scenario = Scenario.from_dict(SERVED | {"workload": workload | {"num_requests": 500, "warmup_s": 5.0}})
    scenario = scenario.replace(**{"pools.main.engine": engine})
    at, truth = analyse(scenario).figures, forecast(scenario).summary
    assert at["ttft_mean_s"] == pytest.approx(truth["ttft_mean_s"].value, rel=0.15)
    assert at["tpot_mean_s"] == pytest.approx(truth["tpot_mean_s"].value, rel=0.04)


def test_littles_law_holds_and_replicas_share() -> None:
    scenario = Scenario.from_dict(SCENARIO)
    at = analyse(scenario).figures
    assert at["e2e_mean_s"] * at["request_throughput_rps"] == pytest.approx(16)
    two = analyse(scenario.replace(**{"pools.main.replicas": 2, "workload.concurrency": 32})).figures
    assert two["e2e_mean_s"] == pytest.approx(at["e2e_mean_s"])
    assert two["request_throughput_rps"] == pytest.approx(2 * at["request_throughput_rps"])


@pytest.mark.parametrize(("concurrency", "replicas"), [(3, 2), (6, 4), (5, 2)])
def test_a_share_that_is_not_whole(concurrency: int, replicas: int) -> None:
    """Engines have one request more or less each; what is asked of them lies between."""
    scenario = Scenario.from_dict(SCENARIO).replace(
        **{"workload.concurrency": concurrency, "pools.main.replicas": replicas}
    )
    at, truth = analyse(scenario).figures, forecast(scenario).summary
    assert at["e2e_mean_s"] == pytest.approx(truth["e2e_mean_s"].value, rel=0.06)
    assert at["ttft_mean_s"] == pytest.approx(truth["ttft_mean_s"].value, rel=0.25)


def test_who_finds_no_slot_waits() -> None:
    scenario = Scenario.from_dict(SCENARIO).replace(**{"workload.concurrency": 256})
    found = analyse(scenario)
    assert found.figures["mean_waiting"] == pytest.approx(128, abs=2)
    assert any("max_num_seqs binds" in note for note in found.notes)


def test_arrivals_besides_are_refused() -> None:
    arrivals = {"process": "poisson", "rate_per_s": 3}
    with pytest.raises(ValueError, match=r"^concurrency: the closed form takes it or arrivals"):
        analyse(Scenario.from_dict(SCENARIO).replace(**{"workload.arrivals": arrivals}))
