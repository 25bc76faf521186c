"""Verifiers, judges, revision, allocation, cascades and stops: by hand, by drawing, and at their limits."""

from __future__ import annotations

import csv
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.models.accuracy.allocation import compute_optimal, greedy_samples
from foretell.models.accuracy.cascade import (
    Joint,
    agreement_gate,
    cascade,
    error_recall,
    gate,
    oracle_cascade,
    threshold_for,
)
from foretell.models.accuracy.coverage import pass_at_k
from foretell.models.accuracy.judge import best_judged_k, faithful_error, judged_error
from foretell.models.accuracy.lengths import Traces
from foretell.models.accuracy.revision import best_rounds, ever_right, fitted_rates, revised
from foretell.models.accuracy.stopping import run_chance, stop_on_agreement
from foretell.models.accuracy.verifier import (
    acceptance,
    accepted_within,
    best_k,
    samples_until_accepted,
    utility,
)
from foretell.models.outcomes import Answers, Lengths, Revision
from places import SHARED

ROUTED = SHARED / "data" / "routellm" / "correctness_mixtral_vs_gpt4.csv"
shares = st.floats(0, 1)


def test_a_verifier_by_hand() -> None:
    """p = .5, c = .8, s = .5: .4 right and .25 wrong are accepted; over two samples .65 + .35·.65 of them."""
    good, bad = acceptance(0.5, 0.8, 0.5)
    right, wrong = accepted_within(good, bad, 2)
    assert (right, wrong) == pytest.approx((0.4 * 1.35, 0.25 * 1.35))
    assert samples_until_accepted(good, bad, 2) == pytest.approx(1.35)
    assert accepted_within(good, bad, np.inf)[0] == pytest.approx(0.4 / 0.65)


@given(shares, shares, shares, st.integers(1, 200))
def test_a_verifier_s_bounds(p: float, c: float, s: float, k: int) -> None:
    good, bad = acceptance(p, c, s)
    right, wrong = (float(x) for x in accepted_within(good, bad, k))
    ceiling = float(accepted_within(good, bad, np.inf)[0])
    assert -1e-12 <= right <= ceiling + 1e-9 and right + wrong <= 1 + 1e-9
    assert 1 - 1e-9 <= float(samples_until_accepted(good, bad, k)) <= k + 1e-9
    perfect, _ = acceptance(p, 1.0, 1.0)
    assert accepted_within(perfect, np.zeros(()), k)[0] == pytest.approx(pass_at_k(p, k))


def test_false_positives_make_a_finite_best_k() -> None:
    """Easy problems are settled at once; the hard ones then bring in what is wrong (Stroebl et al. 2024)."""
    p, share = np.array([0.9, 0.4, 0.0]), np.array([0.4, 0.3, 0.3])
    k = np.arange(40)
    worth = utility(p, share, k, 1.0, 0.9, false_positive_cost=1.0)
    best = best_k(p, share, 1.0, 0.9, false_positive_cost=1.0)
    assert worth[best] == worth.max() and 1 <= best < 10
    assert np.all(np.diff(worth)[best:] <= 0) and worth[best] > worth[-1] + 0.02
    assert best_k(p, share, 1.0, 0.9, false_positive_cost=4.0) < best
    assert best_k(p, share, 1.0, 0.9, false_positive_cost=1e6) == 0
    assert best_k(p, share, 1.0, 1.0, false_positive_cost=9.0, most=50) == 50
    assert worth[0] == 0


@pytest.mark.parametrize(
    ("k", "truth", "target"), [(1, 0.5, 1.0), (3, 0.5, 0.5), (16, 1.0, 2.0), (50, 0.3, -0.4)]
)
def test_judged_answers_agree_with_drawn_ones(k: int, truth: float, target: float) -> None:
    rng = np.random.default_rng(2)
    y = 1.5 * rng.standard_normal((40_000, k))
    taken = y[np.arange(len(y)), np.argmin(abs(y - target), axis=1)]
    error = (taken - truth) ** 2
    slack = 4 * error.std() / np.sqrt(len(y))
    assert judged_error(k, truth, target, 1.5) == pytest.approx(error.mean(), abs=slack)


def test_a_faithful_judge_s_error_falls_as_one_over_k_squared() -> None:
    for k in (200, 2000):
        assert judged_error(k, 0.7, 0.7) == pytest.approx(faithful_error(k, 0.7), rel=0.02)
    assert judged_error(200, 0.7, 0.7) / judged_error(400, 0.7, 0.7) == pytest.approx(4, rel=0.02)


