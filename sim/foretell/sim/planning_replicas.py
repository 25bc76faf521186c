"""The cheapest replicas of a layout: latencies fall and rents rise with them, so bisection finds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from foretell.sim.objectives import objectives_from_mapping
from foretell.sim.planning import Candidate, conditions, figures_of, judged
from foretell.sim.planning_demand import Demand
from foretell.sim.planning_known import Known
from foretell.sim.planning_ranked import Ranked, Rent
from foretell.sim.planning_space import Arrangement
from foretell.sim.planning_spec import PlanSpec
from foretell.sim.scenario import Scenario

DEARER = "dearer"
"""The reason of layouts that may hold, but for more than those that are kept."""
_RISING = ("money", "rent", "energy", "power")
_CONSTANT = ("accuracy", "tokens_per_query", "calls_per_query")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every layout.

    Attributes:
        scenario, spec, demand: what, as given and as bounds take it.
        known: what candidates have in common.
        hopeless: filled with the objectives that a strategy's models miss, whatever they run on.

    """

    scenario: Scenario
    spec: PlanSpec
    demand: Demand
    known: Known
    hopeless: dict[Any, str] = field(default_factory=dict)

    @property
    def within(self) -> Rent:
        """The rent that the objectives allow."""
        return self.demand.most_usd_per_h, 2**62


class Sizing:
    """A layout whose replicas are sought."""

    def __init__(
        self, question: Question, arrangement: Arrangement, pools: tuple[Ranked, ...], places: tuple[int, ...]
    ) -> None:
        self.question, self.arrangement, self.pools = question, arrangement, pools
        self.layouts = tuple(pool.layout[place] for pool, place in zip(pools, places, strict=True))
        self.least = tuple(pool.least[place] for pool, place in zip(pools, places, strict=True))
        self.units = tuple(pool.unit[place] for pool, place in zip(pools, places, strict=True))
        self.reason = ""
        objectives = objectives_from_mapping(question.scenario.objectives)
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
        return self.arrangement.candidate(self.question.scenario, self.question.spec, self.layouts, counts)

    def holds(self, counts: tuple[int, ...]) -> bool:
        """Whether all holds that more replicas help, in the hardest case and so in the others."""
        cases = list(conditions(self.candidate(counts)))
        for _, scenario in (*cases[1:], cases[0]):
            if scenario is None:
                self.reason = "spare"
                return False
            missed, rooms = judged(self.falling, figures_of(scenario, self.question.known)[0])
            if missed:
                self.reason = min(rooms, key=lambda name: rooms[name])
                constant = [name for name in _CONSTANT if rooms.get(name, 0.0) < 0]
                if constant:
                    self.question.hopeless[self.constants] = constant[0]
                return False
        return True

    def cheapest(self, ceiling: Rent) -> list[tuple[int, ...]]:
        """The cheapest replicas that hold within the ceiling: several, where they cost alike."""
        if len(self.pools) == 1:
            count = self._fewest(0, self.least, ceiling)
            return [] if count is None else [(count,)]
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

        within = self.allowed(pool, counts, self.question.within)
        allowed = self.allowed(pool, counts, min(ceiling, self.question.within))
        if not allowed:
            self.reason = DEARER if within else self.question.demand.money
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

    def _staircase(self, ceiling: Rent) -> list[tuple[int, ...]]:
        """Of two pools: for every number of the first, the fewest of the second, until that is dearer.

        Raises:
            ValueError: there are more pools.

        """
        if len(self.pools) > 2:
            raise ValueError("strategy: calls more than two pools, which a plan cannot size; use fewer")
        best: list[tuple[int, ...]] = []
        for first in self.allowed(0, self.least, ceiling):
            if self.rent((first, *self.least[1:])) > ceiling:
                break
            second = self._fewest(1, (first, *self.least[1:]), ceiling)
            if second is not None:
                rent = self.rent((first, second))
                best = [*(best if rent == ceiling else []), (first, second)]
                ceiling = rent
        return best
