"""How a point is forecast: by simulation, or in closed form (programs by `estimate`, calls by `analytic`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from foretell.sim.comparing import Compared, estimated, simulated
from foretell.sim.comparing_grid import Cell
from foretell.sim.forecasting import Verdict
from foretell.sim.intervals import Estimate
from foretell.sim.objectives import objectives_from_mapping


def closed_form(cell: Cell) -> Compared:
    """Forecast a point in closed form, or say why not; without a task, figures have no interval."""
    if cell.scenario.workload.task is not None:
        return estimated(cell)
    from foretell.sim.analytic import analyse

    try:
        found = analyse(cell.scenario)
        verdicts = tuple(_verdicts(cell, found.figures))
    except ValueError as error:
        return Compared(cell, {}, reason=str(error))
    summary = {name: Estimate(value, math.nan, math.nan) for name, value in found.figures.items()}
    return Compared(cell, summary, verdicts, (f"by {found.method}", *found.notes))


def _verdicts(cell: Cell, figures: Mapping[str, float]) -> list[Verdict]:
    verdicts = []
    for objective in objectives_from_mapping(cell.scenario.objectives):
        if objective.key not in figures:
            raise ValueError(f"objectives.{objective.name}: has no closed form; use --method simulate")
        value = figures[objective.key]
        verdicts.append(Verdict(objective, value, objective.met(value), math.nan))
    return verdicts


METHOD: Mapping[str, Callable[[Cell], Compared]] = {"simulate": simulated, "closed_form": closed_form}
