"""The clock of two pools: engines, links, and what is under way between them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models.transfer import KVTransfer
from foretell.sim import handover
from foretell.sim.cluster import Calls
from foretell.sim.engine import Engine
from foretell.sim.request import CANCELLED, FINISHED, REJECTED, REMOTE, Request
from foretell.sim.routers import Fleet, Router
from foretell.sim.simulation import Run, recorded_loads
from foretell.traces import Trace

INF = math.inf
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Handovers:
    """How KV caches passed from prefill to decode engines, by row; NaN and -1 where none did.

    Attributes:
        prefill_engines: how many of the run's engines, the first ones, are prefill engines.
        prefill: index of the prefill engine.
        prefill_end_s: when the prompt was computed, and its first token sampled.
        start_s: when a decode engine had blocks for it, and its links were free.
        end_s: when it was there.
        sent_bytes: how much was sent.
        link_busy_s: by engine, seconds for which its links were occupied.

    """

    prefill_engines: int
    prefill: npt.NDArray[np.int64]
    prefill_end_s: Floats
    start_s: Floats
    end_s: Floats
    sent_bytes: Floats
    link_busy_s: Floats


class TwoPools:
    """Engines, links and what is under way between them.

    A call is two requests: one of a single token on a prefill engine, and itself on a decode engine.
    """

    def __init__(
        self,
        trace: Trace,
        engines: Sequence[Engine],
        split: int,
        routers: Sequence[Router],
        transfer: Sequence[Sequence[KVTransfer]],
        early: bool,
        shared: bool,
    ) -> None:
        self.trace = trace
        self.engines = engines
        self.split = split  # how many are prefill engines
        self.routers = routers
        self.transfer = transfer
        self.early = early
        self.shared = shared
        for engine in engines[:split]:
            engine.holds = True
        self.max_model_len = min(engine.max_model_len for engine in engines[split:])
        self.calls = Calls(trace, name=any(e.priority or e.on_step is not None for e in engines))
        self.fleets = [Fleet([0] * len(part), part) for part in (engines[:split], engines[split:])]
        self.wakes: list[tuple[float, int]] = []  # heap: (wake, engine)
        self.coming: list[tuple[float, int, Request, int]] = []  # heap: (end, row, request, engine)
        self.origin: dict[Request, tuple[Request, int]] = {}  # the same on its prefill engine, and that
        self.link_free_s = [0.0] * len(engines)
        self.link_busy_s = [0.0] * len(engines)
        self.n_ended = 0
        self.ended: list[tuple[Any, ...]] = [()] * len(trace)
        nan = math.nan
        # by row: prefill engine, when the prompt was computed, start and end of the transfer, bytes
        self.handed: list[tuple[int, float, float, float, float]] = [(-1, nan, nan, nan, 0.0)] * len(trace)

    def run(self, progress: Callable[[int], None] | None) -> None:
        """Run until every call has ended. At equal times: transfers that end, arrivals, then steps."""
        calls, wakes, coming = self.calls, self.wakes, self.coming
        told = 0
        while True:
            at = calls.next_s
            comes = coming[0][0] if coming else INF
            wake, i = wakes[0] if wakes else (INF, 0)
            if comes <= at and comes <= wake and comes < INF:
                self._come(*heapq.heappop(coming))
            elif at <= wake:
                if at == INF:
                    break
                self._arrive(calls.pop(), at)
            else:
                self._step(wake, i)
            if progress is not None and self.n_ended >= told + 1024:
                told = self.n_ended
                progress(told)
        if progress is not None:
            progress(self.n_ended)

    def _step(self, wake: float, i: int) -> None:
        """An engine delivers what has ended and plans its next step."""
        engine = self.engines[i]
        if engine.wake != wake:  # its run was cut, and it has been awake since
            heapq.heappop(self.wakes)
            return
        for request in engine.commit():
            if i < self.split:
                self.fleets[0].outstanding[i] -= 1
                self._prefilled(request, i, wake)
            else:
                self.fleets[1].outstanding[i - self.split] -= 1
                self._over(request, i, wake)
        if self.calls.next_s <= wake:
            return  # what the answers released may join the step that starts now
        if engine.unheld:
            handover.settle(engine, [])
        engine.plan()
        if engine.wake < INF:
            heapq.heapreplace(self.wakes, (engine.wake, i))
        else:
            heapq.heappop(self.wakes)
        for request in engine.wanted:
            self._send(request, i, wake)
        engine.wanted.clear()

    def _arrive(self, call: Request, now: float) -> None:
        """A call reaches the prefill pool: there it is its prompt and one token."""
        request = Request(
            call.id,
            now,
            call.prompt_tokens,
            1,
            call.row,
            priority=call.priority,
            segments=call.segments,
            session=call.session,
        )
        i = self._submit(request, 0, now)
        if i < 0:
            self._over(request, -1 - i, now)

    def _prefilled(self, request: Request, i: int, now: float) -> None:
        """The prompt is computed: the call reaches the decode pool, unless its one token is all."""
        row = request.row
        wanted = int(self.trace.output_tokens[row])
        self.handed[row] = (i, now, math.nan, math.nan, 0.0)
        if self.early and (wanted == 1 or request.prompt_tokens + 1 == self.max_model_len):
            self._let_go(request, i, now)
            self._over(request, i, now)
            return
        call = Request(
            request.id,
            now,
            request.prompt_tokens,
            wanted,
            row,
            priority=request.priority,
            segments=request.segments,
            session=request.session,
        )
        call.state = REMOTE
        call.cached_tokens = 0
        if self.early:
            call.target += 1
            call.first_token_s = call.paused_s = now
        self.origin[call] = request, i
        j = self._submit(call, 1, now)
        if j < 0:
            del self.origin[call]
            self._let_go(request, i, now)
            self._over(call, -1 - j, now)

    def _send(self, call: Request, j: int, now: float) -> None:
        """A decode engine has blocks for a call: its KV cache is sent."""
        request, i = self.origin[call]
        transfer = self.transfer[i][j - self.split]
        tokens = call.prompt_tokens - call.computed
        prefilled = self.handed[call.row][1]
        seconds = transfer.remaining_s(tokens, prefilled - request.paused_s) if tokens else 0.0
        start = now
        if self.shared:
            start = max(now, self.link_free_s[i], self.link_free_s[j])
            self.link_free_s[i] = self.link_free_s[j] = start + seconds
        end = start + seconds + (transfer.latency_s if tokens else 0.0)
        for k in (i, j):
            self.link_busy_s[k] += transfer.on_link_s(tokens)
        self.handed[call.row] = (i, prefilled, start, end, tokens * transfer.token_bytes)
        heapq.heappush(self.coming, (end, call.row, call, j))

    def _come(self, end: float, row: int, call: Request, j: int) -> None:
        """A KV cache is there: the call may run, and the blocks that it came from are free."""
        request, i = self.origin[call]
        self._let_go(request, i, end)
        engine = self.engines[j]
        before = engine.wake
        engine.received(call, end)
        self._wakes_at(j, before)

    def _submit(self, request: Request, side: int, now: float) -> int:
        """Route a request; the engine's index, or -1 less that where it was rejected."""
        fleet = self.fleets[side]
        fleet.time_s = now
        at = self.routers[side](request, fleet) if len(fleet.outstanding) > 1 else 0
        i = at + side * self.split
        engine = self.engines[i]
        before = engine.wake
        if not engine.submit(request):
            return -1 - i
        fleet.outstanding[at] += 1
        self._wakes_at(i, before)
        return i

    def _let_go(self, request: Request, i: int, now: float) -> None:
        engine = self.engines[i]
        before = engine.wake
        engine.let_go(request, now)
        self._wakes_at(i, before)

    def _wakes_at(self, i: int, before: float) -> None:
        wake = self.engines[i].wake
        if wake != before:
            heapq.heappush(self.wakes, (wake, i))

    def _over(self, request: Request, i: int, now: float) -> None:
        self.calls.over(request, i, now, self._record)

    def _record(self, request: Request, i: int) -> None:
        origin, _ = self.origin.pop(request, (request, i))
        served = request.state == FINISHED
        self.n_ended += 1
        self.ended[request.row] = (
            origin.arrival_s,
            request.first_token_s if served else math.nan,
            request.finish_s if served else math.nan,
            request.total - request.prompt_tokens if served else 0,
            request.n_preemptions + (0 if origin is request else origin.n_preemptions),
            max(origin.cached_tokens, 0),
            i,
            _STATUS[request.state],
            origin.scheduled_s,
        )

    def records(self, itl: bool, loads: bool) -> Run:
        """What came of every request, by row."""
        engines = self.engines
        whole, tiny = np.int64, np.int8
        kinds = (np.float64, np.float64, np.float64, whole, whole, whole, whole, tiny, np.float64)
        ended: list[Any] = [
            np.array(column, kind)
            for column, kind in zip(_columns(self.ended, len(kinds)), kinds, strict=True)
        ]
        arrival, first, finish, output, preemptions, cached, replica, status, scheduled = ended
        prefill, *times = _columns(self.handed, 5)
        computed, start, end, sent = (np.array(column) for column in times)
        gaps = None
        if itl:
            gaps = (
                np.concatenate([np.asarray(e.itl_s, dtype=np.float64) for e in engines]),
                np.concatenate([np.asarray(e.itl_n, dtype=np.int64) for e in engines]),
            )
        return Run(
            arrival_s=arrival,
            first_token_s=first,
            finish_s=finish,
            prompt_tokens=self.trace.prompt_tokens,
            output_tokens=output,
            n_preemptions=preemptions,
            cached_tokens=cached,
            replica=replica,
            status=status,
            engines=tuple(e.stats for e in engines),
            itl=gaps,
            trace=self.trace,
            scheduled_s=scheduled,
            **recorded_loads(engines if loads else ()),
            handovers=Handovers(
                self.split, np.array(prefill, whole), computed, start, end, sent, np.array(self.link_busy_s)
            ),
        )


_STATUS = {FINISHED: 0, CANCELLED: 1, REJECTED: 2}


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width
