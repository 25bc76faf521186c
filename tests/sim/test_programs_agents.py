"""Agents: turns, tools and critical paths by hand; success by the law that each program states."""

from __future__ import annotations

import numpy as np
import pytest

from foretell.models.accuracy import profile as closed
from foretell.models.accuracy.revision import revised
from foretell.models.outcomes import Revision
from foretell.models.verifiers import Verifier
from programmed import INSTANT, agrees, engines, latency_s, model, run

FIXED = model(tokens=1000, sd=0)
SOLVER = model("solver", 0.8, 0.8)
N = 3000
TOOL = {"tool_s": 2.0, "tool_spread": 0.0}


@pytest.mark.systems(209)
def test_a_react_trajectory_by_hand() -> None:
    """1000 tokens in turns of 200: five turns, four uses of the tool, a prompt that grows by both."""
    done = run({"name": "react", "turn_tokens": 200, "observation_tokens": 300, **TOOL}, FIXED)
    assert done.latency_s[0] == pytest.approx(latency_s([200] * 5, waits=4 * 2.0))
    assert list(done.run.prompt_tokens) == [64 + turn * 500 for turn in range(5)]
    assert done.tokens[0] == 1000
    assert run({"name": "react", "max_turns": 4, "turn_tokens": 200}, FIXED).answers[0] == -1


@pytest.mark.slow
def test_a_trajectory_is_right_as_often_as_a_sample() -> None:
    profile = model("solver", 0.8, 0.8, tokens=800, sd=0.5)
    assert agrees(run({"name": "react", **TOOL}, profile, INSTANT, N), closed.single(profile).accuracy)
    short = run({"name": "react", "turn_tokens": 100, "max_turns": 8, **TOOL}, profile, INSTANT, N)
    assert agrees(short, closed.single(profile, max_tokens=800).accuracy, 3e-3)


def test_a_turn_reads_its_history_from_the_cache() -> None:
    """On an engine with prefix caching only what is new is computed, to the block; without, everything."""
    strategy = {"name": "react", "turn_tokens": 200, "observation_tokens": 300, **TOOL}
    kept, lost = (run(strategy, FIXED, engines(caching=caching)) for caching in (True, False))
    assert (lost.run.cached_tokens == 0).all()
    known = kept.run.prompt_tokens[1:] - 300  # prompt and answer of the turn before, less its last token
    assert (np.abs(kept.run.cached_tokens[1:] - known) <= 16).all()
    assert kept.latency_s[0] < lost.latency_s[0]


@pytest.mark.systems(222)
def test_planning_at_some_turns_costs_their_tokens() -> None:
    """Learning when to plan: a turn's length is a mixture, plan or act; tokens rise in proportion."""
    base = {"name": "react", "turn_tokens": 100, **TOOL}
    tokens = [
        run({**base, "plan_share": share, "plan_tokens": 300}, FIXED, INSTANT, 400).tokens.mean()
        for share in (0.0, 0.5, 1.0)
    ]
    assert tokens[0] == 1000 and tokens[2] == 1000 + 9 * 300
    assert tokens[1] == pytest.approx(1000 + 9 * 150, rel=0.03)


def test_failed_tools_cost_turns() -> None:
    """Each of four uses takes a geometric number of tries: 1/(1 − f) on average, a turn each."""
    strategy = {"name": "react", "turn_tokens": 200, "failure": 0.5, "max_turns": 1000, **TOOL}
    done = run(strategy, FIXED, INSTANT, N)
    assert done.calls.mean() == pytest.approx(5 + 4, rel=0.03)
    assert done.latency_s.mean() == pytest.approx(4 * 2.0 * 2, rel=0.03)


def test_a_tool_serves_so_many_at_once() -> None:
    """One slot: queries that come together are served one after the other; at a deadline nobody waits on."""
    strategy = {"name": "react", "turn_tokens": 500, "tool_slots": 1, **TOOL}
    done = run(strategy, FIXED, INSTANT, 4)
    assert sorted(done.latency_s) == pytest.approx([2.0, 4.0, 6.0, 8.0])
    cut = run(strategy, FIXED, INSTANT, 4, deadline_s=5.0)
    assert sorted(cut.latency_s) == pytest.approx([2.0, 4.0, 5.0, 5.0])
    free = run({**strategy, "tool_slots": 0}, FIXED, INSTANT, 4)
    assert free.latency_s == pytest.approx([2.0] * 4)


