"""What is left out, what calibrates, and how sure the other folds' errors make a forecast."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from foretell.models.residual import CLIENT
from foretell.models.tabulated import TERMS
from foretell.validate.closed_loop import LoopFeatures
from foretell.validate.folds import (
    calibrating,
    calibration_rows,
    interval_factors,
    left_out,
    model_of,
    pair_of,
    runs_of,
)
from foretell.validate.mixed import NAMES, PRIOR, Array, Mixed, Runs, mixed
from foretell.validate.silicon_rows import MeasuredRow
from measured import measured


def features(ttft_s: float, tpot_s: float = 0.01, **terms: tuple[float, float]) -> LoopFeatures:
    both = [np.array([terms.get(name, (0.0, 0.0))[i] for name in TERMS]) for i in range(2)]
    return LoopFeatures(ttft_s, tpot_s, both[0], both[1], 100, 0)


def test_what_a_slower_client_adds_by_hand() -> None:
    """Scales of 2 (gemm), 8 ms a request, 0.5 ms for each of 4 streams, and 3, then 9 units of client_1k.

    The first row is 0.2 s, and 0.26 s at 9: 0.01 s a unit. Without its 3 units and 0.01 s it is 0.16 s, which
    the engine's terms must make, that say 2 · 0.1 s: they count 0.8 times. The second row's client is hidden
    behind a queue: it adds nothing, and 0.39 s are the engine's, of 2 · 0.15 s.
    """
    rows = [measured(ttft_s=0.3, tpot_s=0.02), measured(id="b", model="llama-3.3-70b", ttft_s=0.4)]
    scales = dict.fromkeys(NAMES, 0.0) | {
        "gemm": 2.0,
        "client": 8.0,
        "client_stream": 500.0,
        "client_1k": 3.0,
    }
    low = [features(0.2, gemm=(0.1, 0.005)), features(0.4, gemm=(0.15, 0.004))]
    high = [features(0.26), features(0.4)]
    runs = runs_of(rows, low, high, scales, {**scales, "client_1k": 9.0})
    gemm, client, client_1k, stream = (
        NAMES.index(name) for name in ("gemm", "client", "client_1k", "client_stream")
    )
    assert runs.ttft_terms[:, gemm].tolist() == pytest.approx([0.08, 0.195])
    assert runs.ttft_terms[:, client].tolist() == pytest.approx([1e-3, 1e-3])
    assert runs.ttft_terms[:, client_1k].tolist() == pytest.approx([0.01, 0.0])
    assert runs.tpot_terms[:, gemm].tolist() == [0.005, 0.004]
    assert runs.ttft_terms[:, stream].tolist() == pytest.approx([4e-6, 4e-6])
    assert not runs.tpot_terms[:, [client, client_1k, stream]].any()
    assert runs.ttft_s.tolist() == [0.3, 0.4]
    assert runs.tpot_s.tolist() == [0.02, 0.008]
    assert [keys[0] for keys in runs.keys] == ["model:llama-3.1-8b", "model:llama-3.3-70b"]
    # and together they are what was simulated
    c = np.array([scales[name] for name in NAMES])
    assert (runs.ttft_terms @ c).tolist() == pytest.approx([0.2, 0.4])


def test_a_client_that_makes_requests_faster_is_none() -> None:
    scales = dict.fromkeys(NAMES, 0.0) | {"gemm": 1.0, "client": 0.0, "client_1k": 3.0}
    slower = {**scales, "client_1k": 9.0}
    found = [
        runs_of([measured()], [features(0.2, gemm=(0.1, 0.0))], [features(then)], scales, slower)
        for then in (0.1, 100.0)
    ]
    k = NAMES.index("client_1k")
    assert found[0].ttft_terms[0, k] == 0.0
    assert found[1].ttft_terms[0, k] == pytest.approx(0.9 * 0.2 / 3.0)  # a tenth is the engine's at least


def test_what_is_left_out_together() -> None:
    row = measured(model="gpt-oss-120b", accelerator="b200")
    assert pair_of(row) == "gpt-oss-120b, b200"
    assert model_of(row) == "gpt-oss-120b"


def loads(*lengths_and_concurrencies: tuple[int, int]) -> list[MeasuredRow]:
    return [
        measured(id=f"{i:02d}", prompt_tokens=(n, n), concurrency=c)
        for i, (n, c) in enumerate(lengths_and_concurrencies)
    ]


def test_calibration_rows_are_spread_over_the_order_of_loads() -> None:
    rows = loads((1000, 4), (100, 8), (100, 4), (1000, 8), (8000, 4), (8000, 8))
    # in order: 2, 1, 0, 3, 4, 5; the middles of three even parts of six
    assert calibration_rows(rows, range(6)) == [1, 3, 5]
    assert calibration_rows(rows, [5, 4, 3, 2, 1, 0]) == [1, 3, 5]
    assert calibration_rows(rows, [4, 0, 2]) == [2, 0, 4]
    assert calibration_rows(rows, [4, 0]) == [0, 4]
    assert calibration_rows(rows, [4]) == [4]
    assert calibration_rows(rows, []) == []


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=3, max_size=30), st.randoms())
def test_calibration_rows_are_three_of_the_group_whatever_was_measured(
    sizes: list[tuple[int, int]], random: Any
) -> None:
    assume(len(set(sizes)) >= 3)
    rows = loads(*sizes)
    mine = list(range(len(rows)))
    random.shuffle(mine)
    found = calibration_rows(rows, mine)
    assert len(set(found)) == 3
    other = [
        dataclasses.replace(row, run=dataclasses.replace(row.run, tpot_s=random.random())) for row in rows
    ]
    assert calibration_rows(other, sorted(mine)) == found


def test_calibrating_rows_are_those_of_all_pairs_but_never_set_aside() -> None:
    rows = [measured(id=f"{m}{i}", model=m, concurrency=i + 1) for m in ("m", "n") for i in range(5)]
    assert calibrating(rows) == ["m0", "m2", "m4", "n0", "n2", "n4"]
    doubtful = dataclasses.replace(rows[2], run=dataclasses.replace(rows[2].run, set_aside="a clock"))
    # of 0, 1, 3, 4 the first, the third and the last
    assert calibrating([*rows[:2], doubtful, *rows[3:]]) == ["m0", "m3", "m4", "n0", "n2", "n4"]


# ----------------------------------------------------------------------------------------- intervals


def test_factors_by_hand() -> None:
    """Of a fold's factors nine tenths of the others' errors lie between, every fold weighing 1 in all.

    Left of "a" are b (0.0, 0.4: half each) and c (0.2): mid-weights 0.25, 0.5, 0.75 of 2 → 0.125, 0.5, 0.875
    in the order 0.0 (b), 0.2 (c), 0.4 (b). Quantiles below 0.125 and above 0.875 are the ends.
    """
    errors = np.array([9.0, -9.0, 0.0, 0.4, 0.2])
    found = interval_factors(errors, ["a", "a", "b", "b", "c"])
    assert set(found) == {"", "a", "b", "c"}
    assert found["a"] == pytest.approx((1.0, np.exp(0.4)))
    even = interval_factors(np.linspace(0.0, 1.0, 101), ["x"] * 101, weigh=False)
    # mid-points (i + 0.5) / 101, so that i = 4.55 and 95.45
    assert even[""] == pytest.approx((np.exp(0.0455), np.exp(0.9545)))
    assert np.isnan(even["x"]).all()  # nobody else tells


def test_every_fold_weighs_the_same() -> None:
    """A hundred rows of one fold and one of another: half of the weight each."""
    errors, folds = np.array([0.0] * 100 + [1.0]), ["many"] * 100 + ["one"]
    assert interval_factors(errors, folds)[""] == pytest.approx((1.0, np.e))
    low, high = interval_factors(errors, folds, weigh=False)[""]
    assert (low, high) == (1.0, 1.0)


@given(
    st.lists(st.floats(-1, 1), min_size=6, max_size=30),
    st.lists(st.floats(-9, 9) | st.just(float("nan")), min_size=6, max_size=30),
)
def test_a_folds_own_errors_have_no_say_in_its_factors(others: list[float], own: list[float]) -> None:
    folds = [f"other {i % 3}" for i in range(len(others))]
    alone = interval_factors(np.array(others), folds)[""]
    found = interval_factors(np.array([*others, *own]), [*folds, *["own"] * len(own)])
    assert found["own"] == alone


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20), st.data())
def test_errors_that_are_not_known_have_no_say(errors: list[float], data: st.DataObject) -> None:
    folds = data.draw(
        st.lists(st.sampled_from("abc"), min_size=len(errors), max_size=len(errors)), label="folds"
    )
    found = interval_factors(np.array([*errors, np.nan]), [*folds, "a"])
    for name, factors in interval_factors(np.array(errors), folds).items():
        assert found[name] == pytest.approx(factors, nan_ok=True)
        assert np.isnan(factors[0]) or factors[0] <= factors[1]


@pytest.mark.parametrize("between", [0.0, 0.2])
def test_nine_of_ten_measurements_of_a_new_fold_lie_within(between: float) -> None:
    """Normal errors around means of folds that are themselves normal: what the method assumes."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(30):
        sizes = rng.integers(20, 200, 13)
        folds = np.repeat(np.arange(13).astype(str), sizes)
        means = np.repeat(between * rng.standard_normal(13), sizes)
        errors = means + 0.1 * rng.standard_normal(sizes.sum())
        found = interval_factors(errors, folds.tolist())
        low, high = (np.array([np.log(found[name][i]) for name in folds]) for i in range(2))
        inside = (low <= errors) & (errors <= high)
        covered.append(np.mean([inside[folds == name].mean() for name in set(folds)]))
    # 13 folds are few to know the spread between folds from
    assert np.mean(covered) == pytest.approx(0.9, abs=0.01 if between == 0.0 else 0.05)


