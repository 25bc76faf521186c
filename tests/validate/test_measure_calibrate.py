"""The script behind a table of docs/calibrate.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foretell.sim.cli import main
from foretell.validate.cli_runs import places_of
from places import docs_script


def test_models_are_calibrated_as_the_command_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = docs_script("measure_calibrate")
    moe = [folder for folder in places_of(None, tmp_path)["shipped"] if folder.name.startswith("moe_")]
    found = script.measure({"shipped": moe})
    (row,) = found["models"].values()
    with pytest.raises(SystemExit):
        main(["calibrate", *map(str, moe), "-o", str(tmp_path / "profile.toml"), "--json"])
    told = json.loads(capsys.readouterr().out)
    totals = sorted(abs(one["total_error"]) for one in told["held_out"])
    assert found["runs"] == row["runs"] == len(moe) == 3
    assert found["steps"] == row["steps"] == told["fitted_on"]["rows"]
    assert row["run_log_error"] == pytest.approx(told["run_log_error"])
    assert (row["total_ape"], row["total_ape_max"]) == pytest.approx((totals[1], totals[2]))
    assert row["step_mape"] == pytest.approx(
        sum(one["mape"] * one["rows"] for one in told["held_out"]) / row["steps"]
    )
    assert row["alone_s"]["bursts"]["least"] > 0
