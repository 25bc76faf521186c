"""Systems of docs/systems.csv that change how long or how right answers are: as outcome profiles, run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foretell.models.accuracy.coverage import pass_at_k
from foretell.models.accuracy.voting import majority_vote
from foretell.models.outcomes import Answers, Difficulty, Lengths, Outcomes, Revision
from foretell.models.stepcost import AffineCost
from foretell.models.verifiers import Verifier
from foretell.sim.config import EngineConfig
from foretell.sim.disaggregated import EnginePool
from foretell.sim.programs.llm import Judge, PoolName, Program
from foretell.sim.programs.run import ProgramRun, run_programs
from foretell.sim.programs.sampling import best_of_n, budget_forcing, self_consistency, single
from foretell.sim.programs.servers import UnloadedPool

QUIET = UnloadedPool(ttft_s=0.05, tpot_s=0.01)
REASONING = Outcomes("t", "m", Difficulty(1.2, 0.8), Lengths(4000, 0.6, 0.4, 0.4, 1.1, 40_000), Answers(0.5))


def shorter(factor: float, gain: float = 0.0) -> Outcomes:
    """The reasoning profile with its lengths times a factor, and its accuracy by so much higher."""
    lengths, law = REASONING.lengths, REASONING.difficulty
    mean = law.mean + gain
    return replace(
        REASONING,
        lengths=replace(lengths, median_tokens=lengths.median_tokens * factor),
        difficulty=Difficulty(2 * mean, 2 * (1 - mean)),
    )


def run(program: Program, profile: Outcomes, queries: int = 1500, seed: int = 3) -> ProgramRun:
    return run_programs(program, {"": QUIET}, {"": profile}, n_queries=queries, seed=seed)


def loaded(profile: Outcomes, queries: int = 300) -> ProgramRun:
    """One engine at a rate that the whole lengths nearly fill."""
    pool = EnginePool(AffineCost(0.02, 1e-5, 5e-5, 1e-8), EngineConfig(num_gpu_blocks=8000, max_num_seqs=32))
    arrivals = np.cumsum(np.random.default_rng(1).exponential(4.5, queries))
    return run_programs(single(), {"": pool}, {"": profile}, arrival_s=arrivals, seed=3)


@pytest.mark.systems(75, 155, 168, 394, 403, 418)
@pytest.mark.parametrize(
    ("factor", "gain"),
    [
        pytest.param(0.59, 0.0, id="PIR, the shorter end"),
        pytest.param(0.97, 0.0, id="PIR, the longer end"),
        pytest.param(0.5, 0.0, id="ConCISE"),
        pytest.param(0.6, 0.0, id="ReCUT, 30 to 50 % less"),
        pytest.param(4629 / 6827, -0.03, id="CoT-Valve on AIME"),
        pytest.param(225 / 741, 0.0, id="CoT-Valve on GSM8K"),
        pytest.param(0.8445, 0.197, id="ThinkRouter"),
    ],
)
def test_shorter_traces_take_their_share_of_tokens_and_time(factor: float, gain: float) -> None:
    plain, short = run(single(), shorter(1.0)), run(single(), shorter(factor, gain))
    assert short.tokens.mean() / plain.tokens.mean() == pytest.approx(factor, rel=0.06)
    assert short.latency_s.mean() < plain.latency_s.mean()
    assert short.accuracy - plain.accuracy == pytest.approx(gain, abs=0.03)


@pytest.mark.systems(385)
def test_shorter_traces_shorten_queues_as_well() -> None:
    plain, short = loaded(shorter(1.0)), loaded(shorter(0.5))
    assert short.latency_s.mean() < 0.45 * plain.latency_s.mean()  # more than the tokens' share


@pytest.mark.systems(39)
def test_answers_made_long_on_purpose_delay_everybody() -> None:
    plain, long = loaded(shorter(0.6)), loaded(shorter(1.2))
    assert long.latency_s.mean() > 2.2 * plain.latency_s.mean()


@pytest.mark.systems(197, 255, 290)
def test_lengths_that_follow_difficulty_save_on_easy_problems() -> None:
    flat = replace(REASONING, lengths=replace(REASONING.lengths, hardness=0.0))
    fitted = replace(REASONING, lengths=replace(REASONING.lengths, hardness=0.9, median_tokens=3400.0))
    one, other = run(single(), flat), run(single(), fitted)
    assert other.tokens.mean() < 0.95 * one.tokens.mean()
    assert other.tokens[other.right].mean() < 0.85 * one.tokens[one.right].mean()
    assert other.accuracy == pytest.approx(one.accuracy, abs=0.03)


@pytest.mark.systems(134)
def test_pause_tokens_in_place_of_thought() -> None:
    paused = replace(REASONING, lengths=Lengths(8, 0.0, 0.0, cap_tokens=100))
    assert 7 <= run(single(), paused).tokens.mean() <= 9
    assert run(single(), paused).accuracy == pytest.approx(REASONING.difficulty.mean, abs=0.03)


@pytest.mark.systems(56, 128)
def test_accuracy_over_a_token_budget_moves_with_the_lengths() -> None:
    for tokens in (2000, 4000, 8000):
        plain, trained = (run(budget_forcing(max_tokens=tokens), shorter(f), 1500) for f in (1.0, 0.6))
        assert trained.accuracy > plain.accuracy + 0.01
        assert trained.tokens.mean() < plain.tokens.mean()


@pytest.mark.systems(104, 381)
def test_the_same_single_sample_with_more_variety_covers_more() -> None:
    sharp = replace(REASONING, difficulty=Difficulty(0.12, 0.08))
    varied = replace(REASONING, difficulty=Difficulty(1.2, 0.8))
    ones = [run(single(), profile).accuracy for profile in (sharp, varied)]
    many = [run(best_of_n(n=32), profile, 400).accuracy for profile in (sharp, varied)]
    assert ones[0] == pytest.approx(ones[1], abs=0.03)
    assert many[1] > many[0] + 0.1


@pytest.mark.systems(27, 192, 405)
def test_a_better_trained_model_is_another_profile_at_the_same_cost() -> None:
    before, after = run(single(), shorter(1.0)), run(single(), shorter(1.0, 0.1))
    assert after.accuracy - before.accuracy == pytest.approx(0.1, abs=0.03)
    assert after.tokens.mean() == pytest.approx(before.tokens.mean(), rel=0.05)


@pytest.mark.systems(353)
def test_long_prompts_cost_prefill_and_votes_go_on_gaining() -> None:
    pool = UnloadedPool(ttft_s=0.05, tpot_s=0.01, prefill_token_s=1e-4)
    found = []
    for prompt in (512, 32_768):
        profile = replace(REASONING, prompt_tokens=prompt, answers=Answers(0.2))
        for n in (1, 8):
            program = self_consistency(n=n)
            found.append(run_programs(program, {"": pool}, {"": profile}, n_queries=1500, seed=1))
    short, _, long, voted = found
    assert long.latency_s.mean() - short.latency_s.mean() == pytest.approx(1e-4 * 32_256, rel=0.01)
    assert voted.accuracy > long.accuracy + 0.05


@pytest.mark.systems(421)
def test_one_average_hides_how_chances_spread() -> None:
    spread, alike = Difficulty(0.3, 0.3), Difficulty(3000.0, 3000.0)
    runs = [run(best_of_n(n=8), replace(REASONING, difficulty=law), 800) for law in (spread, alike)]
    for law, found in zip((spread, alike), runs, strict=True):
        weight, chance, _ = replace(REASONING, difficulty=law).problem_grid()
        assert found.accuracy == pytest.approx(float(weight @ pass_at_k(chance, 8)), abs=0.03)
    assert runs[1].accuracy > runs[0].accuracy + 0.15


@pytest.mark.systems(301)
def test_votes_are_worth_their_samples_and_right_answers_are_shorter() -> None:
    profile = replace(REASONING, lengths=replace(REASONING.lengths, hardness=0.8))
    one, votes = run(single(), profile), run(self_consistency(n=8), profile, 1500)
    assert votes.accuracy > one.accuracy + 0.03
    assert one.tokens[one.right].mean() < 0.8 * one.tokens[~one.right].mean()


@pytest.mark.systems(18)
def test_samples_and_revisions_both_saturate() -> None:
    weight, chance, _ = REASONING.problem_grid(verbosities=1)
    votes = [float(weight @ majority_vote(chance, k, REASONING.answers)) for k in (1, 4, 16, 64, 256)]
    gains = np.diff(votes)
    assert gains[0] > 0.02 and gains[-1] < 0.005
    assert (np.diff(gains) < 0).all()
    found = [run(self_consistency(n=k), REASONING, 1000).accuracy for k in (1, 16)]
    assert found == pytest.approx([votes[0], votes[2]], abs=0.03)


@pytest.mark.systems(69, 98, 195, 328, 333)
def test_a_selector_gains_by_how_well_it_tells() -> None:
    accuracy = [
        run(best_of_n(n=4, verifier=Judge(None, Verifier(auc=auc))), REASONING, 1000).accuracy
        for auc in (0.5, 0.654, 0.8, 0.95)
    ]
    assert (np.diff(accuracy) > 0.01).all()
    assert accuracy[0] == pytest.approx(REASONING.difficulty.mean, abs=0.03)


@pytest.mark.systems(351, 390)
def test_a_verifier_that_thinks_is_surer_and_slower() -> None:
    pools = {"": QUIET, "judge": UnloadedPool(ttft_s=0.02, tpot_s=0.01)}
    fast = Judge(PoolName("judge"), Verifier(auc=0.75))
    slow = Judge(PoolName("judge"), Verifier(auc=0.95, output_tokens=500))
    runs = [
        run_programs(best_of_n(n=4, verifier=judge), pools, {"": REASONING}, n_queries=1500, seed=2)
        for judge in (fast, slow)
    ]
    assert runs[1].accuracy > runs[0].accuracy + 0.04
    assert (runs[1].latency_s - runs[0].latency_s).mean() == pytest.approx(499 * 0.01, rel=0.01)
    assert runs[1].tokens.mean() > runs[0].tokens.mean() + 4 * 490


@pytest.mark.systems(42)
def test_sequential_or_parallel_at_the_same_tokens_depends_on_the_task() -> None:
    from foretell.sim.programs.revision import revision

    def better(repair: float, corruption: float) -> float:
        rates = Revision((repair,), (corruption,), tokens_ratio=1.0)
        profile = replace(REASONING, answers=Answers(0.3), revision=rates)
        chain = run(revision(rounds=4), profile, 1500)
        votes = run(self_consistency(n=5), profile, 1500)
        assert chain.tokens.mean() == pytest.approx(votes.tokens.mean(), rel=0.25)
        return chain.accuracy - votes.accuracy

    assert better(0.5, 0.02) > 0.03
    assert better(0.1, 0.2) < -0.03
