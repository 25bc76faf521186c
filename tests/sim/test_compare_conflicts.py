"""Where the literature contradicts itself: which side holds when, by the scenarios of examples/conflicts."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from foretell.sim import Scenario
from foretell.sim.comparing import Compared, Comparison, compare
from places import ROOT

pytestmark = pytest.mark.skipif(not (ROOT / "examples").is_dir(), reason="the tests are on their own")


@cache
def compared(name: str, method: str = "closed_form") -> Comparison:
    return compare(Scenario.load(ROOT / "examples" / "conflicts" / f"{name}.yaml"), method=method)


def cell(comparison: Comparison, *texts: str) -> Compared:
    """The one cell whose labels contain all of these."""
    found = [c for c in comparison.cells if all(text in " ".join(c.labels.values()) for text in texts)]
    assert len(found) == 1, (texts, [c.labels for c in comparison.cells])
    return found[0]


@pytest.mark.systems(12, 26, 138)
@pytest.mark.parametrize("method", ["closed_form", "simulate"])
def test_a_small_model_with_search_wins_by_flops_and_loses_by_flops_and_memory(method: str) -> None:
    """A query's time is its cost there. By FLOPs 4B with best-of-4 costs less; with memory far more."""
    found = compared("small_model_search", method)
    small, large = cell(found, "best_of_n", "4b_by_flops"), cell(found, "single", "32b_by_flops")
    assert small.value("accuracy") >= large.value("accuracy")
    assert small.value("e2e_mean_s") < large.value("e2e_mean_s")
    small, large = cell(found, "best_of_n", "4b_by_both"), cell(found, "single", "32b_by_both")
    assert small.value("e2e_mean_s") > 2 * large.value("e2e_mean_s")
    assert small.value("accuracy") - large.value("accuracy") < 0.15


@pytest.mark.systems(116, 131)
def test_coverage_grows_with_the_logarithm_and_an_imperfect_verifier_caps_it() -> None:
    found = compared("imperfect_verifier")
    samples = (1, 4, 16, 64)
    oracle = [cell(found, f"n={n} ", "verifier=1.0").value("accuracy") for n in samples]
    tests = [cell(found, f"n={n} ", "0.95/0.85").value("accuracy") for n in samples]
    growth = np.diff(oracle)
    assert growth.min() > 0.7 * growth.max()  # as much for every factor of four
    assert oracle[0] == pytest.approx(tests[0])
    assert tests[3] - tests[2] < 0.005  # the ceiling
    assert oracle[3] > 1.5 * tests[3]


@pytest.mark.systems(10, 26, 108, 301)
def test_the_shorter_answers_are_likelier_right_and_longer_budgets_are_better() -> None:
    found = compared("thinking_length")
    budgets = (8192, 16_384, 32_768)
    single = [cell(found, f"single max_tokens={t}").value("accuracy") for t in budgets]
    shortest = [cell(found, f"first_finish n=4 max_tokens={t}").value("accuracy") for t in budgets]
    assert single == sorted(single)
    assert single[2] > 2 * single[0]
    assert all(short > one for short, one in zip(shortest, single, strict=True))
    gains = np.subtract(shortest, single)
    assert gains[2] < gains[0] / 3  # most of that is the budget, not the length


@pytest.mark.systems(310)
def test_fewest_tokens_are_not_the_least_latency_until_the_machine_is_shared() -> None:
    """One after the other takes a fraction of the tokens at equal accuracy; at once answers sooner alone."""
    found = compared("compute_or_latency")
    for rate in ("0.0005", "0.005"):
        turns = cell(found, f"{rate} sequential")
        at_once = cell(found, f"{rate} best_of_n")
        assert turns.value("accuracy") == pytest.approx(at_once.value("accuracy"), abs=0.02)
        assert turns.value("tokens_per_query") < 0.4 * at_once.value("tokens_per_query")
        assert turns.value("e2e_p99_s") > at_once.value("e2e_p99_s")
    assert cell(found, "0.0005 best").value("e2e_mean_s") < cell(found, "0.0005 seq").value("e2e_mean_s")
    assert cell(found, "0.005 best").value("e2e_mean_s") > cell(found, "0.005 seq").value("e2e_mean_s")


@pytest.mark.systems(42)
def test_one_long_or_several_short_answers_by_task() -> None:
    found = compared("sequential_or_parallel")
    for task, long_wins in (("aime24", True), ("gsm8k", False)):
        long, short = cell(found, f"{task} single"), cell(found, f"{task} self_consistency")
        assert short.value("tokens_per_query") <= 16_384
        assert (long.value("accuracy") > short.value("accuracy")) == long_wins
        assert short.value("e2e_p99_s") < long.value("e2e_p99_s")
