"""Inputs, changed: against what the same change is where the scenario or the hardware itself says it."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.roofline import RooflineCost, roofline_cost
from foretell.sim import Scenario
from foretell.sim.bounds import BOUNDS
from foretell.sim.scaled_cost import ScaledCost
from foretell.sim.sensitivity_case import Case, case_of
from foretell.sim.sensitivity_inputs import Input, inputs_of

POOL = {
    "model": "llama-3.1-70b",
    "hardware": "h100-sxm",
    "tensor_parallel_size": 4,
    "operator_times": "curves",
}
DECODE = (0, 0, 0, 0, 32, 32 * 900, 32)
PREFILL = (4096, 4096 * 1024.5, 4096, 2, 0, 0, 2)


def scenario(**more: Any) -> Scenario:
    values = {
        "workload": {
            "arrivals": {"process": "gamma", "rate_per_s": 2.0, "burstiness": 0.5},
            "lengths": {"prompt": 800, "output": 150},
            "num_requests": 500,
        },
        "pools": {"main": POOL},
        "objectives": {"tpot_mean": "<= 40 ms"},
    }
    return Scenario.from_dict(values | more)


def task(**more: Any) -> Scenario:
    values = {
        "workload": {
            "task": "aime24",
            "arrivals": {"process": "poisson", "rate_per_s": 0.01},
            "num_requests": 50,
        },
        "pools": {"solver": {"model": "qwen3-8b", "hardware": "h100-sxm", "operator_times": "curves"}},
        "strategy": {"name": "best_of_n", "n": 4, "verifier": {"pool": "solver", "auc": 0.8}},
        "objectives": {"accuracy": ">= 0.7"},
    }
    return Scenario.from_dict(values | more)


def by_name(case: Case) -> dict[str, Input]:
    return {each.name: each for each in inputs_of(case)}


def faster(cost: RooflineCost, **factors: float) -> RooflineCost:
    """The same on an accelerator with other peaks."""
    part = cost.hardware.accelerator
    changed = replace(
        part,
        memory_Bps=part.memory_Bps * factors.get("memory", 1.0),
        peak_flops={name: peak * factors.get("compute", 1.0) for name, peak in part.peak_flops.items()},
    )
    return replace(cost, hardware=replace(cost.hardware, accelerator=changed))


@pytest.mark.parametrize("bound", ["memory", "compute"])
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_hardware_with_other_peaks_says_the_same(bound: str, factor: float) -> None:
    cost = roofline_cost(load_architecture("llama-3.1-8b"), load_hardware("h100-sxm"))
    other, scaled = faster(cost, **{bound: factor}), ScaledCost(cost, {bound: 1 / factor})
    for load in (DECODE, PREFILL):
        gain = other(*load) / cost(*load) - 1
        assert scaled(*load) / cost(*load) - 1 == pytest.approx(gain, rel=0.05, abs=1e-3)


def test_a_scaled_cost_is_a_step_cost() -> None:
    cost = roofline_cost(load_architecture("llama-3.1-8b"), load_hardware("h100-sxm"))
    some = ScaledCost(cost, {"memory": 1.2, "host": 0.5})
    assert sum(some.breakdown(*DECODE).values()) == pytest.approx(some(*DECODE), rel=1e-12)
    many = tuple(np.array([a, b], dtype=float) for a, b in zip(DECODE, PREFILL, strict=True))
    assert some(*many) == pytest.approx([some(*DECODE), some(*PREFILL)], rel=1e-9)
    steps = list(islice(some.decode_steps(32, 32 * 900), 3))
    assert steps == [some(0, 0, 0, 0, 32, 32 * (900 + k), 32) for k in range(3)]
    assert ScaledCost(cost, dict.fromkeys(BOUNDS, 1.1))(*PREFILL) == pytest.approx(1.1 * cost(*PREFILL))
    with pytest.raises(ValueError, match="memroy"):
        ScaledCost(cost, {"memroy": 1.1})


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("request_rate", "workload.arrivals", {"process": "gamma", "rate_per_s": 2.2, "burstiness": 0.5}),
        ("prompt_tokens", "workload.lengths", {"prompt": 880, "output": 150}),
        ("output_tokens", "workload.lengths", {"prompt": 800, "output": 165}),
        (
            "burstiness",
            "workload.arrivals",
            {"process": "gamma", "rate_per_s": 2.0, "burstiness": 0.5 / 1.21},
        ),
        ("price", "pools.main.price_usd_per_h", 2.69 * 1.1),
    ],
)
def test_a_scenario_that_says_so_says_the_same(name: str, field: str, value: Any) -> None:
    asked = scenario()
    case = case_of(asked)
    changed = by_name(case)[name].change(case, 1.1).analysed().figures
    other = case_of(asked.replace(**{field: value}))
    same = replace(other, deployment=replace(other.deployment, notes=())).analysed().figures
    assert changed.keys() == same.keys()
    for figure, number in same.items():
        assert changed[figure] == pytest.approx(number, rel=1e-3), figure


def test_the_kv_cache_grows_and_shrinks_with_its_longest_request() -> None:
    case = case_of(scenario())
    grow = by_name(case)["kv_cache"].change
    (part,), (more,), (less,) = (each.deployment.parts for each in (case, grow(case, 1.1), grow(case, 0.001)))
    assert more.config.num_gpu_blocks == round(1.1 * part.config.num_gpu_blocks)
    assert less.config.max_model_len <= (less.config.num_gpu_blocks - 1) * less.config.block_size


def test_two_pools_have_links() -> None:
    asked = Scenario.from_dict(
        {
            "workload": {
                "arrivals": {"process": "poisson", "rate_per_s": 2.0},
                "lengths": {"prompt": 800, "output": 150},
                "num_requests": 500,
            },
            "pools": {"prefill": POOL, "decode": POOL},
            "strategy": {"name": "disaggregated"},
        }
    )
    case = case_of(asked)
    assert case.parts == ("prefill", "decode")
    changed: Any = by_name(case)["interconnect"].change(case, 2.0).deployment
    made: Any = case.deployment
    assert changed.transfers[0][0].token_s == pytest.approx(made.transfers[0][0].token_s / 2)


def test_how_well_they_are_known() -> None:
    case = case_of(scenario())
    known, (part,) = by_name(case), case.deployment.parts
    errors = part.cost.errors  # type: ignore[attr-defined]
    assert known["memory_bandwidth"].log_error == pytest.approx(errors["memory"], rel=0.2)
    compute = known["peak_compute"].log_error
    assert compute is not None
    assert (
        0.5 * errors["compute"] < compute < 1.1 * errors["compute"]
    )  # no draw beats the peaks: a side is cut
    assert known["request_rate"].log_error is None
    assert part.capacity is not None
    band = math.log(part.capacity.high / part.capacity.low)
    assert known["kv_cache"].log_error == pytest.approx(band / 3.29, rel=1e-3)


def test_what_is_not_there_is_left_out() -> None:
    pools = {"main": {"step_cost": "affine:0.01,1e-5", "engine": {"num_gpu_blocks": 5000}}}
    workload = {
        "arrivals": {"process": "constant", "rate_per_s": 2.0},
        "lengths": {"prompt": 80, "output": 15},
        "num_requests": 500,
    }
    names = set(by_name(case_of(scenario(pools=pools, workload=workload))))
    assert names == {"request_rate", "prompt_tokens", "output_tokens", "step_time", "kv_cache"}


def test_of_a_task_accuracy_and_verifier_too() -> None:
    case = case_of(task())
    known = by_name(case)
    assert {"accuracy", "verifier", "output_tokens", "request_rate"} <= set(known)
    usual = case.analysed().figures
    bursts = known["burstiness"].change(case, 1.1).scenario.workload.arrivals
    assert bursts == {"process": "gamma", "rate_per_s": 0.01, "burstiness": pytest.approx(1 / 1.21)}
    assert known["burstiness"].change(case, 2.0).analysed().figures["e2e_mean_s"] > usual["e2e_mean_s"]
    better = known["accuracy"].change(case, 1.1).analysed().figures
    assert better["accuracy"] > usual["accuracy"] + 0.01
    assert better["tokens_per_query"] == pytest.approx(usual["tokens_per_query"], rel=0.1)
    assert known["verifier"].change(case, 1.1).analysed().figures["accuracy"] > usual["accuracy"]
    sharper: Any = known["verifier"].change(case, 1.1).scenario.strategy
    normal = NormalDist()
    assert normal.inv_cdf(sharper["verifier"]["auc"]) == pytest.approx(1.1 * normal.inv_cdf(0.8))
    longer = known["output_tokens"].change(case, 1.1).analysed().figures
    assert 1.05 < longer["tokens_per_query"] / usual["tokens_per_query"] < 1.1  # max_tokens cuts the longest
    busier = known["request_rate"].change(case, 1.1).analysed().figures
    assert busier["load"] == pytest.approx(1.1 * usual["load"], rel=0.05)


def test_a_task_has_the_answers_of_its_estimate() -> None:
    from foretell.sim.estimate_cell import estimate_scenario

    asked = task(replications=1)
    summary, _, _ = estimate_scenario(asked)
    figures = case_of(asked).analysed().figures
    for name in ("accuracy", "tokens_per_query", "usd_per_query"):
        assert figures[name] == pytest.approx(summary[name].value, rel=1e-6), name
