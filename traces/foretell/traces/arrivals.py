"""When requests are asked: arrival processes.

A process is a frozen specification; `times` draws from it as a pure function of a numpy Generator. Every one
draws unit-rate randomness and stretches time, so that two runs with the same seed and different rates share
their randomness.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from foretell.traces.table import FloatArray


class Arrivals(Protocol):
    """An arrival process."""

    @property
    def mean_rate_per_s(self) -> float:
        """Long-run mean rate [requests/s]."""

    def times(
        self, rng: np.random.Generator, num_requests: int | None = None, duration_s: float | None = None
    ) -> FloatArray:
        """Draw arrival times from 0 on, in order [s].

        The first `num_requests`, those before `duration_s`, or what meets both.

        Raises:
            ValueError: neither bound is given.

        """


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent arrivals: exponential gaps, CV 1.

    Attributes:
        rate_per_s: mean rate, positive [requests/s].

    """

    rate_per_s: float

    def __post_init__(self) -> None:
        _positive("poisson", "rate_per_s", self.rate_per_s)

    @property
    def mean_rate_per_s(self) -> float:
        """Mean rate [requests/s]."""
        return self.rate_per_s

    def times(
        self, rng: np.random.Generator, num_requests: int | None = None, duration_s: float | None = None
    ) -> FloatArray:
        """Draw arrival times; see `Arrivals.times`."""
        return _renewal(rng.standard_exponential, 1 / self.rate_per_s, num_requests, duration_s)


@dataclass(frozen=True, slots=True)
class Gamma:
    """Gamma gaps, with vLLM's burstiness: the shape of the gamma, so that CV = 1/√burstiness.

    1 is Poisson, below 1 burstier, above 1 more regular (vllm bench serve --burstiness).

    Attributes:
        rate_per_s: mean rate, positive [requests/s].
        burstiness: shape of the gamma, positive.

    """

    rate_per_s: float
    burstiness: float = 1.0

    def __post_init__(self) -> None:
        _positive("gamma", "rate_per_s", self.rate_per_s)
        _positive("gamma", "burstiness", self.burstiness)

    @property
    def mean_rate_per_s(self) -> float:
        """Mean rate [requests/s]."""
        return self.rate_per_s

    def times(
        self, rng: np.random.Generator, num_requests: int | None = None, duration_s: float | None = None
    ) -> FloatArray:
        """Draw arrival times; see `Arrivals.times`."""
        scale = 1 / (self.rate_per_s * self.burstiness)
        return _renewal(lambda n: rng.standard_gamma(self.burstiness, n), scale, num_requests, duration_s)


@dataclass(frozen=True, slots=True)
class Constant:
    """One request every 1/rate seconds, the first at 0.

    Attributes:
        rate_per_s: rate, positive [requests/s].

    """

    rate_per_s: float

    def __post_init__(self) -> None:
        _positive("constant", "rate_per_s", self.rate_per_s)

    @property
    def mean_rate_per_s(self) -> float:
        """Rate [requests/s]."""
        return self.rate_per_s

    def times(
        self, rng: np.random.Generator, num_requests: int | None = None, duration_s: float | None = None
    ) -> FloatArray:
        """Return arrival times; see `Arrivals.times`. Nothing is drawn."""
        _need_bound(num_requests, duration_s)
        fit = math.inf if duration_s is None else math.ceil(duration_s * self.rate_per_s)
        count = int(min(fit, math.inf if num_requests is None else num_requests))
        return _cut(np.arange(count) / self.rate_per_s, num_requests, duration_s)


