"""The lazy engine, run on the naive engine's input and answering in its terms."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

from foretell.models import StepCost
from foretell.sim.config import EngineConfig
from foretell.sim.engine import Batch, Engine
from foretell.sim.request import CANCELLED, REMOTE, Request
from foretell.sim.serve import serve
from naive import Call, NaiveRun, Step


def lazy_simulate(
    calls: Sequence[Call],
    config: EngineConfig,
    cost: StepCost,
    cancels: Mapping[str, float] | None = None,
) -> NaiveRun:
    """Serve the calls with foretell's engine. Blocks used and loads of the steps are left at nought."""
    run = NaiveRun()
    requests = {call.id: replace(call, cancel_s=(cancels or {}).get(call.id)).request() for call in calls}
    for call in calls:
        if call.transfer_s is not None:
            requests[call.id].state = REMOTE
            requests[call.id].target += call.sampled

    def on_step(step: int, start_s: float, end_s: float, batch: Batch) -> None:
        assert step == len(run.steps), "steps come in order"
        rows = [(request.id, scheduled, computed) for request, scheduled, computed in batch]
        run.steps.append(Step(start_s, end_s, rows))

    in_order = sorted(requests.values(), key=lambda request: request.arrival_s)
    if any(call.transfer_s is not None or call.held_s is not None for call in calls):
        engine = Engine(config, cost, on_step=on_step)
        _serve_handed({requests[call.id]: call for call in calls}, in_order, engine)
        assert not engine.held and not engine.wanted and not engine.n_receiving
        assert engine.pool.free == config.num_gpu_blocks - 1, "a block was lost"
    else:
        serve(in_order, config, cost, on_step=on_step)
    for id, request in requests.items():
        run.status[id] = request.status
        run.n_preemptions[id] = request.n_preemptions
        run.cached_tokens[id] = max(0, request.cached_tokens)
        if request.first_token_s is not None:
            run.first_token_s[id] = request.first_token_s
        if request.finish_s is not None:
            run.finish_s[id] = request.finish_s
    return run


def _serve_handed(
    calls: Mapping[Request, Call],
    in_order: Sequence[Request],
    engine: Engine,
) -> None:
    """Drive an engine whose KV caches come from, or go to, elsewhere after the calls' own times."""
    engine.holds = all(call.held_s is not None for call in calls.values())
    cancels = [(request, request.cancel_s) for request in in_order if request.cancel_s < math.inf]
    gone = {request for request, at in cancels if at <= request.arrival_s}
    events: list[tuple[float, int, int, Request]] = []  # (time, 0 cache, 1 arrival, 2 cancellation, row)
    order = count()
    for n, request in enumerate(in_order):
        heapq.heappush(events, (request.arrival_s, 1, n, request))
    for n, (request, at) in enumerate(cancels):
        if request not in gone:
            heapq.heappush(events, (at, 2, n, request))
    while events or engine.wake < math.inf:
        wake = engine.wake
        if events and events[0][0] <= wake:
            at, kind, _, request = heapq.heappop(events)
            if kind == 2:
                engine.cancel(request, at)
            elif kind == 0 and request in engine.held:
                engine.let_go(request, at)
            elif kind == 0:
                engine.received(request, at)
            elif request in gone:
                request.state = CANCELLED
            else:
                engine.submit(request)
            continue
        for request in engine.commit():
            if engine.holds:
                heapq.heappush(events, (wake + (calls[request].held_s or 0.0), 0, next(order), request))
        if events and events[0][0] <= wake:
            continue
        engine.plan()
        for request in engine.wanted:
            heapq.heappush(events, (wake + (calls[request].transfer_s or 0.0), 0, next(order), request))
        engine.wanted.clear()


def difference(expected: NaiveRun, actual: NaiveRun) -> str:
    """The first thing in which two runs differ, or ''."""
    for n in range(max(len(expected.steps), len(actual.steps))):
        ours = actual.steps[n] if n < len(actual.steps) else None
        theirs = expected.steps[n] if n < len(expected.steps) else None
        if ours is None or theirs is None or ours.times_and_batch != theirs.times_and_batch:
            return f"step {n}:\n  expected {theirs}\n  got      {ours}"
    for what in ("status", "first_token_s", "finish_s", "n_preemptions", "cached_tokens"):
        of_expected, of_actual = getattr(expected, what), getattr(actual, what)
        for id in sorted({*of_expected, *of_actual}):
            if of_expected.get(id) != of_actual.get(id):
                return f"{what} of {id}: expected {of_expected.get(id)}, got {of_actual.get(id)}"
    return ""
