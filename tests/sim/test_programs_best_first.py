"""Best-first search, MCTS and adaptive branching: against the limits where closed forms hold."""

from __future__ import annotations

import numpy as np
import pytest

from foretell.models.accuracy import search as forms
from foretell.models.outcomes import Difficulty, Lengths, Outcomes, Revision
from foretell.models.verifiers import Verifier
from foretell.sim.programs.best_first import a_star, agent_search
from foretell.sim.programs.llm import Judge, PoolName
from foretell.sim.programs.search_answers import adaptive_branching
from foretell.sim.programs.search_beam import beam_search
from foretell.sim.programs.search_mcts import mcts
from foretell.sim.programs.search_particles import particle_filtering
from unloaded import TPOT_S, agrees, run

FAIR, ORACLE = Judge(None, Verifier(auc=0.8)), Judge(None, Verifier(auc=1.0))
EASY = Difficulty(0.8, 0.7, 0.05)
ONE_STEP = Outcomes("task", "model", EASY, Lengths(100, 0.0, 0.0), step_tokens=100.0)
THREE_STEPS = Outcomes("task", "model", EASY, Lengths(300, 0.0, 0.0), step_tokens=100.0)
LONG = Outcomes("task", "model", EASY, Lengths(800, 0.3, 0.3), step_tokens=100.0)


@pytest.mark.parametrize(
    ("program", "n"),
    [
        (a_star(branching=5, verifier=FAIR), 5),
        (agent_search(branching=5, verifier=FAIR), 5),
        (mcts(branching=5, verifier=FAIR), 5),
        (mcts(rounds=1, branching=5, verifier=FAIR), 5),
    ],
    ids=["a_star", "agent", "mcts", "mcts_one_round"],
)
def test_solutions_of_one_step_are_best_of_n(program, n: int) -> None:  # type: ignore[no-untyped-def]
    ran = run(program, ONE_STEP, n=1200)
    agrees(ran.right, forms.best_of_n(ONE_STEP, FAIR.verifier, n).accuracy, 1e-3)


@pytest.mark.parametrize("search", [a_star, agent_search])
def test_an_oracle_with_budget_finds_whatever_the_tree_holds(search) -> None:  # type: ignore[no-untyped-def]
    """Two children a node and three levels: 7 expansions see all of it; survival of a branching process."""
    ran = run(search(branching=2, expansions=7, verifier=ORACLE), THREE_STEPS, n=1200)
    agrees(ran.right, forms.reachable(THREE_STEPS, 2), 1e-3)
    assert ran.calls.max() <= 14 + 1  # and one that is written to its end
    assert ran.calls.min() == 6  # straight down


@pytest.mark.systems(3)
def test_a_star_is_right_more_often_than_best_of_n_with_fewer_tokens() -> None:
    a = run(a_star(branching=4, expansions=24, verifier=FAIR), LONG, n=500)
    cheaper = forms.best_of_n(LONG, FAIR.verifier, 8)
    assert a.accuracy > cheaper.accuracy
    assert a.tokens.mean() < cheaper.tokens


@pytest.mark.slow
def test_optimism_dives_and_its_absence_looks_around() -> None:
    careful, bold = (run(a_star(optimism=o, verifier=FAIR), LONG, n=120) for o in (0.0, 3.0))
    assert bold.tokens.mean() < careful.tokens.mean()
    assert bold.latency_s.mean() < careful.latency_s.mean()


@pytest.mark.systems(4)
def test_an_agent_comes_back_to_a_state_through_a_reset() -> None:
    """Five actions one by one, a reset before all but the first; deeper, all actions of the path anew."""
    program = agent_search(branching=5, expansions=1, tool_s=3.0, reset_s=10.0, verifier=FAIR)
    ran = run(program, ONE_STEP, n=50)
    assert ran.latency_s == pytest.approx(100 * TPOT_S + 5 * 3.0 + 4 * 10.0)
    deep = run(
        agent_search(branching=2, expansions=2, tool_s=3.0, reset_s=10.0, verifier=ORACLE), THREE_STEPS, 500
    )
    # Second expansion: back to a state at depth 1, unless it is where the environment is. Then the best
    # open node is written to its end: at depth 2, or back at depth 1.
    first, fresh, again = 2 * 3.0 + 10.0, 2 * 3.0 + 13.0, 2 * 3.0 + 2 * 13.0
    step = 100 * TPOT_S
    expected = {round(steps * step + first + second, 6) for steps in (3, 4) for second in (fresh, again)}
    assert {round(float(t), 6) for t in deep.latency_s} == expected


