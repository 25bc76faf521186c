"""What comes nearest where nothing that a plan may choose meets every objective by closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, product

from foretell.sim.objectives import objectives_from_mapping, room_of
from foretell.sim.planning import Candidate, Expected, expect, left_out
from foretell.sim.planning_known import Known
from foretell.sim.planning_rent import most_usd_per_h, pool_rent
from foretell.sim.planning_space import arrangements
from foretell.sim.planning_spec import PlanSpec, is_large, is_replicas
from foretell.sim.scenario import Scenario

_LOOKED_AT = 64
"""Layouts of a strategy that are looked at, evenly spread where there are more."""


def nearest_of(scenario: Scenario, spec: PlanSpec, wanted: int) -> tuple[tuple[Expected, ...], int]:
    """The candidates that miss least by closed form, with all the replicas that plan and budget allow.

    Besides, how many forecasts that took.
    """
    known = Known()
    found: list[Expected] = []
    for candidate in _roomiest(scenario, _thinned(spec)):
        try:
            found.append(expect(candidate, known))
        except ValueError:  # it cannot be deployed, or has no closed form
            continue
    objectives = objectives_from_mapping(scenario.objectives)

    def room(expected: Expected) -> float:
        figures = expected.figures
        judged = (o for o in objectives if not left_out(o, figures))
        return min((room_of(o, figures.get(o.key, math.nan)) for o in judged), default=0.0)

    return tuple(sorted(found, key=lambda each: (-room(each), each.rent))[:wanted]), known.made


def _thinned(spec: PlanSpec) -> PlanSpec:
    """Every other value of the longest lists, until all layouts can be laid out."""
    while is_large(spec):
        long = max((p for p in spec.fields if not is_replicas(p)), key=lambda p: len(spec.fields[p]))
        spec = replace(spec, fields={**spec.fields, long: spec.fields[long][::2]})
    return spec


def _roomiest(scenario: Scenario, spec: PlanSpec) -> Iterator[Candidate]:
    """A candidate a layout, with as many replicas as the plan and a budget allow."""
    most = most_usd_per_h(scenario)
    for arrangement in arrangements(scenario, spec):
        step = max(arrangement.layouts // _LOOKED_AT, 1)
        layouts = product(*(range(space.layouts) for space in arrangement.pools))
        for chosen in islice(layouts, 0, None, step):
            pairs = list(zip(arrangement.pools, chosen, strict=True))
            if any(space.chassis[i // len(space.settings)].pool is None for space, i in pairs):
                continue
            units = [pool_rent(space.pool(i)) for space, i in pairs]
            counts = _most(units, [space.replicas for space in arrangement.pools], most)
            try:
                yield arrangement.candidate(scenario, spec, chosen, counts)
            except ValueError:  # settings that contradict each other
                continue


def _most(units: Sequence[float], allowed: Sequence[Sequence[int]], usd_per_h: float) -> list[int]:
    """The most replicas for that rent: all of each pool, then fewer of the largest until it suffices."""
    places = [len(each) - 1 for each in allowed]

    def total() -> float:
        return sum(u * each[place] for u, each, place in zip(units, allowed, places, strict=True))

    while total() > usd_per_h and any(places):
        largest = max((i for i, place in enumerate(places) if place), key=lambda i: allowed[i][places[i]])
        places[largest] -= 1
    return [each[place] for each, place in zip(allowed, places, strict=True)]
