"""What a queue in steady state is described by, whichever model found it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Steady:
    """Means of a stable queue.

    Attributes:
        rate_per_s: arrivals a second.
        rho: load over capacity, < 1.
        wait_probability: that an arrival waits; NaN where the model does not say.
        wait_s: mean wait before service [s].
        service_s: mean service [s].

    """

    rate_per_s: float
    rho: float
    wait_probability: float
    wait_s: float
    service_s: float

    @property
    def system_s(self) -> float:
        """Mean time from arrival to departure [s]."""
        return self.wait_s + self.service_s

    @property
    def in_line(self) -> float:
        """Mean number waiting (Little)."""
        return self.rate_per_s * self.wait_s

    @property
    def in_system(self) -> float:
        """Mean number waiting or in service (Little)."""
        return self.rate_per_s * self.system_s


def check(**figures: float) -> None:
    """Raise ValueError for a figure that is not a finite number > 0, by name."""
    for name, value in figures.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}: {value!r} is not a finite number > 0")


def check_scv(**figures: float) -> None:
    """Raise ValueError for a squared coefficient of variation that is not a finite number >= 0, by name."""
    for name, value in figures.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name}: {value!r} is not a finite number >= 0")


def check_stable(rho: float) -> None:
    """Raise ValueError for a load of 1 or more."""
    if rho >= 1:
        raise ValueError(f"rate_per_s: load {rho:.3g}, at which the line grows for ever; it must be < 1")


def check_servers(servers: int) -> None:
    """Raise ValueError for what is not a whole number of servers >= 1."""
    if isinstance(servers, bool) or not isinstance(servers, int) or servers < 1:
        raise ValueError(f"servers: {servers!r} is not a whole number >= 1")