@pytest.mark.slow
@pytest.mark.systems(4)
def test_success_of_an_agent_grows_with_its_budget() -> None:
    small, large = (run(agent_search(expansions=c, verifier=FAIR), LONG, n=250).accuracy for c in (1, 20))
    assert small + 0.1 < large
    lost = run(agent_search(failure=1.0, verifier=FAIR), LONG, n=50)
    assert np.all(lost.answers == -1)


@pytest.mark.systems(64)
def test_a_prover_checks_tactics_side_by_side() -> None:
    """Tactic call, checker, critic call, one after the other; the tactics of an expansion at once."""
    critic = Judge(PoolName("critic"), Verifier(auc=0.9))
    program = agent_search(branching=8, expansions=1, environments=0, tool_s=5.0, verifier=critic)
    ran = run(program, {"solver": ONE_STEP}, n=40, tpot_s={"critic": 0.5})
    assert ran.latency_s == pytest.approx(100 * TPOT_S + 5.0 + 0.5)
    assert np.all(ran.calls == 16)


def test_mcts_comes_back_to_what_turned_out_well() -> None:
    """More rounds help, and exploration spreads them; a round adds `branching` solutions."""
    few, many = (run(mcts(rounds=r, verifier=FAIR), LONG, n=300) for r in (1, 8))
    agrees(few.right, forms.best_of_n(LONG, FAIR.verifier, 4).accuracy, 1e-3)
    assert many.accuracy > few.accuracy + 0.03
    assert np.all(few.calls == 8)  # four first steps, each written to its end


@pytest.mark.systems(74)
def test_a_memory_is_read_before_a_thought_goes_on() -> None:
    plain = run(mcts(rounds=3, verifier=FAIR), THREE_STEPS, n=100)
    reminded = run(mcts(rounds=3, memory_tokens=50, retrieval_s=1.5, verifier=FAIR), THREE_STEPS, n=100)
    extra = reminded.calls - plain.calls
    assert set(extra) == {3}
    assert np.all(reminded.tokens - plain.tokens == 3 * 50)
    assert reminded.latency_s - plain.latency_s == pytest.approx(3 * (1.5 + 50 * TPOT_S))
    assert reminded.prompt_tokens.mean() > plain.prompt_tokens.mean() + 3 * 4 * 50


@pytest.mark.slow
@pytest.mark.systems(150)
def test_wider_or_deeper() -> None:
    """Wider only is best-of-n; where a revision is as good as a new answer, all policies come to the same."""
    profile = Outcomes("task", "model", EASY, Lengths(100, 0.0, 0.0))
    wider = run(adaptive_branching(n=4, policy="wider", verifier=FAIR), profile, n=1500)
    agrees(wider.right, forms.best_of_n(profile, FAIR.verifier, 4).accuracy, 1e-3)
    alike = Outcomes(
        "task", "model", Difficulty(3e6, 7e6), Lengths(100, 0.0, 0.0), revision=Revision((0.3,), (0.0,))
    )
    for policy in ("thompson", "wider", "deeper"):
        ran = run(adaptive_branching(n=3, policy=policy), alike, n=1200)
        agrees(ran.right, 1 - 0.7**3, 1e-3)


@pytest.mark.systems(150)
def test_thompson_sampling_finds_out_which_way_pays() -> None:
    """Between the policies where one of them is useless, and near the better one as attempts add up."""
    for repair, better in ((0.6, "deeper"), (0.0, "wider")):
        task = Outcomes(
            "task",
            "model",
            Difficulty(3e5, 7e5),
            Lengths(100, 0.0, 0.0),
            revision=Revision((repair,), (0.0,)),
        )
        worse = {"deeper": "wider", "wider": "deeper"}[better]
        rate = {
            policy: run(adaptive_branching(n=6, policy=policy), task, n=300).accuracy
            for policy in ("thompson", better, worse)
        }
        assert rate[worse] + 0.02 < rate["thompson"] <= rate[better] + 0.02
    slow = run(adaptive_branching(n=5, feedback_s=7.0), ONE_STEP, n=20)
    assert np.all(slow.latency_s > 5 * 7.0)


def test_queries_whose_time_is_up_end_then() -> None:
    for program in (a_star(), agent_search(), mcts(), adaptive_branching()):
        ran = run(program, LONG, n=20, deadline_s=1.5)
        assert np.all(ran.latency_s <= 1.5)


def test_a_beam_of_particles_and_best_first_agree_that_nothing_beats_the_oracle() -> None:
    ceiling = forms.best_of_n(ONE_STEP, ORACLE.verifier, 4).accuracy
    for program in (
        beam_search(width=4, branching=4, verifier=ORACLE),
        particle_filtering(n=4, verifier=ORACLE),
        a_star(branching=4, verifier=ORACLE),
    ):
        agrees(run(program, ONE_STEP, n=800).right, ceiling, 1e-3)
