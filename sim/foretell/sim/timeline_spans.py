"""What a timeline shows besides steps: requests and queries as spans, KV caches that pass between engines."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from foretell.sim.records import STATUS
from foretell.sim.steps import EngineSteps, Floats

if TYPE_CHECKING:
    from foretell.sim.programs.run import ProgramRun
    from foretell.sim.simulation import Run

Event = dict[str, Any]


def stays(run: Run) -> list[Floats]:
    """Of every engine the requests that were with it: when each came, was first scheduled, left [s], (n, 3).

    One that was preempted counts as scheduled all the same; one that was cancelled at a time that the run
    does not tell is left out. Where decode engines are apart, it is scheduled there once its KV cache is.
    """
    assert run.scheduled_s is not None
    left = run.finish_s if run.queries is None else run.queries.left_s
    own = np.column_stack([run.arrival_s, run.scheduled_s, left])
    hand = run.handovers
    found = []
    for i in range(len(run.engines)):
        here = run.replica == i
        rows = own[here]
        if hand is not None:
            there = (hand.prefill == i) & ~np.isnan(hand.prefill_end_s)
            if i < hand.prefill_engines:
                rows = np.column_stack([run.arrival_s, run.scheduled_s, hand.prefill_end_s])[there]
            else:
                rows = np.column_stack([hand.prefill_end_s, hand.end_s, run.finish_s])[here]
        found.append(rows[~np.isnan(rows[:, [0, 2]]).any(axis=1)])
    return found


def request_spans(run: Run, pid: int, limit: int) -> Iterator[Event]:
    """The first requests as nestable spans: each queued, in its prefill, handed over, decoding."""
    ids = run.ids()
    for row in range(min(limit, len(run))):
        phases = _phases(run, row, float(run.finish_s[row]))
        yield from _span(f"{ids[row]}", row, pid, phases, _request_args(run, row))


def _phases(run: Run, row: int, end: float) -> list[tuple[str, float, float]]:
    """Name, start and end [s] of what a request went through until `end`, without gaps; none without it."""
    assert run.scheduled_s is not None
    came, scheduled, first = (
        float(times[row]) for times in (run.arrival_s, run.scheduled_s, run.first_token_s)
    )
    hand = run.handovers
    marks = [("queued", came), ("prefill", scheduled)]
    if hand is not None and not math.isnan(hand.end_s[row]):
        marks += [
            ("awaiting KV blocks", float(hand.prefill_end_s[row])),
            ("KV transfer", float(hand.start_s[row])),
            ("decode", float(hand.end_s[row])),
        ]
    else:
        marks.append(("decode", first))
    marks = [(name, at) for name, at in marks if not math.isnan(at) and at <= end]
    ends = [at for _, at in marks[1:]] + [end] * bool(marks)
    return [(name, at, until) for (name, at), until in zip(marks, ends, strict=True) if _us(at) < _us(until)]


def _request_args(run: Run, row: int) -> Event:
    args: Event = {
        "prompt_tokens": int(run.prompt_tokens[row]),
        "output_tokens": int(run.output_tokens[row]),
        "cached_tokens": int(run.cached_tokens[row]),
        "preemptions": int(run.n_preemptions[row]),
        "engine": int(run.replica[row]),
        "status": STATUS[int(run.status[row])],
    }
    first = run.first_token_s[row] - run.arrival_s[row]
    return args if math.isnan(first) else args | {"ttft_ms": round(1e3 * float(first), 6)}


def _span(
    name: str, number: int, pid: int, phases: Sequence[tuple[str, float, float]], args: Event
) -> Iterator[Event]:
    if not phases:
        return
    base = {"cat": "request", "id": number + 1, "pid": pid, "tid": pid}
    yield {"name": "request", "ph": "b", "ts": _us(phases[0][1]), **base, "args": {"request": name, **args}}
    for what, start, end in phases:
        yield {"name": what, "ph": "b", "ts": _us(start), **base}
        yield {"name": what, "ph": "e", "ts": _us(end), **base}
    yield {"name": "request", "ph": "e", "ts": _us(phases[-1][2]), **base}


def query_threads(queries: ProgramRun, pid: int, limit: int) -> Iterator[tuple[int, str, list[Event]]]:
    """Threads of the first queries, (tid, name, events): one of the query, and as many as calls overlap."""
    order = np.argsort(queries.query, kind="stable")
    bounds = np.searchsorted(queries.query[order], np.arange(len(queries) + 1))
    tid, shown = 1_000_000, 0
    for q in range(len(queries)):
        calls = order[bounds[q] : bounds[q + 1]]
        if (shown and shown + len(calls) > limit) or limit == 0:
            return
        shown += len(calls)
        args = {
            "calls": int(queries.calls[q]),
            "output_tokens": int(queries.tokens[q]),
            "right": bool(queries.right[q]),
            "late": bool(queries.late[q]),
        }
        times = float(queries.arrival_s[q]), float(queries.finish_s[q])
        yield tid, f"query {q}", [_slice(f"query {q}", "query", *times, pid, tid, args)]
        tid += 1
        calls = calls[np.argsort(queries.run.arrival_s[calls], kind="stable")]
        lanes: list[list[Event]] = []
        free: list[tuple[float, int]] = []  # heap: (when, lane)
        for call in calls.tolist():
            phases = _phases(queries.run, call, float(queries.left_s[call]))
            if not phases:
                continue
            start, end = phases[0][1], phases[-1][2]
            lane = heapq.heappop(free)[1] if free and free[0][0] <= start else len(lanes)
            if lane == len(lanes):
                lanes.append([])
            heapq.heappush(free, (end, lane))
            about = {"pool": queries.pools[queries.pool[call]], **_request_args(queries.run, call)}
            lanes[lane].append(_slice("call", "call", start, end, pid, tid + lane, about))
            lanes[lane] += [_slice(name, "call", at, to, pid, tid + lane, {}) for name, at, to in phases]
        for lane, own in enumerate(lanes):
            yield tid + lane, f"query {q}, calls {lane + 1}", own
        tid += len(lanes)


def flows(run: Run, engines: Sequence[EngineSteps], limit: int) -> Iterator[Event]:
    """Arrows of KV caches: from the step that computed the prompt to the first one that has the cache."""
    hand = run.handovers
    if hand is None:
        return
    for row in range(min(limit, len(run))):
        if math.isnan(hand.end_s[row]):
            continue
        i, j = int(hand.prefill[row]), int(run.replica[row])
        sent, came = engines[i], engines[j]
        a = int(np.searchsorted(sent.end_s, hand.prefill_end_s[row] - 1e-12))
        b = int(np.searchsorted(came.start_s, hand.end_s[row] - 1e-12))
        if a == len(sent) or b == len(came):
            continue
        args = {"request": f"{run.ids()[row]}", "bytes": float(hand.sent_bytes[row])}
        base = {"name": "KV cache", "cat": "kv", "id": row + 1}
        at = float(sent.end_s[a] - sent.seconds[a] / sent.count[a] / 4)
        to = float(came.start_s[b] + came.seconds[b] / came.count[b] / 4)
        yield {**base, "ph": "s", "ts": _us(at), "pid": i + 1, "tid": i + 1, "args": args}
        yield {**base, "ph": "f", "bp": "e", "ts": _us(to), "pid": j + 1, "tid": j + 1}


def _slice(name: str, cat: str, start_s: float, end_s: float, pid: int, tid: int, args: Event) -> Event:
    ts = round(start_s * 1e9)
    dur = (round(end_s * 1e9) - ts) / 1000
    return {
        "name": name,
        "cat": cat,
        "ph": "X",
        "ts": ts / 1000,
        "dur": dur,
        "pid": pid,
        "tid": tid,
        "args": args,
    }


def _us(seconds: float) -> float:
    return round(seconds * 1e9) / 1000
