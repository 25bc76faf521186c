"""`foretell validate kinetics`: the paper's points by our laws, its claims, the page and the command."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from foretell.models.kinetics_paper import paper_kept, paper_models, prompt_tokens
from foretell.validate.cli import validate_command
from foretell.validate.kinetics import Check
from foretell.validate.kinetics_charts import Line, over_costs
from foretell.validate.kinetics_page import render
from foretell.validate.kinetics_points import paper_curves
from foretell.validate.kinetics_summary import Result, kinetics
from places import SHARED, docs_script

DATA = SHARED / "data"
needs_points = pytest.mark.skipif(
    not (DATA / "kinetics").is_dir(), reason="needs the paper's points (kinetics/)"
)


@cache
def found() -> Result:
    return kinetics(DATA if (DATA / "kinetics").is_dir() else None)


def checks(by: str) -> dict[str, Check]:
    return {c.name: c for c in found().checks if c.by == by}


@pytest.mark.slow
@pytest.mark.systems(26)
@pytest.mark.parametrize(("by", "near"), [("law", 0.04), ("profile", 0.05)])
def test_the_switch_points_are_the_paper_s(by: str, near: float) -> None:
    """All but 4B → 14B by eFLOPs, where the two curves lie within three points of each other for long."""
    ours = checks(by)
    for name in (
        "FLOPs: 1.7B → 4B",
        "FLOPs: 4B → 8B",
        "FLOPs: 8B → 14B",
        "FLOPs: 14B → 32B",
        "eFLOPs: 14B → 32B",
    ):
        assert ours[name].ours == pytest.approx(ours[name].paper, abs=near), name
    between = ours["eFLOPs: 4B → 14B"]
    assert between.crossings[0] < 0.4
    assert between.crossings[-1] < 0.5
    assert not found().eight_on_frontier[by]


@pytest.mark.systems(26)
def test_choosing_by_flops_costs_up_to_three_times_as_much() -> None:
    (times,) = (c for n, c in checks("profile").items() if n.startswith("FLOPs-optimal"))
    assert times.ours == pytest.approx(3, rel=0.2)


@needs_points
def test_our_tools_read_the_paper_s_claims_off_its_curves() -> None:
    ours = checks("points")
    assert ours["top-k, long CoT: times less cost at 0.765"].ours == pytest.approx(11.21, rel=0.03)
    assert ours["top-k, long CoT: points gained at 0.08 B200-s"].ours == pytest.approx(47.5, abs=1)
    assert ours["top-k, long CoT: points gained at 4.4 B200-s"].ours == pytest.approx(5, abs=0.5)


@needs_points
def test_the_shipped_laws_are_the_fitted_ones_and_fit() -> None:
    fits = found().fits
    assert fits is not None
    for size, law in fits.truncation.items():
        shipped = paper_models()[size]
        assert shipped.half_tokens == pytest.approx(law.half_tokens, rel=0.003)
        assert shipped.spread == pytest.approx(law.spread, abs=0.002)
        assert law.rmse < 0.03
        assert 5200 < law.half_tokens < 7200
        assert 0.38 < law.spread < 0.46
    assert paper_kept().scale == pytest.approx(fits.budget.scale, rel=0.01)
    assert paper_kept().shape == pytest.approx(fits.budget.shape, rel=0.01)
    assert max(fits.left_out.values()) < 0.03  # each predicted from the others, but for its A∞


@needs_points
@pytest.mark.systems(26)
def test_profiles_follow_the_dense_points() -> None:
    """Problem by problem and cap by cap, as the paper did; within three points."""
    points, profile = paper_curves(DATA), found().profile["eFLOPs"]
    from foretell.validate.kinetics import grid

    for size, theirs in points.dense.items():
        ours = np.interp(np.log(points.costs), np.log(grid("eFLOPs")), profile[size])
        assert np.sqrt(np.mean((ours - theirs) ** 2)) < 0.03, size


def test_sparse_attention_pays_as_the_paper_says_or_more() -> None:
    ours = checks("profile")
    for name, c in ours.items():
        if "times less" in name:
            assert c.ours is not None
            assert 0.9 * c.paper < c.ours < 2.5 * c.paper, name
    growth = checks("law")
    assert growth["long CoT: tokens for twice the cost, times"].ours == pytest.approx(1.74, rel=0.1)


@needs_points
def test_the_page_in_docs_shows_these_figures() -> None:
    """If this fails: python docs/kinetics.py, and look at what changed."""
    page = docs_script("kinetics")
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.rendered(text, "figures", page.figures(found())) == text
    assert page.rendered(text, "trials", page.trials()) == text


def test_a_chart_has_its_lines_and_points() -> None:
    x = np.array([1.0, 10.0, 100.0])
    chart = over_costs({"a <b>": (Line(x, x / 200, x, x / 100),)}, "title", "cost", 1, 100, every=1)
    assert chart.count("<path style=") == 1
    assert chart.count("a2.6 2.6 0 1 0 5.2 0a") == 3  # round marks
    assert "a &lt;b&gt;: up to 100 %" in chart


def test_the_page_is_one_file_that_loads_nothing() -> None:
    page = render(found())
    assert page.count("<svg") >= 4
    assert "prefers-color-scheme:dark" in page
    assert not any(text in page for text in ("<script", "src=", "@import", "NaN", ">nan"))


def test_without_points_the_shipped_laws_serve() -> None:
    result = kinetics(None)
    assert result.fits is None
    assert "not at hand" in render(result)
    assert {c.by for c in result.checks} == {"formula", "law", "profile"}


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_SHARED", str(tmp_path))
    run = CliRunner().invoke(validate_command, ["kinetics", "--json", "--html", str(tmp_path / "k.html")])
    assert run.exit_code == 0, run.output
    assert (tmp_path / "k.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    figures = json.loads(run.stdout)
    assert {"checks", "fits", "sources"} <= set(figures)
    run = CliRunner().invoke(validate_command, ["kinetics", "--data", str(tmp_path)])
    assert isinstance(run.exception, ValueError)
    assert "kinetics/" in str(run.exception)
    run = CliRunner().invoke(validate_command, ["kinetics", "--html", str(tmp_path / "no" / "k.html")])
    assert "does not exist" in str(run.exception)
    assert prompt_tokens() == 150
