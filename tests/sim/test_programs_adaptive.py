"""Stops within a trace: what they cost and answer, against the law of where traces settle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.models.accuracy.lengths import Traces
from foretell.models.accuracy.stopping import stop_on_agreement
from foretell.models.outcomes import Answers, Lengths
from foretell.sim.programs.adaptive import dynasor, infty_think, pruned_best_of_n, trimr
from foretell.sim.programs.llm import Judge, PoolName
from foretell.sim.programs.sampling import best_of_n, single
from unloaded import TPOT_S, A, B, agrees, beta_mean, profile, run

TOKENS = 1000
DISTINCT = Answers(0.0)


def settled(settling: float, n: int = 200_000) -> Any:
    """Where traces of `TOKENS` tokens settle, at evenly spaced quantiles."""
    return np.ceil(TOKENS * ((np.arange(n) + 0.5) / n) ** (1 / settling))


@pytest.mark.systems(202)
@pytest.mark.parametrize(("agree", "chunk"), [(8, 64), (5, 64), (3, 64), (2, 64), (2, 32)])
def test_dynasor_stops_so_many_probes_after_the_trace_has_settled(agree: int, chunk: int) -> None:
    """With guesses that are never right and never agree, it loses nothing, and stops at a known place."""
    outcomes = profile(TOKENS, answers=DISTINCT, settling=2.0, guess_ratio=0.0)
    took = run(dynasor(agree=agree, chunk_tokens=chunk, probe_tokens=16), outcomes, 400)
    probes = np.ceil(settled(2.0) / chunk) + agree - 1
    stopped = probes * chunk < TOKENS
    tokens = np.where(stopped, probes * (chunk + 16), TOKENS + 16 * ((TOKENS - 1) // chunk))
    agrees(took.tokens, tokens.mean())
    agrees(took.latency_s, tokens.mean() * TPOT_S)  # the probes are in its way
    assert np.array_equal(took.answers, run(single(), outcomes, len(took)).answers)


@pytest.mark.systems(202)
def test_one_probe_answers_with_guesses_where_the_trace_has_not_settled() -> None:
    took = run(
        dynasor(agree=1, chunk_tokens=500),
        profile(TOKENS, settling=1.0, guess_ratio=0.4, answers=DISTINCT),
        6000,
    )
    agrees(took.right, A / (A + B) * (0.5 + 0.5 * 0.4))
    assert (took.tokens == 500 + 16).all()


@pytest.mark.slow
@pytest.mark.systems(202)
def test_patience_buys_accuracy() -> None:
    """The paper's presets trade tokens for accuracy in order, on traces whose wrong guesses agree."""
    outcomes = profile(2000, settling=2.0, guess_ratio=0.3, answers=Answers(0.7))
    eager, mild = (run(dynasor(agree=agree), outcomes, 700) for agree in (2, 8))
    alone = run(single(), outcomes, 700)
    assert eager.accuracy < mild.accuracy <= alone.accuracy
    assert eager.tokens.mean() < mild.tokens.mean()
    late = run(dynasor(), outcomes, 20, deadline_s=1.0)
    assert late.late.all() and (late.answers >= 0).any()  # a deadline finds the last probe's answer


@pytest.mark.systems(202)
def test_guesses_that_are_seen_through_cost_nothing() -> None:
    """However often guesses would agree: what shows doubt stops nothing, and tokens are those of settling."""
    outcomes = profile(TOKENS, answers=Answers(1.0), settling=2.0, guess_ratio=0.5)
    alone, rash, careful = (
        run(program, outcomes, 500)
        for program in (single(), dynasor(agree=2), dynasor(agree=2, hesitation=1.0))
    )
    assert np.array_equal(careful.answers, alone.answers)
    assert rash.accuracy < careful.accuracy and rash.tokens.mean() < careful.tokens.mean()


