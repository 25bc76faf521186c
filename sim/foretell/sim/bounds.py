"""Where the time of a run's steps went: compute, memory, communication, launches, the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from foretell.models import StepCost
from foretell.sim.power import mean_load

if TYPE_CHECKING:
    from foretell.sim.simulation import Run

BOUNDS = ("compute", "memory", "communication", "launch", "host")
FIGURES = tuple(f"time_bound_by_{bound}" for bound in BOUNDS)


def bound_shares(run: Run, costs: Sequence[StepCost]) -> dict[str, float]:
    """Shares of all engines' busy time by what bounds it, those of a step with an engine's mean load.

    Args:
        run: the run.
        costs: the step cost of every engine.

    """
    seconds = dict.fromkeys(BOUNDS, 0.0)
    for stats, cost in zip(run.engines, costs, strict=True):
        if stats.steps:
            parts = cost.breakdown(*mean_load(stats))
            whole = sum(float(part) for part in parts.values())
            for bound in BOUNDS:
                seconds[bound] += stats.busy_s * float(parts.get(bound, 0.0)) / whole
    busy = sum(seconds.values())
    return {
        figure: seconds[bound] / busy if busy > 0 else math.nan
        for figure, bound in zip(FIGURES, BOUNDS, strict=True)
    }
