"""The queueing models against the simulator, which schedules as vLLM does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretell.models import AffineCost, StepCost
from foretell.models.queueing import Lengths, continuous_batching, saturated
from foretell.sim import EngineConfig, Scenario, Workload, simulate
from foretell.sim.analytic import METHOD, analyse, limits_of_engine
from foretell.sim.analytic_load import load_of
from foretell.sim.metrics import e2e_s, tpot_s, ttft_s
from foretell.traces import trace_from_spec

FAST = AffineCost(6e-3, 2e-5, 2e-5, 2e-8, 1e-10)
SLOW = AffineCost(2e-2, 1e-4, 1e-5, 1e-7)
LIMITS = {
    "tpot_mean": 0.05,
    "e2e_mean": 0.10,
    "ttft_mean": 0.20,
    "tpot_p99": 0.25,
    "ttft_p99": 0.25,
    "e2e_p99": 0.25,
}
"""What is asked of the method below 90 % of the capacity."""


def lognormal(mean: float, sigma: float) -> dict[str, Any]:
    return {"lognormal": {"mean": mean, "sigma": sigma}}


def config(**settings: Any) -> EngineConfig:
    return EngineConfig(**{"num_gpu_blocks": 200_000, **settings})


WORSE = {"chunks": {"tpot_mean": 0.12}}
"""Where it is not reached: with prompts that fill the steps, TPOT comes out some per cent too low."""

CASES: dict[str, tuple[StepCost, EngineConfig, dict[str, Any]]] = {
    "fixed": (FAST, config(), {"prompt": 512, "output": 128}),
    "slots": (FAST, config(max_num_seqs=32), {"prompt": lognormal(300, 0.8), "output": lognormal(200, 0.8)}),
    "async": (
        FAST,
        config(async_scheduling=True, max_num_batched_tokens=8192),
        {"prompt": lognormal(800, 1.0), "output": lognormal(250, 0.9)},
    ),
    "chunks": (SLOW, config(), {"prompt": lognormal(4000, 0.7), "output": lognormal(60, 0.7)}),
    "kv": (FAST, config(num_gpu_blocks=3000), {"prompt": lognormal(500, 0.8), "output": lognormal(400, 0.7)}),
    "reasoning": (
        FAST,
        config(async_scheduling=True, max_num_batched_tokens=8192, max_num_seqs=128),
        {"prompt": lognormal(150, 0.5), "output": lognormal(3000, 0.8)},
    ),
}


def law_of(lengths: dict[str, Any]) -> Lengths:
    spec = {"arrivals": {"process": "poisson", "rate_per_s": 1}, "lengths": lengths, "num_requests": 20_000}
    trace = trace_from_spec(spec, 5)
    return Lengths(trace.prompt_tokens.astype(float), trace.output_tokens.astype(float))


def simulated(name: str, rate: float, requests: int, seeds: int) -> dict[str, tuple[float, float]]:
    """Figures of the middle of runs: mean over seeds, and twice its standard error."""
    cost, settings, lengths = CASES[name]
    figures: dict[str, list[float]] = {key: [] for key in LIMITS}
    spec = {
        "arrivals": {"process": "poisson", "rate_per_s": rate},
        "lengths": lengths,
        "num_requests": requests,
    }
    for seed in range(seeds):
        run = simulate(trace_from_spec(spec, seed), cost, settings)
        middle = slice(requests // 5, requests * 9 // 10)
        for metric, values in (("ttft", ttft_s(run)), ("tpot", tpot_s(run)), ("e2e", e2e_s(run))):
            figures[f"{metric}_mean"].append(float(np.nanmean(values[middle])))
            figures[f"{metric}_p99"].append(float(np.nanpercentile(values[middle], 99)))
    return {key: (float(np.mean(v)), 2 * float(np.std(v, ddof=1)) / seeds**0.5) for key, v in figures.items()}


def closed_form(name: str, rate: float) -> dict[str, float]:
    cost, settings, lengths = CASES[name]
    at = continuous_batching(cost, law_of(lengths), limits_of_engine(settings), rate)
    found = {}
    for metric in ("ttft", "tpot", "e2e"):
        values = getattr(at, f"{metric}_s")
        found[f"{metric}_mean"] = float(np.nanmean(values))
        found[f"{metric}_p99"] = float(np.nanpercentile(values, 99))
    return found


def measured_capacity(name: str) -> float:
    """Requests a second in the middle of a run in which everything waits from the start."""
    cost, settings, lengths = CASES[name]
    requests = max(3000, 12 * settings.max_num_seqs)
    spec = {
        "arrivals": {"process": "poisson", "rate_per_s": 1e6},
        "lengths": lengths,
        "num_requests": requests,
    }
    ends = np.sort(simulate(trace_from_spec(spec, 99), cost, settings).finish_s)
    low, high = int(0.3 * requests), int(0.8 * requests)
    return (high - low) / float(ends[high] - ends[low])


def capacity(name: str) -> float:
    cost, settings, lengths = CASES[name]
    return saturated(cost, law_of(lengths), limits_of_engine(settings)).rate_per_s


def misses(name: str, load: float, requests: int, seeds: int) -> dict[str, float]:
    """Figures whose error is beyond its limit and the simulation's own uncertainty."""
    rate = load * capacity(name)
    truth, found = simulated(name, rate, requests, seeds), closed_form(name, rate)
    return {
        key: found[key] / truth[key][0] - 1
        for key, limit in {**LIMITS, **WORSE.get(name, {})}.items()
        if abs(found[key] - truth[key][0]) > limit * truth[key][0] + truth[key][1]
    }


