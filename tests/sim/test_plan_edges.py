"""Plans at the edges of what is known: objectives without a closed form, samples, groups, what is refused."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from foretell.sim import Scenario, forecast
from foretell.sim.cli.plan_tables import layout, show_plan
from foretell.sim.objectives import objectives_from_mapping
from foretell.sim.planning import Candidate, conditions, judged
from foretell.sim.planning_headroom import MOST, headroom_of
from foretell.sim.planning_nearest import nearest_of
from foretell.sim.planning_spec import plan_spec
from foretell.sim.planning_trials import Trials
from foretell.sim.planning_verify import Plan, plan
from foretell.sim.planning_walk import counts_of, settle, with_replicas
from planned import chat

HARDWARE = {"hardware": ["h100-sxm", "l40s"]}


def small(objectives: dict[str, str], fields: dict[str, Any] = HARDWARE, **changes: Any) -> Scenario:
    asked = chat(fields, objectives, rate=20, requests=60).replace(replications=2)
    return asked.replace(**changes)


def shown(found: Plan) -> str:
    text = io.StringIO()
    show_plan(found, Console(file=text, width=300))
    return text.getvalue()


def test_an_objective_without_a_closed_form_is_left_to_the_simulation() -> None:
    found = plan(small({"itl_p99": "<= 60 ms"}), finalists=2)
    best = found.best
    assert best is not None
    assert found.simulated < 40
    assert "itl_p99: has no closed form; only the finalists' simulations judge it" in found.notes
    count = counts_of(best.candidate)["chat"]
    if count > 1:
        fewer = best.candidate.scenario.replace(**{"pools.chat.replicas": count - 1})
        assert not Trials(0.5)(fewer).met


def test_it_comes_back_where_no_replicas_help() -> None:
    found = plan(small({"itl_p99": "<= 1 ms", "preemptions": "<= 0"}), finalists=2)
    assert not found.met
    assert found.simulated < 60


def test_a_figure_that_is_missing_for_this_scenario_alone_is_missed() -> None:
    objectives = objectives_from_mapping({"ttft_p99": "<= 1 s", "itl_p99": "<= 1 s", "budget": "<= 9 usd/h"})
    missed, rooms = judged(objectives, {"load": 0.5, "ttft_p99_s": math.nan})
    assert [fault.partition(" ")[0] for fault in missed] == ["ttft_p99", "budget"]
    assert set(rooms) == {"ttft_p99", "budget"}
    assert judged(objectives[1:2], {"load": 0.5}) == ([], {})


def test_a_walk_from_far_above_takes_few_simulations() -> None:
    found = plan(small({"tpot_p99": "<= 40 ms"}), finalists=1)
    best = found.best
    assert best is not None
    trials = Trials(0.5)
    far = with_replicas(best.candidate, "chat", 80)
    settled = settle(far, found.spec, trials)
    assert counts_of(settled.checked.candidate) == counts_of(best.candidate)
    assert trials.count < 30


def test_a_sample_says_so() -> None:
    found = plan(small({"tpot_p99": "<= 40 ms"}), finalists=1)
    assert "Optuna" not in shown(found)
    some = replace(found, shortlist=replace(found.shortlist, sampled=500))
    assert "Too many layouts to go through: 500 were drawn (Optuna); cheaper ones may exist" in shown(some)
    assert some.to_dict()["search"]["sampled"] == 500
    assert "one replication" not in " ".join(found.notes)


def test_the_nearest_of_a_space_too_large_to_lay_out() -> None:
    fields = {
        "engine.block_size": {"low": 1, "high": 300},
        "engine.long_prefill_token_threshold": {"low": 1, "high": 300},
        "replicas": [1, 2],
    }
    asked = small({"tpot_p99": "<= 1 ms"}, fields)
    near, made = nearest_of(asked, plan_spec(asked), 2)
    assert len(near) == 2
    assert made <= 130


def test_one_replication_knows_no_chance() -> None:
    found = plan(small({"tpot_p99": "<= 40 ms"}, replications=1), finalists=1)
    assert "one replication: no chance is known, so 50 % was not asked for; give more" in found.notes


def test_certainty_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^plan.probability: 100 % is never reached"):
        plan(small({"tpot_p99": "<= 40 ms"}, plan={"probability": 1}))


def test_groups_are_told_by_their_accelerators() -> None:
    groups = [{"count": 1, "tensor_parallel_size": 2}, {"count": 2, "hardware": "l40s"}]
    asked = small({"tpot_p99": "<= 40 ms"}, {})
    scenario = asked.replace(**{"pools.chat.replicas": groups})
    assert layout(Candidate({}, scenario)) == "2 × h100-sxm + 2 × l40s"


def test_much_headroom_is_told_in_figures() -> None:
    asked = small({"tpot_p99": "<= 40 ms"})
    told = [when for when, _ in conditions(Candidate({}, asked, headroom=10.0))]
    assert told == ["", "at +1000 % traffic"]


def test_where_nothing_is_missed_up_to_the_end_the_end_is_simulated() -> None:
    asked = small({"e2e_p99": "<= 100 s"}).replace(
        **{"pools.chat.replicas": 4, "workload.arrivals.rate_per_s": 2.0}
    )
    trials = Trials(0.0)
    found = headroom_of(asked, trials(asked), trials)
    assert found.extra == MOST
    assert math.isnan(found.missed_at)
    assert trials.count == 2
    assert forecast(asked.replace(**{"workload.rate_scale": 1 + MOST}), processes=1).met


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"hardware": {"low": 1, "high": 3}}, "plan.fields.pools.chat.hardware.low: "),
        ({"tensor_parallel_size": {"low": 1, "high": 10**20}}, "tensor_parallel_size.high: "),
        (
            {"replicas": {"low": 1, "high": 10**12}},
            "more than 16,384 replicas; past that see docs/mean_field.md",
        ),
        ({"replicas": [1_000_000]}, r"replicas\[0\]: 1000000 is more than 16,384 replicas"),
    ],
)
def test_ranges_are_checked_as_lists_are(plan: dict[str, Any], message: str) -> None:
    asked = small({"tpot_p99": "<= 40 ms"}, plan)
    with pytest.raises(ValueError, match=message) as caught:
        plan_spec(asked)
    assert "\n" not in str(caught.value)


def test_replicas_in_groups_are_not_chosen() -> None:
    asked = small({"tpot_p99": "<= 40 ms"}, {"replicas": [1, 2]})
    with pytest.raises(ValueError, match=r"^plan.fields.pools.chat.replicas: the pool's replicas are groups"):
        plan_spec(asked.replace(**{"pools.chat.replicas": [{"count": 1}]}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"objectives": {"accuracy": ">= 80 %"}},
            "objectives.accuracy: only queries of a task have it; give workload.task, or drop it",
        ),
        (
            {
                "objectives": {"budget": "<= 9 usd/h"},
                "pools": {"chat": {"step_cost": "affine:0.012,2e-5,3e-4,1e-7,0"}},
                "plan": {"spare": 0},
            },
            "objectives.budget: no hardware of pools.chat has a price; give pools.chat.price_usd_per_h",
        ),
    ],
)
def test_what_can_never_be_is_refused(changes: dict[str, Any], message: str) -> None:
    asked = small({"tpot_p99": "<= 40 ms"}).replace(**changes)
    with pytest.raises(ValueError, match=message):
        plan_spec(asked)


def test_a_price_of_some_hardware_will_do() -> None:
    fields = {"price_usd_per_h": [None, 2.0]}
    own = {"pools": {"chat": {"step_cost": "affine:0.012,2e-5,3e-4,1e-7,0"}}}
    assert plan_spec(small({"budget": "<= 9 usd/h"}, fields, **own)).fields
    assert plan_spec(small({"cost_per_query": "<= 1 usd"})).fields
