"""Continuous batching by closed form against its simulation, figure by figure, and the limits asked of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from foretell.sim.analytic import analyse
from foretell.sim.deployment import Deployment
from foretell.validate.theory_cases import Case
from foretell.validate.theory_truth import FIGURES, LOADS, Effort, Truth, capacity, simulated

LIMITS = {
    "capacity": 0.05,
    "tpot_mean": 0.05,
    "e2e_mean": 0.10,
    "ttft_mean": 0.20,
    "tpot_p99": 0.25,
    "e2e_p99": 0.25,
    "ttft_p99": 0.25,
}
"""Errors allowed, as shares, below `JUDGED_LOAD`."""
JUDGED_LOAD = 0.9


@dataclass(frozen=True, slots=True)
class Truths:
    """What was simulated of a case: its capacity, and figures by load (a share of that capacity)."""

    capacity: Truth
    loads: Mapping[float, Truth]


@dataclass(frozen=True, slots=True)
class Point:
    """A figure of a case at a load, by closed form and by simulation.

    Attributes:
        case, figure: names.
        load: share of the simulated capacity; NaN for the capacity itself.
        closed: by closed form [s, or requests/s]; infinite where it takes the load for an overload.
        truth, error: by simulation, and the standard error of that.
        seeds: replications.
        warned: whether the forecast's notes say something of the method's validity there.

    """

    case: str
    figure: str
    load: float
    closed: float
    truth: float
    error: float
    seeds: int
    warned: bool

    @property
    def off(self) -> float:
        """Error of the closed form, as a share of the simulated figure."""
        return self.closed / self.truth - 1

    @property
    def spread(self) -> float:
        """Half the 95 % interval of the simulated figure, as a share of it."""
        return student(0.95, self.seeds - 1) * self.error / self.truth

    @property
    def judged(self) -> bool:
        """Whether something is asked of it."""
        return not self.load >= JUDGED_LOAD

    @property
    def missed(self) -> bool:
        """Whether it is off by more than its limit, taking the simulated figure as exact."""
        return not abs(self.off) <= LIMITS[self.figure]

    @property
    def surely_missed(self) -> bool:
        """Whether it is so wherever in its 95 % interval the simulated figure really is."""
        low, high = self.ends
        return low > LIMITS[self.figure] or high < -LIMITS[self.figure]

    @property
    def surely_met(self) -> bool:
        """Whether it is within its limit wherever in that interval the simulated figure really is."""
        low, high = self.ends
        return max(-low, high) <= LIMITS[self.figure]

    @property
    def ends(self) -> tuple[float, float]:
        """The error if the simulated figure really is at the upper or the lower end of its interval."""
        share = 1 + self.off
        return share / (1 + self.spread) - 1, math.inf if self.spread >= 1 else share / (1 - self.spread) - 1


def student(level: float, freedom: int) -> float:
    """Two-sided quantile of Student's t."""
    from scipy.special import stdtrit  # a hundredth of what scipy.stats.t.ppf takes

    return float(stdtrit(freedom, (1 + level) / 2))


def simulate_case(case: Case, effort: Effort, loads: tuple[float, ...] = LOADS, seed: int = 0) -> Truths:
    """Everything that is simulated of a case."""
    deployment = case.deployment()
    most = capacity(case, effort, deployment, seed)
    found = {load: simulated(case, load, load * most.rate_per_s, effort, deployment, seed) for load in loads}
    return Truths(most, found)


def compared(case: Case, truths: Truths) -> Iterator[Point]:
    """The points of a case, its capacity first."""
    deployment = case.deployment()
    for load, truth in truths.loads.items():
        at, warned = _closed(case, truth.rate_per_s, deployment)
        if load == min(truths.loads):
            most = truths.capacity
            yield Point(
                case.name,
                "capacity",
                math.nan,
                at["capacity_rps"],
                most.rate_per_s,
                most.error["capacity"],
                most.seeds,
                warned,
            )
        for figure in FIGURES:
            yield Point(
                case.name,
                figure,
                load,
                at[f"{figure}_s"],
                truth.mean[figure],
                truth.error[figure],
                truth.seeds,
                warned,
            )


def _closed(case: Case, rate_per_s: float, deployment: Deployment) -> tuple[dict[str, float], bool]:
    """Figures, and whether a note beside those on deployment and workload comes with them."""
    load = case.load(rate_per_s)
    found = analyse(case.scenario(rate_per_s), load, deployment)
    return found.figures, bool(set(found.notes) - {*deployment.notes, *load.notes})
