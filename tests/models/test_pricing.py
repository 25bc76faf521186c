"""Where a step's times come from, and that none of them beats the hardware's peaks."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from foretell.models import silicon_source
from foretell.models.architecture import load_architecture
from foretell.models.catalogue import list_records
from foretell.models.curves import load_curves
from foretell.models.efficiency import PERFECT
from foretell.models.hardware import load_hardware
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.pricing import operator_cost, operator_timer, resolve_times, scalable_cost, step_cost
from foretell.models.residual import load_residual, residual_keys
from foretell.models.roofline import RooflineCost
from foretell.models.silicon_source import SYSTEMS, has_silicon
from foretell.models.stepcost import StepLoad
from foretell.models.tabulated import BOUNDS, TabulatedCost
from peaks import SKEW, TINY, Layout, floors, never_beaten, peaks, shipped

needs_silicon = pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")
SOURCES = ["curves", pytest.param("silicon", marks=needs_silicon)]
FP8 = Precision("fp8", "fp8", "fp8")
LAYOUTS: dict[str, Layout] = {
    "dense": ("llama-3.1-8b", "h200", Parallelism(), Precision()),
    "tensor": ("llama-3.3-70b", "b200", Parallelism(4), Precision("nvfp4", "fp4", "fp8", "linear")),
    "experts": ("minimax-m2.5", "h200", Parallelism(4, enable_expert_parallel=True), FP8),
    "data": ("minimax-m2.5", "b200", Parallelism(1, 1, 8, True), FP8),
    "mxfp4": ("gpt-oss-120b", "h100-sxm", Parallelism(2), Precision("mxfp4", "bf16", "bf16", "experts")),
    "latent": ("deepseek-r1", "h200", Parallelism(8), FP8),
    "latent on b200": ("deepseek-r1", "b200", Parallelism(8), FP8),
    "pipeline": ("llama-3.3-70b", "h100-sxm", Parallelism(2, 2), Precision()),
}
DECODE, PROMPT = (0, 0, 0, 0, 16, 16_000, 16), (2048, 2048 * 2049 / 2, 2048, 1, 0, 0, 1)
layouts = st.sampled_from(sorted(LAYOUTS))
sources = st.sampled_from(["curves", "silicon"] if has_silicon() else ["curves"])


@cache
def roofline(layout: Layout) -> RooflineCost:
    model, accelerator, plan, precision = layout
    what = load_architecture(model), load_hardware(accelerator), plan, precision
    return RooflineCost(*what, PERFECT, expert_skew=SKEW)


@st.composite
def step_loads(draw: st.DrawFn) -> StepLoad:
    """Prompts of one length, whole or a chunk after a past, among decoding sequences."""
    seqs, tokens = draw(st.integers(0, 8)), draw(st.integers(1, 8192))
    past = draw(st.sampled_from([0, 0, 1000, 30_000]))
    many, context = draw(st.integers(0, 1024)), draw(st.integers(1, 100_000))
    assume(seqs + many > 0)
    pairs = seqs * (tokens * past + tokens * (tokens + 1) // 2)
    return StepLoad(seqs * tokens, pairs, seqs * (past + tokens), seqs, many, many * context, seqs + many)


# ---------------------------------------------------------------------------------------- who is asked


@pytest.fixture
def no_silicon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the extra were not installed."""
    monkeypatch.setitem(sys.modules, "aiconfigurator_core", None)
    silicon_source.data_folder.cache_clear()
    yield
    silicon_source.data_folder.cache_clear()


@needs_silicon
def test_auto_with_the_extra() -> None:
    for name in list_records("hardware"):
        vendor = load_hardware(name).accelerator.vendor.lower()
        expected = "roofline" if vendor != "nvidia" else "silicon" if name in SYSTEMS else "curves"
        assert resolve_times("auto", load_hardware(name)) == expected


