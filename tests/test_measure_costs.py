"""What docs/cost_model.md says of shipped step costs is what they are."""

from __future__ import annotations

import importlib.util
import json

import pytest

from places import ROOT

SCRIPT = ROOT / "docs" / "measure_costs.py"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the tests are on their own")


def test_the_recorded_costs_are_found_again() -> None:
    """If this fails: python docs/figures.py --run costs."""
    spec = importlib.util.spec_from_file_location("measure_costs", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    kept = json.loads((ROOT / "docs" / "figures" / "recorded" / "costs.json").read_text(encoding="utf-8"))[
        "found"
    ]
    found = script.measure()
    for part, figures in kept.items():
        assert {name: found[part][name] for name in figures} == pytest.approx(figures)
    eager = found["eager"]
    assert eager["decode_s"] >= eager["kernels"] * eager["launch_s"]
