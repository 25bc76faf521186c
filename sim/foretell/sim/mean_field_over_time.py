"""A fleet of any size over time, by the mean-field equations: rates of a day, replicas that fail or join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from foretell.models.queueing import power_of_d, saturated
from foretell.models.queueing.mean_field_course import Change, Course, course
from foretell.models.queueing.mean_field_engines import engine_ends_per_s
from foretell.sim.analytic_engines import limits_of_engine
from foretell.sim.analytic_load import lengths_of, load_of
from foretell.sim.deployment import deploy
from foretell.sim.routers import choices_of
from foretell.sim.scenario import Scenario

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Event:
    """What is different from a moment on.

    Attributes:
        at_s: the moment, >= 0.
        rate: of the requests, relative to the workload's; as before when None.
        replicas: that are there; as before when None. Those who join are empty; the requests of those who
            fail are sent again at once, from their start.

    """

    at_s: float
    rate: float | None = None
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class FleetOverTime:
    """A fleet at some times, arrays of shape (T,).

    Attributes:
        time_s: the times.
        replicas: that are there.
        rate_rps: requests a second that come to all of them.
        load: rate over what they can carry.
        requests: that a replica holds, mean.
        waiting: share of those who come then that must wait for a place in the batch.
        wait_s: their wait, mean over all who come.
        notes: what is left out.

    """

    time_s: Array
    replicas: Array
    rate_rps: Array
    load: Array
    requests: Array
    waiting: Array
    wait_s: Array
    notes: tuple[str, ...] = field(default=())


def fleet_over_time(
    scenario: Scenario, times_s: npt.ArrayLike, events: Sequence[Event] = ()
) -> FleetOverTime:
    """Follow a fleet from its steady state through changes of the rate and of the number of replicas.

    Args:
        scenario: one pool of like replicas behind random, power_of_two, power_of_d:N or least_outstanding;
            single calls without a task.
        times_s: when to look, rising, from 0 on.
        events: in order of time.

    Raises:
        ValueError: another scenario, events that are not in order, a number out of range, or an overload
            before the first event.

    Validity: as of `course`. Step times are those with the prompts of the workload's own rate.

    """
    if scenario.workload.task is not None or len(scenario.pools) != 1:
        raise ValueError("strategy: the mean field covers single calls to one pool, without a task")
    load = load_of(scenario.workload)
    deployment = deploy(scenario.pool, load.mean_context)
    choices = choices_of(deployment.router)
    if choices is None or len(deployment.parts) > 1:
        raise ValueError(
            f"router: {deployment.router} is no mean field: that takes like replicas behind random, "
            "power_of_two, power_of_d:N or least_outstanding"
        )
    (part,) = deployment.parts
    law, rejected = lengths_of(load, part.config)
    limits = limits_of_engine(part.config)
    most = saturated(part.cost, law, limits)
    arriving, replicas = load.rate_per_s * (1 - rejected), part.count
    rate = arriving / replicas
    if rate >= most.rate_per_s:
        raise ValueError(
            f"rate_per_s: {load.rate_per_s:.4g} is not below {most.rate_per_s * replicas:.4g} requests/s, "
            f"what {replicas} replicas carry; the fleet starts in steady state"
        )
    ends = engine_ends_per_s(part.cost, law, limits, rate, most)
    changes, there, factor = [Change(0.0, rate)], replicas, 1.0
    held = [(0.0, replicas, arriving)]
    for event in events:
        after = there if event.replicas is None else event.replicas
        factor = factor if event.rate is None else event.rate
        if after < 1:
            raise ValueError(f"replicas: {after!r} at {event.at_s:g} s is not a whole number >= 1")
        fresh, lost = max(1 - there / after, 0.0), max(1 - after / there, 0.0)
        changes.append(Change(event.at_s, arriving * factor / after, fresh=fresh, lost=lost))
        held.append((event.at_s, after, arriving * factor))
        there = after
    start = power_of_d(rate, ends, choices).tail
    found: Course = course(times_s, changes, ends, choices, start)
    at = np.searchsorted([moment for moment, _, _ in held], found.times_s, side="right") - 1
    counts, rates = (np.array([row[k] for row in held], dtype=np.float64)[at] for k in (1, 2))
    return FleetOverTime(
        found.times_s,
        counts,
        rates,
        rates / counts / most.rate_per_s,
        found.mean,
        found.waiting,
        found.wait_s,
        (*deployment.notes, *load.notes),
    )
