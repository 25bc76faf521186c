"""What binds a deployment: the objective with the least room, and the limit of its engines next to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from foretell.sim.objectives import room_of
from foretell.sim.planning import MONEY
from foretell.sim.planning_trials import Trial

FULL = 0.7
"""Mean share of a limit of the engine from which on it is said to bind: its peaks reach it then."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What keeps a deployment from being smaller.

    Attributes:
        objective: with the least room to its limit, money apart; or "load", where the capacity is nearer: the
            highest stable rate by closed form. Empty without either.
        when: the condition under which that is so; empty as it is.
        room: as a share of the limit, below 0 where it is missed.
        limit: of the engine that it uses most: "kv_cache", "max_num_seqs" or "max_num_batched_tokens"; empty
            where no limit is used above `FULL`, and steps alone decide.
        used: mean share of that limit.
        time: what bounds most of the steps' time: "compute", "memory", "communication", "launch" or "host".

    """

    objective: str
    when: str
    room: float
    limit: str
    used: float
    time: str


def binding(trials: Mapping[str, Trial]) -> Binding:
    """Find what binds a deployment, from its simulations by condition."""
    rooms = [
        (room_of(verdict.objective, verdict.value), when, verdict.objective.name)
        for when, trial in trials.items()
        for verdict in trial.verdicts
        if verdict.objective.name not in MONEY
    ]
    loads = [(1 - trial.use["load"], when, "load") for when, trial in trials.items() if _has_load(trial)]
    room, when, objective = min([*rooms, *loads], default=(math.nan, "", ""))
    trial = trials.get(when) or next(iter(trials.values()))
    told = {name: share for name, share in trial.use.items() if name != "load" and math.isfinite(share)}
    limit = max(told, key=lambda name: told[name], default="")
    full = bool(limit) and told[limit] >= FULL
    used = told[limit] if limit else math.nan
    return Binding(objective, when, room, limit if full else "", used, trial.bound_by)


def _has_load(trial: Trial) -> bool:
    return math.isfinite(trial.use.get("load", math.nan))
