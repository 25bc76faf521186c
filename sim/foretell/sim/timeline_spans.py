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
    from foretell.sim.simulation import Run

Event = dict[str, Any]


def stays(run: Run) -> list[Floats]:
    """Of every engine the requests that were with it: when each came, was first scheduled, left [s], (n, 3).

    When one that was preempted waited again, `waits` tells. One that was cancelled at a time that the run
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


def waits(run: Run) -> list[Floats]:
    """Of every engine the times for which preempted requests waited, in their order.

    Returns:
        (n, 4) each: the request's row, since and until when it was in no step, and when it had caught up [s];
        nothing of who did not wait, or was cancelled at a time that the run does not tell.

    """
    assert run.pauses is not None
    left = run.finish_s if run.queries is None else run.queries.left_s
    hand = run.handovers
    found = []
    for i, pauses in enumerate(run.pauses):
        at_prefill = hand is not None and i < hand.prefill_engines
        gone = (hand.prefill_end_s if hand is not None and at_prefill else left)[pauses[:, 0].astype(int)]
        rows = np.column_stack([pauses[:, 0], np.fmin(pauses[:, 1:], gone[:, None])])
        found.append(rows[(rows[:, 1] < rows[:, 2]) & ~np.isnan(gone)])
    return found


def emptied(run: Run, engine: int) -> Floats | None:
    """When the last request that held blocks of an engine let go of them, each time, ascending [s].

    Blocks are held between steps only where prefill and decode are apart: on a prefill engine until the KV
    cache has been read, on a decode engine from when there was room for it. None where they are not apart.
    """
    hand = run.handovers
    if hand is None:
        return None
    assert run.scheduled_s is not None
    if engine < hand.prefill_engines:
        own = hand.prefill == engine
        start, end = run.scheduled_s[own], np.fmax(hand.prefill_end_s, hand.end_s)[own]
    else:
        own = (run.replica == engine) & ~np.isnan(run.finish_s)
        start, end = np.fmin(hand.start_s, run.finish_s)[own], run.finish_s[own]
    order = np.argsort(start, kind="stable")
    last = np.maximum.accumulate(end[order])
    return np.asarray(last[np.append(start[order][1:], np.inf) > last])


def _by_row(run: Run) -> dict[int, list[list[float]]]:
    """Of the requests that were preempted: since, until, caught up [s], each time."""
    found: dict[int, list[list[float]]] = {}
    for rows in waits(run):
        for row, *times in rows.tolist():
            found.setdefault(int(row), []).append(times)
    return found


def request_spans(run: Run, pid: int, limit: int) -> Iterator[Event]:
    """The first requests as nestable spans: each queued, in its prefill, handed over, decoding."""
    ids, paused = run.ids(), _by_row(run)
    for row in range(min(limit, len(run))):
        phases = _phases(run, row, float(run.finish_s[row]), paused.get(row, ()))
        yield from _span(f"{ids[row]}", row, pid, phases, _request_args(run, row))


def _phases(
    run: Run, row: int, end: float, paused: Sequence[Sequence[float]]
) -> list[tuple[str, float, float]]:
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
    for since, until, again in paused:
        # Of equal times: what follows from having caught up is at once over, and being preempted is not.
        marks = [("decode", again), *marks, ("preempted", since), ("recompute", until)]
    marks = sorted([(name, at) for name, at in marks if at <= end], key=lambda mark: mark[1])
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
    base = {"cat": "request", "id2": {"local": hex(number + 1)}, "pid": pid, "tid": pid}
    yield {"name": "request", "ph": "b", "ts": _us(phases[0][1]), **base, "args": {"request": name, **args}}
    for what, start, end in phases:
        yield {"name": what, "ph": "b", "ts": _us(start), **base, "args": {"request": name}}
        yield {"name": what, "ph": "e", "ts": _us(end), **base}
    yield {"name": "request", "ph": "e", "ts": _us(phases[-1][2]), **base}


def query_threads(run: Run, pid: int, limit: int) -> Iterator[tuple[int, str, list[Event]]]:
    """Threads of the first queries, (tid, name, events): one of the query, and as many as calls overlap.

    Names end in parentheses, as viewers put the thread's number behind them.
    """
    queries = run.queries
    assert queries is not None
    order = np.argsort(queries.query, kind="stable")
    bounds = np.searchsorted(queries.query[order], np.arange(len(queries) + 1))
    paused = _by_row(run)
    tid, shown = pid + 1, 0  # pid is the number of a main thread, which there is none of
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
        yield tid, f"query {q} (whole)", [_slice(f"query {q}", "query", *times, pid, tid, args)]
        tid += 1
        calls = calls[np.argsort(run.arrival_s[calls], kind="stable")]
        lanes: list[list[Event]] = []
        free: list[tuple[float, int]] = []  # heap: (when, lane)
        for call in calls.tolist():
            phases = _phases(run, call, float(queries.left_s[call]), paused.get(call, ()))
            if not phases:
                continue
            start, end = phases[0][1], phases[-1][2]
            lane = heapq.heappop(free)[1] if free and free[0][0] <= start else len(lanes)
            if lane == len(lanes):
                lanes.append([])
            heapq.heappush(free, (end, lane))
            about = {"pool": queries.pools[queries.pool[call]], **_request_args(run, call)}
            lanes[lane].append(_slice("call", "call", start, end, pid, tid + lane, about))
            lanes[lane] += [_slice(name, "call", at, to, pid, tid + lane, {}) for name, at, to in phases]
        for lane, own in enumerate(lanes):
            yield tid + lane, f"query {q} (calls {lane + 1})", own
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
