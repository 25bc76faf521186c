"""Scenarios by the queueing models; tests/validate/test_theory.py has them against the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretell.models import AffineCost
from foretell.models.queueing import Lengths, continuous_batching, saturated
from foretell.sim import EngineConfig, Scenario, Workload, simulate
from foretell.sim.analytic import METHOD, analyse, limits_of_engine
from foretell.sim.analytic_load import load_of
from foretell.sim.metrics import tpot_s, ttft_s
from foretell.traces import Trace, trace_from_spec

COST = AffineCost(6e-3, 2e-5, 2e-5, 2e-8, 1e-10)
CONFIG = EngineConfig(num_gpu_blocks=200_000)
LAW = Lengths(np.full(64, 512.0), np.full(64, 128.0))


def fixed_lengths(rate_per_s: float, requests: int, seed: int) -> Trace:
    spec = {
        "arrivals": {"process": "poisson", "rate_per_s": rate_per_s},
        "lengths": {"prompt": 512, "output": 128},
        "num_requests": requests,
    }
    return trace_from_spec(spec, seed)


def test_engines_asked_in_turn_see_smoother_arrivals() -> None:
    """Round robin over four: an engine's gaps have a quarter of the variability, and prompts collide less."""
    limits = limits_of_engine(CONFIG)
    rate = 0.6 * saturated(COST, LAW, limits).rate_per_s
    run = simulate(fixed_lengths(4 * rate, 12_000, 3), COST, CONFIG, replicas=4)
    middle = slice(2000, 11_000)
    at = continuous_batching(COST, LAW, limits, rate, arrival_scv=1 / 4)
    assert at.ttft_s.mean() == pytest.approx(ttft_s(run)[middle].mean(), rel=0.1)
    assert at.tpot_s.mean() == pytest.approx(tpot_s(run)[middle].mean(), rel=0.03)
    assert np.percentile(at.ttft_s, 99) == pytest.approx(np.percentile(ttft_s(run)[middle], 99), rel=0.25)
    alone = continuous_batching(COST, LAW, limits, rate)
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
