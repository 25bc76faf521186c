"""The roofline cost: hand arithmetic, physical bounds, monotonicity, and agreement of its three ways."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.models.architecture import Architecture, Attention, LayerGroup, Mla, Mlp
from foretell.models.efficiency import FRACTIONS, Efficiency, load_efficiency
from foretell.models.hardware import Accelerator, Hardware, Link, Node
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.roofline import RooflineCost, roofline_cost
from foretell.models.stepcost import StepLoad

NVLINK = Link("nvlink", 450e9, 1e-6, 5e-6)
NODE = Node("hgx", 8, NVLINK, Link("ib", 50e9, 5e-6))
H100 = Accelerator(
    "h100-sxm", "NVIDIA", 80e9, 3.35e12, {"bf16": 989.5e12, "fp8": 1979e12}, link="nvlink", node="hgx"
)
HARDWARE = Hardware(H100, NODE, launch_s=3e-6, host_s=5e-4)
BARE = Hardware(H100, NODE)


def _even(fraction: float, per_sequence_s: float = 0.0) -> Efficiency:
    return Efficiency(
        gemm=fraction,
        moe=fraction,
        prefill_attention=fraction,
        decode_attention=fraction,
        narrow_decode_attention=fraction,
        memory=fraction,
        moe_memory=fraction,
        link=fraction,
        host_per_sequence_s=per_sequence_s,
    )


PERFECT, HALF = _even(1.0), _even(0.5, 1e-6)

LLAMA_8B = Architecture(
    "llama-3.1-8b", 4096, 128256, (LayerGroup(32, Attention(32, 8, 128), Mlp(14336)),), False, 131072
)
_MLA = Attention(16, 16, 192, 128, mla=Mla(1536, 512, 128, 64))
SMALL_MLA = Architecture(
    "small-mla",
    2048,
    32000,
    (LayerGroup(1, _MLA, Mlp(8192)), LayerGroup(5, _MLA, Mlp(1024, 64, 6, 2048))),
    False,
    65536,
    "fp8",
)
SLIDING = Architecture(
    "sliding",
    2880,
    201088,
    (
        LayerGroup(4, Attention(64, 8, 64, sliding_window=128), Mlp(2880, 32, 4)),
        LayerGroup(4, Attention(64, 8, 64), Mlp(2880, 32, 4)),
    ),
    False,
    131072,
    "mxfp4",
    "experts",
)
LINEAR = Architecture(
    "linear",
    1024,
    32000,
    (
        LayerGroup(7, Attention(16, 16, 64, linear=True, output_gate=True), Mlp(2048, 8, 2)),
        LayerGroup(1, Attention(16, 4, 64), Mlp(2048, 8, 2)),
    ),
    True,
    65536,
)
FP8 = Precision("fp8", "fp8", "fp8")
CASES = [
    (LLAMA_8B, Parallelism(), Precision()),
    (LLAMA_8B, Parallelism(4), FP8),
    (LLAMA_8B, Parallelism(2, 4), Precision()),
    (SMALL_MLA, Parallelism(2), FP8),
    (SMALL_MLA, Parallelism(1, 1, 8, True), FP8),
    (SLIDING, Parallelism(2), Precision("mxfp4")),
    (SLIDING, Parallelism(1, 2), Precision("mxfp4", "bf16", "fp8")),
    (LINEAR, Parallelism(2, 1, 2), Precision()),
]


def make(case: tuple[Architecture, Parallelism, Precision], **changes: Any) -> RooflineCost:
    architecture, parallelism, precision = case
    fields: dict[str, Any] = {"hardware": HARDWARE, "efficiency": HALF} | changes
    return RooflineCost(architecture=architecture, parallelism=parallelism, precision=precision, **fields)


@st.composite
def loads(draw: st.DrawFn) -> StepLoad:
    """A load that some batch has."""
    prefills = draw(st.lists(st.tuples(st.integers(1, 2048), st.integers(0, 8192)), max_size=4))
    contexts = draw(st.lists(st.integers(1, 20000), max_size=64))
    if not prefills and not contexts:
        contexts = [1]
    return StepLoad(
        prefill_tokens=sum(n for n, _ in prefills),
        prefill_pairs=sum(n * (c + (n + 1) / 2) for n, c in prefills),
        prefill_context=sum(n + c for n, c in prefills),
        prefill_seqs=len(prefills),
        decode_seqs=len(contexts),
        decode_context=sum(contexts),
        sampled=len(contexts) + draw(st.integers(0, len(prefills))),
    )


def test_one_sequence_decoding_reads_the_weights_once() -> None:
    # 8.03e9 parameters in bf16 but for the embedding, of which one row is read; the rest is small
    cost = RooflineCost(LLAMA_8B, BARE, Parallelism(), Precision(), PERFECT)
    weights = 2 * (LLAMA_8B.parameters() - 128256 * 4096)
    seconds = cost(0, 0, 0, 0, 1, 1, 1)
    assert seconds == pytest.approx(weights / 3.35e12, rel=2e-3)
    assert seconds == pytest.approx(15.01e9 / 3.35e12, rel=2e-3)
    assert cost.breakdown(0, 0, 0, 0, 1, 1, 1)["memory"] == pytest.approx(seconds, rel=1e-9)


@pytest.mark.systems(63, 280)
def test_decode_reads_the_kv_cache() -> None:
    # Llama-3.1-8B keeps 32 layers x 2 x 8 heads x 128 x 2 bytes = 131,072 bytes a token
    cost = RooflineCost(LLAMA_8B, BARE, Parallelism(), Precision(), PERFECT)
    near, far = cost(0, 0, 0, 0, 8, 10_000, 8), cost(0, 0, 0, 0, 8, 110_000, 8)
    assert far - near == pytest.approx(131072 * 100_000 / 3.35e12, rel=1e-6)
    halved = RooflineCost(LLAMA_8B, BARE, Parallelism(), Precision(kv_cache="fp8"), PERFECT)
    assert halved(0, 0, 0, 0, 8, 110_000, 8) - halved(0, 0, 0, 0, 8, 10_000, 8) == pytest.approx(
        (far - near) / 2
    )


def test_a_large_prefill_is_two_flops_a_parameter_and_attention() -> None:
    cost = RooflineCost(LLAMA_8B, BARE, Parallelism(), Precision(), PERFECT)
    n = 8192
    pairs = n * (n + 1) / 2
    seconds = cost.breakdown(n, pairs, n, 1, 0, 0, 1)["compute"]
    matrices = LLAMA_8B.parameters() - 2 * 128256 * 4096
    attention = 4 * 32 * 32 * 128 * pairs  # 4 FLOPs x layers x heads x head size for each pair
    assert seconds == pytest.approx((2 * matrices * n + attention) / 989.5e12, rel=1e-3)


def test_mla_decodes_from_the_latent() -> None:
    cost = RooflineCost(SMALL_MLA, BARE, Parallelism(), Precision(), PERFECT)
    grown = cost(0, 0, 0, 0, 1, 101_000, 1) - cost(0, 0, 0, 0, 1, 1_000, 1)
    read = 6 * (512 + 64) * 2 * 100_000 / 3.35e12
    computed = 6 * 16 * 2 * (512 + 64 + 512) * 100_000 / 989.5e12
    assert grown == pytest.approx(max(read, computed), rel=1e-6)


def test_a_window_caps_the_context() -> None:
    cost = make((SLIDING, Parallelism(), Precision("mxfp4")), hardware=BARE, efficiency=PERFECT)
    grown = cost(0, 0, 0, 0, 4, 440_000, 4) - cost(0, 0, 0, 0, 4, 40_000, 4)
    assert grown == pytest.approx(4 * 2 * 8 * 64 * 2 * 400_000 / 3.35e12, rel=1e-6)  # four full layers only


@pytest.mark.systems(179)
def test_tensor_parallel_shares_the_work_and_talks() -> None:
    one = make((LLAMA_8B, Parallelism(1), Precision()), hardware=BARE).breakdown(4096, 1e5, 4096, 4, 0, 0, 4)
    four = make((LLAMA_8B, Parallelism(4), Precision()), hardware=BARE).breakdown(4096, 1e5, 4096, 4, 0, 0, 4)
    assert four["compute"] == pytest.approx(one["compute"] / 4, rel=0.02)
    assert one["communication"] == 0
    # 65 all-reduces of 4096 tokens x 4096 x 2 bytes over four ranks at half of 450 GB/s, on a ring
    ring = 65 * (5e-6 + 6e-6 + 1.5 * 4096 * 4096 * 2 / 225e9)
    assert four["communication"] == pytest.approx(ring, rel=0.01)


def test_host_is_hidden_only_as_far_as_asked() -> None:
    busy = make(CASES[0], hardware=BARE, efficiency=PERFECT)(0, 0, 0, 0, 1, 1, 1)
    for overlap in (0.0, 0.5, 1.0):
        cost = make(
            CASES[0], hardware=Hardware(H100, NODE, 0.0, 1e-3), efficiency=PERFECT, host_overlap=overlap
        )
        assert cost(0, 0, 0, 0, 1, 1, 1) == pytest.approx(busy + (1 - overlap) * 1e-3)
    slow = make(CASES[0], hardware=Hardware(H100, NODE, 0.0, 1.0), efficiency=PERFECT, host_overlap=1.0)
    assert slow(0, 0, 0, 0, 1, 1, 1) == 1.0


def test_weights_a_part_cannot_multiply_are_only_stored() -> None:
    a100 = Accelerator("a100", "NVIDIA", 80e9, 2e12, {"bf16": 312e12}, link="nvlink", node="hgx")
    wide = RooflineCost(LLAMA_8B, Hardware(a100, NODE), Parallelism(), Precision(), PERFECT)
    narrow = RooflineCost(LLAMA_8B, Hardware(a100, NODE), Parallelism(), FP8, PERFECT)
    small, large = (0, 0, 0, 0, 1, 1, 1), (8192, 8192 * 4096.5, 8192, 1, 0, 0, 1)
    assert narrow(*small) < 0.56 * wide(*small)
    assert narrow(*large) == pytest.approx(wide(*large), rel=0.02)
    assert any("only stored" in note for note in narrow.validity())
    assert any("no measured efficiency" in note for note in narrow.validity())


@pytest.mark.systems(63)
@settings(deadline=None)
@given(load=loads(), case=st.sampled_from(CASES), efficiency=st.sampled_from([PERFECT, HALF]))
def test_no_step_beats_the_hardware(load: StepLoad, case: Any, efficiency: Efficiency) -> None:
    architecture, plan, precision = case
    seconds = make(case, efficiency=efficiency, hardware=BARE)(*load)
    hidden, vocabulary = architecture.hidden_size, architecture.vocab_size
    # the least that must be done, counted apart from the operators: active parameters of each token
    matrices = 0
    for group in architecture.layers:
        attention = group.attention.projection_parameters(hidden)
        if group.attention.mla is not None:
            attention = 0  # its expansion runs over the context, or absorbed: no fixed count for a token
        matrices += group.count * (attention + group.mlp.active_parameters(hidden))
    tokens = load.prefill_tokens + load.decode_seqs
    flops = 2 * matrices * tokens + 2 * hidden * vocabulary * load.sampled
    ranks = plan.tensor_parallel_size * plan.pipeline_parallel_size
    assert seconds >= flops / (ranks * max(H100.peak_flops.values())) * (1 - 1e-9)
    kv = 0.5 if precision.kv_cache == "fp8" else 1.0
    read = 0.0
    for group in architecture.layers:
        if group.attention.sliding_window is None:
            # a rank holds at least its share
            read += group.count * group.attention.kv_elements_per_token() * 2 * kv * load.decode_context
    assert seconds >= read / (ranks * H100.memory_Bps) * (1 - 1e-9)


@settings(deadline=None)
@given(load=loads(), case=st.sampled_from(CASES), data=st.data())
def test_more_work_is_never_cheaper(load: StepLoad, case: Any, data: st.DataObject) -> None:
    cost = make(case)
    context = data.draw(st.integers(1, 20000))
    prompt = data.draw(st.integers(1, 2048))
    decode = load._replace(
        decode_seqs=load.decode_seqs + 1,
        decode_context=load.decode_context + context,
        sampled=load.sampled + 1,
    )
    prefill = load._replace(
        prefill_tokens=load.prefill_tokens + prompt,
        prefill_pairs=load.prefill_pairs + prompt * (prompt + 1) / 2,
        prefill_context=load.prefill_context + prompt,
        prefill_seqs=load.prefill_seqs + 1,
    )
    base = cost(*load)
    assert cost(*prefill) >= base * (1 - 1e-12)
    if case[1].pipeline_parallel_size == 1 or context * load.decode_seqs >= load.decode_context:
        assert cost(*decode) >= base * (1 - 1e-12)
    assert cost(*load._replace(decode_context=load.decode_context * 2)) >= base * (1 - 1e-12)


@settings(deadline=None)
@given(batch=st.lists(loads(), min_size=1, max_size=8), case=st.sampled_from(CASES))
def test_arrays_scalars_and_the_breakdown_agree(batch: list[StepLoad], case: Any) -> None:
    cost = make(case, host_overlap=0.5)
    columns = [np.array(column, dtype=float) for column in zip(*batch, strict=True)]
    scalars = [cost(*load) for load in batch]
    assert all(type(seconds) is float for seconds in scalars)
    assert cost(*columns) == pytest.approx(scalars, rel=1e-12)
    for load, seconds in zip(batch, scalars, strict=True):
        parts = cost.breakdown(*load)
        assert set(parts) == {"compute", "memory", "communication", "launch", "host"}
        assert min(parts.values()) >= 0
        assert sum(parts.values()) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seqs", [1, 3, 64, 1000])
def test_decode_steps_are_those_of_calling_bit_for_bit(case: Any, seqs: int) -> None:
    cost, start = make(case), 7 * seqs + 5
    steps = list(itertools.islice(cost.decode_steps(seqs, start), 1200))
    assert steps == [cost(0, 0, 0, 0, seqs, start + i * seqs, seqs) for i in range(1200)]


def test_decodes_share_the_pipeline_but_one_sequence_passes_every_stage() -> None:
    whole = make((LLAMA_8B, Parallelism(), Precision()), hardware=BARE, efficiency=PERFECT)
    staged = make((LLAMA_8B, Parallelism(1, 4), Precision()), hardware=BARE, efficiency=PERFECT)
    hops = staged.breakdown(0, 0, 0, 0, 1, 1000, 1)["communication"]
    assert staged(0, 0, 0, 0, 1, 1000, 1) == pytest.approx(whole(0, 0, 0, 0, 1, 1000, 1) + hops)
    shared = staged.breakdown(0, 0, 0, 0, 64, 64_000, 64)
    assert shared["memory"] == pytest.approx(whole.breakdown(0, 0, 0, 0, 16, 16_000, 16)["memory"])


def test_perturbed_costs_differ_keep_bounds_and_repeat() -> None:
    cost = roofline_cost(LLAMA_8B, HARDWARE)
    load = (512, 512 * 256.5, 512, 1, 32, 32_000, 33)
    drawn = [cost.perturbed(np.random.default_rng(seed)) for seed in range(50)]
    assert all(0 < getattr(one.efficiency, name) <= 1 for one in drawn for name in FRACTIONS)
    times = [one(*load) for one in drawn]
    assert len(set(times)) == 50
    assert min(times) < cost(*load) < max(times)
    assert cost.perturbed(np.random.default_rng(3))(*load) == times[3]


def test_a_cost_travels_to_another_process() -> None:
    cost = make(CASES[3])
    load = (512, 512 * 256.5, 512, 1, 32, 32_000, 33)
    expected = cost(*load)
    assert pickle.loads(pickle.dumps(cost))(*load) == expected
    assert cost == make(CASES[3])


def test_bundled_efficiencies() -> None:
    measured, elsewhere = load_efficiency("h100-sxm"), load_efficiency("tpu-v5e")
    assert measured.measured
    assert not elsewhere.measured
    assert measured.gemm == elsewhere.gemm
    assert elsewhere.compute_error >= measured.compute_error > 0
    assert elsewhere.memory_error > measured.memory_error > 0


@pytest.mark.parametrize(
    ("field", "value"), [("gemm", 0.0), ("gemm", 1.01), ("memory", float("nan")), ("host_scale", -1.0)]
)
def test_bad_efficiency_is_refused(field: str, value: float) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(PERFECT, **changes)


@pytest.mark.parametrize(("field", "value"), [("host_overlap", 1.5), ("expert_skew", -1.0)])
def test_bad_settings_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        make(CASES[0], **{field: value})
