"""An engine that looks at every request in every step: for what the lazy one cannot express.

It takes speculative decoding, sliding windows and several KV cache groups, and all else that
`foretell.sim.engine` takes but KV caches from or for another engine. It decides the same and is slower: the
work of a step is proportional to the requests in it.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from typing import Any

from foretell.models import StepCost, StepLoad
from foretell.sim.config import EngineConfig
from foretell.sim.engine import Batch, OnStep
from foretell.sim.pauses import AGAIN, BACK, PREEMPTED, Pause
from foretell.sim.request import CANCELLED, DECODING, FINISHED, PREFILLING, REJECTED, WAITING, Request
from foretell.sim.stats import EngineStats
from foretell.sim.stepwise_requests import Entry, Live
from foretell.sim.stepwise_scheduler import Scheduler
from foretell.sim.walk import LivelockError, check_patience

INF = math.inf


class StepwiseEngine:
    """An engine in continuous time; arguments, attributes and methods are those of `Engine`.

    Gaps between tokens are kept one a delivery: tokens that come together, as accepted drafts do, count as
    one, as clients that time chunks of a stream see them.
    """

    __slots__ = (
        "arrived",
        "busy_until",
        "cancels",
        "config",
        "cost",
        "depth",
        "due",
        "fruitless",
        "horizon",
        "in_flight",
        "itl_n",
        "itl_s",
        "lives",
        "loads",
        "max_model_len",
        "on_step",
        "pauses",
        "pausing",
        "pool",
        "priority",
        "scheduler",
        "stats",
        "token_at",
        "token_s",
        "wake",
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
        self.max_model_len = config.max_model_len
        self.priority = config.scheduling_policy == "priority"
        self.scheduler = Scheduler(config)
        self.pool = self.scheduler.memory.pool
        self.stats = EngineStats(kv_blocks=self.pool.usable)
        self.lives: dict[Request, Live] = {}  # those that have not ended
        self.token_s: dict[Request, float] = {}  # when the last token of each came
        self.arrived: list[Live] = []  # since the last `plan`
        self.cancels: list[Request] = []
        self.fruitless = 0  # preemptions since the last token
        self.depth = 2 if config.async_scheduling else 1
        self.in_flight: deque[tuple[float, list[Entry]]] = deque()  # (end, batch), `depth` at most
        self.due = False  # whether the first of them ends at `wake`
        self.pausing = False  # whether a step came out empty
        self.busy_until = 0.0
        self.token_at = 0.0  # end of the last step
        self.wake = INF
        self.horizon = INF

    @property
    def outstanding(self) -> int:
        """Requests submitted and not ended."""
        return len(self.lives)

    @property
    def n_waiting(self) -> int:
        """Requests in line."""
        return len(self.scheduler.waiting) + len(self.arrived)

    def submit(self, request: Request) -> bool:
        """Take a request that arrives at request.arrival_s, not before the last `commit`.

        Returns:
            False if it can never fit (see `EngineConfig.rejects`); it is then "rejected".
        """
        if self.config.rejects(request.prompt_tokens, request.output_tokens) is not None:
            request.state = REJECTED
            return False
        live = Live(request, self.config)
        request.total = live.total
        self.lives[request] = live
        self.arrived.append(live)
        if self.wake == INF:
            self.wake = request.arrival_s
        return True

    def cancel(self, request: Request, at_s: float) -> None:
        """The client gives up at `at_s`: acts before the output of the step in flight is delivered."""
        if request.state < FINISHED:
            self.cancels.append(request)
            if self.wake == INF:
                self.wake = at_s

    def written(self, request: Request, at_s: float) -> int:
        """Tokens of the answer that a request which has not ended has got."""
        live = self.lives.get(request)
        return 0 if live is None or request.first_token_s is None else live.known - live.prompt

    def commit(self) -> list[Request]:
        """Come to `wake`: deliver what has ended by then.

        Returns:
            The requests that finished, in batch order.
        """
        now = self.wake
        for request in self.cancels:
            if request.state < FINISHED:
                self._drop(request)
        self.cancels.clear()
        done: list[Request] = []
        if not self.due:
            return done
        self.due = False

        def sampled(live: Live, tokens: int) -> None:
            request = live.request
            if request.first_token_s is None:
                request.first_token_s = now
            elif self.itl_s is not None:
                self.itl_s.append(now - self.token_s[request])
                self.itl_n.append(1)
            self.token_s[request] = now
            self.fruitless = 0
            if request.state == PREFILLING:
                request.state = DECODING
                if self.loads is not None and request.n_preemptions:
                    self.pauses.append((request.row, AGAIN, now))
            if live.known == live.total:
                request.state = FINISHED
                request.finish_s = now
                del self.lives[request], self.token_s[request]
                done.append(request)

        self.scheduler.update(self.in_flight.popleft()[1], sampled)
        return done

    def _drop(self, request: Request) -> None:
        live = self.lives.pop(request)
        self.token_s.pop(request, None)
        if live in self.arrived:
            self.arrived.remove(live)
        else:
            self.scheduler.remove(live)
        request.state = CANCELLED

    def plan(self) -> None:
        """Decide the engine's next step; sets `wake`."""
        scheduler = self.scheduler
        if self.pausing:
            self.pausing = False
            if scheduler.running or scheduler.waiting:
                self.wake += self.config.empty_step_s
                return
        for live in self.arrived:
            scheduler.add(live)
        self.arrived.clear()
        batch: list[Entry] = []
        if scheduler.running or scheduler.waiting:
            batch = scheduler.schedule()
            for live in scheduler.preempted_now:
                self._note_preemption(live)
        if batch:
            start = max(self.wake, self.busy_until)
            self._start(start, batch)
            if len(self.in_flight) < self.depth:
                return  # the next one is planned while it runs
        elif scheduler.running or scheduler.waiting:
            self.pausing = True
            if not self.in_flight:
                if not scheduler.preempted_now:
                    raise LivelockError(f"nobody can go on, at {self.wake}; raise num_gpu_blocks")
                return
        if self.in_flight:
            self.due = True
            self.wake = self.in_flight[0][0]
        else:
            self.wake = INF

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

    def _note_preemption(self, live: Live) -> None:
        request = live.request
        if request.state < FINISHED:
            request.state = WAITING
        request.paused_s = self.token_at
        if self.loads is not None:
            self.pauses.append((request.row, PREEMPTED, self.token_at))
        self.stats.preemptions += 1
        self.fruitless += 1
        check_patience(request, self.fruitless)

    def _start(self, start: float, batch: list[Entry]) -> None:
        """The device begins a step as soon as it is free."""
        stats = self.stats
        for entry in batch:
            request = entry.live.request
            if request.state == WAITING:
                request.state = PREFILLING
                if request.cached_tokens < 0:
                    request.cached_tokens = entry.computed_before
                    stats.cached_tokens += entry.computed_before
                    stats.prompt_tokens += request.prompt_tokens
                    stats.queue_s += start - request.arrival_s
                    request.scheduled_s = start
                else:
                    stats.queue_s += start - request.paused_s
                    if self.loads is not None:
                        self.pauses.append((request.row, BACK, start))
        load: Any = load_of(batch)  # its figures may be arrays elsewhere; here they are numbers
        seconds = self.cost(*load)
        end = start + seconds
        if self.on_step is not None:
            rows: Batch = [(e.live.request, e.tokens, e.computed_before) for e in batch]
            self.on_step(stats.steps, start, end, rows)
        if self.loads is not None:
            self.loads.append((start, end, 1, *load, stats.kv_blocks - self.pool.free))
        stats.steps += 1
        stats.busy_s += seconds
        stats.prefill_tokens += load.prefill_tokens
        stats.prefill_pairs += load.prefill_pairs
        stats.prefill_context += load.prefill_context
        stats.prefill_seqs += load.prefill_seqs
        stats.decode_seqs += load.decode_seqs
        stats.decode_context += load.decode_context
        stats.prefill_sampled += load.sampled - load.decode_seqs
        if load.prefill_seqs:
            stats.prompt_steps += 1
            stats.prompt_busy_s += seconds
            stats.prompt_decode_seqs += load.decode_seqs
            stats.prompt_decode_context += load.decode_context
        stats.kv_block_seconds += seconds * (stats.kv_blocks - self.pool.free)
        self.busy_until = self.token_at = end
        self.in_flight.append((end, batch))


def load_of(batch: list[Entry]) -> StepLoad:
    """What a step carries.

    An entry that verifies drafts is priced as the chunk of a prompt that it is to the model: its n tokens,
    one sampled before and the drafts, attend to each other and to the c that are computed. It adds n tokens,
    n (c + (n + 1) / 2) pairs, c + n of context and one sequence of prefill, and counts once in `sampled`.
    """
    chunks = [(e.tokens, e.computed_before) for e in batch if not e.decodes]
    decodes = [e.computed_before for e in batch if e.decodes]
    return StepLoad(
        prefill_tokens=sum([n for n, _ in chunks]),
        prefill_pairs=sum([n * (c + (n + 1) / 2) for n, c in chunks]),
        prefill_context=sum([c + n for n, c in chunks]),
        prefill_seqs=len(chunks),
        decode_seqs=len(decodes),
        decode_context=sum(decodes) + len(decodes),
        sampled=sum([e.samples for e in batch]),
    )
