"""A fleet of engines with continuous batching behind a router that asks d of them, in the mean-field limit.

The router counts what it has sent to an engine and has not ended: m requests, of which those that have their
first token decode. A request spends k steps' time before that and D after it, so that m·D/(k + D) = n decode,
and one of m ends n/(D·s(n)) times a second. `power_of_d` has the law of m; each of the m decodes with the
chance D/(k + D), as in processor sharing with exchangeable requests. The rest is `continuous_batching`, with
that law in place of the one that Poisson arrivals make.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.queueing.continuous import ContinuousBatching, continuous_batching
from foretell.models.queueing.lengths import Lengths
from foretell.models.queueing.mean_field import power_of_d
from foretell.models.queueing.occupancy import occupancy
from foretell.models.queueing.saturation import EngineLimits, Saturated, saturated
from foretell.models.stepcost import StepCost

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Seats:
    """Places in an engine: how many, which part of them decodes, for how many steps, and what all carry."""

    number: int
    part: float
    steps: float
    capacity_per_s: float

    @classmethod
    def of(cls, law: Lengths, limits: EngineLimits, most: Saturated) -> _Seats:
        steps = max(law.decode_steps, 1e-6)
        before = 1.5 + max(law.mean_prompt / limits.max_num_batched_tokens - 1, 0.0)
        part = steps / (steps + before + limits.async_scheduling)
        return cls(max(round(most.limit), 1), part, steps, most.rate_per_s)

    def ends_per_s(self, step_s: Array) -> Array:
        """Rate at which one of m ends, m = 1 to all of them, from s(n)."""
        n = np.arange(len(step_s))
        decoding = np.minimum(np.arange(1, self.number + 1) * self.part, n[-1])
        ends: Array = decoding / (self.steps * np.interp(decoding, n, step_s))
        ends[-1] = self.capacity_per_s
        return ends


def engine_ends_per_s(
    cost: StepCost, law: Lengths, limits: EngineLimits, rate_per_s: float, most: Saturated | None = None
) -> Array:
    """Rate at which one of m requests in an engine ends, m = 1 to as many as run at once: its μ(m).

    Args:
        cost: seconds of a step.
        law: of the requests.
        limits: of the engine.
        rate_per_s: requests a second, whose prompts lengthen the steps; from 90 % of the capacity on, that.
        most: what `saturated` gives, where it is known already.

    """
    most = saturated(cost, law, limits) if most is None else most
    seats = _Seats.of(law, limits, most)
    found: list[Array] = []

    def occupied(step_s: Array, peakedness: float) -> tuple[Array, float]:
        found.append(seats.ends_per_s(step_s))
        n = np.arange(1.0, len(step_s))
        return occupancy(rate, seats.steps, step_s, int(n[-1]), peakedness)

    rate = min(rate_per_s, 0.9 * most.rate_per_s)
    continuous_batching(cost, law, limits, rate, most=most, occupied=occupied)
    return found[-1]


def fleet_batching(
    cost: StepCost,
    law: Lengths,
    limits: EngineLimits,
    rate_per_s: float,
    choices: float = 2,
    replicas: float = math.inf,
    most: Saturated | None = None,
) -> ContinuousBatching:
    """Solve one of many like engines behind a router that sends to the least loaded of d.

    Args:
        cost: seconds of a step.
        law: of the requests.
        limits: of each engine.
        rate_per_s: requests a second for each engine, Poisson.
        choices: d, as in `power_of_d`: 1 is random routing, infinity the least outstanding of all.
        replicas: how many engines, as its `servers`.
        most: what `saturated` gives, where it is known already.

    Raises:
        ValueError: the rate is not > 0 or not below the capacity, or as `power_of_d`.

    Validity: that of `continuous_batching` and of `power_of_d`: 1/N beyond the corrections, which is told by
    comparison with the simulator in docs/mean_field.md. Where prompts fill the steps it is rough.

    """
    most = saturated(cost, law, limits) if most is None else most
    alone = min(choices, replicas) == 1
    seats = _Seats.of(law, limits, most)

    def occupied(step_s: Array, peakedness: float) -> tuple[Array, float]:
        ends = seats.ends_per_s(step_s)
        if alone:  # clusters of requests that a busy period of prompts lets through spread the law
            m = np.arange(1.0, seats.number + 1)
            found, line = occupancy(rate_per_s, 1.0, np.append(0.0, m / ends), seats.number, peakedness)
        else:
            fleet = power_of_d(rate_per_s, ends, choices, replicas)
            found, line = fleet.found, float(fleet.tail[seats.number + 1 :].sum())
        below = found[: seats.number]
        share = below @ _binomial(len(below), seats.part, len(step_s) - 1)
        share[-1] += found[seats.number :].sum()
        return share, line

    def joined(points: Array, step_s: float) -> tuple[Array, Mask]:
        return _filled(points, rate_per_s * replicas * step_s)

    least = joined if not alone and (choices >= replicas or choices == math.inf) else None
    return continuous_batching(cost, law, limits, rate_per_s, most=most, occupied=occupied, joined=least)


def _binomial(rows: int, chance: float, most: int) -> Array:
    """Law of how many of m = 0..rows - 1 decode, one in a row; not more than `most` do."""
    from scipy.stats import binom

    law: Array = np.asarray(binom.pmf(np.arange(most + 1), np.arange(rows)[:, None], chance))
    law[:, -1] += 1 - law.sum(1)
    return np.maximum(law, 0.0)


def _filled(points: Array, per_step: float) -> tuple[Array, Mask]:
    """When a request comes to the least loaded of all engines: share of its step that is over, and whether it
    is the step after the one that ended a request there.

    The fleet ends as many requests a step as come to it, `per_step`. The last to end one is the next to be
    filled, so that it waits as long as the busy period of an M/M/1 queue with load 1: beyond t steps with a
    chance of e^(−x)·(I₀(x) + I₁(x)), x = 2·per_step·t. What is left after a step is filled at any time.
    """
    from scipy.special import i0e, i1e

    if per_step == math.inf:
        return np.zeros_like(points), np.ones_like(points, dtype=bool)
    t = np.linspace(0, 1, 257) ** 2
    later = i0e(2 * per_step * t) + i1e(2 * per_step * t)
    rest = float(later[-1])
    at_once = points < 1 - rest
    ages: Array = np.where(at_once, np.interp(points, 1 - later, t), (points - (1 - rest)) / rest)
    return ages, at_once
