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

    Attributes:
        auc: chance that a right answer scores higher than a wrong one; Φ(separation/√2).
        completeness: chance that it accepts what is right; None: it scores.
        soundness: chance that it rejects what is wrong.
        output_tokens: what it writes for a verdict; 1 for a reward model, more for a generative one.
        prompt_tokens: its instructions, besides the query and what is judged.

    Raises:
        ValueError: a figure out of range.

    """

    auc: float = 0.8
    completeness: float | None = None
    soundness: float = 1.0
    output_tokens: int = 1
    prompt_tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("auc", "completeness", "soundness"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name}: {value!r} is not in [0, 1]")
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
