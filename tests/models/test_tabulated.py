"""A cost on grids: what its timer says, in every way of asking, and its scales."""

from __future__ import annotations

import pickle
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from foretell.models.architecture import load_architecture
from foretell.models.efficiency import PERFECT
from foretell.models.hardware import load_hardware
from foretell.models.layers import step_operators
from foretell.models.operator_time import Machine, roofline_time
from foretell.models.operators import Attend
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.roofline import RooflineCost, roofline_cost
from foretell.models.stepcost import StepLoad
from foretell.models.tabulate import tabulate
from foretell.models.tabulated import BOUNDS, OVERHEADS, TERMS, TabulatedCost

FP8 = Precision("fp8", "fp8", "fp8")
PLANS: dict[str, tuple[str, Parallelism, Precision]] = {
    "dense": ("llama-3.1-8b", Parallelism(), Precision()),
    "tensor": ("llama-3.3-70b", Parallelism(4), FP8),
    "experts": ("minimax-m2.5", Parallelism(4, enable_expert_parallel=True), FP8),
    "data": ("minimax-m2.5", Parallelism(1, data_parallel_size=8, enable_expert_parallel=True), FP8),
    "latent": ("deepseek-r1", Parallelism(8), FP8),
    "pipeline": ("llama-3.3-70b", Parallelism(2, 4), Precision()),
    "windows": ("gpt-oss-120b", Parallelism(2), Precision("mxfp4", "bf16", "bf16", "experts")),
}
plans = st.sampled_from(sorted(PLANS))
SCALES = {"gemm": 1.3, "gemm_compute": 1.1, "decode_attention": 2.0, "prefill_attention": 1.5, "layers": 10.0}
SCALES |= {"step": 0.5, "sequences": 5.0, "prefill_layers": 3.0, "communication": 1.2, "launches": 1.0}


@cache
def tabulated(name: str) -> TabulatedCost:
    model, plan, precision = PLANS[name]
    return tabulate(load_architecture(model), load_hardware("h200"), plan, precision)


@cache
def roofline(name: str) -> RooflineCost:
    model, plan, precision = PLANS[name]
    return roofline_cost(load_architecture(model), load_hardware("h200"), plan, precision)


