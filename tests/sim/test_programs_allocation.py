"""Budgets by difficulty, sub-question and time, against the closed forms of what they allocate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import betaincinv, binom, ndtr, ndtri

from foretell.models.accuracy.allocation import compute_optimal as best_options
from foretell.models.accuracy.revision import ever_right
from foretell.models.accuracy.voting import majority_vote
from foretell.models.outcomes import Answers, Lengths, Revision
from foretell.sim.programs.allocation import compute_optimal, plan_and_budget, timed_vote
from foretell.sim.programs.sampling import best_of_n, single
from unloaded import TPOT_S, A, B, agrees, beta_mean, profile, run

OUTCOMES = profile(1000, revision=Revision((0.2, 0.1), (0.05,)))
LIMITS, CHAINS = (0.4, 0.7), (6, 3, 1)


def samples(estimate: Any) -> Any:
    """Chains that the estimate gets."""
    return np.asarray(CHAINS)[np.searchsorted(LIMITS, estimate, side="right")]


@pytest.mark.slow
@pytest.mark.systems(12)
def test_a_predictor_that_knows_gives_each_bin_its_samples() -> None:
    took = run(compute_optimal(easier=LIMITS, chains=CHAINS, rounds=(0, 0, 0)), OUTCOMES)
    # The quadrature of a step function is good to its steps.
    agrees(took.calls, beta_mean(samples), 0.01)
    agrees(took.right, beta_mean(lambda p: 1 - (1 - p) ** samples(p)), 1e-3)


@pytest.mark.slow
@pytest.mark.systems(12)
def test_an_uncertain_predictor_mixes_the_bins() -> None:
    noise = 0.8
    took = run(compute_optimal(easier=LIMITS, chains=CHAINS, rounds=(0, 0, 0), noise=noise), OUTCOMES)
    z: Any = ndtri((np.arange(200) + 0.5) / 200)

    def accuracy(p: Any) -> Any:
        estimate = ndtr(ndtri(p)[:, None] + noise * z)
        return (1 - (1 - p[:, None]) ** samples(estimate)).mean(1)

    agrees(took.right, beta_mean(accuracy), 2e-3)

    def mean_samples(p: Any) -> Any:
        return samples(ndtr(ndtri(p)[:, None] + noise * z)).mean(1)

    agrees(took.calls, beta_mean(mean_samples), 0.02)


@pytest.mark.systems(12)
def test_chains_and_rounds_of_a_bin_are_independent_chains() -> None:
    took = run(compute_optimal(easier=(), chains=(2,), rounds=(2,)), OUTCOMES)
    agrees(took.right, beta_mean(lambda p: 1 - (1 - ever_right(p, OUTCOMES.revision, 2)[-1]) ** 2))
    assert (took.tokens == 2 * 1000 + 4 * 500).all()
    assert np.allclose(took.latency_s, (1000 + 2 * 500) * TPOT_S)  # chains side by side


@pytest.mark.systems(12)
def test_probes_estimate_by_agreement_and_count_as_chains() -> None:
    outcomes = profile(1000, answers=Answers(1.0))
    took = run(
        compute_optimal(easier=(0.8,), chains=(9, 3), rounds=(0, 0), probes=3, select="vote"), outcomes
    )
    agree = beta_mean(lambda p: p**3 + (1 - p) ** 3)
    agrees(took.calls, 3 * agree + 9 * (1 - agree))

    def right(p: Any) -> Any:
        split = sum(  # three probes that disagree, then six more; nine have a majority
            binom(3, k) * p**k * (1 - p) ** (3 - k) * binom(6, m) * p**m * (1 - p) ** (6 - m)
            for k in (1, 2)
            for m in range(7)
            if k + m > 4
        )
        return p**3 + split

    agrees(took.right, beta_mean(right))
    assert np.allclose(np.unique(took.latency_s), [1000 * TPOT_S, 2000 * TPOT_S])


@pytest.mark.systems(12)
def test_the_bins_best_options_beat_the_same_number_for_all() -> None:
    """The optimal rule, run as a program, is better than best-of-N at about its cost."""
    options = np.array([1, 2, 4, 8, 16])
    edges = np.array([0.0, 0.4, 0.6, 0.8, 1.0])
    p = betaincinv(A, B, (np.arange(4000) + 0.5) / 4000)
    place = np.searchsorted(edges[1:-1], p, side="right")
    weights = np.bincount(place, minlength=4) / len(p)
    accuracy = np.array([[(1 - (1 - p[place == b]) ** n).mean() for n in options] for b in range(4)])
    share = best_options(accuracy, np.tile(options, (4, 1)).astype(float), weights, 4.0)
    chains = tuple(int(options[row.argmax()]) for row in share)
    took = run(compute_optimal(easier=tuple(edges[1:-1]), chains=chains, rounds=(0,) * 4), n=1500)
    uniform = run(best_of_n(n=4), n=1500)
    assert took.calls.mean() < 4.6
    agrees(
        took.right, float(sum(weights[b] * accuracy[b, row.argmax()] for b, row in enumerate(share))), 2e-3
    )
    assert took.accuracy > uniform.accuracy


@pytest.mark.systems(259)
@pytest.mark.parametrize("schedule", ["uniform", "linear", "exponential"])
def test_budgets_keep_what_has_settled_within_them(schedule: str) -> None:
    outcomes, budget = profile(1000, settling=3.0), 800
    at = np.arange(4) / 3
    weights = {"uniform": np.ones(4), "linear": 1.5 - at, "exponential": np.exp(-2 * at)}[schedule]
    caps = weights / weights.sum() * budget
    program = plan_and_budget(budget_tokens=budget, subquestions=4, schedule=schedule, spread=0.0)
    took = run(program, outcomes)
    kept = np.prod(np.minimum(caps / 250, 1) ** 3)
    agrees(took.right, A / (A + B) * float(kept), 0.01)  # caps are whole tokens
    assert np.allclose(took.tokens, np.minimum(caps, 250).sum() + 200, atol=4)


@pytest.mark.systems(259)
def test_a_schedule_that_follows_the_need_keeps_more_for_as_much() -> None:
    outcomes = profile(1000, settling=3.0)
    fits, misfits = (
        run(plan_and_budget(budget_tokens=900, schedule=s, front=1.5), outcomes)
        for s in ("exponential", "uniform")
    )
    assert fits.accuracy > misfits.accuracy
    roomy = run(plan_and_budget(budget_tokens=5000, front=1.5, schedule="exponential"), outcomes)
    assert np.array_equal(roomy.answers, run(single(), outcomes).answers)
    assert fits.tokens.mean() < roomy.tokens.mean()


@pytest.mark.systems(310)
@pytest.mark.parametrize("within_s", [6.0, 12.0, 40.0])
def test_a_timed_vote_is_one_of_those_that_have_ended(within_s: float) -> None:
    n = 5
    lengths = Lengths(1000, 0.0, 0.5, cap_tokens=10**7)
    outcomes = profile(lengths=lengths, answers=Answers(1.0))
    took = run(timed_vote(n=n, within_s=within_s), outcomes)
    ended = float(ndtr(np.log(within_s / TPOT_S / 1000) / 0.5))

    def right(p: Any) -> Any:
        return sum(
            binom(n, k) * ended**k * (1 - ended) ** (n - k) * majority_vote(p, k, Answers(1.0))
            for k in range(1, n + 1)
        )

    agrees(took.right, beta_mean(right), 1e-3)
    assert took.latency_s.max() <= within_s + 1e-9


@pytest.mark.systems(310)
def test_time_decides_how_many_branches_are_best() -> None:
    """Where branches slow each other down, a short limit wants few of them, a long one many."""
    lengths = Lengths(1000, 0.0, 0.3, cap_tokens=10**7)
    outcomes = profile(lengths=lengths, answers=Answers(0.3))
    best = []
    for within_s in (12.0, 60.0):
        accuracy = {}
        for n in (1, 4, 16):
            slowed = TPOT_S * (1 + 0.08 * n)  # what an engine's batch would do
            took = run(timed_vote(n=n, within_s=within_s), outcomes, 800, tpot_s={"solver": slowed})
            accuracy[n] = took.accuracy
        best.append(max(accuracy, key=lambda n: accuracy[n]))
    assert best[0] < best[1]


@pytest.mark.parametrize(
    ("factory", "settings", "field"),
    [
        (compute_optimal, {"chains": (4, 2)}, "chains: 2"),
        (compute_optimal, {"easier": (0.7, 0.2)}, "easier"),
        (compute_optimal, {"probes": 4}, "chains: 2"),
        (plan_and_budget, {"schedule": "steep"}, "schedule"),
        (timed_vote, {"n": 0}, "n"),
    ],
)
def test_bad_settings_are_refused(factory: Any, settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        factory(**settings)
