"""Energy of a run: idle power between steps, and in them the power of what bounds the average step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from foretell.models import StepCost, StepLoad
from foretell.models.energy import power_model
from foretell.sim.metrics import span_s

if TYPE_CHECKING:
    from foretell.sim.deployment import EnginePart
    from foretell.sim.simulation import Run


def energy_J(run: Run, parts: Sequence[EnginePart], costs: Sequence[StepCost]) -> float | None:
    """Energy of all accelerators from the first arrival to the last finish; None if a power is unknown.

    Shares and utilisations are those of a step with the run's mean load: steps are not told apart, which
    overstates the power of a load that varies, by what the curve bends over its range.

    Args:
        run: the run.
        parts: the part of every engine of the run.
        costs: the step cost of every engine.

    """
    span, total = span_s(run), 0.0
    for stats, part, cost in zip(run.engines, parts, costs, strict=True):
        if part.hardware is None or part.hardware.accelerator.tdp_W is None:
            return None
        power = power_model(part.hardware.accelerator)
        joules = power.idle_W * max(span - stats.busy_s, 0.0)
        if stats.steps:
            load = mean_load(stats)
            work = None if part.work is None else part.work(*load)
            joules += stats.busy_s * float(power.power_W(cost.breakdown(*load), work))
        total += part.accelerators * joules
    return total


def mean_load(stats: Any) -> StepLoad:
    """Mean load of an engine's steps."""
    return StepLoad(*(figure / stats.steps for figure in stats.load))
