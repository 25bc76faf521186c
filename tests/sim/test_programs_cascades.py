"""Cascades: accuracy, deferrals and time by the closed form, and by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from foretell.models.accuracy import cascade as closed
from foretell.models.accuracy import profile_cascade
from foretell.models.outcomes import Answers
from foretell.models.verifiers import Verifier
from foretell.sim.programs.run import ProgramRun
from foretell.sim.programs.servers import UnloadedPool
from programmed import CALM, INSTANT, agrees, engines, latency_s, model, run

WEAK, STRONG = model("weak", 0.9, 0.9), model("strong", 1.6, 0.5, tokens=600.0)
BOTH = {"weak": WEAK, "strong": STRONG}
N = 10_000


def deferred(done: ProgramRun) -> float:
    """Share of queries that asked the strong model."""
    return float(np.bincount(done.query[done.pool == 1], minlength=len(done)).mean())


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("threshold", [-0.5, 0.4])
def test_confidence_gate_is_the_closed_form(shared: float, threshold: float) -> None:
    """P(keep)·P(weak right | keep) + P(defer)·P(strong right | defer), models erring together or not."""
    both = {
        name: dataclasses.replace(p, difficulty=dataclasses.replace(p.difficulty, shared=shared))
        for name, p in BOTH.items()
    }
    done = run(
        {"name": "confidence_cascade", "weak": "weak", "strong": "strong", "threshold": threshold},
        both,
        INSTANT,
        N,
    )
    theory = profile_cascade.cascade(both["weak"], both["strong"], threshold=threshold)
    assert agrees(done, theory.accuracy)
    assert 1 + deferred(done) == pytest.approx(theory.samples, abs=4 * 0.5 / N**0.5)
    assert done.tokens.mean() == pytest.approx(theory.tokens, rel=0.02)


@pytest.mark.parametrize(
    "verifier", [{"auc": 0.85}, {"completeness": 0.9, "soundness": 0.8}, {"auc": 1.0}], ids=str
)
def test_verified_gate_is_the_closed_form(verifier: dict[str, Any]) -> None:
    strategy = {"name": "verified_cascade", "weak": "weak", "strong": "strong", "verifier": verifier}
    done = run(strategy, BOTH, INSTANT, N)
    assert agrees(done, profile_cascade.cascade(WEAK, STRONG, verifier=Verifier(**verifier)).accuracy)
    if verifier == {"auc": 1.0}:  # defers exactly what the weak model gets wrong: right if either is
        joint = profile_cascade.joint(WEAK, STRONG)
        assert agrees(done, joint.either)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "threshold"), [(5, 0.6), (8, 0.75), (4, 1.0)])
def test_agreement_gate_is_the_closed_form(n: int, threshold: float) -> None:
    """Majority of the weak samples by the exact binomials, over the grid of problems; errors independent."""
    answers = Answers(top_wrong_share=0.5)
    weak = dataclasses.replace(
        model("weak", 0.9, 0.9, answers=answers, shared=0.0), difficulty=WEAK.difficulty
    )
    strong = dataclasses.replace(STRONG, difficulty=dataclasses.replace(STRONG.difficulty, shared=0.0))
    weak = dataclasses.replace(weak, difficulty=dataclasses.replace(weak.difficulty, shared=0.0))
    strategy = {
        "name": "agreement_cascade",
        "weak": "weak",
        "strong": "strong",
        "n": n,
        "threshold": threshold,
    }
    done = run(strategy, {"weak": weak, "strong": strong}, INSTANT, N)
    weight, p, _ = weak.problem_grid()
    kept_right, kept_wrong = closed.agreement_gate(p, n, int(np.ceil(threshold * n)), answers)
    keep_right, keep_wrong = float(weight @ kept_right), float(weight @ kept_wrong)
    defer = 1 - keep_right - keep_wrong
    assert deferred(done) == pytest.approx(defer, abs=4 * 0.5 / N**0.5)
    assert agrees(done, keep_right + defer * strong.difficulty.mean)


def test_latency_and_tokens_of_a_deferral_by_hand() -> None:
    """Weak, verdict, then strong where refused: one after the other, each at its own speed."""
    fixed = {"weak": model("weak", tokens=200, sd=0), "strong": model("strong", tokens=600, sd=0)}
    verifier = {"pool": "weak", "completeness": 0.0, "soundness": 1.0, "output_tokens": 5}  # refuses all
    strategy = {"name": "verified_cascade", "weak": "weak", "strong": "strong", "verifier": verifier}
    done = run(strategy, fixed, CALM)
    assert done.latency_s[0] == pytest.approx(latency_s([200, 5, 600]))
    assert done.tokens[0] == 805
    assert run({**strategy, "uplink_s": 0.25}, fixed, CALM).latency_s[0] == pytest.approx(
        latency_s([200, 5, 600], waits=0.25)
    )
    accepting = strategy | {"verifier": {**verifier, "completeness": 1.0, "soundness": 0.0}}
    assert run(accepting, fixed, CALM).latency_s[0] == pytest.approx(latency_s([200, 5]))


@pytest.mark.systems(307)
def test_tiers_from_device_to_cloud_answer_where_they_can() -> None:
    """AI Flow: three tiers over a link; most is answered near, the cloud's tokens fall."""
    tiers = {
        "device": model("tiny", 0.7, 0.9, tokens=150),
        "edge": model("mid", 1.0, 0.6, tokens=150),
        "cloud": model("big", 1.6, 0.4, tokens=150),
    }
    pools = {"device": INSTANT, "edge": INSTANT, "cloud": INSTANT}
    near: dict[str, Any] = {"name": "verified_cascade", "weak": "device", "middle": "edge", "strong": "cloud"}
    near |= {"verifier": {"auc": 0.9}, "uplink_s": 0.05}
    done = run(near, tiers, pools, 8000)
    alone = run({"name": "single", "solver": "cloud"}, tiers, pools, 8000)
    by_tier = np.bincount(done.pool, minlength=3) / len(done)
    assert by_tier[0] == 1 and by_tier[0] > by_tier[1] > by_tier[2] > 0.1
    cloud = done.run.output_tokens[done.pool == 2].sum()
    assert cloud < 0.6 * alone.tokens.sum()
    assert done.accuracy > alone.accuracy - 0.03
    assert set(np.round(done.latency_s, 6)) == {0.0, 0.05, 0.1}


