"""KV capacity and plans against hand arithmetic, published sizes and logged runs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.models.architecture import Architecture, list_architectures, load_architecture
from foretell.models.engine_memory import (
    GIB,
    EngineMemory,
    activation_bytes,
    capacity_data,
    engine_memory,
    runtime_bytes,
    version_tuple,
)
from foretell.models.hardware import Hardware, load_hardware
from foretell.models.memory import Capacity, kv_bytes_per_token, kv_capacity, weights_bytes
from foretell.models.parallelism import Parallelism, validate_parallelism
from foretell.models.precision import (
    ELEMENT_BYTES,
    Precision,
    compute_precision,
    is_weight_only,
    quantized_parts,
)
from foretell.models.roofline import roofline_cost

LLAMA = load_architecture("llama-3.1-8b")
H100 = load_hardware("h100-sxm")
FP8 = Precision("fp8", "fp8", "fp8")


def test_kv_bytes_of_a_token() -> None:
    # 2 x layers x KV heads x head size x 2 bytes
    assert kv_bytes_per_token(LLAMA, Parallelism(), Precision()) == 2 * 32 * 8 * 128 * 2
    assert kv_bytes_per_token(LLAMA, Parallelism(4), FP8) == 2 * 32 * 2 * 128
    assert kv_bytes_per_token(LLAMA, Parallelism(16), Precision()) == 2 * 32 * 1 * 128 * 2  # heads are copied
    assert kv_bytes_per_token(LLAMA, Parallelism(1, 4), Precision()) == 2 * 8 * 8 * 128 * 2
    deepseek = load_architecture("deepseek-v3")
    for tp in (1, 8):  # the latent is whole on every rank
        assert kv_bytes_per_token(deepseek, Parallelism(tp), Precision()) == 61 * 576 * 2


def test_windows_count_by_their_share_of_the_mean_context() -> None:
    model = load_architecture("gpt-oss-20b")
    full = kv_bytes_per_token(model, Parallelism(), Precision())
    assert full == 24 * 2 * 8 * 64 * 2
    assert kv_bytes_per_token(model, Parallelism(), Precision(), 1280) == pytest.approx(full * (0.5 + 0.05))
    assert kv_bytes_per_token(model, Parallelism(), Precision(), 100) == full


@pytest.mark.parametrize("name", [name for name in list_architectures() if "deepseek" not in name])
def test_weights_of_one_rank_are_the_parameters(name: str) -> None:
    model = load_architecture(name)
    if any(group.attention.mla for group in model.layers):
        pytest.skip("MLA keeps its absorbed matrices beside the shipped ones")
    assert weights_bytes(model, Parallelism(), Precision(), H100) == pytest.approx(
        2 * model.parameters(), rel=0.01
    )


def test_weights_are_shared() -> None:
    one = weights_bytes(LLAMA, Parallelism(), Precision(), H100)
    assert weights_bytes(LLAMA, Parallelism(8), Precision(), H100) == pytest.approx(one / 8, rel=0.01)
    layers = one - 2 * 128256 * 4096 * 2
    staged = weights_bytes(LLAMA, Parallelism(1, 4), Precision(), H100)
    assert staged == pytest.approx(layers / 4 + 128256 * 4096 * 2, rel=1e-3)
    moe = load_architecture("qwen3-235b-a22b")
    whole, spread = Parallelism(8, 1, 1, True), Parallelism(1, 1, 8, True)
    experts = 94 * 128 * 3 * 4096 * 1536
    assert weights_bytes(moe, whole, FP8, H100) == pytest.approx(
        weights_bytes(moe, Parallelism(8), FP8, H100), rel=1e-9
    )
    alone = weights_bytes(moe, Parallelism(), FP8, H100)
    assert alone - weights_bytes(moe, spread, FP8, H100) == pytest.approx(experts * 7 / 8, rel=1e-6)


def _capacity(**settings: Any) -> Capacity:
    return kv_capacity(LLAMA, H100, Parallelism(), Precision(), **settings)


def test_activations_by_hand() -> None:
    engine = EngineMemory((0, 1), 10.0, 1e9, 2e9, 1e6, 1.0, 1.0)
    plan = Parallelism()
    # 8192 tokens: four rows of 4096 and three of 14336, in bf16, against 100 rows of 128256 logits
    layer = 8192 * (4 * 4096 + 3 * 14336) * 2
    assert activation_bytes(LLAMA, plan, 8192, 100, engine) == layer
    assert activation_bytes(LLAMA, plan, 8192, 1024, engine) == 1024 * 128256 * 10
    assert activation_bytes(LLAMA, plan, 16, 1024, engine) == 16 * 128256 * 10  # no more rows than tokens
    moe = load_architecture("qwen3-30b-a3b")
    workspace = 8192 * 8 * (2048 + 2048) * 2  # 8 experts a token, 2 x 768 wide, in and out of a hidden row
    assert activation_bytes(moe, plan, 8192, 1024, engine) == 1024 * 151936 * 10 + workspace
    assert runtime_bytes(LLAMA, plan, engine) == 1e9 + 32e6
    assert runtime_bytes(LLAMA, Parallelism(2), engine) == 3e9 + 32e6
    assert runtime_bytes(LLAMA, Parallelism(1, 4), engine) == 1e9 + 8e6


def test_versions_of_the_engine() -> None:
    assert version_tuple("0.11.2rc1+rhai0.cuda") == version_tuple("v0.11") == (0, 11)
    assert engine_memory("0.1") == engine_memory("0.16.2") != engine_memory("0.17")
    assert engine_memory("0.20").graph_bytes_per_layer == 0 < engine_memory("0.21").graph_bytes_per_layer
    assert engine_memory() == engine_memory("0.32") == engine_memory("1.0")
    for wrong in ("", "latest", "32", "0.x"):
        with pytest.raises(ValueError, match="engine_version"):
            engine_memory(wrong)


def test_sorted_logits_cost_blocks() -> None:
    """A thousand rows of logits took some 4.7 GiB of an H100 until vLLM 0.16."""
    old, new = _capacity(engine_version="0.11", max_num_seqs=1024), _capacity(engine_version="0.19")
    assert 4 * GIB < old.activation_bytes < 5 * GIB
    assert old.num_gpu_blocks < new.num_gpu_blocks
    few = _capacity(engine_version="0.11", max_num_seqs=64)
    assert few.activation_bytes == 8192 * (4 * 4096 + 3 * 14336) * 2


@pytest.mark.parametrize(
    "run",
    capacity_data()["run"],
    ids=lambda run: f"{run['model']} {run.get('kv_gib', '')}",
)
def test_logged_runs_are_consistent(run: dict[str, Any]) -> None:
    """Weights and bytes of a token come out as the servers logged them."""
    model, hardware = load_architecture(run["architecture"]), load_hardware(run["accelerator"])
    plan = Parallelism(
        run.get("tensor_parallel_size", 1), 1, 1, bool(run.get("enable_expert_parallel", False))
    )
    precision = Precision(**run.get("precision", {}))
    assert re.search(r"20\d\d", run["source"])
    if "weights_gib" in run:
        weights = weights_bytes(model, plan, precision, hardware) / GIB
        assert weights == pytest.approx(run["weights_gib"], rel=0.05)
    if "kv_tokens" in run:
        assert run["kv_gib"] * GIB / run["kv_tokens"] == pytest.approx(
            kv_bytes_per_token(model, plan, precision), rel=0.02
        )


def test_the_terms_add_up() -> None:
    at = kv_capacity(LLAMA, H100, Parallelism(), Precision(), gpu_memory_utilization=0.9)
    assert isinstance(at, Capacity)
    used = at.weights_bytes + at.activation_bytes + at.runtime_bytes + at.kv_bytes
    assert 0 <= at.memory_bytes - used < at.bytes_per_block
    assert at.num_kv_tokens == 16 * at.num_gpu_blocks
    assert at.low < at.num_gpu_blocks < at.high


def test_a_model_that_does_not_fit_says_how_much_and_what_would() -> None:
    model = load_architecture("llama-3.1-70b")
    with pytest.raises(ValueError, match=r"\d+\.\d GiB a rank short .* tensor_parallel_size 2 would fit"):
        kv_capacity(model, H100, Parallelism(), Precision())
    assert kv_capacity(model, H100, Parallelism(2), Precision()).num_gpu_blocks > 2
    with pytest.raises(ValueError, match="no tensor_parallel_size up to 64"):
        kv_capacity(load_architecture("kimi-k2"), load_hardware("l4"), Parallelism(), Precision())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("gpu_memory_utilization", 0.0),
        ("gpu_memory_utilization", 1.2),
        ("block_size", 0),
        ("max_num_seqs", 0),
    ],
)
def test_bad_settings_are_named(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=setting):
        kv_capacity(LLAMA, H100, Parallelism(), Precision(), **{setting: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        (Parallelism(3), "tensor_parallel_size"),
        (Parallelism(1, 33), "pipeline_parallel_size"),
        (Parallelism(1, 1, 1, True), "enable_expert_parallel"),
        (Parallelism(4, 3), "tensor_parallel_size × pipeline_parallel_size"),
    ],
)
def test_impossible_plans_name_the_flag(plan: Parallelism, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        validate_parallelism(LLAMA, H100, plan)


def test_experts_must_divide_or_be_dealt() -> None:
    model = load_architecture("gpt-oss-120b")  # experts 2,880 wide
    with pytest.raises(ValueError, match="expert width"):
        validate_parallelism(model, H100, Parallelism(1, 1, 128))
    validate_parallelism(model, H100, Parallelism(1, 1, 128, True))
    with pytest.raises(ValueError, match="more than the 128 experts"):
        validate_parallelism(model, H100, Parallelism(1, 1, 256, True))


@pytest.mark.parametrize("field", ["tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_degrees_are_positive_integers(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        Parallelism(**{field: value})


def test_precision() -> None:
    with pytest.raises(ValueError, match="kv_cache"):
        Precision(kv_cache="fp9")
    peaks = {"bf16": 1.0, "fp8": 2.0, "fp4": 4.0}
    assert compute_precision(peaks, "fp4", "fp4") == "fp4"
    assert compute_precision(peaks, "mxfp4", "fp8") == "fp8"
    assert compute_precision(peaks, "int4", "bf16") == "bf16"
    assert compute_precision({"bf16": 1.0}, "fp8", "fp8") == "bf16"
    assert compute_precision({"fp32": 1.0}, "bf16", "bf16") == "fp32"
    assert is_weight_only({"bf16": 1.0}, "fp8", "fp8")
    assert not is_weight_only(peaks, "fp8", "fp8")
    with pytest.raises(ValueError, match="peak_flops"):
        compute_precision({"int8": 1.0}, "bf16", "bf16")
    assert ELEMENT_BYTES["mxfp4"] == pytest.approx(4.25 / 8)
    assert quantized_parts(Precision("fp4"), "bf16", "linear", is_moe=True) == "experts"
    assert quantized_parts(Precision("fp4"), "bf16", "linear", is_moe=False) == "linear"
    assert quantized_parts(Precision("mxfp4"), "mxfp4", "experts", is_moe=True) == "experts"
    assert quantized_parts(Precision("fp4", quantized_parts="mlp"), "fp4", "linear", is_moe=True) == "mlp"


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(list_architectures()),
    accelerator=st.sampled_from(["h100-sxm", "a100-80gb-sxm", "mi300x", "b200", "tpu-v6e"]),
    tp=st.sampled_from([1, 2, 4, 8]),
    precision=st.sampled_from([Precision(), FP8, Precision("fp4", "fp4"), Precision("int4")]),
)
def test_every_bundled_model_has_a_price_and_a_size(
    name: str, accelerator: str, tp: int, precision: Precision
) -> None:
    model, hardware = load_architecture(name), load_hardware(accelerator)
    try:
        cost = roofline_cost(model, hardware, Parallelism(tp), precision)
    except ValueError as error:
        assert "tensor_parallel_size" in str(error)  # heads that do not divide
        return
    seconds = cost(512, 512 * 256.5, 512, 1, 8, 8000, 9)
    assert 1e-4 < seconds < 10
    _fits(model, hardware, tp, precision)


def _fits(model: Architecture, hardware: Hardware, tp: int, precision: Precision) -> None:
    try:
        capacity = kv_capacity(model, hardware, Parallelism(tp), precision)
    except ValueError as error:
        assert "short" in str(error)
    else:
        assert 2 <= capacity.low <= capacity.num_gpu_blocks <= capacity.high
