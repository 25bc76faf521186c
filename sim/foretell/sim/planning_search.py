"""The search of a plan: the cheapest deployments that the closed form finds to meet every objective.

Best first: layouts come in the order of the least rent that their bounds allow. Of each, the fewest replicas
that hold are found by bisection, as latencies fall and rents rise with them. It ends where the next bound is
dearer than all that are kept, so that nothing cheaper is left out.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

import numpy as np

from foretell.sim.objectives import objectives_from_mapping
from foretell.sim.planning import Candidate, Expected, Shortlist, conditions, expect, figures_of, judged
from foretell.sim.planning_bounds import Bounds, bounds_of, reason_of
from foretell.sim.planning_demand import Demand, demand_of
from foretell.sim.planning_known import Known
from foretell.sim.planning_space import Arrangement, PoolSpace, arrangements
from foretell.sim.planning_spec import PlanSpec, plan_spec
from foretell.sim.scenario import Scenario

DEARER = "dearer"
"""The reason of layouts that may hold, but for more than those that are kept."""
_RISING = ("money", "rent", "energy", "power")
_CONSTANT = ("accuracy", "tokens_per_query", "calls_per_query")
_LOOKED = 32
Rent = tuple[float, int]


@dataclass(frozen=True, slots=True)
class _Ranked:
    """The usable layouts of a pool, those first that may be cheapest.

    Attributes:
        space: of the pool.
        layout, least: places in the space, and the fewest replicas.
        unit: rent of a replica.
        short: layouts that cannot do, by reason.
        bounds: of every chassis.

    """

    space: PoolSpace
    layout: tuple[int, ...]
    least: tuple[int, ...]
    unit: tuple[Rent, ...]
    short: Counter[str]
    bounds: tuple[Bounds, ...]

    def fewest(self, layout: int) -> int:
        """The fewest replicas of a layout by its bounds, usable or not."""
        return int(
            self.bounds[layout // len(self.space.settings)].replicas[layout % len(self.space.settings)]
        )

    def shown(self, asked: Collection[str]) -> Iterator[int]:
        """A layout of each chassis: one that may do, else one that only misses what is asked."""
        many = len(self.space.settings)
        for frame, bounds in enumerate(self.bounds):
            fits = [i for i, fault in enumerate(bounds.fault) if fault in asked or fault in ("", "replicas")]
            if fits:
                yield frame * many + min(fits, key=lambda i: bounds.fault[i] != "")

    def rent(self, place: int) -> Rent:
        """The least that a layout may cost."""
        usd, accelerators = self.unit[place]
        return usd * self.least[place], accelerators * self.least[place]


def search(
    scenario: Scenario, *, wanted: int = 8, progress: Callable[[int], None] | None = None
) -> Shortlist:
    """Find the cheapest candidates of a scenario's `plan` that meet every objective by closed form.

    Exact with respect to `expect`, given that its figures rise or fall with the replicas as they should.

    Args:
        scenario: with a section `plan`, and objectives.
        wanted: kinds of deployments to find at most.
        progress: called now and then with the number of forecasts made.

    Raises:
        ValueError: the section is malformed, or the workload has no closed form.

    """
    spec = plan_spec(scenario)
    found = arrangements(scenario, spec)
    known = Known()
    demand = demand_of(scenario, spec, known)
    state = _Search(scenario, spec, demand, known, wanted, progress)
    ranked = [_ranked(arrangement, demand, known) for arrangement in found]
    for arrangement, pools in zip(found, ranked, strict=True):
        state.count(arrangement, pools)
    if not demand.hopeless:
        for index, places in _walk(ranked, state):
            state.consider(found[index], ranked[index], places)
    best = sorted(state.kept.values(), key=lambda kept: kept.order)[:wanted]
    state.short[DEARER] += len(state.kept) - len(best)
    size = sum(arrangement.size for arrangement in found)
    nearest = () if best else tuple(state.nearest(found, ranked))
    return Shortlist(
        tuple(kept.expected for kept in best),
        size,
        size - state.tried,
        known.made,
        {reason: many for reason, many in state.short.items() if many},
        nearest,
    )


def _ranked(arrangement: Arrangement, demand: Demand, known: Known) -> tuple[_Ranked, ...]:
    return tuple(
        _rank(space, [bounds_of(space, i, demand.of(role), known) for i in range(len(space.chassis))])
        for space, role in zip(arrangement.pools, arrangement.roles, strict=True)
    )


def _rank(space: PoolSpace, bounds: Sequence[Bounds]) -> _Ranked:
    many = len(space.settings)
    least = np.concatenate([each.replicas for each in bounds])
    usd = np.repeat([each.usd_per_h for each in bounds], many)
    accelerators = np.repeat([each.accelerators for each in bounds], many)
    faults = [fault for each in bounds for fault in each.fault]
    usable = np.flatnonzero([not fault for fault in faults])
    order = usable[np.lexsort((usable, (accelerators * least)[usable], (usd * least)[usable]))]
    return _Ranked(
        space,
        tuple(order.tolist()),
        tuple(least[order].tolist()),
        tuple(zip(usd[order].tolist(), accelerators[order].tolist(), strict=True)),
        Counter(fault for fault in faults if fault),
        tuple(bounds),
    )


def _walk(ranked: Sequence[tuple[_Ranked, ...]], state: _Search) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Layouts of all arrangements by the least rent they may have, until the next is too dear."""
    heap: list[tuple[Rent, int, tuple[int, ...]]] = []

    def push(index: int, places: tuple[int, ...]) -> None:
        pools = ranked[index]
        if all(place < len(pool.layout) for place, pool in zip(places, pools, strict=True)):
            rents = [pool.rent(place) for place, pool in zip(places, pools, strict=True)]
            heapq.heappush(heap, ((sum(r[0] for r in rents), sum(r[1] for r in rents)), index, places))

    for index, pools in enumerate(ranked):
        push(index, (0,) * len(pools))
    while heap:
        rent, index, places = heapq.heappop(heap)
        if rent > state.dearest:
            left = sum(math.prod(len(p.layout) for p in pools) for pools in ranked) - state.seen
            state.short[DEARER] += left
            return
        state.seen += 1
        yield index, places
        last = max((i for i, place in enumerate(places) if place), default=0)
        for i in range(last, len(places)):
            push(index, (*places[:i], places[i] + 1, *places[i + 1 :]))


