"""Routers: who is asked, how right and how dear that is, between random and knowing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm

from foretell.models.accuracy import profile as closed
from foretell.models.accuracy import profile_cascade
from foretell.models.outcomes import Outcomes
from foretell.sim.programs.run import ProgramRun
from foretell.sim.programs.servers import UnloadedPool
from programmed import CALM, INSTANT, agrees, latency_s, model, run

WEAK, STRONG = model("weak", 0.9, 0.9), model("strong", 1.6, 0.5, tokens=600.0)
BOTH = {"weak": WEAK, "strong": STRONG}
N = 4000


def asked(done: ProgramRun, place: int) -> float:
    return float((done.pool == place).mean())


def expected(weak: Outcomes, strong: Outcomes, threshold: float, noise: float) -> tuple[float, float]:
    """(accuracy, share of the weak) of a router that sees logit p + noise·z, models' eases independent."""
    weight, p, _ = weak.problem_grid()
    bound = np.log(threshold / (1 - threshold))
    seen = np.log(np.clip(p, 1e-6, 1 - 1e-6) / (1 - np.clip(p, 1e-6, 1 - 1e-6)))
    easy = norm.cdf((seen - bound) / noise) if noise else (seen >= bound).astype(float)
    return float(weight @ (easy * p)) + float(weight @ (1 - easy)) * strong.difficulty.mean, float(
        weight @ easy
    )


