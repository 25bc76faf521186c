"""The validation from rows to a summary, on rows whose truth is planted and on measured ones."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from foretell.models.parallelism import Parallelism
from foretell.models.residual import Residual
from foretell.models.silicon_source import has_silicon
from foretell.validate.closed_loop import LoopFeatures
from foretell.validate.folds import calibrating
from foretell.validate.loops import Loop, simulate_rows
from foretell.validate.mixed import untuned
from foretell.validate.report import CALIBRATED, LEAVE_MODEL, MAIN, summarise
from foretell.validate.silicon import IN_SAMPLE, UNTUNED, validate_silicon
from foretell.validate.silicon_rows import MeasuredRow, measured_rows, spread
from measured import measured
from places import SHARED

if TYPE_CHECKING:
    import pandas as pd

needs_silicon = pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")
needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="no shared recordings")
VARIANTS = (UNTUNED, MAIN, LEAVE_MODEL, CALIBRATED, IN_SAMPLE)
MODELS = {
    "llama-3.1-8b": Parallelism(),
    "qwen3-32b": Parallelism(2),
    "llama-3.3-70b": Parallelism(4),
}
GPUS = ("h100-sxm", "h200", "b200")
TRUTH = Residual(
    {**untuned().scales, "gemm": 1.15, "step": 1.5, "layers": 12.0},
    {"generation:blackwell": {"layers": 0.7}},
)
NOISE = 0.02


def planted(factor: float = 1.0) -> list[MeasuredRow]:
    """Rows "measured" by simulation at TRUTH, with noise; `factor` on the last pair alone."""
    plain = [
        measured(
            id=f"{model} {gpu} {n} {prompt}",
            model=model,
            accelerator=gpu,
            parallelism=plan,
            concurrency=n,
            num_requests=4 * n,
            prompt_tokens=(prompt * 4 // 5, prompt),
        )
        for model, plan in MODELS.items()
        for gpu in GPUS
        for n, prompt in ((1, 100), (2, 2000), (4, 500), (8, 100), (8, 2000))
    ]
    rng = np.random.default_rng(5)
    rows = []
    for row, found in zip(plain, simulate_rows([Loop(row, TRUTH, "curves") for row in plain]), strict=True):
        assert isinstance(found, LoopFeatures)
        times = np.array([found.ttft_s, found.tpot_s]) * np.exp(NOISE * rng.standard_normal(2))
        times *= factor if row.run.group == ("llama-3.3-70b", "b200") else 1.0
        run = dataclasses.replace(row.run, ttft_s=times[0], tpot_s=times[1])
        rows.append(dataclasses.replace(row, run=run))
    return rows


@cache
def rows() -> tuple[MeasuredRow, ...]:
    """The planted ones, one of them set aside and one that cannot be simulated, and two of another engine."""
    found = planted()
    corrupt = dataclasses.replace(found[3].run, tpot_s=9.0, set_aside="a clock")
    return (
        *found[:3],
        MeasuredRow(corrupt, True),
        *found[4:],
        measured(id="impossible", parallelism=Parallelism(3)),
        MeasuredRow(dataclasses.replace(found[0].run, id="foreign", backend="sglang")),
        MeasuredRow(dataclasses.replace(found[0].run, id="impossible too", parallelism=Parallelism(3))),
    )


@cache
def table() -> pd.DataFrame:
    return validate_silicon(rows(), None, "curves")


def ape(variant: str, metric: str) -> float:
    lines = table()
    lines = lines[lines["judged"] & (lines["variant"] == variant) & (lines["set_aside"] == "")]
    return float(np.nanmedian(np.abs(lines[f"{metric}_predicted_s"] / lines[f"{metric}_s"] - 1)))


@pytest.mark.slow
def test_every_row_has_a_line_in_every_variant() -> None:
    lines = table()
    judged = [row.run.id for row in rows() if row.judged]
    helped = set(calibrating([row for row in rows() if row.judged and row.run.id != "impossible"]))
    assert set(lines["variant"]) == set(VARIANTS)
    assert len(helped) == 3 * 9
    for variant in VARIANTS:
        ids = lines[lines["judged"] & (lines["variant"] == variant)]["id"].tolist()
        assert ids == [name for name in judged if variant != CALIBRATED or name not in helped], variant
    others = lines[~lines["judged"]]
    assert others["id"].tolist() == ["foreign", "impossible too"]
    assert set(others["variant"]) == {MAIN}


def test_a_row_that_cannot_be_simulated_says_why_and_the_rest_is_finite() -> None:
    lines = table()
    impossible = lines["id"].isin(["impossible", "impossible too"])
    assert lines[impossible]["ttft_predicted_s"].isna().all()
    assert lines[impossible]["why"].str.contains("tensor_parallel_size").all()
    told = lines[~impossible]
    assert (told["why"] == "").all()
    for metric in ("ttft", "tpot"):
        assert (told[f"{metric}_predicted_s"] > 0).all()
        banded = told[told["variant"].isin([MAIN, LEAVE_MODEL, CALIBRATED])]
        assert np.isfinite(banded[[f"{metric}_low_s", f"{metric}_high_s"]]).all(axis=None)
        assert (banded[f"{metric}_low_s"] < banded[f"{metric}_high_s"]).all()
        bare = told[told["variant"].isin([UNTUNED, IN_SAMPLE])]
        assert bare[[f"{metric}_low_s", f"{metric}_high_s"]].isna().all(axis=None)


def test_folds_are_those_of_the_variant() -> None:
    lines = table()
    folds = {name: set(part["fold"]) for name, part in lines[lines["judged"]].groupby("variant")}
    pairs = {f"{model}, {gpu}" for model in MODELS for gpu in GPUS}
    assert folds[MAIN] == pairs
    assert folds[CALIBRATED] == pairs
    assert folds[LEAVE_MODEL] == set(MODELS)
    assert folds[UNTUNED] == folds[IN_SAMPLE] == {""}


def test_the_fit_finds_what_was_planted() -> None:
    assert ape(UNTUNED, "tpot") > 0.06
    for variant in (MAIN, CALIBRATED, IN_SAMPLE):
        assert ape(variant, "tpot") < 0.6 * ape(UNTUNED, "tpot"), variant
    assert ape(LEAVE_MODEL, "tpot") < 0.8 * ape(UNTUNED, "tpot")
    assert ape(IN_SAMPLE, "tpot") < 2 * NOISE
    assert ape(IN_SAMPLE, "ttft") < 2 * NOISE


def test_a_summary_has_the_keys_that_were_asked_for() -> None:
    summary = json.loads(json.dumps(summarise(table(), "planted"), allow_nan=False))
    assert (summary["rows"], summary["rows_predicted"], summary["rows_set_aside"]) == (46, 45, 1)
    asked = {f"{metric}_{kind}_ape" for metric in ("tpot", "ttft") for kind in ("median", "mean")}
    asked |= {"rows", "rows_predicted", "interval_coverage_90"}
    assert asked <= set(summary)
    assert summary["variant"] == MAIN
    assert summary["tpot_median_ape"] == pytest.approx(100 * ape(MAIN, "tpot"))
    by_group = summary["by_group"]
    assert set(by_group) == {f"{model}, {gpu}" for model in MODELS for gpu in GPUS}
    for figures in by_group.values():
        assert asked <= set(figures)
    assert set(summary["variants"]) == set(VARIANTS)
    assert summary["with_set_aside"]["tpot_mean_ape"] > summary["tpot_mean_ape"]
    assert 0.5 <= summary["interval_coverage_90"] <= 1.0
    (reason,) = summary["not_predicted"]
    assert summary["not_predicted"][reason] == 2  # judged or not
    assert set(summary["other_backends"]) == {"all", "sglang agg", "vllm agg"}
    assert summary["other_backends"]["all"]["rows_predicted"] == 1


@pytest.mark.slow
def test_a_pairs_own_measurements_have_no_say_in_its_forecasts() -> None:
    """However far off they are; in the sample they have."""
    one, other = (validate_silicon(planted(factor)[::2], None, "curves") for factor in (1.0, 3.0))
    own = (one["model"] == "llama-3.3-70b") & (one["accelerator"] == "b200")

    def ratio(variant: str, mine: bool) -> npt.NDArray[np.float64]:
        here = (one["variant"] == variant) & (own == mine)
        told = ["ttft_predicted_s", "tpot_predicted_s"]
        return np.asarray(other[here][told].to_numpy(float) / one[here][told].to_numpy(float))

    for variant in (MAIN, LEAVE_MODEL):
        assert ratio(variant, True).shape == (3, 2)
        assert ratio(variant, True) == pytest.approx(1.0, rel=1e-5), variant
        assert ratio(variant, False).max() > 1.01  # the others' scales have seen it
    assert ratio(IN_SAMPLE, True).min() > 1.005  # outliers move a fit by little


def test_progress_reaches_the_end() -> None:
    told: list[tuple[int, int]] = []
    few = [row for row in rows() if row.run.model == "llama-3.1-8b"]
    validate_silicon(few, lambda done, of: told.append((done, of)), "curves")
    assert {of for _, of in told} == {6 * sum(row.judged for row in few) + 2}
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_no_judged_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="rows: none of them is judged"):
        validate_silicon([row for row in rows() if not row.judged], None, "curves")


@pytest.mark.slow
@needs_silicon
@needs_shared
def test_measured_rows() -> None:
    """24 of the judged rows and 12 of the others, simulated with measured operators."""
    found = measured_rows(SHARED / "data").rows
    few = [
        *spread([row for row in found if row.judged and row.run.concurrency <= 64], 24),
        *spread([row for row in found if not row.judged and row.run.concurrency <= 64], 12),
    ]
    lines = validate_silicon(few)
    main = lines[lines["variant"] == MAIN]
    assert main["id"].tolist() == [row.run.id for row in few]
    assert (main["why"] == "").all()
    for metric in ("ttft", "tpot"):
        low, high = (main[f"{metric}_{side}_s"].to_numpy(float) for side in ("low", "high"))
        assert (low > 0).all()
        assert (low < high).all()
    summary = json.loads(json.dumps(summarise(lines, "some"), allow_nan=False))
    assert summary["rows_predicted"] == 24
    # not a validation, for which 24 rows are too few, but no gross error either
    assert summary["variants"][UNTUNED]["tpot_median_ape"] < 30.0
    assert summary["tpot_median_ape"] < 30.0
    assert math.isfinite(summary["interval_coverage_90"])
