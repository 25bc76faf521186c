"""pass@k: by hand, by enumeration, and on held-out samples of measured runs."""

from __future__ import annotations

import csv
from collections import defaultdict
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.models.accuracy.coverage import (
    PowerLaw,
    beta_pass_at_k,
    fit_difficulty,
    fit_difficulty_curve,
    fit_power_law,
    pass_at_k,
    samples_until_right,
    unbiased_pass_at_k,
)
from foretell.models.outcomes import Difficulty
from places import SHARED

COUNTS = SHARED / "data" / "epoch-logs" / "per_problem_counts.csv"
CURVES = SHARED / "data" / "kinetics" / "lcb_v5_qwen3_pass_at_k_digitized.csv"
laws = st.builds(
    Difficulty, a=st.floats(0.05, 5), b=st.floats(0.05, 5), zero=st.sampled_from([0.0, 0.1, 0.5])
)


def test_unbiased_pass_at_k_is_the_share_of_subsets_with_a_right_sample() -> None:
    for n, c in ((5, 0), (5, 2), (6, 5), (4, 4)):
        right = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            subsets = list(combinations(right, k))
            assert unbiased_pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_it_stays_exact_for_many_samples() -> None:
    assert unbiased_pass_at_k(10_000, 3, 1_000) == pytest.approx(
        1 - comb(9_997, 1_000) / comb(10_000, 1_000), rel=1e-9
    )


@given(st.floats(0, 1), st.integers(1, 12))
def test_it_is_unbiased(p: float, k: int) -> None:
    n = 12
    c = np.arange(n + 1)
    chance = np.array([comb(n, int(x)) * p**x * (1 - p) ** (n - x) for x in c])
    assert chance @ unbiased_pass_at_k(n, c, k) == pytest.approx(pass_at_k(p, k), abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(laws)
def test_the_beta_law_is_the_mean_over_problems(law: Difficulty) -> None:
    k = np.array([1, 2, 7, 100])
    rank = (np.arange(20_000) + 0.5) / 20_000
    from scipy.special import betaincinv

    p = betaincinv(law.a, law.b, rank)
    mean = (1 - law.zero) * np.array([pass_at_k(p, x).mean() for x in k])
    curve = beta_pass_at_k(k, law)
    assert curve == pytest.approx(mean, abs=1e-3)
    assert (
        np.all(np.diff(curve) > -1e-12) and curve[0] == pytest.approx(law.mean) and curve[-1] <= 1 - law.zero
    )


def test_its_tail_is_a_power_law_with_the_exponent_a() -> None:
    law = Difficulty(0.4, 0.7)
    miss = 1 - beta_pass_at_k(np.array([1e4, 1e6]), law)
    assert np.log(miss[0] / miss[1]) / np.log(100) == pytest.approx(0.4, abs=1e-3)


def test_samples_until_right_is_the_mean_of_a_geometric_law() -> None:
    law = Difficulty(3.0, 2.0)
    p = np.random.default_rng(1).beta(3, 2, 400_000)
    assert samples_until_right(law) == pytest.approx(2.0) == pytest.approx((1 / p).mean(), rel=0.01)
    drawn = np.minimum(np.random.default_rng(2).geometric(p), 5)
    assert samples_until_right(law, 5) == pytest.approx(
        drawn.mean(), abs=5 * drawn.std() / np.sqrt(drawn.size)
    )
    assert samples_until_right(Difficulty(0.5, 0.5)) == np.inf == samples_until_right(Difficulty(3, 2, 0.1))
    assert samples_until_right(Difficulty(0.5, 0.5, 0.5), 1) == 1


@pytest.mark.parametrize("law", [Difficulty(0.4, 0.15), Difficulty(0.6, 1.4, 0.3), Difficulty(2.0, 3.0)])
def test_the_likelihood_fit_finds_the_law_that_drew_the_counts(law: Difficulty) -> None:
    rng = np.random.default_rng(5)
    p = rng.beta(law.a, law.b, 20_000) * (rng.random(20_000) >= law.zero)
    fit = fit_difficulty(np.full(p.size, 32), rng.binomial(32, p))
    k = np.array([1, 4, 16, 64])
    assert beta_pass_at_k(k, fit) == pytest.approx(beta_pass_at_k(k, law), abs=0.01)
    assert (fit.a, fit.b, fit.zero) == pytest.approx((law.a, law.b, law.zero), rel=0.1, abs=0.03)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 6), min_size=3, max_size=40))
