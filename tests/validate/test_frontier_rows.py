"""Measured servers' frontiers by scales that had not seen them, and the closed form beside the simulation."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from foretell.models.residual import load_residual
from foretell.models.silicon_source import has_silicon
from foretell.validate.cli_frontier import frontier_command
from foretell.validate.folds import pair_of
from foretell.validate.frontier_rows import accelerators, groups_of, predict, row_times
from foretell.validate.frontier_scales import held_out, in_sample, shipped, to_toml
from foretell.validate.frontier_summary import validate_frontier
from foretell.validate.loops import Loop, simulate_row
from foretell.validate.silicon_rows import MeasuredRow, measured_rows, spread
from places import SHARED

needs_silicon = pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")
needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="no shared recordings")


@pytest.fixture(scope="module")
def rows() -> tuple[MeasuredRow, ...]:
    return measured_rows(SHARED / "data").rows


def simulated(row: MeasuredRow) -> tuple[float, float]:
    scales = held_out(row, shipped())
    found = simulate_row(Loop(row, dataclasses.replace(load_residual("silicon"), scales=scales, effects={})))
    assert not isinstance(found, str)
    return found.ttft_s, found.tpot_s


@needs_silicon
@needs_shared
def test_every_judged_pair_has_scales_that_are_not_the_shipped_ones(rows: tuple[MeasuredRow, ...]) -> None:
    judged = [row for row in rows if row.judged]
    pairs = {pair_of(row) for row in judged}
    assert set(shipped()) == pairs
    for pair in pairs:
        row = next(row for row in judged if pair_of(row) == pair)
        mine, all_rows = held_out(row, shipped()), in_sample(row)
        assert mine.keys() == all_rows.keys()
        moved = [abs(np.log(mine[name] / all_rows[name])) for name in mine]
        assert max(moved) > 1e-3, pair  # what the pair itself teaches is not in them


def test_the_file_of_scales_is_what_it_was_made_of() -> None:
    import tomllib

    found = tomllib.loads(to_toml(shipped(), "a test"))
    assert found.pop("source") == "a test"
    assert found == shipped()


@needs_silicon
@needs_shared
def test_the_closed_form_is_the_simulation_of_the_same_row(rows: tuple[MeasuredRow, ...]) -> None:
    few = spread([row for row in rows if row.judged and row.run.concurrency <= 64], 12)
    off = []
    for row in few:
        told = row_times(row, held_out(row, shipped()))
        assert not isinstance(told, str)
        off.append(np.log(np.array(told) / np.array(simulated(row))))
    ttft, tpot = np.abs(off).T
    assert np.median(tpot) < 0.015
    assert tpot.max() < 0.05
    assert np.median(ttft) < 0.12


@needs_silicon
@needs_shared
@pytest.mark.slow
def test_the_closed_form_of_two_pools_is_the_simulation_of_the_same_row(
    rows: tuple[MeasuredRow, ...],
) -> None:
    apart = [row for row in rows if row.mode == "disagg" and row.run.concurrency <= 256]
    off = []
    for row in spread(apart, 8):
        told = row_times(row, held_out(row, shipped()))
        assert not isinstance(told, str)
        assert row.prefill is not None
        assert accelerators(row) > row.prefill.parallelism.world_size
        off.append(np.log(told[1] / simulated(row)[1]))
    assert np.median(np.abs(off)) < 0.02


@pytest.mark.slow
@needs_silicon
@needs_shared
def test_frontiers_of_two_pairs(rows: tuple[MeasuredRow, ...]) -> None:
    wanted = {"kimi-k2.5, b300", "gpt-oss-120b, h200"}
    mine = [row for row in rows if row.judged and pair_of(row) in wanted]
    summary, groups = validate_frontier(mine, "two pairs")
    assert summary["rows"] == summary["rows_predicted"] == len(mine)
    assert summary["others"]["points"] == 0
    assert set(summary["by_model"]) == {"kimi-k2.5", "gpt-oss-120b"}
    for group in groups:
        assert (np.diff(group.measured[:, 0]) > 0).all()
        assert (np.diff(group.measured[:, 1]) < 0).all()
    assert summary["judged"]["same_configuration"]["median_ape"] < 10
    assert summary["judged"]["across"]["median_ape"] > summary["judged"]["speed"]["median_ape"]


@needs_silicon
@needs_shared
def test_what_was_measured_has_no_say_in_what_is_predicted(rows: tuple[MeasuredRow, ...]) -> None:
    row = next(row for row in rows if row.judged)
    other = dataclasses.replace(row, run=dataclasses.replace(row.run, ttft_s=9.0, tpot_s=9.0, id="b"))
    times = predict([row, other], lambda row: held_out(row, shipped()))
    assert times[0] == times[1]
    (group,) = groups_of([row, other], times)
    (one,) = group.configurations
    assert one.repeats == 2
    assert one.measured[0] == pytest.approx(1 / np.sqrt(row.run.tpot_s * 9.0))  # repeats: geometric mean


@needs_silicon
def test_rows_without_a_frontier_are_refused() -> None:
    with pytest.raises(ValueError, match="no group"):
        validate_frontier([], "nothing")


@needs_silicon
@needs_shared
@pytest.mark.slow
def test_the_command(tmp_path: object) -> None:
    done = CliRunner().invoke(
        frontier_command, ["--json", "--backend", "sglang", "--data", str(SHARED / "data")]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["judged"]["points"] == 0
    assert found["targets"][-1]["reached"] > 0


@needs_silicon
@needs_shared
def test_the_closed_form_is_compared_with_the_simulation_of_the_same_rows() -> None:
    """By the command, and by hand; a cost that is twice as fast in one of them would be seen."""
    command = ["--simulate", "2", "--backend", "vllm", "--data", str(SHARED / "data"), "--json"]
    found = json.loads(CliRunner().invoke(frontier_command, command, catch_exceptions=False).output)
    assert sorted(found) == ["vllm agg", "vllm agg, not judged", "vllm disagg, not judged"]
    judged = [row for row in measured_rows(SHARED / "data").rows if row.judged and not row.run.set_aside]
    pairs = [(row_times(row, held_out(row, shipped())), simulated(row)) for row in spread(judged, 2)]
    off = [told[1] / true[1] - 1 for told, true in pairs if not isinstance(told, str)]
    mine = found["vllm agg"]
    assert mine["rows"] == 2
    assert mine["tpot"]["median_ape"] == pytest.approx(np.median(np.abs(off)))
    assert mine["tpot"]["bias"] == pytest.approx(np.median(off))
    assert mine["end_to_end"]["median_ape"] < 0.1
