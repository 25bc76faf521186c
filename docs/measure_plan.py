"""How good the choice of a plan is, for docs/plan.md: JSON on stdout, six minutes of CPU.

    python docs/measure_plan.py [--first 1]

Every candidate of small spaces is simulated, and the cheapest that holds compared with what the planner
chooses. `by hand`: spaces in which different things bind. `drawn`: at random, runs of 50 to 130 s. `short`:
the same with half the requests. The spaces are those of the tests (tests/sim/planned.py).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "sim"))

from foretell.sim import Scenario
from foretell.sim.planning_verify import plan
from planned import candidates, cheapest, drawn, replicas_off, simulated, spaces


def judged(asked: Scenario) -> dict[str, Any]:
    """Whether a space has a solution, and how many replicas the plan's choice is dearer than the cheapest."""
    truth = cheapest(simulated(asked))
    off = replicas_off(plan(asked), truth)
    return {
        "candidates": len(list(candidates(asked))),
        "solved": truth is not None,
        "dearer": off if math.isfinite(off) else None,
    }


def measured(first: int | None = None) -> dict[str, Any]:
    """All spaces, or so many of each kind."""
    kinds: Mapping[str, Mapping[str, Scenario]] = {
        "by hand": spaces(),
        "drawn": {str(seed): drawn(seed) for seed in range(14)},
        "short": {str(seed): drawn(seed, 200) for seed in range(5)},
    }
    found = {
        kind: {name: judged(asked) for name, asked in list(of.items())[:first]} for kind, of in kinds.items()
    }
    return {
        kind: {
            "spaces": len(of),
            "right": sum(one["dearer"] is not None and abs(one["dearer"]) < 1e-6 for one in of.values()),
            "without_solution": sum(not one["solved"] for one in of.values()),
            "most_candidates": max(one["candidates"] for one in of.values()),
            "least_candidates": min(one["candidates"] for one in of.values()),
            "dearest": max((one["dearer"] for one in of.values() if one["dearer"] is not None), default=None),
            "each": of,
        }
        for kind, of in found.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How good the choice of a plan is, as JSON.")
    parser.add_argument("--first", type=int, help="so many spaces of each kind")
    print(json.dumps(measured(parser.parse_args().first), indent=1))
