"""Timelines: the format by a strict reader, and what they say by the run's own records."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from foretell.sim.simulation import Run
from foretell.sim.steps import KINDS, engine_steps
from foretell.sim.timeline import timeline_json
from reported import SCENARIOS, forecasted
from trace_reader import Timeline, ns, read_timeline

ROOT = Path(__file__).resolve().parents[2]


def timeline(name: str, **limits: int) -> Timeline:
    return read_timeline(timeline_json(forecasted(name), **limits))


def waited_again_s(run: Run) -> float:
    """How long preempted requests waited: until a step carried them again, or their client gave up."""
    assert run.pauses is not None
    left = run.finish_s if run.queries is None else run.queries.left_s
    found = 0.0
    for row, since, until, _ in np.concatenate(run.pauses).tolist():
        found += max(float(np.fmin(until, left[int(row)])) - since, 0.0)
    return found


@pytest.mark.parametrize("limits", [{}, {"slices": 40, "spans": 7}, {"slices": 0, "spans": 0}])
@pytest.mark.parametrize("name", SCENARIOS)
def test_any_run_is_a_valid_file_that_holds_all_of_its_steps(name: str, limits: dict[str, int]) -> None:
    found = timeline(name, **limits)
    engines = engine_steps(forecasted(name))
    for pid, (steps, stats) in enumerate(zip(engines, forecasted(name).run.engines, strict=True), 1):
        assert found.processes[pid].startswith(f"{steps.name} (")
        slices = found.slices[pid, pid]
        assert sum(one["args"]["steps"] for one in slices) == stats.steps
        assert sum(one["args"]["prompt_tokens"] for one in slices) == stats.prefill_tokens
        assert sum(one["args"]["decoded_tokens"] for one in slices) == stats.decode_seqs
        busy = sum(one["args"].get("busy_ms", one["dur"] / 1000) for one in slices) / 1000
        assert busy == pytest.approx(stats.busy_s, rel=1e-6)
        assert {one["name"] for one in slices} <= set(KINDS)
        assert len(slices) <= max(limits.get("slices", 10**9) // len(engines), 1)
        for one in slices:
            bounds = [v for key, v in one["args"].items() if key.split()[0] in "compute memory communication"]
            assert sum(bounds) <= 100.02
            busy_ms = one["args"].get("busy_ms", one["dur"] / 1000)
            assert busy_ms <= one["dur"] / 1000 + 1e-5


@pytest.mark.parametrize("name", SCENARIOS)
def test_in_full_every_row_is_a_slice_at_its_time(name: str) -> None:
    found = timeline(name)
    for pid, steps in enumerate(engine_steps(forecasted(name)), 1):
        slices = found.slices[pid, pid]
        np.testing.assert_allclose([one["ts"] for one in slices], 1e6 * steps.start_s, atol=1e-3)
        np.testing.assert_allclose([one["dur"] for one in slices], 1e6 * steps.seconds, atol=2e-3)
        assert [one["name"] for one in slices] == [KINDS[kind] for kind in steps.kind]


def test_spans_of_requests_are_their_latencies() -> None:
    result = forecasted("one engine")
    run, found = result.run, timeline("one engine")
    assert run.scheduled_s is not None
    assert len(found.spans) == len(run)
    for (_, _, number), spans in found.spans.items():
        row = number - 1
        times = {name: (since, until) for name, since, until in spans}
        assert times["request"] == (round(run.arrival_s[row] * 1e9), round(run.finish_s[row] * 1e9))
        assert times["prefill"] == (round(run.scheduled_s[row] * 1e9), round(run.first_token_s[row] * 1e9))
        if "decode" in times:
            assert times["decode"] == (times["prefill"][1], times["request"][1])
        else:
            assert run.output_tokens[row] == 1
        if "queued" in times:
            assert times["queued"] == (times["request"][0], times["prefill"][0])


@pytest.mark.parametrize("name", SCENARIOS)
def test_requests_that_run_and_wait_come_to_zero_and_average_as_they_must(name: str) -> None:
    """Little's law: the area under a counter is the sum of the requests' own times."""
    run, found = forecasted(name).run, timeline(name)
    area = {"running": 0.0, "waiting": 0.0}
    for (_, what), events in found.counters.items():
        if what != "requests":
            continue
        assert events[-1]["args"] == {"running": 0, "waiting": 0}
        for one, after in pairwise(events):
            for key in area:
                area[key] += one["args"][key] * (ns(after) - ns(one)) / 1e9
    assert run.scheduled_s is not None
    if run.handovers is not None:
        hand = run.handovers
        apart = ~np.isnan(hand.end_s)
        running = (hand.prefill_end_s - run.scheduled_s).sum() + (run.finish_s - hand.end_s)[apart].sum()
        waiting = (run.scheduled_s - run.arrival_s).sum() + (hand.end_s - hand.prefill_end_s)[apart].sum()
    else:
        left = run.finish_s if run.queries is None else run.queries.left_s
        began = np.where(np.isnan(run.scheduled_s), left, run.scheduled_s)
        running, waiting = np.nansum(left - began), np.nansum(began - run.arrival_s)
        again = waited_again_s(run)
        running, waiting = running - again, waiting + again
        if name == "full cache":
            assert again > 0.1 and waiting == pytest.approx(run.engines[0].queue_s)
    assert area["running"] == pytest.approx(running, rel=1e-6)
    assert area["waiting"] == pytest.approx(waiting, abs=1e-5, rel=1e-6)


def test_preempted_requests_wait_and_catch_up() -> None:
    """Every preemption is a mark on its engine, and a span between decoding and computing anew."""
    run, found = forecasted("full cache").run, timeline("full cache")
    assert run.pauses is not None
    told = [(one["args"]["request"], ns(one)) for one in found.marks[1, 1]]
    assert sorted(told) == sorted((f"r{row:.0f}", round(at * 1e9)) for row, at, *_ in run.pauses[0].tolist())
    assert len(told) == run.engines[0].preemptions > 10
    for row in np.flatnonzero(run.n_preemptions).tolist():
        spans = sorted(found.spans[2, "request", row + 1], key=lambda span: span[1:])
        names = [name for name, _, _ in spans if name != "request"]
        own = run.pauses[0][run.pauses[0][:, 0] == row]
        own = own[~np.isnan(own[:, 2])]  # else it ended at once, by a token that was in flight
        assert names.count("preempted") == names.count("recompute") == len(own)
        assert names[-1] == "decode" and names[0] in ("queued", "prefill")
        parts = [span for span in spans if span[0] != "request"]
        assert all(one[2] == after[1] for one, after in pairwise(parts))  # without gaps
        waited = [(since, until) for name, since, until in parts if name == "preempted"]
        assert waited == [(round(since * 1e9), round(until * 1e9)) for _, since, until, _ in own.tolist()]


def test_calls_of_programs_are_shown_as_preempted() -> None:
    run, found = forecasted("program, full cache").run, timeline("program, full cache")
    assert run.n_preemptions.sum() > 20
    shown = [one for thread in found.slices.values() for one in thread if one["name"] == "preempted"]
    assert sum(one["dur"] for one in shown) == pytest.approx(1e6 * waited_again_s(run), rel=1e-6)


def test_nothing_is_held_where_nobody_holds_it() -> None:
    """Prefill and decode apart, between steps: by when caches had been read, or there was room for them."""
    run, found = forecasted("disaggregated").run, timeline("disaggregated")
    hand = run.handovers
    assert hand is not None and run.scheduled_s is not None
    for i, steps in enumerate(engine_steps(forecasted("disaggregated"))):
        events = found.counters[i + 1, "KV cache in use"]
        assert events[0]["ts"] == 0 and events[-1]["args"] == {"%": 0}
        own = (hand.prefill if i < hand.prefill_engines else run.replica) == i
        since = run.scheduled_s if i < hand.prefill_engines else hand.start_s
        until = np.fmax(hand.prefill_end_s, hand.end_s) if i < hand.prefill_engines else run.finish_s
        times = np.array([one["ts"] / 1e6 for one in events])
        idle = 0
        for at in np.linspace(0, times[-1] + 1, 2000):
            if ((steps.start_s <= at + 1e-6) & (at - 1e-6 < steps.end_s)).any():
                continue
            if not (own & (since <= at + 1e-6) & (at - 1e-6 < until)).any():
                idle += 1
                assert events[np.searchsorted(times, at, side="right") - 1]["args"] == {"%": 0}
        assert idle > 50


def test_the_share_of_the_cache_is_that_of_the_engines_own_integral() -> None:
    for name in ("one engine", "full cache"):
        result = forecasted(name)
        stats = result.run.engines[0]
        held = 0.0
        events = timeline(name).counters[1, "KV cache in use"]
        for one, after in pairwise(events):
            held += one["args"]["%"] / 100 * stats.kv_blocks * (ns(after) - ns(one)) / 1e9
        assert held == pytest.approx(stats.kv_block_seconds, rel=2e-3)  # told to 0.01 %
        assert max(one["args"]["%"] for one in events) <= 100


def test_arrows_join_the_step_that_computed_a_prompt_to_one_that_has_its_cache() -> None:
    result = forecasted("disaggregated")
    found, hand = timeline("disaggregated"), result.run.handovers
    assert hand is not None
    apart = np.flatnonzero(~np.isnan(hand.end_s))
    assert len(found.arrows) == len(apart) > 50
    for start, end in found.arrows:
        row = start["id"] - 1
        assert start["pid"] == hand.prefill[row] + 1
        assert end["pid"] == result.run.replica[row] + 1
        assert start["ts"] / 1e6 < hand.prefill_end_s[row] <= hand.end_s[row] < end["ts"] / 1e6
        assert start["args"]["bytes"] == hand.sent_bytes[row]
    row = apart[0]
    names = [name for name, _, _ in sorted(found.spans[4, "request", row + 1], key=lambda span: span[1])]
    assert names[-2:] == ["KV transfer", "decode"]


def test_queries_are_threads_with_their_calls_beside_them() -> None:
    result = forecasted("two pools of a program")
    queries = result.run.queries
    assert queries is not None
    found = timeline("two pools of a program")
    assert found.processes[3] == "queries (best_of_n)"
    threads = {name: key for key, name in found.threads.items() if key[0] == 3}
    calls = [one for key in threads.values() for one in found.slices[key] if one["name"] == "call"]
    assert len(calls) == len(queries.run)
    assert {one["args"]["pool"] for one in calls} == {"solver", "judge"}
    for q in range(len(queries)):
        (one,) = found.slices[threads[f"query {q} (whole)"]]
        assert one["dur"] == pytest.approx(1e6 * queries.latency_s[q])
        assert one["args"]["calls"] == queries.calls[q]
    few = timeline("two pools of a program", spans=9)
    shown = sum("whole" in name for (pid, _), name in few.threads.items() if pid == 3)
    assert shown == (np.cumsum(queries.calls) <= 9).sum() == 2


def test_the_file_says_how_it_was_thinned_and_is_bounded() -> None:
    text = timeline_json(forecasted("replicas"), slices=30, spans=10)
    about = json.loads(text)["otherData"]
    assert "10 equal windows" in about["slices"]
    assert about["spans"] == "the first 10 of 120 requests or calls"
    assert len(text) < 60_000 < len(timeline_json(forecasted("replicas")))


def test_limits_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="slices: -1 is not >= 0"):
        timeline_json(forecasted("one engine"), slices=-1)
