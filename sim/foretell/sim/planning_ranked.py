"""The layouts of a pool in the order of the least rent that their bounds allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foretell.sim.planning_bounds import Bounds, bounds_of
from foretell.sim.planning_demand import Demand
from foretell.sim.planning_known import Known
from foretell.sim.planning_space import Arrangement, PoolSpace

Rent = tuple[float, int]
"""USD/h and accelerators."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """The usable layouts of a pool, those first that may be cheapest.

    Attributes:
        space: of the pool.
        layout, least: places in the space, and the fewest replicas.
        unit: rent of a replica.
        short: layouts that cannot do, by reason.

    """

    space: PoolSpace
    layout: tuple[int, ...]
    least: tuple[int, ...]
    unit: tuple[Rent, ...]
    short: Counter[str]

    def rent(self, place: int) -> Rent:
        """The least that a layout may cost."""
        usd, accelerators = self.unit[place]
        return usd * self.least[place], accelerators * self.least[place]


def ranked(arrangement: Arrangement, demand: Demand, known: Known) -> tuple[Ranked, ...]:
    """Bound and sort the layouts of an arrangement's pools."""
    return tuple(
        _rank(space, [bounds_of(space, i, demand.of(role), known) for i in range(len(space.chassis))])
        for space, role in zip(arrangement.pools, arrangement.roles, strict=True)
    )


def _rank(space: PoolSpace, bounds: Sequence[Bounds]) -> Ranked:
    many = len(space.settings)
    least = np.concatenate([each.replicas for each in bounds])
    usd = np.repeat([each.usd_per_h for each in bounds], many)
    accelerators = np.repeat([each.accelerators for each in bounds], many)
    faults = [fault for each in bounds for fault in each.fault]
    usable = np.flatnonzero([not fault for fault in faults])
    order = usable[np.lexsort((usable, (accelerators * least)[usable], (usd * least)[usable]))]
    return Ranked(
        space,
        tuple(order.tolist()),
        tuple(least[order].tolist()),
        tuple(zip(usd[order].tolist(), accelerators[order].tolist(), strict=True)),
        Counter(fault for fault in faults if fault),
    )
