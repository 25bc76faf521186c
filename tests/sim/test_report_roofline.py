"""Where the step time goes: bars that add up, points under the roof, words that say what the figures say."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.models import StepLoad
from foretell.sim import Scenario
from foretell.sim.bounds import BOUNDS, bound_shares
from foretell.sim.closed_form import ClosedForm, forecast_closed_form
from foretell.sim.deployment import EnginePart, deploy
from foretell.sim.operating import MEAN_STEP, Spent, attainable, peaks, spent, step_work
from foretell.sim.report.roofline import step_time_section
from foretell.sim.report.roofline_chart import roofline_chart
from reported import SCENARIOS, forecasted, parsed, plain

MODELLED = [name for name in SCENARIOS if name != "step cost of its own"]


def closed(name: str) -> ClosedForm:
    return forecast_closed_form(Scenario.from_dict(SCENARIOS[name]))


@pytest.mark.parametrize("name", SCENARIOS)
def test_time_by_pool_and_kind_is_all_of_the_engines_busy_time(name: str) -> None:
    result = forecasted(name)
    found = spent(result)
    assert sum(one.busy_s for one in found) == pytest.approx(sum(e.busy_s for e in result.run.engines))
    for one in found:
        assert sum(one.shares.values()) == pytest.approx(1)
    for part in result.deployment.parts:
        own = sum(one.busy_s for one in found if one.part is part)
        engines = zip(result.run.engines, result.deployment.engines, strict=True)
        assert own == pytest.approx(sum(stats.busy_s for stats, of in engines if of is part))


def test_steps_one_by_one_are_near_the_forecasts_figures() -> None:
    """Two ways to one figure: the forecast takes one mean step with prompts and one that only decodes."""
    result = forecasted("one engine")
    found = spent(result)
    mean = bound_shares(result.run, [part.cost for part in result.deployment.engines])
    busy = sum(one.busy_s for one in found)
    for bound in BOUNDS:
        share = sum(one.shares[bound] * one.busy_s for one in found) / busy
        assert share == pytest.approx(mean[f"time_bound_by_{bound}"], abs=0.03)


@pytest.mark.parametrize("name", MODELLED)
def test_no_step_is_above_the_roof(name: str) -> None:
    for one in spent(forecasted(name)):
        _under_the_roof(one)


@pytest.mark.parametrize("name", ["one engine", "disaggregated", "program", "two kinds of hardware"])
def test_no_mean_step_in_closed_form_is_above_the_roof(name: str) -> None:
    found = spent(closed(name))
    assert {one.kind for one in found} == {MEAN_STEP}
    assert {one.pool for one in found} == set(SCENARIOS[name]["pools"])  # type: ignore[call-overload]
    for one in found:
        _under_the_roof(one)


def _under_the_roof(one: Spent) -> None:
    assert one.flops is not None and one.num_bytes is not None and one.part.work is not None
    assert (one.flops > 0).all() and (one.num_bytes > 0).all()
    rate = one.flops / one.seconds
    assert (rate <= attainable(one.part, one.flops / one.num_bytes) * (1 + 1e-9)).all()
    assert one.mean is not None
    intensity, mean_rate = one.mean
    assert mean_rate <= attainable(one.part, intensity) * (1 + 1e-9)


LAYOUTS: tuple[dict[str, Any], ...] = (
    {"model": "llama-3.1-8b", "hardware": "h100-sxm"},
    {"model": "llama-3.1-8b", "hardware": "l40s", "quantization": "fp8", "kv_cache_dtype": "fp8"},
    {
        "model": "llama-3.1-70b",
        "hardware": "h100-sxm",
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 2,
    },
    {"model": "qwen3-30b-a3b", "hardware": "h100-sxm"},
    {"model": "gpt-oss-120b", "hardware": "h100-sxm", "tensor_parallel_size": 2},
    {"model": "deepseek-v3", "hardware": "h200", "tensor_parallel_size": 8},
)


@cache
def engine(layout: int, times: str) -> EnginePart:
    pool = {**LAYOUTS[layout], "operator_times": times}
    scenario = {"workload": SCENARIOS["one engine"]["workload"], "pools": {"a": pool}}
    return deploy(Scenario.from_dict(scenario).pool).parts[0]


@given(
    layout=st.integers(0, len(LAYOUTS) - 1),
    times=st.sampled_from(["roofline", "curves"]),
    prompts=st.integers(0, 30),
    new=st.integers(1, 4000),
    past=st.integers(0, 30_000),
    decodes=st.integers(0, 1000),
    context=st.integers(1, 60_000),
)
@settings(max_examples=300, deadline=None)
def test_no_load_on_any_layout_is_above_the_roof(
    layout: int, times: str, prompts: int, new: int, past: int, decodes: int, context: int
) -> None:
    """Invariant 7: no step beats the hardware's peak."""
    if prompts + decodes == 0:
        return
    part = engine(layout, times)
    read, pairs = prompts * (new + past), prompts * new * (past + (new + 1) / 2)
    load = StepLoad(prompts * new, pairs, read, prompts, decodes, decodes * context, decodes + prompts)
    work = step_work(part, load)
    assert work is not None and part.work is not None
    flops, num_bytes = work
    seconds = float(part.cost(*load))
    assert flops / seconds <= attainable(part, flops / num_bytes)
    assert num_bytes / seconds <= part.work.memory_Bps
    assert flops / seconds <= max(peaks(part).values())