@st.composite
def step_loads(draw: st.DrawFn, prompts: int = 8) -> StepLoad:
    """Prompts of one length, computed whole or in a chunk, among decoding sequences."""
    seqs, tokens = draw(st.integers(0, prompts)), draw(st.integers(1, 4096))
    past = draw(st.sampled_from([0, 0, 1000, 8000]))
    many = draw(st.integers(0, 600))
    context = draw(st.integers(1, 20_000))
    assume(seqs + many > 0)
    pairs = seqs * (tokens * past + tokens * (tokens + 1) // 2)
    return StepLoad(seqs * tokens, pairs, seqs * (past + tokens), seqs, many, many * context, seqs + many)


def without_host(cost: RooflineCost, load: StepLoad) -> float:
    parts = cost.breakdown(*load)
    return float(sum(parts.values()) - parts["host"])


@settings(max_examples=150, deadline=None)
@given(plans, step_loads())
def test_agrees_with_the_roofline_of_the_same_timer(name: str, load: StepLoad) -> None:
    assume(load.prefill_tokens == load.prefill_context or not load.prefill_tokens)  # whole prompts
    assert tabulated(name)(*load) == pytest.approx(without_host(roofline(name), load), rel=TOLERANCE[name])


TOLERANCE = dict.fromkeys(PLANS, 0.01) | {"windows": 0.04}
"""A window ends within a cell of contexts, where a surface cuts the corner."""


@settings(max_examples=100, deadline=None)
@given(plans, step_loads())
def test_chunks_after_a_long_past_agree_too(name: str, load: StepLoad) -> None:
    assume(name != "windows")  # pairs beyond a window are not counted, which no figure of a step tells
    assert tabulated(name)(*load) == pytest.approx(without_host(roofline(name), load), rel=0.05)


@settings(max_examples=60, deadline=None)
@given(plans, st.integers(1, 600), st.integers(1, 8000), st.booleans())
def test_steps_of_decoding_are_those_of_calls_to_the_bit(
    name: str, seqs: int, mean: int, scaled: bool
) -> None:
    cost = tabulated(name).scaled(SCALES) if scaled else tabulated(name)
    steps = list(islice(cost.decode_steps(seqs, seqs * mean), 40))  # past the first chunk of scalars
    assert steps == [cost(0, 0, 0, 0, seqs, seqs * (mean + i), seqs) for i in range(40)]


@settings(max_examples=60, deadline=None)
@given(plans, st.lists(step_loads(), min_size=1, max_size=5))
def test_a_breakdown_and_an_array_say_what_a_call_says(name: str, loads: list[StepLoad]) -> None:
    cost = tabulated(name).scaled(SCALES)
    seconds = [cost(*load) for load in loads]
    for load, expected in zip(loads, seconds, strict=True):
        parts = cost.breakdown(*load)
        assert set(parts) == {*BOUNDS, "host"}
        assert sum(parts.values()) == pytest.approx(expected, rel=1e-9)
        assert min(parts.values()) >= 0.0
    together = cost(*(np.array(column, dtype=float) for column in zip(*loads, strict=True)))
    assert together.tolist() == pytest.approx(seconds, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(plans, step_loads(), st.lists(st.floats(1.0, 5.0), min_size=len(TERMS), max_size=len(TERMS)))
def test_terms_times_scales_sum_to_the_call(name: str, load: StepLoad, values: list[float]) -> None:
    scales = dict(zip(TERMS, values, strict=True))  # at 1 and above no floor binds
    terms = tabulated(name).terms(*load)
    assert tuple(sorted(terms)) == tuple(sorted(TERMS))
    assert tabulated(name).scaled(scales)(*load) == pytest.approx(
        sum(scales[term] * terms[term] for term in TERMS), rel=1e-9
    )


def test_overheads_by_hand() -> None:
    cost = tabulated("dense").scaled({"layers": 10.0, "prefill_layers": 3.0, "step": 0.5, "sequences": 5.0})
    load, decode = (100, 5050, 100, 1, 7, 700, 8), (0, 0, 0, 0, 7, 700, 7)
    assert cost(*decode) - tabulated("dense")(*decode) == pytest.approx(32 * 10e-6 + 0.5e-3 + 7 * 5e-6)
    assert cost(*load) - tabulated("dense")(*load) == pytest.approx(32 * 13e-6 + 0.5e-3 + 8 * 5e-6)
    terms = tabulated("dense").terms(*decode)
    assert [terms[name] for name in OVERHEADS] == pytest.approx([32e-6, 0.0, 1e-3, 7e-6])


@settings(max_examples=30, deadline=None)
@given(
    plans.filter(lambda name: name not in ("pipeline", "windows")), step_loads(), st.sampled_from([1e-6, 0.5])
)
def test_no_scale_beats_the_peaks(name: str, load: StepLoad, scale: float) -> None:
    assume(load.prefill_tokens == load.prefill_context)
    model, plan, precision = PLANS[name]
    part = load_hardware("h200").accelerator
    ideal = Machine(part.memory_Bps, part.peak_flops, PERFECT, 0.0)
    least = 0.0
    tokens = load.prefill_tokens + load.decode_seqs
    for op in step_operators(load_architecture(model), plan, precision, part.peak_flops, 1.01):
        if isinstance(op, Attend):
            at: tuple[Any, ...] = load[:4]
            if op.phase == "decode":
                at = (load.decode_seqs, load.decode_context, load.decode_context, load.decode_seqs)
        else:
            at = ({"tokens": tokens, "prefill_context": load.prefill_context}.get(op.driver, 0),)
        time = roofline_time(op, at, ideal)
        least += op.layers * max(time.compute, time.memory)
    fastest = tabulated(name).scaled(dict.fromkeys(TERMS, scale))(*load)
    assert 0.99 * least <= fastest <= tabulated(name)(*load) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ({"gems": 1.0}, "'gems' is not one of gemm, "),
        ({"gemm": -0.1}, "scales.gemm: -0.1 is not a finite number >= 0"),
        ({"step": float("nan")}, "scales.step: nan is not a finite number >= 0"),
    ],
)
def test_bad_scales(scales: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tabulated("dense").scaled(scales)


@pytest.mark.parametrize("name", ["dense", "pipeline", "latent"])
def test_a_pickled_cost_is_the_same(name: str) -> None:
    cost = tabulated(name).scaled(SCALES, notes=("a",)).perturbed(np.random.default_rng(0))
    copy = pickle.loads(pickle.dumps(cost))
    load = (100, 5050, 100, 1, 7, 700, 8)
    assert copy(*load) == cost(*load)
    assert copy.validity() == ["a"]


def test_perturbed_costs() -> None:
    cost = tabulated("dense").scaled(SCALES, errors={"compute": 0.1, "memory": 0.2})
    decode, prompt = (0, 0, 0, 0, 1, 700, 1), (8192, 8192 * 4096, 8192, 1, 0, 0, 1)

    def drawn(seed: int) -> Any:
        return cost.perturbed(np.random.default_rng(seed))

    assert drawn(1)(*decode) == drawn(1)(*decode) != drawn(2)(*decode)
    ratios = np.array([[np.log(drawn(i)(*at) / cost(*at)) for at in (decode, prompt)] for i in range(200)])
    assert ratios.std(axis=0) == pytest.approx([0.2, 0.1], rel=0.2)
    sure = tabulated("dense")
    assert sure.perturbed(np.random.default_rng(1))(*decode) == sure(*decode)
