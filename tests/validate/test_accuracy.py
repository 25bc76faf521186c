"""Profiles and closed forms against measured accuracy."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from foretell.models.outcomes import Difficulty
from foretell.validate.accuracy_coverage import (
    coverage_errors,
    curve_errors,
    fit_curve,
    held_out_coverage,
    published_coverage,
    read_counts,
)
from foretell.validate.accuracy_joint import cascade_errors, fit_shared, measured_joint, pair_errors
from foretell.validate.accuracy_truncation import curve, length_errors, truncation_errors
from foretell.validate.accuracy_votes import CONS_64, MATH_500, math_votes, published_votes
from places import SHARED

DATA = SHARED / "data"
recorded = pytest.mark.skipif(
    not all((DATA / name).is_dir() for name in ("epoch-logs", "kinetics", "routellm")),
    reason="the shared recordings of accuracy (epoch-logs, kinetics, routellm) are not here",
)


@pytest.mark.slow
@recorded
def test_coverage_of_unseen_samples_is_told() -> None:
    """Without a bias at any k; run by run as well as one half of the samples tells the other."""
    errors = coverage_errors(held_out_coverage(read_counts(DATA), splits=2)).set_index("k")
    assert float(errors["runs"].iloc[0]) > 150  # at k = 1
    assert errors.index.max() >= 8
    assert errors["mean"].abs().max() < 2
    assert (errors["median"] < np.maximum(1.1 * errors["halves_median"], 2.0)).all()
    assert (errors["p90"] < 1.15 * errors["halves_p90"]).all()


def test_splits_that_hold_nothing_but_chance_give_no_error() -> None:
    """Planted: 60 problems of a known law, so many samples that chance is small."""
    rng = np.random.default_rng(0)
    n = np.full(60, 4000)
    c = rng.binomial(n, rng.beta(0.5, 0.5, 60))
    run = pd.DataFrame({"task": "t", "n": n, "correct": c})
    few = held_out_coverage({"a": run}, splits=1)
    few = few[few["k"] <= 16]
    assert (few["halves"].abs() < 0.01).all()
    assert (few["error"].abs() < 0.03).all()  # what the shape of 60 problems departs from the law


@recorded
def test_a_curve_is_told_from_its_start() -> None:
    table = curve_errors(DATA)
    assert (table["profile"] - table["measured"]).abs().max() < 0.006
    told = table.dropna(subset=["told"])
    assert told["k"].min() == 32
    assert (told["told"] - told["measured"]).abs().max() < 0.03


def test_a_law_comes_back_from_its_curve() -> None:
    from foretell.models.accuracy.coverage import beta_pass_at_k

    k = np.asarray(2.0 ** np.arange(10), dtype=np.float64)
    law = Difficulty(0.3, 0.2, 0.1)
    found = fit_curve(k, beta_pass_at_k(k, law))
    assert (found.a, found.b, found.zero) == pytest.approx((0.3, 0.2, 0.1), rel=0.02)


def test_published_coverage_and_votes_are_met_within_their_noise() -> None:
    """Thirty problems each: most within two standard errors, and no common bias."""
    for table in (published_coverage(), published_votes()):
        off = table["error"] / table["noise"]
        assert off.abs().max() < 2.5
        assert abs(off.mean()) < 2 / np.sqrt(len(off)) + 0.5
    assert set(published_votes()["model"]) == set(CONS_64)


def test_votes_on_math_are_told_from_sixteen() -> None:
    shipped = math_votes()[0]
    assert shipped.votes[16] == pytest.approx(MATH_500[16])  # set
    assert abs(shipped.votes[4] - MATH_500[4]) < 0.03
    assert abs(shipped.votes[8] - MATH_500[8]) < 0.01
    assert shipped.votes[4] < shipped.votes[8] < shipped.votes[16]


@recorded
def test_cascades_are_told_from_other_questions() -> None:
    table = cascade_errors(DATA, splits=6).set_index(["benchmark", "figure"])
    assert table.loc[("gsm8k", "either right (oracle)"), "measured"] == pytest.approx(0.929, abs=5e-4)
    assert table.loc[("gsm8k", "deferred by the oracle"), "measured"] == pytest.approx(0.29, abs=5e-4)
    assert table["error"].abs().max() < 0.02
    assert ((table["bundled"] - table["measured"]).abs() < 0.006).all()
    mmlu = table.loc["mmlu"]
    assert (mmlu["independent"].abs() > 5 * mmlu["error"].abs()).all()  # erring alike is what matters


def test_what_two_models_share_comes_back() -> None:
    from dataclasses import replace

    from foretell.models.accuracy.profile_cascade import joint
    from foretell.models.profiles import load_outcomes

    weak, strong = load_outcomes("mmlu", "mixtral-8x7b"), load_outcomes("mmlu", "gpt-4")
    planted = [replace(p, difficulty=replace(p.difficulty, shared=0.6)) for p in (weak, strong)]
    share, told = fit_shared(joint(*planted), weak, strong)
    assert share == pytest.approx(0.6, abs=0.01)
    assert told.both == pytest.approx(joint(*planted).both, abs=1e-3)
    same = measured_joint(np.array([[1.0, 1.0], [0.0, 1.0]]))
    assert (same.both, same.weak, same.strong) == (0.5, 0.5, 1.0)


@recorded
def test_pairs_of_models_err_alike() -> None:
    table = pair_errors(read_counts(DATA), pairs=40)
    for _, of in table.groupby("task"):
        assert abs(of["error"].median()) < 0.02
        assert of["error"].abs().quantile(0.9) < 0.06
        assert of["independent"].median() < -0.03


@recorded
def test_truncated_thinking_follows_the_papers_curves() -> None:
    table = truncation_errors(DATA)
    assert len(table) == 6
    assert (table["rms"] < 3).all()
    assert (table["cut_rms"] > 3 * table["rms"]).all()  # answers written before the end matter


def test_more_money_never_costs_accuracy() -> None:
    from foretell.models.kinetics_paper import paper_models
    from foretell.models.profiles import load_outcomes

    profile = load_outcomes("aime24", "qwen3-4b")
    shape = paper_models()["4B"].shape()
    found = curve(profile, shape, np.geomspace(1e13, 1e17, 40))
    assert (np.diff(found) >= -1e-12).all()
    assert found[0] == 0
    assert found[-1] == pytest.approx(profile.difficulty.mean, abs=2e-3)
    (row,) = length_errors().to_dict("records")
    assert row["tokens_predicted"] == pytest.approx(row["tokens"], rel=0.15)
    assert abs(row["accuracy_predicted"] - row["accuracy"]) < 2 * row["noise"]


@recorded
@pytest.mark.slow
def test_the_command_prints_every_table() -> None:
    from foretell.sim.cli import main

    found = CliRunner().invoke(main, ["validate", "accuracy", "--json", "--data", str(DATA)])
    assert found.exit_code == 0, found.output
    printed = json.loads(found.output)
    assert printed["summary"]["maj@8 on MATH-500"]["within"] is True
    assert all(printed["tables"].values())