def test_work_is_that_of_the_peaks_by_hand() -> None:
    """One decode of a dense model in bf16: two FLOPs and two bytes a weight, and its cache."""
    part = engine(0, "curves")
    for context in (1, 1000):
        work = step_work(part, StepLoad(0, 0, 0, 0, 1, context, 1))
        assert work is not None
        flops, num_bytes = work
        weights = 8.03e9 - 128_256 * 4096  # the embedding is looked up, not multiplied
        cache = 32 * 2 * 8 * 128 * 2 * context
        assert flops == pytest.approx(2 * weights + 32 * 4 * 4096 * context, rel=0.01)
        assert num_bytes == pytest.approx(2 * weights + cache, rel=0.01)
    pipeline = engine(2, "curves")
    assert pipeline.work is not None and pipeline.work.stages == 2
    whole = step_work(pipeline, StepLoad(0, 0, 0, 0, 1, 1, 1))
    assert whole is not None and whole[0] == pytest.approx(2 * (70.55e9 - 128_256 * 8192) / 4, rel=0.01)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_section_is_sound_html_with_a_roof_for_every_kind_of_hardware(name: str) -> None:
    html = step_time_section(forecasted(name))
    page = parsed(html)
    titles = [title.text or "" for title in page.iter("title") if "Roofline of" in (title.text or "")]
    parts = forecasted(name).deployment.parts
    chips = {part.hardware.name for part in parts if part.hardware is not None and part.work is not None}
    assert {title.removeprefix("Roofline of ") for title in titles} == chips
    assert "nan" not in html and "inf" not in html.replace("inference", "")
    for svg in page.iter("svg"):
        if svg.get("role") == "img":
            assert len(svg.findtext("desc") or "") > 40


def test_words_say_what_the_figures_say() -> None:
    result = forecasted("one engine")
    text = plain(step_time_section(result))
    (decode,) = (one for one in spent(result) if one.kind == "decode only")
    busy = sum(stats.busy_s for stats in result.run.engines)
    memory = f"{100 * decode.shares['memory']:.0f} %"
    assert f"Decode-only steps take {100 * decode.busy_s / busy:.0f} % of the busy time." in text
    assert f"They read and write memory for {memory} of it: more bandwidth or fewer bytes" in text
    assert "NVIDIA H100 datasheet" in text


def test_a_given_step_cost_has_bars_and_no_roof() -> None:
    text = plain(step_time_section(forecasted("step cost of its own")))
    assert "there is no roofline" in text
    assert "Roofline" not in text
    assert "to fixed time and time for each request" in text


def test_a_closed_form_has_its_mean_step() -> None:
    html = step_time_section(closed("disaggregated"))
    text = plain(html)
    assert "The mean step does arithmetic for" in text
    assert "The mean step reads and writes memory for" in text
    assert "front: mean step" in text and "back: mean step" in text


def test_area_goes_with_time_and_a_cell_is_one_mark() -> None:
    part = engine(0, "curves")

    def made(kind: str, seconds: list[float], flops: list[float]) -> Spent:
        n = len(seconds)
        return Spent("a", part, kind, np.array(seconds), np.ones((5, n)), np.array(flops), np.ones(n) * 1e9)

    points = [made("decode only", [4.0, 1.0, 1.0], [1e10, 1e13, 1e13]), made("mixed", [1.5], [1e12])]
    chart = roofline_chart(points, {"bf16": 9.9e14}, 3.35e12, "t", "a")
    (decodes, mixed) = re.findall(r'fill-opacity=".3".*?</g>', chart)
    sizes = [float(size) for size in re.findall(r"scale\(([\d.]+)\)", decodes)]
    assert len(sizes) == 2
    assert sizes[0] ** 2 / sizes[1] ** 2 == pytest.approx(2, rel=0.02)
    (size,) = (float(size) for size in re.findall(r"scale\(([\d.]+)\)", mixed))
    assert sizes[0] ** 2 / size**2 == pytest.approx(4 / 1.5, rel=0.02)
