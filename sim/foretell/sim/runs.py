"""Runs: steps in which everybody decodes and nothing else happens, planned at once.

Such a run ends with the first last token of somebody, for want of a KV block, or where an arrival
may join. Its effects are booked when it is over (`finish`), since until then it may be shortened.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate, islice, repeat
from operator import sub
from typing import TYPE_CHECKING

from foretell.sim import walk

if TYPE_CHECKING:
    from foretell.sim.engine import Engine


def plan(engine: Engine, start: float, paid: int, refused: bool) -> None:
    """Plan as many steps of pure decoding as are sure to be that, at least one; sets `wake`.

    Args:
        start: when the first one starts.
        paid: blocks of the first step that are taken already.
        refused: whether somebody waits whom the first step could not admit. Nobody can be admitted
            later in the run either: free blocks only get fewer. (Under a prefix cache a hit may grow
            while the answer that is hit is being written; then the run is one step. An adaptive
            threshold shrinks with every arrival, and the first chunk with it; then an arrival cuts.)
    """
    decodes = engine.n_decoding
    heap = engine.ends_at
    last, serial, request = heap[0]
    while request.serial != serial or request.last_at != last:
        heapq.heappop(heap)
        last, serial, request = heap[0]
    most = last - engine.step + 1
    if engine.draining or (refused and engine.pool.growing):
        most = 1
    elif decodes * (most // engine.block_size + 1) > engine.pool.free:
        most = _steps_that_fit(engine, most, paid)
    fixed = engine.run_fixed = (
        len(engine.running) >= engine.max_seqs
        or decodes >= engine.max_tokens
        or (refused and not engine.priority and not engine.config.long_prefill_token_threshold_adaptive)
    )
    context = engine.context + decodes
    if most == 1:
        ends = [start + engine.cost(0, 0, 0, 0, decodes, context, decodes)]
    else:
        steps = engine.cost.decode_steps(decodes, context)
        if fixed or engine.horizon == math.inf:
            ends = list(accumulate(islice(steps, most), initial=start))
            del ends[0]
        else:
            ends = _ends_before(engine, start, most, steps)
    engine.run = ends
    engine.run_start = start
    engine.run_paid = paid
    engine.run_wakes = [start, *ends[:-1]] if engine.lag else ends
    engine.wake = engine.run_wakes[-1]


def _ends_before(engine: Engine, start: float, most: int, steps: Iterator[float]) -> list[float]:
    """Ends of at most so many steps, up to the one at which an arrival may join."""
    horizon = engine.horizon
    lag = engine.lag
    ends: list[float] = []
    t = start
    for seconds in steps:
        boundary = t
        t += seconds
        ends.append(t)
        if len(ends) == most or (boundary if lag else t) >= horizon:
            break
    return ends


def shorten(engine: Engine, at_s: float) -> None:
    """End the planned run at the first step boundary at or after `at_s`."""
    wakes = engine.run_wakes
    if wakes[-1] <= at_s or len(wakes) == 1:
        return
    run = engine.run
    assert run is not None
    keep = bisect_left(wakes, at_s) + 1
    del run[keep:]
    if wakes is not run:
        del wakes[keep:]
    engine.wake = wakes[-1]


def finish(engine: Engine) -> None:
    """Book the planned run, as long as it has come to be."""
    ends = engine.run
    assert ends is not None
    engine.run = None
    k = len(ends)
    n = engine.n_decoding
    step = engine.step
    start = engine.run_start
    if engine.on_step is not None:
        walk.report_run(engine, start, ends)
    if engine.itl_s is not None:
        engine.itl_s.extend(map(sub, ends, [engine.token_at, *ends[:-1]]))
        engine.itl_n.extend(repeat(n, k))
    phase = engine.phase
    size = engine.block_size
    blocks = -engine.run_paid
    if k == 1:
        blocks += phase[-step % size]
    else:
        rounds, rest = divmod(k, size)
        blocks += rounds * n
        for i in range(step, step + rest):
            blocks += phase[-i % size]
    stats = engine.stats
    seconds = ends[-1] - start
    stats.steps += k
    stats.busy_s += seconds
    stats.decode_seqs += k * n
    stats.decode_context += k * (engine.context + n) + n * (k * (k - 1) // 2)
    used = stats.kv_blocks - engine.pool.free + blocks / 2
    stats.kv_block_seconds += seconds * used
    if engine.loads is not None:
        engine.loads.append((start, ends[-1], k, 0, 0, 0, 0, n, engine.context + n, n, used))
    if blocks:
        engine.pool.take(blocks)
    if k > 1:
        engine.unknown = engine.lag
    engine.context += k * n
    engine.step = step + k
    engine.busy_until = engine.token_at = ends[-1]


def _steps_that_fit(engine: Engine, most: int, paid: int) -> int:
    """How many steps of pure decoding the free blocks allow, at least one."""
    free = engine.pool.free + paid
    phase = engine.phase
    for k in range(most):
        free -= phase[-(engine.step + k) % engine.block_size]
        if free < 0:
            return max(k, 1)
    return most
