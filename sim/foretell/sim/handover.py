"""KV caches that pass between engines: blocks held for a reader, and requests that receive theirs.

As vLLM has it: who is to receive a KV cache is given blocks for all of it, then waits aside, behind
nobody and before nobody, and comes back to its place in line when the cache is there; its first step
computes the last token that it knows. Who has given its cache keeps its blocks until it is read.

Source: vLLM's v1/core/sched/scheduler.py (WAITING_FOR_REMOTE_KVS) and its NIXL connector (2026).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from foretell.sim import runs, walk
from foretell.sim.request import PREFILLING, RECEIVED, RECEIVING, REMOTE, Request, in_line

if TYPE_CHECKING:
    from foretell.sim.engine import Batch, Engine


def hold(engine: Engine) -> Callable[[Request, int, int], None]:
    """Stand in for the pool's `release`: the blocks of who finishes stay taken."""

    def note(request: Request, computed: int, hashed: int) -> None:
        engine.held[request] = computed, hashed, request.blocks

    return note


def settle(engine: Engine, done: list[Request]) -> None:
    """Leave those that finished the names of the blocks that they hold, and free what was let go."""
    for request in done:
        if request in engine.held:
            request.blocks = engine.held[request][2]
    for request in engine.unheld:
        _free(engine, request)
    engine.unheld.clear()


def let_go(engine: Engine, request: Request, at_s: float) -> None:
    """The KV cache of a request that finished has been read: its blocks are free from the next step on."""
    if request not in engine.held:  # preempted while its last token was in flight
        return
    if engine.wake < math.inf:
        engine.unheld.append(request)
    else:
        _free(engine, request)
    _rouse(engine, at_s)


def received(engine: Engine, request: Request, at_s: float) -> None:
    """The KV cache of a request has come: it may run from the next step on, in its old place in line."""
    if request.state != RECEIVING:  # cancelled
        return
    engine.n_receiving -= 1
    engine.n_waiting += 1
    engine.stats.queue_s -= at_s
    request.state = RECEIVED
    line = engine.waiting
    if engine.priority:
        heapq.heappush(line, in_line(request))
    else:
        line.insert(walk.behind(engine, request.place), request)
    if len(engine.running) < engine.max_seqs:
        _rouse(engine, at_s)


def admit(engine: Engine, head: Request, start: float, chunks: Batch) -> bool:
    """Try to admit the head of the line, which computes no prompt here.

    Returns:
        False if the blocks do not suffice. Else it is RECEIVING, or it runs and is PREFILLING.

    """
    pool = engine.pool
    spare = engine.watermark if engine.running else 0
    if head.state == REMOTE:
        hit, idle = pool.lookup(head)
        blocks = -(-head.target // engine.block_size) - hit
        if blocks + idle + spare > pool.free:
            return False
        if hit:
            pool.admit(head, hit)
        pool.take(blocks)
        head.state = RECEIVING
        head.cached_tokens = head.computed = hit * engine.block_size
        head.place = engine.serial
        engine.serial += 1
        engine.n_receiving += 1
        engine.wanted.append(head)
        engine.stats.cached_tokens += head.cached_tokens
        engine.stats.prompt_tokens += head.prompt_tokens
        engine.stats.queue_s += start - head.arrival_s
        return True
    head.state = PREFILLING
    head.serial = engine.serial
    fits = spare <= pool.free
    known = head.target
    if engine.prefix:
        pool.hash(head, known if fits else known - 1)
    if not fits:
        head.state = RECEIVED
        return False
    engine.serial += 1
    engine.running[head] = None
    engine.stats.queue_s += start
    head.computed = known
    chunks.append((head, 1, known - 1))
    return True


def forget(engine: Engine, request: Request) -> None:
    """A request that holds blocks and does not run is cancelled."""
    if request.state == RECEIVING:
        engine.n_receiving -= 1
    else:
        engine.n_waiting -= 1
    engine.pool.release(request, request.target, 0)


def stuck(engine: Engine, start: float, preempted: bool) -> bool:
    """Whether an empty step leads nowhere before a KV cache comes or is read.

    Raises:
        LivelockError: none ever will.

    """
    if preempted or engine.running or engine.draining or start > engine.wake:
        return False
    if engine.n_receiving or engine.held:
        return True
    if not engine.n_waiting:
        return False
    raise walk.LivelockError(
        "a request that was preempted waits for blocks that less urgent ones hold, which wait behind it for "
        "their first step, as they would in vLLM; raise num_gpu_blocks or use scheduling_policy fcfs"
    )


def _free(engine: Engine, request: Request) -> None:
    computed, hashed, _ = engine.held.pop(request)
    engine.pool.release(request, computed, hashed)
    request.blocks = None


def _rouse(engine: Engine, at_s: float) -> None:
    """Let the engine see at its next step boundary what has changed."""
    if engine.run is not None:
        runs.shorten(engine, at_s)
    elif engine.wake == math.inf and engine.n_waiting:
        engine.wake = max(at_s, engine.busy_until)
