"""Strategies in closed form against samples of an outcome profile that are drawn here, one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from foretell.models.accuracy import profile as forms
from foretell.models.accuracy.first_finish import first_finish_quantile
from foretell.models.accuracy.lengths import Traces
from foretell.models.accuracy.profile_cascade import cascade, joint
from foretell.models.accuracy.selection import best_of_n, first_accepted
from foretell.models.accuracy.truncation import LogisticLaw, fit_logistic
from foretell.models.outcomes import Answers, Difficulty, Lengths, Outcomes, Revision
from foretell.models.verifiers import Verifier

QUERIES = 60_000
HARD = Outcomes(
    "test",
    "hard",
    Difficulty(0.5, 0.6, 0.1, shared=0.6),
    Lengths(4000.0, 0.7, 0.4, hardness=0.5, wrong_ratio=1.5, cap_tokens=12_000),
    Answers(0.5),
    Revision((0.3, 0.1), (0.2, 0.02), 0.5),
    confidence_auc=0.75,
    settling=2.5,
)
EASY = Outcomes("test", "easy", Difficulty(2.0, 0.7, shared=0.6), Lengths(900.0, 0.5, 0.3, 0.2, 0.8, 32_768))


class Drawn:
    """Samples of a profile, [query, sample]: whether right, of which rank if wrong, how long, whether cut."""

    def __init__(self, profile: Outcomes, n: int, seed: int, common: np.ndarray | None = None) -> None:
        rng = np.random.default_rng(seed)
        shared = profile.difficulty.shared
        both = rng.standard_normal((2, QUERIES)) if common is None else common
        ease = np.sqrt(shared) * both[0] + np.sqrt(1 - shared) * rng.standard_normal(QUERIES)
        law = profile.lengths
        p, median = profile.chance(ease)[:, None], profile.log_median(ease, both[1])[:, None]
        self.right = rng.random((QUERIES, n)) < p
        log_cap, z = np.log(law.cap_tokens), rng.standard_normal((QUERIES, n))
        within = ndtr((log_cap - median) / law.sd_within)  # rank of the cap among right samples' lengths
        z_right = ndtri(rng.random((QUERIES, n)) * within)
        log = median + law.sd_within * np.where(self.right, z_right, z)
        log += np.where(self.right, 0.0, np.log(law.wrong_ratio))
        self.tokens = np.exp(np.minimum(log, log_cap))
        self.answered = self.right | (log < log_cap)
        self.rng, self.p = rng, p

    def at(self, max_tokens: float) -> tuple[np.ndarray, np.ndarray]:
        """Whether right and whether answered, if cut there."""
        in_time = self.tokens <= max_tokens
        return self.right & in_time, self.answered & in_time


def near(won: np.ndarray, extra: float = 0.0) -> object:
    """The mean of a sample, with four standard errors of slack."""
    return pytest.approx(float(np.mean(won)), abs=4 * float(np.std(won)) / np.sqrt(len(won)) + extra)


@pytest.fixture(scope="module")
def hard() -> Drawn:
    return Drawn(HARD, 8, 1)


@pytest.mark.parametrize("cut", [np.inf, 6000.0, 2500.0])
def test_one_sample_and_its_lengths(hard: Drawn, cut: float) -> None:
    found = forms.single(HARD, max_tokens=cut)
    tokens = np.minimum(hard.tokens, cut)
    assert found.accuracy == near(hard.at(cut)[0][:, 0])
    assert found.tokens == near(tokens[:, 0], 0.003 * found.tokens)
    four = forms.best_of_n(HARD, n=4, max_tokens=cut)
    assert four.tokens == near(tokens[:, :4].sum(axis=1), 0.003 * four.tokens)
    assert four.critical_tokens == near(tokens[:, :4].max(axis=1), 0.003 * four.critical_tokens)


@pytest.mark.parametrize("cut", [np.inf, 5000.0])
@pytest.mark.parametrize("auc", [0.5, 0.8, 0.95, 1.0])
def test_best_by_a_score(hard: Drawn, auc: float, cut: float) -> None:
    verifier = Verifier(auc=auc)
    right, answered = hard.at(cut)
    if auc == 1:
        best = np.argmax(right, axis=1)
    else:
        score = hard.rng.standard_normal(right.shape) + np.where(right, 1, -1) * verifier.separation / 2
        best = np.argmax(np.where(answered, score, -np.inf), axis=1)
    won = right[np.arange(QUERIES), best]
    found = forms.best_of_n(HARD, n=8, verifier=verifier, max_tokens=cut)
    assert found.accuracy == near(won, 0.001)
    assert found.judged == near(answered.sum(axis=1), 0.01)


def test_best_by_a_verdict(hard: Drawn) -> None:
    verifier = Verifier(completeness=0.9, soundness=0.8)
    accept = hard.rng.random(hard.right.shape) < np.where(hard.right, 0.9, 0.2)
    taken = np.argmax(
        np.where(hard.answered, 1 + accept, 0), axis=1
    )  # the first that is accepted, or answered
    won = hard.right[np.arange(QUERIES), taken]
    assert forms.best_of_n(HARD, n=8, verifier=verifier).accuracy == near(won, 0.001)
    until = np.where(accept.any(axis=1), np.argmax(accept, axis=1), -1)
    won = (until >= 0) * hard.right[np.arange(QUERIES), until]
    found = forms.sequential_until_accepted(HARD, n=8, verifier=verifier)
    assert found.accuracy == near(won, 0.001)
    drawn = np.where(until < 0, 8, until + 1)
    assert found.samples == near(drawn, 0.005)
    spent = np.where(np.arange(8) < drawn[:, None], hard.tokens, 0).sum(axis=1)
    assert found.tokens == near(spent, 0.004 * found.tokens)


@pytest.mark.parametrize("cut", [np.inf, 5000.0])
def test_votes_of_samples_that_may_be_cut(hard: Drawn, cut: float) -> None:
    right, answered = hard.at(cut)
    rank = np.where(right, 0, np.where(answered, np.minimum(hard.rng.geometric(0.5, right.shape), 40), 41))
    mass = (rank[:, :, None] == np.arange(41)).sum(axis=1)
    most = mass.max(axis=1)
    won = np.where((mass[:, 0] == most) & (most > 0), 1 / (mass == most[:, None]).sum(axis=1), 0.0)
    assert forms.self_consistency(HARD, n=8, max_tokens=cut).accuracy == near(won, 0.001)
    separation = np.sqrt(2) * ndtri(HARD.confidence_auc)
    sure = hard.rng.standard_normal(right.shape) + np.where(right, 1, -1) * separation / 2
    heavy = ((rank[:, :, None] == np.arange(41)) * np.exp(sure)[:, :, None]).sum(axis=1)
    won = (heavy[:, 0] == heavy.max(axis=1)) & (heavy[:, 0] > 0)
    assert forms.weighted_vote(HARD, n=8, max_tokens=cut).accuracy == near(won, 0.002)


@pytest.mark.parametrize("cut", [np.inf, 3000.0])
def test_the_first_to_finish(hard: Drawn, cut: float) -> None:
    first = np.argmin(np.where(hard.answered, hard.tokens, np.inf), axis=1)
    won = hard.at(cut)[0][np.arange(QUERIES), first]
    found = forms.first_finish(HARD, n=8, max_tokens=cut)
    assert found.accuracy == near(won, 0.002)
    least = np.minimum(hard.tokens.min(axis=1), cut)
    assert found.critical_tokens == near(least, 0.003 * found.critical_tokens)
    if cut == np.inf:
        weight, traces = forms.problems(HARD)
        for quantile in (0.1, 0.5, 0.9):
            wanted = np.quantile(hard.tokens.min(axis=1), quantile)
            assert first_finish_quantile(traces, weight, 8, quantile) == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize("cut", [1000.0, 4000.0, 11_000.0])
def test_forced_answers(hard: Drawn, cut: float) -> None:
    rng = np.random.default_rng(9)
    right, answered = hard.at(cut)
    settled = hard.tokens * rng.random(right.shape) ** (1 / HARD.settling) <= cut
    guess = rng.random(right.shape) < HARD.guess_ratio * hard.p
    asked = np.where(settled, hard.right, guess)
    won = np.where(answered, right, asked)[:, 0]
    found = forms.budget_forcing(HARD, max_tokens=cut)
    assert found.accuracy == near(won, 0.001)
    assert found.accuracy > forms.single(HARD, max_tokens=cut).accuracy
    probed = np.minimum(hard.tokens, cut)[:, 0] + 16 * ~answered[:, 0]
    assert found.tokens == near(probed, 0.003 * found.tokens)


def test_samples_until_one_is_short(hard: Drawn) -> None:
    right, answered = hard.at(3000.0)
    first = np.argmax(answered, axis=1)
    won = right[np.arange(QUERIES), first]
    found = forms.rejection_by_length(HARD, max_tokens=3000.0, tries=8)
    assert found.accuracy == near(won, 0.002)
    drawn = np.where(answered.any(axis=1), first + 1, 8)
    spent = np.where(np.arange(8) < drawn[:, None], np.minimum(hard.tokens, 3000), 0).sum(axis=1)
    assert found.tokens == near(spent, 0.003 * found.tokens)


def test_a_chain_of_revisions(hard: Drawn) -> None:
    right = hard.right[:, 0]
    for repair, corruption in ((0.3, 0.2), (0.1, 0.02), (0.1, 0.02)):
        u = hard.rng.random(QUERIES)
        right = np.where(right, u >= corruption, u < repair)
    found = forms.revision(HARD, rounds=3)
    assert found.accuracy == near(right, 0.001)
    assert found.tokens == pytest.approx(2.5 * forms.single(HARD).tokens)


@pytest.mark.parametrize("threshold", [-0.5, 0.5])
def test_cascades_of_models_that_err_together(threshold: float) -> None:
    common = np.random.default_rng(3).standard_normal((2, QUERIES))
    strong, weak = Drawn(HARD, 1, 4, common), Drawn(EASY, 1, 5, common)
    half = np.sqrt(2) * ndtri(EASY.confidence_auc) / 2
    right, other = weak.right[:, 0], strong.right[:, 0]
    sure = weak.rng.standard_normal(QUERIES) + np.where(right, half, -half)
    deferred = ~(weak.answered[:, 0] & (sure >= threshold))
    won = np.where(deferred, np.where(strong.answered[:, 0], other, right), right)
    found = cascade(EASY, HARD, threshold=threshold)
    assert found.accuracy == near(won, 0.002)
    assert found.samples == near(1 + deferred, 0.002)
    assert found.by_model[1] == near(deferred * strong.tokens[:, 0], 0.005 * found.by_model[1])
    together = joint(EASY, HARD)
    assert together.both == near(right & other, 0.002)
    assert together.both > together.weak * together.strong + 0.03
    alone = joint(replace(EASY, difficulty=replace(EASY.difficulty, shared=0.0)), HARD)
    assert alone.both == pytest.approx(alone.weak * alone.strong)


@settings(deadline=None, max_examples=40)
@given(st.floats(0, 1), st.integers(1, 40), st.floats(0.5, 0.99))
def test_selection_lies_between_chance_and_oracle(p: float, n: int, auc: float) -> None:
    found = float(best_of_n(p, n, Verifier(auc=auc).separation))
    assert p - 1e-9 <= found <= 1 - (1 - p) ** n + 1e-9
    assert best_of_n(p, n, 0.0) == pytest.approx(p)
    assert best_of_n(p, n, 14.0) == pytest.approx(best_of_n(p, n, np.inf), abs=1e-6)
    assert best_of_n(p, n, -np.inf) == pytest.approx(p**n, abs=1e-12)
    assert first_accepted(p, n, 1.0, 1.0) == pytest.approx(1 - (1 - p) ** n)
    assert first_accepted(p, n, 0.3, 0.7) == pytest.approx(p)


def test_two_scores_by_hand() -> None:
    """One right and one wrong of two is settled by the AUC: p² + 2·p·(1 − p)·AUC."""
    p = np.array([0.1, 0.5, 0.9])
    assert best_of_n(p, 2, Verifier(auc=0.8).separation) == pytest.approx(p**2 + 2 * p * (1 - p) * 0.8)


def test_lengths_by_hand() -> None:
    """Without a cap in reach: log-normal mean, and half of the samples within the median."""
    law = Lengths(1000.0, 0.0, 0.5, cap_tokens=10**9)
    traces = Traces(np.array([0.4]), np.array([np.log(1000.0)]), law)
    assert traces.mean(np.inf)[0] == pytest.approx(1000 * np.exp(0.125))
    assert traces.right(1000.0)[0] == pytest.approx(0.2) and traces.wrong(1000.0)[0] == pytest.approx(0.3)
    assert traces.longest(1, 1e6)[0] == pytest.approx(1000 * np.exp(0.125), rel=1e-3)


def test_the_logistic_law_is_fitted_back_and_is_near_a_profile_s_curve() -> None:
    budget = np.geomspace(500, 32_000, 12)
    law = LogisticLaw(0.8, np.log(6000), 0.4)
    found = fit_logistic(budget, law.accuracy(budget))
    assert (found.ceiling, found.log_mid, found.scale) == pytest.approx((0.8, np.log(6000), 0.4), rel=1e-3)
    curve = np.array([forms.single(HARD, max_tokens=t).accuracy for t in budget])
    assert np.abs(fit_logistic(budget, curve).accuracy(budget) - curve).max() < 0.02
    with pytest.raises(ValueError, match="accuracy: "):
        fit_logistic([1, 2], [0.1, 0.2])


def test_verdicts_have_no_weights() -> None:
    with pytest.raises(ValueError, match="verifier: "):
        forms.weighted_vote(HARD, verifier=Verifier(completeness=0.9))


def test_many_cells_are_cheap() -> None:
    """Two hundred cells take a second or two: ten times as long fails."""
    from time import process_time

    forms.self_consistency(HARD, n=16)
    began = process_time()
    for n in range(2, 22):
        forms.self_consistency(HARD, n=n)
        forms.first_finish(HARD, n=n)
        forms.best_of_n(HARD, n=n, verifier=Verifier(auc=0.8))
        forms.single(HARD, max_tokens=500 * n)
    assert process_time() - began < 4.0