@pytest.mark.systems(77)
def test_trimr_cuts_after_a_thought_that_began_settled() -> None:
    outcomes = profile(TOKENS, settling=1.0, guess_ratio=0.0)
    program = trimr(chunk_tokens=100, agree=1, recall=1.0, false_alarm=0.0, verifier=PoolName("judge"))
    at_once = run(program, {"solver": outcomes}, tpot_s={"judge": 0.0})
    thoughts = np.ceil(settled(1.0) / 100) + 1
    cut = thoughts * 100 < TOKENS
    # Each thought but the last is read, for one token; then 32 say the answer.
    tokens = np.where(cut, thoughts * 101 + 32, TOKENS + TOKENS // 100 - 1)
    agrees(at_once.tokens, tokens.mean())
    assert np.array_equal(at_once.answers, run(single(), outcomes).answers)


@pytest.mark.systems(77)
def test_a_slow_verifier_lags_and_a_nervous_one_costs_accuracy() -> None:
    outcomes = profile(TOKENS, settling=1.0)
    fine: dict[str, Any] = {"chunk_tokens": 100, "agree": 1, "recall": 1.0, "verifier": PoolName("judge")}
    runs = {
        name: run(trimr(**fine, false_alarm=alarm), outcomes, 800, tpot_s={"judge": slow})
        for name, alarm, slow in (("swift", 0.0, 0.0), ("slow", 0.0, 80 * TPOT_S), ("nervous", 0.3, 0.0))
    }
    swift, slow, nervous = (runs[name] for name in ("swift", "slow", "nervous"))
    lag = slow.tokens - swift.tokens
    assert set(np.unique(lag)) <= {0, 80} and lag.mean() > 40  # what was written while it read
    assert nervous.accuracy < swift.accuracy == slow.accuracy
    assert nervous.tokens.mean() < swift.tokens.mean()


@pytest.mark.systems(152)
def test_segments_keep_the_context_short_and_cost_their_summaries() -> None:
    outcomes = profile(TOKENS)
    took = run(infty_think(segment_tokens=300, summary_tokens=50), outcomes, 30)
    assert (took.tokens == TOKENS + 3 * 50).all()
    assert (took.prompt_tokens == 4 * 256 + 3 * 50).all()
    assert took.run.prompt_tokens.max() + took.run.output_tokens.max() <= 256 + 50 + 350
    assert np.array_equal(took.answers, run(single(), outcomes, 30).answers)


@pytest.mark.slow
@pytest.mark.systems(37)
@pytest.mark.parametrize(("partial_auc", "tries"), [(0.5, 4), (1.0, 16)])
def test_pruning_is_best_of_what_it_can_tell(partial_auc: float, tries: int) -> None:
    """A blind judgement keeps four at random; a perfect one loses nothing of the sixteen."""
    took = run(pruned_best_of_n(n=16, keep=4, prune_tokens=100, partial_auc=partial_auc))
    agrees(took.right, beta_mean(lambda p: 1 - (1 - p) ** tries))
    assert (took.tokens == 16 * 100 + 4 * 900).all()
    if partial_auc == 1.0:
        assert np.array_equal(took.right, run(best_of_n(n=16)).right)


def test_self_evaluation_in_the_middle_is_charged() -> None:
    judge = Judge(PoolName("solver"))
    took = run(pruned_best_of_n(n=4, keep=2, prune_tokens=100, verifier=judge), profile(TOKENS), 20)
    assert (took.calls == 4 + 4 + 2 + 2).all()
    short = profile(lengths=Lengths(49.5, 0.0, 0.0, cap_tokens=10**6))
    assert (run(pruned_best_of_n(n=4, keep=2, prune_tokens=100), short, 20).tokens == 4 * 50).all()


@pytest.mark.parametrize(
    ("factory", "settings"),
    [
        (dynasor, {"agree": 0}),
        (trimr, {"recall": 1.2}),
        (infty_think, {"segment_tokens": 0}),
        (pruned_best_of_n, {"keep": 0}),
    ],
)
def test_bad_settings_are_refused(factory: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        factory(**settings)


@pytest.mark.slow
@pytest.mark.systems(202)
@pytest.mark.parametrize(("agree", "chunk"), [(2, 128), (3, 256), (5, 128)])
def test_dynasor_is_its_closed_form_on_answers_of_all_lengths(agree: int, chunk: int) -> None:
    """Guesses that agree, lengths that vary and a cap: accuracy, tokens and probes of the whole rule."""
    outcomes = profile(
        lengths=Lengths(3000, 0.5, 0.4, hardness=0.3, wrong_ratio=1.05, cap_tokens=8000),
        answers=Answers(0.6),
        settling=1.5,
        guess_ratio=0.4,
    )
    took = run(dynasor(agree=agree, chunk_tokens=chunk, probe_tokens=16), outcomes, 1500)
    weight, p, log_median = outcomes.problem_grid(120, 9)
    found = stop_on_agreement(
        Traces(p, log_median, outcomes.lengths),
        outcomes.answers,
        agree=agree,
        chunk_tokens=chunk,
        settling=1.5,
        guess_ratio=0.4,
    )
    # The closed form counts runs of guesses as a Poisson process, and leaves guesses before settling out.
    agrees(took.right, float(weight @ found.accuracy), 0.01)
    agrees(took.tokens, float(weight @ (found.tokens + 16 * found.probes)), 0.02 * took.tokens.mean())
