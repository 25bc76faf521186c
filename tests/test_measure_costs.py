"""What docs/cost_model.md says of shipped step costs is what they are."""

from __future__ import annotations

import pytest

from places import docs_record, docs_script


def test_the_recorded_costs_are_found_again() -> None:
    """If this fails: python docs/figures.py --run costs."""
    found = docs_script("measure_costs").measure()
    for part, figures in docs_record("costs").items():
        assert {name: found[part][name] for name in figures} == pytest.approx(figures)
    eager = found["eager"]
    assert eager["decode_s"] >= eager["kernels"] * eager["launch_s"]
