"""Fusion: what readers settle on, drawn independently by the same law; layers, tokens, time by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from foretell.models.accuracy import profile as closed
from foretell.models.outcomes import Answers
from foretell.models.verifiers import Verifier
from foretell.sim.programs.archon import KINDS
from foretell.sim.programs.fusion import CERTAIN, evidence
from programmed import CALM, INSTANT, agrees, latency_s, model, run

LONER = model("loner", 0.8, 0.8, answers=Answers(top_wrong_share=0.0))  # no two wrong answers agree
N = 3000


def settled_by_hand(n: int, auc: float, trials: int = 200_000) -> float:
    """Chance that right candidates' e^evidence outweighs every wrong one's, of n candidates of `LONER`."""
    rng = np.random.default_rng(5)
    p = rng.beta(0.8, 0.8, (trials, 1))
    right = rng.random((trials, n)) < p
    apart = Verifier(auc=auc).separation
    weight = np.exp(apart * (rng.standard_normal((trials, n)) + np.where(right, apart / 2, -apart / 2)))
    for_right = np.where(right, weight, 0).sum(1)
    return float((for_right > np.where(right, 0, weight).max(1)).mean())


@pytest.mark.parametrize(
    ("verifier", "score", "ratio"),
    [
        (Verifier(auc=0.5), 3.0, 0.0),
        (Verifier(auc=0.8), 1.5, Verifier(auc=0.8).separation * 1.5),
        (Verifier(completeness=0.9, soundness=0.8), 1.0, np.log(0.9 / 0.2)),
        (Verifier(completeness=0.9, soundness=0.8), -1.0, np.log(0.1 / 0.8)),
        (Verifier(completeness=0.9, soundness=1.0), 1.0, CERTAIN),
        (Verifier(completeness=1.0, soundness=0.5), -1.0, -CERTAIN),
        (Verifier(auc=1.0), -np.inf, -CERTAIN),
    ],
)
def test_evidence_is_the_log_likelihood_ratio(verifier: Verifier, score: float, ratio: float) -> None:
    assert evidence(verifier, score) == pytest.approx(ratio)


def test_evidence_is_calibrated() -> None:
    """Of what has evidence e, e^e/(1 + e^e) is right where half is: Bayes' rule, from draws."""
    rng = np.random.default_rng(0)
    verifier = Verifier(auc=0.75)
    right = rng.random(200_000) < 0.5
    score = rng.standard_normal(200_000) + np.where(right, 0.5, -0.5) * verifier.separation
    seen = np.array([evidence(verifier, s) for s in score])
    for low, high in ((-2.0, -1.0), (-0.2, 0.2), (0.8, 1.2)):
        inside = (seen > low) & (seen < high)
        assert right[inside].mean() == pytest.approx((1 / (1 + np.exp(-seen[inside]))).mean(), abs=0.01)


@pytest.mark.parametrize("auc", [0.6, 0.8])
def test_an_aggregator_settles_as_bayes_would(auc: float) -> None:
    """Two layers: the aggregator's own attempt and n candidates, n + 1 alike."""
    strategy = {"name": "mixture_of_agents", "n": 3, "layers": 2, "auc": auc}
    assert agrees(run(strategy, LONER, INSTANT, N), settled_by_hand(4, auc), 2e-3)


def test_readers_who_see_nothing_vote() -> None:
    """AUC of 1/2: the aggregator is one more voter; ties go to the first, who is as good as any."""
    solver = model("solver", 0.8, 0.8)
    done = run({"name": "mixture_of_agents", "n": 4, "layers": 2, "auc": 0.5}, solver, INSTANT, N)
    assert agrees(done, closed.self_consistency(solver, n=5).accuracy, 4e-3)


def test_a_mixture_s_prompts_and_time_by_hand() -> None:
    """Three layers of two models: each reads all four of the layer before; latency is layer by layer."""
    pools = {"a": model("a", tokens=100, sd=0), "b": model("b", tokens=300, sd=0)}
    strategy = {"name": "mixture_of_agents", "proposers": ["a", "b"], "aggregator": "b", "n": 2, "layers": 3}
    done = run(strategy, pools, CALM)
    assert sorted(done.run.prompt_tokens) == [64] * 4 + [64 + 800] * 5
    assert done.tokens[0] == 2 * 800 + 300
    assert done.latency_s[0] == pytest.approx(latency_s([300] * 3))
    brief = run({**strategy, "shown_tokens": 50}, pools, CALM)
    assert max(brief.run.prompt_tokens) == 64 + 4 * 50


@pytest.mark.parametrize("keep", [1, 3])
def test_rank_and_fuse(keep: int) -> None:
    """Kept alone, the best ranked is best-of-N; the fuser who reads three does better than that."""
    strategy = {"name": "rank_and_fuse", "n": 6, "keep": keep, "ranker": {"auc": 0.75}, "auc": 0.75}
    done = run(strategy, LONER, INSTANT, N)
    best = closed.best_of_n(LONER, n=6, verifier=Verifier(auc=0.75)).accuracy
    if keep == 1:
        assert agrees(done, best)
    else:
        assert done.accuracy > best + 0.01


