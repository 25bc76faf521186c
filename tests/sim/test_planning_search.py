"""The search of a plan against every candidate of small spaces, and its bounds against the closed form."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest

from foretell.sim import Scenario
from foretell.sim.planning import Expected, expect, plan_spec
from foretell.sim.planning_bounds import bounds_of
from foretell.sim.planning_demand import demand_of
from foretell.sim.planning_known import Known
from foretell.sim.planning_nearest import nearest_of
from foretell.sim.planning_sampled import sampled
from foretell.sim.planning_search import search
from foretell.sim.planning_space import arrangements

LENGTHS = {
    "prompt": {"lognormal": {"mean": 600, "sigma": 1.0}},
    "output": {"lognormal": {"mean": 100, "sigma": 0.7}},
}
WORKLOAD = {"arrivals": {"process": "poisson", "rate_per_s": 30}, "lengths": LENGTHS, "num_requests": 100}
POOL = {"model": "llama-3.1-8b", "hardware": "h100-sxm"}
CHAT = {
    "pools.chat.hardware": ["h100-sxm", "l40s"],
    "pools.chat.tensor_parallel_size": [1, 2],
    "pools.chat.engine.max_num_seqs": [16, 128],
    "pools.chat.replicas": {"low": 1, "high": 8},
}


def every(scenario: Scenario, wanted: int = 8) -> list[Expected]:
    """The shortlist by a forecast of every candidate."""
    spec, known = plan_spec(scenario), Known()
    best: dict[Any, tuple[Any, Expected]] = {}
    for arrangement in arrangements(scenario, spec):
        places: list[tuple[tuple[int, int], ...]] = [()]
        for space in arrangement.pools:
            places = [(*p, (n, r)) for p in places for n in range(space.layouts) for r in space.replicas]
        for place in places:
            layouts, counts = zip(*place, strict=True)
            try:
                found = expect(arrangement.candidate(scenario, spec, layouts, counts), known)
            except ValueError:
                continue
            key = (*found.rent, -found.margin)
            kind = arrangement.kind(layouts)
            if found.met and (kind not in best or key < best[kind][0]):
                best[kind] = (key, found)
    return [found for _, found in sorted(best.values(), key=lambda each: each[0])][:wanted]


def same(one: Expected, other: Expected) -> None:
    assert one.candidate.changes == other.candidate.changes
    assert one.rent == pytest.approx(other.rent)
    assert one.figures == pytest.approx(other.figures, nan_ok=True)


@pytest.mark.parametrize(
    ("objectives", "plan"),
    [
        ({"ttft_p99": "<= 300 ms", "tpot_p99": "<= 30 ms"}, {"headroom": "20 %", "spare": 1}),
        ({"e2e_p90": "<= 3 s", "budget": "<= 12 usd/h"}, {"headroom": "50 %"}),
        ({"attainment": ">= 95 %"}, {"spare": 2}),
        ({"tpot_mean": "<= 12 ms", "power": "<= 3 kW"}, {}),
    ],
)
def test_the_search_finds_what_forecasts_of_all_find(
    objectives: dict[str, str], plan: dict[str, Any]
) -> None:
    values = {
        "workload": WORKLOAD,
        "pools": {"chat": POOL},
        "objectives": objectives,
        "goodput": {"ttft": "200 ms", "tpot": "25 ms"} if "attainment" in objectives else {},
        "plan": {"fields": CHAT, **plan},
    }
    scenario = Scenario.from_dict(values)
    found, brute = search(scenario), every(scenario)
    assert brute, "a space in which nothing holds would prove nothing"
    assert len(found.best) == len(brute)
    for one, other in zip(found.best, brute, strict=True):
        same(one, other)
    assert found.space == 64
    assert found.analysed < 3 * 64
    assert sum(found.short.values()) + len(found.best) == 8  # layouts


@pytest.mark.slow
def test_two_pools_are_sought_together() -> None:
    fields = {
        "strategy": ["single", {"name": "disaggregated"}],
        "pools.prefill.hardware": ["h100-sxm", "l40s"],
        "pools.all.replicas": {"low": 1, "high": 4},
        "pools.prefill.replicas": {"low": 1, "high": 4},
        "pools.decode.replicas": {"low": 1, "high": 4},
    }
    values = {
        "workload": WORKLOAD,
        "pools": {"all": POOL, "prefill": POOL, "decode": POOL},
        "objectives": {"ttft_p99": "<= 500 ms", "tpot_p99": "<= 16 ms"},
        "plan": {"fields": fields, "headroom": "20 %"},
    }
    scenario = Scenario.from_dict(values)
    found, brute = search(scenario), every(scenario)
    assert found.space == 4 + 2 * 4 * 4
    assert any("pools.decode.replicas" in each.candidate.changes for each in brute)
    for one, other in zip(found.best, brute, strict=True):
        same(one, other)


def test_what_cannot_be_is_counted_by_reason_and_the_nearest_shown() -> None:
    values = {
        "workload": WORKLOAD,
        "pools": {"chat": POOL},
        "objectives": {"tpot_p99": "<= 1 ms"},
        "plan": {"fields": CHAT | {"pools.chat.model": ["llama-3.1-8b", "llama-3.1-70b"]}},
    }
    scenario = Scenario.from_dict(values)
    found = search(scenario)
    assert not found.best
    assert found.short["memory"] >= 6  # 70B in bf16 on one H100, on one and two L40S
    assert found.short["tpot_p99"] + found.short["memory"] == 16
    assert found.analysed <= 32
    near, made = nearest_of(scenario, plan_spec(scenario), 3)
    assert len(near) == 3
    assert made == 16  # one a layout
    tpot_s = [each.figures["tpot_p99_s"] for each in near]
    assert tpot_s == sorted(tpot_s)
    assert {each.candidate.changes["pools.chat.replicas"] for each in near} == {8}


def test_more_than_comes_is_asked_for_in_vain() -> None:
    values = {
        "workload": WORKLOAD,
        "pools": {"chat": POOL},
        "objectives": {"request_throughput": ">= 31/s"},
        "plan": {"fields": CHAT},
    }
    found = search(Scenario.from_dict(values))
    assert found.short == {"request_throughput": 8}
    assert found.bounded == found.space


@pytest.mark.parametrize("seed", range(4))
def test_bounds_cut_nothing_that_the_closed_form_accepts(seed: int) -> None:
    rng = random.Random(seed)
    checked = 0
    for _ in range(6):
        checked += check_bounds(rng)
    assert checked


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 104))
def test_bounds_of_many_more_spaces(seed: int) -> None:
    rng = random.Random(seed)
    assert sum(check_bounds(rng) for _ in range(60)) > 20


def check_bounds(rng: random.Random) -> int:
    """Forecast what the bounds of a random space say cannot do; returns how many forecasts there were."""
    scenario = Scenario.from_dict(drawn(rng))
    spec, known = plan_spec(scenario), Known()
    demand = demand_of(scenario, spec, known)
    (arrangement,) = arrangements(scenario, spec)
    (space,) = arrangement.pools
    bounds = bounds_of(space, 0, demand, known)
    forecasts = 0
    for layout in rng.sample(range(space.layouts), 3):
        fewest = int(bounds.replicas[layout])
        for count in (1, 8, 1000) if bounds.fault[layout] else range(max(fewest - 1, 1), fewest):
            known.figures.clear()
            try:
                found = expect(arrangement.candidate(scenario, spec, (layout,), (count,)), known)
            except ValueError:
                continue
            forecasts += 1
            assert not found.met, (bounds.fault[layout], fewest, found)
    return forecasts


def drawn(rng: random.Random) -> dict[str, Any]:
    """A scenario with a plan, at random."""

    def law(means: list[int]) -> dict[str, Any]:
        return {"lognormal": {"mean": rng.choice(means), "sigma": rng.choice([0.3, 1.0])}}

    objectives = {
        "ttft_" + rng.choice(["p50", "p99", "mean"]): f"<= {rng.choice([0.05, 0.2, 1, 5])} s",
        "tpot_" + rng.choice(["p50", "p90", "p99", "mean"]): f"<= {rng.choice([0.01, 0.02, 0.05])} s",
        "e2e_" + rng.choice(["p50", "p99", "mean"]): f"<= {rng.choice([2, 10, 40])} s",
        "attainment": f">= {rng.choice([0.5, 0.99])}",
        "budget": f"<= {rng.choice([10, 50])} usd/h",
        "power": f"<= {rng.choice([2, 20])} kW",
        "cost_per_query": f"<= {rng.choice([0.0003, 0.003])} usd",
    }
    arrivals: dict[str, Any] = rng.choice(
        [{"process": "poisson"}, {"process": "gamma", "burstiness": 0.5}, {"process": "constant"}]
    )
    return {
        "workload": {
            "arrivals": {**arrivals, "rate_per_s": rng.choice([2, 20, 100])},
            "lengths": rng.choice(["sharegpt", {"prompt": law([200, 3000]), "output": law([20, 300])}]),
            "num_requests": 100,
        },
        "pools": {
            "chat": {
                "model": rng.choice(["llama-3.1-8b", "qwen3-30b-a3b", "gpt-oss-20b", "qwen3-32b"]),
                "hardware": rng.choice(["h100-sxm", "l40s", "a100-80gb-sxm", "b200", "mi300x"]),
                "tensor_parallel_size": rng.choice([1, 2, 4]),
                "pipeline_parallel_size": rng.choice([1, 1, 2]),
                "kv_cache_dtype": rng.choice(["auto", "fp8"]),
            }
        },
        "objectives": dict(rng.sample(sorted(objectives.items()), rng.choice([1, 2, 3]))),
        "goodput": {"ttft": "500 ms", "tpot": rng.choice(["20 ms", "60 ms"])},
        "plan": {
            "fields": {
                "pools.chat.engine.max_num_seqs": [8, 64, 512],
                "pools.chat.engine.max_num_batched_tokens": [512, 8192],
                "pools.chat.engine.gpu_memory_utilization": [0.5, 0.9],
            },
            "headroom": rng.choice([0, 0.3]),
            "spare": rng.choice([0, 1]),
        },
    }


LARGE = {
    "pools.chat.tensor_parallel_size": [1, 2, 4],
    "pools.chat.engine.block_size": {"low": 1, "high": 100},
    "pools.chat.engine.long_prefill_token_threshold": {"low": 1, "high": 100},
    "pools.chat.engine.max_num_seqs": [16, 128],
    "pools.chat.replicas": {"low": 1, "high": 8},
}


def large(**changes: Any) -> Scenario:
    values = {
        "workload": WORKLOAD,
        "pools": {"chat": POOL},
        "objectives": {"ttft_p99": "<= 500 ms", "tpot_p99": "<= 30 ms"},
        "plan": {"fields": LARGE},
    }
    return Scenario.from_dict(values | changes)


@pytest.mark.slow
def test_a_large_space_is_sampled_and_finds_what_matters() -> None:
    pytest.importorskip("optuna", reason="needs the extra plan")
    scenario = large()
    found, again = (sampled(scenario, plan_spec(scenario), 4, trials=12) for _ in range(2))
    few = {path: values if isinstance(values, list) else [16] for path, values in LARGE.items()}
    few["pools.chat.replicas"] = list(range(1, 9))
    whole = search(large(plan={"fields": few}))
    assert found.space == 3 * 100 * 100 * 2 * 8
    assert 1 < found.sampled <= 12
    assert found.best[0].rent == whole.best[0].rent
    assert [each.candidate.changes for each in found.best] == [each.candidate.changes for each in again.best]


def test_without_optuna_a_large_space_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"too many layouts to go through; pip install 'foretell\[plan\]'"):
        search(large())


def test_programs_are_chosen_by_accuracy_and_rent() -> None:
    values = {
        "workload": {
            "task": "aime24",
            "arrivals": {"process": "poisson", "rate_per_s": 0.2},
            "num_requests": 50,
        },
        "pools": {"m": {"model": "qwen3-8b", "hardware": "h100-sxm"}},
        "objectives": {"accuracy": ">= 78 %", "e2e_p50": "<= 400 s"},
        "plan": {
            "fields": {
                "strategy": ["single", {"name": "self_consistency", "n": 4}],
                "pools.m.model": ["qwen3-8b", "qwen3-14b"],
                "pools.m.replicas": {"low": 2, "high": 9},
            }
        },
    }
    scenario = Scenario.from_dict(values)
    found, brute = search(scenario), every(scenario)
    assert brute
    for one, other in zip(found.best, brute, strict=True):
        same(one, other)
    assert found.short.get("accuracy", 0) >= 1
