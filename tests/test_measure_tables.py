"""What docs/measure_tables.py finds in the measured tables is what is recorded."""

from __future__ import annotations

import pytest

from foretell.models.silicon_source import has_silicon
from places import docs_record, docs_script


@pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")
def test_the_recorded_figures_of_two_accelerators_are_found_again() -> None:
    """If this fails: python docs/figures.py --run tables."""
    found = docs_script("measure_tables").measure(["h200", "l40s"])
    kept = docs_record("tables")
    for accelerator, figures in found.items():
        for name, value in kept[accelerator].items():
            now = {key: figures[name][key] for key in value} if isinstance(value, dict) else figures[name]
            assert now == pytest.approx(value), (accelerator, name)
    # a slow host is seen in both of vLLM's tables, and only Hopper's modules carry it
    assert all(found[name]["fp8_block_least_s"] > 5 * found[name]["bf16_least_s"] for name in found)
    assert found["h200"]["mla_host_s"][0] > 1e-5 > found["l40s"]["mla_host_s"][1] == 0.0