@pytest.mark.parametrize("name", ["fixed", "async"])
def test_latencies_agree_with_the_simulator(name: str) -> None:
    assert misses(name, 0.6, 3000, 3) == {}


@pytest.mark.parametrize("name", ["fixed", "slots", "chunks"])
def test_the_capacity_agrees_with_the_simulator(name: str) -> None:
    assert capacity(name) == pytest.approx(measured_capacity(name), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_the_capacity_agrees_everywhere(name: str) -> None:
    rel = 0.08 if name == "kv" else 0.05  # the work of preemptions is counted too low
    assert capacity(name) == pytest.approx(measured_capacity(name), rel=rel)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("name", sorted(CASES))
def test_latencies_agree_at_every_load(name: str, load: float) -> None:
    assert misses(name, load, 5000, 6) == {}


def test_engines_asked_in_turn_see_smoother_arrivals() -> None:
    """Round robin over four: an engine's gaps have a quarter of the variability, and prompts collide less."""
    cost, settings, lengths = CASES["fixed"]
    rate = 0.6 * capacity("fixed")
    spec = {
        "arrivals": {"process": "poisson", "rate_per_s": 4 * rate},
        "lengths": lengths,
        "num_requests": 12_000,
    }
    run = simulate(trace_from_spec(spec, 3), cost, settings, replicas=4)
    middle = slice(2000, 11_000)
    law, limits = law_of(lengths), limits_of_engine(settings)
    at = continuous_batching(cost, law, limits, rate, arrival_scv=1 / 4)
    assert at.ttft_s.mean() == pytest.approx(ttft_s(run)[middle].mean(), rel=0.1)
    assert at.tpot_s.mean() == pytest.approx(tpot_s(run)[middle].mean(), rel=0.03)
    assert np.percentile(at.ttft_s, 99) == pytest.approx(np.percentile(ttft_s(run)[middle], 99), rel=0.25)
    alone = continuous_batching(cost, law, limits, rate)
    assert at.ttft_s.mean() < 0.9 * alone.ttft_s.mean()


SCENARIO = {
    "workload": {
        "arrivals": {"process": "poisson", "rate_per_s": 30},
        "lengths": {"prompt": 512, "output": 128},
        "num_requests": 2000,
    },
    "pools": {
        "main": {
            "step_cost": "affine:6e-3,2e-5,2e-5,2e-8",
            "engine": {"num_gpu_blocks": 100_000, "max_num_seqs": 256, "max_num_batched_tokens": 2048},
        }
    },
    "goodput": {"ttft": "60 ms", "tpot": "14 ms"},
}


def test_a_scenario_gets_the_figures_of_a_forecast() -> None:
    scenario = Scenario.from_dict(SCENARIO)
    at = analyse(scenario)
    assert at.method == METHOD
    assert 0.4 < at.figures["load"] < 0.9
    assert at.figures["capacity_rps"] == pytest.approx(30 / at.figures["load"])
    assert at.figures["goodput_rps"] == pytest.approx(30 * at.figures["attainment"])
    assert at.figures["output_throughput_tps"] == pytest.approx(30 * 128)
    assert at.figures["ttft_p50_s"] < at.figures["ttft_p90_s"] < at.figures["ttft_p99_s"]
    assert analyse(scenario, load_of(scenario.workload), at.deployment).figures == at.figures


def test_replicas_share_the_load_and_overload_is_told() -> None:
    scenario = Scenario.from_dict(SCENARIO)
    two = analyse(scenario.replace(**{"pools.main.replicas": 2}))
    assert two.figures["load"] == pytest.approx(analyse(scenario).figures["load"] / 2)
    over = analyse(scenario.replace(**{"workload.arrivals.rate_per_s": 3000}))
    assert over.figures["load"] > 1
    assert over.figures["e2e_mean_s"] == np.inf
    assert any(note.startswith("overloaded") for note in over.notes)
    near = analyse(scenario.replace(**{"workload.arrivals.rate_per_s": 0.95 * over.figures["capacity_rps"]}))
    assert any("above 90%" in note for note in near.notes)


@pytest.mark.parametrize(
    ("arrivals", "wider"),
    [
        ({"process": "gamma", "rate_per_s": 30, "burstiness": 0.25}, 1),
        ({"process": "constant", "rate_per_s": 30}, -1),
        ({"process": "mmpp", "rates_per_s": [45, 15], "sojourns_s": [5, 5]}, 1),
    ],
)
def test_bursts_spread_the_latencies(arrivals: dict[str, Any], wider: int) -> None:
    scenario = Scenario.from_dict(SCENARIO)
    calm = analyse(scenario).figures["e2e_std_s"]
    other = analyse(scenario.replace(**{"workload.arrivals": arrivals})).figures["e2e_std_s"]
    assert wider * (other - calm) > 0.1 * calm


def test_a_trace_has_the_rate_and_lengths_of_its_rows(tmp_path: Path) -> None:
    rows = [f"{0.1 * i:.1f},400,50" for i in range(200)]
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *rows]), encoding="utf-8")
    load = load_of(Workload(trace=str(path)))
    assert load.rate_per_s == pytest.approx(10.0)
    assert load.scv == pytest.approx(0.0, abs=1e-9)
    scenario = Scenario.from_dict({"workload": {"trace": str(path)}, "pools": SCENARIO["pools"]})
    assert analyse(scenario).figures["output_throughput_tps"] == pytest.approx(500.0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"workload.concurrency": 8}, "concurrency"),
        ({"workload.arrivals.rate_per_s": "inf"}, "arrivals"),
        ({"pools.main.engine.max_model_len": 300}, "no request can be served"),
    ],
)
def test_what_it_cannot_do_is_told(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}"):
        analyse(Scenario.from_dict(SCENARIO).replace(**change))