# ------------------------------------------------------------------------------------- fits without

GPUS = ("h100-sxm", "h200", "b200")
GROUPS = [(model, gpu) for model in ("llama-3.1-8b", "llama-3.3-70b", "qwen3-32b") for gpu in GPUS]


def synthetic() -> tuple[list[MeasuredRow], Mixed]:
    """Eight rows a group, at the priors but for gemm and a factor of one group; 2 % noise."""
    rng = np.random.default_rng(7)
    c = np.array([PRIOR[name][0] for name in NAMES])
    c[NAMES.index("gemm")] = 1.1
    rows, lines = [], []
    for g, (model, accelerator) in enumerate(GROUPS):
        for i in range(8):
            step = np.zeros(len(NAMES))
            for name, size in (("gemm", 5e-3), ("decode_attention", 3e-3), ("layers", 5e-5), ("step", 1e-3)):
                step[NAMES.index(name)] = size * rng.uniform(0.3, 2.0)
            factor = 1.2 if g == 8 else 1.0
            times = factor * np.array([10 * step @ c, step @ c]) * np.exp(0.02 * rng.standard_normal(2))
            changes = {"model": model, "accelerator": accelerator, "concurrency": 2 * i + 2}
            rows.append(measured(id=f"{g}-{i}", ttft_s=times[0], tpot_s=times[1], **changes))
            lines.append(step)
    return rows, mixed(_runs(rows, np.array(lines)))


