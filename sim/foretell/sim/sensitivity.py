"""Which inputs of a deployment matter, and what it is worth to know them better: by closed form, in seconds.

Each input in turn is made some per cent less and more, the others as they are: what becomes of every
objective, and how many replicas would do. The same replicas as a function of the input, and how sure it is,
give the value of knowing it (`sensitivity_value`).
"""

from __future__ import annotations

import math
import os
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foretell.sim.forecasting import why_missing
from foretell.sim.intervals import LEVEL
from foretell.sim.objectives import Objective, limits_for, objectives_from_mapping, room_of
from foretell.sim.scenario import Scenario
from foretell.sim.sensitivity_case import Case, case_of
from foretell.sim.sensitivity_inputs import Input, inputs_of
from foretell.sim.sensitivity_need import Replicas, Terms, figures_of, needed, rent_of
from foretell.sim.sensitivity_value import Worth, surely, worth_knowing

CHANGE = 0.10
"""Inputs are changed by so much, and known no better where nothing says how well."""


@dataclass(frozen=True, slots=True)
class At:
    """A deployment with an input as it might be.

    Attributes:
        factor: on the input.
        figures: by the names of a forecast's summary; empty where it would be impossible.
        margins: room to the limit by objective, as a share of the limit; < 0 where it is missed, −inf where
            there is no figure.
        met: whether every objective is met.
        replicas: the fewest, by part of the deployment, with which all would be; None where none are enough.
        usd_per_h: their rent; infinite then, NaN where a price is not known.

    """

    factor: float
    figures: Mapping[str, float]
    margins: Mapping[str, float]
    met: bool
    replicas: Replicas | None
    usd_per_h: float


