"""Frontiers against enumeration, closed forms and the laws' own limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.models.kinetics import DENSE, PAPER, PAPER_INTENSITY, WHOLE, Sparse, query_cost
from foretell.models.kinetics_curves import (
    Kept,
    Pricing,
    best_of_n_curve,
    law_curve,
    long_cot_curve,
)
from foretell.models.kinetics_frontier import (
    best_within,
    budget_factor,
    cost_at,
    frontier,
    log_costs,
    saving,
    switches,
    truncated_accuracy,
)
from foretell.models.kinetics_paper import paper_kept, paper_models
from foretell.models.kinetics_settings import best_chain, best_trials
from foretell.models.outcomes import Difficulty, Lengths, Outcomes

COSTS = log_costs(1e13, 1e18, 60)


def outcomes(p: float = 0.0, **lengths: float) -> Outcomes:
    """A profile; of problems that are all solved with chance p, where given."""
    difficulty = Difficulty(1e6 * p, 1e6 * (1 - p)) if p else Difficulty(0.5, 0.3)
    law = {"median_tokens": 4000.0, "sd_between": 0.6, "sd_within": 0.4} | lengths
    return Outcomes("t", "m", difficulty, Lengths(**law), settling=1000.0, prompt_tokens=150)  # type: ignore[arg-type]


@given(st.integers(0, 10_000))
def test_the_best_within_a_cost_is_that_of_enumeration(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spent, right = rng.integers(1, 9, (4, 5)).astype(float), rng.random((4, 5))
    weight, costs = rng.random(4) + 0.1, np.arange(0.5, 10, 0.5)
    expected = [
        sum(w * max((r for s, r in zip(ss, rs, strict=True) if s <= c), default=0.0)
            for w, ss, rs in zip(weight, spent, right, strict=True)) / weight.sum()
        for c in costs
    ]  # fmt: skip
    assert best_within(costs, spent, right, weight) == pytest.approx(expected)


def test_switches_are_found_between_the_costs() -> None:
    costs = np.array([1.0, 10.0, 100.0])
    curves = {"small": np.array([0.2, 0.3, 0.4]), "large": np.array([0.0, 0.25, 0.65])}
    (one,) = switches(costs, curves)
    assert (one.before, one.after) == ("small", "large")
    share = 0.05 / (0.05 + 0.25)  # straight lines over the logarithm
    assert one.accuracy == pytest.approx(0.3 + share * 0.1)
    assert one.cost == pytest.approx(10 ** (1 + share))
    assert not switches(costs, curves, floor=0.5)
    assert frontier(costs, curves).model == ("small", "small", "large")


def test_costs_at_an_accuracy() -> None:
    costs, curve = np.array([1.0, 10.0, 100.0]), np.array([0.0, 0.2, 0.6])
    assert cost_at(costs, curve, [0.1, 0.2, 0.4]) == pytest.approx([10**0.5, 10, 10**1.5])
    assert np.isnan(cost_at(costs, curve, 0.7))
    cheap = frontier(costs / 4, {"a": curve})
    assert saving(frontier(costs, {"a": curve}), cheap, [0.1, 0.5]) == pytest.approx([4, 4])
    with pytest.raises(ValueError, match="range of positive"):
        log_costs(0, 1)


def test_the_laws_at_their_ends() -> None:
    assert truncated_accuracy([0, 6000, 1e12], 0.8, 6000, 0.4) == pytest.approx([0, 0.4, 0.8])
    assert budget_factor([0, 100, 1e6], 100, 1.4) == pytest.approx([0, 1 - np.exp(-1), 1])


@pytest.mark.systems(26)
def test_a_law_curve_turns_the_cost_back_into_tokens() -> None:
    """With one budget and no choice but length, accuracy at a cost is the law at the tokens it buys."""
    model = paper_models()["4B"]
    tokens = np.array([1000.0, 5000.0, 20_000.0])
    for kept, attention, factor in (
        (None, DENSE, 1.0),
        (Kept(100, 1.4, (512,)), Sparse(512), float(budget_factor(512, 100, 1.4))),
    ):
        spent = query_cost(model.shape(), 150, tokens, attention=attention, law=PAPER).eflops(PAPER_INTENSITY)
        curve = law_curve(spent, model.shape(), model.truncation(), 150, kept=kept)
        assert curve == pytest.approx(factor * truncated_accuracy(tokens, *model.truncation()), rel=0.01)


@pytest.mark.systems(26)
def test_best_of_n_of_equal_problems_is_one_minus_the_misses() -> None:
    """Problems and lengths alike: coverage within a cost is 1 − (1 − p)^N of the most trials that fit."""
    shape = paper_models()["8B"].shape()
    same = outcomes(0.3, sd_between=0.0, sd_within=0.0)
    trials = (1, 2, 4, 8)
    spent = query_cost(shape, 150, 4000, np.array(trials), law=PAPER).eflops(PAPER_INTENSITY)
    curve = best_of_n_curve(spent * 1.001, shape, same, trials=trials)
    assert curve == pytest.approx(1 - 0.7 ** np.array(trials), abs=2e-3)
    assert best_of_n_curve(spent[:1] / 2, shape, same, trials=trials) == 0


@pytest.mark.systems(26)
def test_long_chains_against_drawn_samples() -> None:
    """One cap for all: mean accuracy and mean cost as of a hundred thousand draws from the profile."""
    shape, profile, cap = paper_models()["8B"].shape(), outcomes(sd_between=0.0), 4096
    rng = np.random.default_rng(5)
    lengths = np.exp(np.log(4000) + 0.4 * rng.standard_normal(100_000))
    lengths = lengths[lengths <= 32_768]
    expected = float(query_cost(shape, 150, np.minimum(lengths, cap), law=PAPER).eflops(562.5).mean())
    curve = long_cot_curve(np.array([0.99, 1.01]) * expected, shape, profile, caps=(cap,))
    assert curve[0] < 0.5 * curve[1]
    assert curve[1] == pytest.approx(profile.difficulty.mean * np.mean(lengths <= cap), abs=0.01)


def test_early_settling_shows_answers_before_the_end() -> None:
    shape, late = paper_models()["8B"].shape(), outcomes()
    early = replace(late, settling=1.0)
    apart = long_cot_curve(COSTS, shape, early) - long_cot_curve(COSTS, shape, late)
    assert apart.min() > -1e-9
    assert apart.max() > 0.05
    assert apart[-1] == pytest.approx(0, abs=1e-3)


def test_what_is_kept_moves_curves_the_right_way() -> None:
    shape, profile = paper_models()["8B"].shape(), outcomes()
    exact = Pricing(law=replace(PAPER, exact_sums=True))
    dense, top, block = (
        long_cot_curve(COSTS, shape, profile, exact, kept)
        for kept in (None, paper_kept(), paper_kept(blocks=True))
    )
    assert np.all(top >= block - 1e-12)  # the oracle seeks at no cost
    assert (top - dense).max() > 0.3
    whole = long_cot_curve(COSTS, shape, profile, Pricing(law=WHOLE, batch=8))
    alone = long_cot_curve(COSTS, shape, profile, Pricing(law=WHOLE, batch=1))
    assert np.all(alone <= whole)
    assert np.all(whole <= dense)


@pytest.mark.systems(26)
def test_the_growth_of_settings_adds_up_to_the_cost() -> None:
    """Where reads of B·g tokens are the cost, budget and tokens grow by factors whose product is two."""
    pricing, costs = Pricing(law=replace(PAPER, exact_sums=True)), log_costs(1e13, 1e18, 300)
    model = paper_models()["1.7B"]
    for found, low, high in (
        (best_chain(costs, model.shape(), model.truncation(), 150, paper_kept(), pricing), 0.05, 0.4),
        (best_trials(costs, model.shape(), outcomes(), paper_kept(), pricing), 0.7, 0.9),
    ):
        budget, tokens = found.per_doubling(low, high)
        assert tokens > 1.3 > budget / 1.2
        assert budget * tokens == pytest.approx(2, rel=0.15)
        assert np.all(np.diff(found.accuracy) > -1e-6)
    with pytest.raises(ValueError, match="fewer than three"):
        found.per_doubling(0.5, 0.5 + 1e-9)
