"""Several engines on one clock, fed by a trace.

One event an engine wake-up and one an arrival, in a heap; none for a token. At equal times arrivals
come first, so that they join the step that starts then.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence

from foretell.sim.engines import AnyEngine
from foretell.sim.request import CANCELLED, FINISHED, Request
from foretell.sim.routers import Fleet, Router
from foretell.traces import Trace

INF = math.inf
Ended = Callable[[Request, int], None]
Leaving = list[tuple[float, int, Request, int]]
"""A heap: (when its client gives up, row, request, replica)."""
_BLOCK = 65_536


class Calls:
    """The requests of a trace as they come, those that wait for an answer among them.

    Args:
        trace: the workload.
        name: whether to give requests their names (else they have none).
        stop_token: see `foretell.sim.request.Request`.

    Attributes:
        next_s: when the next one arrives; infinite when none is known.

    Raises:
        ValueError: the trace has both sessions and a bound on concurrency.
    """

    def __init__(self, trace: Trace, *, name: bool, stop_token: bool = False) -> None:
        if trace.session is not None and trace.concurrency is not None:
            raise ValueError("trace: it has both sessions and concurrency; a closed loop takes one of them")
        self.trace = trace
        self.name = name
        self.stop_token = stop_token
        self.later: list[tuple[float, int]] = []  # heap of (arrival, row) of those released by an answer
        self._stream: Iterator[Request]
        self.follower: dict[int, int] = _followers(trace.session) if trace.session is not None else {}
        self._waiting_rows: Iterator[int] = iter(())  # rows of a closed loop that wait for room
        n = len(trace)
        if trace.concurrency is not None:
            first = min(trace.concurrency, n)
            self._waiting_rows = iter(range(first, n))
            starts = sorted(zip(trace.arrival_s[:first].tolist(), range(first), strict=True))
            self._stream = iter([self._make(row, at) for at, row in starts])
        elif self.follower:
            heads = set(range(n)) - set(self.follower.values())
            self._stream = (self._make(row, float(trace.arrival_s[row])) for row in sorted(heads))
        else:
            self._stream = self._in_order()
        self._head: Request | None = next(self._stream, None)
        self.next_s = self._head.arrival_s if self._head is not None else INF

    def pop(self) -> Request:
        """Take the request that arrives at `next_s`."""
        request = self._head
        if self.later and (request is None or self.later[0][0] < request.arrival_s):
            at, row = heapq.heappop(self.later)
            request = self._make(row, at)
        else:
            self._head = next(self._stream, None)
        head = self._head
        self.next_s = head.arrival_s if head is not None else INF
        if self.later and self.later[0][0] < self.next_s:
            self.next_s = self.later[0][0]
        assert request is not None
        return request

    @property
    def answers_matter(self) -> bool:
        """Whether the end of a request can release another."""
        return bool(self.follower) or self.trace.concurrency is not None

    def over(self, request: Request, replica: int, now: float, ended: Ended) -> None:
        """A request ended: tell so, and release what waited for it."""
        ended(request, replica)
        if self.trace.concurrency is not None:
            row = next(self._waiting_rows, None)
        else:
            row = self.follower.get(request.row)
            if request.state != FINISHED:
                # Without an answer the conversation is over: the later turns are never asked.
                while row is not None:
                    unasked = self._make(row, now)
                    unasked.state = CANCELLED
                    ended(unasked, -1)
                    row = self.follower.get(row)
        if row is not None:
            think = float(self.trace.think_s[row]) if self.trace.think_s is not None else 0.0
            at = max(now + think, float(self.trace.arrival_s[row]))
            heapq.heappush(self.later, (at, row))
            if at < self.next_s:
                self.next_s = at

    def never(self, request: Request, ended: Ended) -> None:
        """A request whose client gave up before it came."""
        request.state = CANCELLED
        self.over(request, -1, request.arrival_s, ended)

    def _make(self, row: int, at: float) -> Request:
        trace = self.trace
        return Request(
            (trace.request_id[row] if trace.request_id is not None else f"r{row}") if self.name else "",
            at,
            int(trace.prompt_tokens[row]),
            int(trace.output_tokens[row]),
            row,
            priority=int(trace.priority[row]) if trace.priority is not None else 0,
            segments=trace.segments[row] if trace.segments is not None else (),
            session=trace.session[row] if trace.session is not None else "",
            stop_token=self.stop_token,
            accepted=trace.accepted[row] if trace.accepted is not None else (),
            cancel_s=_or_never(float(trace.cancel_s[row])) if trace.cancel_s is not None else INF,
        )

    def _in_order(self) -> Iterator[Request]:
        """All rows as they stand: the common case, made block by block to spare memory."""
        trace = self.trace
        for start in range(0, len(trace), _BLOCK):
            part = slice(start, start + _BLOCK)
            rows = range(start, min(start + _BLOCK, len(trace)))
            names = [""] * len(rows)
            if self.name:
                names = (
                    list(trace.request_id[part]) if trace.request_id is not None else [f"r{i}" for i in rows]
                )
            columns = (
                rows,
                names,
                trace.arrival_s[part].tolist(),
                trace.prompt_tokens[part].tolist(),
                trace.output_tokens[part].tolist(),
            )
            if all(x is None for x in (trace.priority, trace.segments, trace.accepted, trace.cancel_s)) and (
                not self.stop_token
            ):
                for row, name, arrival, prompt, output in zip(*columns, strict=True):
                    yield Request(name, arrival, prompt, output, row)
                continue
            priorities = trace.priority[part].tolist() if trace.priority is not None else [0] * len(rows)
            chains = trace.segments[part] if trace.segments is not None else [()] * len(rows)
            drafts = trace.accepted[part] if trace.accepted is not None else [()] * len(rows)
            ends = trace.cancel_s[part].tolist() if trace.cancel_s is not None else [INF] * len(rows)
            for row, name, arrival, prompt, output, priority, chain, accepted, cancel in zip(
                *columns, priorities, chains, drafts, ends, strict=True
            ):
                yield Request(
                    name,
                    arrival,
                    prompt,
                    output,
                    row,
                    priority=priority,
                    segments=chain,
                    stop_token=self.stop_token,
                    accepted=accepted,
                    cancel_s=_or_never(cancel),
                )


def drive(
    calls: Calls,
    engines: Sequence[AnyEngine],
    router: Router,
    ended: Ended,
) -> None:
    """Run the engines until every call has ended.

    Args:
        calls: the workload.
        engines: the replicas.
        router: asked for every arrival, unless there is one replica.
        ended: called with every request that finished, was rejected or left at its `cancel_s`, and its
            replica; for those that were never asked too (left before they came, later turns of a
            session that broke off), as cancelled and with replica -1.
    """
    if len(engines) == 1:
        _drive_one(calls, engines[0], ended)
        return
    fleet = Fleet([0] * len(engines), engines)
    outstanding = fleet.outstanding
    leaving: Leaving = []
    feedback = calls.answers_matter
    events: list[tuple[float, int]] = []
    while True:
        at = calls.next_s
        wake, i = events[0] if events else (INF, 0)
        if leaving and leaving[0][0] < at and leaving[0][0] <= wake:
            at, _, request, i = heapq.heappop(leaving)
            engine = engines[i]
            before = engine.wake
            if request.state < FINISHED:
                engine.cancel(request, at)
                outstanding[i] -= 1
                calls.over(request, i, at, ended)
                if engine.wake != before:
                    heapq.heappush(events, (engine.wake, i))
            continue
        if at <= wake:
            if at == INF:
                return
            request = calls.pop()
            if request.cancel_s <= at:
                calls.never(request, ended)
                continue
            fleet.time_s = at
            i = router(request, fleet)
            engine = engines[i]
            before = engine.wake
            if engine.submit(request):
                outstanding[i] += 1
                if request.cancel_s < INF:
                    heapq.heappush(leaving, (request.cancel_s, request.row, request, i))
                if engine.wake != before:
                    heapq.heappush(events, (engine.wake, i))
            else:
                calls.over(request, i, at, ended)
            continue
        engine = engines[i]
        if engine.wake != wake:  # its run was cut, and it has been awake since
            heapq.heappop(events)
            continue
        done = engine.commit()
        if done:
            outstanding[i] -= len(done)
            for request in done:
                if feedback:
                    calls.over(request, i, wake, ended)
                else:
                    ended(request, i)
            if calls.next_s <= wake:
                continue  # what the answers released may join the step that starts now
        engine.plan()
        if engine.wake < INF:
            heapq.heapreplace(events, (engine.wake, i))
        else:
            heapq.heappop(events)


def _drive_one(calls: Calls, engine: AnyEngine, ended: Ended) -> None:
    """The same for one engine, which can be told when the next arrival comes."""
    feedback = calls.answers_matter
    leaving: Leaving = []
    while True:
        wake = engine.wake
        at = calls.next_s
        if leaving and leaving[0][0] < at and leaving[0][0] <= wake:
            at, _, request, _ = heapq.heappop(leaving)
            if request.state < FINISHED:
                engine.cancel(request, at)
                calls.over(request, 0, at, ended)
            continue
        if at <= wake:
            if at == INF:
                return
            request = calls.pop()
            if request.cancel_s <= at:
                calls.never(request, ended)
            elif not engine.submit(request):
                calls.over(request, 0, at, ended)
            elif request.cancel_s < INF:
                heapq.heappush(leaving, (request.cancel_s, request.row, request, 0))
            continue
        for request in engine.commit():
            if feedback:
                calls.over(request, 0, wake, ended)
            else:
                ended(request, 0)
        if calls.next_s > wake:
            engine.horizon = min(calls.next_s, leaving[0][0]) if leaving else calls.next_s
            engine.plan()


def _or_never(cancel_s: float) -> float:
    return cancel_s if cancel_s == cancel_s else INF


def _followers(session: Sequence[str]) -> dict[int, int]:
    """The next turn of each turn of a session, by row."""
    last: dict[str, int] = {}
    follower: dict[int, int] = {}
    for row, name in enumerate(session):
        if name:
            if name in last:
                follower[last[name]] = row
            last[name] = row
    return follower
