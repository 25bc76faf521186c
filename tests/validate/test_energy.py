"""Power and joules a token against ml-energy's runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foretell.models.energy import power_model
from foretell.models.hardware import load_hardware
from foretell.validate.energy import (
    asynchronous_engine,
    energy_errors,
    energy_summary,
    fit_synchronous,
    steady_load,
    synchronous_errors,
)
from foretell.validate.energy_ways import synchronous_summary, tasks_apart, validate_energy
from places import SHARED

RUNS = SHARED / "data" / "ml-energy" / "llm_runs.csv"


def test_a_steady_step_by_hand() -> None:
    load = steady_load(batch=64, prompt_tokens=100, output_tokens=400)
    assert load.decode_seqs == 64
    assert load.prefill_seqs == pytest.approx(0.16)  # 64 sequences live 400 steps each
    assert load.prefill_tokens == load.prefill_context == pytest.approx(16)
    assert load.decode_context == 64 * (100 + 200)
    assert load.prefill_pairs == pytest.approx(0.16 * 5050)
    assert load.sampled == pytest.approx(64.16)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fifth run, to be quick; the whole is in docs/energy.md."""
    import pandas as pd

    if not RUNS.exists():
        pytest.skip("ml-energy is not beside this checkout")
    thinned = tmp_path_factory.mktemp("ml-energy") / "llm_runs.csv"
    pd.read_csv(RUNS).iloc[::5].to_csv(thinned, index=False)
    return thinned


def test_power_of_models_and_gpus_left_out(path: Path) -> None:
    table = energy_errors(path)
    summary = energy_summary(table)
    assert summary["power_left_model_out"]["median_ape"] < 0.15
    assert summary["power_left_gpu_out"]["median_ape"] < 0.18
    assert summary["joules_end_to_end"]["median_ape"] < 0.2
    assert sum(batch["power_left_model_out"]["runs"] for batch in summary["by_batch"].values()) == (
        table["fitted"].sum()
    )
    assert not any(str(name).startswith("_") for name in table)
    # the shipped errors hold nine of ten
    fitted = table[table["fitted"]]
    for gpu, name in (("H100", "h100-sxm"), ("B200", "b200")):
        rows = fitted[fitted["gpu"] == gpu]
        inside = (rows["power_left_model_W"] / rows["power_W"] - 1).abs() <= power_model(
            load_hardware(name).accelerator
        ).error
        assert inside.mean() >= 0.85


def test_tasks_are_compared_at_equal_batches() -> None:
    import pandas as pd

    batch = np.array([8.0, 32.0, 128.0])
    chat = pd.DataFrame({"task": "lm-arena-chat", "batch": batch, "step_s": 1e-3 * batch**0.5})
    asked = pd.DataFrame({"task": "gpqa", "batch": [16.0, 64.0, 500.0], "step_s": [8e-3, 24e-3, 1.0]})
    table = pd.concat([chat, asked]).assign(model="qwen3-8b", accelerators=1, gpu="B200")
    found = tasks_apart(table)  # 8 ms against 4, 24 ms against 8; nobody measured 500 in the other task
    assert found == pytest.approx({"runs": 2, "median": 2.5, "least": 2.0, "most": 3.0})
    assert tasks_apart(chat.assign(model="qwen3-8b", accelerators=1, gpu="B200"))["runs"] == 0


def test_what_synchronous_scheduling_adds_is_found_again(path: Path) -> None:
    """From runs whose steps take 2 ms and 30 µs an entry more than estimated, to within 1 %."""
    table = energy_errors(path, asynchronous_engine)
    planted = table.assign(step_s=table["estimate_step_s"] + 2e-3 + 30e-6 * table["batch"])
    assert fit_synchronous(planted) == pytest.approx((2e-3, 30e-6), rel=0.01)
    assert np.abs(synchronous_errors(planted)).max() < 0.01
    summary = synchronous_summary(planted)
    assert summary["bias_without"] < -0.05, "2 ms and more were taken away"
    assert summary["model_left_out_median_ape"] <= summary["model_left_out_mean_ape"] < 0.01


def test_the_shipped_figures_of_synchronous_scheduling(path: Path) -> None:
    """They are of the whole file, and near those of every fifth run; without them steps are far too short."""
    table = energy_errors(path, asynchronous_engine)
    step_s, entry_s = fit_synchronous(table)
    assert 0.8e-3 < step_s < 3e-3
    assert 35e-6 < entry_s < 65e-6
    assert np.median(np.abs(synchronous_errors(table))) < 0.15
    rows = table[table["fitted"]]
    assert np.median(rows["estimate_step_s"] / rows["step_s"]) < 0.85


def test_the_other_step_costs_are_worse_than_measured_operators(path: Path) -> None:
    """They see the same runs; fractions of peaks leave the synchronous host out, and are too fast."""
    import pandas as pd

    some = path.with_name("some.csv")
    pd.read_csv(path).iloc[::3].to_csv(some, index=False)
    table, summary = validate_energy(some)
    assert summary["runs"] == len(table) == sum(summary["set_aside_by_task"].values()) + table["fitted"].sum()
    curves, peaks = summary["other_step_costs"].values()
    assert curves["runs"] == peaks["runs"] == summary["joules_end_to_end"]["runs"]
    assert peaks["median_ape"] > summary["joules_end_to_end"]["median_ape"]
    assert peaks["bias"] < -0.1 < curves["bias"]
    assert summary["power_shipped"]["median_ape"] < 0.15