@pytest.mark.slow
@pytest.mark.systems(416)
def test_hawkeye_splits_the_tokens_between_the_models() -> None:
    """35 % of the chain by the large model, the answer by the small one: faster, and as good as carried."""
    large, small = model("large", 1.6, 0.5, tokens=2000), model("small", 0.7, 0.9, tokens=200)
    profiles = {"large": large, "small": small}
    pools = {"large": UnloadedPool(0.1, 0.03), "small": UnloadedPool(0.1, 0.005)}
    strategy = {"name": "hawkeye", "large": "large", "small": "small"}
    done = run(strategy, profiles, pools, 8000)
    alone = run({"name": "single", "solver": "large"}, profiles, pools, 8000)
    written = np.bincount(done.pool, done.run.output_tokens) / len(done)
    assert written[0] == pytest.approx(0.35 * alone.tokens.mean(), rel=0.002)  # the same samples
    assert alone.latency_s.mean() / done.latency_s.mean() > 2
    carried = 0.95 * large.difficulty.mean + 0.05 * small.difficulty.mean
    assert agrees(done, carried)


def test_weak_models_spare_engines_under_load() -> None:
    """What no closed form says: at the same arrivals a cascade's queue at the strong pool is shorter."""
    arrival_s = np.cumsum(np.random.default_rng(0).exponential(0.06, 300))
    pools = {"weak": engines(), "strong": engines(blocks=400)}
    kept = run(
        {"name": "confidence_cascade", "weak": "weak", "strong": "strong", "threshold": 0.0},
        BOTH,
        pools,
        300,
        arrival_s=arrival_s,
    )
    alone = run({"name": "single", "solver": "strong"}, BOTH, pools, 300, arrival_s=arrival_s)
    strong = kept.pool == 1
    wait = (kept.run.first_token_s - kept.run.arrival_s)[strong].mean()
    assert wait < 0.5 * (alone.run.first_token_s - alone.run.arrival_s).mean()
