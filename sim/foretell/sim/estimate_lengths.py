"""How long answers are, over a grid of problems: means, and the longest or shortest of several.

A sample's length has, within a problem, the distribution function
F(x) = p·Φ((ln x − m)/σ)/Φ((ln cap − m)/σ) + (1 − p)·Φ((ln x − m − ln ratio)/σ) below the cap, 1 from there
on: what `foretell.sim.programs` draws. The longest of n samples of one problem has Fⁿ, the shortest
1 − (1 − F)ⁿ. Over problems these are mixed, never multiplied: that lengths differ mostly between problems
is what makes waiting for the longest cheap, and racing for the shortest of little use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foretell.models.outcomes import FloatArray, Outcomes

_EASES, _VERBOSITIES = 60, 7
_GRID = 96
"""Lengths at which F is held: 3 % apart over three and a half decades."""
_LUCK = (np.arange(12) + 0.5) / 12
_LUCK = np.concatenate([_LUCK[:-1], [0.93, 0.97, 0.99, 0.998]])
_LUCK_WEIGHT = np.diff(np.concatenate([[0.0], (_LUCK[1:] + _LUCK[:-1]) / 2, [1.0]]))
"""Quantiles of luck within a problem, denser at the long end."""


@dataclass(frozen=True, slots=True, eq=False)
class LengthGrid:
    """Lengths of one profile's samples.

    Attributes:
        weight: of the problems, shape (problems,); their sum is 1.
        chance: of being solved, shape (problems,).
        tokens: lengths, shape (lengths,), increasing.
        share: F at these lengths, shape (problems, lengths).

    """

    weight: FloatArray
    chance: FloatArray
    tokens: FloatArray
    share: FloatArray

    def moments(self, max_tokens: float = np.inf, *, of: int = 1) -> tuple[FloatArray, FloatArray]:
        """Mean and mean square of the shortest `of` samples, each cut at `max_tokens`, by problem.

        They are ∫(1 − F)ⁿ dx and ∫2x(1 − F)ⁿ dx.
        """
        x, above = np.minimum(self.tokens, max_tokens), (1 - self.share) ** of
        return self._mean(above, x), self._mean(above, x, square=True)

    def longest(self, n: int, max_tokens: float = np.inf) -> FloatArray:
        """Mean of the longest of n samples, by problem."""
        return self._mean(1 - self.share**n, np.minimum(self.tokens, max_tokens))

    def overlap(self, n: int, max_tokens: float = np.inf) -> float:
        """Share of a sample's tokens in which a sibling is still writing: E[min of two] over E[one]."""
        if n < 2:
            return 0.0
        both = float(self.weight @ self.moments(max_tokens, of=2)[0])
        return both / float(self.weight @ self.moments(max_tokens)[0])

    def spread(self, n: int, *, shortest: bool = False, max_tokens: float = np.inf) -> FloatArray:
        """Lengths of the longest (or shortest) of n over luck, shape (problems, len(luck)); see `luck`."""
        level = 1 - (1 - _LUCK) ** (1 / n) if shortest else _LUCK ** (1 / n)
        place = np.stack([(self.share < u).sum(axis=1) for u in level], axis=1)
        high = np.minimum(place, len(self.tokens) - 1)
        low = np.maximum(high - 1, 0)
        rows = np.arange(len(self.weight))[:, None]
        below, above = self.share[rows, low], self.share[rows, high]
        gap = np.where(above > below, above - below, 1.0)
        part = np.clip((level[None, :] - below) / gap, 0.0, 1.0)
        tokens = self.tokens[low] * (self.tokens[high] / self.tokens[low]) ** part
        return np.asarray(np.minimum(tokens, max_tokens))

    def ended(self, max_tokens: float = np.inf) -> FloatArray:
        """Chance that a sample ends below `max_tokens` and the cap, and so has an answer, by problem."""
        high = int(np.searchsorted(self.tokens, max_tokens))
        if high == 0:
            return np.zeros_like(self.weight)
        if high >= len(self.tokens) - 1:
            return np.asarray(self.share[:, -2])
        low = high - 1
        part = np.log(max_tokens / self.tokens[low]) / np.log(self.tokens[high] / self.tokens[low])
        return np.asarray(self.share[:, low] + part * (self.share[:, high] - self.share[:, low]))

    @property
    def wrong(self) -> FloatArray:
        """Chance of a wrong answer, by problem: neither right nor cut at the cap."""
        return np.asarray(self.ended() - self.chance)

    @property
    def luck(self) -> FloatArray:
        """Weights of (problem, luck), shape (problems, len(luck)); their sum is 1."""
        return np.asarray(self.weight[:, None] * _LUCK_WEIGHT[None, :])

    def _mean(self, above: FloatArray, x: FloatArray, *, square: bool = False) -> FloatArray:
        steps = np.diff(x**2 if square else x)
        first = x[0] ** 2 if square else x[0]
        inner = (above[:, 1:] + above[:, :-1]) / 2
        return np.asarray(first + inner @ steps)


def length_grid(profile: Outcomes) -> LengthGrid:
    """Tabulate the lengths of a profile's samples."""
    from scipy.special import ndtr

    weight, chance, log_median = profile.problem_grid(_EASES, _VERBOSITIES)
    law = profile.lengths
    sd = max(law.sd_within, 1e-3)
    cap = float(law.cap_tokens)
    low = max(min(float(np.exp(log_median.min() - 4 * sd)), cap / 2), 1.0)
    high = min(float(np.exp(log_median.max() + 4 * sd)), cap * (1 - 1e-6))
    tokens = np.geomspace(low, high, _GRID)
    at = (np.log(tokens)[None, :] - log_median[:, None]) / sd
    ends = ndtr((np.log(cap) - log_median[:, None]) / sd)
    right = np.minimum(ndtr(at) / np.maximum(ends, 1e-300), 1.0)
    share = chance[:, None] * right + (1 - chance[:, None]) * ndtr(at - np.log(law.wrong_ratio) / sd)
    tokens, share = np.append(tokens, cap), np.append(share, np.ones((len(chance), 1)), axis=1)
    return LengthGrid(weight, chance, tokens, share)
