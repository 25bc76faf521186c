"""Both engines against what vLLM 0.32 did: batch for batch, in scheduling order."""

from __future__ import annotations

from typing import Any

import pytest

from lazily import lazy_simulate
from naive import NaiveRun, naive_simulate
from recorded import MISSING, ROOT, RUNS, SCENARIOS, Recording, first_difference, load_run, load_scenario

pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason=MISSING)
engines = pytest.mark.parametrize("engine", ("naive", "lazy"))


def replay(recording: Recording, engine: str) -> NaiveRun:
    """Run the recorded calls and compare every batch, preemption and cached token."""
    simulate = naive_simulate if engine == "naive" else lazy_simulate
    run = simulate(recording.calls, recording.config, recording.cost)
    assert first_difference(recording.batches, [step.batch for step in run.steps]) is None
    for row in recording.requests:
        id = row["request_id"]
        assert run.status[id] == "finished"
        assert run.n_preemptions[id] == int(row["n_preemptions"]), id
        assert run.cached_tokens[id] == int(row["cached_tokens"]), id
    if engine == "naive":
        assert [step.blocks_used_after_schedule for step in run.steps] == recording.blocks_used
    return run


def approximately(value: str) -> Any:
    """A recorded figure, which was printed with nine digits."""
    return pytest.approx(float(value), rel=6e-9, abs=1e-12)


@pytest.mark.parametrize("engine", ["lazy", pytest.param("naive", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SCENARIOS)
def test_scheduler_scenario(name: str, engine: str) -> None:
    recording = load_scenario(name)
    run = replay(recording, engine)
    for step, start_s, end_s in zip(run.steps, recording.step_starts_s, recording.step_ends_s, strict=True):
        assert abs(step.start_s - start_s) < 1e-6
        assert abs(step.end_s - end_s) < 1e-6
    for row in recording.requests:
        assert run.finish_s[row["request_id"]] == approximately(row["finish_s"])
        assert run.first_token_s[row["request_id"]] - float(row["arrival_s"]) == pytest.approx(
            float(row["ttft_s"]), rel=6e-9, abs=1e-9
        )


@engines
@pytest.mark.parametrize("name", RUNS)
def test_real_run(name: str, engine: str) -> None:
    """With the run's own steps as the clock. Tokens reached the client within 3 ms of their step's end."""
    recording = load_run(name)
    run = replay(recording, engine)
    for row in recording.requests:
        for at, value in (
            (run.first_token_s, float(row["arrival_s"]) + float(row["ttft_s"])),
            (run.finish_s, float(row["finish_s"])),
        ):
            step = round(at[row["request_id"]]) - 1
            assert -1e-4 < value - recording.step_ends_s[step] < 3e-3
