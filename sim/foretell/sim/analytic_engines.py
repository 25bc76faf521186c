"""Engines in steady state: what each can carry, its queue, and how busy it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.queueing import (
    ContinuousBatching,
    EngineLimits,
    Lengths,
    Saturated,
    continuous_batching,
    saturated,
)
from foretell.sim.analytic_power import Busy, busy
from foretell.sim.config import EngineConfig
from foretell.sim.deployment import EnginePart

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
_IN_TURN = ("round_robin", "least_outstanding", "prefix_affinity", "session_affinity")
_NEAR = 24
"""Requests on either side among which one of about the same length is chosen."""


@dataclass(frozen=True, slots=True)
class Solved:
    """One engine: its share of the load, what it can carry, and its queue if that is stable.

    Attributes:
        part: the engine.
        rate_per_s: requests a second, those that it rejects left out.
        law: of their lengths.
        rejected: share of the requests.
        most: what it carries with a line that never ends.
        queue: None where more comes than that.
        together: how many requests come at once.

    """

    part: EnginePart
    rate_per_s: float
    law: Lengths
    rejected: float
    most: Saturated
    queue: ContinuousBatching | None
    together: float = 1.0

    @property
    def rho(self) -> float:
        """Load over capacity."""
        return self.rate_per_s / self.most.rate_per_s

    def busy(self) -> Busy:
        """How busy it is; an overloaded one serves what it can."""
        if self.queue is None:
            stay_s = self.most.limit / self.most.rate_per_s
            return busy(self.part, self.law, self.most.rate_per_s, stay_s, self.most.step_s)
        stay_s = float(self.queue.e2e_s.mean()) - self.queue.waiting / self.rate_per_s
        stay_s = max(stay_s, self.queue.decoding / self.rate_per_s)  # next to the capacity the line is rough
        return busy(self.part, self.law, self.rate_per_s, stay_s, self.queue.step_s, self.together)


def solve(
    part: EnginePart,
    law: Lengths,
    rate_per_s: float,
    gaps: float = 1.0,
    long: Callable[[float], float] | None = None,
    rejected: float = 0.0,
) -> Solved:
    """Solve one of these engines.

    Args:
        part: the engine.
        law: of its requests.
        rate_per_s: of them.
        gaps: squared coefficient of variation of the gaps between them.
        long: variance over mean of the arrivals in so many seconds; as `gaps` when None.
        rejected: share of the requests that never fit, not in `rate_per_s`.

    """
    limits = limits_of_engine(part.config)
    most = saturated(part.cost, law, limits)
    if rate_per_s >= most.rate_per_s:
        return Solved(part, rate_per_s, law, rejected, most, None)
    spread = None if long is None else long(law.decode_steps * most.step_s)
    queue = continuous_batching(part.cost, law, limits, rate_per_s, gaps, spread, most)
    if not math.isfinite(queue.waiting):  # so near to the capacity that its line has no end either
        return Solved(part, rate_per_s, law, rejected, most, None)
    return Solved(part, rate_per_s, law, rejected, most, queue)


def limits_of_engine(config: EngineConfig) -> EngineLimits:
    """What bounds the batch of an engine with these settings."""
    return EngineLimits(
        config.max_num_seqs,
        config.max_num_batched_tokens,
        float((config.num_gpu_blocks - 1) * config.block_size),
        config.block_size,
        config.async_scheduling,
        config.enable_prefix_caching,
    )


def shared(scv: float, engines: int, router: str) -> float:
    """Variability of the arrivals at one of so many engines.

    In turn, an engine sees sums of gaps, exactly for independent gaps; at random, a thinned process. The same
    holds of variance over mean, and of calls that come n at a time, whose own is n times as large.
    """
    return scv / engines if router in _IN_TURN else 1 + (scv - 1) / engines


def shuffled(size: int) -> Places:
    """The same order of so many places every time, without a pattern."""
    return np.random.default_rng(0).permutation(size)


def alike(have: Array, want: Array) -> Places:
    """For each of the values wanted, the place of one that is had and about as large; all of them in turn."""
    order = np.argsort(have, kind="stable")
    ordered = have[order]
    low = np.maximum(np.searchsorted(ordered, want, side="left") - _NEAR, 0)
    high = np.minimum(np.searchsorted(ordered, want, side="right") + _NEAR, len(have))
    place = low + (high - low) * (shuffled(len(want)) + 0.5) / len(want)
    found: Places = order[np.minimum(place.astype(np.int64), len(have) - 1)]
    return found


def exponential(share: float, mean: float, size: int) -> Array:
    """So many waits with this mean, 0 but for `share` of them, which are exponential."""
    if not 0 < share <= 1 or mean <= 0:
        return np.zeros(size)
    u = (shuffled(size)[::-1] + 0.5) / size
    wait: Array = np.where(u < share, -np.log(np.maximum(u / share, 1e-300)) * mean / share, 0.0)
    return wait


def overloaded(solved: list[Solved]) -> bool:
    """Whether one of them gets more than it can carry."""
    return any(one.queue is None for one in solved)


def mean_of(figures: list[float], counts: list[int]) -> float:
    """Mean over engines, so many of each kind."""
    return math.fsum(f * c for f, c in zip(figures, counts, strict=True)) / sum(counts)
