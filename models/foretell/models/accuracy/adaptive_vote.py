"""Adaptive votes: samples one after the other until the lead of one answer is sure enough.

Closed for two answers, right and wrong (s = 1): the counts walk on a lattice. With more wrong answers the
lead is over each one alone, so that votes end sooner and better than here.
"""

from __future__ import annotations

from math import comb

import numpy as np
import numpy.typing as npt

from foretell.models.outcomes import FloatArray


def lead_chance(most: int, second: int) -> float:
    """Posterior chance that the answer with `most` votes leads the one with `second`: from a uniform prior.

    P(share > 1/2) of Beta(most + 1, second + 1), which is P(Bin(most + second + 1, 1/2) > second)
    (Aggarwal et al. 2023, arXiv:2305.11860, eq. 2).
    """
    n = most + second + 1
    return 1 - float(sum(comb(n, k) for k in range(second + 1)) / 2**n)


def adaptive_vote(
    p: npt.ArrayLike, k: int, *, threshold: float | None = 0.95
) -> tuple[FloatArray, FloatArray]:
    """(chance that the right answer wins, mean samples drawn) by problem, k samples at most.

    All paths of (right, wrong) counts are followed; they end where `lead_chance` reaches `threshold`, or, for
    None, where the samples to come cannot overturn the lead, which then is the full vote's. A tie at the end
    is split. Exact where wrong samples all agree.

    Raises:
        ValueError: k below 1.

    """
    if k < 1:
        raise ValueError(f"k: {k} samples is not at least one")
    right = np.atleast_1d(np.asarray(p, dtype=np.float64))
    here = np.zeros((k + 2, right.size))  # chance to be at m right votes of t, going on
    here[0] = 1.0
    won, drawn = np.zeros(right.size), np.zeros(right.size)
    for t in range(1, k + 1):
        drawn += here.sum(axis=0)
        here[1 : t + 1] = here[1 : t + 1] * (1 - right) + here[:t] * right
        here[0] *= 1 - right
        for m in range(t + 1):
            most, second = max(m, t - m), min(m, t - m)
            sure = most > second + k - t if threshold is None else lead_chance(most, second) >= threshold
            if sure or t == k:
                won += here[m] * (1.0 if 2 * m > t else 0.5 if 2 * m == t else 0.0)
                here[m] = 0.0
    shape = np.shape(p)
    return won.reshape(shape), drawn.reshape(shape)
