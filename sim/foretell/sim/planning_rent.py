"""What deployments cost before anything is forecast: accelerators, their rent, the budget."""

from __future__ import annotations

import math

from foretell.models.hardware import load_hardware
from foretell.sim.objectives import objectives_from_mapping
from foretell.sim.scenario import Pool, ReplicaGroup, Scenario


def accelerators_of(scenario: Scenario) -> int:
    """Accelerators in all."""
    return sum(pool_accelerators(pool) for pool in scenario.pools.values())


def pool_accelerators(pool: Pool) -> int:
    """Accelerators of a pool."""
    return sum(group_accelerators(group) for group in pool.groups)


def group_accelerators(group: ReplicaGroup) -> int:
    """Accelerators of replicas that are alike."""
    sizes = (group.tensor_parallel_size, group.pipeline_parallel_size, group.data_parallel_size)
    return group.count * math.prod(size or 1 for size in sizes)


def rent(scenario: Scenario) -> float:
    """USD an hour of all accelerators, infinite where a price is not known."""
    return sum(pool_rent(pool) for pool in scenario.pools.values())


def pool_rent(pool: Pool) -> float:
    """USD an hour of a pool's accelerators, infinite where a price is not known."""
    total = 0.0
    for group in pool.groups:
        price = pool.price_usd_per_h
        if price is None and group.hardware is not None:
            price = load_hardware(group.hardware).accelerator.price_usd_per_h
        if price is None:
            return math.inf
        total += group_accelerators(group) * price
    return total


def most_usd_per_h(scenario: Scenario) -> float:
    """The budget, infinite without one."""
    limits = (o.limit for o in objectives_from_mapping(scenario.objectives) if o.kind == "rent")
    return min(limits, default=math.inf)
