"""Print as JSON how far the closed form of docs/compare.md is from simulation.

    python docs/measure_compare.py

Takes minutes; `python docs/figures.py --run compare` records it and brings the page up to date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from foretell.sim import Scenario, forecast
from foretell.sim.estimate_cell import estimate_scenario

WEAK = {"model": "qwen3-1.7b", "hardware": "l40s", "operator_times": "curves"}
STRONG = {"model": "qwen3-14b", "hardware": "h100-sxm", "operator_times": "curves"}
ONE, TWO = {"solver": WEAK}, {"weak": WEAK, "strong": STRONG}
VOTE, FIRST = {"name": "self_consistency", "n": 4}, {"name": "first_finish", "n": 4}
CASCADE = {"name": "confidence_cascade", "weak": "weak", "strong": "strong"}
JUDGED = {"name": "best_of_n", "n": 4, "solver": "weak", "verifier": {"pool": "strong", "auc": 0.8}}
CASES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any], float, int]] = {
    "single, low": ({"name": "single"}, ONE, 0.05, 4000),
    "single, middle": ({"name": "single"}, ONE, 0.1, 4000),
    "single, high": ({"name": "single"}, ONE, 0.12, 4000),
    "vote of 4, low": (VOTE, ONE, 0.015, 2500),
    "vote of 4, high": (VOTE, ONE, 0.025, 2500),
    "first of 4": (FIRST, ONE, 0.03, 2500),
    "cascade by confidence, two pools": (CASCADE, TWO, 0.1, 2500),
    "best of 4, judge on a pool of its own": (JUDGED, TWO, 0.025, 2500),
}
"""Strategy, pools, queries a second and queries of a run."""
FIGURES = ("tokens_per_query", "e2e_mean_s", "e2e_p50_s", "e2e_p99_s", "energy_per_query_J")
WARMUP_S = 1500.0


def scenario(strategy: Mapping[str, Any], pools: Mapping[str, Any], rate: float, queries: int) -> Scenario:
    """MATH-500 at a rate."""
    arrivals = {"process": "poisson", "rate_per_s": rate}
    workload = {"task": "math-500", "arrivals": arrivals, "num_requests": queries, "warmup_s": WARMUP_S}
    asked = {"workload": workload, "pools": pools, "strategy": strategy, "replications": 1, "seed": 3}
    return Scenario.from_dict(asked)


def compared(asked: Scenario) -> dict[str, float]:
    """The load, and the closed form over the simulation less one, by figure."""
    closed, simulated = estimate_scenario(asked)[0], forecast(asked).summary
    off = {name: closed[name].value / simulated[name].value - 1 for name in FIGURES}
    return {"load": closed["load"].value} | off


def main() -> int:
    """Simulate and print."""
    found = {}
    for name, (strategy, pools, rate, queries) in CASES.items():
        row = compared(scenario(strategy, pools, rate, queries))
        found[name] = {"rate_per_s": rate, "queries": queries} | row
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