@pytest.mark.usefixtures("no_silicon")
def test_auto_without_the_extra() -> None:
    for name in ("h200", "b200", "a10g", "h100-pcie"):
        assert resolve_times("auto", load_hardware(name)) == "curves"
    for name in ("mi300x", "gaudi3", "tpu-v6e", "cpu-2core"):
        assert resolve_times("auto", load_hardware(name)) == "roofline"
    cost = step_cost(load_architecture("llama-3.1-8b"), load_hardware("h200"))
    assert any("shipped curves" in note for note in cost.validity())
    with pytest.raises(ValueError, match=r"foretell\[silicon\]"):
        step_cost(load_architecture("llama-3.1-8b"), load_hardware("h200"), operator_times="silicon")


def test_names_of_operator_times() -> None:
    for name in ("curves", "roofline"):
        assert resolve_times(name, load_hardware("mi300x")) == name
    with pytest.raises(ValueError, match="operator_times: 'magic' is not one of auto, silicon, curves"):
        resolve_times("magic", load_hardware("h200"))


def test_accelerators_that_nobody_measured_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="operator_times: silicon has no tables of mi300x, but of a100"):
        step_cost(load_architecture("llama-3.1-8b"), load_hardware("mi300x"), operator_times="silicon")


@pytest.mark.parametrize("accelerator", ["mi300x", "cpu-2core"])
def test_others_keep_their_fractions_of_peaks(accelerator: str) -> None:
    layout = load_architecture("llama-3.1-8b"), load_hardware(accelerator)
    cost = step_cost(*layout)
    assert isinstance(cost, RooflineCost)
    by_terms = scalable_cost(*layout)
    assert isinstance(by_terms, TabulatedCost)
    host_s = cost.breakdown(*PROMPT)["host"]
    assert by_terms(*PROMPT) == pytest.approx(cost(*PROMPT) - host_s, rel=0.02)


# -------------------------------------------------------------------------------------- what they say


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_costs_of_layouts(name: str, source: str) -> None:
    """Within factors that servers have: a fifth to all of the peaks when busy; parts add up."""
    cost = shipped(LAYOUTS[name], source)
    for load in (DECODE, PROMPT):
        least, seconds = peaks(LAYOUTS[name], *load), cost(*load)
        assert least < seconds < 20 * least + 0.01
        parts = cost.breakdown(*load)
        assert set(parts) == {*BOUNDS, "host"}
        assert min(parts.values()) >= 0.0
        assert sum(parts.values()) == pytest.approx(seconds)
    model, accelerator, _, _ = LAYOUTS[name]
    residual = load_residual(source)
    keys = residual_keys(model, accelerator)
    assert cost.scales == residual.terms(keys)
    told = residual.errors[residual.known(keys)]
    assert cost.errors == {"compute": told["ttft"], "memory": told["tpot"]}
    assert sum(load_architecture(model).name in note for note in cost.validity()) == (
        residual.known(keys) == "model"
    )


@pytest.mark.parametrize("source", SOURCES)
def test_operators_alone_have_no_residual(source: str) -> None:
    model, accelerator, plan, precision = LAYOUTS["experts"]
    layout = load_architecture(model), load_hardware(accelerator), plan, precision
    times = operator_timer(source, layout[1])
    bare = operator_cost(*layout, times=times)
    whole = shipped(LAYOUTS["experts"], source)
    assert (bare.scales, bare.errors) == ({}, {})
    assert bare.terms(*DECODE) == whole.terms(*DECODE)
    assert bare.scaled(whole.scales)(*DECODE) == whole(*DECODE)
    assert operator_cost(*layout, times=times, scales=whole.scales)(*PROMPT) == whole(*PROMPT)


@needs_silicon
@pytest.mark.parametrize("name", ["dense", "experts", "latent", "tensor"])
def test_curves_stand_in_for_the_measurements(name: str) -> None:
    """Two ways to the same: operators from tables, and from the curves fitted on them."""
    for load in (DECODE, PROMPT):
        one, other = (shipped(LAYOUTS[name], source)(*load) for source in ("silicon", "curves"))
        assert abs(math.log(one / other)) < 0.3, load


