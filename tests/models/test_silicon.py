"""Operators priced by the measured tables, against the tables themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.models.architecture import load_architecture
from foretell.models.efficiency import load_efficiency
from foretell.models.hardware import load_hardware
from foretell.models.layers import step_operators
from foretell.models.operator_time import Machine
from foretell.models.operators import Attend, Experts, Linear, Operator
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.silicon import load_silicon
from foretell.models.silicon_source import data_folder, has_silicon

pytestmark = pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache of these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def machine(accelerator: str) -> Machine:
    hardware = load_hardware(accelerator)
    part = hardware.accelerator
    return Machine(part.memory_Bps, part.peak_flops, load_efficiency(accelerator), hardware.launch_s)


def operators(
    model: str, accelerator: str, tp: int, precision: Precision, **plan: Any
) -> dict[str, Operator]:
    found = step_operators(
        load_architecture(model),
        Parallelism(tensor_parallel_size=tp, **plan),
        precision,
        load_hardware(accelerator).accelerator.peak_flops,
    )
    return {operator.name: operator for operator in found}


def gemm(rows: int, columns: int, weights: str = "bf16", weight_bytes: float = 2.0) -> Linear:
    return Linear(
        name="matrix",
        kind="gemm",
        driver="tokens",
        layers=1,
        precision=weights,
        rows=rows,
        columns=columns,
        flops_per=2.0 * rows * columns,
        bytes_per=columns * weight_bytes + rows * 2.0,
        weight_bytes=rows * columns * weight_bytes,
        weights=weights,
    )


def table(system: str, path: str) -> Any:
    import pandas as pd

    return pd.read_parquet(data_folder() / system / path)


def seconds(time: Any) -> Any:
    return np.maximum(time.compute, time.memory) + time.launch


def test_a_measured_matrix_takes_what_was_measured() -> None:
    rows = table("h200_sxm", "gemm/vllm/0.24.0/gemm_perf.parquet")
    silicon, where = load_silicon("h200"), machine("h200")
    for weights, dtype, width in (("bf16", "bfloat16", 2.0), ("fp8", "fp8", 1.0)):
        mine = rows[(rows.gemm_dtype == dtype) & (rows.n == 4096) & (rows.k == 7168)].sort_values("m")
        # a larger product is never faster, so that a slow outlier counts as its faster successor
        expected = mine.latency.to_numpy()[::-1]
        expected = np.minimum.accumulate(expected)[::-1] * 1e-3
        told = silicon.timer(gemm(4096, 7168, weights, width), (mine.m.to_numpy(dtype=float),), where)
        np.testing.assert_allclose(seconds(told), expected, rtol=1e-5)


def test_measured_experts_take_what_was_measured() -> None:
    rows = table("h200_sxm", "moe/vllm/0.24.0/moe_perf.parquet")
    experts = operators("minimax-m2", "h200", 4, Precision("fp8", "fp8", "fp8"))["experts"]
    assert isinstance(experts, Experts)
    mine = rows[
        (rows.moe_dtype == "fp8_block")
        & (rows.distribution == "power_law_1.01")
        & (rows.hidden_size == 3072)
        & (rows.inter_size == 1536)
        & (rows.moe_tp_size == 4)
        & (rows.moe_ep_size == 1)
    ]
    mine = mine.groupby("num_tokens").latency.min()
    expected = np.minimum.accumulate(mine.to_numpy()[::-1])[::-1] * 1e-3
    told = load_silicon("h200").timer(experts, (mine.index.to_numpy(dtype=float),), machine("h200"))
    np.testing.assert_allclose(seconds(told), expected, rtol=1e-5)


def test_gpt_oss_runs_mxfp8_on_blackwell() -> None:
    """vLLM takes MXFP8 activations there; only SGLang's tables have them at this model's shape."""
    rows = table("b200_sxm", "moe/sglang/0.5.14/moe_perf.parquet")
    experts = operators("gpt-oss-120b", "b200", 2, Precision("mxfp4", "bf16", "bf16"))["experts"]
    mine = rows[
        (rows.moe_dtype == "w4a8_mxfp4_mxfp8")
        & (rows.distribution == "power_law_1.01")
        & (rows.hidden_size == 2880)
        & (rows.num_experts == 128)
        & (rows.moe_tp_size == 2)
        & (rows.moe_ep_size == 1)
        & (rows.num_tokens == 16384)
    ]
    told = load_silicon("b200").timer(experts, (16384.0,), machine("b200"))
    assert seconds(told) == pytest.approx(mine.latency.min() * 1e-3, rel=1e-5)


@pytest.mark.parametrize("phase", ["context", "generation"])
def test_measured_attention_takes_what_was_measured(phase: str) -> None:
    rows = table("b200_sxm", f"attention/vllm/0.24.0/{phase}_attention_perf.parquet")
    length = 4096
    mine = rows[
        (rows.num_heads == 16)
        & (rows.num_key_value_heads == 2)
        & (rows.head_dim == 128)
        & (rows.window_size == 0)
        & (rows.kv_cache_dtype == "fp8")
        & (rows.batch_size == 8)
        & ((rows.isl if phase == "context" else rows.step + 1) == length)
    ]
    found = operators("llama-3.3-70b", "b200", 4, Precision("fp8", "fp8", "fp8"))
    silicon, where = load_silicon("b200"), machine("b200")
    if phase == "context":
        load = (8.0 * length, 8.0 * length * (length + 1) / 2, 8.0 * length, 8.0)
        told = silicon.timer(found["prefill_attention"], load, where)
    else:
        told = silicon.timer(found["decode_attention"], (8.0, 8.0 * length, 8.0 * length, 8.0), where)
    # cleaning may lower a point to one of more work, by little
    assert seconds(told) == pytest.approx(mine.latency.min() * 1e-3, rel=0.05)


def test_a_chunk_costs_more_than_a_start_and_less_than_all() -> None:
    prefill = operators("llama-3.3-70b", "h200", 4, Precision())["prefill_attention"]
    silicon, where = load_silicon("h200"), machine("h200")

    def chunk(computed: float, new: float) -> float:
        pairs = new * (computed + (new + 1) / 2)
        return float(seconds(silicon.timer(prefill, (new, pairs, computed + new, 1.0), where)))

    parts = [chunk(2048.0 * place, 2048.0) for place in range(4)]
    assert parts == sorted(parts)
    assert chunk(0.0, 8192.0) < sum(parts) < 1.5 * chunk(0.0, 8192.0)


@pytest.mark.parametrize("heads_tp", [8, 2])
def test_the_operators_of_mla_add_up_to_the_measured_module(heads_tp: int) -> None:
    rows = table("b200_sxm", "mla/vllm/0.24.0/mla_generation_module_perf.parquet")
    found = operators("deepseek-v3", "b200", heads_tp, Precision("bf16", "bf16", "fp8"))
    silicon, where = load_silicon("b200"), machine("b200")
    for batch, length in ((64, 4096), (256, 2048), (8, 16384)):
        mine = rows[
            (rows.num_heads == 128 // heads_tp)
            & (rows.gemm_type == "bfloat16")
            & (rows.kv_cache_dtype == "fp8")
            & (rows.batch_size == batch)
            & (rows.step == length)
        ]
        total = 0.0
        for name in ("q_kv_a_proj", "q_b_proj", "rope", "kv_write", "absorb", "o_proj"):
            total += seconds(silicon.timer(found[name], (float(batch),), where))
        context = float(batch * length)
        load = (float(batch), context, context, float(batch))
        total += seconds(silicon.timer(found["decode_attention"], load, where))
        assert total == pytest.approx(mine.latency.min() * 1e-3, rel=0.05)


@pytest.mark.parametrize("accelerator", ["h100-sxm", "b200"])
def test_no_prediction_beats_the_hardwares_peak(accelerator: str) -> None:
    """Over every shape of the tables, on measured loads and between them."""
    from foretell.models.silicon_attention import NO_WINDOW, attention_curves
    from foretell.models.silicon_source import table_files

    silicon, where = load_silicon(accelerator), machine(accelerator)
    m = np.geomspace(1, 40000, 97)
    sizes = [32, 100, 256, 1024, 3000, 4096, 7168, 16384, 65536, 151936]
    formats = [("bf16", 2.0), ("fp8", 1.0)] + ([("nvfp4", 0.5625)] if accelerator == "b200" else [])
    for weights, width in formats:
        for n in sizes:
            for k in sizes:
                matrix = gemm(n, k, weights, width)
                if weights == "nvfp4":
                    matrix = Linear(
                        **{name: getattr(matrix, name) for name in matrix.__slots__} | {"precision": "fp4"}
                    )
                flops, moved = matrix.work(m)
                peak = where.peak_flops[matrix.precision]
                told = silicon.estimate(matrix, (m,), where)
                assert (told.seconds >= np.maximum(flops / peak, moved / where.memory_Bps)).all()
                assert (told.log_error >= 0.02).all()
    batch, length = (grid.ravel() for grid in np.meshgrid([1.0, 3.0, 40.0, 300.0], np.geomspace(1, 2e5, 15)))
    for phase, kind in (("prefill", "context"), ("decode", "generation")):
        path = table_files(silicon.source, "attention", f"{kind}_attention_perf")[0]
        curves = attention_curves(silicon.source, path, phase, "bfloat16")
        assert curves is not None
        for heads, kv_heads, head_dim, window in 2.0**curves.shapes:
            attend = attention(phase, round(heads), round(kv_heads), round(head_dim), window, NO_WINDOW)
            queries = batch * (length if phase == "prefill" else 1.0)
            pairs = batch * (length * (length + 1) / 2 if phase == "prefill" else length)
            load = (queries, pairs, batch * length, batch)
            flops, moved = attend.work(*load)
            told = silicon.estimate(attend, load, where)
            least = np.maximum(flops / where.peak_flops["bf16"], moved / where.memory_Bps)
            assert (told.seconds >= least).all()


@pytest.mark.parametrize("accelerator", ["h200", "b300"])
def test_no_experts_beat_the_hardwares_peak(accelerator: str) -> None:
    silicon, where = load_silicon(accelerator), machine(accelerator)
    tokens = np.geomspace(1, 60000, 60)
    for model, weights in (("minimax-m2", "fp8"), ("qwen3-235b-a22b", "bf16"), ("gpt-oss-120b", "mxfp4")):
        for tp in (1, 2, 4, 8):
            for whole in (False, True):
                plan = {"enable_expert_parallel": whole}
                activations = "fp8" if weights == "fp8" else "bf16"
                found = operators(model, accelerator, tp, Precision(weights, activations), **plan)
                experts = found["experts"]
                assert isinstance(experts, Experts)
                told = silicon.estimate(experts, (tokens,), where)
                # at least one expert's weights are read by the token that comes, and all pairs multiplied
                pairs = tokens * experts.top_k / experts.expert_ranks
                compute = experts.flops_per * pairs / max(where.peak_flops["bf16"], where.peak_flops["fp8"])
                read = min(experts.top_k / experts.expert_ranks, 1.0) * experts.expert_bytes
                assert (told.seconds >= np.maximum(compute, read / where.memory_Bps)).all()


def attention(
    phase: str, heads: int, kv_heads: int, head_dim: int, window: float, no_window: float
) -> Attend:
    return Attend(
        name="attention",
        phase=phase,
        layers=1,
        precision="bf16",
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        window=None if window >= no_window else round(window),
        flops_per_pair=4.0 * heads * head_dim,
        bytes_per_key=4.0 * kv_heads * head_dim,
        flops_per_query=0.0,
        bytes_per_query=4.0 * heads * head_dim,
    )


def test_arrays_and_scalars_agree_and_nothing_costs_nothing() -> None:
    found = operators("kimi-k2", "b200", 8, Precision("nvfp4", "nvfp4", "fp8"))
    silicon, where = load_silicon("b200"), machine("b200")
    for operator in found.values():
        one: tuple[float, ...]
        if isinstance(operator, Attend):
            one = (300.0, 300.0 * 700, 300.0 * 700, 300.0)
        else:
            one = (300.0,)
        many = tuple(np.array([0.0, figure]) for figure in one)
        told, each = silicon.timer(operator, many, where), silicon.timer(operator, one, where)
        assert seconds(told)[0] == 0.0
        assert seconds(told)[1] == pytest.approx(seconds(each)) and seconds(each) > 0


def test_mla_of_an_a100_borrows_and_says_so() -> None:
    attend = operators("deepseek-v3", "a100-80gb-sxm", 8, Precision())["decode_attention"]
    load = (64.0, 64 * 4096.0, 64 * 4096.0, 64.0)
    own = load_silicon("h100-sxm").estimate(attend, load, machine("h100-sxm"))
    lent = load_silicon("a100-80gb-sxm").estimate(attend, load, machine("a100-80gb-sxm"))
    assert lent.seconds > own.seconds and lent.log_error > own.log_error + 0.1


def test_linear_attention_and_other_peaks_are_priced() -> None:
    state = operators("minimax-text-01", "h200", 8, Precision())
    silicon, where = load_silicon("h200"), machine("h200")
    decode = seconds(silicon.timer(state["decode_state"], (64.0, 64.0, 64.0, 64.0), where))
    assert 1e-6 < decode < 1e-3
    # half the bandwidth: a decode's attention takes twice as long, and we are less sure
    half = Machine(where.memory_Bps / 2, where.peak_flops, where.efficiency, where.launch_s)
    attend = operators("llama-3.3-70b", "h200", 8, Precision())["decode_attention"]
    load = (256.0, 256.0 * 8192, 256.0 * 8192, 256.0)
    full, slow = silicon.estimate(attend, load, where), silicon.estimate(attend, load, half)
    assert slow.seconds == pytest.approx(2 * full.seconds, rel=0.02)
    assert slow.log_error > full.log_error + 0.1
