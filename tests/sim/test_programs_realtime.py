"""Programs against the clock: overlaps by hand, and what being late costs."""

from __future__ import annotations

import numpy as np
import pytest

from foretell.sim.programs.servers import UnloadedPool
from programmed import CALM, INSTANT, agrees, engines, latency_s, model, run

FIXED = model(tokens=100, sd=0)
SOLVER = model("solver", 1.0, 0.8)


@pytest.mark.systems(379)
def test_a_stream_keeps_up_or_falls_behind() -> None:
    """Frames at 2 Hz, silent decisions: a service of 0.1 s a frame keeps up, one of 0.8 s does not."""
    strategy = {"name": "streaming", "frames": 20, "period_s": 0.5, "speak": 0.0, "frame_tokens": 10}
    done = run(strategy, FIXED)
    assert done.latency_s[0] == pytest.approx(19 * 0.5 + latency_s([1, 100]))
    assert list(done.run.prompt_tokens[:3]) == [74, 74 + 11, 74 + 22]  # the cache grows by frame and decision
    slow = run(strategy, FIXED, UnloadedPool(0.8, 0.01))
    assert slow.latency_s[0] == pytest.approx(20 * 0.8 + 0.8 + 99 * 0.01)
    behind = slow.run.arrival_s[:20] - np.arange(20) * 0.5
    assert (np.diff(behind) > 0).all()


def test_a_stream_reads_each_frame_once() -> None:
    done = run({"name": "streaming", "frames": 20, "frame_tokens": 50, "speak": 0.3}, FIXED, engines())
    new = (done.run.prompt_tokens - done.run.cached_tokens)[1:]
    assert (new < 50 + 16 + 1).all()


@pytest.mark.systems(406)
def test_thinking_along_has_little_left_to_read_at_the_end() -> None:
    """Think While Watching: the answer's prompt is computed while the stream comes in."""
    base = {"name": "streaming", "frames": 40, "period_s": 0.2, "frame_tokens": 500, "speak": 0.0}
    along, after = (run({**base, "think_along": t}, FIXED, engines()) for t in (True, False))
    end_s = 39 * 0.2
    assert along.latency_s[0] - end_s < after.latency_s[0] - end_s - 0.15
    answer = np.argmax(along.run.arrival_s)
    assert along.run.prompt_tokens[answer] - along.run.cached_tokens[answer] < 500 + 32
    assert after.run.cached_tokens.sum() == 0


@pytest.mark.systems(229)
@pytest.mark.parametrize("chunk_s", [0.1, 0.41, 2.0])
def test_overlapping_inference_and_action_by_hand(chunk_s: float) -> None:
    """VLASH: n·(inference + action) against inference + (n − 1)·max + action: up to twice as fast."""
    strategy = {"name": "control_loop", "chunks": 10, "chunk_s": chunk_s, "chunk_tokens": 32}
    inference_s = latency_s([32])
    together, apart = (run({**strategy, "overlap": o}, FIXED).latency_s[0] for o in (True, False))
    assert apart == pytest.approx(10 * (inference_s + chunk_s))
    assert together == pytest.approx(inference_s + 9 * max(inference_s, chunk_s) + chunk_s)
    assert apart / together <= 2
    if chunk_s == 0.41:  # as long as the inference: nearly all of it is hidden
        assert apart / together > 1.8


def test_old_observations_cost_success_by_their_age() -> None:
    """Nine chunks act on what was seen a delay before: each spoils with stale·min(delay/chunk, 1)."""
    strategy = {"name": "control_loop", "chunks": 10, "chunk_s": 0.82, "stale": 0.1}
    done = run(strategy, SOLVER, CALM, 2000)
    delay = latency_s([32]) / 0.82
    assert agrees(done, SOLVER.difficulty.mean * (1 - 0.1 * delay) ** 9)
    rolled = run({**strategy, "stale": 0.0}, SOLVER, CALM, 2000)
    assert agrees(rolled, SOLVER.difficulty.mean)


@pytest.mark.systems(283)
def test_reacting_and_planning_beats_either_alone() -> None:
    """AgileThinker: under a moving world a planner alone misses ticks, a reaction alone thinks too short."""
    solver = model("solver", 1.2, 0.6, tokens=3000, sd=0.3, settling=1.0)
    base = {"name": "reactive_and_planning", "period_s": 8.0, "ticks": 6, "reactive_tokens": 300}
    pool = UnloadedPool(0.1, 0.01)
    both, plans, reacts = (
        run({**base, **streams}, solver, pool, 1500).accuracy
        for streams in ({}, {"reactive": False}, {"planning": False})
    )
    assert both > plans > reacts
    slow = run(
        {**base, "period_s": 60.0}, solver, pool, 1500
    ).accuracy  # the world waits: as good as thinking
    assert slow > both and slow == pytest.approx(solver.difficulty.mean, abs=0.04)


@pytest.mark.systems(45)
def test_latency_itself_costs_success_in_a_world_that_does_not_wait() -> None:
    """VideoGameBench against its Lite mode, which pauses: the same model, faster or slower, in time."""
    solver = model("solver", 1.2, 0.6, tokens=1000, sd=0.5)
    found = []
    for tpot_s in (0.002, 0.01, 0.03):
        pool = UnloadedPool(0.1, tpot_s)
        real, paused = (run({"name": "react"}, solver, pool, 1000, deadline_s=d) for d in (30.0, np.inf))
        assert (real.latency_s <= 30.0 + 1e-9).all()
        assert agrees(paused, solver.difficulty.mean)
        found.append(real.accuracy)
    assert found[0] > found[1] > found[2]


def test_streams_need_one_to_be_switched_on() -> None:
    with pytest.raises(ValueError, match="reactive: false, and planning too"):
        run({"name": "reactive_and_planning", "reactive": False, "planning": False}, pools=INSTANT)
