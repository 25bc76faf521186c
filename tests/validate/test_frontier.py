"""Frontiers: which points they have, how far apart two are, and what a summary says of it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.sim.report.svg import legend
from foretell.validate.cli import plain
from foretell.validate.evidence_frontier import frontier as section
from foretell.validate.frontier import gaps, on_frontier, operating_point, resampled, steepness
from foretell.validate.frontier_charts import NAMES, frontier_chart
from foretell.validate.frontier_page import chosen, render
from foretell.validate.frontier_rows import Configuration
from foretell.validate.frontier_summary import figures, summarise
from frontier_groups import FRONTIER, GROUPS, group

CURVE = np.array([[20.0, 1000.0], [50.0, 700.0], [80.0, 300.0], [90.0, 100.0]])


def test_little_s_law_gives_the_throughput_of_a_closed_loop() -> None:
    # a request of 101 tokens takes 1 + 100 · 0.04 s = 5 s; 10 in flight on 4 accelerators
    user, rate = operating_point(10, 4, 101, 1.0, 0.04)
    assert user == pytest.approx(25.0)
    assert rate == pytest.approx(10 * 101 / 5 / 4)


def test_a_frontier_is_what_nothing_beats_in_order() -> None:
    points = [(50.0, 700.0), (20.0, 1000.0), (45.0, 650.0), (90.0, 100.0), (50.0, 700.0), (80.0, 300.0)]
    assert on_frontier(points).tolist() == [1, 0, 5, 3]


@given(st.floats(0.8, 1.25))
def test_a_model_that_is_too_fast_by_a_factor_is_so_everywhere_as_speed(factor: float) -> None:
    speed = gaps(CURVE, factor * CURVE)["speed"]
    assert np.allclose(speed, np.log(factor))  # along the diagonal no point is beyond the other's ends


def test_across_amplifies_by_the_slope() -> None:
    slope = 2.0  # tokens/s/accelerator ∝ user^-2
    user = np.array([10.0, 20.0, 40.0, 80.0])
    ours = np.stack([user, user**-slope], axis=1)
    gap = gaps(ours, 1.05 * ours)
    assert np.nanmax(np.abs(gap["speed"] - np.log(1.05))) < 1e-12
    assert np.allclose(steepness(ours), 1 + slope)
    inside = np.isfinite(gap["across"])
    assert np.allclose(gap["across"][inside], (1 + slope) * np.log(1.05))
    inside = np.isfinite(gap["along"])
    assert np.allclose(gap["along"][inside], (1 + 1 / slope) * np.log(1.05))


def test_equal_frontiers_have_no_gap_and_ends_are_not_extrapolated() -> None:
    assert all(np.allclose(gap, 0.0) for gap in gaps(CURVE, CURVE).values())
    beyond = gaps(CURVE, CURVE[1:3])
    assert np.isnan(beyond["across"]).tolist() == [True, False, False, True]
    assert all(np.isnan(gap).all() for gap in gaps(CURVE, CURVE[:1]).values())


def test_resampling_whole_groups() -> None:
    alike = {"a": np.full(9, 4.0), "b": np.full(3, 4.0)}
    assert resampled(alike) == (4.0, 4.0)
    low, high = resampled({"a": np.full(9, 4.0), "b": np.full(3, 8.0)}) or (0, 0)
    assert (low, high) == (4.0, 8.0)
    assert resampled({"a": np.ones(9), "b": np.array([np.nan])}) is None


def test_figures_of_groups_that_are_off_by_known_factors() -> None:
    found = figures(GROUPS[:2])
    assert found["points"] == 10
    for key in ("across", "along", "speed"):
        assert found[key]["points"] + found[key]["beyond"] == 10
    alone = figures(GROUPS[:1])
    assert alone["speed"]["median_ape"] == pytest.approx(5.0)
    assert alone["same_configuration"]["median_ape"] == pytest.approx(5.0)
    assert alone["across"]["median_ape"] > 5.0  # the slope's share on top
    assert figures(GROUPS[1:2])["same_configuration"]["bias"] == pytest.approx(-10.0)


def test_the_other_way_round_has_the_same_sign() -> None:
    found = figures(GROUPS[:1])
    assert found["across"]["bias"] > 0
    assert found["across_back"]["bias"] > 0


def test_targets_are_judged_by_what_was_measured() -> None:
    good, bad = summarise([group("one", 1.01)]), summarise([group("one", 1.3)])
    assert good["targets"][0]["met"] is True
    assert bad["targets"][0]["met"] is False
    assert good["targets"][-1]["met"] is None  # no other back end
    assert "1 to 8" in good["by_concurrency"]


def test_points_that_others_beat_are_not_on_a_frontier() -> None:
    beaten = Configuration("TP 1", 2, (10.0, 10.0), (10.0, 10.0), 1)
    one = GROUPS[0]
    more = dataclasses.replace(one, configurations=(*one.configurations, beaten))
    assert np.array_equal(more.measured, one.measured)


def test_the_picture_tells_what_it_shows() -> None:
    one = GROUPS[0]
    chart = frontier_chart(one.measured, one.predicted, one.name, [(30.0, 60.0)])
    assert 'role="img"' in chart
    assert "in the median" in chart
    assert chart.count("stroke-dasharray") == 1
    assert all(name in legend(NAMES) for name in NAMES)
    apart = frontier_chart(one.measured, 100 * one.measured, one.name)
    assert "do not overlap" in apart


def test_the_page_loads_nothing_and_has_every_group() -> None:
    html = render(FRONTIER, GROUPS)
    assert all(each.name in html for each in GROUPS)
    assert "<script" not in html
    assert "http" not in html
    assert len(chosen(FRONTIER, GROUPS, 2)) == 2


def test_the_section_of_evidence_names_the_misses() -> None:
    one = section(json.loads(json.dumps(plain(FRONTIER))))
    assert [check.met for check in one.checks] == [target["met"] for target in FRONTIER["targets"]]
    assert any("beyond the ends" in miss for miss in one.misses)
    with pytest.raises(ValueError, match="summary"):
        section({})
