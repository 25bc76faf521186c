"""Budgets of tokens: who is right when thinking is cut, with and without being made to answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.accuracy.lengths import Traces
from foretell.models.outcomes import FloatArray


def forced_answer(
    traces: Traces, max_tokens: npt.ArrayLike, settling: float, guess_ratio: float
) -> FloatArray:
    """Chance that a sample is right at a budget, if one that is cut is asked for its answer so far.

    A trace of length L has settled on its final answer by T with chance (T/L)^settling; before, it guesses,
    and is right with guess_ratio·p. The mean of (T/L)^settling over lengths beyond T is a partial moment of
    the log-normal law. Forced answers lie above truncation, `Traces.right`, which is p·F(T)/F(cap).
    Source of the strategy: Muennighoff et al. 2025, "s1", arXiv:2501.19393.

    Args:
        traces: samples by problem.
        max_tokens: the budget T, broadcast against problems.
        settling, guess_ratio: see `Outcomes`.

    """
    from scipy.special import ndtr

    cap, sd = traces.law.cap_tokens, traces.law.sd_within
    cut = np.minimum(np.asarray(max_tokens, dtype=np.float64), cap)

    def settled(shift: float) -> FloatArray:  # E[(T/L)^settling; T < L <= cap]
        level = np.exp(settling * (np.log(cut) - traces.log_median - shift) + (settling * sd) ** 2 / 2)
        tail = ndtr(traces.z(cap, shift) + settling * sd) - ndtr(traces.z(cut, shift) + settling * sd)
        return np.asarray(np.where(tail > 0, level, 0.0) * np.maximum(tail, 0.0))

    within = ndtr(traces.z(cap, 0.0)).clip(1e-300)
    in_time = traces.right(cut)
    right_settled = np.minimum(traces.p * settled(0.0) / within, traces.p - in_time)
    censored = (1 - traces.p) * ndtr(-traces.z(cap, traces.slower))  # as long as the cap, without an answer
    wrong_later = (1 - traces.p) - traces.wrong(cut) - censored
    wrong_settled = np.minimum((1 - traces.p) * settled(traces.slower), wrong_later)
    unsettled = (traces.p - in_time - right_settled) + (wrong_later - wrong_settled)
    unsettled = unsettled + censored * (1 - (cut / cap) ** settling)
    return np.asarray(in_time + right_settled + guess_ratio * traces.p * unsettled)


@dataclass(frozen=True, slots=True)
class LogisticLaw:
    """P(right | max_tokens = T) = ceiling·σ((ln T − log_mid)/scale), the shape of measured budget curves."""

    ceiling: float
    log_mid: float
    scale: float

    def accuracy(self, max_tokens: npt.ArrayLike) -> FloatArray:
        """Accuracy at a budget of tokens > 0."""
        from scipy.special import expit

        log_tokens = np.log(np.asarray(max_tokens, dtype=np.float64))
        return np.asarray(self.ceiling * expit((log_tokens - self.log_mid) / self.scale))


def fit_logistic(max_tokens: npt.ArrayLike, accuracy: npt.ArrayLike) -> LogisticLaw:
    """Least squares of accuracy on a budget curve.

    Raises:
        ValueError: fewer than three points, or figures out of range.

    """
    from scipy.optimize import least_squares

    x, y = np.asarray(max_tokens, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    if x.size < 3 or x.shape != y.shape or np.any(x <= 0) or np.any(y < 0) or np.any(y > 1):
        raise ValueError("accuracy: the law needs three or more points, tokens > 0 and accuracy in [0, 1]")
    top = float(y.max())
    middle = float(np.log(x[np.argmin(abs(y - top / 2))]))

    def misfit(free: FloatArray) -> FloatArray:
        return LogisticLaw(free[0], free[1], np.exp(free[2])).accuracy(x) - y

    bounds = ((0.0, -np.inf, -10.0), (1.0, np.inf, 5.0))
    found = least_squares(misfit, (min(max(top, 1e-6), 1 - 1e-6), middle, np.log(0.4)), bounds=bounds)
    return LogisticLaw(float(found.x[0]), float(found.x[1]), float(np.exp(found.x[2])))
