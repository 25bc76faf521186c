"""A run as a timeline that ui.perfetto.dev and chrome://tracing open: the Trace Event Format, as JSON.

A process is an engine: its steps are slices of one thread, its requests and its KV cache counters. Requests
are spans of a process of their own; queries of a task are threads, with their calls beside them.

Source of the format: Trace Event Format (Google, 2016, "JSON Object Format").
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from foretell.sim.bounds import BOUNDS
from foretell.sim.steps import KINDS, EngineSteps, Floats, engine_steps, with_loads
from foretell.sim.timeline_spans import emptied, flows, query_threads, request_spans, stays, waits

if TYPE_CHECKING:
    from foretell.sim.forecasting import Forecast
    from foretell.sim.simulation import Run

Event = dict[str, Any]
SLICES = 100_000
"""Slices that a timeline may have; what has more is merged, see `merged`."""
SPANS = 1_000
"""Requests (or calls of queries) that are shown as spans."""


def timeline_json(result: Forecast, *, slices: int = SLICES, spans: int = SPANS) -> str:
    """A forecast's replication 0 as JSON text.

    Args:
        result: the forecast; its steps are recorded by one more run, unless it has them.
        slices: at most so many slices of steps, all engines together, at least one an engine; see `merged`.
        spans: at most so many requests or calls as spans, the first ones, of queries always the first.

    Raises:
        ValueError: `slices` or `spans` below 0.

    """
    for name, value in (("slices", slices), ("spans", spans)):
        if value < 0:
            raise ValueError(f"{name}: {value} is not >= 0")
    result = with_loads(result)
    found = {
        "otherData": _about(result, slices, spans),
        "traceEvents": trace_events(result, slices=slices, spans=spans),
    }
    return json.dumps(found, separators=(",", ":"), allow_nan=False) + "\n"


def trace_events(result: Forecast, *, slices: int = SLICES, spans: int = SPANS) -> list[Event]:
    """The events of a timeline: metadata first, the others in the order of their time."""
    result = with_loads(result)
    engines = engine_steps(result)
    windows = max(slices // max(len(engines), 1), 1)
    meta: list[Event] = []
    events: list[Event] = []
    present, paused = stays(result.run), waits(result.run)
    for i, steps in enumerate(engines):
        pid = i + 1
        meta += named(pid, f"{steps.name} ({_where(steps)})", {pid: "steps"})
        events += step_slices(steps, merged(steps, windows), pid)
        events += _kv_counter(steps, pid, windows, emptied(result.run, i))
        events += _request_counter(present[i], paused[i], pid, windows)
        events += _preemptions(result.run, i, pid, spans)
    rest = len(engines) + 1
    if result.run.queries is not None:
        threads = list(query_threads(result.run, rest, spans))
        meta += named(rest, f"queries ({result.scenario.strategy['name']})", dict(t[:2] for t in threads))
        events += [event for _, _, own in threads for event in own]
    else:
        meta += named(rest, "requests", {rest: "requests"})
        events += request_spans(result.run, rest, spans)
    events += flows(result.run, engines, spans)
    # Equal times: what ends comes before what begins, and of what begins the longer first, so that all nests.
    events.sort(key=lambda event: (event["ts"], _ORDER.get(event["ph"], 1), -event.get("dur", 0.0)))
    return meta + events


_ORDER = {"e": 0, "i": 0, "C": 2, "s": 3, "f": 3}


def merged(steps: EngineSteps, windows: int) -> npt.NDArray[np.int64]:
    """Rows in groups, each a slice of the timeline: the first row of each group.

    As many groups as rows where there are no more rows than windows. Else time is cut into equal windows,
    and the rows that start in one are a group: it lasts from the start of its first to the end of its last.
    """
    n = len(steps)
    if n <= windows:
        return np.arange(n)
    width = (steps.start_s[-1] - steps.start_s[0]) / windows
    window = np.minimum((steps.start_s - steps.start_s[0]) / width, windows - 1).astype(np.int64)
    return np.flatnonzero(np.diff(window, prepend=-1))


def step_slices(steps: EngineSteps, first: npt.NDArray[np.int64], pid: int) -> Iterator[Event]:
    """A complete event for every group of rows, with what its steps carried and what their time went to."""
    if not len(steps):
        return
    last = np.append(first[1:], len(steps)) - 1
    load = steps.middle
    columns = {
        "steps": steps.count,
        "busy_s": steps.seconds,
        "prompt tokens": load.prefill_tokens * steps.count,
        "prompts": load.prefill_seqs * steps.count,
        "tokens decoded": load.decode_seqs * steps.count,
        "context": (load.decode_context + load.prefill_context) * steps.count,
        "kv": steps.kv_blocks * steps.seconds,
        **dict(zip(BOUNDS, steps.bound_s, strict=True)),
        **{kind: steps.seconds * (steps.kind == i) for i, kind in enumerate(KINDS)},
    }
    sums = {name: np.add.reduceat(values, first).tolist() for name, values in columns.items()}
    starts, ends = nanoseconds(steps.start_s[first]), nanoseconds(steps.end_s[last])
    for g, (start, end) in enumerate(zip(starts, ends, strict=True)):
        at = {name: values[g] for name, values in sums.items()}
        yield {
            "name": max(KINDS, key=at.__getitem__),
            "cat": "step",
            "ph": "X",
            "ts": start / 1000,
            "dur": (end - start) / 1000,
            "pid": pid,
            "tid": pid,
            "args": _step_args(at, alone=first[g] == last[g]),
        }


def _step_args(at: dict[str, float], *, alone: bool) -> Event:
    steps, busy = at["steps"], at["busy_s"]
    args: Event = {"steps": round(steps)}
    if steps > 1:
        args["mean_step_ms"] = round(1e3 * busy / steps, 6)
    if not alone:
        args["busy_ms"] = round(1e3 * busy, 6)
        args |= {f"{kind} %": _percent(at[kind] / busy) for kind in KINDS if at[kind]}
    args["prompt_tokens"] = round(at["prompt tokens"])
    args["decoded_tokens"] = round(at["tokens decoded"])
    args["prompts_per_step"] = round(at["prompts"] / steps, 3)
    args["decoding_per_step"] = round(at["tokens decoded"] / steps, 3)
    args["context_tokens_per_step"] = round(at["context"] / steps, 1)
    args["kv_blocks"] = round(at["kv"] / busy, 1)
    return args | {f"{bound} %": _percent(at[bound] / busy) for bound in BOUNDS if at[bound]}


def _kv_counter(steps: EngineSteps, pid: int, windows: int, empty: Floats | None) -> Iterator[Event]:
    """The share of the KV blocks in use: of every group of rows, and none where a gap follows.

    Of an engine that holds blocks in gaps, too, the last value stays until it is `emptied`.
    """
    first = merged(steps, windows)
    if not len(first) or steps.start_s[0] > 0:
        yield counter("KV cache in use", 0, pid, {"%": 0.0})
    if not len(first):
        return
    last = np.append(first[1:], len(steps)) - 1
    seconds = np.add.reduceat(steps.seconds, first)
    blocks = np.add.reduceat(steps.kv_blocks * steps.seconds, first) / seconds
    share = blocks / max(steps.part.config.num_gpu_blocks - 1, 1)
    starts, ends = nanoseconds(steps.start_s[first]), nanoseconds(steps.end_s[last])
    gone = ends if empty is None else nanoseconds(empty)
    for start, end, after, value in zip(starts, ends, [*starts[1:], math.inf], share.tolist(), strict=True):
        yield counter("KV cache in use", start, pid, {"%": _percent(value)})
        k = bisect_left(gone, end)
        if k < len(gone) and gone[k] < after:
            yield counter("KV cache in use", gone[k], pid, {"%": 0.0})


def _request_counter(present: Floats, paused: Floats, pid: int, windows: int) -> Iterator[Event]:
    """How many requests run and wait at an engine, from its `stays` and `waits`."""
    times = np.concatenate([*present.T, *paused.T[1:3]])
    n, m = len(present), len(paused)
    waiting = np.repeat([1, -1, 0, 1, -1], [n, n, n, m, m])
    running = np.repeat([0, 1, -1, -1, 1], [n, n, n, m, m])
    never = np.isnan(present[:, 1])  # left before any step: it leaves the line
    waiting[2 * n : 3 * n][never], running[2 * n : 3 * n][never] = -1, 0
    known = ~np.isnan(times)
    at = np.array(nanoseconds(times[known]), dtype=np.int64)
    order = np.argsort(at, kind="stable")
    at = at[order]
    if not len(at) or at[0] > 0:  # so that time begins where the workload does
        yield counter("requests", 0, pid, {"running": 0, "waiting": 0})
    if not len(at):
        return
    line, in_step = np.cumsum(waiting[known][order]), np.cumsum(running[known][order])
    window = at if n <= windows else (at - at[0]) * windows // max(int(at[-1] - at[0]), 1)
    for i in np.flatnonzero(np.diff(window, append=window[-1] + 1)).tolist():
        yield counter(
            "requests", int(at[i]), pid, {"running": int(in_step[i]), "waiting": max(int(line[i]), 0)}
        )


def _preemptions(run: Run, engine: int, pid: int, limit: int) -> Iterator[Event]:
    """A mark for each of an engine's first preemptions."""
    assert run.pauses is not None
    ids = run.ids()
    for row, since, *_ in run.pauses[engine][:limit].tolist():
        (at,) = nanoseconds(np.array([since]))
        about = {"request": f"{ids[int(row)]}"}
        yield {
            "name": "preempted",
            "cat": "step",
            "ph": "i",
            "s": "t",
            "ts": at / 1000,
            "pid": pid,
            "tid": pid,
            "args": about,
        }


