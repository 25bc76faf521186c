"""How long prompts and answers are: distributions with their theoretical mean and variance.

Lengths are whole tokens, at least 1. `mean` and `variance` are those of the continuous law before rounding
where the law is continuous (rounding shifts the mean by less than 0.5 and adds about 1/12 to the variance).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from foretell.traces.table import IntArray, Trace


class Lengths(Protocol):
    """A distribution of lengths in tokens."""

    def sample(self, rng: np.random.Generator, size: int) -> IntArray:
        """Draw lengths."""

    def mean(self) -> float:
        """Mean [tokens]."""

    def variance(self) -> float:
        """Variance [tokens²]."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same length.

    Attributes:
        tokens: the length, at least 1.

    """

    tokens: int

    def __post_init__(self) -> None:
        _whole("fixed", "tokens", self.tokens)

    def sample(self, rng: np.random.Generator, size: int) -> IntArray:
        """Return lengths; nothing is drawn."""
        return np.full(size, self.tokens, dtype=np.int64)

    def mean(self) -> float:
        """Mean [tokens]."""
        return float(self.tokens)

    def variance(self) -> float:
        """Variance [tokens²]."""
        return 0.0


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every whole length from low to high, both included, with equal chance.

    Attributes:
        low: least length, at least 1.
        high: greatest length, at least low.

    """

    low: int
    high: int

    def __post_init__(self) -> None:
        _whole("uniform", "low", self.low)
        _whole("uniform", "high", self.high)
        if self.high < self.low:
            raise ValueError(f"uniform: high is {self.high}; it must be at least low ({self.low})")

    @classmethod
    def around(cls, tokens: int, range_ratio: float) -> Uniform:
        """Return vLLM's random data set: from L·(1 − ratio) to L·(1 + ratio) (--random-range-ratio).

        Args:
            tokens: the middle, L.
            range_ratio: from 0 to below 1.

        """
        if not 0 <= range_ratio < 1:
            raise ValueError(f"uniform: range_ratio is {range_ratio}; it must lie between 0 and 1, below 1")
        low = max(1, math.floor(tokens * (1 - range_ratio)))
        return cls(low, math.ceil(tokens * (1 + range_ratio)))

    @classmethod
    def below(cls, tokens: int, least_share: float = 0.8) -> Uniform:
        """Return InferenceX's lengths: from share·L to L, share 0.8 there."""
        if not 0 < least_share <= 1:
            raise ValueError(f"uniform: least_share is {least_share}; it must lie between 0 and 1")
        return cls(max(1, int(tokens * least_share)), tokens)

    def sample(self, rng: np.random.Generator, size: int) -> IntArray:
        """Draw lengths."""
        return rng.integers(self.low, self.high, size, dtype=np.int64, endpoint=True)

    def mean(self) -> float:
        """Mean [tokens]."""
        return (self.low + self.high) / 2

    def variance(self) -> float:
        """Variance [tokens²]."""
        return ((self.high - self.low + 1) ** 2 - 1) / 12


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Log-normal lengths, cut to [minimum, maximum] by moving what lies outside to the edge.

    Attributes:
        median: exp(μ), positive [tokens].
        sigma: standard deviation of the logarithm, 0 or more.
        minimum: least length, at least 1.
        maximum: greatest length, or None.

    """

    median: float
    sigma: float
    minimum: int = 1
    maximum: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.median) and self.median > 0):
            raise ValueError(f"lognormal: median is {self.median}; it must be a positive number")
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise ValueError(f"lognormal: sigma is {self.sigma}; it must be 0 or more")
        _whole("lognormal", "minimum", self.minimum)
        if self.maximum is not None and self.maximum < self.minimum:
            raise ValueError(
                f"lognormal: maximum is {self.maximum}; it must be at least minimum ({self.minimum})"
            )

    @classmethod
    def from_mean(cls, mean: float, sigma: float, minimum: int = 1, maximum: int | None = None) -> LogNormal:
        """Make one by its mean before cutting: median = mean·exp(−σ²/2)."""
        return cls(mean * math.exp(-(sigma**2) / 2), sigma, minimum, maximum)

    @classmethod
    def from_mean_and_median(
        cls, mean: float, p50: float, minimum: int = 1, maximum: int | None = None
    ) -> LogNormal:
        """Make one by its mean and median before cutting: σ = √(2·ln(mean/p50))."""
        if not mean >= p50 > 0:
            raise ValueError(f"lognormal: mean is {mean}, p50 {p50}; the mean of a log-normal is the larger")
        return cls(p50, math.sqrt(2 * math.log(mean / p50)), minimum, maximum)

    @classmethod
    def from_percentiles(
        cls,
        p50: float,
        p99: float | None = None,
        p90: float | None = None,
        minimum: int = 1,
        maximum: int | None = None,
    ) -> LogNormal:
        """Make one by its median and its 99th or 90th percentile: σ = ln(p/p50)/z."""
        if (p99 is None) == (p90 is None):
            raise ValueError("lognormal: give p50 and either p90 or p99")
        high, z = (p90, _Z90) if p99 is None else (p99, _Z99)
        if high is None or not high >= p50 > 0:
            raise ValueError(
                f"lognormal: p50 is {p50}, the high percentile {high}; they must be positive, in order"
            )
        return cls(p50, math.log(high / p50) / z, minimum, maximum)

    def sample(self, rng: np.random.Generator, size: int) -> IntArray:
        """Draw lengths."""
        drawn = self.median * np.exp(self.sigma * rng.standard_normal(size))
        return np.rint(np.clip(drawn, self.minimum, self.maximum)).astype(np.int64)

    def mean(self) -> float:
        """Mean, the cut included [tokens]."""
        return self._moment(1)

    def variance(self) -> float:
        """Variance, the cut included [tokens²]."""
        return max(0.0, self._moment(2) - self._moment(1) ** 2)

    def _moment(self, power: int) -> float:
        """E[X^power] of the law clipped to its bounds, in closed form."""
        if self.sigma == 0:
            held = min(max(self.median, self.minimum), math.inf if self.maximum is None else self.maximum)
            return float(held**power)
        mu, sigma = math.log(self.median), self.sigma
        low = (math.log(self.minimum) - mu) / sigma
        high = math.inf if self.maximum is None else (math.log(self.maximum) - mu) / sigma
        inside = _phi(high - power * sigma) - _phi(low - power * sigma)
        moment: float = math.exp(power * mu + (power * sigma) ** 2 / 2) * inside + self.minimum**power * _phi(
            low
        )
        return moment if self.maximum is None else moment + float(self.maximum) ** power * _phi(-high)


_Z90, _Z99 = 1.2815515655446004, 2.3263478740408408
"""90th and 99th percentile of the standard normal."""


def _phi(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


@dataclass(frozen=True, slots=True)
class Independent:
    """Prompt and answer lengths drawn apart.

    Attributes:
        prompt: distribution of prompt lengths.
        output: distribution of answer lengths.

    """

    prompt: Lengths
    output: Lengths

    def sample(self, rng: np.random.Generator, size: int) -> tuple[IntArray, IntArray]:
        """Draw (prompt, output) lengths, each from a stream of its own."""
        first, second = rng.spawn(2)
        return self.prompt.sample(first, size), self.output.sample(second, size)

    def means(self) -> tuple[float, float]:
        """Mean prompt and answer length [tokens]."""
        return self.prompt.mean(), self.output.mean()


@dataclass(frozen=True, slots=True, eq=False)
class Empirical:
    """Pairs of lengths resampled together from a trace, so that their dependence is kept.

    Attributes:
        prompt_tokens: prompt lengths of the pairs.
        output_tokens: answer lengths of the pairs.

    """

    prompt_tokens: IntArray
    output_tokens: IntArray

    def __post_init__(self) -> None:
        if len(self.prompt_tokens) == 0 or len(self.prompt_tokens) != len(self.output_tokens):
            raise ValueError("empirical: prompt_tokens and output_tokens must have equal lengths, at least 1")

    @classmethod
    def of(cls, trace: Trace) -> Empirical:
        """Take the pairs of a trace."""
        return cls(trace.prompt_tokens, trace.output_tokens)

    def sample(self, rng: np.random.Generator, size: int) -> tuple[IntArray, IntArray]:
        """Draw (prompt, output) lengths, with replacement."""
        rows = rng.integers(len(self.prompt_tokens), size=size)
        return self.prompt_tokens[rows], self.output_tokens[rows]

    def means(self) -> tuple[float, float]:
        """Mean prompt and answer length [tokens]."""
        return float(self.prompt_tokens.mean()), float(self.output_tokens.mean())


class PairLengths(Protocol):
    """A joint distribution of prompt and answer lengths."""

    def sample(self, rng: np.random.Generator, size: int) -> tuple[IntArray, IntArray]:
        """Draw (prompt, output) lengths."""

    def means(self) -> tuple[float, float]:
        """Mean prompt and answer length [tokens]."""


def _whole(law: str, field: str, value: float) -> None:
    if isinstance(value, bool) or not math.isfinite(value) or value != int(value) or value < 1:
        raise ValueError(f"{law}: {field} is {value}; it must be a whole number, at least 1")
