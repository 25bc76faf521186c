"""Programs of independent samples agree with their closed forms, over a grid of profiles and parameters."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from foretell.models.accuracy import profile as closed
from foretell.models.outcomes import Answers, Difficulty, Lengths, Outcomes
from foretell.models.verifiers import Verifier
from foretell.sim.programs.catalogue import choose
from foretell.sim.programs.run import ProgramRun, run_programs
from foretell.sim.programs.servers import UnloadedPool

PROFILES = {
    "u-shaped": Outcomes(
        "t", "m", Difficulty(0.34, 0.16, 0.05), Lengths(3000, 0.6, 0.4, 0.8, 1.1, 16_384), Answers(0.3)
    ),
    "hard": Outcomes(
        "t", "m", Difficulty(0.5, 2.0, 0.3), Lengths(6000, 0.8, 0.5, 0.5, 1.0, 16_384), Answers(0.13)
    ),
    "easy, alike": Outcomes("t", "m", Difficulty(4.0, 1.5), Lengths(300, 0.3, 0.2), Answers(0.7)),
    "no two wrong alike": Outcomes("t", "m", Difficulty(1.0, 1.0), Lengths(900, 0.5, 0.4), Answers(0.0)),
}
GRID: list[tuple[str, dict[str, Any], dict[str, Any]]] = [  # the program's fields, the closed form's own
    ("single", {}, {}),
    ("single", {"max_tokens": 2500}, {}),
    ("best_of_n", {"n": 4}, {}),
    ("best_of_n", {"n": 6, "verifier": {"auc": 0.8}}, {"verifier": Verifier(auc=0.8)}),
    (
        "best_of_n",
        {"n": 5, "verifier": {"completeness": 0.9, "soundness": 0.8}},
        {"verifier": Verifier(completeness=0.9, soundness=0.8)},
    ),
    ("self_consistency", {"n": 4}, {}),
    ("self_consistency", {"n": 9, "max_tokens": 5000}, {}),
    ("first_finish", {"n": 4}, {}),
    ("budget_forcing", {"max_tokens": 2500}, {}),
    (
        "sequential_until_accepted",
        {"n": 6, "verifier": {"completeness": 0.95, "soundness": 0.7}},
        {"verifier": Verifier(completeness=0.95, soundness=0.7)},
    ),
    *(
        (name, {"n": n, "verifier": asdict(verifier)}, {"verifier": verifier})
        for name, n, verifier in (
            ("best_of_n", 6, Verifier(auc=0.8, common=0.5)),
            ("best_of_n", 5, Verifier(completeness=0.8, soundness=0.7, common=0.6)),
            ("sequential_until_accepted", 6, Verifier(completeness=0.9, soundness=0.7, common=0.6)),
            ("sequential_until_accepted", 6, Verifier(auc=0.8, common=0.5)),
        )
    ),
]


def run(profile: Outcomes, name: str, fields: dict[str, Any], n: int, seed: int = 0) -> ProgramRun:
    program = choose({"name": name, **fields}, ["main"]).program
    return run_programs(program, {"main": UnloadedPool(0.0, 1.0)}, {"main": profile}, n_queries=n, seed=seed)


def check(
    profile: str, name: str, fields: dict[str, Any], own: dict[str, Any], n: int
) -> tuple[float, float]:
    """The program lies within four standard errors of the formula: accuracy and tokens."""
    spec = PROFILES[profile]
    expected = getattr(closed, name)(spec, **{**fields, **own})
    done = run(spec, name, fields, n)
    error = math.sqrt(max(expected.accuracy * (1 - expected.accuracy), 1e-4) / n)
    assert abs(done.accuracy - expected.accuracy) <= 4 * error, (done.accuracy, expected.accuracy)
    written = done.tokens - (0 if name != "budget_forcing" else 16 * (done.calls - 1))
    spread = float(written.std()) / math.sqrt(n)
    # Whole tokens: a sample has half a token more on average than the law says.
    slack = 0.02 * expected.tokens / 100 + expected.samples
    assert abs(float(written.mean()) - expected.tokens) <= 4 * spread + slack
    if name in ("single", "best_of_n", "self_consistency", "first_finish"):
        late = float(done.latency_s.std()) / math.sqrt(n)
        assert abs(float(done.latency_s.mean()) - expected.critical_tokens) <= 4 * late + 2 + slack
    return done.accuracy, expected.accuracy


@pytest.mark.parametrize(("name", "fields", "own"), GRID, ids=lambda value: str(value))
def test_program_and_closed_form_agree(name: str, fields: dict[str, Any], own: dict[str, Any]) -> None:
    check("u-shaped", name, fields, own, 2_500)


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("name", "fields", "own"), GRID, ids=lambda value: str(value))
def test_they_agree_over_the_grid(
    profile: str, name: str, fields: dict[str, Any], own: dict[str, Any]
) -> None:
    check(profile, name, fields, own, 6_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields", "own"), [GRID[0], GRID[2], GRID[5], GRID[7], GRID[8]], ids=lambda value: str(value)
)
def test_they_agree_within_half_a_point_at_100_000_queries(
    name: str, fields: dict[str, Any], own: dict[str, Any]
) -> None:
    ours, formula = check("u-shaped", name, fields, own, 100_000)
    assert abs(ours - formula) <= 0.005


def test_lengths_and_answers_come_from_the_profile() -> None:
    """The draws themselves: chances, medians, the cap and the concentration of wrong answers."""
    spec = PROFILES["u-shaped"]
    done = run(spec, "single", {}, 30_000)
    assert done.accuracy == pytest.approx(spec.difficulty.mean, abs=0.012)
    wrong = done.answers[done.answers > 0]
    assert (wrong == 1).mean() == pytest.approx(0.3, abs=0.02)
    assert done.tokens.max() == spec.lengths.cap_tokens
    assert (done.answers[done.tokens == spec.lengths.cap_tokens] == -1).all()
    right = np.log(done.tokens[done.right])
    assert right.mean() < np.log(done.tokens[~done.right]).mean()  # harder is longer


def test_verdicts_and_scores_have_the_verifiers_quality() -> None:
    from foretell.sim.programs.llm import LLM, Judge, PoolName, Query, Steps

    seen: list[tuple[bool, float, float]] = []

    def judged(query: Query, llm: LLM) -> Steps:
        call = yield llm.sample(query)
        score = llm.judge(call, Judge(None, Verifier(auc=0.75)))
        verdict = llm.judge(call, Judge(PoolName("main"), Verifier(completeness=0.9, soundness=0.6)))
        yield verdict
        seen.append((call.answer == 0, score.score, verdict.score))
        return None

    profile = PROFILES["easy, alike"]
    run_programs(judged, {"main": UnloadedPool()}, {"main": profile}, n_queries=6000)
    right = np.array([r for r, _, _ in seen])
    score = np.array([s for _, s, _ in seen])
    verdict = np.array([v for _, _, v in seen])
    assert (verdict[right] > 0).mean() == pytest.approx(0.9, abs=0.02)
    assert (verdict[~right] > 0).mean() == pytest.approx(0.4, abs=0.04)
    better = (score[right][:, None] > score[~right][None, :]).mean()
    assert better == pytest.approx(0.75, abs=0.02)


@pytest.mark.slow
@pytest.mark.systems(10)
def test_first_finish_is_faster_and_shorter_majority_lies_between() -> None:
    """Shorter traces are likelier right between problems, hardly within one: latency falls far more."""
    spec = PROFILES["u-shaped"]
    one, first, short, vote = (
        run(spec, name, fields, 3000)
        for name, fields in (
            ("single", {}),
            ("first_finish", {"n": 8}),
            ("shortest_majority", {"n": 8, "m": 3}),
            ("self_consistency", {"n": 8}),
        )
    )
    assert first.latency_s.mean() < 0.7 * one.latency_s.mean()
    assert first.latency_s.mean() < short.latency_s.mean() < vote.latency_s.mean()
    assert first.tokens.mean() < short.tokens.mean() < vote.tokens.mean()
    assert one.accuracy - 0.02 < first.accuracy < short.accuracy + 0.02


def test_waits_buy_revisions() -> None:
    from dataclasses import replace

    from foretell.models.outcomes import Revision

    spec = replace(PROFILES["easy, alike"], revision=Revision((0.5,), (0.0,)))
    none, some = (run(spec, "budget_forcing", {"max_tokens": 10_000, "waits": w}, 3000) for w in (0, 2))
    assert some.accuracy > none.accuracy + 0.05
    assert some.tokens.mean() == pytest.approx(2 * none.tokens.mean(), rel=0.05)  # two halves more
