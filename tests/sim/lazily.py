"""The lazy engine, run on the naive engine's input and answering in its terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from foretell.models import StepCost
from foretell.sim.config import EngineConfig
from foretell.sim.engine import Batch
from foretell.sim.request import Request
from foretell.sim.serve import serve
from naive import Call, NaiveRun, Step


def lazy_simulate(
    calls: Sequence[Call],
    config: EngineConfig,
    cost: StepCost,
    cancels: Mapping[str, float] | None = None,
) -> NaiveRun:
    """Serve the calls with foretell's engine. Blocks used and loads of the steps are left at nought."""
    run = NaiveRun()
    requests = {
        call.id: Request(
            call.id,
            call.arrival_s,
            call.prompt_tokens,
            call.output_tokens,
            priority=call.priority,
            segments=call.segments,
            stop_token=call.stop_token,
        )
        for call in calls
    }

    def on_step(step: int, start_s: float, end_s: float, batch: Batch) -> None:
        assert step == len(run.steps), "steps come in order"
        rows = [(request.id, scheduled, computed) for request, scheduled, computed in batch]
        run.steps.append(Step(start_s, end_s, rows))

    in_order = sorted(requests.values(), key=lambda request: request.arrival_s)
    give_ups = [(requests[id], at_s) for id, at_s in (cancels or {}).items()]
    serve(in_order, config, cost, cancels=give_ups, on_step=on_step)
    for id, request in requests.items():
        run.status[id] = request.status
        run.n_preemptions[id] = request.n_preemptions
        run.cached_tokens[id] = max(0, request.cached_tokens)
        if request.first_token_s is not None:
            run.first_token_s[id] = request.first_token_s
        if request.finish_s is not None:
            run.finish_s[id] = request.finish_s
    return run


def difference(expected: NaiveRun, actual: NaiveRun) -> str:
    """The first thing in which two runs differ, or ''."""
    for n in range(max(len(expected.steps), len(actual.steps))):
        ours = actual.steps[n] if n < len(actual.steps) else None
        theirs = expected.steps[n] if n < len(expected.steps) else None
        if ours is None or theirs is None or ours.times_and_batch != theirs.times_and_batch:
            return f"step {n}:\n  expected {theirs}\n  got      {ours}"
    for what in ("status", "first_token_s", "finish_s", "n_preemptions", "cached_tokens"):
        of_expected, of_actual = getattr(expected, what), getattr(actual, what)
        for id in sorted({*of_expected, *of_actual}):
            if of_expected.get(id) != of_actual.get(id):
                return f"{what} of {id}: expected {of_expected.get(id)}, got {of_actual.get(id)}"
    return ""