@pytest.mark.parametrize("noise", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_a_router_of_independent_models_is_the_closed_form(noise: float, threshold: float) -> None:
    both = {
        name: dataclasses.replace(p, difficulty=dataclasses.replace(p.difficulty, shared=0.0))
        for name, p in BOTH.items()
    }
    strategy = {"name": "router", "weak": "weak", "strong": "strong", "threshold": threshold, "noise": noise}
    done = run(strategy, both, INSTANT, N)
    accuracy, share = expected(both["weak"], both["strong"], threshold, noise)
    assert agrees(done, accuracy)
    assert asked(done, 0) == pytest.approx(share, abs=4 * 0.5 / N**0.5)
    assert (done.calls == 1).all()


def test_the_better_the_router_the_better_the_answers_at_the_same_share() -> None:
    """At half of the queries to each model: random is the chord, knowing the chance is above it."""
    results = []
    for noise in (0.0, 2.0, float("inf")):
        done = run(
            {"name": "router", "weak": "weak", "strong": "strong", "threshold": 0.5, "noise": noise},
            BOTH,
            INSTANT,
            N,
        )
        assert asked(done, 0) == pytest.approx(0.5, abs=0.02)  # Beta(0.9, 0.9) is symmetric about 1/2
        results.append(done.accuracy)
    assert results[0] > results[1] > results[2]
    chord = (WEAK.difficulty.mean + STRONG.difficulty.mean) / 2
    assert results[2] == pytest.approx(chord, abs=4 * 0.5 / N**0.5)
    assert results[0] < profile_cascade.joint(WEAK, STRONG).either  # it knows the chance, not the sample


@pytest.mark.systems(291)
def test_among_many_models_a_query_goes_where_it_is_worth_most() -> None:
    """UniRoute: with no cost it is the best of all models' chances; the dearer cost, the more go cheap."""
    models = {f"m{i}": model(f"m{i}", 0.6 + 0.3 * i, 0.8, shared=0.3, tokens=100 * (i + 1)) for i in range(4)}
    strategy = {"name": "model_choice", "models": list(models), "costs": [1.0, 2.0, 3.0, 4.0], "noise": 0.5}
    free, priced, dear = (
        run({**strategy, "weight": weight}, models, INSTANT, 2000) for weight in (0.0, 0.05, 1.0)
    )
    best_alone = max(m.difficulty.mean for m in models.values())
    assert free.accuracy > best_alone + 0.05  # they are good at different queries
    assert free.accuracy > priced.accuracy > dear.accuracy
    assert free.tokens.mean() > priced.tokens.mean() > dear.tokens.mean()
    assert asked(dear, 0) == 1
    # A model that appears is used, where it is worth it, and nothing else changes.
    fewer = run({**strategy, "models": list(models)[:3], "costs": [1.0, 2.0, 3.0]}, models, INSTANT, 2000)
    assert fewer.accuracy < run(strategy, models, INSTANT, 2000).accuracy


@pytest.mark.systems(32)
def test_edge_experts_under_a_delay_budget() -> None:
    """MoE²: a gate over unlike devices; weighing seconds more, the mean delay falls and with it accuracy."""
    experts = {"orin": model("a", 0.7, 0.7, tokens=150), "rtx4090": model("b", 1.2, 0.6, tokens=150)}
    pools = {"orin": UnloadedPool(0.2, 0.02), "rtx4090": UnloadedPool(0.4, 0.06)}  # the small one is faster
    found = []
    for weight in (0.0, 0.02, 0.1):
        strategy = {"name": "model_choice", "models": list(experts), "costs": [3.2, 9.4], "weight": weight}
        done = run(strategy, experts, pools, 4000)
        found.append((done.latency_s.mean(), done.accuracy))
    assert found == sorted(found, reverse=True) and len(set(found)) == 3


@pytest.mark.systems(303)
def test_hops_carry_their_text_along() -> None:
    """HierRouter: a chain of small models whose context grows, stopped by a policy; better than one hop."""
    models = {name: model(name, 0.8, 0.6, shared=0.2, tokens=300, sd=0) for name in ("a", "b", "c")}
    strategy = {"name": "hops", "models": ["a", "b", "c"], "threshold": 0.7, "noise": 0.5}
    done = run(strategy, models, CALM, 4000)
    one = run({"name": "single"}, models, CALM, 4000)
    assert done.accuracy > one.accuracy + 0.05
    assert 1 < done.calls.mean() < 3
    prompts = done.run.prompt_tokens
    for place in range(3):  # the prompt holds what was written before, and the notes
        assert set(prompts[done.pool == place]) == {64 + place * (300 + 200)}
    never = run({**strategy, "threshold": 1.0, "noise": 0.0}, models, CALM)
    assert never.latency_s[0] == pytest.approx(latency_s([300] * 3))


def test_more_is_spent_on_what_looks_hard() -> None:
    solver = model("solver", 0.8, 0.8)
    easy, hard = {"name": "single"}, {"name": "best_of_n", "n": 8, "verifier": {"auc": 0.95}}
    strategy = {
        "name": "by_difficulty",
        "strategies": [easy, {**hard, "n": 3}, hard],
        "bounds": [0.85, 0.5],
        "noise": 0.0,
    }
    done = run(strategy, solver, INSTANT, 2500)
    weight, p, _ = solver.problem_grid()
    shares = [weight @ (p >= 0.85), weight @ ((p < 0.85) & (p >= 0.5)), weight @ (p < 0.5)]
    assert [np.mean(done.calls == n) for n in (1, 3, 8)] == pytest.approx(shares, abs=0.04)
    even = run({**hard, "n": round(float(done.calls.mean()))}, solver, INSTANT, 2500)
    single = run(easy, solver, INSTANT, 2500)
    assert done.accuracy > single.accuracy + 0.05
    assert done.accuracy > even.accuracy - 0.01  # as good as the same samples spread evenly
    assert agrees(single, closed.single(solver).accuracy)


@pytest.mark.systems(21)
def test_a_selection_agent_picks_best_of_n_tree_of_thought_or_rebase() -> None:
    """PlanGEN: a constraint agent first, then best-of-N, a beam (ToT) or REBASE, by complexity."""
    solver = model("solver", 0.8, 0.8, tokens=400)
    arms = [
        {"name": "best_of_n", "n": 4, "verifier": {"auc": 0.9}},
        {"name": "beam_search", "width": 8, "verifier": {"auc": 0.9}},
        {"name": "rebase", "width": 8, "verifier": {"auc": 0.9}},
    ]
    strategy = {"name": "by_difficulty", "strategies": arms, "bounds": [0.7, 0.3], "judge_tokens": 60}
    done = run(strategy, solver, INSTANT, 500)
    chosen = [run(arm, solver, INSTANT, 500) for arm in arms]
    same = [done.calls == arm.calls + 1 for arm in chosen]  # besides the selection agent's call
    assert all(0.1 < each.mean() < 0.9 for each in same) and np.any(same, axis=0).mean() > 0.9
    assert (np.bincount(done.query, done.run.output_tokens == 60) >= 1).all()
    assert done.accuracy > run({"name": "single"}, solver, INSTANT, 500).accuracy + 0.05


@pytest.mark.systems(218)
def test_a_search_over_the_models_and_budgets_of_stages() -> None:
    """AgentTTS: each stage has a model and a number of samples; the simulator values each choice."""
    stages = [
        {"name": "best_of_n", "n": n, "solver": pool} for pool, n in (("weak", 1), ("weak", 6), ("strong", 1))
    ]
    price = {"weak": 1.0, "strong": 4.0}
    found = {}
    for i, j in ((0, 0), (0, 2), (1, 1), (1, 2), (2, 2)):
        done = run({"name": "pipeline", "strategies": [stages[i], stages[j]]}, BOTH, INSTANT, 2000)
        paid = done.run.output_tokens * np.array(list(price.values()))[done.pool]
        found[i, j] = (done.accuracy, paid.sum() / len(done))
    weight, p, _ = WEAK.problem_grid()
    for (i, j), theory in {(0, 0): weight @ p**2, (1, 1): weight @ (1 - (1 - p) ** 6) ** 2}.items():
        assert abs(found[i, j][0] - theory) < 4 * 0.5 / 2000**0.5
    enough = {choice: cost for choice, (accuracy, cost) in found.items() if accuracy > 0.6}
    assert min(enough, key=enough.__getitem__) == (1, 1)  # samples of the weak are cheaper than the strong


@pytest.mark.parametrize(("left", "samples"), [(100.0, 8), (5.0, 1)])
def test_the_strategy_is_the_one_that_the_time_left_allows(left: float, samples: int) -> None:
    strategy = {
        "name": "first_within",
        "strategies": [{"name": "self_consistency", "n": 8}, {"name": "single"}],
        "seconds": [20.0, 4.0],
    }
    assert (run(strategy, pools=CALM, n=5, deadline_s=left).calls == samples).all()


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ({"name": "router", "weak": "weak", "strong": "stong"}, "strategy.strong: 'stong' is no pool"),
        (
            {"name": "model_choice", "models": ["weak", "srong"], "costs": [1, 2]},
            r"strategy.models\[1\]: 'srong'",
        ),
        ({"name": "model_choice", "models": ["weak"], "costs": [1, 2]}, "costs: 2 figures for 1 models"),
        (
            {"name": "by_difficulty", "strategies": [{"name": "sngle"}], "bounds": []},
            r"strategies\[0\].name: 'sngle'",
        ),
        (
            {"name": "by_difficulty", "strategies": [{"name": "single", "max_token": 3}], "bounds": []},
            r"strategy.strategies\[0\].max_token: single has no such parameter; did you mean max_tokens\?",
        ),
        (
            {"name": "by_difficulty", "strategies": [{"name": "single"}], "bounds": [0.5]},
            "bounds: .* not 0 falling",
        ),
        ({"name": "router", "weak": "weak", "strong": "strong", "threshold": 2.0}, r"threshold: 2.0 is not"),
        (
            {"name": "first_within", "strategies": "single", "seconds": []},
            "'single' is not a list of strategies",
        ),
    ],
)
def test_what_is_wrong_is_said(strategy: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(strategy, BOTH)
