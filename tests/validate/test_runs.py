"""Recorded runs: replayed to the step, and forecast by a cost that other runs tell."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from foretell.sim.cli import main
from foretell.validate.cli_runs import runs_summary
from foretell.validate.predicted_runs import (
    FIGURES,
    evidence,
    figures,
    fitted,
    measured,
    predict,
    scaled,
    step_log,
)
from foretell.validate.recorded_runs import load_run, run_folders
from foretell.validate.replayed_runs import Replay, on_step_clock, replay
from foretell.validate.runs_report import summary
from recorded_folder import CONFIG, COST, GAP_S, write_run

SHIPPED = Path(str(files("foretell.validate") / "data" / "runs"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs with one cost: idle, loaded with little KV, a burst, and the loaded one again."""
    folder = tmp_path_factory.mktemp("planted")
    write_run(folder / "burst", seed=1, rate_per_s=inf)
    write_run(folder / "idle", seed=2, rate_per_s=1.0)
    write_run(folder / "loaded", seed=3, rate_per_s=20.0, config=replace(CONFIG, num_gpu_blocks=40))
    write_run(folder / "loaded_again", seed=3, rate_per_s=20.0, config=replace(CONFIG, num_gpu_blocks=40))
    return folder


def invoke(*args: str) -> Any:
    return CliRunner().invoke(main, ["validate", "runs", *args], standalone_mode=False)


def replayed(folder: Path) -> Replay:
    return replay(load_run(folder))


def edit(path: Path, change: Callable[[str], str]) -> None:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()).decode()).encode(), mtime=0))
    else:
        path.write_text(change(path.read_text()))


def test_planted_runs_are_replayed_and_forecast_to_rounding(planted: Path) -> None:
    found = runs_summary(planted)
    assert found["steps_equal"] == found["steps_compared"] > 500
    assert found["tokens_in_time"] == found["tokens_in_step"] == found["tokens"]
    assert found["requests_equal"] == found["requests"] == 160
    assert found["runs_predicted"] == 4
    assert all(target["met"] for target in found["targets"])
    for run in found["by_run"].values():
        assert run["steps_equal"] == run["steps_compared"]
        assert all(run[f"{figure}_ape"] < 1.5 for figure in FIGURES), run
        low, high = run["e2e_mean_error_90"]
        assert low <= run["e2e_mean_error"] <= high
    assert load_run(planted / "loaded").n_preemptions.sum() > 0, "little KV binds"
    assert found["noise"]["pairs"] == [["loaded", "loaded_again"]]
    assert found["noise"]["tpot_mean_ape"] == 0


def test_the_planted_cost_is_found(planted: Path) -> None:
    runs = [load_run(folder) for folder in run_folders(planted)]
    cost = fitted(step_log(runs))
    for name, value in asdict(COST).items():
        assert getattr(cost, name) == pytest.approx(value, rel=0.03), name


def test_runs_at_different_speeds_tell_one_cost(tmp_path: Path) -> None:
    """A machine that is slow while prompts are long makes tokens no dearer beside sequences."""
    for seed, (rate, speed) in enumerate(((1.0, 0.8), (20.0, 1.6), (2.0, 0.7))):
        write_run(tmp_path / str(seed), seed=seed, rate_per_s=rate, cost=scaled(COST, speed))
    cost = fitted(step_log([load_run(folder) for folder in run_folders(tmp_path)]))
    for name, value in asdict(COST).items():
        assert getattr(cost, name) / cost.base_s == pytest.approx(value / COST.base_s, rel=0.03), name


def test_a_forecast_knows_nothing_of_its_run(tmp_path: Path) -> None:
    """A run twice as slow is forecast as fast as the others; told its speed, it is right."""
    write_run(tmp_path / "a", seed=1)
    write_run(tmp_path / "b", seed=2, cost=scaled(COST, 2.0))
    runs = [load_run(folder) for folder in run_folders(tmp_path)]
    (one,) = predict(runs, step_log(runs), [0], [1])
    assert one.fitted_on == (0,)
    assert one.cost.base_s == pytest.approx(COST.base_s, rel=0.03)
    assert one.steps_error == pytest.approx(-0.5, abs=0.01)
    real = figures(measured(runs[1]))
    assert figures(one.latencies)["tpot_mean"] / real["tpot_mean"] < 0.6
    assert figures(one.speed_known) == pytest.approx(real, rel=0.02)


