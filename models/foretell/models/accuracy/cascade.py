"""Cascades and routers: a weak model first, and a strong one where a gate says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.accuracy.voting import top_shares
from foretell.models.outcomes import Answers, FloatArray


@dataclass(frozen=True, slots=True)
class Joint:
    """How often two models are right together: weak and strong ones err on the same problems.

    Attributes:
        both: both are right.
        weak: the weak one is right, whatever the other.
        strong: the strong one is right.

    Raises:
        ValueError: figures that no two models can have.

    """

    both: float
    weak: float
    strong: float

    def __post_init__(self) -> None:
        slack = 1e-9
        least = max(self.weak + self.strong - 1, 0.0)
        if not least - slack <= self.both <= min(self.weak, self.strong) + slack:
            raise ValueError(
                f"both: {self.both} is not within {least:g} and {min(self.weak, self.strong):g}, "
                "which the two accuracies allow"
            )

    @property
    def strong_only(self) -> float:
        """Chance that only the strong model is right."""
        return self.strong - self.both

    @property
    def either(self) -> float:
        """Chance that one is right at least: the accuracy of an oracle's cascade."""
        return self.weak + self.strong_only


def cascade(joint: Joint, keep_right: float, keep_wrong: float) -> tuple[float, float]:
    """(accuracy, share deferred) of a gate that keeps right and wrong weak answers with these chances.

    P(keep)·P(weak right | keep) + P(defer)·P(strong right | defer) = keep_right·P(weak) +
    (1−keep_right)·P(both) + (1−keep_wrong)·P(only strong). It holds as well for a router, that sees the
    query only, if its choice depends on nothing but whether the weak model will be right.
    """
    accuracy = keep_right * joint.weak + (1 - keep_right) * joint.both + (1 - keep_wrong) * joint.strong_only
    deferred = (1 - keep_right) * joint.weak + (1 - keep_wrong) * (1 - joint.weak)
    return accuracy, deferred


def oracle_cascade(joint: Joint) -> tuple[float, float]:
    """(accuracy, share deferred) if just those are deferred that only the strong model solves.

    On RouteLLM's GSM8K table, .638 and .857 give .929 deferring 29 %.
    """
    return joint.either, joint.strong_only


def gate(auc: float, threshold: float) -> tuple[float, float]:
    """Chances that right and wrong weak answers are kept: a normal score ±δ/2 of `threshold` or more.

    AUC = Φ(δ/√2). A threshold of −∞ keeps all, +∞ none.
    """
    from scipy.special import ndtr, ndtri

    half = ndtri(auc) / np.sqrt(2)
    return float(ndtr(half - threshold)), float(ndtr(-half - threshold))


def threshold_for(auc: float, weak: float, deferred: float) -> float:
    """The gate's threshold that defers this share, in (0, 1), if the weak model is right with chance `weak`.

    Raises:
        ValueError: a share or an AUC out of range.

    """
    from scipy.optimize import brentq

    if not 0 < deferred < 1 or not 0 < auc < 1:
        raise ValueError(f"deferred: share {deferred} and AUC {auc} are not within 0 and 1")

    def excess(threshold: float) -> float:
        right, wrong = gate(auc, threshold)
        return (1 - right) * weak + (1 - wrong) * (1 - weak) - deferred

    return float(brentq(excess, -30.0, 30.0))


def error_recall(auc: float, weak: float, deferred: float) -> float:
    """Share of the weak model's errors among the deferred: the gate's recall at that rate of deferral.

    Measured gates catch 32–55 % of the errors by deferring a tenth.
    """
    return 1 - gate(auc, threshold_for(auc, weak, deferred))[1]


def agreement_gate(
    p: npt.ArrayLike, n: int, votes: int, answers: Answers, wrong: npt.ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """Chances, by problem, that the right answer, and that a wrong one, has `votes` or more of n samples.

    P(Bin(n, p) >= votes) and Σ_j P(Bin(n, w_j) >= votes), w_j = w·s·(1−s)^(j−1): exact for votes > n/2, which
    one answer alone can have. Source of the gate: Yue et al. 2023, arXiv:2310.03094.

    Raises:
        ValueError: if two answers could have so many votes.

    """
    from scipy.special import bdtrc

    if not n / 2 < votes <= n:
        raise ValueError(f"votes: {votes} of {n} samples is not more than half of them, and at most all")
    right = np.asarray(p, dtype=np.float64)
    missed = 1 - right if wrong is None else np.asarray(wrong, dtype=np.float64)
    agreed = np.zeros_like(missed)
    for s, share in zip(*top_shares(answers), strict=True):
        left = 1.0
        while s > 0 and left * s > 1e-4:  # rarer answers have no majority
            agreed += share * bdtrc(votes - 1, n, missed * left * s)
            left *= 1 - s
    if votes == 1:  # one sample, that agrees with itself
        agreed = missed
    return np.asarray(bdtrc(votes - 1, n, right)), agreed
