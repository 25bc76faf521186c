"""The recorder: what it takes, what it writes, and what shipped recordings must hold."""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from foretell.sim.cli import main
from foretell.traces import Trace
from foretell.validate import record
from foretell.validate.record import Recording, load_recording, trace_rows, vllm_python
from foretell.validate.record_tables import quiet, summary, write_probes, write_requests, write_steps

DATA = Path(record.__file__).with_name("data")
RUNS = sorted(path.parent for path in (DATA / "runs").glob("*/config.json"))
SCENARIOS = sorted((DATA / "scenarios").glob("*.yaml"))
PYTHON = os.environ.get("FORETELL_VLLM_PYTHON")
MODEL = json.loads((DATA / "scenarios" / "models" / "dense_small.json").read_text())


def asked(tmp_path: Path, **changes: Any) -> Path:
    """A scenario's file; a field that is None is left out."""
    values = {
        "model": MODEL,
        "engine": {"max_num_seqs": 8},
        "workload": {
            "arrivals": {"process": "poisson", "rate_per_s": 10},
            "lengths": {"prompt": 50, "output": 5},
            "prefixes": {"groups": 2, "tokens": 32},
            "num_requests": 6,
        },
    }
    file = tmp_path / "asked.json"
    file.write_text(json.dumps({k: v for k, v in (values | changes).items() if v is not None}))
    return file


def rows(path: Path) -> list[dict[str, str]]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_shipped_scenarios_are_read(path: Path) -> None:
    if "loads" in path.read_text():
        from foretell.validate.record_server import load_server_recording

        assert load_server_recording(path).loads
        return
    recording = load_recording(path)
    assert 60 <= len(recording.trace) <= 150
    assert recording.model["num_hidden_layers"]


def test_one_seed_gives_one_trace(tmp_path: Path) -> None:
    first, again = (load_recording(asked(tmp_path, seed=3)) for _ in range(2))
    assert trace_rows(first.trace) == trace_rows(again.trace)
    assert trace_rows(load_recording(asked(tmp_path, seed=4)).trace) != trace_rows(first.trace)


def test_a_trace_in_the_columns_of_a_run() -> None:
    trace = Trace(
        np.array([0.0, 1.5, 2.0]),
        np.array([100, 50, 60]),
        np.array([2, 4, 6]),
        priority=np.array([0, 2, 1]),
        segments=((("chat", 64),), (), (("chat", 64),)),
    )
    found = trace_rows(trace)
    assert [row["id"] for row in found] == ["r0000", "r0001", "r0002"]
    assert [(row["prefix_group"], row["prefix_tokens"]) for row in found] == [
        ("0", "64"),
        ("-1", "0"),
        ("0", "60"),
    ]
    assert [row["priority"] for row in found] == ["0", "2", "1"]
    assert found[1]["arrival_s"] == "1.500000"


def step(start_s: float, batch: list[list[Any]], preempted: list[str] | None = None) -> dict[str, Any]:
    """A step of half a second."""
    times = {"start": start_s, "scheduled": start_s + 0.1, "executed": start_s + 0.4, "end": start_s + 0.5}
    queues = {"waiting": 0, "waiting_before": 1, "running": 1, "blocks": 3, "preempted": preempted or []}
    return {"cpu": 0.01, "wall": 0.02, "batch": batch} | times | queues


