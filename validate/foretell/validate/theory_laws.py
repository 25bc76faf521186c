"""Whole numbers of tokens by laws whose moments are known exactly, for queues that an engine plays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Geometrics:
    """A mixture of geometric laws on 1, 2, ...: exponential and hyperexponential services in whole tokens.

    Attributes:
        means: of the laws, each >= 1.
        weights: their chances, of sum 1.

    """

    means: tuple[float, ...]
    weights: tuple[float, ...] = (1.0,)

    @property
    def mean(self) -> float:
        """E[K]."""
        return float(np.dot(self.weights, self.means))

    @property
    def scv(self) -> float:
        """Squared coefficient of variation, from E[K²] = 2·m² − m of each."""
        means = np.array(self.means)
        return float(np.dot(self.weights, 2 * means**2 - means)) / self.mean**2 - 1

    def draw(self, rng: np.random.Generator, count: int) -> Tokens:
        """So many independent draws."""
        of = np.array(self.means)[rng.choice(len(self.means), count, p=self.weights)]
        return np.asarray(rng.geometric(1 / of), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Listed:
    """The law that puts equal weights on listed numbers."""

    values: tuple[int, ...]

    @property
    def mean(self) -> float:
        """E[K]."""
        return float(np.mean(self.values))

    @property
    def scv(self) -> float:
        """Squared coefficient of variation."""
        return float(np.var(self.values)) / self.mean**2

    def draw(self, rng: np.random.Generator, count: int) -> Tokens:
        """So many independent draws."""
        return np.asarray(rng.choice(np.array(self.values), count), dtype=np.int64)


Law = Geometrics | Listed


def lognormal(mean: float, sigma: float, points: int = 400) -> Listed:
    """A log-normal law at the middles of so many slices of equal chance, rounded up to whole tokens."""
    from scipy.stats import norm

    middles = norm.ppf((np.arange(points) + 0.5) / points)
    return Listed(tuple(int(k) for k in np.ceil(mean * np.exp(sigma * middles - sigma**2 / 2))))


def hyperexponential(mean: float, scv: float) -> Geometrics:
    """Two geometric laws with balanced means (each has half the work) and about this variability."""
    first = (1 + ((scv - 1) / (scv + 1)) ** 0.5) / 2
    return Geometrics((mean / (2 * first), mean / (2 * (1 - first))), (first, 1 - first))
