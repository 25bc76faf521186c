"""Forks and candidates where the model is unsure: counts, tokens and accuracy of the stages' own law."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import binom

from foretell.models.outcomes import Answers
from foretell.models.verifiers import Verifier
from foretell.sim.programs.adaptive_steps import eager, mur, scale
from foretell.sim.programs.llm import Judge
from foretell.sim.programs.sampling import self_consistency, single
from unloaded import A, B, agrees, beta_mean, profile, run

TOKENS, STEPS = 1000, 10
OUTCOMES = profile(TOKENS, step_tokens=TOKENS / STEPS)
MEAN = A / (A + B)


@pytest.mark.systems(185)
def test_branches_fork_as_often_as_peaks_come_and_share_what_is_before() -> None:
    sure = 2.0 / 3.0  # chances that hardly vary
    outcomes = profile(TOKENS, a=2e5, b=1e5, answers=Answers(1.0), settling=1.0)
    took = run(eager(n=4, peak_tokens=100), outcomes)
    rng = np.random.default_rng(5)
    at = np.cumsum(rng.exponential(100 / (1 - sure), (40_000, 3)), axis=1)
    inside = at < TOKENS
    agrees(took.tokens, TOKENS + np.where(inside, TOKENS - at, 0).sum(1).mean(), 5)
    settled = rng.random((len(at), 1)) * TOKENS
    first = rng.random((len(at), 1)) < sure
    branch = np.where(at >= settled, first, rng.random(at.shape) < sure)
    right = first.sum(1) + (branch & inside).sum(1)
    votes = 1 + inside.sum(1)
    agrees(took.right, np.where(2 * right == votes, 0.5, 2 * right > votes).mean(), 0.01)
    # A branch's prompt is the query's and the first trace up to there.
    assert took.run.prompt_tokens.max() < 256 + TOKENS


@pytest.mark.systems(185)
def test_easy_queries_fork_less_and_extra_goes_where_branches_disagree() -> None:
    easy, hard = (
        run(eager(n=6, peak_tokens=300), profile(TOKENS, a=p * 1e5, b=(1 - p) * 1e5), 300) for p in (0.9, 0.2)
    )
    assert easy.tokens.mean() < hard.tokens.mean()
    full = run(self_consistency(n=6), profile(TOKENS, a=2e4, b=8e4), 10)
    assert hard.tokens.mean() < full.tokens.mean()
    outcomes = profile(TOKENS, answers=Answers(1.0))
    plain = run(eager(n=2, peak_tokens=200), outcomes)
    more = run(eager(n=2, peak_tokens=200, extra=5), outcomes)
    assert plain.tokens.mean() < more.tokens.mean() < plain.tokens.mean() + 5 * TOKENS
    assert plain.accuracy < more.accuracy


def every_stage(p: Any, triggered: float, blame: float, candidates: int) -> Any:
    """Accuracy of MUR with an oracle that picks: over how many of the steps are triggered."""
    total = 0.0
    for m in range(STEPS + 1):
        weight = binom(STEPS, m) * triggered**m * (1 - triggered) ** (STEPS - m)
        blamed = 1.0 if m == STEPS else blame if m else 0.0
        saved = 1.0 if not m else (1 - (1 - p ** (blamed / m)) ** candidates) ** m
        total = total + weight * p ** (1 - blamed) * saved
    return total


@pytest.mark.systems(233)
@pytest.mark.parametrize(("triggered", "blame", "candidates"), [(0.3, 0.7, 4), (1.0, 1.0, 2), (0.3, 0.3, 1)])
def test_mur_is_right_where_all_its_steps_are(triggered: float, blame: float, candidates: int) -> None:
    took = run(mur(triggered=triggered, blame=blame, candidates=candidates), OUTCOMES)
    agrees(took.right, beta_mean(lambda p: every_stage(p, triggered, blame, candidates)))
    agrees(took.tokens, TOKENS * (1 + (candidates - 1) * triggered))


@pytest.mark.slow
@pytest.mark.systems(233)
def test_candidates_for_uncertain_steps_alone_are_cheaper_for_their_gain() -> None:
    blind = Judge(None, Verifier(auc=0.5))
    agrees(run(mur(verifier=blind), OUTCOMES, 500).right, MEAN)  # candidates are worth what the judge is
    some = run(mur(triggered=0.3, blame=0.8), OUTCOMES, 500)
    all_of_them = run(mur(triggered=1.0), OUTCOMES, 500)
    assert MEAN < some.accuracy < all_of_them.accuracy
    saved = 1 - some.tokens.mean() / all_of_them.tokens.mean()
    assert saved > 0.5
    gain = (some.accuracy - MEAN) / (all_of_them.accuracy - MEAN)
    assert gain > 1 - saved


@pytest.mark.systems(268)
def test_scale_spends_and_loses_what_its_modes_do() -> None:
    slow = run(scale(subproblems=5, hard=5, candidates=1), OUTCOMES)
    agrees(slow.right, MEAN)
    assert (slow.tokens == TOKENS + 300).all()
    fast = run(scale(subproblems=5, hard=0, haste=1.5, quick_ratio=0.4), OUTCOMES)
    agrees(fast.right, beta_mean(lambda p: p**1.5))
    assert (fast.tokens == 0.4 * TOKENS + 300).all()


@pytest.mark.slow
@pytest.mark.systems(268)
def test_scale_does_better_the_better_it_rates() -> None:
    told, blind = (run(scale(noise=noise, haste=1.5), OUTCOMES, 1500) for noise in (0.0, 20.0))
    assert told.tokens.mean() == blind.tokens.mean()
    assert told.accuracy > blind.accuracy + 0.02
    assert told.accuracy > run(single(), OUTCOMES, 1500).accuracy
    deep = run(scale(hard=5, candidates=2), OUTCOMES, 100)
    assert told.tokens.mean() < 0.8 * deep.tokens.mean()


@pytest.mark.parametrize("program", [eager(), mur(), scale()])
def test_a_deadline_leaves_no_answer(program: Any) -> None:
    late = run(program, OUTCOMES, 20, deadline_s=0.5)
    assert (late.answers == -1).all() and np.allclose(late.latency_s, 0.5)


@pytest.mark.parametrize(
    ("factory", "settings"),
    [(eager, {"n": 0}), (mur, {"triggered": 1.2}), (mur, {"blame": -1.0}), (scale, {"hard": -1})],
)
def test_bad_settings_are_refused(factory: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        factory(**settings)