def test_a_judge_that_is_off_has_a_finite_best_k() -> None:
    best = best_judged_k(1.0, 3.0)
    assert 1 < best < 100
    assert judged_error(best, 1.0, 3.0) < min(judged_error(1, 1.0, 3.0), judged_error(4096, 1.0, 3.0))
    assert judged_error(100_000, 1.0, 3.0) == pytest.approx(4.0, rel=0.02)
    assert best_judged_k(1.0, 1.1) > 100 * best / 10 and best_judged_k(0.5, 0.5, most=256) == 256


def test_revision_by_hand_and_its_limit() -> None:
    law = Revision((0.5, 0.1), (0.25, 0.0))
    chain = revised(0.4, law, 2)
    assert chain == pytest.approx([0.4, 0.4 * 0.75 + 0.6 * 0.5, 0.6 + 0.4 * 0.1])
    assert ever_right(0.4, law, 2) == pytest.approx([0.4, 1 - 0.6 * 0.5, 1 - 0.6 * 0.5 * 0.9])
    assert revised([0.1, 0.9], Revision((0.3,), (0.1,)), 200)[-1] == pytest.approx([0.75, 0.75])
    assert np.all(ever_right([0.2, 0.8], law, 5) >= revised([0.2, 0.8], law, 5) - 1e-12)
    assert best_rounds(0.9, Revision((0.1,), (0.2,)), 5) == 0
    rates = fitted_rates(chain, law.corruption)
    assert rates.repair == pytest.approx(law.repair)
    with pytest.raises(ValueError, match="accuracy: "):
        fitted_rates([0.5], [])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.integers(0, 7))
def test_greedy_samples_are_the_best_of_all_allocations(p: list[float], budget: int) -> None:
    chance = np.array(p)
    found = greedy_samples(chance, budget)
    best = max(
        pass_at_k(chance, np.array(k)).sum() for k in product(range(budget + 1), repeat=3) if sum(k) <= budget
    )
    assert found.sum() <= budget
    assert pass_at_k(chance, found).sum() == pytest.approx(best, abs=1e-9)


def test_compute_optimal_is_the_linear_programme() -> None:
    from scipy.optimize import linprog

    rng = np.random.default_rng(6)
    accuracy, cost = rng.random((4, 5)), rng.random((4, 5)) * 3
    weights = np.array([0.1, 0.4, 0.3, 0.2])
    for budget in (0.8, 1.2, 2.0, 9.0):
        chosen = compute_optimal(accuracy, cost, weights, budget)
        mean = weights @ (chosen * accuracy).sum(axis=1)
        assert weights @ (chosen * cost).sum(axis=1) <= budget + 1e-9
        assert chosen.sum(axis=1) == pytest.approx(np.ones(4))
        whole = linprog(
            -(weights[:, None] * accuracy).ravel(),
            A_ub=[(weights[:, None] * cost).ravel()],
            b_ub=[budget],
            A_eq=np.kron(np.eye(4), np.ones(5)),
            b_eq=np.ones(4),
        )
        assert mean == pytest.approx(-float(whole.fun or 0), abs=1e-8)
    with pytest.raises(ValueError, match="budget: "):
        compute_optimal(accuracy, cost, weights, 0.0)


def test_difficulty_aware_samples_save_some() -> None:
    """A U-shaped task: few samples for the easy problems leave more for the others than best-of-N has."""
    p = np.array([0.95] * 50 + [0.05] * 50)
    found = pass_at_k(p, greedy_samples(p, 800)).mean()
    assert found > pass_at_k(p, 8).mean() + 0.06


def test_cascades_by_hand() -> None:
    joint = Joint(both=0.5, weak=0.6, strong=0.8)
    assert cascade(joint, 1.0, 1.0) == pytest.approx((0.6, 0.0))
    assert cascade(joint, 0.0, 0.0) == pytest.approx((0.8, 1.0))
    assert cascade(joint, 1.0, 0.0) == pytest.approx((0.9, 0.4))
    assert oracle_cascade(joint) == pytest.approx((0.9, 0.3))
    with pytest.raises(ValueError, match="both: "):
        Joint(0.7, 0.6, 0.8)


def test_gates() -> None:
    assert gate(0.8, 0.0)[0] == pytest.approx(1 - gate(0.8, 0.0)[1])
    threshold = threshold_for(0.75, 0.64, 0.1)
    right, wrong = gate(0.75, threshold)
    assert (1 - right) * 0.64 + (1 - wrong) * 0.36 == pytest.approx(0.1)
    assert error_recall(0.5, 0.64, 0.1) == pytest.approx(0.1)
    assert 0.1 < error_recall(0.7, 0.64, 0.1) < error_recall(0.9, 0.64, 0.1) < 0.1 / 0.36
    with pytest.raises(ValueError, match="deferred: "):
        threshold_for(0.75, 0.5, 1.0)


