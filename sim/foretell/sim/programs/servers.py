"""Where the calls of programs go: fleets of engines, or a service whose load is not ours to model."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from foretell.sim.disaggregated import EnginePool
from foretell.sim.engines import AnyEngine, make_engine
from foretell.sim.programs.clock import Clock
from foretell.sim.request import Request
from foretell.sim.routers import Fleet, make_router

if TYPE_CHECKING:
    from foretell.sim.programs.llm import Call

INF = math.inf
_GIVEN_UP = object()
Ended = Callable[["Call", int, bool], None]
"""Called with (call, tokens written, whether it is done)."""


@dataclass(frozen=True, slots=True)
class UnloadedPool:
    """A service that is never busy: as many servers as calls.

    Attributes:
        ttft_s: time to first token, besides the prompt's.
        tpot_s: time of every further token.
        prefill_token_s: time to first token of every prompt token.

    """

    ttft_s: float = 0.0
    tpot_s: float = 0.0
    prefill_token_s: float = 0.0


class Server(Protocol):
    """What takes the calls of one pool."""

    def submit(self, call: Call) -> None:
        """Take a call that comes now; its end is told later, or at once if it can never be served."""

    def cancel(self, call: Call) -> int:
        """Give up a call that has not ended; returns the tokens that it has written."""


class UnloadedServer:
    """The server of an `UnloadedPool`."""

    def __init__(self, pool: UnloadedPool, clock: Clock, ended: Ended) -> None:
        self.pool = pool
        self.clock = clock
        self.ended = ended

    def submit(self, call: Call) -> None:
        """Let the call end when it must."""
        pool = self.pool
        call.first_token_s = call.arrival_s + pool.ttft_s + pool.prefill_token_s * call.prompt_tokens
        end = self.clock.at(call.first_token_s + (call.asked_tokens - 1) * pool.tpot_s)
        assert end.callbacks is not None
        call.request = end
        end.callbacks.append(lambda event: self._end(call, end))

    def cancel(self, call: Call) -> int:
        """How far it has come."""
        call.request = _GIVEN_UP
        seconds = self.clock.now - call.first_token_s
        if seconds < 0:
            call.first_token_s = math.nan
            return 0
        if not self.pool.tpot_s:
            return 1
        return min(1 + math.floor(seconds / self.pool.tpot_s), call.asked_tokens)

    def _end(self, call: Call, end: object) -> None:
        if call.request is end:  # else it has been given up
            self.ended(call, call.asked_tokens, True)


class EngineServer:
    """The engines of one pool behind their router.

    Args:
        pool: the engines.
        clock, ended: of the run.
        rng: the router's.
        woken: called with an engine's place in `engines` when its `wake` has changed.
        loads: record what every step carries.

    """

    def __init__(
        self,
        pool: EnginePool,
        clock: Clock,
        ended: Ended,
        rng: np.random.Generator,
        woken: Callable[[EngineServer, int], None],
        loads: bool = False,
    ) -> None:
        costs, configs = pool.costs, pool.configs
        self.engines: list[AnyEngine] = [
            make_engine(configs[i % len(configs)], costs[i % len(costs)], record_itl=True, record_loads=loads)
            for i in range(pool.size)
        ]
        self.fleet = Fleet([0] * pool.size, self.engines)
        self.router = make_router(pool.router, rng)
        self.named = any(engine.config.scheduling_policy == "priority" for engine in self.engines)
        self.caching = any(engine.config.enable_prefix_caching for engine in self.engines)
        self.clock = clock
        self.ended = ended
        self.woken = woken
        self.calls: dict[Request, tuple[Call, int]] = {}

    def submit(self, call: Call) -> None:
        """Route the call to an engine."""
        now = call.arrival_s
        segments = (*call.prompt, (call.serial, call.asked_tokens)) if self.caching else ()
        request = Request(
            f"c{call.serial}" if self.named else "",
            now,
            call.prompt_tokens,
            call.asked_tokens,
            call.serial,
            segments=segments,
            session=call.query.name,
        )
        i = 0
        if len(self.engines) > 1:
            self.fleet.time_s = now
            i = self.router(request, self.fleet)
        engine = self.engines[i]
        before = engine.wake
        if not engine.submit(request):
            self.ended(call, 0, False)
            return
        call.request, call.engine = request, i
        self.calls[request] = call, i
        self.fleet.outstanding[i] += 1
        if engine.wake != before:
            self.woken(self, i)

    def cancel(self, call: Call) -> int:
        """Tell its engine; what it computed until then is lost."""
        request = call.request
        _, i = self.calls.pop(request)
        engine = self.engines[i]
        now = self.clock.now
        written = engine.written(request, now)
        if written:
            call.first_token_s = request.first_token_s
        self.fleet.outstanding[i] -= 1
        before = engine.wake
        engine.cancel(request, now)
        if engine.wake != before:
            self.woken(self, i)
        return written

    def commit(self, i: int) -> None:
        """Let engine `i` come to its wake, and tell who has finished."""
        for request in self.engines[i].commit():
            found = self.calls.pop(request, None)
            if found is not None:  # else given up in the moment in which it ended
                call = found[0]
                self.fleet.outstanding[i] -= 1
                call.first_token_s = request.first_token_s or math.nan
                self.ended(call, request.total - request.prompt_tokens, True)


class Engines:
    """All engines of all pools on one clock: which of them wakes when."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.events: list[tuple[float, int, int]] = []  # heap: (wake, server, engine)
        self.servers: list[EngineServer] = []

    def woken(self, server: EngineServer, i: int) -> None:
        """An engine's wake has changed."""
        heapq.heappush(self.events, (server.engines[i].wake, self.servers.index(server), i))

    def drive(self) -> None:
        """Run programs and engines until nothing is left to happen.

        What programs do at a time comes before the engines that wake then, so that their calls join the
        step that starts.
        """
        clock, events, servers = self.clock, self.events, self.servers
        alone = sum(len(server.engines) for server in servers) == 1
        while True:
            at = clock.peek()
            wake, s, i = events[0] if events else (INF, 0, 0)
            if at <= wake:
                if at == INF:
                    return
                clock.step()
                continue
            heapq.heappop(events)
            server = servers[s]
            engine = server.engines[i]
            if engine.wake != wake:  # its run was cut, and it has been awake since
                continue
            clock.come_to(wake)
            server.commit(i)
            while clock.peek() <= wake:  # what the answers set off may join the step that starts now
                clock.step()
            if engine.cancels:
                server.commit(i)
            if alone:
                engine.horizon = clock.peek()
            engine.plan()
            if engine.wake < INF:
                heapq.heappush(events, (engine.wake, s, i))
