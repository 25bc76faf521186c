"""Closed forms of search over steps: against quadrature, brute force, and limits where methods meet."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from foretell.models.accuracy import search
from foretell.models.accuracy.search import (
    SearchForecast,
    beam_search,
    best_of_n,
    dvts,
    particle_filtering,
    reachable,
    rebase,
    steps_of,
)
from foretell.models.accuracy.search_scores import chosen, kept, log_odds, mean_doubt, reward
from foretell.models.outcomes import Difficulty, Lengths, Outcomes
from foretell.models.verifiers import Verifier

FAIR = Verifier(auc=0.8)
VERDICT = Verifier(completeness=0.9, soundness=0.7)
ORACLE = Verifier(auc=1.0)
BLIND = Verifier(auc=0.5)
TASK = Outcomes("task", "model", Difficulty(0.5, 0.6, 0.1), Lengths(400, 0.6, 0.3, 0.4), step_tokens=100.0)
SURE = Outcomes("task", "model", Difficulty(3e6, 7e6), Lengths(200, 0.0, 0.0), step_tokens=100.0)
"""All problems have chance 0.3 (to some 1e-4) and take two steps."""
Method = Callable[[Outcomes, Verifier], SearchForecast]
METHODS: dict[str, Method] = {
    "beam": lambda task, verifier: beam_search(task, verifier, 8, 2),
    "dvts": lambda task, verifier: dvts(task, verifier, 8, 2),
    "rebase": lambda task, verifier: rebase(task, verifier, 8),
    "particles": lambda task, verifier: particle_filtering(task, verifier, 8),
}


@pytest.mark.parametrize("verifier", [FAIR, VERDICT, ORACLE, Verifier(auc=0.3)])
def test_how_many_of_the_best_are_right(verifier: Verifier) -> None:
    """Against drawing scores and sorting them."""
    rng, n, keep, draws = np.random.default_rng(1), 6, 2, 40_000
    table = np.clip(kept(verifier, n, keep), 0.0, 1.0)
    np.testing.assert_allclose(table.sum(axis=1), 1.0, atol=1e-9)
    for m in range(n + 1):
        right = np.arange(n) < m
        if verifier.completeness is None:
            middle = min(verifier.separation, 50.0) / 2
            score = rng.standard_normal((draws, n)) + np.where(right, middle, -middle)
        else:
            accepted = np.where(right, verifier.completeness, 1 - verifier.soundness)
            score = (rng.random((draws, n)) < accepted) + 0.5 * rng.random((draws, n))
        held = np.sum(np.argsort(-score, axis=1)[:, :keep] < m, axis=1)
        share = np.bincount(held, minlength=keep + 1) / draws
        error = np.sqrt(table[m] * (1 - table[m]) / draws)
        assert np.all(np.abs(share - table[m]) <= 4.5 * error + 1e-9)


def test_the_best_score_is_a_right_one_by_quadrature() -> None:
    """∫ m·f₁·F₁^(m−1)·F₀^(n−m), the textbook's form, with another integrator."""
    from scipy.integrate import quad
    from scipy.stats import norm

    n, half = 5, FAIR.separation / 2
    for m in range(1, n + 1):

        def density(t: float, m: int = m) -> float:
            below = norm.cdf(t, half) ** (m - 1) * norm.cdf(t, -half) ** (n - m)
            return float(m * norm.pdf(t, half) * below)

        assert chosen(FAIR, n)[m] == pytest.approx(quad(density, -10, 10)[0], abs=1e-7)


def test_a_reward_is_calibrated_at_even_chances() -> None:
    """Among scores of right and wrong in equal numbers those of reward near R are right R of the time."""
    rng = np.random.default_rng(2)
    right = rng.random(400_000) < 0.5
    score = rng.standard_normal(right.size) + np.where(right, 0.5, -0.5) * FAIR.separation
    rewards = reward(FAIR, score)
    for low in np.arange(0.1, 0.9, 0.1):
        inside = (rewards > low) & (rewards < low + 0.1)
        assert right[inside].mean() == pytest.approx(rewards[inside].mean(), abs=0.01)
    assert mean_doubt(FAIR) == pytest.approx(-np.log(rewards[right]).mean(), rel=0.01)
    verdict = -0.9 * math.log(0.9 / 1.2) - 0.1 * math.log(0.1 / 0.8)
    assert mean_doubt(VERDICT) == pytest.approx(verdict)
    assert log_odds(ORACLE, [math.inf, -math.inf]).tolist() == [20.0, -20.0]


@pytest.mark.parametrize("name", METHODS)
def test_a_blind_judge_gains_nothing(name: str) -> None:
    assert METHODS[name](TASK, BLIND).accuracy == pytest.approx(TASK.difficulty.mean, abs=5e-4)


