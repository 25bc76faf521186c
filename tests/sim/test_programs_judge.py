"""Judges whose errors go together: what their scores have in common, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from foretell.models.accuracy.profile import sequential_until_accepted as sequential_form
from foretell.models.verifiers import Verifier
from foretell.sim import Scenario
from foretell.sim.estimate_cell import estimate_scenario
from foretell.sim.programs.catalogue import choose
from foretell.sim.programs.deployed import flattered
from foretell.sim.programs.llm import LLM, Judge, Query, Steps, every
from foretell.sim.programs.sampling import sequential_until_accepted
from unloaded import agrees, profile, run

JUDGED = list(product((True, False), (1, 2), (0, 1)))
"""Right or wrong, depth, which of two alike."""


def scores(verifier: Verifier, n: int = 4000) -> np.ndarray:
    """What two judges of equal quality, with pools of their own, give: (queries, 16); then a draw's value."""
    rows: list[list[float]] = []
    judges = Judge(None, verifier), Judge(None, replace(verifier, prompt_tokens=1))

    def program(query: Query, llm: LLM) -> Steps:
        step = yield llm.write(query, 1)
        seen = [llm.judge(step, judge, right, depth) for judge in judges for right, depth, _ in JUDGED]
        yield every(seen)
        rows.append([*(verdict.score for verdict in seen), query.uniform()])
        return 0

    run(program, n=n)
    return np.array(rows)


@pytest.mark.parametrize("common", [0.3, 0.8])
def test_scores_of_a_kind_and_a_depth_correlate_by_what_is_common(common: float) -> None:
    """And others not at all: right and wrong ones, other depths, other judges."""
    found = scores(Verifier(auc=0.8, common=common))
    alike = np.corrcoef(found[:, :-1].T)
    expected = np.kron(np.eye(8), np.full((2, 2), common)) + (1 - common) * np.eye(16)
    assert np.abs(alike - expected).max() < 4.5 / np.sqrt(len(found))
    half = Verifier(auc=0.8).separation / 2
    for place, (right, _, _) in enumerate(JUDGED * 2):
        agrees(found[:, place], half if right else -half)
        assert found[:, place].std() == pytest.approx(1, abs=4 / np.sqrt(2 * len(found)))


def test_what_is_common_shifts_no_other_draw() -> None:
    """Scores keep their own noise, and whatever a query draws next is the same."""
    without, along = scores(Verifier(auc=0.8), 200), scores(Verifier(auc=0.8, common=0.6), 200)
    assert np.array_equal(without[:, -1], along[:, -1])
    for place in range(0, 16, 2):  # a pair's difference is its own noise
        pair = without[:, place] - without[:, place + 1]
        assert along[:, place] - along[:, place + 1] == pytest.approx(np.sqrt(0.4) * pair)
    assert np.array_equal(along, scores(Verifier(auc=0.8, common=0.6), 200))


def test_with_all_in_common_verdicts_of_a_kind_are_one_verdict() -> None:
    """As unit tests that either catch what is wrong with a problem's programs or do not."""
    found = scores(Verifier(completeness=0.9, soundness=0.7, common=1.0))[:, :-1]
    assert np.array_equal(found[:, ::2], found[:, 1::2])
    for place, (right, _, _) in enumerate(JUDGED * 2):
        agrees(found[:, place] > 0, 0.9 if right else 0.3)


def test_weak_tests_of_few_problems() -> None:
    """More attempts then bring fewer false positives, and more queries without an answer."""
    tests = Verifier(completeness=1.0, soundness=0.8, common=0.7)
    task = profile(a=0.4, b=0.8)
    took = run(sequential_until_accepted(n=16, verifier=Judge(None, tests)), task, 4000)
    form = sequential_form(task, n=16, verifier=tests)
    agrees(took.right, form.accuracy, 1e-3)
    agrees(took.tokens / 1000, form.samples, 0.01)
    assert form.accuracy > sequential_form(task, n=16, verifier=replace(tests, common=0.0)).accuracy + 0.05


def test_a_scenario_says_what_is_common_and_a_search_that_does_not_is_told() -> None:
    alike = {"pool": "judge", "auc": 0.85, "common": 0.5}
    chosen = choose({"name": "best_of_n", "verifier": alike}, ["main", "judge"])
    assert chosen.given["verifier"].verifier == Verifier(auc=0.85, common=0.5)
    with pytest.raises(ValueError, match=r"strategy.verifier.common: 2 is not .*in \[0, 1\]"):
        choose({"name": "best_of_n", "verifier": {"common": 2}}, ["main"])
    for name, verifier, told in (
        ("beam_search", {"auc": 0.85}, True),
        ("beam_search", {"auc": 0.85, "common": 0.5}, False),
        ("a_star", {"auc": 0.7}, True),
        ("rebase", {"completeness": 0.9, "soundness": 0.8}, False),
        ("mcts", {"auc": 1.0}, False),
        ("best_of_n", {"auc": 0.8}, False),
    ):
        assert flattered(choose({"name": name, "verifier": verifier}, ["main"])) == told, name


def test_the_closed_form_of_a_load_knows_it() -> None:
    """Samples drawn until one is accepted, from the estimate and from the profile's closed form."""
    from foretell.models.profiles import load_outcomes

    verdicts = {"completeness": 0.9, "soundness": 0.8, "common": 0.8}
    asked = Scenario.from_dict(
        {
            "workload": {"task": "math-500", "arrivals": {"process": "poisson", "rate_per_s": 0.1}},
            "pools": {"solver": {"model": "qwen3-4b", "hardware": "h100-sxm"}},
            "strategy": {"name": "sequential_until_accepted", "n": 4, "verifier": verdicts},
        }
    )
    closed, _, _ = estimate_scenario(asked)
    form = sequential_form(load_outcomes("math-500", "qwen3-4b"), n=4, verifier=Verifier(**verdicts))  # type: ignore[arg-type]
    assert closed["accuracy"].value == pytest.approx(form.accuracy, abs=1e-6)
    assert closed["calls_per_query"].value == pytest.approx(form.samples, rel=0.01)