@pytest.mark.slow
def test_debate_lets_the_majority_or_the_better_reader_win() -> None:
    solver = model("solver", 0.8, 0.8, answers=Answers(top_wrong_share=0.3))
    vote = closed.self_consistency(solver, n=5).accuracy
    results = [
        run({"name": "debate", "n": 5, "rounds": rounds, "auc": auc}, solver, INSTANT, 1500)
        for rounds, auc in ((0, 0.6), (2, 0.5), (2, 0.75))
    ]
    assert agrees(results[0], vote, 1.5e-2)  # ties: the first here, a draw there
    assert results[1].accuracy == pytest.approx(results[0].accuracy, abs=1e-9)  # nobody learns anything
    assert results[2].accuracy > vote + 0.03
    fixed = run({"name": "debate", "n": 3, "rounds": 2, "ratio": 0.5}, model(tokens=200, sd=0), CALM)
    assert fixed.latency_s[0] == pytest.approx(latency_s([200, 100, 100]))
    assert sorted(set(fixed.run.prompt_tokens)) == [64, 64 + 600, 64 + 600 + 100 + 200]
    assert fixed.tokens[0] == 3 * 400


LAYERS = [
    {"layer": "generate", "pools": ["a", "b"], "n": 3},
    {"layer": "critique", "pool": "a", "auc": 0.7, "tokens": 80},
    {"layer": "rank", "pool": "b", "keep": 4, "auc": 0.7, "tokens": 20},
    {"layer": "verify", "pool": "a", "completeness": 0.9, "soundness": 0.7, "tokens": 40},
    {"layer": "unit_tests", "pool": "b", "n": 5, "tokens": 60},
    {"layer": "fuse", "pool": "b", "n": 2, "auc": 0.7},
    {"layer": "fuse", "pool": "a", "auc": 0.7},
]


@pytest.mark.slow
@pytest.mark.systems(5)
def test_archon_s_layers_each_add_what_they_should() -> None:
    """Every kind of layer, two models: more layers, more right answers, tokens and time, layer by layer."""
    pools = {"a": model("a", 0.7, 0.8, tokens=100, sd=0), "b": model("b", 0.9, 0.8, tokens=200, sd=0)}
    found = [
        run({"name": "archon", "layers": LAYERS[: i + 1]}, pools, CALM, 1000) for i in range(len(LAYERS))
    ]
    accuracy = [done.accuracy for done in found]
    assert all(later > before for before, later in pairwise(accuracy[:-1]))
    assert accuracy[-1] > accuracy[-2] - 0.05  # the weaker one has the last word
    assert accuracy[-1] > accuracy[0] + 0.08
    time = [done.latency_s.max() for done in found]
    by_layer = np.diff([0.0, *time])
    assert by_layer == pytest.approx(
        [latency_s(calls) for calls in ([200], [80], [20], [40], [60, 5], [200], [100])]
    )
    assert {layer["layer"] for layer in LAYERS} == set(KINDS)


@pytest.mark.slow
def test_archon_of_rank_alone_is_best_of_n() -> None:
    layers = [{"layer": "generate", "n": 8}, {"layer": "rank", "keep": 1, "auc": 0.8}]
    done = run({"name": "archon", "layers": layers}, LONER, INSTANT, N)
    assert agrees(done, closed.best_of_n(LONER, n=8, verifier=Verifier(auc=0.8)).accuracy)


def test_two_looks_see_as_far_as_one_of_their_joint_separation() -> None:
    """A critic and a ranker of separations δ: together √2·δ, as independent evidence adds up."""
    both = Verifier(auc=0.7).separation * 2**0.5
    auc = float(norm.cdf(both / 2**0.5))
    layers = [
        {"layer": "generate", "n": 6},
        {"layer": "critique", "auc": 0.7},
        {"layer": "rank", "keep": 1, "auc": 0.7},
    ]
    done = run({"name": "archon", "layers": layers}, LONER, INSTANT, N)
    assert agrees(done, closed.best_of_n(LONER, n=6, verifier=Verifier(auc=auc)).accuracy)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "is not a list of layers"),
        ([{"layer": "generat"}], r"layers\[0\]: .* one of generate, critique"),
        ([{"layer": "fuse"}], r"layers\[0\]: generators are the first layer"),
        ([{"layer": "generate", "k": 3}], r"layers\[0\].k: generate has no such parameter"),
        ([{"layer": "generate"}, {"layer": "rank", "pool": "c"}], r"layers\[1\].pool: 'c' is no pool"),
        ([{"layer": "generate", "n": 0}], r"layers\[0\].n: 0 is not a whole number >= 1"),
    ],
)
def test_a_wrong_layer_is_named(layers: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run({"name": "archon", "layers": layers})