def _runs(rows: list[MeasuredRow], step: Array) -> Runs:
    scales = dict.fromkeys(NAMES, 1.0) | {"client": 0.0}
    found = [
        LoopFeatures(10 * line.sum(), line.sum(), 10 * line[: len(TERMS)], line[: len(TERMS)], 1, 0)
        for line in step
    ]
    runs = runs_of(rows, found, found, scales, {**scales, "client_1k": 2.0})
    ttft = runs.ttft_terms.copy()
    ttft[:, [NAMES.index(name) for name in CLIENT]] = 0.0
    return dataclasses.replace(runs, ttft_terms=ttft)


def measured_anew(rows: list[MeasuredRow], model: Mixed, group: int) -> Mixed:
    """The same where one group was measured otherwise."""
    mine = np.array([row.run.id.startswith(f"{group}-") for row in rows])
    return mixed(dataclasses.replace(model.runs, tpot_s=model.runs.tpot_s * np.where(mine, 1.5, 1.0)))


def test_scales_without_a_fold_do_not_know_it() -> None:
    rows, model = synthetic()
    without = left_out(model, rows, pair_of)
    anew = left_out(measured_anew(rows, model, 8), rows, pair_of)
    assert set(without) == {", ".join(group) for group in GROUPS}
    name, other = ", ".join(GROUPS[8]), ", ".join(GROUPS[0])
    keys = model.runs.keys[-1]
    for term, scale in without[name].at(keys).items():
        assert anew[name].at(keys)[term] == pytest.approx(scale, rel=1e-3), term
    assert anew[other].at(keys)["gemm"] != pytest.approx(without[other].at(keys)["gemm"], rel=1e-3)


def test_calibration_rows_bring_a_group_closer() -> None:
    rows, model = synthetic()
    name = ", ".join(GROUPS[8])
    here = np.array([i for i, row in enumerate(rows) if pair_of(row) == name])
    few = calibration_rows(rows, here.tolist())
    rest = [i for i in here if i not in few]
    errors = []
    for calibrated in (False, True):
        residual = left_out(model, rows, pair_of, calibrated)[name]
        c = np.array([residual.at(model.runs.keys[rest[0]])[n] for n in NAMES])
        errors.append(np.median(np.abs(np.log(model.runs.tpot_terms[rest] @ c / model.runs.tpot_s[rest]))))
    assert errors[0] > 0.1
    assert errors[1] < 0.6 * errors[0]


def test_rows_set_aside_help_no_fold() -> None:
    rows, model = synthetic()
    absurd = {"1-3", "8-4"}
    doubtful = [
        dataclasses.replace(row, run=dataclasses.replace(row.run, set_aside="a clock"))
        if row.run.id in absurd
        else row
        for row in rows
    ]
    keep = np.array([row.run.id not in absurd for row in rows])
    runs = model.runs
    wrong = dataclasses.replace(runs, tpot_s=np.where(keep, runs.tpot_s, 1000.0))
    for calibrated in (False, True):
        one = left_out(mixed(wrong), doubtful, pair_of, calibrated)
        other = left_out(model, doubtful, pair_of, calibrated)
        assert one == other
    assert Counter(keep)[False] == 2


def test_repeats_of_calibration_rows_are_not_judged() -> None:
    """The same configuration measured twice: one calibrates, neither is judged."""
    rows = [measured(id=f"m{i}", model="m", concurrency=i + 1) for i in range(4)]
    again = dataclasses.replace(rows[0], run=dataclasses.replace(rows[0].run, id="again", ttft_s=1.0))
    assert set(calibrating([*rows, again])) == {"m0", "again", "m2", "m3"}
