"""Lengths of a problem's samples: log-normal, of right ones below the cap, of wrong ones censored there.

Arrays are by problem: `p`, the chance of a right sample, and `log_median`, of right samples' lengths before
the cap. `tokens` broadcasts against them. A wrong sample that would be longer than the cap is cut there, and
has no answer; a right one is right, that is, below the cap (see `Outcomes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.outcomes import FloatArray, Lengths

_CELLS = np.linspace(-5.0, 5.5, 71)  # edges, in standard deviations around the log median


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """The samples of problems.

    Attributes:
        p: chance that a sample is right, by problem.
        log_median: of right samples' lengths before the cap.
        law: the lengths' law.

    """

    p: FloatArray
    log_median: FloatArray
    law: Lengths

    def right(self, tokens: npt.ArrayLike) -> FloatArray:
        """Chance that a sample is right and ends within so many tokens: p·F(tokens)/F(cap)."""
        cut = np.minimum(np.asarray(tokens, dtype=np.float64), self.law.cap_tokens)
        return self.p * _ratio(self._below(cut, 0.0), self._below(self.law.cap_tokens, 0.0))

    def wrong(self, tokens: npt.ArrayLike) -> FloatArray:
        """Chance that a sample has a wrong answer and ends within so many tokens."""
        cut = np.minimum(np.asarray(tokens, dtype=np.float64), self.law.cap_tokens)
        return (1 - self.p) * self._below(cut, self.slower)

    def mean(self, max_tokens: float) -> FloatArray:
        """Mean tokens of a sample that is cut at `max_tokens`."""
        cut = min(max_tokens, self.law.cap_tokens)
        right = cut - self._shortfall(cut, 0.0) / self._below(self.law.cap_tokens, 0.0).clip(1e-300)
        wrong = cut - self._shortfall(cut, self.slower)
        return np.asarray(self.p * np.clip(right, 0.0, cut) + (1 - self.p) * wrong)

    def cells(self, max_tokens: float) -> FloatArray:
        """Edges that divide [0, max_tokens] finely where lengths are likely: [problem, edge]."""
        log_edge = self.log_median[:, None] + np.log1p((self.law.wrong_ratio - 1) / 2)
        width = max(self.law.sd_within, 1e-3) + abs(self.slower) / 10
        edges = np.exp(np.minimum(log_edge + width * _CELLS, np.log(min(max_tokens, self.law.cap_tokens))))
        edges[:, 0] = 0.0
        edges[:, -1] = min(max_tokens, self.law.cap_tokens)
        return np.asarray(edges)

    def longest(self, n: int, max_tokens: float) -> FloatArray:
        """Mean tokens of the longest of n samples cut at `max_tokens`: ∫ 1 − F(t)^n dt."""
        edges = self.cells(max_tokens)
        middle = (edges[:, 1:] + edges[:, :-1]) / 2
        right, wrong = self.ended(middle)
        return np.asarray(np.sum((1 - (right + wrong) ** n) * np.diff(edges), axis=1))

    def ended(self, tokens: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Chances that a sample is right, and wrong, and ends within so many tokens: [problem, tokens]."""
        by_problem = Traces(self.p[:, None], self.log_median[:, None], self.law)
        return by_problem.right(tokens), by_problem.wrong(tokens)

    @property
    def slower(self) -> float:
        """Log of the ratio of wrong over right samples' medians."""
        return float(np.log(self.law.wrong_ratio))

    def z(self, tokens: npt.ArrayLike, shift: float) -> FloatArray:
        """Standard deviations of a log length above its problem's log median + shift."""
        with np.errstate(divide="ignore"):
            log = np.log(np.asarray(tokens, dtype=np.float64))
        return np.asarray((log - self.log_median - shift) / max(self.law.sd_within, 1e-9))

    def _below(self, tokens: npt.ArrayLike, shift: float) -> FloatArray:
        from scipy.special import ndtr

        return np.asarray(ndtr(self.z(tokens, shift)))

    def _shortfall(self, cut: float, shift: float) -> FloatArray:
        """E[max(cut − L, 0)] of a log-normal L."""
        from scipy.special import ndtr

        sd, z = self.law.sd_within, self.z(cut, shift)
        mean = np.exp(self.log_median + shift + sd**2 / 2)
        return np.asarray(cut * ndtr(z) - mean * ndtr(z - sd))


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)
