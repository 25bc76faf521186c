"""Fleets of any size by the mean field, against foretell's own simulation of them."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from foretell.models import AffineCost
from foretell.models.queueing import EngineLimits, Lengths
from foretell.models.queueing.mean_field_engines import fleet_batching
from foretell.sim.analytic import analyse
from foretell.sim.analytic_load import load_of
from foretell.sim.config import EngineConfig
from foretell.sim.mean_field import METHOD, mean_field
from foretell.sim.mean_field_over_time import Event, fleet_over_time
from foretell.sim.routers import choices_of
from foretell.sim.schema import scenario_from_dict
from foretell.sim.simulation import Run, simulate
from foretell.traces import Trace

Array = npt.NDArray[np.float64]
SEATS = 16
COST = AffineCost(base_s=10e-3, per_token_s=2e-5, per_seq_s=1e-4)
RNG = np.random.default_rng(0)
LAW = Lengths(np.full(16_384, 50.0), np.asarray(1.0 + RNG.geometric(1 / 32, 16_384), dtype=np.float64))
LIMITS = EngineLimits(SEATS, 2048)
CAPACITY_RPS = 39.42
"""Of an engine, by `saturated`; the tests' loads are shares of it."""


def scenario(replicas: int, router: str, rate_per_s: float, **arrivals: Any) -> Any:
    return scenario_from_dict(
        {
            "workload": {
                "arrivals": {"process": "poisson", "rate_per_s": rate_per_s, **arrivals},
                "lengths": {"prompt": 50, "output": {"geometric": 33}},
            },
            "pools": {
                "chat": {
                    "step_cost": "affine:0.01,2e-5,1e-4",
                    "replicas": replicas,
                    "router": router,
                    "engine": {
                        "max_num_seqs": SEATS,
                        "num_gpu_blocks": 10_000,
                        "max_num_batched_tokens": 2048,
                        "async_scheduling": False,
                    },
                }
            },
        }
    )


def fleet(replicas: int, router: str, arrival_s: Array, seed: int, law: Lengths = LAW) -> Run:
    rows = np.random.default_rng(seed).integers(0, len(law.prompt), len(arrival_s))
    trace = Trace(arrival_s, law.prompt[rows].astype(int), law.output[rows].astype(int))
    config = EngineConfig(num_gpu_blocks=10_000, max_num_seqs=SEATS, max_num_batched_tokens=2048)
    return simulate(trace, COST, config, replicas=replicas, router=router, seed=seed)


def steady(replicas: int, router: str, load: float, seed: int, requests: int) -> dict[str, float]:
    """Mean TTFT and E2E of the middle of a run."""
    gaps = np.random.default_rng([seed, replicas]).exponential(1.0, requests)
    run = fleet(replicas, router, np.cumsum(gaps) / (load * CAPACITY_RPS * replicas), seed)
    kept = slice(int(0.3 * requests), int(0.9 * requests))
    return {
        "ttft": float((run.first_token_s - run.arrival_s)[kept].mean()),
        "e2e": float((run.finish_s - run.arrival_s)[kept].mean()),
    }


def compare(replicas: int, router: str, load: float, ttft: float, e2e: float, requests: int) -> None:
    """The mean field is within these shares of the means, beyond three standard errors."""
    runs = [steady(replicas, router, load, seed, requests) for seed in range(4)]
    choices = choices_of(router) or 1
    found = fleet_batching(COST, LAW, LIMITS, load * CAPACITY_RPS, choices, replicas)
    for name, told, share in (("ttft", found.ttft_s, ttft), ("e2e", found.e2e_s, e2e)):
        values = [run[name] for run in runs]
        mean, near = np.mean(values), 3 * np.std(values, ddof=1) / len(values) ** 0.5
        assert abs(told.mean() - mean) < near + share * mean, (name, told.mean(), mean, near)


@pytest.mark.parametrize("router", ["random", "power_of_two", "power_of_d:3", "least_outstanding"])
def test_ten_replicas_as_simulated(router: str) -> None:
    compare(10, router, 0.7, ttft=0.05, e2e=0.01, requests=8_000)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.5, 0.9])
@pytest.mark.parametrize("router", ["power_of_two", "power_of_d:3", "least_outstanding"])
def test_a_hundred_replicas_as_simulated(router: str, load: float) -> None:
    compare(100, router, load, ttft=0.05, e2e=0.01, requests=50_000)


@pytest.mark.slow
@pytest.mark.parametrize("router", ["power_of_two", "least_outstanding"])
def test_a_thousand_replicas_as_simulated(router: str) -> None:
    compare(1000, router, 0.7, ttft=0.03, e2e=0.01, requests=100_000)