@dataclass(frozen=True, slots=True)
class _Kept:
    """A candidate that meets everything, and its rank among such."""

    order: tuple[Any, ...]
    expected: Expected


@dataclass(slots=True)
class _Search:
    """What is known on the way."""

    scenario: Scenario
    spec: PlanSpec
    demand: Demand
    known: Known
    wanted: int
    progress: Callable[[int], None] | None
    kept: dict[Any, _Kept] = field(default_factory=dict)
    short: Counter[str] = field(default_factory=Counter)
    missed: list[Expected] = field(default_factory=list)
    hopeless: dict[Any, str] = field(default_factory=dict)
    seen: int = 0
    tried: int = 0
    dearest: Rent = (math.inf, 2**62)

    @property
    def within(self) -> Rent:
        """The rent that the objectives allow."""
        return self.demand.most_usd_per_h, 2**62

    def count(self, arrangement: Arrangement, pools: Sequence[_Ranked]) -> None:
        """Add up the layouts that bounds drop, by reason."""
        if self.demand.hopeless:
            self.short[self.demand.hopeless] += arrangement.layouts
            return
        left = arrangement.layouts
        for pool in pools:
            for reason, many in pool.short.items():
                self.short[reason] += many * left // pool.space.layouts
            left = left // pool.space.layouts * len(pool.layout)

    def consider(self, arrangement: Arrangement, pools: tuple[_Ranked, ...], places: tuple[int, ...]) -> None:
        """Find a layout's cheapest replicas, and keep it if it belongs among the best."""
        trial = _Trial(self, arrangement, pools, places)
        kind = arrangement.kind(trial.layouts)
        mine = self.kept.get(kind)
        ceiling = self.dearest if mine is None else min(mine.expected.rent, self.dearest)
        if trial.least_rent > ceiling:
            self.short[DEARER] += 1
            return
        self.tried += math.prod(len(pool.space.replicas) for pool in pools)
        self.known.figures.clear()
        reason = self.hopeless.get(trial.constants, "")
        try:
            counts = None if reason else trial.cheapest(ceiling)
            reason = reason or trial.reason
            found = None if counts is None else expect(trial.candidate(counts), self.known)
        except ValueError as error:
            self.short[reason_of(str(error))] += 1
            return
        if self.progress is not None:
            self.progress(self.known.made)
        if found is None or not found.met:
            self.short[reason or _binding(found)] += 1
            if found is not None and not self.kept:
                self.missed.append(found)
            return
        kept = _Kept((*found.rent, -found.margin, self.seen), found)
        if mine is not None:
            self.short[DEARER if found.rent != mine.expected.rent else "margin"] += 1
        if mine is None or kept.order < mine.order:
            self.kept[kind] = kept
            rents = sorted(each.expected.rent for each in self.kept.values())
            if len(rents) >= self.wanted:
                self.dearest = rents[self.wanted - 1]

    def nearest(self, found: Sequence[Arrangement], ranked: Sequence[tuple[_Ranked, ...]]) -> list[Expected]:
        """Where none meets everything: those that miss least, of a layout a kind with some replicas to spare.

        A look at some of what was left out, not a search.
        """
        asked = {objective.name for objective in objectives_from_mapping(self.scenario.objectives)}
        told: dict[Any, Expected] = {repr(each.candidate.changes): each for each in self.missed}
        for arrangement, pools in zip(found, ranked, strict=True):
            for layouts in islice(product(*(pool.shown(asked) for pool in pools)), _LOOKED):
                counts = [
                    max(
                        n
                        for n in pool.space.replicas
                        if n <= max(2 * pool.fewest(layout), pool.space.replicas[0])
                    )
                    for pool, layout in zip(pools, layouts, strict=True)
                ]
                self.known.figures.clear()
                try:
                    candidate = arrangement.candidate(self.scenario, self.spec, layouts, counts)
                    told.setdefault(repr(candidate.changes), expect(candidate, self.known))
                except ValueError:
                    continue
        return sorted(told.values(), key=lambda each: -min(each.rooms.values()))[: self.wanted]


