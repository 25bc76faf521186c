"""The scripts of docs/ that measure closed forms against simulation, run small."""

from __future__ import annotations

import math

import pytest

from places import docs_script
from planned import chat


@pytest.mark.parametrize(("choices", "count"), [(1, 5), (2, 10), (math.inf, 10)])
def test_fleets_of_servers_are_as_theory_says(choices: float, count: int) -> None:
    """One choice is M/M/1, which is exact; of the others the fleet is nearer than the limit."""
    found = docs_script("measure_mean_field").servers(choices, 0.5, count, 400)
    assert 0 < found["near"] < 0.05 * found["mean"]
    if choices == 1:
        assert found["mean"] == pytest.approx(1.0, abs=2 * found["near"])
    assert abs(found["fleet"]) < 0.03 + 2 * found["near"] / found["mean"]
    assert abs(found["fleet"]) <= abs(found["limit"]) + 0.01


@pytest.mark.parametrize("case", ["seats", "shared", "chat"])
def test_fleets_of_engines(case: str) -> None:
    found = docs_script("measure_mean_field").engines(case, 0.5, "power_of_two", 4, 3000)
    assert (found["case"], found["replicas"]) == (case, 4)
    assert abs(found["tpot_mean"]["off"]) < 0.1 and abs(found["e2e_mean"]["off"]) < 0.15
    assert all(0 < found[name]["near"] < 1 for name in ("ttft_mean", "ttft_p99", "e2e_mean", "e2e_p99"))


def test_a_forecast_of_a_large_fleet_costs_no_more_than_one_of_a_small_fleet() -> None:
    """Ten thousand times as many replicas; in CPU time, with room for a busy machine."""
    spent = docs_script("measure_mean_field").spent()
    assert 0 < spent["100000"] < 20 * spent["10"]


def test_programs_pools_and_loops() -> None:
    measure = docs_script("measure_closed_forms")
    program = measure.programs("vote of 4", 0.3, 40)
    assert abs(program["mean_batch"]["off"]) < 0.5
    assert abs(program["e2e_mean_s"]["off"] - program["e2e_mean_s"]["compare"]) < 0.5
    pools = measure.apart("1 + 1", 0.3, 200)
    assert abs(pools["tpot_mean_s"]["off"]) < 0.3 and pools["power_W"]["near"] > 0
    loop = measure.loop("equal", 8, 300)
    assert abs(loop["tpot_mean_s"]["off"]) < 0.03 and loop["tpot_mean_s"]["near"] == pytest.approx(
        0, abs=1e-9
    )


def test_a_choice_is_judged() -> None:
    measure = docs_script("measure_plan")
    fields = {"hardware": ["h100-sxm", "l40s"], "replicas": {"low": 1, "high": 2}}
    asked = chat(fields, {"tpot_p99": "<= 40 ms"}, rate=8, requests=40).replace(replications=2)
    assert measure.judged(asked) == {"candidates": 4, "solved": True, "dearer": 0.0}
    too_fast = asked.replace(objectives={"tpot_p99": "<= 0.1 ms"})
    assert measure.judged(too_fast) == {"candidates": 4, "solved": False, "dearer": 0.0}
