"""Plans: simulation moves the replicas to the least that hold; what else is said of a finalist."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from foretell.sim import Scenario, forecast
from foretell.sim.planning import Candidate, busier
from foretell.sim.planning_binds import binding
from foretell.sim.planning_headroom import headroom_of
from foretell.sim.planning_rent import rent
from foretell.sim.planning_spec import PlanSpec, plan_spec
from foretell.sim.planning_trials import HOPELESS_LOAD, Trials
from foretell.sim.planning_verify import Plan, plan
from foretell.sim.planning_walk import checked, counts_of, settle, with_replicas
from planned import chat

OWN: dict[str, Any] = {
    "workload": {
        "arrivals": {"process": "poisson", "rate_per_s": 40},
        "lengths": {"prompt": 300, "output": 60},
        "num_requests": 400,
    },
    "pools": {
        "main": {
            "step_cost": "affine:0.012,2e-5,3e-4,1e-7,0",
            "price_usd_per_h": 2.0,
            "engine": {"num_gpu_blocks": 2000, "max_num_seqs": 16},
        }
    },
    "objectives": {"e2e_p99": "<= 1.5 s", "ttft_p90": "<= 200 ms"},
    "seed": 3,
    "replications": 2,
}
REPLICAS = "pools.main.replicas"


def own(**changes: Any) -> Scenario:
    return Scenario.from_dict(OWN).replace(**changes)


def candidate(count: int, scenario: Scenario | None = None, **held: Any) -> Candidate:
    made = with_replicas(Candidate({}, own() if scenario is None else scenario), "main", count)
    return replace(made, **held)


def spec(low: int = 1, high: int = 12) -> PlanSpec:
    return PlanSpec({REPLICAS: range(low, high + 1)})


@cache
def least(high: int = 8) -> int:
    """The least replicas that hold, by simulating them all."""
    held = [forecast(own(**{REPLICAS: n}), processes=1).met for n in range(1, high + 1)]
    assert held == sorted(held), "more replicas should not hurt here"
    return held.index(True) + 1


@pytest.mark.parametrize("start", [1, 3, 9])
def test_wherever_it_starts_the_walk_ends_at_the_least_that_hold(start: int) -> None:
    settled = settle(candidate(start), spec(), Trials(0.0))
    assert settled.checked.met
    assert counts_of(settled.checked.candidate) == {"main": least()}
    assert settled.moved == least() - start
    assert settled.checked.candidate.changes == {REPLICAS: least()}


def test_the_walk_takes_the_counts_that_the_plan_allows() -> None:
    allowed = PlanSpec({REPLICAS: [1, 2, 6, 11]})
    up, down = (settle(candidate(n), allowed, Trials(0.0)).checked for n in (1, 11))
    assert counts_of(up.candidate) == counts_of(down.candidate) == {"main": 6}
    fixed = settle(candidate(9), PlanSpec({}), Trials(0.0))
    assert (counts_of(fixed.checked.candidate), fixed.moved) == ({"main": 9}, 0)


def test_up_it_ends_where_no_more_are_allowed_or_all_are_too_dear() -> None:
    few = settle(candidate(1), spec(high=2), Trials(0.0)).checked
    assert not few.met
    assert counts_of(few.candidate) == {"main": 2}
    assert few.missed
    dear = settle(candidate(1), spec(), Trials(0.0), ceiling=(6.0, 3)).checked
    assert not dear.met
    assert dear.usd_per_h < 6.0


def test_what_must_be_held_out_is_simulated_and_takes_more_replicas() -> None:
    plain = settle(candidate(4), spec(), Trials(0.0)).checked
    held = settle(candidate(4, headroom=0.5, spare=1), spec(), Trials(0.0)).checked
    assert list(held.trials) == ["", "at +50 % traffic", "with 1 of main lost"]
    busy = [forecast(busier(own(), 1.5).replace(**{REPLICAS: n}), processes=1).met for n in range(1, 9)]
    wanted = max(busy.index(True) + 1, least() + 1)
    assert counts_of(held.candidate)["main"] == wanted > counts_of(plain.candidate)["main"]


def test_each_scenario_is_simulated_once() -> None:
    told: list[str] = []
    trials = Trials(0.0, told=told.append)
    one = checked(candidate(5), trials)
    again = checked(candidate(5), trials)
    assert one == again
    assert (trials.count, told) == (1, ["5 × main"])


def test_a_budget_and_an_overload_need_no_simulation() -> None:
    trials = Trials(0.0)
    dear = trials(own(objectives={"budget": "<= 9 usd/h"}, **{REPLICAS: 5}))
    assert (dear.met, dear.missed, dear.runs) == (False, ("budget <= 9.00 USD/h: 10.0 USD/h",), 0)
    over = trials(own(**{"workload.arrivals.rate_per_s": 500.0}))
    assert not over.met
    assert over.missed[0].startswith("overloaded: ")
    assert over.use["load"] > HOPELESS_LOAD
    assert trials.count == 0


def test_one_run_is_enough_to_see_that_a_limit_is_far_off() -> None:
    trials = Trials(0.0)
    far = trials(own(replications=4, objectives={"e2e_p99": "<= 0.2 s"}, **{REPLICAS: 8}))
    near = trials(own(replications=4, **{REPLICAS: least()}))
    assert (far.met, far.runs) == (False, 1)
    assert (near.met, near.runs) == (True, 4)


def test_it_must_be_as_sure_as_the_plan_asks() -> None:
    scenario = chat({}, {"tpot_p99": "<= 9 ms"}, rate=5, requests=60).replace(replications=4)
    found = forecast(scenario, processes=1)
    [verdict] = found.verdicts
    tight = scenario.replace(objectives={"tpot_p99": f"<= {verdict.value * 1.02 * 1e3} ms"})
    [verdict] = forecast(tight, processes=1).verdicts
    assert verdict.met
    assert 0.4 < verdict.probability < 0.95, "the interval should straddle the limit"
    assert Trials(verdict.probability - 0.05)(tight).met
    unsure = Trials(verdict.probability + 0.04)(tight)
    assert not unsure.met
    assert "with a chance of only" in unsure.missed[0]


def test_rent() -> None:
    pools = {
        "a": {"model": "llama-3.1-8b", "hardware": "h100-sxm", "tensor_parallel_size": 2, "replicas": 3},
    }
    assert rent(own(pools=pools)) == pytest.approx(3 * 2 * 2.69)
    pools["a"]["replicas"] = [{"count": 2}, {"count": 1, "hardware": "l40s", "tensor_parallel_size": 1}]
    assert rent(own(pools=pools)) == pytest.approx(2 * 2 * 2.69 + 0.79)
    assert rent(own(**{"pools.main.price_usd_per_h": None})) == float("inf")


@pytest.fixture(scope="module")
def small() -> Plan:
    """Two kinds of GPU that both do, in numbers of their own."""
    fields = {"hardware": ["h100-sxm", "l40s"], "replicas": {"low": 1, "high": 8}}
    asked = chat(fields, {"tpot_p99": "<= 40 ms", "ttft_p99": "<= 1 s"}, rate=25, requests=300)
    return plan(asked)


def test_the_best_is_the_cheapest_and_the_rest_is_told(small: Plan) -> None:
    best = small.best
    assert best is not None
    assert small.met
    assert small.nearest is None
    assert [f.usd_per_h for f in small.finalists] == sorted(f.usd_per_h for f in small.finalists)
    assert {f.candidate.changes["pools.chat.hardware"] for f in small.finalists} | {
        e.candidate.changes["pools.chat.hardware"] for e in small.others
    } == {"h100-sxm", "l40s"}
    count = counts_of(best.candidate)["chat"]
    assert count > 1
    fewer = best.candidate.scenario.replace(**{"pools.chat.replicas": count - 1})
    assert forecast(best.candidate.scenario, processes=1).met
    assert not forecast(fewer, processes=1).met
    [command] = best.commands
    assert command.replicas == count
    assert command.hardware == best.candidate.changes["pools.chat.hardware"]


def test_the_loss_of_a_replica_is_a_forecast_without_it(small: Plan) -> None:
    best = small.best
    assert best is not None
    assert best.loss is not None
    [(when, left)] = best.loss.items()
    assert when == "with 1 of chat lost"
    count = counts_of(best.candidate)["chat"]
    found = forecast(best.candidate.scenario.replace(**{"pools.chat.replicas": count - 1}), processes=1)
    assert left is not None
    assert left.met is found.met is False
    assert left.summary["tpot_p99_s"].value == found.summary["tpot_p99_s"].value


def test_the_headroom_is_confirmed_by_simulation(small: Plan) -> None:
    best = small.best
    assert best is not None
    assert best.headroom is not None
    scenario, extra = best.candidate.scenario, best.headroom.extra
    assert extra > 0
    assert best.headroom.guided
    assert forecast(busier(scenario, 1 + extra), processes=1).met
    if best.headroom.missed_at == best.headroom.missed_at:
        assert not forecast(busier(scenario, 1 + best.headroom.missed_at), processes=1).met


def test_headroom_without_a_curve_takes_fixed_steps() -> None:
    scenario = own(**{REPLICAS: least() + 2}, objectives={"itl_p99": "<= 100 ms"})
    trials = Trials(0.0)
    found = headroom_of(scenario, trials(scenario), trials)
    assert not found.guided
    assert found.extra in (0.25, 0.35)


def test_what_binds() -> None:
    held = checked(candidate(5, own(**{"pools.main.engine.num_gpu_blocks": 170})), Trials(0.0))
    assert binding(held.trials).limit == "kv_cache"
    roomy = binding(checked(candidate(5), Trials(0.0)).trials)
    assert roomy.limit == ""
    assert roomy.objective in ("e2e_p99", "ttft_p90", "load")
    batch = own(**{"pools.main.engine.max_num_seqs": 6})
    assert binding(checked(candidate(7, batch), Trials(0.0)).trials).limit == "max_num_seqs"


def test_where_nothing_meets_the_nearest_is_told() -> None:
    fields = {"hardware": ["h100-sxm", "l40s"], "replicas": {"low": 1, "high": 2}}
    found = plan(chat(fields, {"tpot_p99": "<= 9 ms"}, rate=45, requests=300))
    assert not found.met
    assert found.best is None
    assert found.nearest is not None
    assert found.nearest.candidate.changes["pools.chat.hardware"] == "h100-sxm"
    assert found.nearest.checked.missed[0].startswith("tpot_p99 <= 9.00 ms: ")
    assert found.runners_up == ()
    assert found.cheaper is None


@pytest.mark.slow
def test_two_pools_are_settled_one_by_one() -> None:
    affine = {"step_cost": "affine:0.01,2e-5,3e-4,1e-7,0", "price_usd_per_h": 2.0}
    scenario = Scenario.from_dict(
        OWN
        | {
            "pools": {"prefill": affine, "decode": affine},
            "strategy": {"name": "disaggregated", "kv_transfer": {"bytes_per_token": 0}},
            "objectives": {"ttft_p90": "<= 60 ms", "tpot_p99": "<= 14 ms"},
        }
    )
    paths = ["pools.prefill.replicas", "pools.decode.replicas"]
    asked = PlanSpec(dict.fromkeys(paths, range(1, 7)))

    def holds(prefill: int, decode: int) -> bool:
        return forecast(scenario.replace(**dict(zip(paths, (prefill, decode), strict=True))), processes=1).met

    for start in (1, 6):
        begun = Candidate({}, scenario)
        for name in ("prefill", "decode"):
            begun = with_replicas(begun, name, start)
        settled = settle(begun, asked, Trials(0.0))
        assert settled.checked.met
        counts = counts_of(settled.checked.candidate)
        prefill, decode = counts["prefill"], counts["decode"]
        assert holds(prefill, decode)
        assert prefill == 1 or not holds(prefill - 1, decode)
        assert decode == 1 or not holds(prefill, decode - 1)


def test_a_plan_needs_a_section_and_objectives() -> None:
    with pytest.raises(ValueError, match=r"^plan: missing; "):
        plan(own())
    with pytest.raises(ValueError, match=r"^objectives: missing; "):
        plan_spec(own(objectives={}, plan={"fields": {REPLICAS: [1, 2]}}))
