"""Candidates of a capacity plan, and what the closed form expects of one: does it hold, and at what rent?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from foretell.sim.forecasting import why_missing
from foretell.sim.objectives import FIGURES, Objective, objectives_from_mapping, room_of
from foretell.sim.planning_known import Forecast, Known
from foretell.sim.planning_rent import accelerators_of
from foretell.sim.planning_spec import PlanSpec, plan_spec
from foretell.sim.scenario import Pool, Scenario

MONEY = tuple(name for name, (_, kind, _) in FIGURES.items() if kind in ("money", "rent"))
__all__ = ["Candidate", "Expected", "PlanSpec", "Shortlist", "expect", "plan_spec"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One deployment that a plan may choose.

    Attributes:
        changes: its values by field path.
        scenario: the whole of it, without plan, compare and sweep.
        headroom, spare: what it must hold out, as in `PlanSpec`.

    """

    changes: Mapping[str, Any]
    scenario: Scenario
    headroom: float = 0.0
    spare: int = 0


@dataclass(frozen=True, slots=True)
class Expected:
    """What the closed form says of a candidate.

    Attributes:
        candidate: of whom.
        figures: at the scenario's own traffic with all replicas, by the names of a forecast's summary;
            besides load and capacity_rps.
        usd_per_h: rent of all, infinite where a price is not known.
        met: whether every objective that has a closed form holds, at more traffic and with replicas lost too.
        missed: the objectives that do not, with what was found and when.
        rooms: by objective, the least room to its limit over all conditions, as a share of the limit; below 0
            where it is missed. "load" stands for keeping up.
        method, notes: as in `Analysis`.

    """

    candidate: Candidate
    figures: Mapping[str, float]
    usd_per_h: float
    met: bool
    missed: tuple[str, ...]
    rooms: Mapping[str, float]
    method: str
    notes: tuple[str, ...]

    @property
    def margin(self) -> float:
        """Room of the objective that binds; money, which is what a plan saves, does not count."""
        return min((room for name, room in self.rooms.items() if name not in MONEY), default=math.inf)

    @property
    def binds(self) -> str:
        """The objective with the least room; empty where simulation alone judges."""
        return min(self.rooms, key=lambda name: self.rooms[name], default="")

    @property
    def rent(self) -> tuple[float, int]:
        """What a plan saves: rent [USD/h], and accelerators where that is alike or unknown."""
        return self.usd_per_h, accelerators_of(self.candidate.scenario)


@dataclass(frozen=True, slots=True)
class Shortlist:
    """What a search found.

    Attributes:
        best: the cheapest that meet everything, cheapest first, one a kind: all fields but the replicas and
            the settings of engines, of which those with the largest margin are taken (where nothing but
            settings is varied, each of them is a kind).
        space: candidates in all.
        bounded: how many of them were dropped by bounds alone.
        analysed: full closed-form forecasts made.
        short: layouts dropped, by reason.
        sampled: layouts drawn, where the space was too large to go through; 0 where it was not.

    """

    best: tuple[Expected, ...]
    space: int
    bounded: int
    analysed: int
    short: Mapping[str, int]
    sampled: int = 0


def expect(candidate: Candidate, known: Known | None = None) -> Expected:
    """Forecast a candidate by the queueing models, as it is, with more traffic, and with replicas lost.

    Args:
        candidate: whom.
        known: what it has in common with others that were asked before.

    Raises:
        ValueError: it cannot be deployed, or has no closed form.

    """
    objectives = objectives_from_mapping(candidate.scenario.objectives)
    figures: Mapping[str, float] = {}
    missed: list[str] = []
    rooms: dict[str, float] = {}
    method = ""
    notes: tuple[str, ...] = ()
    for when, scenario in conditions(candidate):
        if scenario is None:
            missed.append(f"{when}: no replica is left")
            rooms["load"] = -1.0
            continue
        found, how, remarks = figures_of(scenario, known)
        if not method:
            figures, method, notes = found, how, remarks
        faults, room = judged(objectives, found)
        missed += [f"{when}: {fault}" if when else fault for fault in faults]
        rooms = {name: min(value, rooms.get(name, value)) for name, value in {**rooms, **room}.items()}
    usd = figures.get("usd_per_h", math.inf)
    return Expected(candidate, figures, usd, not missed, tuple(missed), rooms, method, notes)


def conditions(candidate: Candidate) -> Iterator[tuple[str, Scenario | None]]:
    """What a candidate must hold out: the scenario of each case, None where no replica is left."""
    scenario = candidate.scenario
    yield "", scenario
    if candidate.headroom > 0:
        yield f"at +{100 * candidate.headroom:.6g} % traffic", busier(scenario, 1 + candidate.headroom)
    if candidate.spare > 0:
        for name, pool in scenario.pools.items():
            for left in _without(pool, candidate.spare):
                when = f"with {candidate.spare} of {name} lost"
                yield when, None if left is None else _with_pool(scenario, name, left)


def busier(scenario: Scenario, factor: float) -> Scenario:
    """The same with so many times the traffic."""
    workload = scenario.workload
    return replace(scenario, workload=replace(workload, rate_scale=workload.rate_scale * factor))


def figures_of(scenario: Scenario, known: Known | None = None) -> Forecast:
    """Figures, method and notes of a scenario in closed form.

    Raises:
        ValueError: it cannot be deployed, or has no closed form.

    """
    if known is None:
        return _forecast(scenario, None)
    return known.forecast(scenario, lambda: _forecast(scenario, known))


def _forecast(scenario: Scenario, known: Known | None) -> Forecast:
    from foretell.sim.analytic import analyse

    if known is None or scenario.workload.task is not None:
        found = analyse(scenario)
    else:
        found = analyse(scenario, known.load(scenario.workload), known.deployment(scenario))
    return found.figures, found.method, found.notes


def left_out(objective: Objective, figures: Mapping[str, float]) -> bool:
    """Whether an objective has no closed form, so that simulation judges it; none knows a missing price."""
    return objective.key not in figures and not why_missing(objective.key, figures)


def judged(
    objectives: tuple[Objective, ...], figures: Mapping[str, float]
) -> tuple[list[str], dict[str, float]]:
    """Objectives that figures miss, in words, and the room of each to its limit as a share of it.

    Those that have no closed form (`left_out`) are for the simulation to judge.
    """
    missed: list[str] = []
    rooms: dict[str, float] = {}
    load = figures.get("load", math.nan)
    if not load < 1:
        missed.append(f"overloaded: {load:.0%} of the capacity")
        rooms["load"] = 1 - load if load == load else -1.0
    for objective in objectives:
        if left_out(objective, figures):
            continue
        value = figures.get(objective.key, math.nan)
        if not objective.met(value) and not (load >= 1 and not math.isfinite(value)):
            why = why_missing(objective.key, figures)
            missed.append(f"{objective}: {why or objective.show(value)}")
        rooms[objective.name] = max(room_of(objective, value), -1.0)
    return missed, rooms


def _without(pool: Pool, lost: int) -> Iterator[Pool | None]:
    """The pool with so many replicas fewer, of each kind of them in turn."""
    if isinstance(pool.replicas, int):
        yield replace(pool, replicas=pool.replicas - lost) if pool.replicas > lost else None
        return
    for i, group in enumerate(pool.replicas):
        left = (replace(group, count=group.count - lost),) if group.count > lost else ()
        rest = pool.replicas[:i] + left + pool.replicas[i + 1 :]
        yield replace(pool, replicas=rest) if rest else None


def _with_pool(scenario: Scenario, name: str, pool: Pool) -> Scenario:
    return replace(scenario, pools={**scenario.pools, name: pool})
