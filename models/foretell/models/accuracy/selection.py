"""Best of N: the sample that a verifier likes best, by a noisy score or a verdict."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

from foretell.models.accuracy.common import rates, separations
from foretell.models.accuracy.coverage import pass_at_k
from foretell.models.outcomes import FloatArray

_NODES = np.linspace(-8.5, 8.5, 137)  # a trapezoid this fine is exact to 1e-9 for the smooth integrands here


def best_of_n(
    p: npt.ArrayLike,
    n: int,
    separation: float,
    wrong: npt.ArrayLike | None = None,
    common: float = 0.0,
) -> FloatArray:
    """Chance that the sample with the best score of n is right, scores being normal with noise 1.

    E over m ~ Bin(N, p) of ∫ m·f₁·F₁^(m−1)·F₀^(N−m), which adds up to ∫ N·p·f₁·(p·F₁ + w·F₀ + e)^(N−1) with
    e = 1 − p − w unanswered samples, that are not scored. Source: Cobbe et al. 2021, arXiv:2110.14168, with
    the Gaussian reward of AUC = Φ(separation/√2).

    Args:
        p: chance of a right sample, by problem.
        n: samples, >= 1.
        separation: of the mean scores of right and wrong samples; infinite for an oracle.
        wrong: chance of a wrong answer, by problem; 1 − p where None.
        common: share of the noise's variance that a problem's right, and its wrong answers share.

    """
    if common:
        mixed = separations(separation, common)
        return np.asarray(sum(weight * best_of_n(p, n, gap, wrong) for weight, gap in mixed))
    from scipy.special import ndtr

    right = np.asarray(p, dtype=np.float64)
    missed = 1 - right if wrong is None else np.asarray(wrong, dtype=np.float64)
    none = np.maximum(1 - right - missed, 0.0)
    if separation == np.inf:
        return pass_at_k(right, n)
    if separation == -np.inf:  # a right one is taken only where no wrong one is
        return np.asarray((right + none) ** n - none**n)
    density = np.exp(-(_NODES**2) / 2) / np.sqrt(2 * np.pi)
    below_right, below_wrong = ndtr(_NODES), ndtr(_NODES + separation)
    below = right[..., None] * below_right + missed[..., None] * below_wrong + none[..., None]
    step = _NODES[1] - _NODES[0]
    return np.asarray(np.minimum(n * right * (below ** (n - 1) @ density) * step, 1.0))


def first_accepted(
    p: npt.ArrayLike,
    n: int,
    completeness: float,
    soundness: float,
    wrong: npt.ArrayLike | None = None,
    common: float = 0.0,
) -> FloatArray:
    """Chance of a right answer if one of the accepted of n samples is given, or of all where none is.

    Equal scores are ties, and every sample of the best class is as likely given: with A = c·p + (1−s)·w
    accepted and R = (1−c)·p + s·w rejected, (1 − (1−A)^n)·c·p/A + ((1−A)^n − e^n)·(1−c)·p/R. Unit tests that
    are too weak accept all that is right (c = 1) and some that is not (s < 1); with `common` errors, on some
    problems nearly all that is not. E over the problem's rates c and 1 − s.
    """
    if common:
        mixed = product(rates(completeness, common), rates(1 - soundness, common))
        return np.asarray(sum(u * v * first_accepted(p, n, c, 1 - f, wrong) for (u, c), (v, f) in mixed))
    right = np.asarray(p, dtype=np.float64)
    missed = 1 - right if wrong is None else np.asarray(wrong, dtype=np.float64)
    none = np.maximum(1 - right - missed, 0.0)
    accepted = completeness * right + (1 - soundness) * missed
    rejected = (1 - completeness) * right + soundness * missed
    good = np.divide(completeness * right, accepted, out=np.zeros_like(accepted), where=accepted > 0)
    rest = np.divide((1 - completeness) * right, rejected, out=np.zeros_like(rejected), where=rejected > 0)
    nobody = (rejected + none) ** n
    return np.asarray((1 - nobody) * good + (nobody - none**n) * rest)
