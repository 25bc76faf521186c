"""One engine: vLLM's scheduling decisions, with work proportional to what changes in a step.

A decoding request carries no state that a step would have to touch. It computes one token in every
step it is scheduled in, so that its computed tokens are `base` + the step counter; the steps in
which some request needs a new KV block follow from a histogram of `base` modulo the block size; its
last step sits in a heap; the summed context grows by the batch size. Steps in which nothing but
decoding happens are planned as one run, which an arrival may shorten (`foretell.sim.runs`). Where
the whole batch must be looked at, for a stall or a preemption, `foretell.sim.walk` does so.

The life of a step: `plan` decides what step number `step` carries and when it ends
(`foretell.sim.schedule`); the engine then sleeps until `wake`, the time at which the next step is
decided; `commit` delivers what has ended by then. With asynchronous scheduling that is one step
earlier than the end of what is planned; all its other differences follow from this one.
"""

from __future__ import annotations

import heapq
import math
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from typing import Any

from foretell.models import StepCost
from foretell.sim import handover, runs, schedule, walk
from foretell.sim.config import EngineConfig
from foretell.sim.kv import BlockCounter, BlockPool
from foretell.sim.pauses import Pause
from foretell.sim.prefix import PrefixPool
from foretell.sim.request import (
    CANCELLED,
    DECODING,
    DRAINING,
    FINISHED,
    PREFILLING,
    RECEIVED,
    RECEIVING,
    REJECTED,
    WAITING,
    Request,
    in_line,
)
from foretell.sim.stats import EngineStats

INF = math.inf
Batch = list[tuple[Request, int, int]]
"""Entries of a step in scheduling order: (request, tokens scheduled, tokens computed before)."""
OnStep = Callable[[int, float, float, Batch], None]
"""Called for every step that is not empty with (number, start_s, end_s, batch)."""


