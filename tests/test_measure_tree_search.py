"""What docs/measure_tree_search.py finds is what is recorded."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import pytest

from foretell.models.profiles import load_outcomes
from places import ROOT

SCRIPT = ROOT / "docs" / "measure_tree_search.py"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the tests are on their own")


@pytest.mark.parametrize("common", [0.0, 0.5])
@pytest.mark.parametrize("name", ["best of 16", "beam of 16, branching 4", "DVTS of 16, branching 4"])
def test_the_recorded_accuracies_are_found_again(name: str, common: float) -> None:
    """If this fails: python docs/figures.py --run tree_search."""
    spec = importlib.util.spec_from_file_location("measure_tree_search", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    record = ROOT / "docs" / "figures" / "recorded" / "tree_search.json"
    kept = json.loads(record.read_text(encoding="utf-8"))["found"]["accuracy"]
    task = load_outcomes("math-500", "llama-3.1-8b")
    found = script.ROWS[name](task, replace(script.JUDGE, common=common)).accuracy
    assert found == pytest.approx(kept[name][f"{common:g}"], abs=5e-5)
    assert set(script.ROWS) == set(kept)
    assert all(set(row) == {f"{c:g}" for c in script.COMMON} for row in kept.values())