GRAPH = {"a": [], "b": [], "c": ["a"], "d": ["a", "b"], "e": ["c", "d"]}


@pytest.mark.systems(232, 272)
def test_a_graph_of_tasks_takes_its_critical_path() -> None:
    """Plan-over-Graph, Flash-Searcher: three layers of five tools in sequence of two seconds, not five."""
    strategy = {"name": "compiler", "plan_tokens": 300, **TOOL}
    done = run({**strategy, "graph": GRAPH}, FIXED)
    assert done.latency_s[0] == pytest.approx(latency_s([300, 1000], waits=3 * 2.0))
    chain = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"], "e": ["d"]}
    assert run({**strategy, "graph": chain}, FIXED).latency_s[0] - done.latency_s[0] == pytest.approx(4.0)
    working = run({**strategy, "graph": GRAPH, "task_tokens": 50}, FIXED)
    assert working.latency_s[0] == pytest.approx(latency_s([300, 50, 50, 50, 1000], waits=3 * 2.0))
    assert working.calls[0] == 7
    assert max(working.run.prompt_tokens) == 64 + 5 * 300


def test_what_failed_is_planned_again() -> None:
    """Each of four independent tasks fails with 0.3; within r plans all are done with (1 − 0.3^r)^4."""
    strategy = {"name": "compiler", "width": 4, "depth": 1, "failure": 0.3, "replans": 1, **TOOL}
    done = run(strategy, SOLVER, INSTANT, N)
    assert np.mean(done.answers != -1) == pytest.approx((1 - 0.3**2) ** 4, abs=4 * 0.5 / N**0.5)


