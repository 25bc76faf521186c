"""
One engine: vLLM's scheduling decisions, with work proportional to what changes in a step.

A decoding request carries no state that a step would have to touch. It computes one token in every
step it is scheduled in, so that its computed tokens are `base` + the step counter; the steps in
which some request needs a new KV block follow from a histogram of `base` modulo the block size; its
last step sits in a heap; the summed context grows by the batch size. Steps in which nothing but
decoding happens are planned as one run, which an arrival may shorten. Where the rare needs the whole
batch looked at (a stall for want of budget, a preemption by priority) `foretell.sim.walk` does so.

The life of a step: `plan` decides what step number `step` carries and when it ends; the engine then
sleeps until `wake`, the time at which the next step is decided; `commit` delivers what has ended by
then. With asynchronous scheduling that is one step earlier than the end of what is planned, and this
is the only difference in time; the others follow from it.
"""

from __future__ import annotations

import heapq
import math
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import Any

from foretell.models import StepCost
from foretell.sim import walk
from foretell.sim.config import EngineConfig
from foretell.sim.kv import BlockCounter, BlockPool
from foretell.sim.prefix import PrefixPool
from foretell.sim.request import (
    CANCELLED,
    DECODING,
    DRAINING,
    FINISHED,
    PREFILLING,
    REJECTED,
    WAITING,
    Request,
)
from foretell.sim.stats import EngineStats

INF = math.inf
Batch = list[tuple[Request, int, int]]
"""Entries of a step in scheduling order: (request, tokens scheduled, tokens computed before)."""
OnStep = Callable[[int, float, float, Batch], None]
"""Called for every step that is not empty with (number, start_s, end_s, batch)."""


