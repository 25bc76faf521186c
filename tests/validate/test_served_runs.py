"""Served runs: read, forecast, and found right where the server was our own simulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretell.sim import Scenario, forecast
from foretell.validate.served_runs import METRICS, read_served_run, scenario_of, served_runs
from places import SHARED

RECORDED = SHARED / "data" / "llmservingsim"
ENGINE = {
    "tensor_parallel_size": 1,
    "data_parallel_size": 1,
    "enable_expert_parallel": False,
    "max_num_seqs": 8,
    "max_num_batched_tokens": 2048,
    "max_model_len": None,
}


def write(folder: Path, rows: list[dict[str, Any]], **meta: Any) -> Path:
    folder.mkdir()
    about = {"model": "meta-llama/Llama-3.1-8B", "vllm_version": "0.19.0", "engine_kwargs": ENGINE}
    (folder / "meta.json").write_text(json.dumps(about | meta))
    nodes = [{"instances": [{"hardware": "RTXPRO6000"}]}]
    (folder / "config.json").write_text(json.dumps({"nodes": nodes}))
    (folder / "requests.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


def row(queued: float, first: float, last: float, prompt: int, output: int) -> dict[str, Any]:
    times = {"queued_ts": queued, "first_token_ts": first, "last_token_ts": last}
    return {"input_toks": prompt, "output_toks": output, **times}


def test_times_are_those_of_the_engine(tmp_path: Path) -> None:
    rows = [row(103.0, 103.5, 105.5, 10, 5), row(100.0, 100.25, 100.25, 7, 1)]
    run = read_served_run(write(tmp_path / "run", rows))
    assert run.arrival_s.tolist() == [0.0, 3.0]
    assert run.prompt_tokens.tolist() == [7, 10]
    assert run.measured_s["ttft_mean"] == pytest.approx(0.375)
    assert run.measured_s["tpot_mean"] == pytest.approx(0.5)  # the answer of one token has none
    assert run.measured_s["e2e_mean"] == pytest.approx(1.375)


def test_a_server_that_is_our_simulator_is_forecast_without_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    arrivals = np.cumsum(rng.exponential(0.2, 40))
    arrivals -= arrivals[0]
    idle = [
        row(float(at), float(at), float(at), int(p), int(o))
        for at, p, o in zip(arrivals, rng.integers(50, 900, 40), rng.integers(2, 60, 40), strict=True)
    ]
    asked = read_served_run(write(tmp_path / "asked", idle))
    trace = tmp_path / "trace.csv"
    lines = zip(asked.arrival_s, asked.prompt_tokens, asked.output_tokens, strict=True)
    trace.write_text(
        "arrival_s,prompt_tokens,output_tokens\n" + "\n".join(f"{a},{p},{o}" for a, p, o in lines)
    )
    plain: Scenario = scenario_of(asked, trace).replace(replications=1)
    run = forecast(plain).run
    served = [
        row(float(a), float(f), float(e), int(p), int(o))
        for a, f, e, p, o in zip(
            run.arrival_s, run.first_token_s, run.finish_s, run.prompt_tokens, run.output_tokens, strict=True
        )
    ]
    folder = tmp_path / "served"
    folder.mkdir()
    write(folder / "run", served)
    found = served_runs(folder)
    assert all(found[f"{metric}_mean_ape"] < 1e-7 for metric in METRICS)
    assert all(figure["inside"] for figure in found["runs"]["run"]["figures"].values())
    late = [r | {"last_token_ts": r["last_token_ts"] + 1.0} for r in served]
    write(folder / "slow", late)
    slow = served_runs(folder)["runs"]["slow"]
    assert slow["figures"]["e2e_mean"]["error"] < -10 < slow["figures"]["ttft_mean"]["error"]


def test_bad_runs_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder in it has a requests"):
        served_runs(tmp_path)
    lacking = write(tmp_path / "lacking", [row(0, 1, 2, 3, 4)], engine_kwargs={"max_num_seqs": 4})
    with pytest.raises(ValueError, match="engine_kwargs lacks tensor_parallel_size"):
        read_served_run(lacking)
    broken = write(tmp_path / "broken", [{"queued_ts": 1}])
    with pytest.raises(ValueError, match=r"not a served run \(KeyError: 'first_token_ts'\)"):
        read_served_run(broken)
    other = read_served_run(write(tmp_path / "other", [row(0, 1, 2, 3, 4)], model="acme/one"))
    with pytest.raises(ValueError, match="model: 'acme/one' is not one of"):
        scenario_of(other, tmp_path / "trace.csv")


@pytest.mark.skipif(not RECORDED.is_dir(), reason="needs ../shared/data/llmservingsim")
def test_recorded_servers_have_every_figure() -> None:
    found = served_runs(RECORDED)
    assert len(found["runs"]) == 2
    for run in found["runs"].values():
        assert run["requests"] == 300
        assert all(figure["forecast_s"] > 0 for figure in run["figures"].values())
