"""A deployment over its load: at shares of its capacity, or with so many requests in flight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from foretell.sim.quantities import show_number
from foretell.sim.ui.answers import of_one_kind

if TYPE_CHECKING:
    from foretell.models.queueing import Lengths
    from foretell.sim.analytic_load import Load
    from foretell.sim.scenario import Scenario

_LOADS = (0.8, 0.3, 0.95, 0.55, 0.1, 0.9)
"""Shares of the capacity, in the order in which they are computed."""
_BESIDE = (0.85, 0.35)
"""The same of other hardware."""
_IN_FLIGHT = (2, 1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 0)
"""Shares of what the engines hold at once, the first shows waits; the least is one request."""
_IN_FLIGHT_BESIDE = (1, 1 / 4, 1 / 16)
_WITHOUT_END = 10**6
"""More requests in flight than any engine holds."""


@dataclass(frozen=True, slots=True)
class Found:
    """A point: figures of an analysis, and what it is of.

    Attributes:
        series: hardware or model.
        label: what tells it from the others of its series.
        figures: of the analysis.
        here: whether it is the scenario as asked.
        at: requests/s, or requests in flight; 0 of a task.

    """

    series: str
    label: str
    figures: dict[str, float]
    here: bool = False
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Sweep:
    """A deployment over its load.

    Attributes:
        points: in the order in which they were computed; as asked first, but for what stands beside and
            cannot carry that.
        capacity: requests/s that it can carry, or requests that its engines hold at once.

    """

    points: tuple[Found, ...]
    capacity: float


def came(scenario: Scenario) -> Load | Lengths:
    """What comes at a rate, or the lengths of a closed loop's requests.

    Raises:
        ValueError: a workload without a closed form; one line.

    """
    from foretell.sim.analytic_load import closed_lengths, load_of

    return (load_of if scenario.workload.concurrency is None else closed_lengths)(scenario.workload)


def over_load(name: str, scenario: Scenario, load: Load | Lengths, beside: bool = False) -> Sweep:
    """Sweep over the rate of arrivals, or over the requests in flight of a closed loop.

    Args:
        name: of the series.
        scenario: what is asked.
        load: what `came` tells of it.
        beside: whether it stands beside what was asked: fewer points, none of them beyond its capacity.

    Raises:
        ValueError: no closed form, or impossible; one line.

    """
    from foretell.models.queueing import Lengths

    if isinstance(load, Lengths):
        return _closed(name, scenario, load, beside)
    return _open(name, scenario, load, beside)


def _open(name: str, scenario: Scenario, load: Load, beside: bool) -> Sweep:
    from foretell.sim.analytic import analyse
    from foretell.sim.forecasting import deployed

    deployment = deployed(scenario, load.mean_context)
    own = analyse(scenario, load, deployment).figures
    capacity = own["capacity_rps"]
    loads = _LOADS if of_one_kind(scenario) else _LOADS[: len(_LOADS) // 2]

    def points() -> Iterator[Found]:
        if not beside or own["load"] < 0.97:
            label = f"{show_number(load.rate_per_s)}/s"
            yield Found(name, label, own, not beside, load.rate_per_s)
        for share in _BESIDE if beside else loads:
            if beside and abs(share - own["load"]) < 0.1:
                continue
            rate = share * capacity
            figures = analyse(scenario, replace(load, rate_per_s=rate), deployment).figures
            yield Found(name, f"{show_number(rate)}/s", figures, at=rate)

    return Sweep(tuple(points()), capacity)


def _closed(name: str, scenario: Scenario, law: Lengths, beside: bool) -> Sweep:
    from foretell.sim.analytic import analyse
    from foretell.sim.forecasting import deployed

    deployment = deployed(scenario, law.mean_context)
    asked = scenario.workload.concurrency
    assert asked is not None

    def point(in_flight: int) -> Found:
        workload = replace(scenario.workload, concurrency=in_flight)
        figures = analyse(replace(scenario, workload=workload), None, deployment).figures
        here = in_flight == asked and not beside
        return Found(name, f"{in_flight:,} in flight", figures, here, in_flight)

    most = point(_WITHOUT_END).figures["mean_batch"] * len(deployment.engines)
    shares = _IN_FLIGHT_BESIDE if beside else _IN_FLIGHT
    first = [] if beside and asked > most else [asked]
    others = {max(int(share * most), 1) for share in shares}.difference(first)
    return Sweep(tuple(map(point, [*first, *sorted(others)])), most)