class Engine:
    """An engine in continuous time.

    A driver submits requests and lets time pass, with `advance`, or event by event: at `wake` it calls
    `commit`, submits who arrives at that time, and calls `plan`.

    Args:
        config: the settings.
        cost: seconds of a step.
        on_step: called for every step, in order; costs time proportional to the batch.
        record_itl: keep the gaps between successive tokens of a request: `itl_s`, and `itl_n` how many.
        record_loads: keep what every step carried: `loads`, a row a run of steps that decode alike,
            (start_s, end_s, how many, the `StepLoad` of the first); and `pauses`, see `foretell.sim.pauses`.

    Attributes:
        wake: when to call `commit` and `plan` next; infinite while idle.
        horizon: a time up to which nothing will come from outside; the driver may set it to spare
            the engine planning what an arrival would cut.
        outstanding: requests submitted and not ended.
        stats: totals over the steps so far.
        holds: whether the blocks of who finishes stay taken until `let_go`, for another engine to read.
        wanted: requests whose KV cache is elsewhere and that have got blocks for it: the driver empties
            the list after `plan`, and calls `received` when a cache has come.

    The other attributes belong to the engine and its three modules; policies may read them.
    """

    __slots__ = (
        "block_size",
        "busy_until",
        "cancels",
        "chunking",
        "config",
        "context",
        "cost",
        "draining",
        "empty_at",
        "ends_at",
        "fruitless",
        "held",
        "holds",
        "horizon",
        "itl_n",
        "itl_s",
        "lag",
        "loads",
        "long_prefill",
        "max_model_len",
        "max_seqs",
        "max_tokens",
        "most",
        "n_decoding",
        "n_receiving",
        "n_waiting",
        "on_step",
        "outstanding",
        "partials",
        "pauses",
        "pausing",
        "phase",
        "pool",
        "prefix",
        "priority",
        "reserve",
        "run",
        "run_fixed",
        "run_paid",
        "run_start",
        "run_wakes",
        "running",
        "serial",
        "stats",
        "step",
        "token_at",
        "unheld",
        "unknown",
        "unknown_before",
        "waiting",
        "wake",
        "wanted",
        "watermark",
    )

    def __init__(
        self,
        config: EngineConfig,
        cost: StepCost,
        *,
        on_step: OnStep | None = None,
        record_itl: bool = False,
        record_loads: bool = False,
    ) -> None:
        self.config = config
        self.cost = cost
        self.on_step = on_step
        self.itl_s = array("d") if record_itl else None
        self.itl_n = array("q")
        self.loads: list[tuple[Any, ...]] | None = [] if record_loads else None
        self.pauses: list[Pause] = []
        # Settings, spared the way through `config`.
        self.block_size = config.block_size
        self.max_seqs = config.max_num_seqs
        self.max_tokens = config.max_num_batched_tokens
        self.max_model_len = config.max_model_len
        self.chunking = config.enable_chunked_prefill
        self.reserve = config.scheduler_reserve_full_isl
        self.watermark = config.watermark_blocks
        self.long_prefill = config.long_prefill_token_threshold
        self.lag = int(config.async_scheduling)
        self.priority = config.scheduling_policy == "priority"
        usable = config.num_gpu_blocks - 1
        self.most = config.most_tokens
        self.prefix = config.enable_prefix_caching
        self.pool: BlockPool = (
            PrefixPool(usable, config.block_size, self, config.freed_blocks_in_line)
            if self.prefix
            else BlockCounter(usable, config.block_size)
        )
        self.stats = EngineStats(kv_blocks=usable)
        # Requests.
        self.running: dict[Request, Any] = {}  # in order of admission
        self.partials: list[Request] = []  # those of them that have not computed all they know
        self.draining: list[Request] = []  # those whose last token is scheduled and not delivered
        self.waiting: Any = [] if self.priority else deque()  # ended ones may linger in it
        self.n_waiting = 0
        self.cancels: list[Request] = []
        self.outstanding = 0
        self.serial = 0  # admissions so far
        self.fruitless = 0  # preemptions since the last token
        # Those whose KV cache goes to, or comes from, another engine (`foretell.sim.handover`).
        self.holds = False
        self.held: dict[Request, tuple[int, int, Any]] = {}  # (computed, hashed, blocks)
        self.unheld: list[Request] = []  # let go since the last `commit`
        self.wanted: list[Request] = []
        self.n_receiving = 0
        # Those that decode.
        self.step = 0  # the step to be planned next
        self.n_decoding = 0
        self.context = 0  # Σ tokens they have computed
        self.phase = [0] * config.block_size  # how many have this `base` modulo the block size
        self.ends_at: list[tuple[int, int, Request]] = []  # heap: (last step, serial, request)
        # Time.
        self.wake = INF
        self.horizon = INF
        self.busy_until = 0.0  # end of the last planned step
        self.token_at = 0.0  # the same, of the last step that was not empty
        self.unknown = 0  # whether the step before the one being planned is in flight
        self.unknown_before = 0  # whether that was so when that one was planned
        self.pausing = 0  # after an empty step: how many it left, for whom the engine pauses
        self.empty_at = 0.0
        # The planned run of decoding, if any: ends of its steps, and the wake after each.
        self.run: list[float] | None = None
        self.run_wakes: list[float] = []
        self.run_start = 0.0
        self.run_paid = 0  # blocks of its first step that are taken already
        self.run_fixed = False  # no arrival can change it

    def submit(self, request: Request) -> bool:
        """Take a request that arrives at request.arrival_s, not before the last `commit`.

        Returns:
            False if it can never fit (see `EngineConfig.rejects`); it is then "rejected".
        """
        total = request.prompt_tokens + request.output_tokens
        if total > self.max_model_len:
            total = self.max_model_len
        if total > self.most or request.prompt_tokens >= self.max_model_len:
            request.state = REJECTED
            return False
        request.total = total
        self.outstanding += 1
        self.n_waiting += 1
        if self.priority:
            heapq.heappush(self.waiting, in_line(request))
        else:
            self.waiting.append(request)
        if self.run is not None:
            if not self.run_fixed:
                runs.shorten(self, request.arrival_s)
        elif self.wake == INF:
            at = request.arrival_s
            self.wake = at if at > self.busy_until else self.busy_until
        return True

    def cancel(self, request: Request, at_s: float) -> None:
        """The client gives up at `at_s`: acts before the output of the step in flight is delivered."""
        if request.state < FINISHED:
            self.cancels.append(request)
            if self.run is not None:
                runs.shorten(self, at_s)
            elif self.wake == INF:
                self.wake = max(at_s, self.busy_until)

    def written(self, request: Request, at_s: float) -> int:
        """Tokens of the answer that a request which has not ended has got by `at_s`, not past `wake`.

        One more where a preemption met a token in flight.
        """
        if request.first_token_s is None or request.first_token_s > at_s:
            return 0
        again = request.target - request.prompt_tokens  # what it had when it was preempted
        if request.state in (WAITING, PREFILLING):
            return again
        if request.state == DRAINING:
            return request.total - request.prompt_tokens - (self.wake > at_s)
        sampled = request.base + self.step + 1 - request.prompt_tokens
        if self.run is not None:
            return sampled + bisect_right(self.run, at_s) - (self.run_start > at_s)
        return max(again, sampled - (self.busy_until > at_s) - (self.lag and self.wake > at_s))

    def commit(self) -> list[Request]:
        """Come to `wake`: deliver what has ended by then.

        Returns:
            The requests that finished, in batch order.
        """
        now = self.wake
        if self.run is not None:
            runs.finish(self)
        if self.cancels:
            self._abort(now)
        step = self.step
        delivered = step - 1 if self.busy_until <= now else step - 2
        done: list[Request] = []
        if self.draining:
            done = [r for r in self.draining if r.finish_at <= delivered]
            self.draining = [r for r in self.draining if r.finish_at > delivered]
        heap = self.ends_at
        while heap and heap[0][0] < step:
            last, serial, request = heapq.heappop(heap)
            if request.serial != serial or request.last_at != last:
                continue  # preempted, cancelled or stalled since
            c = request.computed = request.base + step
            self.n_decoding -= 1
            self.context -= c
            self.phase[request.base % self.block_size] -= 1
            if request.finish_at <= delivered:
                done.append(request)
            else:
                request.state = DRAINING
                self.draining.append(request)
                self.pool.hash(request, c - self.unknown)
        if done:
            if self.lag:
                done.sort(key=_serial)
            running = self.running
            release = handover.hold(self) if self.holds else self.pool.release
            for request in done:
                if running.pop(request, self) is None:
                    release(request, request.computed, request.total - 1)
                else:  # preempted while its last token was in flight
                    self.n_waiting -= 1
                request.state = FINISHED
                request.finish_s = now
                request.blocks = None
            self.outstanding -= len(done)
            if self.pausing:
                self.pausing -= len(done)
        if self.holds:
            handover.settle(self, done)
        return done

    plan = schedule.plan
    received = handover.received
    let_go = handover.let_go

    def advance(self, until_s: float) -> list[Request]:
        """Run up to a time. A step that starts exactly then is left, for who arrives then may join it.

        Returns:
            The requests that finished before `until_s`, in order.
        """
        done: list[Request] = []
        while self.wake < until_s:
            done += self.commit()
            self.plan()
        return done

    def start_decoding(self, request: Request, step: int, end: float) -> None:
        """All that the request knows is computed in `step`, which samples its next token."""
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
        last = request.finish_at = step + request.total - target - 1
        if self.lag and request.stop_token and request.total < self.max_model_len:
            last += 1  # nobody foresees the stop, so one entry is wasted
        request.last_at = last
        request.stalled_at = -1
        heapq.heappush(self.ends_at, (last, request.serial, request))
        if request.segments:
            self.pool.follow(request)

    def hashed_now(self, request: Request) -> int:
        """Tokens of a decoding or draining request that others can hit in the waiting pass."""
        if request.state == DECODING:
            return max(request.target, request.base + self.step + 1 - self.in_flight(request))
        return max(request.target, request.computed - self.unknown)

    def in_flight(self, request: Request) -> int:
        """Tokens of a decoding request that are being sampled while the next step is planned."""
        return self.unknown if request.stalled_at != self.step - 1 else 0

    def _abort(self, now: float) -> None:
        """Act on cancellations; tokens of the step that ends now are lost."""
        self.unknown_before = self.unknown
        for request in self.cancels:
            if request.state >= FINISHED:
                continue
            if request in self.running:
                walk.drop(self, request, 0)
            elif request.state in (RECEIVING, RECEIVED):
                handover.forget(self, request)
            else:
                self.n_waiting -= 1
            if request in self.draining:
                self.draining.remove(request)
            request.state = CANCELLED
            request.blocks = None
            if request.first_token_s is not None and request.first_token_s >= now:
                request.first_token_s = None
            self.outstanding -= 1
            if self.pausing and request.arrival_s <= self.empty_at:
                self.pausing -= 1
        self.cancels.clear()


def _serial(request: Request) -> int:
    return request.serial
