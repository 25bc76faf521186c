"""Speculative reasoning: the programs on unloaded pools against the closed forms of their step times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from foretell.models.accuracy.speculative import (
    accepted_run,
    lookahead_rounds,
    lookahead_speedup,
    spec_reason_speedup,
    spec_reason_step,
    token_speedup,
)
from foretell.models.outcomes import Difficulty, Lengths, Outcomes
from foretell.models.verifiers import Verifier
from foretell.sim.programs.llm import Judge, PoolName
from foretell.sim.programs.run import ProgramRun, run_programs
from foretell.sim.programs.sampling import single
from foretell.sim.programs.servers import UnloadedPool
from foretell.sim.programs.speculative import lookahead, spec_reason

BASE_S, DRAFT_S = 0.02, 0.004
DRAFT = PoolName("draft")
STEPS, STEP_TOKENS = 16, 50


def profile(model: str, a: float = 3.0, b: float = 1.0, **changes: Any) -> Outcomes:
    """Traces of exactly `STEPS` steps, so that the closed forms have no length to average over."""
    lengths = Lengths(STEPS * STEP_TOKENS - 0.5, 0.0, 0.0)
    return Outcomes("task", model, Difficulty(a, b), lengths, step_tokens=STEP_TOKENS, **changes)


def run(program: Any, n: int = 300, tpot_s: float = BASE_S, **more: Any) -> ProgramRun:
    pools = {"base": UnloadedPool(tpot_s, tpot_s), "draft": UnloadedPool(DRAFT_S, DRAFT_S)}
    profiles = {"base": profile("base"), "draft": profile("draft", 1.0, 2.0)}
    return run_programs(program, pools, profiles, n_queries=n, **more)


def agrees(sample: Any, expected: float, sure: float = 4.0) -> None:
    """The mean of a sample is within `sure` standard errors of what is expected."""
    values = np.asarray(sample, dtype=np.float64)
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean() - expected) <= sure * error + 1e-9 * abs(expected), (
        values.mean(),
        expected,
        error,
    )


@pytest.mark.systems(82)
@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.7, 1.0])
def test_spec_reason_takes_the_time_of_its_steps(acceptance: float) -> None:
    took = run(spec_reason(draft=DRAFT, good=acceptance))
    step_s = spec_reason_step(STEP_TOKENS * DRAFT_S, BASE_S, STEP_TOKENS * BASE_S, acceptance)
    agrees(took.latency_s, STEPS * float(step_s))


@pytest.mark.systems(82)
def test_spec_reason_speeds_up_what_it_accepts_often_enough() -> None:
    alone = run(single()).latency_s.mean()
    for good in (0.2, 0.8):
        expected = spec_reason_speedup(STEP_TOKENS * DRAFT_S, BASE_S, STEP_TOKENS * BASE_S, good)
        agrees(run(spec_reason(draft=DRAFT, good=good)).latency_s / alone, 1 / float(expected))


@pytest.mark.systems(82)
def test_a_perfect_scorer_keeps_the_bases_accuracy_and_a_blind_one_takes_the_drafts() -> None:
    assert np.array_equal(run(spec_reason(draft=DRAFT, good=0.4)).answers, run(single()).answers)
    draft_alone = run(single(solver=DRAFT))
    credulous = Judge(PoolName("base"), Verifier(completeness=1.0, soundness=0.0))
    blind = run(spec_reason(draft=DRAFT, good=0.4, verifier=credulous))
    sober = run(spec_reason(draft=DRAFT, good=0.0, verifier=credulous))
    assert np.array_equal(sober.right, draft_alone.right)
    assert blind.accuracy < run(single()).accuracy


@pytest.mark.systems(82)
def test_an_unsound_scorer_lets_bad_steps_by_as_often_as_it_must() -> None:
    good, soundness = 0.9, 0.8
    judge = Judge(PoolName("base"), Verifier(completeness=1.0, soundness=soundness))
    accuracy = run(spec_reason(draft=DRAFT, good=good, verifier=judge), 1500).right
    intact = (1 - (1 - good) * (1 - soundness)) ** STEPS
    agrees(accuracy, intact * 0.75 + (1 - intact) / 3)


@pytest.mark.systems(82)
def test_short_drafts_leave_room_in_a_budget_of_tokens() -> None:
    """Half of the steps at half their length: 600 of 800 tokens on average, spread as a binomial."""
    budget = 600
    assert run(single(max_tokens=budget)).accuracy == 0
    fits = run(spec_reason(draft=DRAFT, good=0.5, draft_ratio=0.5, max_tokens=budget), 800)
    drafted = binom(STEPS, 0.5).sf((STEPS * STEP_TOKENS - budget) / (STEP_TOKENS / 2) - 1)
    agrees(fits.right, 0.75 * float(drafted))


@pytest.mark.systems(161)
@pytest.mark.parametrize(("acceptance", "ahead"), [(0.0, 3), (0.5, 2), (0.7, 4), (1.0, 5)])
def test_lookahead_takes_the_rounds_of_its_renewal(acceptance: float, ahead: int) -> None:
    took = run(lookahead(draft=DRAFT, acceptance=acceptance, ahead=ahead))
    rounds = lookahead_rounds(STEPS, acceptance, ahead)
    round_s = STEP_TOKENS * (BASE_S + np.arange(ahead) * DRAFT_S)
    agrees(took.latency_s, float(rounds @ round_s))
    assert np.array_equal(took.answers, run(single()).answers)


@pytest.mark.systems(161)
def test_lookahead_comes_to_its_speedup_on_long_traces() -> None:
    for acceptance, ahead in ((0.6, 3), (0.8, 6)):
        rounds = lookahead_rounds(4000, acceptance, ahead)
        seconds = rounds @ (1 + np.arange(ahead) * DRAFT_S / BASE_S)
        expected = float(lookahead_speedup(acceptance, ahead, DRAFT_S / BASE_S))
        assert 4000 / seconds == pytest.approx(expected, rel=2e-3)


@pytest.mark.systems(161)
def test_a_verifier_and_wasted_versions_cost_tokens_and_time() -> None:
    free = run(lookahead(draft=DRAFT, acceptance=0.5, ahead=3))
    paid = run(lookahead(draft=DRAFT, acceptance=0.5, ahead=3, verifier=PoolName("draft")))
    assert paid.latency_s.mean() > free.latency_s.mean()
    rounds = lookahead_rounds(STEPS, 0.5, 3)
    written = STEP_TOKENS * float(rounds @ (1 + 2 * np.arange(3)))  # k versions, and k − 1 drafts
    agrees(free.tokens, written)
    agrees(paid.tokens, written + float(rounds @ np.arange(3)))


@pytest.mark.systems(82, 161)
def test_token_speculation_nests_within_steps() -> None:
    """A base that writes tokens faster by token-level speculation gives the product of both speed-ups."""
    gain = float(token_speedup(0.7, 4, 0.05))
    alone = run(single(), 20).latency_s.mean()
    nested = run(lookahead(draft=DRAFT, acceptance=0.6, ahead=3), 500, tpot_s=BASE_S / gain).latency_s
    rounds = lookahead_rounds(STEPS, 0.6, 3)
    seconds = STEP_TOKENS * float(rounds @ (BASE_S / gain + np.arange(3) * DRAFT_S))
    agrees(nested, seconds)
    assert 1.0 < alone / nested.mean() < gain * float(lookahead_speedup(0.6, 3, 0.0))


def test_tokens_a_cycle_are_those_of_a_walk() -> None:
    rng = np.random.default_rng(1)
    for acceptance, drafted in ((0.3, 2), (0.9, 7)):
        hits = rng.random((20_000, drafted)) < acceptance
        agrees(1 + np.cumprod(hits, axis=1).sum(1), float(accepted_run(acceptance, drafted + 1)))
    assert accepted_run(1.0, 5) == 5


@pytest.mark.systems(82, 161)
def test_a_deadline_leaves_no_answer() -> None:
    for program in (spec_reason(draft=DRAFT), lookahead(draft=DRAFT)):
        late = run(program, 5, deadline_s=3.0)
        assert late.late.all() and (late.answers == -1).all() and np.allclose(late.latency_s, 3.0)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="good: 2"):
        spec_reason(draft=DRAFT, good=2)
    with pytest.raises(ValueError, match="verdicts"):
        spec_reason(draft=DRAFT, verifier=Judge())
    with pytest.raises(ValueError, match="ahead: 0"):
        lookahead(draft=DRAFT, ahead=0)
    with pytest.raises(ValueError, match="acceptance"):
        accepted_run(1.2, 3)
    with pytest.raises(ValueError, match="lookahead"):
        lookahead_rounds(0, 0.5, 2)
