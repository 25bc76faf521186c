"""First finish: the answer of whichever of n samples ends first; the others are given up."""

from __future__ import annotations

import numpy as np

from foretell.models.accuracy.lengths import Traces
from foretell.models.outcomes import FloatArray


def first_finish(traces: Traces, n: int, max_tokens: float = np.inf) -> tuple[FloatArray, FloatArray]:
    """Chance that the first of n samples to end is right, and its mean tokens, by problem.

    ∫ p·f_r(t)·n·S(t)^(n−1) dt and E[min L] = ∫ S(t)^n dt, with S = 1 − p·F_r − (1−p)·F_w up to `max_tokens`,
    on cells within which the share of right ones among those that end is taken as constant: exact where right
    and wrong samples are alike but for the cap. Where none ends in time there is no answer.
    Source: Agarwal et al. 2025, "First Finish Search", arXiv:2505.18149.
    """
    edges = traces.cells(max_tokens)
    right, wrong = traces.ended(edges)
    going = np.maximum(1 - right - wrong, 0.0)
    ends = np.diff(right) + np.diff(wrong)
    share = np.divide(np.diff(right), ends, out=np.zeros_like(ends), where=ends > 0)
    left = going**n
    accuracy = np.sum(share * -np.diff(left), axis=1)
    tokens = np.sum((left[:, 1:] + left[:, :-1]) / 2 * np.diff(edges), axis=1)
    return np.asarray(accuracy), np.asarray(tokens)


def first_finish_quantile(traces: Traces, weights: FloatArray, n: int, quantile: float) -> float:
    """Quantile, over problems of these weights and their samples, of the tokens of the first of n to end.

    The t at which Σ weight·S(t)^n = 1 − quantile, found by bisection; the cap where more samples reach it.
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile: {quantile} is not in [0, 1]")
    low, high = 0.0, float(traces.law.cap_tokens)
    for _ in range(60):
        middle = (low + high) / 2
        going = np.sum(weights * np.maximum(1 - traces.right(middle) - traces.wrong(middle), 0.0) ** n)
        low, high = (middle, high) if going > 1 - quantile else (low, middle)
    return high
