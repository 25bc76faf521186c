"""Errors of closed forms against simulation, for docs/queueing.md: JSON on stdout, four minutes of CPU.

    python docs/measure_closed_forms.py [--share 0.1]

`programs`: strategies with a task, also by compare's closed form. `apart`: prefill and decode on pools of
their own. `loops`: so many in flight. An error is `off`, as a share of what was simulated in the mean of
several runs; `near` is twice the standard error of that mean, as a share of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foretell.sim import Scenario, forecast
from foretell.sim.analytic import analyse
from foretell.sim.estimate_cell import estimate_scenario

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "disaggregated.yaml"
LOADS = (0.3, 0.6, 0.8)
RUNS = 3
STRATEGIES: Mapping[str, dict[str, Any]] = {
    "single": {"name": "single"},
    "vote of 4": {"name": "self_consistency", "n": 4},
    "first of 4": {"name": "first_finish", "n": 4},
}
OF_PROGRAMS = ("ttft_mean_s", "e2e_mean_s", "e2e_p50_s", "e2e_p99_s", "mean_batch", "energy_per_query_J")
OF_POOLS = (
    *("ttft_mean_s", "ttft_p99_s", "tpot_mean_s", "tpot_p99_s", "e2e_mean_s", "e2e_p99_s"),
    *("kv_transfer_mean_s", "kv_transfer_p99_s", "prefill_utilisation", "decode_utilisation", "power_W"),
)
OF_LOOPS = ("ttft_mean_s", "tpot_mean_s", "e2e_mean_s", "output_throughput_tps")
FLEETS: Mapping[str, dict[str, Any]] = {
    "4 + 2, least outstanding": {},
    "4 + 2, in turn": {"pools.prefill.router": "round_robin", "pools.decode.router": "round_robin"},
    "1 + 1": {"pools.prefill.replicas": 1, "pools.decode.replicas": 1},
}


def simulated(scenario: Scenario, figures: Sequence[str], runs: int = RUNS) -> dict[str, tuple[float, float]]:
    """Mean of some runs that differ in their seed, and twice its standard error, by figure."""
    found = [forecast(scenario.replace(seed=seed, replications=1)).summary for seed in range(runs)]
    values = {name: [run[name].value for run in found] for name in figures}
    return {
        name: (float(np.mean(of)), 2 * float(np.std(of, ddof=1)) / runs**0.5) for name, of in values.items()
    }


def errors(
    truth: Mapping[str, tuple[float, float]], told: Mapping[str, float], **more: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """How far a forecast is off, by figure; other forecasts by their names."""
    return {
        name: {
            "off": told[name] / mean - 1,
            "near": near / mean,
            **{other: figures[name] / mean - 1 for other, figures in more.items()},
        }
        for name, (mean, near) in truth.items()
    }


def programs(strategy: str, load: float, queries: int) -> dict[str, Any]:
    """Queries of math-500 to Qwen3-1.7B on an L40S, by the queueing models and by compare's closed form."""
    scenario = Scenario.from_dict(
        {
            "workload": {
                "task": "math-500",
                "arrivals": {"process": "poisson", "rate_per_s": 0.01},
                "num_requests": queries,
            },
            "pools": {"solver": {"model": "qwen3-1.7b", "hardware": "l40s"}},
            "strategy": STRATEGIES[strategy],
        }
    )
    rate = load * analyse(scenario).figures["capacity_rps"]
    scenario = scenario.replace(**{"workload.arrivals.rate_per_s": rate})
    compared = {name: one.value for name, one in estimate_scenario(scenario)[0].items()}
    truth = simulated(scenario, OF_PROGRAMS)
    found = errors(truth, analyse(scenario).figures, compare=compared)
    return {"strategy": strategy, "load": load, **found}


def apart(fleet: str, load: float, requests: int) -> dict[str, Any]:
    """examples/disaggregated.yaml, the first fifth of a run left out."""
    scenario = Scenario.load(EXAMPLE).replace(**FLEETS[fleet])
    rate = load * analyse(scenario).figures["capacity_rps"]
    scenario = scenario.replace(
        **{
            "workload.arrivals.rate_per_s": rate,
            "workload.num_requests": requests,
            "workload.warmup_s": 0.2 * requests / rate,
        }
    )
    truth = simulated(scenario, OF_POOLS)
    return {"engines": fleet, "load": load, **errors(truth, analyse(scenario).figures)}


def loop(lengths: str, concurrency: int, requests: int) -> dict[str, Any]:
    """Llama-3.1-8B on an H100 with so many in flight, from 10 s after they all came at once."""
    spread = (
        {"lognormal": {"mean": 800, "sigma": 0.6}},
        {"lognormal": {"mean": 150, "sigma": 0.6, "minimum": 2}},
    )
    prompt, output = spread if lengths == "varied" else (800, 150)
    scenario = Scenario.from_dict(
        {
            "workload": {
                "concurrency": concurrency,
                "lengths": {"prompt": prompt, "output": output},
                "num_requests": requests,
                "warmup_s": 10.0,
            },
            "pools": {"main": {"model": "llama-3.1-8b", "hardware": "h100-sxm"}},
        }
    )
    truth = simulated(scenario, OF_LOOPS)
    return {"lengths": lengths, "in_flight": concurrency, **errors(truth, analyse(scenario).figures)}


def measured(share: float = 1.0) -> dict[str, Any]:
    """All of it, or with that share of the queries and requests."""
    return {
        "programs": [programs(one, load, int(share * 2000)) for one in STRATEGIES for load in LOADS],
        "apart": [apart(fleet, load, int(share * 3000)) for fleet in FLEETS for load in (0.2, 0.5, 0.8)],
        "loops": [
            loop(lengths, n, int(share * 60 * (n + 20)))
            for lengths in ("varied", "equal")
            for n in (1, 8, 32, 128)
        ],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Errors of closed forms against simulation, as JSON.")
    parser.add_argument("--share", type=float, default=1.0, help="of the queries and requests")
    print(json.dumps(measured(parser.parse_args().share), indent=1))
