"""What the next step carries: vLLM's running pass and waiting pass."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

from foretell.sim import handover, runs, walk
from foretell.sim.pauses import AGAIN, BACK
from foretell.sim.request import DECODING, PREFILLING, RECEIVED, REMOTE, WAITING, Request

if TYPE_CHECKING:
    from foretell.sim.engine import Batch, Engine


def plan(engine: Engine) -> None:
    """Decide the engine's next step, or a run of steps in which everybody decodes; sets `wake`."""
    if not engine.running and not engine.n_waiting:
        engine.wake = math.inf
        engine.pausing = 0
        return
    if engine.pausing:
        engine.pausing = 0
        engine.wake += engine.config.empty_step_s
        return
    start = engine.wake
    if engine.lag:
        engine.unknown_before = engine.unknown
        engine.unknown = 0
        if start < engine.busy_until:
            start = engine.busy_until
            engine.unknown = 1
    pool = engine.pool
    decodes = engine.n_decoding
    context = engine.context + decodes
    need = blocks = engine.phase[-engine.step % engine.block_size]
    tokens = decodes
    threshold = _threshold(engine) if engine.long_prefill else 0
    chunks: Batch = []
    stalled: list[Request] | None = None
    preempted = False
    paid = 0
    if engine.partials:
        chunks, more = _continue_prompts(engine, threshold)
        tokens += sum([n for _, n, _ in chunks])
        blocks += more
    if tokens > engine.max_tokens or (blocks > pool.free and (engine.priority or engine.long_prefill)):
        listed, stalled, preempted = walk.running_pass(engine, threshold)
        chunks = [entry for entry in listed if entry[0].state == PREFILLING]
        decodes = len(listed) - len(chunks)
        context = sum(c + 1 for r, _, c in listed if r.state == DECODING)
        tokens = decodes + sum(n for _, n, _ in chunks)
    elif blocks > pool.free:
        walk.preempt_last(engine, need, chunks)
        preempted = True
        decodes = engine.n_decoding
        context = engine.context + decodes
    elif blocks and (chunks or engine.n_waiting):
        pool.take(blocks)
        paid = blocks
    for request, n, c in chunks:
        pool.hash(request, c + n)
        request.computed = c + n
    refused = False
    if engine.n_waiting and not preempted:
        room = engine.max_tokens - tokens
        if room > 0 and len(engine.running) < engine.max_seqs:
            _admit(engine, start, room, threshold, chunks)
            refused = engine.n_waiting > 0
    if chunks or ((stalled is not None or preempted) and decodes):
        _plan_step(engine, start, decodes, context, chunks, stalled or [])
    elif decodes:
        runs.plan(engine, start, paid, refused)
    elif handover.stuck(engine, start, preempted):
        engine.wake = math.inf
    else:
        # An empty step takes no time, and all in flight is delivered before the next one.
        if engine.config.empty_step_s:
            engine.pausing = engine.outstanding - engine.n_receiving
            engine.empty_at = engine.wake
        engine.wake = engine.busy_until = start
        for request in stalled or ():
            if request.finish_at < engine.step:
                walk.drain(engine, request)