class _Trial:
    """A layout whose replicas are sought."""

    def __init__(
        self, search: _Search, arrangement: Arrangement, pools: tuple[_Ranked, ...], places: tuple[int, ...]
    ) -> None:
        self.search, self.arrangement, self.pools = search, arrangement, pools
        self.layouts = tuple(pool.layout[place] for pool, place in zip(pools, places, strict=True))
        self.least = tuple(pool.least[place] for pool, place in zip(pools, places, strict=True))
        self.units = tuple(pool.unit[place] for pool, place in zip(pools, places, strict=True))
        self.reason = ""
        objectives = objectives_from_mapping(search.scenario.objectives)
        self.falling = tuple(o for o in objectives if o.kind not in _RISING)

    @property
    def constants(self) -> Any:
        """What decides the figures that hardware does not change."""
        pools = [
            pool.space.chassis[layout // len(pool.space.settings)].pool
            for pool, layout in zip(self.pools, self.layouts, strict=True)
        ]
        return repr(self.arrangement.strategy), tuple((p.model, p.outcomes) for p in pools if p is not None)

    @property
    def least_rent(self) -> Rent:
        """By the bounds."""
        return self.rent(self.least)

    def rent(self, counts: tuple[int, ...]) -> Rent:
        """Of so many replicas."""
        return (
            sum(unit[0] * count for unit, count in zip(self.units, counts, strict=True)),
            sum(unit[1] * count for unit, count in zip(self.units, counts, strict=True)),
        )

    def candidate(self, counts: tuple[int, ...]) -> Candidate:
        """With so many replicas."""
        return self.arrangement.candidate(self.search.scenario, self.search.spec, self.layouts, counts)

    def holds(self, counts: tuple[int, ...]) -> bool:
        """Whether all holds that more replicas help, in the hardest case and so in the others."""
        cases = list(conditions(self.candidate(counts)))
        for _, scenario in (*cases[1:], cases[0]):
            if scenario is None:
                self.reason = "spare"
                return False
            missed, rooms = judged(self.falling, figures_of(scenario, self.search.known)[0])
            if missed:
                self.reason = min(rooms, key=lambda name: rooms[name])
                constant = [name for name in _CONSTANT if rooms.get(name, 0.0) < 0]
                if constant:
                    self.search.hopeless[self.constants] = constant[0]
                return False
        return True

    def cheapest(self, ceiling: Rent) -> tuple[int, ...] | None:
        """The cheapest replicas that hold and cost no more than the ceiling."""
        if len(self.pools) == 1:
            count = self._fewest(0, self.least, ceiling)
            return None if count is None else (count,)
        return self._staircase(ceiling)

    def allowed(self, pool: int, counts: tuple[int, ...], ceiling: Rent) -> list[int]:
        """Replicas of a pool, from the fewest it may have to the most that the rent allows."""
        return [
            each
            for each in self.pools[pool].space.replicas
            if each >= counts[pool] and self.rent((*counts[:pool], each, *counts[pool + 1 :])) <= ceiling
        ]

    def _fewest(self, pool: int, counts: tuple[int, ...], ceiling: Rent) -> int | None:
        """The fewest replicas of a pool that hold beside so many of the others."""

        def fine(place: int) -> bool:
            return self.holds((*counts[:pool], allowed[place], *counts[pool + 1 :]))

        within = self.allowed(pool, counts, self.search.within)
        allowed = self.allowed(pool, counts, min(ceiling, self.search.within))
        if not allowed:
            self.reason = DEARER if within else self.search.demand.money
            return None
        low, high = 0, len(allowed) - 1
        if len(allowed) < len(within) or high < 2:
            if not fine(high):
                self.reason = DEARER if len(allowed) < len(within) else self.reason
                return None
        elif not fine(high):  # nor do fewer
            return None
        else:
            step, high = 1, 0
            while not fine(high):
                low, high, step = high + 1, min(high + step, len(allowed) - 1), 2 * step
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if fine(middle) else (middle + 1, high)
        self.reason = ""
        return allowed[high]

    def _staircase(self, ceiling: Rent) -> tuple[int, ...] | None:
        """Of two pools: for every number of the first, the fewest of the second, until that is dearer."""
        best: tuple[int, ...] | None = None
        for first in self.allowed(0, self.least, ceiling):
            if self.rent((first, *self.least[1:])) > ceiling:
                break
            second = self._fewest(1, (first, *self.least[1:]), ceiling)
            if (
                second is not None
                and self.rent((first, second)) <= ceiling
                and (best is None or self.rent((first, second)) < self.rent(best))
            ):
                best, ceiling = (first, second), self.rent((first, second))
        return best


def _binding(found: Expected | None) -> str:
    return DEARER if found is None else found.binds
