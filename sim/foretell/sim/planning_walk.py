"""From the closed form's number of replicas to the least that holds in simulation, one replica at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from foretell.sim.planning import Candidate, PlanSpec, conditions
from foretell.sim.planning_rent import accelerators_of, most_usd_per_h, rent
from foretell.sim.planning_trials import Trial, Trials

Cost = tuple[float, int]
"""Rent [USD/h], and accelerators where that is alike or unknown."""
_FEWEST_STEPS = 8
"""Steps up at least; a quarter of the replicas where that is more."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A candidate and what came of it in simulation.

    Attributes:
        candidate: with its replicas.
        usd_per_h: rent of all accelerators, infinite where a price is not known.
        met: whether every objective holds as it is, with more traffic, and with replicas lost.
        trials: simulations by condition ("" is as it is), up to the first that failed.

    """

    candidate: Candidate
    usd_per_h: float
    met: bool
    trials: Mapping[str, Trial]

    @property
    def cost(self) -> Cost:
        """What a plan saves."""
        return self.usd_per_h, accelerators_of(self.candidate.scenario)

    @property
    def base(self) -> Trial | None:
        """As it is; None where a harder condition failed first."""
        return self.trials.get("")

    @property
    def probability(self) -> float:
        """Chance of the least certain objective under the hardest condition; NaN if it is not known."""
        told = [t.probability for t in self.trials.values() if not math.isnan(t.probability)]
        return min(told, default=math.nan)

    @property
    def missed(self) -> tuple[str, ...]:
        """What does not hold, and when."""
        return tuple(
            f"{fault} {when}".rstrip() for when, trial in self.trials.items() for fault in trial.missed
        )

    @property
    def room(self) -> float:
        """Least room to a limit."""
        return min((t.room for t in self.trials.values()), default=-1.0)


@dataclass(frozen=True, slots=True)
class Settled:
    """Where the walk of a layout ended.

    Attributes:
        checked: with the least replicas that hold, or the last tried.
        failed: candidates on the way that do not hold, in the order of the walk.
        moved: replicas that simulation added to (or took from) the closed form's.

    """

    checked: Checked
    failed: tuple[Checked, ...]
    moved: int


def settle(candidate: Candidate, spec: PlanSpec, trials: Trials, ceiling: Cost | None = None) -> Settled:
    """Walk to the least replicas of a layout that hold in simulation.

    Up one at a time while it does not hold, of several pools the one that helps most; then down in steps
    that double while they hold and are halved after, until one fewer of no pool holds. Up it ends at the
    plan's most replicas, at a budget, where the cost is not below `ceiling`, or further from the start than
    any closed form is off.
    """
    start = sum(counts_of(candidate).values())
    here = checked(candidate, trials)
    failed: dict[str, Checked] = {}
    budget = most_usd_per_h(candidate.scenario)
    for _ in range(max(_FEWEST_STEPS, start // 4) * len(counts_of(candidate))):
        higher = [
            each
            for each in neighbours(here.candidate, spec, 1)
            if rent(each.scenario) <= budget and (ceiling is None or cost_of(each) < ceiling)
        ]
        if here.met or not higher:
            break
        failed[label_of(here.candidate)] = here
        found = [checked(each, trials) for each in higher]
        here = min(found, key=lambda each: (not each.met, *(each.cost if each.met else (-each.room, 0))))
    step, held = 1, True
    while here.met and step:
        lower = [checked(each, trials) for each in neighbours(here.candidate, spec, -1, step)]
        failed |= {label_of(each.candidate): each for each in lower if not each.met}
        holding = [each for each in lower if each.met]
        here = min(holding, key=lambda each: each.cost, default=here)
        held = held and bool(holding)
        step = 2 * step if held else step if holding else step // 2
    moved = sum(counts_of(here.candidate).values()) - start
    return Settled(here, tuple(failed.values()), moved)


def checked(candidate: Candidate, trials: Trials) -> Checked:
    """Simulate a candidate under each condition, the hardest first, up to the first that fails."""
    made: dict[str, Trial] = {}
    price = rent(candidate.scenario)
    for when, scenario in sorted(conditions(candidate), key=lambda each: not each[0]):
        what = f"{label_of(candidate)} {when}".rstrip()
        if scenario is None:
            made[when] = Trial(candidate.scenario, False, 0.0, -1.0, ("no replica is left",))
        else:
            made[when] = trials(scenario, what)
        if not made[when].met:
            return Checked(candidate, price, False, made)
    return Checked(candidate, price, True, {when: made[when] for when in sorted(made)})


def cost_of(candidate: Candidate) -> Cost:
    """Rent and accelerators of a candidate."""
    return rent(candidate.scenario), accelerators_of(candidate.scenario)


def counts_of(candidate: Candidate) -> dict[str, int]:
    """Replicas by pool, of those that are numbers."""
    pools = candidate.scenario.pools
    return {name: pool.replicas for name, pool in pools.items() if isinstance(pool.replicas, int)}


def label_of(candidate: Candidate) -> str:
    """Its replicas in words."""
    return ", ".join(f"{count} × {name}" for name, count in counts_of(candidate).items())


def neighbours(candidate: Candidate, spec: PlanSpec, way: int, step: int = 1) -> Iterator[Candidate]:
    """The candidates with the next fewer (way −1) or more (1) replicas of one pool that the plan allows.

    So many steps further, or as far as they go.
    """
    for name, count in counts_of(candidate).items():
        path = f"pools.{name}.replicas"
        allowed: Sequence[int] = spec.fields.get(path, (count,))
        beyond = sorted((n for n in allowed if (n - count) * way > 0), reverse=way < 0)
        if beyond:
            yield with_replicas(candidate, name, beyond[min(step, len(beyond)) - 1])


def with_replicas(candidate: Candidate, name: str, count: int) -> Candidate:
    """The candidate with so many replicas of a pool."""
    pools = dict(candidate.scenario.pools)
    pools[name] = replace(pools[name], replicas=count)
    changes = {**candidate.changes, f"pools.{name}.replicas": count}
    return replace(candidate, changes=changes, scenario=replace(candidate.scenario, pools=pools))
