"""Drive one engine through a list of calls."""

from __future__ import annotations

import math
from collections.abc import Iterable

from foretell.models import StepCost
from foretell.sim.config import EngineConfig
from foretell.sim.engine import Engine, OnStep
from foretell.sim.request import CANCELLED, Request


def serve(
    requests: Iterable[Request],
    config: EngineConfig,
    cost: StepCost,
    *,
    cancels: Iterable[tuple[Request, float]] = (),
    on_step: OnStep | None = None,
) -> Engine:
    """Run one engine until all its calls have ended.

    Args:
        requests: in order of arrival; they join between steps, all that have arrived by then.
        config: the engine's settings.
        cost: seconds of a step.
        cancels: (request, time at which its client gives up); a request that has not arrived by then
            never does.
        on_step: see `foretell.sim.engine.Engine`.

    Returns:
        The engine, for its totals; the requests carry what became of them.

    """
    engine = Engine(config, cost, on_step=on_step)
    gone: set[int] = set()
    give_ups: list[tuple[Request, float]] = []
    for request, at in sorted(cancels, key=lambda c: c[1]):
        if at <= request.arrival_s:
            gone.add(id(request))
        else:
            give_ups.append((request, at))
    calls = iter(requests)
    leavers = iter(give_ups)
    call = next(calls, None)
    leaver = next(leavers, None)
    while call is not None or leaver is not None:
        arrives = call.arrival_s if call is not None else math.inf
        leaves = leaver[1] if leaver is not None else math.inf
        engine.horizon = min(arrives, leaves)
        engine.advance(engine.horizon)
        if call is not None and arrives <= leaves:
            if id(call) in gone:
                call.state = CANCELLED
            else:
                engine.submit(call)
            call = next(calls, None)
        elif leaver is not None:
            engine.cancel(*leaver)
            leaver = next(leavers, None)
    engine.horizon = math.inf
    engine.advance(math.inf)
    return engine