def test_steps_and_requests_by_hand(tmp_path: Path) -> None:
    """A prompt of 10 in two chunks, then a decode beside another's recomputation."""
    steps = [
        step(1.0, [["a-x1", 6, 0, "p", 0]]),
        step(2.0, [["a-x1", 4, 6, "p", 1]], preempted=["b-x2"]),
        step(3.0, [["a-x1", 1, 10, "d", 1], ["b-x2", 5, 0, "r", 1]]),
    ]
    write_steps(tmp_path, steps, 99)
    first, second, third = rows(tmp_path / "steps.csv")
    assert (first["n_prefill_tokens"], first["prefill_attn_work"], first["n_sampled"]) == ("6", "21.0", "0")
    assert float(second["prefill_attn_work"]) == 4 * (6 + 2.5)
    assert (second["n_preempted"], second["prefill_ctx_sum"]) == ("1", "6")
    assert (third["n_decode_seqs"], third["decode_ctx_sum"], third["n_prefill_seqs"]) == ("1", "10", "1")
    assert (third["kv_blocks_used"], third["kv_blocks_total"]) == ("3", "99")
    assert [float(third[k]) for k in ("dur_s", "sched_s", "exec_s", "update_s")] == pytest.approx(
        [0.5, 0.1, 0.3, 0.1]
    )
    batch = rows(tmp_path / "batch.csv.gz")
    assert [row["request_id"] for row in batch] == ["a", "a", "a", "b"]
    names = ("id", "arrival_s", "prompt_tokens", "output_tokens", "priority", "prefix_group")
    cells = (("a", "0.9", "10", "2", "0", "-1"), ("b", "1.0", "5", "1", "0", "-1"))
    trace = [dict(zip(names, row, strict=True)) for row in cells]
    tokens = [[2.6, 3.6], [3.6]]
    write_requests(tmp_path, trace, [0.95, 1.0], tokens, steps)
    a, b = rows(tmp_path / "requests.csv")
    assert [float(a[k]) for k in ("ttft_s", "e2e_s", "finish_s", "mean_itl_s")] == pytest.approx(
        [1.7, 2.7, 3.6, 1]
    )
    assert (a["n_preemptions"], b["n_preemptions"], b["mean_itl_s"]) == ("0", "1", "0.000000")
    probes = [(0.0, 0.002, 0.01), (1.0, 0.004, 0.01)]
    write_probes(tmp_path, probes)
    assert [row["memory_s"] for row in rows(tmp_path / "probes.csv")] == ["0.002000", "0.004000"]
    assert quiet(probes)["probe_memory_s"]["p50"] == pytest.approx(0.003)
    assert quiet(probes)["probe_compute_s"]["p90"] == pytest.approx(0.01)
    found = summary(trace, tokens, steps)
    assert found["ttft"]["mean"] == pytest.approx((1.7 + 2.6) / 2)
    assert (found["steps"], found["preemptions"], found["n_done"]) == (3, 1, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "model: missing"),
        ({"model": "nowhere.json"}, "nowhere.json: cannot be read"),
        ({"model": MODEL | {"model_type": "gpt2", "architectures": None}}, ""),
        ({"model": {"model_type": "gpt2"}}, "model.model_type: 'gpt2' is not one of llama"),
        ({"model": {"model_type": "llama"}}, "model.vocab_size: None is not a whole number"),
        ({"loops": 3}, "loops: unknown field; known: model, engine"),
        ({"engine": {"load_format": "auto"}}, "engine.load_format: cannot be chosen here"),
        ({"engine": [1]}, "engine: [1] is not a table"),
        ({"engine": {"max_model_len": 40}}, "a request has 87 tokens in all; raise engine.max_model_len, 40"),
        ({"seed": -1}, "seed: -1 is not a whole number >= 0"),
        ({"limit_s": "long"}, "limit_s: 'long' is not a number of seconds"),
        ({"workload": {"num_requests": 3}}, "workload.lengths: missing"),
        (
            {"workload": {"concurrency": 3, "lengths": {"prompt": 5, "output": 5}, "num_requests": 3}},
            "workload.concurrency: a recording takes arrivals at given times only",
        ),
    ],
)
def test_bad_scenarios_are_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    if not message:
        assert load_recording(asked(tmp_path, **changes)).model["model_type"] == "gpt2"
        return
    with pytest.raises(ValueError) as caught:
        load_recording(asked(tmp_path, **changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_an_interpreter_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FORETELL_VLLM_PYTHON", raising=False)
    with pytest.raises(ValueError, match="nowhere is not a file"):
        vllm_python(tmp_path / "nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="vLLM is not installed here"):
        vllm_python(None)


def test_what_the_other_interpreter_says_last_is_the_error(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho noise >&2\necho 'engine.foo: no setting' >&2\nexit 1\n")
    python.chmod(0o755)
    recording = load_recording(asked(tmp_path))
    with pytest.raises(ValueError, match=r"^vLLM: engine\.foo: no setting$"):
        record.record(recording, tmp_path / "out", python)
    python.write_text("#!/bin/sh\nkill -ILL $$\n")
    with pytest.raises(ValueError, match="ended by signal SIGILL"):
        record.record(recording, tmp_path / "out", python)
    assert not (tmp_path / "out").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"python", "asked.json"}


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_shipped_runs_are_whole(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert {path.name for path in folder.iterdir()} == set(record.RUN_FILES)
    assert {"machine", "versions", "engine_args", "model_config", "date", "clock"} <= set(config)
    trace, requests, steps = (rows(folder / name) for name in ("trace.csv", "requests.csv", "steps.csv"))
    batch = rows(folder / "batch.csv.gz")
    assert config["summary"]["n_done"] == len(trace) == len(requests)
    assert len(steps) == config["summary"]["steps"] == int(batch[-1]["step"]) + 1
    outputs = sum(int(row["output_tokens"]) for row in trace)
    assert sum(int(row["samples_token"]) for row in batch) == outputs
    gaps = [json.loads(line) for line in (folder / "itls.jsonl").read_text().splitlines()]
    assert sum(len(line["itl"]) + 1 for line in gaps) == outputs
    sizes = sum(path.stat().st_size for path in folder.iterdir())
    assert sizes < 500_000
    recorded = load_recording(DATA / "scenarios" / f"{folder.name}.yaml")
    assert trace_rows(recorded.trace) == trace, "the shipped scenario no longer gives the run's requests"


@pytest.mark.skipif(not PYTHON, reason="FORETELL_VLLM_PYTHON names no interpreter that has vLLM")
def test_a_real_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = CliRunner().invoke(main, ["validate", "record", str(asked(tmp_path)), "--output", str(out)])
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} == set(record.RUN_FILES)
    assert sum(int(row["samples_token"]) for row in rows(out / "batch.csv.gz")) == 6 * 5
    assert isinstance(load_recording(asked(tmp_path)), Recording)