@dataclass(frozen=True, slots=True)
class Mmpp:
    """Markov-modulated Poisson process: a Poisson process whose rate jumps between states.

    It stays in a state for an exponential time, then jumps to any other one with equal chance; the first
    state is drawn from the long-run shares of time, so that the process is stationary.

    Attributes:
        rates_per_s: rate in each state, 0 or more, not all 0 [requests/s].
        sojourns_s: mean stay in each state, positive [s].

    """

    rates_per_s: tuple[float, ...]
    sojourns_s: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates_per_s", _floats("mmpp", "rates_per_s", self.rates_per_s))
        object.__setattr__(self, "sojourns_s", _floats("mmpp", "sojourns_s", self.sojourns_s))
        if len(self.rates_per_s) < 2 or len(self.rates_per_s) != len(self.sojourns_s):
            raise ValueError("mmpp: rates_per_s and sojourns_s must have equal lengths, of 2 states or more")
        if not any(self.rates_per_s):
            raise ValueError("mmpp: rates_per_s are all 0; one must be positive")
        if not all(self.sojourns_s):
            raise ValueError("mmpp: sojourns_s holds 0; each must be positive")

    @property
    def mean_rate_per_s(self) -> float:
        """Long-run mean rate [requests/s]: the states' rates weighted by their time."""
        weighted = sum(r * s for r, s in zip(self.rates_per_s, self.sojourns_s, strict=True))
        return weighted / sum(self.sojourns_s)

    def times(
        self, rng: np.random.Generator, num_requests: int | None = None, duration_s: float | None = None
    ) -> FloatArray:
        """Draw arrival times; see `Arrivals.times`."""
        jumps, draws = rng.spawn(2)  # apart, so that the path does not depend on how many arrivals are drawn
        rates, sojourns = np.array(self.rates_per_s), np.array(self.sojourns_s)
        state = int(jumps.choice(len(rates), p=sojourns / sojourns.sum()))
        clock, work = [0.0], [0.0]  # corners of the expected count as a function of time

        def invert(target: FloatArray) -> FloatArray:
            nonlocal state
            while work[-1] <= target[-1] and (duration_s is None or clock[-1] < duration_s):
                stay = float(jumps.standard_exponential()) * sojourns[state]
                clock.append(clock[-1] + stay)
                work.append(work[-1] + stay * rates[state])
                state = (state + 1 + int(jumps.integers(len(rates) - 1))) % len(rates)
            known = target[target < work[-1]]
            # At a corner of a silent state the count maps to a whole stretch of time: take its end.
            right = np.searchsorted(work, known, side="right")
            left = right - 1
            work_at, clock_at = np.array(work), np.array(clock)
            slope = (clock_at[right] - clock_at[left]) / (work_at[right] - work_at[left])
            return np.asarray(clock_at[left] + (known - work_at[left]) * slope)

        return _warped(draws, invert, self.mean_rate_per_s, num_requests, duration_s)


@dataclass(frozen=True, slots=True)
class Diurnal:
    """Poisson arrivals whose rate follows the hour: a sine, or factors for equal parts of the period.

    rate(t) = rate_per_s·(1 + amplitude·cos(2π(t − peak_s)/period_s)), or rate_per_s·factor of the part that
    t lies in, factors scaled to mean 1. Drawn exactly, by inverting the expected count.

    Attributes:
        rate_per_s: mean rate over a period, positive [requests/s].
        amplitude: of the sine, from 0 to 1; left aside when factors are given.
        factors: relative rates of equal parts of the period (24 of them: the hours of a day), or ().
        period_s: length of the cycle, a day by default [s].
        peak_s: time of the sine's highest rate, noon by default [s].

    """

    rate_per_s: float
    amplitude: float = 0.5
    factors: tuple[float, ...] = ()
    period_s: float = 86_400.0
    peak_s: float = 43_200.0

    def __post_init__(self) -> None:
        _positive("diurnal", "rate_per_s", self.rate_per_s)
        _positive("diurnal", "period_s", self.period_s)
        if not 0 <= self.amplitude <= 1:
            raise ValueError(f"diurnal: amplitude is {self.amplitude}; it must lie between 0 and 1")
        object.__setattr__(self, "factors", _floats("diurnal", "factors", self.factors))
        if self.factors and not any(self.factors):
            raise ValueError("diurnal: factors are all 0; one must be positive")

    @property
    def mean_rate_per_s(self) -> float:
        """Mean rate over a period [requests/s]."""
        return self.rate_per_s

    def times(
        self, rng: np.random.Generator, num_requests: int | None = None, duration_s: float | None = None
    ) -> FloatArray:
        """Draw arrival times; see `Arrivals.times`."""
        invert = self._invert_factors if self.factors else self._invert_sine
        return _warped(rng, invert, self.rate_per_s, num_requests, duration_s)

    def _invert_factors(self, target: FloatArray) -> FloatArray:
        weights = np.array(self.factors) / sum(self.factors)
        busy = np.flatnonzero(weights)
        ends = np.cumsum(weights[busy])
        cycles, within = np.divmod(target / (self.rate_per_s * self.period_s), 1.0)
        part = np.minimum(np.searchsorted(ends, within, side="right"), len(busy) - 1)
        share = (within - (ends[part] - weights[busy][part])) / weights[busy][part]
        return np.asarray((cycles + (busy[part] + np.clip(share, 0, 1)) / len(weights)) * self.period_s)

    def _invert_sine(self, target: FloatArray) -> FloatArray:
        omega = 2 * math.pi / self.period_s
        swing = self.amplitude / omega
        start = math.sin(-omega * self.peak_s)
        flat = target / self.rate_per_s
        low, high = flat - 2 * swing, flat + 2 * swing
        for _ in range(60):  # bisection: the expected count is monotone, and its slope may touch 0
            middle = (low + high) / 2
            above = middle + swing * (np.sin(omega * (middle - self.peak_s)) - start) > flat
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return np.asarray(np.maximum((low + high) / 2, 0.0))


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """A fixed number of users: the next request is asked when one has finished.

    Its trace has every arrival at 0; `Trace.concurrency` carries the bound to the simulator.

    Attributes:
        concurrency: requests in flight at most, at least 1 (vllm bench serve --max-concurrency).
        think_s: pause between an answer and the next request [s].

    """

    concurrency: int
    think_s: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.concurrency, bool) or self.concurrency != int(self.concurrency):
            raise ValueError(f"closed_loop: concurrency is {self.concurrency}; it must be a whole number")
        if self.concurrency < 1:
            raise ValueError(f"closed_loop: concurrency is {self.concurrency}; it must be at least 1")
        if not (math.isfinite(self.think_s) and self.think_s >= 0):
            raise ValueError(f"closed_loop: think_s is {self.think_s}; it must be 0 or more")


