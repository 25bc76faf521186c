"""Imperfect verifiers: samples drawn until one is accepted, which may be wrong.

A verifier accepts what is right with chance c (completeness) and rejects what is wrong with chance s
(soundness), each sample anew. Arguments broadcast; means over problems are the caller's (`weights @ ...`).
Where errors on a problem go together (`common`), they are given its rates: take the mean over `by_rates`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import numpy.typing as npt

from foretell.models.accuracy.common import rates
from foretell.models.outcomes import FloatArray


def acceptance(
    p: npt.ArrayLike, completeness: float, soundness: float, wrong: npt.ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """Chances that a sample is right and accepted, c·p, and that it is wrong and accepted, (1−s)·w."""
    right = np.asarray(p, dtype=np.float64)
    missed = 1 - right if wrong is None else np.asarray(wrong, dtype=np.float64)
    return completeness * right, np.asarray((1 - soundness) * missed)


def by_rates(
    p: npt.ArrayLike,
    completeness: float,
    soundness: float,
    common: float = 0.0,
    wrong: npt.ArrayLike | None = None,
) -> Iterator[tuple[float, FloatArray, FloatArray]]:
    """Weight, and `acceptance`, of each pair of rates that a verifier may have on a problem.

    With `common` 0 that is one pair, (completeness, 1 − soundness). Weights add up to 1.
    """
    for (u, c), (v, f) in product(rates(completeness, common), rates(1 - soundness, common)):
        yield u * v, *acceptance(p, c, 1 - f, wrong)


def accepted_within(good: FloatArray, bad: FloatArray, k: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Chances that the first accepted of at most k samples is right, and that it is wrong.

    (1 − (1−A)^k)·c·p/A with A = c·p + (1−s)·w, and the like for wrong ones; what is left has no answer.

    Args:
        good, bad: from `acceptance`.
        k: samples, infinite for the ceiling (Stroebl et al. 2024, "Inference Scaling fLaws",
            arXiv:2411.17501): there, the right answer's share c·p/A of all that is accepted.

    """
    from scipy.special import xlog1py

    one = good + bad
    with np.errstate(divide="ignore", invalid="ignore"):
        some = -np.expm1(xlog1py(np.asarray(k, dtype=np.float64), -one))  # 0 for no sample, whatever A is
        share = np.where(one > 0, good / one, 0.0)
    some = np.where(one > 0, some, 0.0)
    return np.asarray(some * share), np.asarray(some * (1 - share))


def samples_until_accepted(good: FloatArray, bad: FloatArray, k: npt.ArrayLike) -> FloatArray:
    """Mean number of samples drawn until one is accepted, or k are drawn: (1 − (1−A)^k)/A, k where A = 0."""
    one, most = np.broadcast_arrays(good + bad, np.asarray(k, dtype=np.float64))
    some = sum(accepted_within(good, bad, k))
    return np.asarray(np.divide(some, one, out=most.copy(), where=one > 0))


def utility(
    p: npt.ArrayLike,
    weights: npt.ArrayLike,
    k: npt.ArrayLike,
    completeness: float,
    soundness: float,
    *,
    false_positive_cost: float,
    sample_cost: float = 0.0,
    common: float = 0.0,
) -> FloatArray:
    """Mean worth of sampling at most k times, by k: 1 for a right answer, less what is wrong and paid.

    Σ weight·[P(right accepted) − false_positive_cost·P(wrong accepted) − sample_cost·E(samples)]. Problems
    that are easy are settled within few samples; further ones go to hard problems, where what is accepted is
    mostly wrong: hence the finite best k of `best_k`. With `common` errors those are on few problems, whose
    first sample is as likely accepted as any: sampling on then harms less.
    """
    chance, share = np.atleast_1d(np.asarray(p, dtype=np.float64)), np.asarray(weights, dtype=np.float64)
    most = np.atleast_1d(np.asarray(k, dtype=np.float64))
    worth = np.zeros(len(most))
    for weight, good, bad in by_rates(chance[:, None], completeness, soundness, common):
        right, wrong = accepted_within(good, bad, most)
        paid = samples_until_accepted(good, bad, most)
        worth += weight * (share @ (right - false_positive_cost * wrong - sample_cost * paid))
    return worth


def best_k(
    p: npt.ArrayLike,
    weights: npt.ArrayLike,
    completeness: float,
    soundness: float,
    *,
    false_positive_cost: float,
    sample_cost: float = 0.0,
    common: float = 0.0,
    most: int = 1024,
) -> int:
    """The k from 0 to `most` with the most `utility`; 0 where even the first accepted sample is no gain."""
    worth = utility(
        p,
        weights,
        np.arange(most + 1),
        completeness,
        soundness,
        false_positive_cost=false_positive_cost,
        sample_cost=sample_cost,
        common=common,
    )
    return int(np.argmax(worth))