class Engine:
    """
    An engine in continuous time. A driver calls `submit`, and `commit` then `plan` at `wake`.

    Args:
        config: the settings.
        cost: seconds of a step.
        on_step: called for every step; costs time proportional to the batch.
        record_itl: keep the gaps between successive tokens, `itl_s` with their counts `itl_n`.

    Attributes:
        wake: when to call `commit` and `plan` next; infinite while idle.
        horizon: a time up to which no request will be submitted from outside; runs planned beyond
            it would be cut, so they end there.
        outstanding: requests submitted and not ended.
        stats: totals over the steps so far.

    """

    def __init__(
        self, config: EngineConfig, cost: StepCost, *, on_step: OnStep | None = None, record_itl: bool = False
    ) -> None:
        self.config = config
        self.cost = cost
        self.on_step = on_step
        self.itl_s = array("d") if record_itl else None
        self.itl_n = array("q")
        usable = config.num_gpu_blocks - 1
        self.pool: BlockPool = (
            PrefixPool(usable, config.block_size, self._hashed_now)
            if config.enable_prefix_caching
            else BlockCounter(usable, config.block_size)
        )
        self.stats = EngineStats(kv_blocks=usable)
        self.block_size = config.block_size
        self.lag = int(config.async_scheduling)
        self.priority = config.scheduling_policy == "priority"
        self.running: dict[Request, None] = {}  # in order of admission
        self.partials: list[Request] = []  # those of them that have not computed all they know
        self.waiting: Any = [] if self.priority else deque()
        self.n_waiting = 0
        self.outstanding = 0
        self.step = 0
        self.n_decoding = 0
        self.context = 0  # Σ computed tokens of the decoding
        self.phase = [0] * config.block_size  # how many of them have this base modulo the block size
        self.ends_at: list[tuple[int, int, Request]] = []  # heap: (last step, serial, request)
        self.draining: list[Request] = []  # last token scheduled, not yet delivered
        self.cancels: list[Request] = []
        self.wake = INF
        self.horizon = INF
        self._serial = 0
        self._busy_until = 0.0  # end of the last planned step
        self._run: list[float] | None = None  # ends of the steps of a planned run
        self._run_wakes: list[float] = []
        self._run_start = 0.0
        self._run_paid = 0
        self._pausing = False
        self._run_fixed = False  # an arrival cannot change the planned run
        self.token_at = 0.0  # end of the step before, for gaps between tokens

    # -- from outside ---------------------------------------------------------------------------

    def submit(self, request: Request) -> bool:
        """
        Take a request that arrives at request.arrival_s, not before the last `commit`.

        Returns:
            False, and the request is "rejected", if it can never fit.

        """
        if self.config.rejects(request.prompt_tokens, request.output_tokens) is not None:
            request.state = REJECTED
            return False
        total = request.prompt_tokens + request.output_tokens
        request.total = total if total < self.config.max_model_len else self.config.max_model_len
        self.outstanding += 1
        if self.priority:
            heapq.heappush(self.waiting, (request.priority, request.arrival_s, request.id, request))
        else:
            self.waiting.append(request)
        self.n_waiting += 1
        if self.wake == INF:
            at = request.arrival_s
            self.wake = at if at > self._busy_until else self._busy_until
        elif self._run is not None and not self._run_fixed:
            self._shorten(request.arrival_s)
        return True

    def refuse(self, request: Request) -> None:
        """The client gave up before the request arrived."""
        request.state = CANCELLED

    def cancel(self, request: Request, at_s: float) -> None:
        """The client gives up at `at_s`: acts before the output of the step in flight is delivered."""
        if request.state < FINISHED:
            self.cancels.append(request)
            if self._run is not None:
                self._shorten(at_s)

    def commit(self) -> list[Request]:
        """Come to `wake`: deliver what has ended. Returns the requests that finished, in batch order."""
        now = self.wake
        if self._run is not None:
            self._finish_run()
        if self.cancels:
            self._abort(now)
        step = self.step
        delivered = step - 1 if self._busy_until <= now else step - 2
        done: list[Request] = []
        if self.draining:
            done = [r for r in self.draining if r.finish_at <= delivered]
            self.draining = [r for r in self.draining if r.finish_at > delivered]
        heap = self.ends_at
        while heap and heap[0][0] < step:
            last, serial, request = heapq.heappop(heap)
            if request.serial != serial or request.last_at != last:
                continue
            self.stop_decoding(request)
            if request.finish_at <= delivered:
                done.append(request)
            else:
                request.state = DRAINING
                self.draining.append(request)
        if not done:
            return done
        if self.lag and len(done) > 1:
            done.sort(key=_serial)
        for request in done:
            if request in self.running:
                del self.running[request]
                self.pool.release(request, request.computed, request.total - 1)
            else:  # preempted while its last token was in flight
                self.n_waiting -= 1
            request.state = FINISHED
            request.finish_s = now
            request.blocks = None
        self.outstanding -= len(done)
        return done

    def plan(self) -> None:
        """Decide the next step or run of steps; sets `wake`."""
        if not self.running and not self.n_waiting:
            self.wake = INF
            self._pausing = False
            return
        if self._pausing:
            self._pausing = False
            self.wake += self.config.empty_step_s
            return
        step = self.step
        pool = self.pool
        start = self.wake if self.wake > self._busy_until else self._busy_until
        decodes = self.n_decoding
        context = self.context + decodes
        need = self.phase[-step % self.block_size]
        chunks: Batch = []
        blocks = need
        tokens = decodes
        threshold = 0
        if self.config.long_prefill_token_threshold:
            threshold = self._threshold()
        if self.partials:
            for request in self.partials:
                n = request.target - request.computed
                if 0 < threshold < n:
                    n = threshold
                if not self.config.long_prefill_token_threshold:
                    # Without a threshold there is one at most, the last of the running.
                    room = self.config.max_num_batched_tokens - decodes
                    if n > room:
                        n = room
                if n:
                    c = request.computed
                    blocks += -(-(c + n) // self.block_size) - -(-c // self.block_size)
                    tokens += n
                    chunks.append((request, n, c))
        stalled: list[Request] | None = None
        preempted = False
        paid = 0
        if tokens > self.config.max_num_batched_tokens or (
            blocks > pool.free and (self.priority or self.config.long_prefill_token_threshold)
        ):
            listed, stalled, preempted = walk.running_pass(self, threshold)
            chunks = [entry for entry in listed if entry[0].state == PREFILLING]
            decodes = len(listed) - len(chunks)
            context = sum(c + 1 for r, _, c in listed if r.state == DECODING)
            tokens = decodes + sum(n for _, n, _ in chunks)
        elif blocks > pool.free:
            preempted = True
            walk.preempt_last(self, need, chunks)
            decodes = self.n_decoding
            context = self.context + decodes
            tokens = decodes + sum(n for _, n, _ in chunks)
        elif blocks and (chunks or self.n_waiting):
            pool.take(blocks)
            paid = blocks
        for request, n, c in chunks:
            pool.hash(request, c + n)
            request.computed = c + n
        refused = False
        if self.n_waiting and not preempted:
            room = self.config.max_num_batched_tokens - tokens
            if room > 0 and len(self.running) < self.config.max_num_seqs:
                admitted = self._admit(room, threshold)
                refused = self.n_waiting > 0
                if admitted:
                    chunks += admitted
        if not chunks:
            if decodes and stalled is None and not preempted:
                self._plan_run(start, paid, refused)
                return
            if not decodes:
                # An empty step takes no time, and all in flight is delivered before the next one.
                self.wake = self._busy_until = start
                self._pausing = self.config.empty_step_s > 0
                return
        self._plan_step(start, decodes, context, chunks, stalled or [])

    # -- the parts of a plan --------------------------------------------------------------------

    def _admit(self, room: int, threshold: int) -> Batch:
        """The waiting pass: admit from the head of the line until the first that does not fit."""
        config = self.config
        pool = self.pool
        size = self.block_size
        slots = config.max_num_seqs - len(self.running)
        admitted: Batch = []
        waiting = self.waiting
        while room > 0 and slots > 0 and self.n_waiting:
            head = waiting[0][-1] if self.priority else waiting[0]
            if head.state != WAITING:  # cancelled, or finished by a token in flight
                heapq.heappop(waiting) if self.priority else waiting.popleft()
                continue
            hit, idle = pool.lookup(head)
            c = hit * size
            n = head.target - c
            if 0 < threshold < n:
                n = threshold
            if n > room:
                if not config.enable_chunked_prefill:
                    break
                n = room
            reserve = head.target if config.scheduler_reserve_full_isl else c + n
            spare = config.watermark_blocks if self.running else 0
            if -(-reserve // size) - hit + idle + spare > pool.free:
                break
            heapq.heappop(waiting) if self.priority else waiting.popleft()
            self.n_waiting -= 1
            slots -= 1
            room -= n
            pool.admit(head, hit)
            pool.take(-(-(c + n) // size) - hit)
            pool.hash(head, c + n)
            self.running[head] = None
            head.serial = self._serial
            self._serial += 1
            head.state = PREFILLING
            head.computed = c + n
            if head.cached_tokens < 0:
                head.cached_tokens = c
                self.stats.cached_tokens += c
                self.stats.prompt_tokens += head.prompt_tokens
            admitted.append((head, n, c))
            if c + n < head.target:
                self.partials.append(head)
        return admitted

    def _plan_step(
        self, start: float, decodes: int, context: int, chunks: Batch, stalled: list[Request]
    ) -> None:
        """Plan one step that is not a mere decode of everybody."""
        step = self.step
        tokens = seqs = read = 0
        pairs = 0.0
        complete: list[Request] = []
        decoding = decodes
        for request, n, c in chunks:
            if c + n == request.target:
                complete.append(request)
                if n == 1 and c >= request.prompt_tokens:
                    decoding += 1
                    context += c + 1
                    continue
            tokens += n
            pairs += n * (c + (n + 1) / 2)
            read += c + n
            seqs += 1
        sampled = decodes + len(complete)
        seconds = self.cost(tokens, pairs, read, seqs, decoding, context, sampled)
        end = start + seconds
        if self.on_step is not None:
            self.on_step(self.stats.steps, start, end, walk.batch(self, chunks, stalled))
        if self.itl_s is not None and decodes:
            self.itl_s.append(end - self.token_at)
            self.itl_n.append(decodes)
        stats = self.stats
        stats.steps += 1
        stats.busy_s += seconds
        stats.prefill_tokens += tokens
        stats.prefill_pairs += pairs
        stats.prefill_context += read
        stats.prefill_seqs += seqs
        stats.decode_seqs += decoding
        stats.decode_context += context
        stats.sampled += sampled
        stats.kv_block_seconds += seconds * (stats.kv_blocks - self.pool.free)
        stats.running_seconds += seconds * len(self.running)
        stats.waiting_seconds += seconds * self.n_waiting
        # From here on the step is behind us: who decodes has computed one token more.
        for request in stalled:
            walk.stall(self, request)
        self.context += self.n_decoding
        self.step = step + 1
        if self.partials:
            self.partials = [r for r in self.partials if r.computed < r.target]
        for request in complete:
            self._start_decoding(request, step, end)
        self.wake = start if self.lag else end
        self._busy_until = self.token_at = end

    def _plan_run(self, start: float, paid: int, refused: bool) -> None:
        """
        Plan steps in which everybody decodes, up to the first end, shortage of blocks or arrival.

        Args:
            paid: blocks of the first step that are taken already.
            refused: whether somebody waits whom the first step could not admit.

        """
        step = self.step
        decodes = self.n_decoding
        heap = self.ends_at
        while heap[0][2].serial != heap[0][1] or heap[0][2].last_at != heap[0][0]:
            heapq.heappop(heap)
        most = heap[0][0] - step + 1
        full = len(self.running) >= self.config.max_num_seqs
        self._run_fixed = (
            full or decodes >= self.config.max_num_batched_tokens or (refused and not self.priority)
        )
        if self.draining or (refused and self.pool.growing):
            most = 1
        elif decodes * (most // self.block_size + 1) > self.pool.free:
            most = self._steps_that_fit(most, paid)
        context = self.context + decodes
        limit = INF if self._run_fixed else self.horizon
        t = start
        ends: list[float] = []
        if most == 1:
            ends.append(t + self.cost(0, 0, 0, 0, decodes, context, decodes))
        elif self.lag:
            for seconds in self.cost.decode_steps(decodes, context):
                before = t
                t += seconds
                ends.append(t)
                if before >= limit or len(ends) == most:
                    break
        else:
            for seconds in self.cost.decode_steps(decodes, context):
                t += seconds
                ends.append(t)
                if t >= limit or len(ends) == most:
                    break
        self._run = ends
        self._run_start = start
        self._run_paid = paid
        self._run_wakes = [start, *ends[:-1]] if self.lag else ends
        self.wake = self._run_wakes[-1]

    def _steps_that_fit(self, most: int, paid: int) -> int:
        """How many steps of pure decoding the free blocks allow, at least one."""
        free = self.pool.free + paid
        phase = self.phase
        for k in range(most):
            free -= phase[-(self.step + k) % self.block_size]
            if free < 0:
                return max(k, 1)
        return most

    def _finish_run(self) -> None:
        """Account for the planned run, as long as it has come to be."""
        ends = self._run
        assert ends is not None
        self._run = None
        k = len(ends)
        n = self.n_decoding
        step = self.step
        if self.on_step is not None:
            walk.report_run(self, self._run_start, ends)
        if self.itl_s is not None:
            before = self.token_at
            for end in ends:
                self.itl_s.append(end - before)
                self.itl_n.append(n)
                before = end
        size = self.block_size
        phase = self.phase
        if k == 1:
            blocks = phase[-step % size] - self._run_paid
        else:
            rounds, rest = divmod(k, size)
            blocks = rounds * n + sum([phase[-(step + i) % size] for i in range(rest)]) - self._run_paid
        stats = self.stats
        seconds = ends[-1] - self._run_start
        stats.steps += k
        stats.busy_s += seconds
        stats.decode_seqs += k * n
        stats.decode_context += k * (self.context + n) + n * (k * (k - 1) // 2)
        stats.sampled += k * n
        stats.kv_block_seconds += seconds * (stats.kv_blocks - self.pool.free + blocks / 2)
        stats.running_seconds += seconds * len(self.running)
        stats.waiting_seconds += seconds * self.n_waiting
        if blocks:
            self.pool.take(blocks)
        self.context += k * n
        self.step = step + k
        self._busy_until = self.token_at = ends[-1]

    def _shorten(self, at_s: float) -> None:
        """End the planned run at the first step boundary at or after `at_s`."""
        wakes = self._run_wakes
        keep = bisect_left(wakes, at_s) + 1
        if keep < len(wakes):
            assert self._run is not None
            del self._run[keep:]
            if wakes is not self._run:
                del wakes[keep:]
            self.wake = wakes[-1]

    # -- the life of a request ------------------------------------------------------------------

    def _start_decoding(self, request: Request, step: int, end: float) -> None:
        """All that the request knows was computed in `step`, which samples its next token."""
        request.state = DECODING
        if request.first_token_s is None:
            request.first_token_s = end
        elif self.itl_s is not None:
            self.itl_s.append(end - request.paused_s)
            self.itl_n.append(1)
        target = request.target
        base = request.base = target - step - 1
        self.n_decoding += 1
        self.context += target
        self.phase[base % self.block_size] += 1
        finish = request.finish_at = last = step + request.total - target - 1
        if request.stop_token and self.lag and request.total < self.config.max_model_len:
            last = finish + 1  # one entry is wasted, for nobody knows yet
        request.last_at = last
        heapq.heappush(self.ends_at, (last, request.serial, request))
        if request.segments:
            self.pool.follow(request)

    def stop_decoding(self, request: Request) -> None:
        """Take a request out of the figures of those that decode; `computed` is its own again."""
        c = request.computed = request.base + self.step
        self.n_decoding -= 1
        self.context -= c
        self.phase[request.base % self.block_size] -= 1

    def _hashed_now(self, request: Request) -> int:
        """Tokens of a request past its prompt that others can hit during the waiting pass."""
        if request.state == DECODING:
            return max(request.target, request.base + self.step + 1 - self.lag)
        return max(request.target, request.computed - self.lag)

    def _abort(self, now: float) -> None:
        """Act on cancellations; tokens of the step that ends now are lost."""
        for request in self.cancels:
            if request.state >= FINISHED:
                continue
            if request in self.running:
                walk.drop(self, request, 0)
            else:
                self.n_waiting -= 1
            if request in self.draining:
                self.draining.remove(request)
            request.state = CANCELLED
            request.serial = -1
            request.blocks = None
            if request.first_token_s is not None and request.first_token_s >= now:
                request.first_token_s = None
            self.outstanding -= 1
        self.cancels.clear()

    def _threshold(self) -> int:
        """The most tokens of one prompt in this step, 0 for no limit."""
        requests = len(self.running) + self.n_waiting
        if requests <= 1:
            return 0
        threshold = self.config.long_prefill_token_threshold
        if self.config.long_prefill_token_threshold_adaptive:
            threshold = max(threshold, self.config.max_num_batched_tokens // requests)
        return threshold


def _serial(request: Request) -> int:
    return request.serial
