"""Verifiers whose errors go together: closed forms against drawn scores and verdicts, and their limits."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from foretell.models.accuracy import profile as forms
from foretell.models.accuracy.common import apart, rates, separations
from foretell.models.accuracy.coverage import pass_at_k
from foretell.models.accuracy.search import beam_search, dvts
from foretell.models.accuracy.search import best_of_n as best_of_n_search
from foretell.models.accuracy.search_scores import kept
from foretell.models.accuracy.selection import best_of_n, first_accepted
from foretell.models.accuracy.verifier import best_k
from foretell.models.outcomes import Difficulty, FloatArray, Lengths, Outcomes
from foretell.models.verifiers import Verifier

FAIR, VERDICT = Verifier(auc=0.8), Verifier(completeness=0.8, soundness=0.7)
COMMON = [0.0, 0.1, 0.5, 0.9, 0.99, 1.0]
DRAWS = 60_000


def drawn(verifier: Verifier, right: FloatArray, rng: np.random.Generator) -> FloatArray:
    """What a verifier gives answers that are right or not, shape (problems, answers).

    A verdict is a latent score on the accepting side of a threshold, which has the errors of scores.
    """
    from scipy.stats import norm

    c = verifier.common
    shared = rng.standard_normal((len(right), 2))
    noise = np.sqrt(c) * np.where(right > 0, shared[:, :1], shared[:, 1:])
    noise = noise + np.sqrt(1 - c) * rng.standard_normal(right.shape)
    if verifier.completeness is None:
        return np.asarray(noise + np.where(right > 0, 0.5, -0.5) * verifier.separation)
    reach = np.where(right > 0, norm.ppf(verifier.completeness), norm.ppf(1 - verifier.soundness))
    return np.asarray(np.where(noise + reach > 0, 1.0, -1.0))


@pytest.mark.parametrize("common", COMMON)
def test_pairs_and_single_verdicts_know_nothing_of_what_is_common(common: float) -> None:
    """The AUC of a right and a wrong answer, and the mean rates, are what the verifier says."""
    from scipy.special import ndtr

    gaps = separations(FAIR.separation, common)
    assert sum(w for w, _ in gaps) == pytest.approx(1)
    assert sum(w * ndtr(gap / np.sqrt(2)) for w, gap in gaps) == pytest.approx(0.8, abs=1e-4)
    assert float(best_of_n(0.5, 2, FAIR.separation, common=common)) == pytest.approx(0.25 + 0.4, abs=1e-4)
    for mean in (0.02, 0.5, 0.9):
        assert sum(w * rate for w, rate in rates(mean, common)) == pytest.approx(mean, abs=1e-4)
    assert float(first_accepted(0.3, 1, 0.8, 0.7, common=common)) == pytest.approx(0.3)


@pytest.mark.parametrize("common", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("verifier", [FAIR, VERDICT], ids=["scores", "verdicts"])
def test_the_chosen_and_the_kept_agree_with_drawn_ones(verifier: Verifier, common: float) -> None:
    rng, n, keep = np.random.default_rng(3), 6, 2
    verifier = replace(verifier, common=common)
    right = rng.random((DRAWS, n)) < 0.35
    score = drawn(verifier, right.astype(float), rng) + 1e-6 * rng.random(right.shape)  # ties by chance
    won = right[np.arange(DRAWS), score.argmax(axis=1)].mean()
    if verifier.completeness is None:
        found = best_of_n(0.35, n, verifier.separation, common=common)
    else:
        found = first_accepted(0.35, n, verifier.completeness, verifier.soundness, common=common)
    assert float(found) == pytest.approx(won, abs=4 * np.sqrt(won * (1 - won) / DRAWS))
    table = np.clip(kept(verifier, n, keep), 0.0, 1.0)
    held = np.take_along_axis(right, np.argsort(-score, axis=1)[:, :keep], axis=1).sum(axis=1)
    for m in range(n + 1):
        those = right.sum(axis=1) == m
        share = np.bincount(held[those], minlength=keep + 1) / max(those.sum(), 1)
        error = np.sqrt(table[m] * (1 - table[m]) / max(those.sum(), 1))
        assert np.all(np.abs(share - table[m]) <= 4.5 * error + 1e-9) or those.sum() < 50


def test_more_samples_level_off_at_the_share_of_problems_where_the_judge_is_not_fooled() -> None:
    """Φ(separation/√(2c)), which independent errors leave behind."""
    from scipy.special import ndtr

    many = 300_000
    for common in (0.8, 0.95):
        ceiling = float(ndtr(FAIR.separation / np.sqrt(2 * common)))
        found = float(best_of_n(0.4, many, FAIR.separation, common=common))
        assert found == pytest.approx(ceiling, abs=0.03)
    assert float(best_of_n(0.4, many, FAIR.separation)) > 0.99
    all_alike = best_of_n(0.4, 8, FAIR.separation, common=1.0)
    assert float(all_alike) == pytest.approx(0.8 * pass_at_k(0.4, 8) + 0.2 * 0.4**8)
    assert float(best_of_n(0.4, 8, FAIR.separation, common=0.999)) == pytest.approx(
        float(all_alike), abs=0.01
    )


def test_false_positives_of_few_problems_let_sampling_go_on() -> None:
    """With one soundness for all a hard problem's every sample is a risk; with weak tests on few, not."""
    p, share = np.array([0.9, 0.4, 0.0]), np.array([0.4, 0.3, 0.3])
    for cost in (1.0, 2.0):
        best = [best_k(p, share, 1.0, 0.9, false_positive_cost=cost, common=c) for c in (0, 0.5, 0.75, 0.9)]
        assert all(a <= b for a, b in pairwise(best)) and best[-1] > 2 * best[0]
    assert best_k(p, share, 1.0, 0.9, false_positive_cost=1.0, common=1.0, most=2000) > 50  # tests or none


def test_a_search_loses_what_a_choice_among_answers_does_not() -> None:
    """Of a beam's gain most is lost on the way; a beam of one step is still best-of-n, DVTS one tree."""
    task = Outcomes("task", "m", Difficulty(0.5, 0.6, 0.1), Lengths(400, 0.6, 0.3, 0.4), step_tokens=100.0)
    found = [beam_search(task, replace(FAIR, common=c), 8, 2).accuracy for c in COMMON]
    assert all(a > b for a, b in pairwise(found))
    alike = replace(FAIR, common=0.7)
    best = best_of_n_search(task, alike, 8).accuracy
    whole = replace(task, step_tokens=1e6)
    for one_step in (beam_search(whole, alike, 8, 2), dvts(whole, alike, 8, 2), dvts(task, alike, 8, 1)):
        assert one_step.accuracy == pytest.approx(best, abs=1e-6)
    tree = beam_search(task, alike, 4, 4).accuracy
    assert dvts(task, alike, 4, 4).accuracy == pytest.approx(tree, abs=1e-6)


def test_what_is_left_is_a_verifier_of_its_own() -> None:
    assert apart(FAIR) == [(1.0, FAIR)]
    for verifier in (FAIR, VERDICT):
        parts = apart(replace(verifier, common=0.4))
        assert sum(w for w, _ in parts) == pytest.approx(1)
        assert all(part.common == 0 for _, part in parts)
    with pytest.raises(ValueError, match=r"common: 1.5 is not .*in \[0, 1\]"):
        Verifier(common=1.5)
    with pytest.raises(ValueError, match=r"verifier.common: a vote weighed by scores has no closed form"):
        forms.weighted_vote(
            Outcomes("t", "m", Difficulty(1, 1), Lengths(100, 0.1, 0.1)), verifier=Verifier(common=0.5)
        )
