"""Verifiers whose errors go together, as mixtures of verifiers whose errors do not.

Given what the noise of a problem's answers has in common, what is left is independent (`Verifier`): so a mean
over that of a formula for independent errors is exact. Only the difference of the two shared draws counts
for who scores best: own noise of √(1−c) around means apart by separation + √(2c)·Z is independent noise of 1
with the separation (separation + √(2c)·Z)/√(1−c).
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np

from foretell.models.outcomes import FloatArray
from foretell.models.verifiers import Verifier, rate_given

Mixture = list[tuple[float, float]]
"""(weight, value); weights add up to 1."""
_EDGE, _FINEST = 4.5, 0.02


def separations(separation: float, common: float) -> Mixture:
    """Separations of independent scores that scores with errors in common are a mixture of.

    Args:
        separation: of the means, in standard deviations of the whole noise; may be infinite.
        common: share of the noise's variance that is shared; with 1 all of a kind score the same.

    """
    if not common or math.isinf(separation):
        return [(1.0, separation)]
    if common == 1:
        from scipy.special import ndtr

        auc = float(ndtr(separation / math.sqrt(2)))
        return [(auc, math.inf), (1 - auc, -math.inf)]
    z, weight = _normal(math.sqrt((1 - common) / (2 * common)))
    gaps = (separation + math.sqrt(2 * common) * z) / math.sqrt(1 - common)
    return list(zip(weight.tolist(), gaps.tolist(), strict=True))


def rates(mean: float, common: float) -> Mixture:
    """Rates of acceptance by problem, of verdicts that accept with `mean` on the whole; see `rate_given`."""
    if not common or mean in (0.0, 1.0):
        return [(1.0, mean)]
    if common == 1:
        return [(mean, 1.0), (1 - mean, 0.0)]
    z, weight = _normal(math.sqrt((1 - common) / common))
    return [(w, rate_given(mean, common, x)) for w, x in zip(weight.tolist(), z.tolist(), strict=True)]


def apart(verifier: Verifier) -> list[tuple[float, Verifier]]:
    """Verifiers with independent errors that one with errors in common is a mixture of: (weight, verifier).

    They order a problem's answers (or a depth's steps) as it does; scores are of another scale.
    """
    common = verifier.common
    if not common:
        return [(1.0, verifier)]
    alone = replace(verifier, common=0.0)
    if verifier.completeness is None:
        from scipy.special import ndtr

        mixed = separations(verifier.separation, common)
        return [(w, replace(alone, auc=float(ndtr(gap / math.sqrt(2))))) for w, gap in mixed]
    pairs = product(rates(verifier.completeness, common), rates(1 - verifier.soundness, common))
    return [(u * v, replace(alone, completeness=c, soundness=1 - f)) for (u, c), (v, f) in pairs]


def _normal(width: float) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of a standard normal draw, for functions of it that change within `width`.

    Trapezoids: to some 1e-5 where `width` is more than `_FINEST`.
    """
    steps = math.ceil(_EDGE / min(max(0.6 * width, _FINEST), 0.5))
    z = np.linspace(-_EDGE, _EDGE, 2 * steps + 1)
    weight = np.exp(-(z**2) / 2)
    return z, weight / weight.sum()
