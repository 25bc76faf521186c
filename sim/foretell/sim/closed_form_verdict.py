"""Whether an objective is met, in closed form: by draws of what is not known for sure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from foretell.sim.forecasting import Verdict, chance, why_missing
from foretell.sim.intervals import Estimate, chance_below
from foretell.sim.objectives import Objective


def verdict(objective: Objective, summary: Mapping[str, Estimate]) -> Verdict:
    """Judge a figure and its draws; a draw that has none (NaN: it is overloaded) misses.

    Latencies have no greater a chance than the load has to stay below the capacity: of 8 draws none may be
    overloaded where one in 20 is, and a law that is fitted to their latencies then knows of no overload.

    Raises:
        ValueError: the closed form has no such figure, or nobody has: the accelerator has no price.

    """
    found = summary.get(objective.key)
    if found is None:
        if objective.key.startswith("usd") and (why := why_missing(objective.key, summary)):
            raise ValueError(f"objectives.{objective.name}: {why}")
        known = ", ".join(name for name in summary if not name.endswith("_s"))
        latencies = ", ".join(sorted({n.rpartition("_")[0] for n in summary if n.endswith("_mean_s")}))
        raise ValueError(
            f"objectives.{objective.name}: the closed form has no {objective.key}, but {latencies}, {known}; "
            "use --method simulate"
        )
    told = [value for value in found.values if not math.isnan(value)]
    met = objective.met(found.value)
    if len(found.values) < 2:
        return Verdict(objective, found.value, met, math.nan)
    if len(told) < 2:  # overloaded in nearly every draw
        return Verdict(objective, found.value, met, sum(map(objective.met, told)) / len(found.values))
    meets = chance(objective, told) * len(told) / len(found.values)
    if objective.kind == "time":
        meets = min(meets, _keeps_up(summary))
    return Verdict(objective, found.value, met, meets)


def _keeps_up(summary: Mapping[str, Estimate]) -> float:
    """Chance that what comes can be served, by the law of the load: few draws may miss overload by luck."""
    load = summary.get("load")
    if (
        load is None
        or any(math.isnan(value) for value in load.values)
        or min(load.values) == max(load.values)
    ):
        return 1.0
    return chance_below(load.values, 1.0)
