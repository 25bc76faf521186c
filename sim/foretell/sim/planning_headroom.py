"""How much more traffic a deployment stands: the closed form says where to look, simulation decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from foretell.sim.intervals import Estimate
from foretell.sim.objectives import objectives_from_mapping, room_of
from foretell.sim.planning import busier
from foretell.sim.planning_trials import Trial, Trials
from foretell.sim.scenario import Scenario

MOST = 4.0
"""Extra traffic, as a share, beyond which nobody looks."""
_STEP = 0.01
_WITHOUT_CURVE = (0.25, 0.1)
"""Extra traffic that is tried where there is no closed form: more first, less if that is missed."""


@dataclass(frozen=True, slots=True)
class Headroom:
    """Extra traffic as a share of the traffic, at which every objective still holds.

    Attributes:
        extra: the most that a simulation confirmed.
        missed_at: the least at which one was missed; NaN if none was.
        guided: whether the closed form, scaled to meet the simulation where that was last made, said where
            to look; else fixed steps were tried.

    """

    extra: float
    missed_at: float
    guided: bool


def headroom_of(
    scenario: Scenario, base: Trial, trials: Trials, known: float = 0.0, checks: int = 2
) -> Headroom:
    """Find the headroom of a deployment that meets its objectives, with a simulation or two.

    Each figure of the closed form is multiplied by what the simulation found over what the closed form says
    at the traffic of the last simulation; where the scaled curve crosses the first limit, the next one is
    made. So the curve's shape is the closed form's, its height and the verdicts are the simulation's.

    Args:
        scenario: at its own traffic.
        base: its simulation at `known` extra traffic.
        trials: makes simulations.
        known: extra traffic at which it is known to hold.
        checks: simulations at most, up to 2.

    """
    low, high, at, trial = known, math.nan, known, base
    guided = False
    for check in range(checks):
        limit = MOST if math.isnan(high) else high
        guess = _crossing(scenario, trials, trial.summary, at, low, limit)
        guided |= guess is not None
        if guess is None:
            guess = low + _WITHOUT_CURVE[check]
        extra = _whole(guess)
        if extra >= limit - _STEP / 2:
            extra = limit if math.isnan(high) else _whole((low + high) / 2)
        if extra < low + _STEP / 2:
            break
        found = trials(busier(scenario, 1 + extra), f"at +{100 * extra:.6g} % traffic")
        low, high = (extra, high) if found.met else (low, extra)
        if found.summary:
            at, trial = extra, found
    return Headroom(low, high, guided)


def _crossing(
    scenario: Scenario, trials: Trials, found: Mapping[str, Estimate], at: float, low: float, high: float
) -> float | None:
    """The most extra traffic between two by the closed form scaled to a simulation; None without a curve."""
    objectives = objectives_from_mapping(scenario.objectives)
    try:
        here = trials.closed_form(busier(scenario, 1 + at))
    except ValueError:
        return None
    scales = {
        objective: found[objective.key].value / here[objective.key]
        for objective in objectives
        if objective.key in here and objective.key in found and _scales(here[objective.key])
    }
    if not scales:
        return None

    def holds(extra: float) -> bool:
        figures = trials.closed_form(busier(scenario, 1 + extra))
        if not figures.get("load", 0.0) < 1:
            return False
        return all(room_of(o, figures[o.key] * scale) >= 0 for o, scale in scales.items())

    if holds(high):
        return high
    while high - low > _STEP / 2:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _whole(extra: float) -> float:
    """Down to a whole per cent."""
    return round(math.floor(extra / _STEP + 1e-9) * _STEP, 4)


def _scales(value: float) -> bool:
    return math.isfinite(value) and value > 0
