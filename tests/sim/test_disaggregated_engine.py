"""Engines whose KV caches come from or go to another: the lazy one against the naive one, bit for bit."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from cases import LARGE, MILLISECOND, SMALL, Case, Size, draw_case
from lazily import difference, lazy_simulate
from naive import LivelockError, NaiveRun, naive_simulate


def draw_handed(random: random.Random, size: Size = SMALL) -> Case:
    """An engine as `cases` draws it, in which many calls receive their KV cache, or all give theirs."""
    case = draw_case(random, size)
    share = random.choice((0.3, 0.7, 1.0))
    giving = random.random() < 0.3
    slow = random.choice((0, 1, 10, 100))
    sampled = random.random() < 0.5
    calls = []
    for call in case.calls:
        seconds = MILLISECOND * random.randint(0, 10) * slow
        known = call.prompt_tokens + 2
        if giving:
            calls.append(replace(call, output_tokens=1, stop_token=False, held_s=seconds))
        elif (
            random.random() < share and known <= case.config.max_model_len
        ):  # else its first token is its last
            more = max(call.output_tokens, 1 + sampled)
            calls.append(replace(call, output_tokens=more, transfer_s=seconds, sampled=sampled))
        else:
            calls.append(call)
    if case.cancels:  # who is told of a pause and leaves in it is not told apart
        case = replace(case, config=replace(case.config, empty_step_s=0.0))
    return replace(case, calls=tuple(calls))


def compare(case: Case) -> NaiveRun | None:
    try:
        expected = naive_simulate(case.calls, case.config, case.cost, case.cancels)
    except LivelockError:
        return None
    actual = lazy_simulate(case.calls, case.config, case.cost, case.cancels)
    assert difference(expected, actual) == ""
    return expected


def features(case: Case, run: NaiveRun) -> dict[str, bool]:
    remote = {call.id: call for call in case.calls if call.transfer_s is not None}
    entries = [
        (id, tokens, computed) for step in run.steps for id, tokens, computed in step.batch if id in remote
    ]
    return {
        "received": bool(entries),
        "first token made elsewhere": any(remote[id].sampled for id, _, _ in entries),
        "held": any(c.held_s is not None and run.status[c.id] == "finished" for c in case.calls),
        "preempted and computed anew": any(computed == 0 for _, _, computed in entries),
        "prefix found at home": any(run.cached_tokens[id] for id in remote),
        "cancelled": any(run.status[id] == "cancelled" for id in remote),
        "urgency": case.config.scheduling_policy == "priority" and bool(entries),
        "asynchronous": case.config.async_scheduling and bool(entries),
        "local calls too": bool(entries) and any(c.transfer_s is None for c in case.calls),
        "watermark": case.config.watermark_blocks > 0 and bool(entries),
        "pause": case.config.empty_step_s > 0 and run.empty_schedules > 0,
    }


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_same_batches_and_times_with_caches_from_elsewhere(drawn: random.Random) -> None:
    case = draw_handed(drawn)
    note(repr(case))
    compare(case)


@pytest.mark.parametrize(("seeds", "size", "least"), [(range(2000), SMALL, 30), (range(60), LARGE, 1)])
def test_same_batches_and_times_of_fixed_scenarios(seeds: range, size: Size, least: int) -> None:
    """The same, and proof that every feature occurs."""
    reached: Counter[str] = Counter()
    for seed in seeds:
        case = draw_handed(random.Random(seed), size)
        try:
            run = compare(case)
        except Exception as error:
            error.add_note(f"seed {seed}: {case}")
            raise
        if run is not None:
            reached.update({name: int(found) for name, found in features(case, run).items()})
    assert {name: count for name, count in reached.items() if count < least} == {}
