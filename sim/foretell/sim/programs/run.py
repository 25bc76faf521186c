"""Run a program for every query of a workload, on engines or services, and keep what came of it."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models.outcomes import Outcomes
from foretell.sim.disaggregated import EnginePool
from foretell.sim.programs.clock import Clock
from foretell.sim.programs.draws import Draws
from foretell.sim.programs.llm import LLM, RIGHT, Call, Program, Query, Runtime
from foretell.sim.programs.servers import Engines, EngineServer, Server, UnloadedPool, UnloadedServer
from foretell.sim.simulation import Run, recorded_loads

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
NO_ANSWER = -1


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """What came of every query, and of every call.

    Attributes:
        arrival_s, finish_s: of the queries, shape (queries,).
        answers: what each answered; 0 is right, `NO_ANSWER` none.
        calls, prompt_tokens, tokens: of each query: how many calls, tokens of their prompts, and written.
        late: whether it was answered at its deadline, with what it had.
        run: the calls, one row each, as of a trace of them.
        query: of each call, the number of its query.
        pool: of each call, the place of its pool in `pools`.
        pools: names.
        left_s: when each call ended, however.

    """

    arrival_s: Floats
    finish_s: Floats
    answers: Ints
    calls: Ints
    prompt_tokens: Ints
    tokens: Ints
    late: npt.NDArray[np.bool_]
    run: Run
    query: Ints
    pool: Ints
    pools: tuple[str, ...]
    left_s: Floats = field(repr=False)

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether each answer is right."""
        return np.asarray(self.answers == RIGHT)

    @property
    def latency_s(self) -> Floats:
        """From arrival to answer."""
        return self.finish_s - self.arrival_s

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.right.mean())

    def to_frame(self) -> Any:
        """A pandas DataFrame, one row a query."""
        import pandas as pd

        return pd.DataFrame(
            {
                "query": np.arange(len(self)),
                "arrival_s": self.arrival_s,
                "finish_s": self.finish_s,
                "latency_s": self.latency_s,
                "answer": self.answers,
                "right": self.right,
                "late": self.late,
                "calls": self.calls,
                "prompt_tokens": self.prompt_tokens,
                "output_tokens": self.tokens,
            }
        )


def run_programs(
    program: Program,
    pools: Mapping[str, EnginePool | UnloadedPool],
    profiles: Mapping[str, Outcomes],
    *,
    n_queries: int | None = None,
    arrival_s: Sequence[float] | Floats | None = None,
    concurrency: int | None = None,
    deadline_s: float = np.inf,
    seed: int | np.random.SeedSequence = 0,
    loads: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ProgramRun:
    """Run a program for every query until all have been answered.

    Args:
        program: what a query does.
        pools: whom it may call; the first one is the default.
        profiles: outcomes by pool, of those that are asked for answers; the first gives the prompts.
        n_queries: how many; as many as `arrival_s` has when None.
        arrival_s: when they come; all at 0 when None.
        concurrency: at most so many at once: the next comes when one is answered.
        deadline_s: after its arrival a query answers with what it has.
        seed: of everything.
        loads: record what every step of an engine carried.
        progress: called now and then with the number of queries that are answered.

    Raises:
        ValueError: nothing to run, or a pool that a program calls has no profile.

    """
    times = np.zeros(n_queries or 0) if arrival_s is None else np.asarray(arrival_s, dtype=np.float64)
    n = len(times) if n_queries is None else n_queries
    if not n or len(times) < n:
        raise ValueError(f"n_queries: {n} queries and {len(times)} arrivals; give at least one of both")
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    draws = Draws.make(profiles, n, root)
    clock, log = Clock(), _CallLog(tuple(pools))
    engines = Engines(clock)
    servers: dict[str, Server] = {}
    runtime = Runtime(clock, servers, draws, log.add)

    def ended(call: Call, tokens: int, done: bool) -> None:
        runtime.end(call, tokens, done=done)

    for place, (name, pool) in enumerate(pools.items()):
        log.first.append(sum(len(server.engines) for server in engines.servers))
        if isinstance(pool, UnloadedPool):
            servers[name] = UnloadedServer(pool, clock, ended)
            continue
        rng = np.random.default_rng(
            np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, 9, place))
        )
        server = EngineServer(pool, clock, ended, rng, engines.woken, loads)
        servers[name] = server
        engines.servers.append(server)
    profile = next(iter(profiles.values())) if profiles else None
    queries: list[Query] = []
    answered = 0

    def over(query: Query, process: Any) -> None:
        nonlocal answered
        query.answer, query.finish_s = process.value, clock.now
        for call in list(query.open.values()):
            runtime.cancel(call)
        answered += 1
        if progress is not None and not answered % 256:
            progress(answered)
        if concurrency is not None and len(queries) < n:
            start(max(float(times[len(queries)]), clock.now))

    def start(at: float) -> None:
        number = len(queries)
        query = Query(number, at, at + deadline_s, _prompt(profile, number), draws)
        queries.append(query)
        arrives = clock.at(at)
        assert arrives.callbacks is not None
        arrives.callbacks.append(partial(begin, query))

    def begin(query: Query, event: object) -> None:
        if concurrency is None and len(queries) < n:
            start(float(times[len(queries)]))
        process = clock.process(program(query, LLM(runtime, query)))
        assert process.callbacks is not None
        process.callbacks.append(partial(over, query))
        if query.deadline_s < np.inf:
            late = clock.at(query.deadline_s)
            assert late.callbacks is not None
            late.callbacks.append(partial(_time_is_up, runtime, query))

    for _ in range(1 if concurrency is None else min(concurrency, n)):
        start(float(times[len(queries)]))
    with _few_collections():
        engines.drive()
    if progress is not None:
        progress(answered)
    missing = answered - n
    if missing:
        raise ValueError(
            f"program: {-missing} queries never came to an end; it waits for what nobody triggers"
        )
    return _result(queries, log, engines, loads)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Look for cycles seldom: calls and requests, of which there are many, die by their reference counts."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _prompt(profile: Outcomes | None, query: int) -> tuple[tuple[Any, int], ...]:
    """The task's own prompt, which all queries share, and the query's."""
    if profile is None:
        return ((("query", query), 1),)
    shared = profile.shared_prompt_tokens
    own = (("query", query), profile.prompt_tokens - shared)
    return (("task", shared), own) if shared else (own,)


