"""Where the time of a run's steps went: compute, memory, communication, launches, the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from foretell.models import StepCost

if TYPE_CHECKING:
    from foretell.sim.simulation import Run

BOUNDS = ("compute", "memory", "communication", "launch", "host")
FIGURES = tuple(f"time_bound_by_{bound}" for bound in BOUNDS)


def bound_shares(run: Run, costs: Sequence[StepCost]) -> dict[str, float]:
    """Shares of all engines' busy time by what bounds it.

    Of an engine two steps stand for all: the mean one that computed prompts, and the mean one that only
    decoded; they are bound by different things, as the mean of both would not be.

    Args:
        run: the run.
        costs: the step cost of every engine.

    """
    seconds = dict.fromkeys(BOUNDS, 0.0)
    for stats, cost in zip(run.engines, costs, strict=True):
        for busy_s, load in stats.kinds():
            parts = cost.breakdown(*load)
            whole = sum(float(part) for part in parts.values())
            for bound in BOUNDS:
                seconds[bound] += busy_s * float(parts.get(bound, 0.0)) / whole
    busy = sum(seconds.values())
    return {
        figure: seconds[bound] / busy if busy > 0 else math.nan
        for figure, bound in zip(FIGURES, BOUNDS, strict=True)
    }
