"""The lazy engine against the naive one: every batch and every time equal, bit for bit."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, assume, event, given, note, settings
from hypothesis import strategies as st

from cases import LARGE, SMALL, Case, Size, draw_case
from lazily import difference, lazy_simulate
from naive import LivelockError, NaiveRun, naive_simulate


def simulate(case: Case) -> NaiveRun:
    return naive_simulate(case.calls, case.config, case.cost, case.cancels)


def features(case: Case, run: NaiveRun) -> dict[str, bool]:
    """What a scenario can reach, and whether this one does."""
    config = case.config
    prompts = {call.id: call.prompt_tokens for call in case.calls}
    first_chunks = [
        (id, tokens) for step in run.steps for id, tokens, computed in step.batch if computed == 0
    ]
    preempted = any(run.n_preemptions.values())
    starts = [call.arrival_s for call in case.calls]
    return {
        "preemption": preempted,
        "preempted twice": max(run.n_preemptions.values(), default=0) > 1,
        "prefix hit": any(run.cached_tokens.values()),
        "eviction": run.evictions > 0,
        "eviction after hit and preemption": preempted
        and run.evictions > 0
        and any(run.cached_tokens.values()),
        "chunked prompt": any(tokens < prompts[id] for id, tokens in first_chunks),
        "urgency decides": config.scheduling_policy == "priority"
        and len({c.priority for c in case.calls}) > 1,
        "preemption by urgency": config.scheduling_policy == "priority" and preempted,
        "no chunking": not config.enable_chunked_prefill,
        "threshold": config.long_prefill_token_threshold > 0,
        "adaptive threshold": config.long_prefill_token_threshold_adaptive,
        "watermark": config.watermark_blocks > 0,
        "no reservation": not config.scheduler_reserve_full_isl,
        "threshold for who is alone": config.long_prefill_token_threshold_alone
        and config.long_prefill_token_threshold > 0,
        "eviction in line": config.freed_blocks_in_line and run.evictions > 0,
        "asynchronous": config.async_scheduling,
        "asynchronous preemption": config.async_scheduling and preempted,
        "token after preemption": run.delivered_while_waiting > 0,
        "empty schedule": run.empty_schedules > 0,
        "stop token": config.async_scheduling and any(call.stop_token for call in case.calls),
        "cancelled": "cancelled" in run.status.values(),
        "cancelled while running": any(
            run.status[id] == "cancelled" for step in run.steps for id, _, _ in step.batch
        ),
        "rejected": "rejected" in run.status.values(),
        "arrivals tie": len(set(starts)) < len(starts),
        "cut at max_model_len": any(
            call.prompt_tokens + call.output_tokens > config.max_model_len
            for call in case.calls
            if run.status[call.id] == "finished"
        ),
    }


def check_invariants(case: Case, run: NaiveRun) -> None:
    """What holds for any engine, told without one."""
    config = case.config
    calls = {call.id: call for call in case.calls}
    ends = dict.fromkeys(step.end_s for step in run.steps)
    scheduled: Counter[str] = Counter()
    free_at = 0.0
    for step in run.steps:
        # The device does one step at a time, on requests that have arrived, within the limits.
        assert step.start_s >= free_at
        assert step.end_s > step.start_s
        free_at = step.end_s
        ids = [id for id, _, _ in step.batch]
        assert len(set(ids)) == len(ids) <= config.max_num_seqs
        assert 0 < sum(tokens for _, tokens, _ in step.batch) <= config.max_num_batched_tokens
        assert 0 < step.blocks_used_after_schedule <= config.num_gpu_blocks - 1
        for id, tokens, computed in step.batch:
            assert calls[id].arrival_s <= step.start_s
            assert computed + tokens <= config.max_model_len
            scheduled[id] += tokens
    # Work conservation: the device rests only when nobody is there, or an empty schedule (which the
    # naive engine tells apart from rest) comes between.
    if not run.empty_schedules and "cancelled" not in run.status.values():
        for before, after in zip(run.steps, run.steps[1:], strict=False):
            if after.start_s > before.end_s:
                assert after.start_s in {call.arrival_s for call in case.calls}
    assert set(run.status) == set(calls)
    for id, call in calls.items():
        answer = min(call.output_tokens, config.max_model_len - call.prompt_tokens)
        came = run.token_s[id]
        assert came == sorted(came)
        assert all(at in ends and at > call.arrival_s for at in came)
        assert run.cached_tokens[id] < call.prompt_tokens
        assert run.cached_tokens[id] % config.block_size == 0
        if run.status[id] == "finished":
            # Every token of the answer is delivered once, at the end of a step.
            assert len(came) == answer
            assert (run.first_token_s[id], run.finish_s[id]) == (came[0], came[-1])
            if not run.n_preemptions[id]:
                wasted = scheduled[id] + run.cached_tokens[id] - (call.prompt_tokens + answer - 1)
                assert wasted == 0 or (wasted == 1 and config.async_scheduling and call.stop_token)
        else:
            assert id not in run.finish_s
            assert run.status[id] in ("cancelled", "rejected")
            assert run.status[id] == "cancelled" or id not in scheduled


def compare(case: Case) -> NaiveRun | None:
    """Run both engines; None if the scenario preempts itself for ever, in vLLM too."""
    try:
        expected = simulate(case)
    except LivelockError:
        return None
    check_invariants(case, expected)
    assert difference(expected, lazy_simulate(case.calls, case.config, case.cost, case.cancels)) == ""
    return expected


@given(st.randoms(use_true_random=False))
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
def test_same_batches_and_times(drawn: random.Random) -> None:
    case = draw_case(drawn)
    note(repr(case))
    run = compare(case)
    assume(run is not None)
    assert run is not None
    for feature, is_reached in features(case, run).items():
        if is_reached:
            event(feature)


@pytest.mark.systems(49)
@pytest.mark.parametrize("first", range(0, 6000, 500))
def test_same_batches_and_times_of_fixed_scenarios(first: int) -> None:
    """The same, and proof that it means something: every feature occurs in 30 of 500 at least."""
    reached = compare_seeds(range(first, first + 500), SMALL)
    assert {feature: count for feature, count in reached.items() if count < 30} == {}


@pytest.mark.slow
def test_same_batches_and_times_of_large_scenarios() -> None:
    """Up to 120 calls and 320 blocks: long decodes between the events."""
    reached = compare_seeds(range(100), LARGE)
    assert {feature: count for feature, count in reached.items() if count < 5} == {}


def compare_seeds(seeds: range, size: Size) -> Counter[str]:
    """How many of the scenarios reach each feature."""
    reached: Counter[str] = Counter()
    for seed in seeds:
        case = draw_case(random.Random(seed), size)
        try:
            run = compare(case)
        except Exception as error:
            error.add_note(f"seed {seed}, {size}: {case}")
            raise
        if run is not None:
            reached.update(features(case, run))
    return reached


def test_naive_engine_keeps_what_any_engine_must() -> None:
    for seed in range(200):
        case = draw_case(random.Random(seed))
        check_invariants(case, simulate(case))