def _continue_prompts(engine: Engine, threshold: int) -> tuple[Batch, int]:
    """Chunks of the running requests that have not computed all they know, and the blocks they need."""
    size = engine.block_size
    chunks: Batch = []
    blocks = 0
    for request in engine.partials:
        c = request.computed
        n = request.target - c
        if 0 < threshold < n:
            n = threshold
        if not engine.long_prefill:
            # There is one at most, the last of the running, and it takes what the decoding leave.
            room = engine.max_tokens - engine.n_decoding
            if n > room:
                n = room
        if n:
            blocks += -(-(c + n) // size) - -(-c // size)
            chunks.append((request, n, c))
    return chunks, blocks


def _admit(engine: Engine, start: float, room: int, threshold: int, chunks: Batch) -> None:
    """The waiting pass: admit from the head of the line, up to the first that does not fit.

    Args:
        start: when the step starts.
        room: tokens that the step may still schedule.
        threshold: the most of one prompt, 0 for no limit.
        chunks: the step's entries; those admitted are added.
    """
    pool = engine.pool
    prefix = engine.prefix
    size = engine.block_size
    running = engine.running
    waiting = engine.waiting
    stats = engine.stats
    slots = engine.max_seqs - len(running)
    while room > 0 and slots > 0 and engine.n_waiting:
        head: Request = waiting[0][-1] if engine.priority else waiting[0]
        if head.state == WAITING:
            if prefix:
                hit, idle = pool.lookup(head)
                c = hit * size
                n = head.target - c
            else:
                hit = idle = c = 0
                n = head.target
            if 0 < threshold < n:
                n = threshold
            if n > room:
                if not engine.chunking:
                    return
                n = room
            blocks = -(-(c + n) // size) - hit
            reserve = -(-head.target // size) - hit if engine.reserve else blocks
            if reserve + idle + (engine.watermark if running else 0) > pool.free:
                return
            slots -= 1
            room -= n
            engine.n_waiting -= 1
            if hit:
                pool.admit(head, hit)
            pool.take(blocks)
            running[head] = None
            head.state = PREFILLING
            head.computed = c + n
            head.serial = engine.serial
            engine.serial += 1
            if prefix:
                pool.hash(head, c + n)
            if head.cached_tokens < 0:
                head.cached_tokens = c
                stats.cached_tokens += c
                stats.prompt_tokens += head.prompt_tokens
                stats.queue_s += start - head.arrival_s
                head.paused_s = head.scheduled_s = start
            else:
                stats.queue_s += start - head.paused_s
                if engine.loads is not None:
                    engine.pauses.append((head.row, BACK, start))
            chunks.append((head, n, c))
            if c + n < head.target:
                engine.partials.append(head)
        elif head.state == RECEIVED or head.state == REMOTE:
            if not handover.admit(engine, head, start, chunks):
                return
            slots -= head.state == PREFILLING
            room -= head.state == PREFILLING
            engine.n_waiting -= 1
        # else it was cancelled, or ended by a token that was in flight when it was preempted
        if engine.priority:
            heapq.heappop(waiting)
        else:
            waiting.popleft()


def _plan_step(
    engine: Engine, start: float, decodes: int, context: int, chunks: Batch, stalled: list[Request]
) -> None:
    """Plan a step that is more than everybody decoding.

    Args:
        start: when it starts.
        decodes, context: entries of the decoding, and the KV tokens that they read.
        chunks: the other entries.
        stalled: decoding requests that are left out.
    """
    step = engine.step
    tokens = seqs = read = 0
    pairs = 0.0
    complete: list[Request] = []
    decoding = decodes
    for request, n, c in chunks:
        if c + n == request.target:
            complete.append(request)
            if n == 1 and (c >= request.prompt_tokens or request.place >= 0):
                decoding += 1
                context += c + 1
                continue
        tokens += n
        pairs += n * (c + (n + 1) / 2)
        read += c + n
        seqs += 1
    sampled = decodes + len(complete)
    if sampled:
        engine.fruitless = 0
    seconds = engine.cost(tokens, pairs, read, seqs, decoding, context, sampled)
    end = start + seconds
    if engine.on_step is not None:
        engine.on_step(engine.stats.steps, start, end, walk.batch(engine, chunks, stalled))
    if engine.itl_s is not None and decodes:
        engine.itl_s.append(end - engine.token_at)
        engine.itl_n.append(decodes)
    stats = engine.stats
    if engine.loads is not None:
        used = stats.kv_blocks - engine.pool.free
        engine.loads.append((start, end, 1, tokens, pairs, read, seqs, decoding, context, sampled, used))
        engine.pauses += [(r.row, AGAIN, end) for r in complete if r.n_preemptions]
    stats.steps += 1
    stats.busy_s += seconds
    stats.prefill_tokens += tokens
    stats.prefill_pairs += pairs
    stats.prefill_context += read
    stats.prefill_seqs += seqs
    stats.decode_seqs += decoding
    stats.decode_context += context
    stats.prefill_sampled += sampled - decoding
    if seqs:
        stats.prompt_steps += 1
        stats.prompt_busy_s += seconds
        stats.prompt_decode_seqs += decoding
        stats.prompt_decode_context += context
    stats.kv_block_seconds += seconds * (stats.kv_blocks - engine.pool.free)
    # From here on the step is behind us: who decodes has computed one token more.
    for request in stalled:
        walk.stall(engine, request)
    engine.context += engine.n_decoding
    engine.step = step + 1
    if engine.partials:
        engine.partials = [r for r in engine.partials if r.computed < r.target]
    for request in complete:
        engine.start_decoding(request, step, end)
    engine.wake = start if engine.lag else end
    engine.busy_until = engine.token_at = end


def _threshold(engine: Engine) -> int:
    """The most tokens of one prompt in this step, 0 for no limit."""
    requests = len(engine.running) + engine.n_waiting + engine.n_receiving
    if requests <= 1 and not engine.config.long_prefill_token_threshold_alone:
        return 0
    if engine.config.long_prefill_token_threshold_adaptive:
        return max(engine.long_prefill, engine.max_tokens // requests)
    return engine.long_prefill