@pytest.mark.parametrize("verifier", [FAIR, VERDICT])
def test_methods_meet_in_their_limits(verifier: Verifier) -> None:
    best = best_of_n(TASK, verifier, 8).accuracy
    assert beam_search(TASK, verifier, 8, 1).accuracy == pytest.approx(best, abs=1e-6)  # nothing is dropped
    assert dvts(TASK, verifier, 8, 1).accuracy == pytest.approx(best, abs=1e-6)
    for method in METHODS.values():  # one step: all are best-of-n
        whole = Outcomes("task", "model", TASK.difficulty, TASK.lengths, step_tokens=1e6)
        assert method(whole, verifier).accuracy == pytest.approx(best, abs=1e-6)
    one_tree = beam_search(TASK, verifier, 4, 4).accuracy
    assert dvts(TASK, verifier, 4, 4).accuracy == pytest.approx(one_tree, abs=1e-6)
    assert beam_search(TASK, verifier, 1, 1).accuracy == pytest.approx(TASK.difficulty.mean, abs=5e-4)


def test_two_steps_by_hand() -> None:
    """Two beams' worth of two candidates with an oracle: q² and its kin, written out."""
    p = 0.3
    q = math.sqrt(p)
    once = 1 - (1 - q) ** 2  # one of two is on track, and is kept
    assert beam_search(SURE, ORACLE, 2, 2).accuracy == pytest.approx(once**2, abs=1e-3)
    assert dvts(SURE, ORACLE, 4, 2).accuracy == pytest.approx(1 - (1 - once**2) ** 2, abs=1e-3)
    assert reachable(SURE, 2) == pytest.approx(1 - (1 - q + q * (1 - q) ** 2) ** 2, abs=1e-3)
    assert best_of_n(SURE, ORACLE, 2).accuracy == pytest.approx(1 - (1 - p) ** 2, abs=1e-3)


def test_tokens_and_judge_calls_are_a_level_times_its_width() -> None:
    task = Outcomes("task", "model", Difficulty(1, 1), Lengths(1000, 0.0, 0.4), step_tokens=100.0)
    forecast = beam_search(task, FAIR, 12, 4)
    assert forecast.judge_calls == pytest.approx(120)
    assert forecast.tokens == pytest.approx(12 * 1000 * math.exp(0.4**2 / 2))
    capped = Outcomes(
        "task", "model", Difficulty(1, 1), Lengths(1000, 0.0, 0.0, cap_tokens=300), step_tokens=100.0
    )
    assert steps_of(capped, math.log(1000)) == 3


def test_problems_take_as_many_steps_as_they_are_drawn_with() -> None:
    """The grid's numbers of steps against a large draw of problems, one by one and in their means."""
    rng = np.random.default_rng(3)
    for task in (
        TASK,
        Outcomes("task", "model", Difficulty(1, 1), Lengths(4000, 0.9, 0.3, 0.4, cap_tokens=8000)),
    ):
        ease, verbosity = rng.standard_normal((2, 200_000))
        drawn = steps_of(task, task.log_median(ease, verbosity))
        weight, chance, steps = search._problems(task, 0.0)
        assert weight @ steps == pytest.approx(drawn.mean(), rel=0.01)
        assert weight[steps == 2].sum() == pytest.approx(np.mean(drawn == 2), abs=2e-3)
        assert weight[steps == drawn.max()].sum() == pytest.approx(np.mean(drawn == drawn.max()), abs=5e-3)
        easy = task.chance(ease) * drawn
        assert weight @ (chance * steps) == pytest.approx(easy.mean(), rel=0.01)


def test_a_better_judge_and_a_wider_search_do_no_harm() -> None:
    for method in METHODS.values():
        scale = [method(TASK, Verifier(auc=auc)).accuracy for auc in (0.5, 0.7, 0.9)]
        assert scale == sorted(scale)
    widths = [particle_filtering(TASK, FAIR, n).accuracy for n in (1, 4, 16)]
    assert widths == sorted(widths)
    assert widths[0] == pytest.approx(TASK.difficulty.mean, abs=5e-4)


@pytest.mark.parametrize("name", METHODS)
def test_the_grid_and_the_points_are_fine_enough(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = METHODS[name](TASK, FAIR).accuracy
    monkeypatch.setattr(search, "EASES", search.EASES * 2)
    monkeypatch.setattr(search, "SINGLE", search.SINGLE * 2)
    assert METHODS[name](TASK, FAIR).accuracy == pytest.approx(fine, abs=2e-4)
    monkeypatch.undo()
    levels = search._levels
    monkeypatch.setattr(search, "_levels", lambda verifier, n: levels(verifier, n, 16_384))
    assert METHODS[name](TASK, FAIR).accuracy == pytest.approx(fine, abs=5e-4)


def test_bad_widths_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"width: 6 is not a multiple of branching, 4"):
        beam_search(TASK, FAIR, 6, 4)
    with pytest.raises(ValueError, match=r"keep: 9 is not in \[1, 8\]"):
        kept(FAIR, 8, 9)
