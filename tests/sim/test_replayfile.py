"""Replay files: what they hold, and what `foretell replay` says of them."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
import yaml

from foretell.sim.case import case_from_dict
from foretell.sim.cli import main
from foretell.sim.replayfile import ReplayFile, read_replay_file
from foretell.sim.watch import watch

CONTENT = {
    "settings": {
        "num_gpu_blocks": 12,
        "block_size": 4,
        "max_num_seqs": 4,
        "max_num_batched_tokens": 16,
        "max_model_len": 64,
        "enable_prefix_caching": True,
    },
    "step_cost": {"base_s": 0.0009765625, "per_token_s": 1e-05},
    "requests": [
        {
            "id": "a",
            "arrival_s": 0.0,
            "prompt_tokens": 12,
            "output_tokens": 9,
            "segments": [["s", 12]],
            "cancel_s": 0.5,
        },
        {"id": "b", "arrival_s": 0.001, "prompt_tokens": 13, "output_tokens": 9, "segments": [["s", 12]]},
        {"id": "c", "arrival_s": 0.002, "prompt_tokens": 3, "output_tokens": 9, "stop_token": True},
    ],
}


def exit_code(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def replay_file() -> ReplayFile:
    case = case_from_dict(CONTENT)
    return ReplayFile(case, "0.32.0", watch(case), "made for a test")


def run(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = exit_code(["replay", str(path), "--output", str(tmp_path / "out")])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_it_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(replay_file().text())
    assert read_replay_file(path) == replay_file()
    as_yaml = tmp_path / "r.yaml"
    as_yaml.write_text(yaml.safe_dump(json.loads(path.read_text())))
    assert read_replay_file(as_yaml) == replay_file()
    assert len(path.read_text().splitlines()) > len(replay_file().case.calls)


def test_it_runs_without_further_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.json"
    path.write_text(replay_file().text())
    code, out, err = run(path, tmp_path, capsys)
    assert (code, err) == (0, "")
    record = replay_file().vllm
    assert record is not None
    assert f"equal to vLLM 0.32.0 in all {len(record.steps)} steps" in out
    assert "made for a test" in out
    with gzip.open(tmp_path / "out" / "batch.csv.gz", "rt") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["request_id"], int(row["num_scheduled_tokens"])) for row in rows if row["step"] == "0"] == [
        ("a", 12)
    ]
    assert len(rows) == sum(len(step[2]) for step in record.steps)
    with (tmp_path / "out" / "requests.csv").open() as handle:
        served = {row["request_id"]: row for row in csv.DictReader(handle)}
    assert served["b"]["cached_tokens"] == "12"
    assert float(served["b"]["finish_s"]) == record.requests["b"][2]
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["num_gpu_blocks"] == 12


def test_it_shows_the_first_step_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(replay_file().text())
    content["vllm"]["steps"][2][2][0][1] += 1
    path = tmp_path / "r.json"
    path.write_text(json.dumps(content))
    code, out, _ = run(path, tmp_path, capsys)
    assert code == 0
    assert "first difference: step 2, in batch" in out
    assert "vLLM 0.32.0: start_s" in out
    content["vllm"]["steps"] = json.loads(replay_file().text())["vllm"]["steps"]
    content["vllm"]["requests"]["b"][4] = 0
    path.write_text(json.dumps(content))
    assert "first difference: b, in cached_tokens" in run(path, tmp_path, capsys)[1]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"settings": {"num_gpu_blocks": 1}}, "num_gpu_blocks: 1"),
        ({"settings": {"blocks": 1}}, "settings: 'blocks' is unknown"),
        ({"step_cost": {"base_s": -1}}, "step cost base_s"),
        ({"step_cost": {}}, "step_cost"),
        ({"requests": []}, "requests: not a list of at least one"),
        ({"requests": [{"id": "a", "arrival_s": 0, "prompt_tokens": 1}]}, "requests[0]: output_tokens"),
        ({"requests": [{**CONTENT["requests"][0], "prompt_tokens": 0}]}, "requests[0].prompt_tokens: 0"),  # type: ignore[index]
        ({"requests": [{**CONTENT["requests"][0], "arrival_s": "x"}]}, "requests[0].arrival_s: 'x'"),  # type: ignore[index]
        ({"requests": [{**CONTENT["requests"][0], "segments": [["s"]]}]}, "requests[0].segments"),  # type: ignore[index]
        ({"requests": CONTENT["requests"][:1] * 2}, "same id"),  # type: ignore[index]
        ({"foretell_replay": 99}, "format 1"),
        ({"vllm": {"version": "1"}}, "vllm: 'steps'"),
    ],
)
def test_what_is_wrong_in_it_is_named(
    change: dict[str, object], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**json.loads(replay_file().text()), **change}))
    code, out, err = run(path, tmp_path, capsys)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert complaint in err
    assert not (tmp_path / "out").exists()


def test_settings_beside_it_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.json"
    path.write_text(replay_file().text())
    assert exit_code(["replay", str(path), "--output", str(tmp_path / "out"), "--block-size", "8"]) == 2
    assert "block_size: given" in capsys.readouterr().err
    trace = tmp_path / "t.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,4,4\n")
    assert exit_code(["replay", str(trace), "--output", str(tmp_path / "out")]) == 2
    assert "--step-cost" in capsys.readouterr().err
