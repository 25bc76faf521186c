"""KV capacity against what servers logged."""

from __future__ import annotations

import pytest

from foretell.validate.kv import capacity_of, fit_engines, kv_errors, kv_gib, kv_summary, logged_runs


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
