"""Drive one engine through a list of calls."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable
from itertools import count

from foretell.models import StepCost
from foretell.sim.config import EngineConfig
from foretell.sim.engine import OnStep
from foretell.sim.engines import AnyEngine, make_engine
from foretell.sim.request import CANCELLED, Request


def serve(
    requests: Iterable[Request],
    config: EngineConfig,
    cost: StepCost,
    *,
    on_step: OnStep | None = None,
) -> AnyEngine:
    """Run one engine until all its calls have ended.

    Args:
        requests: in order of arrival; they join between steps, all that have arrived by then, and
            leave at their `cancel_s`.
        config: the engine's settings.
        cost: seconds of a step.
        on_step: see `foretell.sim.engine.Engine`.

    Returns:
        The engine, for its totals; the requests carry what became of them.

    """
    engine = make_engine(config, cost, on_step=on_step)
    serve_on(engine, requests)
    return engine


def serve_on(
    engine: AnyEngine, requests: Iterable[Request], advance: Callable[[float], object] | None = None
) -> None:
    """The same on an engine that has been made; `advance` lets its time pass, in place of its own."""
    advance = advance or engine.advance
    calls = iter(requests)
    leaving: list[tuple[float, int, Request]] = []  # heap
    order = count()
    call = next(calls, None)
    while call is not None or leaving:
        arrives = call.arrival_s if call is not None else math.inf
        leaves = leaving[0][0] if leaving else math.inf
        engine.horizon = min(arrives, leaves)
        advance(engine.horizon)
        if call is None or leaves < arrives:
            engine.cancel(heapq.heappop(leaving)[-1], leaves)
            continue
        if call.cancel_s <= arrives:
            call.state = CANCELLED
        elif engine.submit(call) and call.cancel_s < math.inf:
            heapq.heappush(leaving, (call.cancel_s, next(order), call))
        call = next(calls, None)
    engine.horizon = math.inf
    advance(math.inf)
