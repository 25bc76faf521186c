"""The search of a plan: the cheapest deployments that the closed form finds to meet every objective.

Best first: layouts come in the order of the least rent that their bounds allow. Of each, the fewest replicas
that hold are found by bisection, as latencies fall and rents rise with them. It ends where the next bound is
dearer than all that are kept, so that nothing cheaper is left out.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from foretell.sim.planning import Expected, Shortlist, expect
from foretell.sim.planning_bounds import reason_of
from foretell.sim.planning_demand import demand_of
from foretell.sim.planning_known import Known
from foretell.sim.planning_ranked import Ranked, Rent, ranked
from foretell.sim.planning_replicas import DEARER, Question, Sizing
from foretell.sim.planning_space import Arrangement, arrangements
from foretell.sim.planning_spec import PlanSpec, is_large, plan_spec
from foretell.sim.scenario import Scenario


def search(
    scenario: Scenario, *, wanted: int = 8, progress: Callable[[int], None] | None = None
) -> Shortlist:
    """Find the cheapest candidates of a scenario's `plan` that meet every objective by closed form.

    Exact with respect to `expect`, given that its figures rise or fall with the replicas as they should; but
    of a space that is too large to go through (`is_large`), a sample is searched.

    Args:
        scenario: with a section `plan`, and objectives.
        wanted: kinds of deployments to find at most.
        progress: called now and then with the number of forecasts made.

    Raises:
        ValueError: the section is malformed, the workload has no closed form, or the space is large and
            Optuna is not installed.

    """
    spec = plan_spec(scenario)
    if is_large(spec):
        from foretell.sim.planning_sampled import sampled

        return sampled(scenario, spec, wanted, progress)
    return enumerated(scenario, spec, wanted, progress, Known())


def enumerated(
    scenario: Scenario, spec: PlanSpec, wanted: int, progress: Callable[[int], None] | None, known: Known
) -> Shortlist:
    """Search all of a space."""
    found = arrangements(scenario, spec)
    demand = demand_of(scenario, spec, known)
    state = _Search(Question(scenario, spec, demand, known), wanted, progress)
    pools = [ranked(arrangement, demand, known) for arrangement in found]
    for arrangement, its in zip(found, pools, strict=True):
        state.count(arrangement, its)
    if not demand.hopeless:
        for index, places in _walk(pools, state):
            state.consider(found[index], pools[index], places)
    best = sorted(state.kept.values(), key=lambda kept: kept.order)[:wanted]
    state.short[DEARER] += len(state.kept) - len(best)
    size = sum(arrangement.size for arrangement in found)
    return Shortlist(
        tuple(kept.expected for kept in best),
        size,
        size - state.tried,
        known.made,
        {reason: many for reason, many in state.short.items() if many},
    )


def _walk(ranked: Sequence[tuple[Ranked, ...]], state: _Search) -> Iterator[tuple[int, tuple[int, ...]]]:
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

    question: Question
    wanted: int
    progress: Callable[[int], None] | None
    kept: dict[Any, _Kept] = field(default_factory=dict)
    short: Counter[str] = field(default_factory=Counter)
    seen: int = 0
    tried: int = 0
    dearest: Rent = (math.inf, 2**62)

    def count(self, arrangement: Arrangement, pools: Sequence[Ranked]) -> None:
        """Add up the layouts that bounds drop, by reason."""
        if self.question.demand.hopeless:
            self.short[self.question.demand.hopeless] += arrangement.layouts
            return
        left = arrangement.layouts
        for pool in pools:
            for reason, many in pool.short.items():
                self.short[reason] += many * left // pool.space.layouts
            left = left // pool.space.layouts * len(pool.layout)

    def consider(self, arrangement: Arrangement, pools: tuple[Ranked, ...], places: tuple[int, ...]) -> None:
        """Find a layout's cheapest replicas, and keep it if it belongs among the best."""
        sizing = Sizing(self.question, arrangement, pools, places)
        kind = arrangement.kind(sizing.layouts)
        mine = self.kept.get(kind)
        ceiling = self.dearest if mine is None else min(mine.expected.rent, self.dearest)
        if sizing.least_rent > ceiling:
            self.short[DEARER] += 1
            return
        self.tried += math.prod(len(pool.space.replicas) for pool in pools)
        self.question.known.figures.clear()
        reason = self.question.hopeless.get(sizing.constants, "")
        try:
            counts = [] if reason else sizing.cheapest(ceiling)
            reason = reason or sizing.reason
            expected = [expect(sizing.candidate(each), self.question.known) for each in counts]
            found = max(expected, key=lambda each: (each.met, each.margin), default=None)
        except ValueError as error:
            self.short[reason_of(str(error))] += 1
            return
        if self.progress is not None:
            self.progress(self.question.known.made)
        if found is None or not found.met:
            self.short[reason or _binding(found)] += 1
            return
        kept = _Kept((*found.rent, -found.margin, self.seen), found)
        if mine is not None:
            self.short[DEARER if found.rent != mine.expected.rent else "margin"] += 1
        if mine is None or kept.order < mine.order:
            self.kept[kind] = kept
            rents = sorted(each.expected.rent for each in self.kept.values())
            if len(rents) >= self.wanted:
                self.dearest = rents[self.wanted - 1]


def _binding(found: Expected | None) -> str:
    return DEARER if found is None else found.binds
