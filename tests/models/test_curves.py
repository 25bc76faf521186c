"""Operators priced by the shipped curves: bounds, who lends to whom, and the tables they stand for."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.models.architecture import load_architecture
from foretell.models.catalogue import list_records
from foretell.models.curve_forms import COLLECTIVES, FAMILIES, Curve, LinkCurve, Work, family_of
from foretell.models.curves import SAME_CHIP, Curves, load_curves
from foretell.models.efficiency import load_efficiency
from foretell.models.hardware import Link, load_hardware
from foretell.models.layers import step_operators
from foretell.models.operator_time import Machine
from foretell.models.operators import Attend, Experts, Linear, Operator
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.silicon import load_silicon
from foretell.models.silicon_source import SYSTEMS, has_silicon
from foretell.models.tabulate import tabulate

MODELS = {
    "llama-3.3-70b": Precision("fp8", "fp8", "fp8"),
    "minimax-m2": Precision("fp8", "fp8", "fp8"),
    "gpt-oss-120b": Precision("mxfp4", "bf16", "bf16"),
    "deepseek-v3": Precision("fp8", "fp8", "bf16"),
    "kimi-k2": Precision("nvfp4", "nvfp4", "fp8"),
    "minimax-text-01": Precision(),
}


def machine(accelerator: str) -> Machine:
    hardware = load_hardware(accelerator)
    part = hardware.accelerator
    return Machine(part.memory_Bps, part.peak_flops, load_efficiency(accelerator), hardware.launch_s)


def operators(model: str, accelerator: str, tp: int = 8, skew: float = 0.0) -> tuple[Operator, ...]:
    plan, peaks = Parallelism(tensor_parallel_size=tp), load_hardware(accelerator).accelerator.peak_flops
    return step_operators(load_architecture(model), plan, MODELS[model], peaks, skew)


def load_of(operator: Operator, batch: Any, length: Any) -> tuple[Any, ...]:
    if not isinstance(operator, Attend):
        return (batch,)
    if operator.phase == "decode":
        return batch, batch * length, batch * length, batch
    return batch * length, batch * length * (length + 1.0) / 2.0, batch * length, batch


def seconds(time: Any) -> Any:
    return np.maximum(time.compute, time.memory) + time.launch


def test_a_curve_is_what_its_formula_says() -> None:
    curve = Curve(1e-6, 0.5, 0.8, 2.0, (100.0,), (3.0, 10.0), 0.1)
    # c = 3e-6 · (1 + 100/50) / 0.5 = 18e-6, m = 8e-6 · (1 + 3/6 + 10/20) / 0.8 = 20e-6
    told = curve.seconds(Work(3e-6, 8e-6, (50.0,), (6.0, 20.0)))
    assert told == pytest.approx(1e-6 + np.hypot(18e-6, 20e-6))
    assert curve.seconds(Work(0.0, 0.0, (50.0,), (6.0, 20.0))) == 0.0
    # 4e-6 + (1e-6 + √(4e-6 · 1e-6)) / 0.5 = 10e-6
    assert LinkCurve(4e-6, 0.5, 4e-6, 0.1).seconds(1e-6) == pytest.approx(10e-6)


@pytest.mark.parametrize(
    "figures",
    [{"compute": 1.01}, {"memory": 0.0}, {"sharpness": 0.9}, {"launch_s": -1e-9}, {"memory_halves": (-1.0,)}],
)
def test_a_curve_that_could_beat_the_peaks_is_refused(figures: dict[str, Any]) -> None:
    fine: dict[str, Any] = {
        "launch_s": 1e-6,
        "compute": 0.5,
        "memory": 0.5,
        "sharpness": 2.0,
        "compute_halves": (),
        "memory_halves": (1.0,),
        "error": 0.1,
    }
    assert Curve(**fine)
    with pytest.raises(ValueError, match="curve: "):
        Curve(**fine | figures)
    with pytest.raises(ValueError, match="curve: bandwidth"):
        LinkCurve(1e-6, 1.5, 0.0, 0.1)


@settings(max_examples=60, deadline=None)
@given(
    accelerator=st.sampled_from(list_records("hardware")),
    model=st.sampled_from(sorted(MODELS)),
    tp=st.sampled_from([1, 2, 8]),
    batch=st.floats(1.0, 3e4),
    length=st.floats(1.0, 1e6),
)
def test_nothing_beats_the_peaks(accelerator: str, model: str, tp: int, batch: float, length: float) -> None:
    where, curves = machine(accelerator), load_curves(accelerator)
    for operator in operators(model, accelerator, tp):
        load = load_of(operator, batch, length)
        flops, moved = operator.work(*load)
        least = max(flops / where.peak_flops[operator.precision], moved / where.memory_Bps)
        if isinstance(operator, Experts):
            # the tables' routing reads fewer experts, and their formats may multiply narrower ones
            peak = max(where.peak_flops.get(key, 0.0) for key in ("bf16", "fp8", "fp16", operator.precision))
            one = min(operator.top_k / operator.expert_ranks, 1.0) * operator.expert_bytes
            pairs = batch * operator.top_k / operator.expert_ranks
            least = max(operator.flops_per * pairs / peak, 0.99 * one / where.memory_Bps)
        assert seconds(curves.timer(operator, load, where)) >= least * (1 - 1e-9), operator.name


@settings(max_examples=25, deadline=None)
@given(
    accelerator=st.sampled_from(["h200", "b200", "l40s", "a100-80gb-sxm", "mi300x"]),
    model=st.sampled_from(sorted(MODELS)),
    length=st.floats(1.0, 1e5),
    skew=st.sampled_from([0.0, 0.8]),
)
def test_more_work_never_takes_less(accelerator: str, model: str, length: float, skew: float) -> None:
    where, curves = machine(accelerator), load_curves(accelerator)
    many = np.geomspace(1.0, 4e4, 40)
    for operator in operators(model, accelerator, skew=skew):
        along = [seconds(curves.timer(operator, load_of(operator, many, np.full(40, length)), where))]
        if isinstance(operator, Attend):
            along.append(seconds(curves.timer(operator, load_of(operator, np.full(40, 8.0), many), where)))
        for told in along:
            assert (np.diff(told) >= -1e-12 * told[1:]).all(), operator.name


def test_scalars_and_arrays_agree_and_nothing_costs_nothing() -> None:
    where, curves = machine("b200"), load_curves("b200")
    for model in MODELS:
        for operator in operators(model, "b200"):
            one = load_of(operator, 300.0, 700.0)
            told = curves.timer(operator, tuple(np.array([0.0, figure]) for figure in one), where)
            each = curves.timer(operator, one, where)
            assert seconds(told)[0] == 0.0, operator.name
            assert seconds(told)[1] == pytest.approx(float(seconds(each)), rel=1e-12)
            assert np.ndim(each.compute) == 0 and seconds(each) > 0
            # what binds by the roofline carries the time
            flops, moved = operator.work(*one)
            if not isinstance(operator, Experts) and flops:
                bound = flops / where.peak_flops[operator.precision] > moved / where.memory_Bps
                assert (each.compute > each.memory) == bound


def test_every_measured_accelerator_has_every_family_and_stays_small() -> None:
    path = files("foretell.models") / "data" / "curves.toml"
    assert len(path.read_bytes()) < 40_000
    assert b"aiconfigurator-core" in path.read_bytes()
    for accelerator in SYSTEMS:
        curves = load_curves(accelerator)
        assert curves.measured
        for family in (*FAMILIES, "elementwise", "all_reduce", "all_gather"):
            assert 0.01 < curves.error(family) < 1.5
    with pytest.raises(ValueError, match="'gemv' is not one of gemm"):
        load_curves("h200").error("gemv")


def test_an_unmeasured_accelerator_gets_the_pooled_curves_and_wider_errors() -> None:
    pooled = load_curves("mi300x")
    assert not pooled.measured
    assert pooled.kernels == load_curves("tpu-v6e").kernels == load_curves("mine").kernels
    for family in ("gemm", "experts", "prefill_attention", "decode_attention", "all_reduce"):
        assert pooled.error(family) > max(
            load_curves(name).error(family) for name in ("h200", "b200", "gb300")
        )
    for other, own in SAME_CHIP.items():
        lent, measured = load_curves(other), load_curves(own)
        assert not lent.measured
        assert measured.error("gemm") < lent.error("gemm") < 0.4
        assert lent.kernels["gemm/bfloat16"].compute == measured.kernels["gemm/bfloat16"].compute


def test_a_format_nobody_measured_borrows_and_says_so() -> None:
    def matrix(weights: str, weight_bytes: float) -> Linear:
        return Linear(
            name="matrix",
            kind="gemm",
            driver="tokens",
            layers=1,
            precision="bf16",
            rows=4096,
            columns=4096,
            flops_per=2.0 * 4096**2,
            bytes_per=4.0 * 4096,
            weight_bytes=weight_bytes * 4096**2,
            weights=weights,
        )

    where, curves = machine("h200"), load_curves("h200")
    wide, narrow = matrix("bf16", 2.0), matrix("int4", 0.5625)
    assert curves.log_error(narrow) == pytest.approx(np.hypot(curves.log_error(wide), 0.3))
    # fewer bytes are faster where bytes bind, and no faster where FLOPs do
    few = [float(seconds(curves.timer(op, (1.0,), where))) for op in (wide, narrow)]
    many = [float(seconds(curves.timer(op, (8192.0,), where))) for op in (wide, narrow)]
    assert few[1] < 0.8 * few[0]
    assert many[1] == pytest.approx(many[0], rel=0.05)
    # an A100 multiplies fp8 weights in 16 bits, and has INT4 kernels of its own
    assert load_curves("a100-80gb-sxm").log_error(matrix("int4", 0.5625)) < 0.2


def test_skewed_experts_of_one_rank_read_fewer_of_them() -> None:
    where, curves = machine("h200"), load_curves("h200")
    told = []
    for skew in (0.0, 0.5, 1.5):
        experts = next(op for op in operators("minimax-m2", "h200", skew=skew) if isinstance(op, Experts))
        told.append(float(seconds(curves.timer(experts, (64.0,), where))))
    assert told[2] < told[1] < 1.5 * told[0]


@settings(max_examples=40, deadline=None)
@given(
    accelerator=st.sampled_from(["h200", "b200", "l40s", "gb300", "mi300x", "rtx-4090"]),
    ranks=st.integers(2, 72),
    size=st.floats(1.0, 1e9),
)
def test_no_collective_beats_its_link(accelerator: str, ranks: int, size: float) -> None:
    curves = load_curves(accelerator)
    assert curves.link is not None
    least = size / curves.link.bandwidth_Bps
    assert curves.all_reduce_s(size, ranks) >= least
    assert curves.all_gather_s(size, ranks) >= least * (ranks - 1) / ranks
    assert curves.all_reduce_s(2 * size, ranks, fused=False) > curves.all_reduce_s(size, ranks, fused=False)


def test_collectives_of_one_rank_and_of_unknown_links() -> None:
    curves = load_curves("b200")
    assert curves.all_reduce_s(1e6, 1) == curves.all_gather_s(1e6, 1) == 0.0
    assert curves.all_reduce_s(65536.0, 8) < curves.all_reduce_s(65536.0, 8, fused=False)
    assert curves.all_reduce_s(np.array([0.0, 1e6]), 8)[0] == 0.0
    hopper = load_curves("h200")
    assert hopper.all_reduce_s(65536.0, 8) == hopper.all_reduce_s(65536.0, 8, fused=False)
    with pytest.raises(ValueError, match="no link of 'mine' is known"):
        load_curves("mine").all_reduce_s(1e6, 2)
    wired = load_curves("mine", Link("pcie4", 32e9, 3e-6))
    assert wired.all_reduce_s(1e8, 2) > 1e8 / 32e9
    assert {name for name, _ in curves.links} == set(COLLECTIVES)


@pytest.mark.parametrize("accelerator", ["h200", "mi300x"])
def test_curves_price_a_whole_step(accelerator: str) -> None:
    hardware = load_hardware(accelerator)
    llama, plan = load_architecture("llama-3.1-8b"), Parallelism(tensor_parallel_size=2)
    cost = tabulate(llama, hardware, plan, timer=load_curves(accelerator).timer)
    plain = tabulate(llama, hardware, plan)
    load = (0, 0, 0, 0, 64, 64 * 1024, 64)
    assert 0.5 < sum(cost.terms(*load).values()) / sum(plain.terms(*load).values()) < 2.0


@pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")
@pytest.mark.parametrize("accelerator", ["h200", "b200"])
def test_curves_agree_with_the_tables_within_their_errors(
    accelerator: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the shapes of six models, which is not how they were fitted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    where, curves, silicon = machine(accelerator), load_curves(accelerator), load_silicon(accelerator)
    batch, length = (a.ravel() for a in np.meshgrid([1.0, 8.0, 64.0, 512.0], [256.0, 2048.0, 16384.0]))
    off: dict[str, list[Any]] = {}
    theirs: dict[str, list[Any]] = {}
    for model in MODELS:
        if model == "kimi-k2" and accelerator == "h200":
            continue  # Hopper has no NVFP4
        for operator in operators(model, accelerator):
            if isinstance(operator, Linear) and (not operator.rows or operator.weights == "fp32"):
                continue  # the tables have neither elementwise work nor products in fp32
            # prompts of at most 131,072 tokens together
            some = batch * length <= 2**17 if load_of(operator, 1.0, 2.0)[0] > 1.0 else batch > 0
            load = load_of(operator, batch[some], length[some])
            told = seconds(curves.timer(operator, load, where))
            table = silicon.estimate(operator, load, where)
            off.setdefault(family_of(operator), []).append(np.log(told / table.seconds))
            theirs.setdefault(family_of(operator), []).append(table.log_error)
    assert set(off) == set(FAMILIES)
    for family, parts in off.items():
        size = float(np.sqrt(np.mean(np.concatenate(parts) ** 2)))
        # MLA's prefill is what a module leaves beside its projections, 4 to 30 % of it at these lengths
        room = 2.0 if family == "prefill_latent" else 1.3
        table_error = float(np.sqrt(np.mean(np.concatenate(theirs[family]) ** 2)))
        assert size < room * np.hypot(curves.error(family), table_error), (family, size)


def test_curves_are_immutable() -> None:
    curves = load_curves("h200")
    assert isinstance(curves, Curves)
    with pytest.raises(AttributeError):
        curves.measured = False  # type: ignore[misc]
