"""What a tornado shows: a figure with less and with more of each input, by a sensitivity or in a second."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from foretell.sim.objectives import Objective, objectives_from_mapping, room_of
from foretell.sim.quantities import show_number

if TYPE_CHECKING:
    from foretell.sim.scenario import Scenario
    from foretell.sim.sensitivity import Sensitivity


@dataclass(frozen=True, slots=True)
class Bar:
    """An input and the figure with less and with more of it.

    Attributes:
        label: of the input.
        low, high: the figure; not finite where there is none, as of an overloaded engine.
        low_met, high_met: whether every objective holds then.
        beside: replicas needed and worth of knowing it, in words; empty where they were not asked for.

    """

    label: str
    low: float
    high: float
    low_met: bool
    high_met: bool
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tornado:
    """One figure and what changes it.

    Attributes:
        objective: the figure and its limit, infinite where none is asked for.
        change: of each input, as a share.
        base: the figure as things are.
        bars: by what they do, the most first.
        heads: over what stands beside the bars.
        method: how the figures were found.

    """

    objective: Objective
    change: float
    base: float
    bars: tuple[Bar, ...]
    heads: tuple[str, ...]
    method: str


def light(scenario: Scenario, change: float = 0.10) -> Tornado:
    """Change every input of a scenario in turn, by closed form and nothing more: in a CPU second.

    Of the objective with the least room; without objectives of the latency that people ask for first; of the
    load where the deployment is overloaded, which has no latency in an endless run.

    Raises:
        ValueError: it has no closed form; one line.

    """
    from foretell.sim.sensitivity_case import case_of
    from foretell.sim.sensitivity_inputs import inputs_of
    from foretell.sim.sensitivity_need import figures_of

    case = case_of(scenario)
    found = case.analysed()
    asked = [o for o in objectives_from_mapping(scenario.objectives) if o.key in found.figures]
    told = [o for o in asked if math.isfinite(found.figures[o.key])] or _usual(scenario)
    if not found.figures.get("load", 0.0) < 1:
        told = [Objective("load", "load", "share", "<=", 1.0)]
    objective = min(told, key=lambda o: room_of(o, found.figures[o.key]))
    bars = []
    for each in inputs_of(case):
        low, high = (figures_of(each.change(case, 1 + d)) for d in (-change, change))
        met = [all(o.met(at.get(o.key, math.nan)) for o in asked) for at in (low, high)]
        values = [at.get(objective.key, math.nan) for at in (low, high)]
        bars.append(Bar(each.label, values[0], values[1], met[0], met[1]))
    base = found.figures[objective.key]
    return Tornado(objective, change, base, _sorted(bars, objective, base), (), found.method)


def _usual(scenario: Scenario) -> list[Objective]:
    name = "ttft_p99" if scenario.workload.task is None else "e2e_p99"
    return [Objective(name, f"{name}_s", "time", "<=", math.inf)]


def whole(found: Sensitivity) -> Tornado:
    """The tornado of a sensitivity, with the replicas needed and the worth of knowing beside it."""
    key = found.nearest.key
    bars = tuple(
        Bar(
            swing.label,
            swing.low.figures.get(key, math.nan),
            swing.high.figures.get(key, math.nan),
            swing.low.met,
            swing.high.met,
            (counts_between(swing.low.replicas, swing.high.replicas), worth(swing.worth.usd_per_h)),
        )
        for swing in found.swings
    )
    base = found.base.figures.get(key, math.nan)
    return Tornado(found.nearest, found.change, base, bars, ("replicas needed", "worth, USD/h"), found.method)


def counts_between(low: tuple[int, ...] | None, high: tuple[int, ...] | None) -> str:
    """Replicas needed with less and with more of an input."""
    first, last = ("none" if counts is None else "+".join(map(str, counts)) for counts in (low, high))
    return first if first == last else f"{first} → {last}"


def worth(usd_per_h: float) -> str:
    """What it is worth to know an input."""
    if math.isfinite(usd_per_h) and abs(usd_per_h) < 5e-4:
        return "0"
    return show_number(usd_per_h)


def _sorted(bars: list[Bar], objective: Objective, base: float) -> tuple[Bar, ...]:
    def effect(bar: Bar) -> float:
        ends = [room_of(replace(objective, limit=base), value) for value in (bar.low, bar.high)]
        return abs(max(ends[1], -1.0) - max(ends[0], -1.0))

    return tuple(sorted(bars, key=effect, reverse=True))
