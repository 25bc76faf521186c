"""Simulate a trace on a fleet of engines, and what came of every request."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from foretell.models import StepCost
from foretell.sim.cluster import Calls, drive
from foretell.sim.config import EngineConfig
from foretell.sim.engine import Batch, OnStep
from foretell.sim.engines import AnyEngine, make_engine
from foretell.sim.pauses import paused
from foretell.sim.request import FINISHED, REJECTED, Request
from foretell.sim.routers import Router, make_router
from foretell.sim.stats import EngineStats
from foretell.traces import Trace

if TYPE_CHECKING:
    from foretell.sim.programs.run import ProgramRun
    from foretell.sim.twopools import Handovers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
OnReplicaStep = Callable[[int, int, float, float, Batch], None]
"""Called for every step with (replica, number, start_s, end_s, batch)."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of every request of a trace, by row, and the totals of every engine.

    Attributes:
        arrival_s: when it reached its engine; for a turn of a session or a row of a closed loop that
            is when it was asked.
        first_token_s, finish_s: NaN where they did not happen.
        prompt_tokens, output_tokens: lengths, the answer as far as max_model_len allowed.
        n_preemptions, cached_tokens: as in `Request`.
        replica: index of the engine; -1 if it was never asked.
        status: 0 finished, 1 cancelled, 2 rejected.
        engines: totals by replica.
        itl: (gap_s, count) of the gaps between successive tokens, if recorded.
        loads: by replica what its steps carried, if recorded: a row a run of steps that decode alike,
            (start_s, end_s, how many, the seven figures of the first one's `StepLoad`).
        trace: the workload.
        kv_blocks: by replica, for every row of its loads, the KV blocks in use on average.
        pauses: by replica, with its loads, who was preempted and when it went on; see `foretell.sim.pauses`.
        scheduled_s: when the first step that carried it started; NaN where none did.
        handovers: how KV caches passed between engines, where prefill and decode are apart.
        queries: what came of the queries, where these are calls of programs.
    """

    arrival_s: Floats
    first_token_s: Floats
    finish_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    n_preemptions: Ints
    cached_tokens: Ints
    replica: Ints
    status: npt.NDArray[np.int8]
    engines: tuple[EngineStats, ...]
    itl: tuple[Floats, Ints] | None = field(default=None, repr=False)
    trace: Trace | None = field(default=None, repr=False)
    loads: tuple[Floats, ...] | None = field(default=None, repr=False)
    kv_blocks: tuple[Floats, ...] | None = field(default=None, repr=False)
    pauses: tuple[Floats, ...] | None = field(default=None, repr=False)
    scheduled_s: Floats | None = field(default=None, repr=False)
    handovers: Handovers | None = field(default=None, repr=False)
    queries: ProgramRun | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.arrival_s)

    def ids(self) -> Sequence[str]:
        """The requests' names."""
        return self.trace.ids() if self.trace is not None else [f"r{i}" for i in range(len(self))]

    def to_frame(self) -> Any:
        """Return a pandas DataFrame, one row a request, with the columns of requests.csv."""
        from foretell.sim.records import calls_frame

        return calls_frame(self)


def simulate(
    trace: Trace,
    cost: StepCost | Sequence[StepCost],
    config: EngineConfig | Sequence[EngineConfig],
    *,
    replicas: int | None = None,
    router: str | Callable[[np.random.Generator], Router] = "round_robin",
    seed: int | np.random.SeedSequence = 0,
    stop_token: bool = False,
    itl: bool = False,
    loads: bool = False,
    on_step: OnReplicaStep | None = None,
    progress: Callable[[int], None] | None = None,
) -> Run:
    """Run a trace on a fleet until every request has ended.

    Args:
        trace: the workload.
        cost: seconds of a step; a sequence gives one for each replica.
        config: engine settings; likewise.
        replicas: how many engines; by default as many as the longer sequence has, or one.
        router: see `foretell.sim.routers`.
        seed: for the router.
        stop_token: answers end by a stop token that asynchronous scheduling cannot foresee, as in
            production; False if by max_tokens, as with `ignore_eos` in benchmarks.
        itl: record the gaps between tokens.
        loads: record what every step carried.
        on_step: called for every step; costs time proportional to the batch.
        progress: called now and then with the number of requests that have ended.

    Raises:
        ValueError: an unknown router, or as many costs or settings as there are not replicas.
    """
    costs = list(cost) if isinstance(cost, Sequence) else [cost]
    configs = list(config) if isinstance(config, Sequence) else [config]
    n = replicas if replicas is not None else max(len(costs), len(configs))
    if n < 1:
        raise ValueError(f"replicas: {n} is not >= 1")
    for name, given in (("cost", costs), ("config", configs)):
        if len(given) not in (1, n):
            raise ValueError(f"{name}: {len(given)} given for {n} replicas; give one, or one for each")
    engines = [
        make_engine(
            configs[i % len(configs)],
            costs[i % len(costs)],
            record_itl=itl,
            record_loads=loads,
            on_step=None if on_step is None else step_teller(on_step, i),
        )
        for i in range(n)
    ]
    named = on_step is not None or any(e.priority for e in engines)
    rows = len(trace)
    nan = float("nan")
    arrival = array("d", trace.arrival_s.tobytes())
    first = array("d", [nan]) * rows
    scheduled = array("d", [nan]) * rows
    finish = array("d", [nan]) * rows
    output = array("q", trace.output_tokens.tobytes())
    preemptions = array("q", [0]) * rows
    cached = array("q", [0]) * rows
    replica = array("q", [-1]) * rows
    status = array("b", [0]) * rows
    ended = 0

    def record(request: Request, i: int) -> None:
        nonlocal ended
        row = request.row
        arrival[row] = request.arrival_s
        scheduled[row] = request.scheduled_s
        replica[row] = i
        if request.state == FINISHED:
            first[row] = request.first_token_s or 0.0
            finish[row] = request.finish_s or 0.0
            output[row] = request.total - request.prompt_tokens
            if request.cached_tokens:
                cached[row] = request.cached_tokens
            if request.n_preemptions:
                preemptions[row] = request.n_preemptions
        else:
            output[row] = 0
            status[row] = 2 if request.state == REJECTED else 1
        ended += 1
        if progress is not None and not ended % 1024:
            progress(ended)

    calls = Calls(trace, name=named, stop_token=stop_token)
    drive(calls, engines, make_router(router, np.random.default_rng(seed)), record)
    if progress is not None:
        progress(ended)
    gaps = None
    if itl:
        gaps = (
            np.concatenate([np.asarray(e.itl_s, dtype=np.float64) for e in engines]),
            np.concatenate([np.asarray(e.itl_n, dtype=np.int64) for e in engines]),
        )
    return Run(
        arrival_s=np.asarray(arrival),
        first_token_s=np.asarray(first),
        finish_s=np.asarray(finish),
        prompt_tokens=trace.prompt_tokens,
        output_tokens=np.asarray(output),
        n_preemptions=np.asarray(preemptions),
        cached_tokens=np.asarray(cached),
        replica=np.asarray(replica),
        status=np.asarray(status),
        engines=tuple(e.stats for e in engines),
        itl=gaps,
        trace=trace,
        scheduled_s=np.asarray(scheduled),
        **recorded_loads(engines if loads else ()),
    )


def recorded_loads(engines: Sequence[AnyEngine], numbers: Ints | None = None) -> dict[str, Any]:
    """Fields `loads`, `kv_blocks` and `pauses` of a `Run`, of engines that recorded them; none of none.

    `numbers`: what requests are called there, by row, where these are not the rows.
    """
    if not engines:
        return {}
    rows = [np.asarray(e.loads, dtype=np.float64).reshape(-1, 11) for e in engines]
    return {
        "loads": tuple(r[:, :10] for r in rows),
        "kv_blocks": tuple(r[:, 10] for r in rows),
        "pauses": tuple(paused(e.pauses, numbers) for e in engines),
    }


def step_teller(on_step: OnReplicaStep, replica: int) -> OnStep:
    """Tell `on_step` of the steps of one replica."""

    def tell(step: int, start: float, end: float, batch: Batch) -> None:
        on_step(replica, step, start, end, batch)

    return tell