def test_every_table_of_counts_has_a_fit(c: list[int]) -> None:
    fit = fit_difficulty(6, np.array(c))
    assert fit.mean == pytest.approx(np.mean(c) / 6, abs=0.12)


def test_curves_are_fitted_back() -> None:
    k = np.array([1, 2, 4, 8, 32, 128])
    law, power = Difficulty(0.5, 0.3, 0.1), PowerLaw(1.2, 0.4)
    found = fit_difficulty_curve(k, beta_pass_at_k(k, law))
    assert beta_pass_at_k(1000, found) == pytest.approx(beta_pass_at_k(1000, law), abs=1e-3)
    curve = fit_power_law(k, power.pass_at_k(k))
    assert (curve.scale, curve.exponent) == pytest.approx((1.2, 0.4), rel=1e-4)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="k: "):
        unbiased_pass_at_k(4, 2, 5)
    with pytest.raises(ValueError, match="c: "):
        unbiased_pass_at_k(4, 5, 1)
    with pytest.raises(ValueError, match="n: "):
        fit_difficulty([], [])
    with pytest.raises(ValueError, match="coverage: "):
        fit_power_law([1], [0.5])


@pytest.mark.skipif(not CURVES.exists(), reason=f"no {CURVES.name}")
def test_measured_curves_are_a_beta_law_rather_than_a_power_law() -> None:
    """Qwen3 on LiveCodeBench, pass@1 to pass@512 (Kinetics): fitted to all, and foretold from k <= 16."""
    with CURVES.open() as file:
        rows = list(csv.DictReader(file))
    k = np.array([int(name.split("@")[1]) for name in rows[0] if "@" in name])
    for row in rows:
        y = np.array([float(row[f"pass@{x}"]) for x in k])
        rmse = [
            np.sqrt(np.mean((curve - y) ** 2))
            for curve in (beta_pass_at_k(k, fit_difficulty_curve(k, y)), fit_power_law(k, y).pass_at_k(k))
        ]
        assert rmse[0] < 0.0035 < 0.007 < rmse[1]
        few = k <= 16
        ahead = beta_pass_at_k(512, fit_difficulty_curve(k[few], y[few])) - y[-1]
        power = fit_power_law(k[few], y[few]).pass_at_k(512) - y[-1]
        assert abs(ahead) < 0.025 < power


def measured_runs(least: int) -> dict[str, tuple[str, int, np.ndarray]]:
    """(task, samples a problem, right ones by problem) of runs with so many samples a problem, by log."""
    counts: dict[str, list[tuple[int, int]]] = defaultdict(list)
    task = {}
    with COUNTS.open() as file:
        for row in csv.DictReader(file):
            if int(row["n"]) >= least:
                counts[row["log"]].append((int(row["n"]), int(row["correct"])))
                task[row["log"]] = row["task"]
    runs = {}
    for log, pairs in counts.items():
        table = np.array(pairs)
        n = int(np.bincount(table[:, 0]).argmax())
        if (table[:, 0] == n).sum() >= 40:
            runs[log] = task[log], n, table[table[:, 0] == n, 1]
    return runs


@pytest.mark.slow
@pytest.mark.skipif(not COUNTS.exists(), reason=f"no {COUNTS.name}")
def test_pass_at_k_of_held_out_samples() -> None:
    """Fit on a random half of each problem's samples, foretell the other half: within two points at every k.

    One run's held-out half has a sampling error of its own, of 1 to 4 points; so runs of a task are averaged,
    and the fit is held against what the first half's own counts foretell without a law.
    """
    rng = np.random.default_rng(0)
    errors: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
    plain: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
    for task, n, right in measured_runs(8).values():
        half = n // 2
        k = np.arange(1, half + 1)
        first = rng.hypergeometric(right, n - right, half)
        held = unbiased_pass_at_k(half, (right - first)[:, None], k).mean(axis=0)
        errors[task, n].append(beta_pass_at_k(k, fit_difficulty(half, first)) - held)
        plain[task, n].append(unbiased_pass_at_k(half, first[:, None], k).mean(axis=0) - held)
    assert sum(len(runs) for runs in errors.values()) > 130
    for group, runs in errors.items():
        if len(runs) > 10:
            assert np.abs(np.mean(runs, axis=0)).max() < 0.02, group
            assert np.sqrt(np.mean(np.square(runs))) < 1.05 * np.sqrt(np.mean(np.square(plain[group]))), group