@pytest.mark.parametrize(
    ("graph", "message"),
    [({"a": ["b"]}, "graph.a: it waits for 'b'"), ({"a": ["b"], "b": ["a"]}, "a, b wait for each other")],
)
def test_a_graph_that_cannot_be_is_refused(graph: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run({"name": "compiler", "graph": graph})


@pytest.mark.systems(65)
def test_workers_side_by_side_take_as_long_as_one() -> None:
    """Decomposition, parallel against sequential: the same tokens, latency by the critical path."""
    strategy = {"name": "orchestrator", "workers": 4, "worker_turns": 2, "turn_tokens": 100, **TOOL}
    strategy |= {"plan_tokens": 200, "report_tokens": 50}
    at_once, in_turn = (run({**strategy, "at_once": b}, FIXED) for b in (True, False))
    assert at_once.latency_s[0] == pytest.approx(latency_s([200, 100, 100, 50, 1000], waits=4.0))
    assert in_turn.latency_s[0] == pytest.approx(latency_s([200, *([100, 100, 50] * 4), 1000], waits=16.0))
    assert at_once.tokens[0] == in_turn.tokens[0] == 200 + 4 * 250 + 1000


def depth_first_by_hand(q: float, depth: int, siblings: int, noticed: float) -> float:
    """Chance of success from a node, by recursion over its children: right, passed wrong, or given up."""
    right, lost = 1.0, 0.0
    for _ in range(depth):
        succeeds, fails = q * right, q * lost + (1 - q) * (1 - noticed)
        again = 1 - succeeds - fails
        tries = sum(again**i for i in range(siblings))
        right, lost = succeeds * tries, fails * tries
    return right


@pytest.mark.systems(35, 54)
@pytest.mark.parametrize(("siblings", "noticed"), [(1, 1.0), (2, 1.0), (3, 0.6), (3, 0.0)])
def test_depth_first_search_by_recursion(siblings: int, noticed: float) -> None:
    """ToolLLM's DFSDT finds what a chain does not; with TP-LLaMA's training, fewer nodes."""
    strategy = {"name": "depth_first", "depth": 3, "siblings": siblings, "noticed": noticed, **TOOL}
    done = run({**strategy, "max_nodes": 10_000}, SOLVER, INSTANT, N)
    weight, p, _ = SOLVER.problem_grid(eases=1000)
    by_problem = [depth_first_by_hand(x ** (1 / 3), 3, siblings, noticed) for x in p]
    theory = weight @ by_problem
    assert agrees(done, float(theory))
    if siblings == 1 or noticed == 0:
        assert agrees(done, SOLVER.difficulty.mean)
    else:
        better = run({**strategy, "max_nodes": 10_000}, model("tuned", 1.6, 0.6), INSTANT, N)
        assert better.accuracy > done.accuracy + 0.05
        assert better.calls.mean() < done.calls.mean()


def test_depth_first_goes_back_to_the_parent_s_context() -> None:
    """A chain of two right steps on certain ground: prompts grow by action and observation."""
    sure = model("sure", 1e6, 1e-3)
    done = run({"name": "depth_first", "depth": 2, **TOOL}, sure)
    assert list(done.run.prompt_tokens) == [64, 64 + 400, 64 + 800]
    assert done.latency_s[0] == pytest.approx(latency_s([100] * 3, waits=2 * 2.0))
    assert run({"name": "depth_first", "max_nodes": 3}, sure).answers[0] == -1  # four steps are too far


@pytest.mark.systems(410)
def test_memories_as_embeddings_keep_prompts_short() -> None:
    """Continuous memory: 8 tokens a trajectory against 2000 of text: the prompt does not grow with depth."""
    base = {"name": "bounded_memory", "steps": 5, "memories": 10, "screen_tokens": 500, **TOOL}
    short, long = (
        run({**base, "memory_tokens": tokens}, FIXED, engines(caching=False)) for tokens in (8, 2000)
    )
    assert set(short.run.prompt_tokens) == {64 + 580} and set(long.run.prompt_tokens) == {64 + 20_500}
    assert short.latency_s[0] < long.latency_s[0] and short.tokens[0] == long.tokens[0]


@pytest.mark.systems(397)
@pytest.mark.parametrize(("attempts", "soundness"), [(1, 0.9), (4, 1.0), (4, 0.6)])
def test_generate_execute_repair_is_a_chain(attempts: int, soundness: float) -> None:
    """Pass@budget with a checker: by recursion over attempts and rounds, on the grid of problems."""
    law = Revision(repair=(0.3, 0.2), corruption=(0.1, 0.05))
    solver = model("solver", 0.6, 0.9, revision=law)
    repairs, c = 2, 0.95
    strategy = {"name": "execute_and_repair", "attempts": attempts, "repairs": repairs}
    done = run({**strategy, "completeness": c, "soundness": soundness}, solver, INSTANT, N)

    def succeeds(p: float) -> float:
        right_out = wrong_out = 0.0  # accepted so far
        left = 1.0
        for attempt in range(attempts):
            right, wrong = left * p, left * (1 - p)
            for round_ in range(repairs + 1):
                if round_:
                    a, b = law.repair[round_ - 1], law.corruption[round_ - 1]
                    right, wrong = right * (1 - b) + wrong * a, right * b + wrong * (1 - a)
                right_out, wrong_out = right_out + right * c, wrong_out + wrong * (1 - soundness)
                right, wrong = right * (1 - c), wrong * soundness
            left = right + wrong
            last = right if attempt == attempts - 1 else 0.0  # the last answer is handed in
        return right_out + last

    weight, p, _ = solver.problem_grid(eases=400, verbosities=1)
    theory = float(sum(w * succeeds(x) for w, x in zip(weight, p, strict=True)))
    assert agrees(done, theory)


def test_blind_tests_leave_the_revision_chain() -> None:
    """Tests that refuse everything: the answer is the last revision, as the closed form of revision."""
    law = Revision(repair=(0.3, 0.2), corruption=(0.1, 0.05), tokens_ratio=0.5)
    solver = model("solver", 0.6, 0.9, revision=law)
    strategy = {"name": "execute_and_repair", "repairs": 2, "completeness": 0.0, "soundness": 1.0}
    weight, p, _ = solver.problem_grid()
    assert agrees(run(strategy, solver, INSTANT, N), float(weight @ revised(p, law, 2)[-1]))
    timed = run({**strategy, "tests_s": 10.0, "tests_spread": 0.0}, model(tokens=200, sd=0, revision=law))
    assert timed.latency_s[0] == pytest.approx(latency_s([200, 100, 100], waits=30.0))
    assert list(timed.run.prompt_tokens) == [64, 64 + 200 + 300, 64 + 200 + 300 + 100 + 300]


@pytest.mark.systems(47)
def test_knowledge_is_added_level_by_level() -> None:
    """KAAR: each attempt's prompt is a level longer, and it stops where the examples pass."""
    strategy = {"name": "execute_and_repair", "attempts": 4, "repairs": 0, "level_tokens": 500}
    done = run({**strategy, "soundness": 1.0}, SOLVER, INSTANT, N)
    weight, p, _ = SOLVER.problem_grid()
    assert agrees(done, float(weight @ (1 - (1 - p) ** 4)))
    assert set(done.run.prompt_tokens) == {64, 564, 1064, 1564}
    assert done.calls.mean() == pytest.approx(float(weight @ sum((1 - p) ** i for i in range(4))), rel=0.04)


@pytest.mark.slow
@pytest.mark.systems(17)
def test_iterative_decoding_gains_with_the_verifier_s_quality() -> None:
    """IAD: rounds of feedback-led candidates; a blind verifier picks at random, a good one finds the best."""
    law = Revision(repair=(0.25,), corruption=(0.15,))
    solver = model("solver", 0.8, 0.8, revision=law)
    base = {"name": "iterative_decoding", "width": 3}
    one_round = run({**base, "rounds": 0, "verifier": {"auc": 0.8}}, solver, INSTANT, N)
    assert agrees(one_round, closed.best_of_n(solver, n=3, verifier=Verifier(auc=0.8)).accuracy)
    found = [
        run({**base, "rounds": 2, "verifier": {"auc": auc}}, solver, INSTANT, N).accuracy
        for auc in (0.5, 0.75, 1.0)
    ]
    assert found[0] < found[1] < found[2] and found[1] > one_round.accuracy - 0.02
    judged = run({**base, "rounds": 2, "verifier": {"pool": "main", "auc": 0.8, "output_tokens": 9}}, solver)
    assert judged.calls[0] == 3 * 2 * 3


@pytest.mark.systems(395)
def test_hypothesis_search_by_its_law() -> None:
    """Fan-out, summary, fan-out, execution: E[1 − (1 − h(1 − (1 − g)^programs))^keep] with sound tests."""
    strategy = {"name": "hypothesis_search", "hypotheses": 8, "keep": 3, "programs": 2, "soundness": 1.0}
    done = run(strategy, SOLVER, INSTANT, 2000)
    weight, p, _ = SOLVER.problem_grid()
    h = g = np.sqrt(p)
    assert agrees(done, float(weight @ (1 - (1 - h * (1 - (1 - g) ** 2)) ** 3)))
    assert (done.calls == 8 + 1 + 6).all()
    timed = run({**strategy, "run_s": 3.0, "run_spread": 0.0}, FIXED)
    assert timed.latency_s[0] == pytest.approx(latency_s([150, 400, 1000], waits=3.0))


@pytest.mark.slow
@pytest.mark.systems(41)
def test_solve_detect_verify_spends_where_it_doubts() -> None:
    """The chain is cut where it has settled; verification corrects some of what was cut too early."""
    law = Revision(repair=(0.4,), corruption=(0.05,), tokens_ratio=0.5)
    early = model("early", 0.9, 0.7, tokens=4000, sd=0.3, settling=1.0, revision=law)
    strategy = {"name": "solve_detect_verify", "stable": 3}
    done = run(strategy, early, INSTANT, 1500)
    alone = run({"name": "single"}, early, INSTANT, 1500)
    trusting = {"pool": "main", "completeness": 1.0, "soundness": 0.0}
    cut = run({**strategy, "quick_verifier": trusting}, early, INSTANT, 1500)
    assert cut.tokens.mean() < 0.8 * alone.tokens.mean()  # the trace ends where it has settled
    assert done.accuracy > cut.accuracy + 0.05
    long = done.run.output_tokens == 2000
    assert 0 < np.unique(done.query[long]).size < 0.8 * len(done)  # only where the quick ones disagree
