"""KV capacity against what servers logged."""

from __future__ import annotations

import pytest

from foretell.validate.kv import (
    capacity_of,
    fit_engines,
    kv_errors,
    kv_gib,
    kv_summary,
    logged_runs,
    validate_kv,
)


def test_runs_left_out_of_the_fit_are_estimated_well() -> None:
    table = kv_errors()
    summary = kv_summary(table)
    assert summary["runs"] == len(logged_runs()) >= 30
    assert summary["median_ape"] < 0.02
    assert summary["mean_ape"] < 0.06
    assert 0.85 <= summary["coverage"] <= 1
    assert (table["low"] <= table["estimate_gib"]).all()
    assert (table["estimate_gib"] <= table["high"]).all()


def test_sources_left_out_of_the_fit_are_estimated_well() -> None:
    """Nineteen runs come from two sources, and tell much of each other."""
    summary = kv_summary(kv_errors("source"))
    assert summary["median_ape"] < 0.04
    assert summary["coverage"] >= 0.7
    with pytest.raises(ValueError, match="leave_out: 'model'"):
        kv_errors("model")


def test_the_summary_is_of_all_ways_of_leaving_out_and_of_all_versions() -> None:
    table, summary = validate_kv()
    parts = summary["since"]
    assert list(parts) == ["0.6", "0.17", "0.21"] == list(summary["constants"])
    assert sum(part["runs"] for part in parts.values()) == summary["runs"] == len(table)
    assert sum(p["runs"] * p["coverage"] for p in parts.values()) == pytest.approx(table["inside"].sum())
    # what the fit has seen is told best, and sources tell each other least
    shipped, source = summary["as_shipped"], summary["source_left_out"]
    assert shipped["mean_ape"] < summary["mean_ape"] < source["mean_ape"]
    assert 10 < summary["runs_of_the_two_largest_sources"] < len(table)
    # 1,024 rows of Llama 3's 128,256 logits, at 39.7 bytes
    logits = table.query("model == 'meta-llama/Llama-3.1-8B-Instruct' and engine_version == '0.11.0'")
    assert logits["logits_gib"].item() == pytest.approx(1024 * 128256 * 39.7 / 2**30)


def test_what_ships_is_what_the_fit_gives() -> None:
    fitted = fit_engines(logged_runs())
    for run in logged_runs():
        shipped = capacity_of(run)
        (engine,) = [e for e in fitted if e.since == max(x.since for x in fitted if x.since <= _since(run))]
        again = capacity_of(run, engine)
        assert again.kv_bytes == pytest.approx(shipped.kv_bytes, rel=0.02)


def test_blocks_stand_for_bytes() -> None:
    (run,) = [run for run in logged_runs() if "num_gpu_blocks" in run]
    assert kv_gib(run, capacity_of(run)) == pytest.approx(2588 * 2 / 1024)  # blocks of 2 MiB


def _since(run: dict[str, str]) -> tuple[int, ...]:
    return tuple(int(part) for part in run["engine_version"].split(".")[:2])
