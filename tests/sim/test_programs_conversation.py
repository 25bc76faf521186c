"""Conversations, and work done ahead: what is cached, what is amortised, by count and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from programmed import CALM, INSTANT, agrees, engines, latency_s, model, run

FIXED = model(tokens=300, sd=0)
SOLVER = model("solver", 1.0, 0.8)
CHAT = {"name": "chat", "turns": 4, "user_tokens": 100, "answer_tokens": 300, "answer_spread": 0.0}
CHAT |= {"think_s": 5.0, "think_spread": 0.0}


def test_a_session_by_hand() -> None:
    done = run(CHAT, FIXED)
    assert done.latency_s[0] == pytest.approx(latency_s([300] * 4, waits=3 * 5.0))
    assert list(done.run.prompt_tokens) == [64 + turn * 400 for turn in range(4)]
    assert agrees(run(CHAT, SOLVER, INSTANT, 1500), SOLVER.difficulty.mean)
    random = run({**CHAT, "think_spread": 1.0}, FIXED, INSTANT, 1500)
    assert random.latency_s.mean() == pytest.approx(15 * np.exp(0.5), rel=0.1)  # a log-normal's mean


def test_history_is_found_in_the_cache_while_memory_lasts() -> None:
    """Each turn finds all but its own message; when other sessions have pushed it out, less."""
    kept = run(CHAT, FIXED, engines())
    history = kept.run.prompt_tokens[1:] - 100
    assert (np.abs(kept.run.cached_tokens[1:] - history) <= 16).all()
    hits = []
    for blocks in (4000, 300):
        done = run(CHAT, FIXED, engines(blocks=blocks), 30, arrival_s=np.arange(30) * 0.5)
        hits.append(done.run.cached_tokens.sum() / done.run.prompt_tokens.sum())
    assert hits[1] < 0.7 * hits[0]


@pytest.mark.systems(313)
def test_side_tasks_on_a_branch_compute_only_their_instructions() -> None:
    """CIFLEX: sub-tasks fork from the main task's KV and are dropped; the main line is as it was."""
    sides = {**CHAT, "side_tasks": 2, "side_prompt_tokens": 40, "side_tokens": 10}
    branch, again, plain = (
        run(strategy, FIXED, engines()) for strategy in (sides, {**sides, "branch": False}, CHAT)
    )
    new = {}
    for name, done in {"branch": branch, "again": again}.items():
        side = done.run.output_tokens == 10
        assert side.sum() == 3 * 2
        new[name] = (done.run.prompt_tokens - done.run.cached_tokens)[side]
    assert (new["branch"] <= 40 + 16).all()
    assert (new["again"] > 350).all()
    assert branch.latency_s[0] < again.latency_s[0]
    main = branch.run.output_tokens == 300
    assert list(branch.run.prompt_tokens[main]) == list(plain.run.prompt_tokens)


@pytest.mark.systems(341)
def test_sleep_time_compute_is_amortised_over_the_questions() -> None:
    """Test-time tokens by hand, accuracy unchanged; the dearer notes pay from some number of questions on."""
    base = {"name": "sleep_time", "notes_tokens": 600, "sleep_calls": 1, "idle_s": 60.0, "gap_s": 1.0}
    base |= {"predictable": 1.0, "at_hand": 0.8, "context_tokens": 500}
    done = run({**base, "questions": 5}, FIXED)
    assert sorted(done.run.output_tokens) == [60] * 5 + [600]
    assert done.latency_s[0] == pytest.approx(latency_s([60] * 5, waits=60 + 4 * 1.0))
    without = run({**base, "questions": 5, "sleep_calls": 0}, FIXED)
    assert list(without.run.output_tokens) == [300] * 5  # five times the test-time compute
    # 600 tokens of notes against 240 spared by a question
    for questions, cheaper in ((1, False), (2, False), (3, True), (10, True)):
        spent, usual = (
            run({**base, "questions": questions, "sleep_calls": calls}, FIXED).tokens[0] for calls in (1, 0)
        )
        assert bool(spent < usual) is cheaper
    half = run({**base, "predictable": 0.5, "questions": 10}, FIXED, INSTANT, 300)
    assert half.tokens.mean() == pytest.approx(600 + 10 * (0.5 * 60 + 0.5 * 300), rel=0.03)
    both = [run({**base, "sleep_calls": calls}, SOLVER, INSTANT, 1500) for calls in (0, 1)]
    assert np.array_equal(both[0].answers, both[1].answers)  # the same answers for fewer tokens
    assert agrees(both[0], SOLVER.difficulty.mean)


def test_questions_read_the_notes_from_the_cache() -> None:
    done = run(
        {"name": "sleep_time", "questions": 4, "context_tokens": 1000, "notes_tokens": 500}, FIXED, engines()
    )
    asked = done.run.output_tokens != 500
    assert (done.run.cached_tokens[asked] > 1500).all()
    early = run({"name": "sleep_time", "idle_s": 0.0, "questions": 1, "predictable": 1.0}, FIXED, CALM)
    assert early.latency_s[0] > latency_s([1000])  # notes not written in time are waited for


@pytest.mark.systems(217)
def test_tasks_in_one_call_share_its_prompt() -> None:
    """MTI: one prefill and one call in the place of three; the answers' tokens stay."""
    strategy = {"name": "packed", "tasks": 3, "task_prompt_tokens": 50}
    merged, apart = (run({**strategy, "merged": m}, FIXED) for m in (True, False))
    assert merged.tokens[0] == apart.tokens[0] == 900
    assert (merged.calls[0], merged.prompt_tokens[0]) == (1, 64 + 150)
    assert (apart.calls[0], apart.prompt_tokens[0]) == (3, 3 * (64 + 50))
    assert apart.latency_s[0] - merged.latency_s[0] == pytest.approx(2 * (CALM.ttft_s - CALM.tpot_s))
    worse = run({**strategy, "penalty": 0.2}, SOLVER, INSTANT, 1500)
    assert agrees(worse, 0.8 * SOLVER.difficulty.mean)