def _time_is_up(runtime: Runtime, query: Query, event: object) -> None:
    if query.finish_s != query.finish_s:  # not yet answered
        query.over = True
        for call in list(query.open.values()):
            runtime.cancel(call)


class _CallLog:
    """The calls that have ended, column by column."""

    def __init__(self, pools: tuple[str, ...]) -> None:
        self.pools = pools
        self.first: list[int] = []  # of each pool's engines, the place among all
        self.place = {name: i for i, name in enumerate(pools)}
        self.times = array("d")
        self.counts = array("q")

    def add(self, call: Call) -> None:
        """Keep what is known of a call."""
        request = call.request
        cached = preempted = 0
        scheduled = np.nan
        if request is not None and hasattr(request, "cached_tokens"):
            cached, preempted = max(request.cached_tokens, 0), request.n_preemptions
            scheduled = request.scheduled_s
        done = call.done
        self.times.extend(
            (call.arrival_s, call.first_token_s, call.ended_s if done else np.nan, call.ended_s, scheduled)
        )
        self.counts.extend(
            (
                call.query.id,
                self.place[call.pool],
                call.prompt_tokens,
                call.tokens,
                cached,
                preempted,
                0 if done else (1 if request is not None or call.query.over else 2),
                call.engine,
                call.serial,
            )
        )


def _result(queries: list[Query], log: _CallLog, engines: Engines, loads: bool) -> ProgramRun:
    times = np.frombuffer(log.times, dtype=np.float64).reshape(-1, 5)
    counts = np.frombuffer(log.counts, dtype=np.int64).reshape(-1, 9)
    every = [engine for server in engines.servers for engine in server.engines]
    gaps = (
        np.concatenate([np.asarray(e.itl_s, dtype=np.float64) for e in every] or [np.zeros(0)]),
        np.concatenate([np.asarray(e.itl_n, dtype=np.int64) for e in every] or [np.zeros(0, dtype=np.int64)]),
    )
    run = Run(
        arrival_s=times[:, 0],
        first_token_s=times[:, 1],
        finish_s=times[:, 2],
        prompt_tokens=counts[:, 2],
        output_tokens=counts[:, 3],
        n_preemptions=counts[:, 5],
        cached_tokens=counts[:, 4],
        replica=np.where(
            counts[:, 7] < 0, -1, np.array(log.first, dtype=np.int64)[counts[:, 1]] + counts[:, 7]
        ),
        status=counts[:, 6].astype(np.int8),
        engines=tuple(engine.stats for engine in every),
        itl=gaps,
        scheduled_s=times[:, 4],
        **recorded_loads(every if loads else (), counts[:, 8]),
    )
    return ProgramRun(
        arrival_s=np.array([q.arrival_s for q in queries]),
        finish_s=np.array([q.finish_s for q in queries]),
        answers=np.array([NO_ANSWER if q.answer is None else q.answer for q in queries], dtype=np.int64),
        calls=np.array([q.calls for q in queries], dtype=np.int64),
        prompt_tokens=np.array([q.prompt_tokens for q in queries], dtype=np.int64),
        tokens=np.array([q.tokens for q in queries], dtype=np.int64),
        late=np.array([q.over for q in queries]),
        run=run,
        query=counts[:, 0],
        pool=counts[:, 1],
        pools=log.pools,
        left_s=times[:, 3],
    )
