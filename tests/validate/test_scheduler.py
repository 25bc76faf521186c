"""The differential test of the scheduler: its parts without vLLM, and a few live scenarios with it."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest

from foretell.sim.case import Case, case_from_dict
from foretell.sim.cli import main
from foretell.sim.replayfile import read_replay_file
from foretell.sim.watch import Record, first_difference, watch
from foretell.validate import vllm_client
from foretell.validate.scheduler import compare, run_scenarios, summary
from foretell.validate.scheduler_cases import Scope, draw_cases, scope_of, shrink
from foretell.validate.scheduler_scale import compare_scale
from foretell.validate.vllm_client import Answer, OracleError, VllmScheduler, find_python

LIVE = os.environ.get(vllm_client.VARIABLE)
FAKE = """
import json, sys
print(json.dumps({"vllm": "0.32.0", "unknown": ["watermark"]}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["requests"][0]["id"] == "dies":
        sys.exit("no more blocks")
    if asked["requests"][0]["id"] == "sleeps":
        import time
        time.sleep(60)
    print(json.dumps({"error": "ValueError: refused\\nmore"}), flush=True)
"""


def exit_code(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def case(**changed: object) -> Case:
    settings = {"num_gpu_blocks": 40, "block_size": 4, "max_num_seqs": 4, "max_num_batched_tokens": 16}
    return case_from_dict(
        {
            "settings": {**settings, "max_model_len": 64, **changed},
            "step_cost": {"base_s": 2.0**-10},
            "requests": [
                {"id": f"r{i}", "arrival_s": i * 2.0**-9, "prompt_tokens": 9, "output_tokens": 5}
                for i in range(6)
            ],
        }
    )


def answer(record: Record) -> Answer:
    return Answer(record, evictions=0, drafts_accepted=0, drafts_rejected=0, cpu_s=1.0)


def test_scenarios_follow_from_the_seed_and_differ() -> None:
    first, again = list(draw_cases(30, 3)), list(draw_cases(30, 3))
    assert first == again
    assert [case for _, case in first] != [case for _, case in draw_cases(30, 4)]
    assert len({case.config for _, case in first}) > 25
    assert {case.config.stepwise for _, case in first} == {True, False}
    assert all(
        not case.config.rejects(c.prompt_tokens, c.output_tokens) for _, case in first for c in case.calls
    )


def test_a_version_is_not_asked_for_what_it_does_not_know() -> None:
    for _, drawn in draw_cases(30, 3, Scope(("watermark", "long_prefill_token_threshold_adaptive"))):
        assert drawn.config.watermark == 0
        assert not drawn.config.long_prefill_token_threshold_adaptive


def test_a_mismatch_is_shrunk_to_what_it_takes() -> None:
    """Stands for a mismatch: somebody is preempted."""

    def differs(drawn: Case) -> bool:
        return not drawn.config.stepwise and any(row[3] for row in watch(drawn).requests.values())

    seeds = {seed for seed, drawn in draw_cases(40, 5) if differs(drawn)}
    assert seeds
    smallest = shrink(min(seeds), differs)
    assert smallest is not None
    assert differs(smallest)
    assert len(smallest.calls) <= 8
    assert sum(call.prompt_tokens + call.output_tokens for call in smallest.calls) < 100


def test_what_differs_is_said_and_counted() -> None:
    right = watch(case())
    assert compare(case(), answer(right)).difference is None
    steps = json.loads(json.dumps(right.steps))
    steps[4][3] += 1
    result = compare(case(), answer(Record(steps, right.requests)))
    assert result.difference is not None
    assert (result.difference.step, result.difference.fields) == (4, ("kv_blocks_used",))
    assert result.equal == {"default": 4, "stepwise": 4}
    late = {**right.requests, "r2": ["finished", *right.requests["r2"][1:4], 8]}
    wrong_hit = compare(case(), answer(Record(right.steps, late))).difference
    assert wrong_hit is not None
    assert (wrong_hit.step, wrong_hit.request, wrong_hit.fields) == (None, "r2", ("cached_tokens",))
    cut = first_difference(Record(right.steps[:-1], right.requests), right)
    assert cut is not None
    assert cut.fields == ("end",)

    told = summary([result], version="0.0", unknown=(), seed=1)
    assert (told["scenarios"], told["scenarios_equal"], told["steps_equal"]) == (1, 0, 4)
    assert told["steps"] == len(right.steps)
    assert not told["all_equal"]
    good = compare(case(), answer(right), controls=True)
    rows = [
        {"requests": 10, "steps": 3, "identical": True, "vllm_cpu_s": 8.0, "foretell_cpu_s": 0.5},
        {"requests": 30, "steps": 4, "identical": True, "vllm_cpu_s": 2.0, "foretell_cpu_s": 1.5},
    ]
    timed = summary([good], version="0.0", unknown=(), seed=1, scale=rows)["scale_together"]
    assert timed["requests"] == 40
    assert timed["vllm_requests_per_cpu_s"] == 4.0
    assert timed["foretell_requests_per_cpu_s"] == 20.0
    assert timed["times"] == 5.0
    told = summary([good], version="0.0", unknown=(), seed=1)
    assert told["scale_together"] is None
    assert told["all_equal"]
    assert told["controls"]["block_size"] == {"tried": 1, "binding": 1, "caught": 1}
    assert told["controls"]["request output_tokens"]["caught"] == 1


def test_a_livelock_agrees_only_with_a_livelock() -> None:
    right = watch(case())
    stuck = Record(right.steps[:5], {}, livelock=True)
    assert first_difference(stuck, Record(right.steps, {}, livelock=True)) is None
    assert first_difference(stuck, right) is not None
    assert first_difference(Record(right.steps, right.requests, livelock=True), right) is not None


def test_the_other_interpreter_may_refuse_die_or_sleep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    monkeypatch.setattr(vllm_client, "SCRIPT", script)
    with VllmScheduler(sys.executable, limit_s=1.0) as vllm:
        assert (vllm.version, vllm.unknown) == ("0.32.0", ("watermark",))
        with pytest.raises(OracleError, match=r"^ValueError: refused$"):
            vllm.ask(case())
        for name, why in (("dies", "no more blocks"), ("sleeps", "no answer in 1 s")):
            bad = dataclasses.replace(case(), calls=(dataclasses.replace(case().calls[0], id=name),))
            with pytest.raises(OracleError, match=why):
                vllm.ask(bad)
        with pytest.raises(OracleError, match="refused"):
            vllm.ask(case())  # it was started again


def test_without_vllm_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(vllm_client.VARIABLE, raising=False)
    monkeypatch.setattr(vllm_client, "find_spec", lambda name: None)
    assert exit_code(["validate", "scheduler"]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "foretell[vllm]" in told.err
    assert "--vllm-python" in told.err
    assert exit_code(["validate", "scheduler", "--vllm-python", "nowhere/python"]) == 2
    assert "nowhere/python" in capsys.readouterr().err
    monkeypatch.setenv(vllm_client.VARIABLE, sys.executable)
    assert find_python(None) == sys.executable


def test_a_mismatch_is_a_file_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    monkeypatch.setattr(vllm_client, "SCRIPT", script)
    monkeypatch.chdir(tmp_path)
    asked = ["validate", "scheduler", "--scenarios", "2", "--vllm-python", sys.executable]
    assert exit_code([*asked, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["scenarios"], told["scenarios_equal"], told["all_equal"]) == (2, 0, False)
    assert told["errors"] == ["ValueError: refused"]
    assert [one["file"] for one in told["mismatches"]] == ["mismatch.json"]
    replay = read_replay_file(tmp_path / "mismatch.json")
    assert replay.vllm is None
    assert "vLLM failed: ValueError: refused" in replay.note
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fake.py", "mismatch.json"]
    assert exit_code(asked) == 1
    assert "vLLM failed: ValueError: refused" in capsys.readouterr().out
    assert exit_code([*asked, "--replay-file", "nowhere/m.json"]) == 2


@pytest.mark.skipif(not LIVE, reason=f"{vllm_client.VARIABLE} names no interpreter with vllm")
def test_live_scenarios_and_a_planted_fault(tmp_path: Path) -> None:
    assert LIVE
    found: list[Case] = []
    with VllmScheduler(find_python(LIVE)) as vllm:
        scope = scope_of(vllm.version, vllm.unknown)
        results = run_scenarios(vllm, 20, 11, 4, scope, lambda case, *_: found.append(case))
        told = summary(results, version=vllm.version, unknown=vllm.unknown, seed=11)
        assert told["all_equal"], found
        assert told["steps"] > 2000
        assert all(row["caught"] == row["binding"] for row in told["controls"].values())
        wrong = dataclasses.replace(case(), config=dataclasses.replace(case().config, num_gpu_blocks=9))
        assert compare(case(), vllm.ask(wrong)).difference is not None
        name, row = next((row["name"], row) for row in compare_scale(vllm, 0))
        assert row["identical"], name
