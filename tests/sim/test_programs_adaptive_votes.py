"""Stops between samples: expected samples and accuracy by exact counts of two answers, or by acceptance."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from scipy.special import betainc, betaln

from foretell.models.accuracy.verifier import samples_until_accepted
from foretell.models.accuracy.voting import majority_vote
from foretell.models.outcomes import Answers, Lengths, Revision
from foretell.models.verifiers import Verifier
from foretell.sim.programs.adaptive_votes import (
    adaptive_consistency,
    certain_consistency,
    certainty,
    lead_is_sure,
    selective,
    self_evaluated,
    semantic_entropy,
)
from foretell.sim.programs.llm import Judge
from foretell.sim.programs.sampling import self_consistency
from unloaded import TPOT_S, A, B, agrees, beta_mean, profile, run

TWO = Answers(1.0)  # all wrong samples say the same


def stopped(n: int, batch: int, stop: Callable[[int, int], bool]) -> tuple[float, float]:
    """Mean samples and accuracy of a sequential vote over two answers, whose chance is Beta(A, B): exact."""
    alive = {(0, 0): 1}  # ways to get there
    samples = accuracy = 0.0
    for drawn in range(1, n + 1):
        after: dict[tuple[int, int], int] = {}
        for (right, wrong), ways in alive.items():
            for cell in ((right + 1, wrong), (right, wrong + 1)):
                after[cell] = after.get(cell, 0) + ways
        alive = {}
        for (right, wrong), ways in after.items():
            if drawn == n or (drawn % batch == 0 and stop(right, wrong)):
                chance = ways * np.exp(betaln(A + right, B + wrong) - betaln(A, B))
                samples += drawn * chance
                accuracy += chance * (1.0 if right > wrong else 0.5 if right == wrong else 0.0)
            else:
                alive[right, wrong] = ways
    return samples, accuracy


@pytest.mark.systems(202)
@pytest.mark.parametrize("threshold", [0.8, 0.95])
def test_adaptive_consistency_draws_and_answers_as_counts_say(threshold: float) -> None:
    took = run(adaptive_consistency(n=20, threshold=threshold), profile(answers=TWO))

    def sure(right: int, wrong: int) -> bool:
        most, second = max(right, wrong), min(right, wrong)
        return 1 - float(betainc(most + 1, second + 1, 0.5)) >= threshold

    samples, accuracy = stopped(20, 1, sure)
    agrees(took.calls, samples)
    agrees(took.right, accuracy)
    agrees(took.latency_s, samples * 1000 * TPOT_S)


def test_a_decided_vote_is_the_whole_vote() -> None:
    for answers in (TWO, Answers(0.5)):
        outcomes = profile(answers=answers)
        early = run(adaptive_consistency(n=9, batch=1, stop="decided"), outcomes, 1000)
        whole = run(self_consistency(n=9), outcomes, 1000)
        assert early.calls.mean() < 9
        alike = early.answers == whole.answers  # ties, which draws settle, apart
        assert alike.mean() > 0.97
    odd = run(adaptive_consistency(n=9, stop="decided"), profile(answers=TWO), 1000)
    assert np.array_equal(odd.answers, run(self_consistency(n=9), profile(answers=TWO), 1000).answers)


@pytest.mark.systems(202)
@pytest.mark.parametrize(("batch", "threshold"), [(2, 1.0), (4, 0.5)])
def test_certain_consistency_draws_and_answers_as_counts_say(batch: int, threshold: float) -> None:
    took = run(certain_consistency(n=12, batch=batch, threshold=threshold), profile(answers=TWO))
    samples, accuracy = stopped(12, batch, lambda r, w: certainty([0] * r + [1] * w) >= threshold)
    agrees(took.calls, samples)
    agrees(took.right, accuracy)


@pytest.mark.systems(202)
def test_certainty_goes_from_nothing_to_unanimity() -> None:
    assert certainty([5] * 7) == 1
    assert certainty(range(6)) == pytest.approx(0, abs=1e-12)
    assert certainty([0, 0, 1, 1]) == pytest.approx(0.5)
    assert certainty([None, None]) == pytest.approx(0, abs=1e-12) == certainty([None]) == certainty([])
    assert certainty([0, 0, None]) == certainty([0, 0, 1])


def test_the_lead_is_the_posterior_of_a_beta() -> None:
    for most, second in ((1, 0), (4, 1), (20, 12)):
        chance = 1 - float(betainc(most + 1, second + 1, 0.5))
        assert lead_is_sure(most, second, chance - 1e-9) and not lead_is_sure(most, second, chance + 1e-9)


@pytest.mark.slow
@pytest.mark.systems(127)
def test_rounds_go_on_until_a_round_agrees() -> None:
    """Where a revision always repairs, only a round that agrees on a wrong answer is lost."""
    sure = Revision((1.0,), (0.0,))
    took = run(semantic_entropy(width=3, rounds=2, threshold=0.0), profile(answers=TWO, revision=sure))
    agrees(took.right, 1 - beta_mean(lambda p: (1 - p) ** 3))
    again = beta_mean(lambda p: 1 - p**3 - (1 - p) ** 3)
    agrees(took.calls, 3 * (1 + again))
    agrees(took.prompt_tokens, 3 * 256 + again * 3 * (256 + 1000 + 2 * 100))
    # A threshold of one lets the first round pass: a plain vote.
    lax = run(semantic_entropy(width=4, threshold=1.0), profile(answers=TWO))
    agrees(lax.right, beta_mean(lambda p: majority_vote(p, 4, TWO)))


@pytest.mark.systems(37)
@pytest.mark.parametrize(("completeness", "soundness"), [(1.0, 1.0), (0.8, 0.6)])
def test_self_evaluation_stops_at_the_first_accepted(completeness: float, soundness: float) -> None:
    n, judge = 6, Judge(None, Verifier(completeness=completeness, soundness=soundness))
    took = run(self_evaluated(n=n, verifier=judge))

    def right(p: Any) -> Any:
        accept = completeness * p + (1 - soundness) * (1 - p)
        refused = (1 - accept) ** n
        first = (1 - completeness) * p / (1 - accept)  # nothing was accepted: the first sample, if right
        return (1 - refused) * completeness * p / accept + refused * first

    agrees(took.right, beta_mean(right))
    good, bad = completeness, 1 - soundness
    tries = beta_mean(lambda p: samples_until_accepted(p * good, (1 - p) * bad, n))
    agrees(took.tokens, 1000 * tries)


@pytest.mark.systems(37)
def test_a_higher_threshold_asks_more_often_and_is_better() -> None:
    judge = Judge(None, Verifier(auc=0.85))
    eager, picky = (run(self_evaluated(n=16, threshold=t, verifier=judge)) for t in (-1.0, 1.5))
    assert eager.tokens.mean() < picky.tokens.mean()
    assert eager.accuracy < picky.accuracy


@pytest.mark.systems(284)
def test_abstaining_trades_answers_for_risk() -> None:
    outcomes, normal = profile(confidence_auc=0.8), NormalDist()
    half = normal.inv_cdf(0.8) / np.sqrt(2)
    mean = A / (A + B)
    answered_share, correct = [], []
    for threshold in (-1.0, 0.0, 1.0):
        took = run(selective(threshold=threshold), outcomes)
        right = mean * (1 - normal.cdf(threshold - half))
        agrees(took.right, right)
        agrees(took.answers >= 0, right + (1 - mean) * (1 - normal.cdf(threshold + half)))
        answered_share.append((took.answers >= 0).mean())
        correct.append(took.right[took.answers >= 0].mean())
    assert answered_share == sorted(answered_share, reverse=True) and correct == sorted(correct)


@pytest.mark.systems(284)
def test_thinking_longer_answers_more() -> None:
    outcomes = profile(lengths=Lengths(1000, 0.5, 0.3, cap_tokens=10**6))
    shares = [float((run(selective(max_tokens=t), outcomes).answers >= 0).mean()) for t in (500, 1000, 4000)]
    assert shares == sorted(shares) and shares[0] < shares[-1]


def test_votes_keep_what_they_have_at_a_deadline() -> None:
    for program in (adaptive_consistency(threshold=1.0), certain_consistency(batch=1, threshold=2 / 2)):
        late = run(program, profile(answers=Answers(0.3)), 200, deadline_s=35.0)
        assert late.latency_s.max() <= 35.0 and late.calls.max() <= 4
        assert late.accuracy > 0.4


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="stop: 'never'"):
        adaptive_consistency(stop="never")
    with pytest.raises(ValueError, match="threshold"):
        certain_consistency(threshold=1.5)
    with pytest.raises(ValueError, match="width"):
        semantic_entropy(width=0)