def test_bursts_alone_and_repeats_are_shown_beside(tmp_path: Path) -> None:
    for name, seed, factor in (("one", 5, 1.0), ("other", 5, 1.1), ("third", 6, 1.0)):
        write_run(tmp_path / name, seed=seed, rate_per_s=1.0, cost=scaled(COST, factor))
    write_run(tmp_path / "burst", seed=7, rate_per_s=inf, cost=scaled(COST, 0.8))
    found = runs_summary(tmp_path)
    assert found["noise"]["pairs"] == [["one", "other"]]
    assert 8 < found["noise"]["tpot_mean_ape"] < 12
    assert found["bursts_alone"]["runs_predicted"] == 3
    assert found["bursts_alone"]["steps_error"] == pytest.approx(-20, abs=1)
    assert found["bursts_alone"]["tpot_mean_error"] < -18
    low, high = found["tpot_mean_ape_90"]
    assert low <= found["tpot_mean_ape"] <= high
    assert found["random_halves"]["divisions"] == 10
    assert [part["random_halves"] for part in found["by_origin"].values()] == [found["random_halves"]]


def test_one_wrong_entry_is_one_wrong_step(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    rows = gzip.decompress((folder / "batch.csv.gz").read_bytes()).decode().splitlines()
    row = rows[40].split(",")
    rows[40] = ",".join([*row[:2], str(int(row[2]) + 1), *row[3:]])
    edit(folder / "batch.csv.gz", lambda _: "\n".join(rows) + "\n")
    found = replayed(folder)
    assert found.steps_equal == found.steps_compared - 1
    assert f"step {row[0]}:" in found.difference and row[1] in found.difference
    shown = invoke("--data", str(folder)).output
    assert "missed" in shown and f"step {row[0]}:" in shown


def test_a_token_in_another_step_or_too_late_is_seen(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", rate_per_s=inf)
    before = replayed(folder)
    lines = (folder / "requests.csv").read_text().splitlines()
    cells = lines[3].split(",")
    cells[3] = f"{float(cells[3]) + GAP_S:.6f}"  # all its tokens: past the start of the next step
    edit(folder / "requests.csv", lambda text: text.replace(lines[3], ",".join(cells)))
    late = replayed(folder)
    assert late.tokens_in_step == before.tokens_in_step == before.tokens_in_time
    assert late.tokens_in_time < before.tokens_in_time
    cells[3] = f"{float(cells[3]) - 3 * GAP_S:.6f}"  # before the end of its step
    edit(folder / "requests.csv", lambda text: text.replace(text.splitlines()[3], ",".join(cells)))
    assert replayed(folder).tokens_in_time < before.tokens_in_time


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_num_running_reqs", 3),
        ("max_num_scheduled_tokens", 255),
        ("num_gpu_blocks", 39),
        ("block_size", 16),
        ("prefix_caching", True),
        ("watermark", 0.2),
        ("scheduling_policy", "priority"),
        ("long_prefill_token_threshold", 64),
    ],
)
def test_a_wrong_setting_shows(tmp_path: Path, setting: str, value: object) -> None:
    folder = tmp_path / "run"
    write_run(folder, seed=3, rate_per_s=20.0, config=replace(CONFIG, num_gpu_blocks=40))
    about = json.loads((folder / "config.json").read_text())
    about["scheduler_meta" if setting in about["scheduler_meta"] else "engine_args"][setting] = value
    (folder / "config.json").write_text(json.dumps(about))
    found = replayed(folder)
    assert found.steps_equal < found.steps_compared
    assert found.difference.startswith("step ")


def test_steps_last_until_the_next_where_the_engine_goes_on(planted: Path) -> None:
    run = load_run(planted / "idle")
    own, busy = run.ends_s - run.starts_s, run.busy_s()
    longer = busy > own + GAP_S / 2
    np.testing.assert_allclose(busy[longer], own[longer] + GAP_S, atol=2e-6)
    np.testing.assert_allclose(busy[~longer], own[~longer])
    dry = np.append(np.diff(run.starts_s) > own[:-1] + 2 * GAP_S, True)
    assert 2 < (~longer).sum() == dry.sum()