def _renewal(
    unit: Callable[[int], FloatArray], scale: float, num_requests: int | None, duration_s: float | None
) -> FloatArray:
    """Sum gaps of unit randomness, until there are enough."""
    _need_bound(num_requests, duration_s)
    if num_requests is not None:
        return _cut(np.cumsum(unit(num_requests) * scale), num_requests, duration_s)
    assert duration_s is not None
    expected = duration_s / scale
    gaps = unit(int(expected + 4 * math.sqrt(expected)) + 16)
    # The sum is taken anew over all gaps, so that a time does not depend on how they were drawn.
    while (times := np.cumsum(gaps * scale))[-1] < duration_s:
        gaps = np.concatenate([gaps, unit(len(gaps))])
    return _cut(times, None, duration_s)


def _warped(
    rng: np.random.Generator,
    invert: Callable[[FloatArray], FloatArray],
    rate_per_s: float,
    num_requests: int | None,
    duration_s: float | None,
) -> FloatArray:
    """Map a unit-rate Poisson process through the inverse of the expected count (time change theorem)."""
    _need_bound(num_requests, duration_s)
    if num_requests is not None:
        if num_requests == 0:
            return np.empty(0)
        return _cut(invert(np.cumsum(rng.standard_exponential(num_requests))), num_requests, duration_s)
    assert duration_s is not None
    counts = rng.standard_exponential(int(duration_s * rate_per_s) + 16)
    while True:
        target = np.cumsum(counts)
        times = invert(target)
        if len(times) < len(target) or times[-1] >= duration_s:
            return _cut(times, None, duration_s)
        counts = np.concatenate([counts, rng.standard_exponential(len(counts))])


def _cut(times: FloatArray, num_requests: int | None, duration_s: float | None) -> FloatArray:
    kept = times if duration_s is None else times[times < duration_s]
    return kept if num_requests is None else kept[:num_requests]


def _need_bound(num_requests: int | None, duration_s: float | None) -> None:
    if num_requests is None and duration_s is None:
        raise ValueError("give num_requests or duration_s: arrivals go on for ever")
    if num_requests is not None and num_requests < 0:
        raise ValueError(f"num_requests is {num_requests}; it must be 0 or more")
    if duration_s is not None and not (math.isfinite(duration_s) and duration_s >= 0):
        raise ValueError(f"duration_s is {duration_s}; it must be a finite number, 0 or more")


def _positive(process: str, field: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{process}: {field} is {value}; it must be a positive number")


def _floats(process: str, field: str, values: Sequence[float]) -> tuple[float, ...]:
    for value in values:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{process}: {field} holds {value}; each must be 0 or more")
    return tuple(float(value) for value in values)
