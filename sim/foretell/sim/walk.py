"""What an engine does only when it must look at requests one by one.

Stalls, preemptions and cancellations; and the listing of batches for who asks. Everything here may
cost time proportional to the batch; `foretell.sim.engine` calls it only when one of these happens.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from foretell.sim.pauses import PREEMPTED
from foretell.sim.request import DECODING, DRAINING, FINISHED, PREFILLING, RECEIVED, WAITING, Request, in_line

if TYPE_CHECKING:
    from foretell.sim.engine import Batch, Engine


PATIENCE = 10_000


class LivelockError(ValueError):
    """Requests preempt each other for ever, as they would in vLLM."""


def drop(engine: Engine, request: Request, scheduled: int) -> None:
    """Take a request from the running and free its blocks.

    Args:
        scheduled: tokens that the step being planned has already given it.

    """
    if request.state == DECODING:
        c = _leave(engine, request)
        computed = c + scheduled
        before = c - min(engine.in_flight(request), engine.unknown_before)
        hashed = max(request.target, before, computed - engine.in_flight(request))
    elif request.state == PREFILLING:
        engine.partials.remove(request)
        hashed = computed = request.computed + scheduled
    else:
        computed = request.computed
        hashed = max(request.target, computed - engine.unknown)
    request.last_at = -1  # its entry in the heap is void
    del engine.running[request]
    engine.pool.release(request, computed, hashed)


def preempt(engine: Engine, request: Request, scheduled: int = 0) -> None:
    """Free a running request's blocks and put it back in line; it will recompute what it knows.

    If its last token is in flight, it will still be delivered, and the request ends in line.
    """
    if request.state == DECODING and request.finish_at < engine.step:  # a stop that nobody foresaw
        drop(engine, request, scheduled)
        request.state = DRAINING
        engine.draining.append(request)
    elif request.state == DRAINING:
        drop(engine, request, scheduled)
    else:
        known = request.base + engine.step + 1 if request.state == DECODING else request.target
        drop(engine, request, scheduled)
        request.state = WAITING
        request.target = known
        request.computed = 0
        request.place = -1
        request.paused_s = engine.token_at
    if engine.loads is not None:
        engine.pauses.append((request.row, PREEMPTED, engine.token_at))
    engine.fruitless += 1
    check_patience(request, engine.fruitless)
    request.n_preemptions += 1
    engine.stats.preemptions += 1
    engine.n_waiting += 1
    if engine.priority:
        heapq.heappush(engine.waiting, in_line(request))
    else:
        engine.waiting.insert(behind(engine, engine.serial), request)


def check_patience(request: Request, fruitless: int) -> None:
    """Raise a `LivelockError` after too many preemptions without a token, the last of this request."""
    if fruitless > PATIENCE:
        raise LivelockError(
            f"requests preempt each other for ever ({request.id or 'one'} of priority {request.priority}, "
            f"{fruitless} preemptions without a token), as they would in vLLM; "
            "raise num_gpu_blocks or keep scheduler_reserve_full_isl on"
        )


def behind(engine: Engine, place: int) -> int:
    """The index in line behind those that hold blocks and were given them earlier: they stand in front."""
    at = 0
    for other in engine.waiting:
        if not (other.state >= FINISHED or (other.state == RECEIVED and other.place < place)):
            break
        at += 1
    return at


def preempt_last(engine: Engine, need: int, chunks: Batch) -> None:
    """The running pass under FCFS when blocks run short and no threshold splits prompts.

    The victim is always the last of the running. Everybody before the one that cannot allocate has
    taken its blocks by then, so that counting says how many were taken when: whoever survives is a
    head of the line of the running, and its order does not matter.

    Args:
        need: blocks that the decoding need, one each.
        chunks: the entry of the request that still computes its prompt, if any; emptied if it is preempted.

    """
    pool = engine.pool
    size = engine.block_size
    extra = sum(-(-(c + n) // size) - -(-c // size) for _, n, c in chunks)
    while need + extra > pool.free:
        taken = min(need, pool.free)
        if taken:
            pool.take(taken)
            need -= taken
        victim = next(reversed(engine.running))
        if chunks and victim is chunks[0][0]:
            chunks.clear()
            extra = 0
        elif victim.state == DECODING and (victim.base + engine.step) % size == 0:
            need -= 1
        preempt(engine, victim)
    if need + extra:
        pool.take(need + extra)


def running_pass(engine: Engine, threshold: int) -> tuple[Batch, list[Request], bool]:
    """The running pass in list order, as vLLM walks it.

    Returns:
        The entries, in order; the decoding requests left out for want of budget; whether anybody
        was preempted.

    """
    pool = engine.pool
    size = engine.block_size
    step = engine.step
    order = list(engine.running)
    budget = engine.config.max_num_batched_tokens
    entries: dict[Request, tuple[int, int]] = {}
    preempted = False
    i = 0
    while i < len(order) and budget > 0:
        request = order[i]
        if request.state == DRAINING:
            i += 1
            continue
        if request.state == DECODING:
            c = request.base + step
            n = 1
        else:
            c = request.computed
            n = request.target - c
            if 0 < threshold < n:
                n = threshold
            n = min(n, budget)
        blocks = -(-(c + n) // size) - -(-c // size)
        while blocks > pool.free:
            if engine.priority:
                victim = max(order, key=_least_urgent)
            else:
                victim = order[-1]
            at = order.index(victim)
            del order[at]
            given = entries.pop(victim, (0, 0))[0]
            if at < i and (given or not engine.config.idle_victim_skips_next):
                i -= 1
            budget += given
            preempt(engine, victim, given)
            preempted = True
            if victim is request:
                break
        else:
            if blocks:
                pool.take(blocks)
            entries[request] = (n, c)
            budget -= n
            i += 1
            continue
        break
    stalled = [r for r in order if r.state == DECODING and r not in entries]
    return [(r, n, c) for r, (n, c) in entries.items()], stalled, preempted


def stall(engine: Engine, request: Request) -> None:
    """A decoding request is left out of the step: its last step is one later."""
    if request.finish_at < engine.step:
        drain(engine, request)
        return
    size = engine.block_size
    engine.pool.hash(request, max(request.target, request.base + engine.step - engine.in_flight(request)))
    engine.phase[request.base % size] -= 1
    request.base -= 1
    engine.phase[request.base % size] += 1
    engine.context -= 1
    request.stalled_at = engine.step
    request.finish_at += 1
    request.last_at += 1
    heapq.heappush(engine.ends_at, (request.last_at, request.serial, request))


def drain(engine: Engine, request: Request) -> None:
    """A request whose last token is in flight, which nobody knew, is not scheduled again after all."""
    request.computed = _leave(engine, request)
    request.last_at = -1
    request.state = DRAINING
    engine.draining.append(request)


def batch(engine: Engine, chunks: Batch, stalled: list[Request]) -> Batch:
    """The entries of the step being planned, in scheduling order."""
    parts = {r: (r, n, c) for r, n, c in chunks}
    step = engine.step
    entries: Batch = []
    for request in engine.running:
        if request in parts:
            entries.append(parts[request])
        elif request.state == DECODING and request not in stalled:
            entries.append((request, 1, request.base + step))
    return entries


def report_run(engine: Engine, start: float, ends: list[float]) -> None:
    """Tell `on_step` of every step of a run of pure decoding."""
    assert engine.on_step is not None
    decoding = [r for r in engine.running if r.state == DECODING]
    for k, end in enumerate(ends):
        step = engine.step + k
        engine.on_step(engine.stats.steps + k, start, end, [(r, 1, r.base + step) for r in decoding])
        start = end


def _least_urgent(request: Request) -> tuple[int, float]:
    return request.priority, request.arrival_s


def _leave(engine: Engine, request: Request) -> int:
    """Take a request out of the figures of those that decode; returns the tokens it has computed."""
    computed = request.base + engine.step
    engine.n_decoding -= 1
    engine.context -= computed
    engine.phase[request.base % engine.block_size] -= 1
    return computed
