"""Fleets of any size behind a router that compares d replicas, in steady state, by the mean-field limit.

The work does not depend on the number of replicas: one is solved, with the law of the requests that it holds
as the router makes it (`foretell.models.queueing.mean_field_engines`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from foretell.models.queueing import saturated
from foretell.models.queueing.mean_field_engines import fleet_batching
from foretell.sim.analytic_engines import Solved, limits_of_engine
from foretell.sim.analytic_load import Load, lengths_of, load_of
from foretell.sim.deployment import Deployment, deploy
from foretell.sim.routers import choices_of

if TYPE_CHECKING:
    from foretell.sim.analytic_figures import Analysis
    from foretell.sim.scenario import Scenario

METHOD = "mean field: continuous batching behind a router that compares replicas"
_UNLIKE = 0.1
"""What the variability of the arrivals at a replica may differ from Poisson's."""


def mean_field(scenario: Scenario) -> Analysis:
    """Forecast a fleet of any size in steady state; `analyse` does so by itself where it can.

    Raises:
        ValueError: it has not one pool of like replicas, two at least, its router does not compare what they
            hold, or its arrivals are not as Poisson for each of them; or as `analyse`.

    """
    from foretell.sim.analytic import analyse

    if scenario.workload.task is not None or len(scenario.pools) != 1:
        raise ValueError("strategy: the mean field covers single calls to one pool, without a task")
    load = load_of(scenario.workload)
    deployment = deploy(scenario.pool, load.mean_context)
    if not covers(deployment, load):
        count = sum(part.count for part in deployment.parts)
        raise ValueError(
            f"router: {deployment.router} before {count} replicas is no mean field: that takes 2 or more, "
            "all alike, behind random, power_of_two, power_of_d:N or least_outstanding, and no lasting bursts"
        )
    return analyse(scenario, load, deployment)


def covers(deployment: Deployment, load: Load) -> bool:
    """Whether the mean field holds: like replicas, whose requests the router counts, and Poisson arrivals."""
    (part, *others) = deployment.parts
    if others or part.count < 2 or choices_of(deployment.router) is None:
        return False
    return load.modulation is None and abs(load.scv - 1) <= _UNLIKE * part.count


def solve_fleet(deployment: Deployment, load: Load) -> Solved:
    """Solve one replica of a fleet.

    Args:
        deployment: of which `covers` says yes.
        load: of the whole fleet.

    """
    (part,) = deployment.parts
    choices = choices_of(deployment.router) or 1
    law, rejected = lengths_of(load, part.config)
    rate = load.rate_per_s * (1 - rejected) / part.count
    limits = limits_of_engine(part.config)
    most = saturated(part.cost, law, limits)
    queue = None
    if rate < most.rate_per_s:
        queue = fleet_batching(part.cost, law, limits, rate, choices, part.count, most)
        if not math.isfinite(queue.waiting):
            queue = None
    return Solved(part, rate, law, rejected, most, queue)


def remarks(deployment: Deployment, load: Load) -> Iterator[str]:
    """How far a fleet of this size is from the limit, and what the limit leaves out."""
    replicas, choices = deployment.parts[0].count, choices_of(deployment.router) or 1
    if choices > 1:
        yield (
            f"mean field of {replicas} replicas, corrected to the order 1/N; against simulated fleets see "
            "docs/mean_field.md"
        )
    if load.scv != 1:
        yield "arrivals that are not Poisson: taken as such at every replica, as many replicas make them"
