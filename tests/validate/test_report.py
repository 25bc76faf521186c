"""The validation's figures, by hand arithmetic."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.validate.report import (
    MAIN,
    TARGETS,
    Target,
    bootstrap,
    by,
    figures,
    group_medians,
    judge,
    name_of,
    number,
    summarise,
)
from silicon_table import row, table


def test_the_top_level_speaks_of_the_judged_rows_without_those_set_aside() -> None:
    summary = summarise(table(), "a file")
    assert (summary["rows"], summary["rows_predicted"], summary["rows_set_aside"]) == (5, 4, 1)
    assert summary["tpot_median_ape"] == pytest.approx(6)
    assert summary["tpot_mean_ape"] == pytest.approx((4 + 20 + 6) / 3)
    assert summary["ttft_median_ape"] == pytest.approx(10)
    assert summary["ttft_mean_ape"] == pytest.approx((5 + 30 + 10) / 3)
    assert summary["interval_coverage_90"] == pytest.approx(3 / 6)  # 0.9 × 1.1 = 0.99 holds no 1.0
    assert summary["tpot_interval_coverage_90"] == pytest.approx(2 / 3)
    assert summary["ttft_interval_coverage_90"] == pytest.approx(1 / 3)
    assert summary["not_predicted"] == {"it does not fit": 1}
    assert summary["set_aside"] == [{"id": "run4", "reason": "a clock <stopped>"}]
    assert summary["source"] == "a file"


def test_the_same_with_the_rows_set_aside() -> None:
    every = summarise(table(), "")["with_set_aside"]
    assert (every["rows"], every["rows_predicted"]) == (5, 4)
    assert every["tpot_median_ape"] == pytest.approx((6 + 20) / 2)
    assert every["tpot_mean_ape"] == pytest.approx((4 + 20 + 6 + 200) / 4)


def test_by_group_and_by_input() -> None:
    summary = summarise(table(), "")
    groups = summary["by_group"]
    assert set(groups) == {"gpt-oss-120b, h200", "gpt-oss-120b, b200"}
    assert groups["gpt-oss-120b, h200"]["tpot_median_ape"] == pytest.approx(12)
    assert groups["gpt-oss-120b, h200"]["rows"] == 3
    assert groups["gpt-oss-120b, h200"]["rows_predicted"] == 2
    assert summary["by_concurrency"]["64"]["ttft_median_ape"] == pytest.approx(10)
    medians = summary["group_medians"]
    assert medians["groups"] == 2
    assert medians["tpot_median_ape"] == pytest.approx((12 + 6) / 2)
    assert medians["ttft_mean_ape"] == pytest.approx((17.5 + 10) / 2)


def test_other_backends_and_variants() -> None:
    summary = summarise(table(), "")
    others = summary["other_backends"]
    assert set(others) == {"all", "sglang agg", "trtllm disagg", "vllm agg"}
    assert others["all"]["rows"] == 2
    assert others["all"]["tpot_median_ape"] == pytest.approx(20)
    assert summary["variants"]["untuned"]["tpot_median_ape"] == pytest.approx(20)
    assert list(summary["variants"]) == [MAIN, "untuned"]


def test_targets_are_met_missed_or_not_measured() -> None:
    targets = {target["name"]: target for target in summarise(table(), "")["targets"]}
    assert len(targets) == len(TARGETS) == 15
    assert targets["share of the rows predicted"]["reached"] == pytest.approx(4 / 5)
    assert targets["share of the rows predicted"]["met"] is False
    tpot = targets[f"{MAIN}: TPOT median error"]
    assert (tpot["asked"]["at_most"], tpot["met"]) == (5, False)
    assert targets[f"{MAIN}: TTFT median error"]["met"] is True
    assert targets["leave-one-model-out: TPOT mean error"]["met"] is None
    assert targets["coverage of the nominal 90 % interval"]["met"] is False


@pytest.mark.parametrize(
    ("reached", "met"), [(0.84, False), (0.85, True), (0.95, True), (0.96, False), (None, None)]
)
def test_a_target_includes_its_bounds(reached: float | None, met: bool | None) -> None:
    target = Target("coverage", lambda summary: summary["x"], 0.85, 0.95, "")
    assert judge(target, {"x": reached})["met"] is met


def test_json_knows_no_nan_even_where_nothing_is_predicted() -> None:
    rows = table()
    rows[["tpot_predicted_s", "ttft_predicted_s", "tpot_low_s", "ttft_low_s"]] = math.nan
    summary = json.loads(json.dumps(summarise(rows, ""), allow_nan=False))
    assert summary["rows_predicted"] == 0
    assert summary["tpot_median_ape"] is None
    assert summary["interval_coverage_90"] is None
    empty = summarise(table().iloc[:0], "")
    json.dumps(empty, allow_nan=False)
    assert empty["rows"] == 0
    assert all(not target["met"] for target in empty["targets"])


def test_the_bootstrap_draws_whole_groups() -> None:
    rows = table().iloc[:3]
    ends = bootstrap(rows)["tpot_median_ape_90"]
    # Of two groups, {4, 20} and {6}, the medians are 12, 6 (twice in four draws) and 6.
    assert ends == pytest.approx([6, 12])
    assert bootstrap(rows) == bootstrap(rows)
    assert bootstrap(rows.iloc[:2])["tpot_median_ape_90"] is None


@given(st.lists(st.floats(0.001, 0.1), min_size=1, max_size=20))
def test_groups_of_one_kind_are_the_whole(tpots: list[float]) -> None:
    import pandas as pd

    rows = pd.DataFrame([row(i, tpot, 1.0) for i, tpot in enumerate(tpots)])
    whole = figures(rows)
    assert by(rows, "model") == {"gpt-oss-120b": whole}
    assert group_medians(rows)["tpot_median_ape"] == whole["tpot_median_ape"]
    assert sum(part["rows"] for part in by(rows, "id").values()) == len(rows)
    assert 0 <= whole["interval_coverage_90"] <= 1


def test_names_and_numbers() -> None:
    assert [name_of(v) for v in (8.0, 1024, (819, 1024), "", math.nan)] == [
        "8",
        "1024",
        "819–1024",
        "unknown",
        "unknown",
    ]
    assert number(math.inf) is None
    assert number(2) == 2.0
