"""The `plan` section of a scenario, and what the closed form expects of a candidate."""

from __future__ import annotations

from typing import Any

import pytest

from foretell.sim import Scenario
from foretell.sim.analytic import analyse
from foretell.sim.planning import Candidate, expect, plan_spec
from foretell.sim.planning_space import arrangements

WORKLOAD = {
    "arrivals": {"process": "poisson", "rate_per_s": 20},
    "lengths": {"prompt": 512, "output": 128},
    "num_requests": 100,
}
POOL = {"model": "llama-3.1-8b", "hardware": "h100-sxm"}


def scenario(plan: dict[str, Any], **changes: Any) -> Scenario:
    values = {
        "workload": WORKLOAD,
        "pools": {"chat": POOL},
        "objectives": {"ttft_p99": "<= 1 s"},
        "plan": plan,
    }
    return Scenario.from_dict(values | changes)


def test_a_section_is_read() -> None:
    fields = {
        "pools.chat.hardware": ["h100-sxm", "l40s"],
        "pools.chat.engine.max_num_seqs": {"low": 2, "high": 4},
    }
    spec = plan_spec(scenario({"fields": fields, "headroom": "150 %", "spare": 2, "probability": "90 %"}))
    assert spec.headroom == pytest.approx(1.5)
    assert (spec.spare, spec.probability) == (2, 0.9)
    assert list(spec.fields["pools.chat.engine.max_num_seqs"]) == [2, 3, 4]
    assert list(spec.fields["pools.chat.replicas"]) == list(range(1, 1025))
    (whole,) = arrangements(scenario({"fields": fields}), spec)
    assert whole.size == 2 * 3 * 1024


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"field": {}}, "plan.field: unknown field; did you mean fields?"),
        ({"fields": {"pools.chat.hardwar": ["l4"]}}, "did you mean hardware?"),
        ({"fields": {"pools.cat.hardware": ["l4"]}}, "'cat' is no pool; the pools are chat"),
        ({"fields": {"pools.chat": ["l4"]}}, "name a pool and its field"),
        (
            {"fields": {"pools.chat.hardware": ["h1000"]}},
            r"plan.fields.pools.chat.hardware\[0\]: unknown hardware",
        ),
        ({"fields": {"pools.chat.hardware": []}}, "neither a list of values nor a range"),
        ({"fields": {"pools.chat.hardware": ["l4", "l4"]}}, "stands there twice"),
        ({"fields": {"pools.chat.replicas": [1, 2.5]}}, r"replicas\[1\]: 2.5 is not a whole number >= 1"),
        ({"fields": {"pools.chat.replicas": {"low": 4, "high": 2}}}, "high: 2 is below low 4"),
        ({"fields": {"pools.chat.replicas": {"low": 4}}}, "high: missing"),
        ({"fields": {"pools.chat.replicas": {"low": 1, "high": 2, "log": True}}}, "log: unknown field"),
        (
            {"fields": {"pools.chat.tensor_parallel_size": ["two"]}},
            r"tensor_parallel_size\[0\]: 'two' is not",
        ),
        ({"fields": {"workload.arrivals": [1]}}, "a plan chooses pools' fields and the strategy"),
        ({"fields": {"strategy": ["singel"]}}, "did you mean single?"),
        (
            {"fields": {"pools.chat.engine": ["vllm-0.32-server"], "pools.chat.engine.max_num_seqs": [8]}},
            "part of it",
        ),
        ({"headroom": "much"}, "plan.headroom: 'much' is not a share"),
        ({"headroom": 20}, "20 times the traffic; did you mean 20 %"),
        ({"headroom": "-5 %"}, "is not a share >= 0"),
        ({"spare": 0.5}, "plan.spare: 0.5 is not a whole number >= 0"),
        ({"probability": "200 %"}, "plan.probability"),
        ({}, "plan: missing"),
    ],
)
def test_a_fault_is_told_in_one_line(plan: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        asked = scenario(plan)
        arrangements(asked, plan_spec(asked))
    assert "\n" not in str(caught.value)


def test_a_plan_needs_objectives() -> None:
    with pytest.raises(ValueError, match="objectives: missing"):
        plan_spec(scenario({"spare": 1}, objectives={}))


def test_strategies_that_come_out_alike_are_one() -> None:
    asked = scenario({"fields": {"strategy": ["single", {"name": "single"}]}})
    assert len(arrangements(asked, plan_spec(asked))) == 1


def test_headroom_and_spare_are_forecasts_of_their_own() -> None:
    base = scenario({}).replace(**{"pools.chat.replicas": 3})
    busy = analyse(base.replace(**{"workload.rate_scale": 1.5})).figures["ttft_p99_s"]
    fewer = analyse(base.replace(**{"pools.chat.replicas": 2})).figures["ttft_p99_s"]
    plain, more, lost, both = (
        expect(Candidate({}, base, *asked)) for asked in ((0.0, 0), (0.5, 0), (0.0, 1), (0.5, 1))
    )
    assert plain.rooms["ttft_p99"] == pytest.approx(1 - plain.figures["ttft_p99_s"])
    assert more.rooms["ttft_p99"] == pytest.approx(1 - busy)
    assert lost.rooms["ttft_p99"] == pytest.approx(1 - fewer)
    assert both.margin == pytest.approx(min(more.margin, lost.margin))
    assert both.figures == plain.figures


def test_a_deployment_without_replicas_left_is_not_met() -> None:
    found = expect(Candidate({}, scenario({}), 0.0, 1))
    assert not found.met
    assert found.missed[-1] == "with 1 of chat lost: no replica is left"


def test_money_has_room_but_no_part_in_the_margin() -> None:
    objectives = {"ttft_p99": "<= 1 s", "budget": "<= 3 usd/h"}
    found = expect(Candidate({}, scenario({}, objectives=objectives).replace(**{"pools.chat.replicas": 2})))
    assert not found.met
    assert found.binds == "budget"
    assert found.margin == found.rooms["ttft_p99"] > 0
