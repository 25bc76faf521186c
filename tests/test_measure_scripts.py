"""The scripts that measure what pages quote, run small; and closed forms that are found as recorded."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from foretell.models.profiles import load_outcomes
from places import docs_record, docs_script


@pytest.mark.parametrize("common", [0.0, 0.5])
@pytest.mark.parametrize("name", ["best of 16", "beam of 16, branching 4", "DVTS of 16, branching 4"])
def test_the_recorded_accuracies_of_searches_are_found_again(name: str, common: float) -> None:
    """If this fails: python docs/figures.py --run tree_search."""
    trees = docs_script("measure_tree_search")
    kept = docs_record("tree_search")["accuracy"]
    task = load_outcomes("math-500", "llama-3.1-8b")
    found = trees.ROWS[name](task, replace(trees.JUDGE, common=common)).accuracy
    assert found == pytest.approx(kept[name][f"{common:g}"], abs=5e-5)
    assert set(trees.ROWS) == set(kept)
    assert all(set(row) == {f"{c:g}" for c in trees.COMMON} for row in kept.values())


def test_the_closed_form_of_compare_beside_a_short_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = docs_script("measure_compare")
    monkeypatch.setattr(pairs, "WARMUP_S", 0.0)
    for name, (strategy, pools, rate, _) in pairs.CASES.items():
        if name in ("single, middle", "cascade by confidence, two pools"):
            found = pairs.compared(pairs.scenario(strategy, pools, rate, 150))
            assert set(found) == {"load", *pairs.FIGURES}
            assert 0.6 < found.pop("load") < 0.7
            assert all(math.isfinite(off) and abs(off) < 0.6 for off in found.values())


def test_sizes_of_reports_and_timelines_grow_with_what_they_show() -> None:
    sizes = docs_script("measure_report")
    assert 20_000 < sizes.page_bytes(1, 30) < sizes.page_bytes(4, 120) < 2_000_000
    few, many = sizes.timeline(20), sizes.timeline(80)
    assert few["requests"] == 20
    assert few["slices"] < many["slices"]
    assert few["bytes"] < many["bytes"]


@pytest.mark.parametrize("name", ["single", "best of 4, verdicts", "until accepted, 6 at most"])
def test_programs_beside_closed_forms_in_a_short_run(name: str) -> None:
    """Four standard errors of 1,500 queries."""
    found = docs_script("measure_programs").compared(name, 1500)
    assert found["off_points"] == pytest.approx(100 * abs(found["closed_form"] - found["program"]))
    assert found["off_points"] < 400 * math.sqrt(0.25 / 1500)


def test_parameters_are_counted_as_recorded() -> None:
    """If this fails: python docs/figures.py --run models."""
    found = docs_script("measure_models").counted()
    kept = docs_record("models")
    assert kept["models"] == len(found)
    assert kept["worst_off"] == pytest.approx(max(map(abs, found.values())))