def test_what_a_release_and_the_scheduler_change() -> None:
    layout = load_architecture("gpt-oss-120b"), load_hardware("h200")

    def cost(**changes: Any) -> TabulatedCost:
        found = step_cost(*layout, operator_times="curves", **changes)
        assert isinstance(found, TabulatedCost)
        return found

    residual = load_residual("curves")
    for version in ("0.11.0", "0.17.0", "0.19.0", None):
        keys = residual_keys("gpt-oss-120b", "h200", version)
        assert cost(engine_version=version).scales == residual.terms(keys)
    waiting = cost(async_scheduling=False)
    entries = StepLoad(*DECODE).prefill_seqs + StepLoad(*DECODE).decode_seqs
    assert waiting(*DECODE) - cost()(*DECODE) == pytest.approx(1.7e-3 + 46e-6 * entries)
    eager = cost(enforce_eager=True)
    assert eager.eager_s > 0.0
    assert eager(*DECODE) >= max(eager.eager_s, cost()(*DECODE))
    assert any("enforce_eager" in note for note in eager.validity())


def test_errors_are_wider_for_what_was_not_seen() -> None:
    def error(model: str, accelerator: str) -> dict[str, float]:
        cost = step_cost(load_architecture(model), load_hardware(accelerator), operator_times="curves")
        assert isinstance(cost, TabulatedCost)
        return dict(cost.errors)

    told = load_residual("curves").errors
    for model, accelerator, known in (
        ("gpt-oss-120b", "h200", "pair"),
        ("llama-3.1-8b", "h200", "model"),
        ("gpt-oss-120b", "gb200", "accelerator"),
        ("llama-3.1-8b", "gb200", "both"),
    ):
        expected = {"compute": told[known]["ttft"], "memory": told[known]["tpot"]}
        assert error(model, accelerator) == expected
    nobody = load_curves("a10g", load_hardware("a10g").node.intra)  # neither its servers nor its kernels
    kernels = nobody.error("gemm")
    assert kernels > 0.0
    assert error("llama-3.1-8b", "a10g") == pytest.approx(
        {
            "compute": math.hypot(told["both"]["ttft"], kernels),
            "memory": math.hypot(told["both"]["tpot"], kernels),
        }
    )
    assert error("gpt-oss-120b", "h200")["memory"] < error("llama-3.1-8b", "a10g")["memory"]


# ------------------------------------------------------------------------- no prediction beats the peak


@settings(max_examples=100, deadline=None)
@given(layouts, sources, step_loads(), st.integers(0, 2**32), st.booleans())
def test_no_prediction_beats_the_peaks(name: str, source: str, load: StepLoad, seed: int, tiny: bool) -> None:
    """Neither as shipped, nor drawn from errors, nor with scales that would have it so."""
    layout = LAYOUTS[name]
    cost = shipped(layout, source)
    if tiny:
        cost = cost.scaled(TINY)
    drawn = dataclasses.replace(cost, errors={"compute": 1.0, "memory": 1.0})
    drawn = drawn.perturbed(np.random.default_rng(seed))
    for least in (peaks(layout, *load), floors(cost)(*load)):
        assert min(cost(*load), drawn(*load)) >= least * (1 - 1e-9)


@settings(max_examples=60, deadline=None)
@given(layouts.filter(lambda name: name != "mxfp4"), sources, step_loads())
def test_nor_the_peaks_without_any_grid(name: str, source: str, load: StepLoad) -> None:
    """By the operators themselves, but for what grids cut off corners (and for whole prompts only)."""
    assume(load.prefill_context == load.prefill_tokens)
    parts = roofline(LAYOUTS[name]).breakdown(*load)
    least = parts["compute"] + parts["memory"]
    assert shipped(LAYOUTS[name], source).scaled(TINY)(*load) >= 0.99 * least


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_no_prediction_of_a_layout_beats_the_peaks(name: str, source: str) -> None:
    never_beaten(LAYOUTS[name], source)