def counter(name: str, ns: int, pid: int, values: dict[str, float]) -> Event:
    """A counter event."""
    return {"name": name, "cat": "engine", "ph": "C", "ts": ns / 1000, "pid": pid, "tid": pid, "args": values}


def named(pid: int, process: str, threads: dict[int, str]) -> list[Event]:
    """Metadata: a process' name and place, and its threads'."""
    first = next(iter(threads), pid)
    found = [
        _meta("process_name", pid, first, {"name": process}),
        _meta("process_sort_index", pid, first, {"sort_index": pid}),
    ]
    for place, (tid, name) in enumerate(threads.items()):
        found.append(_meta("thread_name", pid, tid, {"name": name}))
        found.append(_meta("thread_sort_index", pid, tid, {"sort_index": place}))
    return found


def _meta(name: str, pid: int, tid: int, args: Event) -> Event:
    return {"name": name, "ph": "M", "ts": 0, "pid": pid, "tid": tid, "args": args}


def nanoseconds(seconds: Floats) -> list[int]:
    """Whole nanoseconds: slices that touch still do when they are told in them."""
    found: list[int] = np.rint(seconds * 1e9).astype(np.int64).tolist()
    return found


def _percent(share: float) -> float:
    return round(100 * share, 2)


def _where(steps: EngineSteps) -> str:
    part = steps.part
    if part.hardware is None:
        return "step cost given"
    return f"{part.accelerators} x {part.hardware.name}" if part.accelerators > 1 else part.hardware.name


def _about(result: Forecast, slices: int, spans: int) -> Event:
    """What a reader of the file should know."""
    assert result.run.loads is not None
    rows = sum(len(rows) for rows in result.run.loads)
    windows = max(slices // max(len(result.run.loads), 1), 1)
    thinned = sum(len(rows) > windows for rows in result.run.loads)
    return {
        "made by": "foretell",
        "what": "replication 0 of a simulated forecast; times are seconds of the simulated clock",
        "steps": sum(engine.steps for engine in result.run.engines),
        "runs of steps that decode alike": rows,
        "slices": (
            f"on {thinned} of {len(result.run.loads)} engines, what starts in the same of {windows} equal "
            "windows of time is one slice; its args hold the totals"
            if thinned
            else "every run of steps that decode alike"
        ),
        "spans": f"the first {min(spans, len(result.run))} of {len(result.run)} requests or calls",
        "notes": list(result.notes),
    }