def test_agreement_of_three_by_hand() -> None:
    """Two of three, p = .5, one wrong answer: a majority is sure, the right one's as likely as the other."""
    right, wrong = agreement_gate(np.array([0.5]), 3, 2, Answers(1.0))
    assert (right[0], wrong[0]) == pytest.approx((0.5, 0.5))
    right, wrong = agreement_gate(np.array([0.4]), 4, 3, Answers(0.6))
    q = [0.6 * 0.6 * 0.4**j for j in range(40)]
    assert right[0] == pytest.approx(4 * 0.4**3 * 0.6 + 0.4**4)
    assert wrong[0] == pytest.approx(sum(4 * x**3 * (1 - x) + x**4 for x in q))
    with pytest.raises(ValueError, match="votes: "):
        agreement_gate(0.5, 4, 2, Answers())


@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_chance_runs_of_guesses_agree_with_drawn_ones(window: int) -> None:
    rng = np.random.default_rng(11)
    q = np.array([0.15, 0.3, 0.15])
    guesses = rng.choice(4, p=[*q, 0.4], size=(20_000, 40))
    guesses = np.where(guesses == 3, 10 + np.arange(40), guesses)  # the rest agree with none
    run = np.ones(len(guesses), dtype=int)
    hit = np.where((run >= window) & (guesses[:, 0] < 10), 1, 99)
    for i in range(1, 40):
        run = np.where(guesses[:, i] == guesses[:, i - 1], run + 1, 1)
        hit = np.where((run >= window) & (guesses[:, i] < 10), np.minimum(hit, i + 1), hit)
    for n in (window, 8, 20, 40):
        assert run_chance(q, window, n) == pytest.approx(np.mean(hit <= n), abs=0.012)


@pytest.mark.parametrize(("agree", "chunk"), [(3, 64), (5, 256), (8, 64)])
def test_stopping_on_agreement_agrees_with_drawn_traces(agree: int, chunk: int) -> None:
    rng = np.random.default_rng(12)
    n, p, s, settling, ratio = 4000, 0.6, 0.5, 2.0, 0.3
    law = Lengths(1500.0, 0.0, 0.4, wrong_ratio=1.3, cap_tokens=4000)
    traces = Traces(np.array([p]), np.array([np.log(1500.0)]), law)
    found = stop_on_agreement(
        traces, Answers(s), agree=agree, chunk_tokens=chunk, settling=settling, guess_ratio=ratio
    )
    won, spent, whole = np.zeros(n), np.zeros(n), np.zeros(n)
    for i in range(n):
        right = rng.random() < p
        while True:
            length = 1500 * np.exp(0.4 * rng.standard_normal()) * (1.0 if right else 1.3)
            if not right or length <= 4000:
                break
        final = 0 if right else None if length >= 4000 else int(rng.geometric(s))
        length = whole[i] = min(length, 4000)
        settled = length * rng.random() ** (1 / settling)
        said: list[int | None] = []
        won[i], spent[i] = right, length
        for at in np.arange(chunk, length, chunk):
            guess = 0 if rng.random() < ratio * p else int(rng.geometric(s))
            said.append(final if at >= settled else guess)
            last = said[-agree:]
            if len(last) == agree and last[0] is not None and len(set(last)) == 1:
                won[i], spent[i] = last[0] == 0, at
                break
    assert found.whole_tokens[0] == pytest.approx(whole.mean(), rel=0.02)
    assert found.tokens[0] == pytest.approx(spent.mean(), rel=0.06)
    assert found.accuracy[0] == pytest.approx(won.mean(), abs=0.03)
    assert found.tokens[0] < found.whole_tokens[0]


@pytest.mark.skipif(not ROUTED.exists(), reason=f"no {ROUTED.name}")
def test_an_oracle_s_cascade_on_measured_pairs() -> None:
    """RouteLLM's Mixtral and GPT-4 on GSM8K: .638 and .857 give .929, deferring 29 %."""
    with ROUTED.open() as file:
        rows = [row for row in csv.DictReader(file) if row["benchmark"] == "gsm8k"]
    weak, strong = (
        np.array([float(row[name]) for row in rows]) for name in ("mixtral_8x7b_correct", "gpt4_1106_correct")
    )
    table = Joint(float(np.mean(weak * strong)), float(weak.mean()), float(strong.mean()))
    accuracy, deferred = oracle_cascade(table)
    assert (table.weak, table.strong, accuracy, deferred) == pytest.approx(
        (0.638, 0.857, 0.929, 0.29), abs=0.002
    )
    keep = weak >= strong  # the oracle, query by query
    assert accuracy == pytest.approx(np.where(keep, weak, strong).mean()) and deferred == pytest.approx(
        1 - keep.mean()
    )
    assert table.both > table.weak * table.strong + 0.01  # 0.019, of which 0.005 may be chance
    gated, share = cascade(table, *gate(0.7, threshold_for(0.7, table.weak, 0.3)))
    assert share == pytest.approx(0.3) and table.weak < gated < accuracy
