"""Cascades of two outcome profiles in closed form: models whose errors and lengths go together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf

import numpy as np

from foretell.models.accuracy.cascade import Joint, agreement_gate, gate
from foretell.models.accuracy.lengths import Traces
from foretell.models.accuracy.profile import Expected, best_of_n
from foretell.models.accuracy.voting import majority_vote
from foretell.models.outcomes import Answers, Difficulty, FloatArray, Lengths, Outcomes
from foretell.models.verifiers import Verifier

_COMMON, _OWN, _VERBOSITIES = 60, 40, 7


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """A model's means given what models share of a problem: [common ease, verbosity]."""

    right: FloatArray
    wrong: FloatArray
    tokens: FloatArray

    @property
    def none(self) -> FloatArray:
        return 1 - self.right - self.wrong


def joint(weak: Outcomes, strong: Outcomes) -> Joint:
    """How often two models' single samples are right together: E over the ease and verbosity they share.

    With `shared` of 0 they err independently; with 1, as alike as their accuracies allow problem by problem.
    """
    weight, first, second = _weights(), _given(weak), _given(strong)
    return Joint(
        both=float(np.sum(weight * first.right * second.right)),
        weak=float(np.sum(weight * first.right)),
        strong=float(np.sum(weight * second.right)),
    )


def cascade(
    weak: Outcomes, strong: Outcomes, *, threshold: float = 0.0, verifier: Verifier | None = None
) -> Expected:
    """One weak sample if its confidence or a verifier's score is `threshold` or more, else a strong one.

    A weak sample without an answer is deferred, and a strong one without an answer falls back on the weak
    one's. `by_model` has the weak and the strong model's tokens.
    """
    if verifier is None or verifier.completeness is None:
        keep_right, keep_wrong = gate(weak.confidence_auc if verifier is None else verifier.auc, threshold)
    else:
        passed = (1.0, 1.0) if threshold <= -1 else (0.0, 0.0) if threshold > 1 else None
        keep_right, keep_wrong = passed or (verifier.completeness, 1 - verifier.soundness)
    weight, first, second = _weights(), _given(weak), _given(strong)
    lost_right, lost_wrong = (1 - keep_right) * first.right, (1 - keep_wrong) * first.wrong
    deferred = lost_right + lost_wrong + first.none
    right = keep_right * first.right + deferred * second.right + lost_right * second.none
    tokens = float(np.sum(weight * first.tokens)), float(np.sum(weight * deferred * second.tokens))
    return Expected(
        accuracy=float(np.sum(weight * right)),
        tokens=sum(tokens),
        critical_tokens=sum(tokens),
        samples=1 + float(np.sum(weight * deferred)),
        judged=0.0 if verifier is None else float(np.sum(weight * (first.right + first.wrong))),
        by_model=tokens,
    )


def agreement_cascade(weak: Outcomes, strong: Outcomes, *, n: int = 4, threshold: float = 0.75) -> Expected:
    """The weak model's majority answer if `threshold`·n of its n samples or more agree, else a strong sample.

    For thresholds of more than half; see `cascade.agreement_gate`. A strong sample without an answer falls
    back on the weak ones' vote.
    """
    votes = ceil(threshold * n - 1e-9)
    weight, first, second = _weights(), _given(weak), _given(strong)
    kept, wrong, won = _agreed(weak.difficulty, weak.lengths, weak.answers, n, votes)
    deferred = 1 - kept - wrong
    right = float(np.sum(weight * (kept + deferred * second.right + (won - kept) * second.none)))
    tokens = float(np.sum(weight * n * first.tokens)), float(np.sum(weight * deferred * second.tokens))
    path = best_of_n(weak, n=n).critical_tokens + tokens[1]
    return Expected(right, sum(tokens), path, n + float(np.sum(weight * deferred)), by_model=tokens)


def _weights() -> FloatArray:
    weight = np.polynomial.hermite_e.hermegauss(_VERBOSITIES)[1]
    return np.asarray(np.tile(weight / weight.sum() / _COMMON, (_COMMON, 1)))


def _given(profile: Outcomes) -> _Given:
    return _means(profile.difficulty, profile.lengths)


@lru_cache(maxsize=64)
def _means(difficulty: Difficulty, lengths: Lengths) -> _Given:
    traces = _problems(difficulty, lengths)
    return _Given(*(_over_own(x) for x in (traces.right(inf), traces.wrong(inf), traces.mean(inf))))


@lru_cache(maxsize=64)
def _agreed(
    difficulty: Difficulty, lengths: Lengths, answers: Answers, n: int, votes: int
) -> tuple[FloatArray, ...]:
    """Chances that a right and a wrong answer are kept, and that the vote is right."""
    traces = _problems(difficulty, lengths)
    right, wrong = traces.right(inf), traces.wrong(inf)
    gated = agreement_gate(right, n, votes, answers, wrong)
    won = majority_vote(right, n, answers, wrong)
    return tuple(_over_own(x) for x in (*gated, won))


@lru_cache(maxsize=64)
def _problems(difficulty: Difficulty, lengths: Lengths) -> Traces:
    from scipy.special import ndtri

    profile = Outcomes("", "", difficulty, lengths)
    common = ndtri((np.arange(_COMMON) + 0.5) / _COMMON)[:, None, None]
    verbosity = np.polynomial.hermite_e.hermegauss(_VERBOSITIES)[0][None, :, None]
    own = ndtri((np.arange(_OWN) + 0.5) / _OWN)[None, None, :]
    ease = np.sqrt(difficulty.shared) * common + np.sqrt(1 - difficulty.shared) * own
    chance = np.broadcast_to(profile.chance(ease), (_COMMON, _VERBOSITIES, _OWN))
    return Traces(chance.ravel(), profile.log_median(ease, verbosity).ravel(), lengths)


def _over_own(x: FloatArray) -> FloatArray:
    return np.asarray(x.reshape(_COMMON, _VERBOSITIES, _OWN).mean(axis=2))
