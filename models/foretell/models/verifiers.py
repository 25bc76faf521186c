"""Verifiers: what tells right answers from wrong ones, how well, and at which cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Verifier:
    """A judge of answers or of reasoning steps.

    It gives a score, normal with standard deviation 1 and mean `separation`/2 for what is right and
    −`separation`/2 for what is wrong, or, with completeness and soundness, a verdict: +1 or −1.

    Errors may go together: real reward models are fooled by like mistakes alike. With `common` c, the noise
    of all right answers to a problem (or right steps of one depth) is √c·Z + √(1−c)·own with one Z for them
    all, that of all wrong ones with another Z. The scores of a right and a wrong answer still differ by
    `separation` with variance 2: the AUC of such pairs is `auc` whatever `common` is. But many samples only
    beat the noise that is their own: the best of ever more is right on no more than Φ(separation/√(2c)) of
    the problems. (A Z of the wrong ones alone would help a search: one draw has no extremes, many have.)
    A verdict accepts with a rate of the problem's own, Φ((Φ⁻¹(rate) + √c·Z)/√(1−c)), whose mean is
    `completeness` for what is right and 1 − `soundness` for what is wrong: false positives then come from the
    few problems whose tests are weak.

    What `common` is of real verifiers is hardly known; that it is not 0 is: picking by a reward model levels
    off after some hundred samples while coverage goes on rising (Brown et al. 2024, arXiv:2407.21787).

    Attributes:
        auc: chance that a right answer scores higher than a wrong one; Φ(separation/√2).
        completeness: chance that it accepts what is right; None: it scores.
        soundness: chance that it rejects what is wrong.
        output_tokens: what it writes for a verdict; 1 for a reward model, more for a generative one.
        prompt_tokens: its instructions, besides the query and what is judged.
        common: share of the noise's variance that answers of one kind to a problem have in common.

    Raises:
        ValueError: a figure out of range.

    """

    auc: float = 0.8
    completeness: float | None = None
    soundness: float = 1.0
    output_tokens: int = 1
    prompt_tokens: int = 0
    common: float = 0.0

    def __post_init__(self) -> None:
        for name in ("auc", "completeness", "soundness", "common"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if (value is not None or name != "completeness") and not (number and 0 <= value <= 1):
                raise ValueError(f"{name}: {value!r} is not a number in [0, 1]")
        for name, least in (("output_tokens", 1), ("prompt_tokens", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name}: {value!r} is not a whole number >= {least}")

    @property
    def separation(self) -> float:
        """Distance of the two means in standard deviations; infinite for an AUC of 1 (an oracle)."""
        if self.auc in (0.0, 1.0):
            return math.inf if self.auc else -math.inf
        return math.sqrt(2) * NormalDist().inv_cdf(self.auc)


def rate_given(mean: float, common: float, shared: float) -> float:
    """Rate of acceptance on a problem whose shared draw is `shared`, standard normal; its mean is `mean`."""
    if not common or mean in (0.0, 1.0):
        return mean
    reach = NormalDist().inv_cdf(mean) + math.sqrt(common) * shared
    if common == 1:
        return float(reach > 0)
    return NormalDist().cdf(reach / math.sqrt(1 - common))