def test_more_choices_wait_less_and_analyse_knows() -> None:
    routers = ("random", "power_of_two", "power_of_d:3")
    found = [mean_field(scenario(100, router, 0.9 * CAPACITY_RPS * 100)) for router in routers]
    assert all(one.method == METHOD for one in found)
    waits = [one.figures["mean_waiting"] for one in found]
    assert waits[0] > 10 * waits[1] > 0 and waits[1] > waits[2]
    assert any("mean field of 100 replicas" in note for note in found[1].notes)
    again = analyse(scenario(100, "power_of_two", 0.9 * CAPACITY_RPS * 100))
    assert again.figures == found[1].figures
    assert again.figures["request_throughput_rps"] == pytest.approx(0.9 * CAPACITY_RPS * 100)


@pytest.mark.parametrize("router", ["power_of_two", "least_outstanding"])
def test_a_hundred_thousand_replicas_cost_as_much_as_ten(router: str) -> None:
    def spent_s(replicas: int) -> float:
        asked = scenario(replicas, router, 0.7 * CAPACITY_RPS * replicas)
        spent = []
        for _ in range(3):
            start = time.process_time()
            mean_field(asked)
            spent.append(time.process_time() - start)
        return min(spent)

    assert spent_s(100_000) < 4 * spent_s(10) + 0.1


def test_an_overloaded_fleet_is_told() -> None:
    found = mean_field(scenario(50, "power_of_two", 1.2 * CAPACITY_RPS * 50))
    assert found.figures["load"] == pytest.approx(1.2, rel=0.02)
    assert found.figures["ttft_mean_s"] == math.inf


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (scenario(10, "round_robin", 100.0), "router: round_robin before 10 replicas is no mean field"),
        (scenario(1, "power_of_two", 10.0), "before 1 replicas"),
    ],
)
def test_what_is_no_mean_field_is_told(asked: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        mean_field(asked)


@pytest.mark.slow
def test_a_fleet_over_time_as_simulated() -> None:
    """100 replicas: 60 % of the capacity, 110 % of it from 10 s on, 60 % from 16 s on."""
    times = np.array([5.0, 10.0, 12.0, 14.0, 16.0, 17.0, 18.0, 20.0, 25.0])
    base = 0.6 * CAPACITY_RPS * 100
    events = [Event(10.0, rate=1.1 / 0.6), Event(16.0, rate=1.0)]
    asked = scenario(100, "power_of_two", base)
    law = load_of(asked.workload).law
    found = fleet_over_time(asked, times, events)
    held = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        parts = ((0.0, 10.0, 0.6), (10.0, 16.0, 1.1), (16.0, 26.0, 0.6))
        arrivals = np.concatenate(
            [np.sort(rng.uniform(a, b, rng.poisson(x / 0.6 * base * (b - a)))) for a, b, x in parts]
        )
        run = fleet(100, "power_of_two", arrivals, seed, law)
        held.append([((run.arrival_s <= t) & (run.finish_s > t)).sum() / 100 for t in times])
    mean = np.mean(held, 0)
    near = 4 * np.std(held, 0, ddof=1) / 3**0.5
    assert (np.abs(found.requests - mean) < near + 0.06 * mean).all(), (found.requests, mean, near)
    assert found.load == pytest.approx([0.6] * 1 + [1.1] * 3 + [0.6] * 5, rel=0.02)
    assert found.waiting[3] > 0.9 and found.wait_s[4] > 0.2 and found.waiting[-1] < 0.01


def test_a_fleet_loses_a_third_and_gets_it_back() -> None:
    asked = scenario(30_000, "power_of_two", 0.6 * CAPACITY_RPS * 30_000)
    events = [Event(1.0, replicas=20_000), Event(20.0, replicas=30_000)]
    found = fleet_over_time(asked, [0.0, 1.0, 19.0, 20.0, 60.0], events)
    assert found.replicas.tolist() == [30_000, 20_000, 20_000, 30_000, 30_000]
    assert found.load[1] == pytest.approx(0.9, rel=0.02)
    assert found.requests[1] == pytest.approx(1.5 * found.requests[0], rel=1e-3)
    assert found.requests[3] == pytest.approx(found.requests[2] * 2 / 3, rel=1e-3)
    assert found.requests[4] == pytest.approx(found.requests[0], rel=1e-3)
    with pytest.raises(ValueError, match="replicas: 0 at 1 s"):
        fleet_over_time(asked, [0.0], [Event(1.0, replicas=0)])
    with pytest.raises(ValueError, match="no mean field"):
        fleet_over_time(scenario(10, "round_robin", 100.0), [0.0])
    with pytest.raises(ValueError, match="starts in steady state"):
        fleet_over_time(scenario(10, "random", 1000.0), [0.0])