@dataclass(frozen=True, slots=True)
class Swing:
    """What an input does.

    Attributes:
        name, label: of the input.
        low, high: with less and with more of it.
        effect: difference of the margins of the objective that is nearest to its limit, those below −1 taken
            for −1.
        log_error: how well it is known: standard deviation of its logarithm.
        assumed: whether that is assumed, not the model's own.
        worth: of knowing it.

    """

    name: str
    label: str
    low: At
    high: At
    effect: float
    log_error: float
    assumed: bool
    worth: Worth


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What a deployment's objectives hang on.

    Attributes:
        scenario: the deployment.
        change: of the inputs, as a share.
        probability: with which objectives must be met, for the value of knowing.
        headroom, spare: what replicas must hold out besides.
        parts: what the replicas are of: pools, or groups of like engines in them.
        met: whether the scenario as it is meets every objective.
        base: as it is; where it has no latencies, being overloaded, with the fewest replicas that do, if any.
        nearest: the objective with the least room.
        swings: by their effect on it, the largest first.
        method: how figures were found.
        notes: what is estimated, left out or outside a model's validity.

    """

    scenario: Scenario
    change: float
    probability: float
    headroom: float
    spare: int
    parts: tuple[str, ...]
    met: bool
    base: At
    nearest: Objective
    swings: tuple[Swing, ...]
    method: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, None where a figure does not exist."""
        from foretell.sim.sensitivity_json import sensitivity_dict

        return sensitivity_dict(self)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as one HTML page that needs no network; written to `path` too, whole or not at all.

        Raises:
            ValueError: it cannot be written.

        """
        from foretell.sim.records import write_page
        from foretell.sim.report.sensitivity_page import sensitivity_page

        return write_page(sensitivity_page(self), path)


def sensitivity(
    scenario: Scenario,
    *,
    change: float = CHANGE,
    inputs: Sequence[str] | None = None,
    probability: float = LEVEL,
    headroom: float = 0.0,
    spare: int = 0,
) -> Sensitivity:
    """Change every input of a deployment in turn.

    Args:
        scenario: with objectives, and a closed form.
        change: of every input, as a share in (0, 0.5]; also the standard error of those whose own is unknown.
        inputs: names of those to change; all when None.
        probability: with which replicas rented today must meet the objectives, for the value of knowing.
        headroom, spare: what replicas must hold out besides, as in a plan.

    Raises:
        ValueError: no objectives, no closed form, an input that the scenario has not; one line.

    """
    if not 0 < change <= 0.5:
        raise ValueError(f"change: {change!r} is not a share above 0 % and at most 50 %")
    surely(probability, "probability")
    objectives = objectives_from_mapping(scenario.objectives)
    if not objectives:
        raise ValueError("objectives: missing; sensitivity is how near they come to their limits")
    limits_for(objectives, scenario.goodput)
    case, terms = case_of(scenario), Terms(objectives, headroom, spare)
    found = case.analysed()
    for objective in objectives:
        if objective.key not in found.figures:
            why = why_missing(objective.key, found.figures) or "has no closed form; drop it here"
            raise ValueError(f"objectives.{objective.name}: {why}")
    base = _at(case, terms, 1.0, case.replicas)
    met, notes = base.met, found.notes
    if min(base.margins.values()) == -math.inf and base.replicas is not None:
        counts = "+".join(map(str, case.replicas))
        case = case.with_replicas(base.replicas)
        base, notes = _at(case, terms, 1.0, base.replicas), case.analysed().notes
        notes = (f"as it is ({counts}) it is overloaded; told of the fewest replicas that do", *notes)
    nearest = min(objectives, key=lambda objective: base.margins[objective.name])
    start = base.replicas or case.replicas
    swings = [
        _swing(case, terms, each, change, probability, start, nearest)
        for each in _chosen(inputs_of(case), inputs)
    ]
    swings.sort(key=lambda swing: (-swing.effect, -_rent_effect(swing)))
    return Sensitivity(
        scenario,
        change,
        probability,
        headroom,
        spare,
        case.parts,
        met,
        base,
        nearest,
        tuple(swings),
        found.method,
        notes,
    )


def _chosen(known: Sequence[Input], names: Sequence[str] | None) -> list[Input]:
    by_name = {each.name: each for each in known}
    for name in names or ():
        if name not in by_name:
            raise ValueError(f"inputs: {name!r} is not one of this scenario's: {', '.join(by_name)}")
    return [each for each in known if names is None or each.name in names]


def _at(case: Case, terms: Terms, factor: float, start: Replicas) -> At:
    figures = figures_of(case)
    margins = {o.name: room_of(o, figures.get(o.key, math.nan)) for o in terms.objectives}
    replicas = needed(case, terms, start)
    if replicas is not None and not terms.affordable(case.with_replicas(replicas)):
        replicas = None
    met = all(left >= 0 for left in margins.values())
    return At(factor, figures, margins, met, replicas, rent_of(case, replicas))


def _swing(
    case: Case,
    terms: Terms,
    each: Input,
    change: float,
    probability: float,
    start: Replicas,
    nearest: Objective,
) -> Swing:
    low, high = (_at(each.change(case, 1 + d), terms, 1 + d, start) for d in (-change, change))
    first, last = (max(at.margins[nearest.name], -1.0) for at in (low, high))
    log_error = change if each.log_error is None else each.log_error
    worth = worth_knowing(_rents(case, terms, each, start), log_error, probability)
    return Swing(
        each.name, each.label, low, high, abs(last - first), log_error, each.log_error is None, worth
    )


def _rents(case: Case, terms: Terms, each: Input, start: Replicas) -> Callable[[float], float]:
    """Today's price of the fewest replicas, by the factor of an input; what is known bounds what is not."""
    factors: list[float] = []
    known: list[Replicas | None] = []

    def rent(factor: float) -> float:
        place = bisect(factors, factor)
        beside = known[place - 1 : place + 1] if 0 < place < len(known) else []
        told = [counts for counts in beside if counts is not None]
        changed = each.change(case, factor)
        if len(told) == 2:
            most, least = (tuple(pick(pair) for pair in zip(*told, strict=True)) for pick in (max, min))
            found = needed(changed, terms, most, least, sure=True)
        else:
            found = needed(changed, terms, start)
        factors.insert(place, factor)
        known.insert(place, found)
        return rent_of(case, found)

    return rent


def _rent_effect(swing: Swing) -> float:
    rents = swing.low.usd_per_h, swing.high.usd_per_h
    return abs(rents[1] - rents[0]) if all(map(math.isfinite, rents)) else 0.0