def test_a_request_joins_where_the_run_took_it(planted: Path) -> None:
    run = load_run(planted / "loaded")
    clock = on_step_clock(run)
    first = np.array(
        [next(i for i, b in enumerate(run.batches) if id in {n for n, _, _ in b}) for id in run.trace.ids()]
    )
    assert (clock <= first).all() and (np.diff(clock) > 0).all()


def test_a_model_with_one_run_is_not_predicted(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "alone", model="other")
    done = invoke("--data", str(tmp_path), "--json")
    found = json.loads(done.output)
    assert found["by_run"]["alone"]["not_predicted"] == "the only run of its model"
    assert found["tpot_mean_ape"] is None and found["steps_equal"] == found["steps_compared"]
    assert {target["met"] for target in found["targets"]} == {True, None}
    assert "not measured" in invoke("--data", str(tmp_path)).output


def test_figures_of_served_runs_are_passed_on(planted: Path) -> None:
    runs = [load_run(planted / "idle")]
    found = evidence(runs, ["here"], 0)
    assert summary(runs, ["here"], [replay(runs[0])], found)["served"] is None
    assert summary(runs, ["here"], [replay(runs[0])], found, {"runs": 2})["served"] == {"runs": 2}


def drop_column(name: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        rows = [line.split(",") for line in text.splitlines()]
        at = rows[0].index(name)
        return "\n".join(",".join(row[:at] + row[at + 1 :]) for row in rows) + "\n"

    return change


@pytest.mark.parametrize(
    ("file", "change", "word"),
    [
        ("requests.csv", drop_column("added_s"), "added_s"),
        ("requests.csv", lambda text: text.replace("r001,", "r999,"), "r001"),
        ("requests.csv", lambda text: text.splitlines()[0] + "\n", "no rows"),
        ("trace.csv", lambda text: text.replace("r002,", "r002,-"), "arrival_s"),
        ("trace.csv", drop_column("prompt_tokens"), "prompt_tokens"),
        ("steps.csv", lambda text: text.replace("\n3,", "\n3,x"), "line 5, column t_start_s"),
        ("steps.csv", lambda text: text.replace("\n3,", "\n4,"), "0, 1, 2"),
        ("steps.csv", lambda text: text[: text.rindex("\n", 0, -1) + 1], "steps"),
        ("batch.csv.gz", drop_column("samples_token"), "samples_token"),
        ("batch.csv.gz", lambda text: text.replace("r003", "r777"), "r777"),
        ("itls.jsonl", lambda text: text.replace("itl", "gaps", 1), "itl"),
        ("itls.jsonl", lambda text: text.replace("[", "[0.1, ", 1), "tokens"),
        ("config.json", lambda text: text.replace("watermark", "water"), "watermark"),
        ("config.json", lambda text: text.replace('"block_size": 32', '"block_size": 0'), "block_size"),
        ("config.json", lambda text: text.replace("engine_args", "arguments"), "engine_args"),
        ("config.json", lambda text: text[:-1], "JSON"),
    ],
)
def test_a_damaged_run_is_one_clear_line(
    tmp_path: Path, file: str, change: Callable[[str], str], word: str
) -> None:
    folder = write_run(tmp_path / "run", n=10)
    edit(folder / file, change)
    done = invoke("--data", str(tmp_path))
    message = str(done.exception)
    assert isinstance(done.exception, ValueError), done.output
    assert word in message and "\n" not in message and str(folder) in message


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    assert "no recorded runs" in str(invoke("--data", str(tmp_path)).exception)
    assert "not a folder" in str(invoke("--data", str(tmp_path / "nowhere")).exception)
    folder = write_run(tmp_path / "run", n=10)
    (folder / "itls.jsonl").unlink()
    assert "itls.jsonl is missing" in str(invoke("--data", str(tmp_path)).exception)


@pytest.mark.skipif(not list(SHIPPED.glob("*/config.json")), reason="no runs are shipped")
def test_every_step_of_the_shipped_runs_is_vllm_s() -> None:
    for folder in run_folders(SHIPPED):
        found = replayed(folder)
        assert found.steps_equal == found.steps_compared > 0, f"{folder.name}: {found.difference}"
        assert found.tokens_in_time == found.tokens_in_step == found.tokens, folder.name
        assert found.requests_equal == found.requests, folder.name
