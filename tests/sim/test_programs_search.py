"""Search by levels: programs against their Markov chains, and what their calls cost and share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foretell.models.accuracy import search as forms
from foretell.models.outcomes import Difficulty, Lengths, Outcomes
from foretell.models.verifiers import Verifier
from foretell.sim.programs.llm import LLM, MAIN, Judge, PoolName, Program, Query, Steps
from foretell.sim.programs.run import run_programs
from foretell.sim.programs.search import Tree, held_tokens
from foretell.sim.programs.search_beam import beam_search, dvts
from foretell.sim.programs.search_particles import particle_filtering
from foretell.sim.programs.search_rebase import rebase
from programmed import engines
from unloaded import TPOT_S, agrees, run

FAIR, VERDICT = Verifier(auc=0.8), Verifier(completeness=0.85, soundness=0.75)
ALIKE, ALIKE_VERDICT = replace(FAIR, common=0.5), replace(VERDICT, common=0.5)
SHORT = Outcomes("task", "model", Difficulty(0.5, 0.6, 0.1), Lengths(200, 0.5, 0.3, 0.4), step_tokens=100.0)
LONG = Outcomes("task", "model", Difficulty(0.8, 0.9), Lengths(500, 0.3, 0.3), step_tokens=100.0)
Pair = Callable[[Verifier, int, int], tuple[Program, Callable[[Outcomes], forms.SearchForecast]]]
PAIRS: dict[str, Pair] = {
    "beam": lambda v, width, branching: (
        beam_search(width=width, branching=branching, verifier=Judge(None, v)),
        lambda task: forms.beam_search(task, v, width, branching),
    ),
    "dvts": lambda v, width, branching: (
        dvts(width=width, branching=branching, verifier=Judge(None, v)),
        lambda task: forms.dvts(task, v, width, branching),
    ),
    "rebase": lambda v, width, branching: (
        rebase(width=width, choose="best", verifier=Judge(None, v)),
        lambda task: forms.rebase(task, v, width),
    ),
    "particles": lambda v, width, branching: (
        particle_filtering(n=width, verifier=Judge(None, v)),
        lambda task: forms.particle_filtering(task, v, width),
    ),
}


@pytest.mark.systems(1, 9, 138)
@pytest.mark.parametrize(
    "verifier",
    [FAIR, VERDICT, ALIKE, ALIKE_VERDICT],
    ids=["scores", "verdicts", "alike scores", "alike verdicts"],
)
@pytest.mark.parametrize("task", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("name", PAIRS)
def test_program_and_chain_agree(name: str, task: Outcomes, verifier: Verifier) -> None:
    """Accuracy, tokens and levels; the judge is a value head, which costs no calls."""
    program, form = PAIRS[name](verifier, 6, 3)
    ran, forecast = run(program, task, n=600), form(task)
    agrees(ran.right, forecast.accuracy, 1e-3)
    agrees(ran.tokens, forecast.tokens, 0.01 * forecast.tokens)  # lengths are rounded, and cut at one token
    agrees(ran.calls, forecast.judge_calls, 1e-3 * forecast.judge_calls)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verifier", "n", "apart"),
    [(FAIR, 100_000, 0.005), (ALIKE, 40_000, 0.0075)],
    ids=["independent", "alike"],
)
@pytest.mark.parametrize("name", PAIRS)
def test_within_half_a_point_at_100_000_queries(name: str, verifier: Verifier, n: int, apart: float) -> None:
    """Three standard errors, where errors go together and queries are fewer."""
    task = Outcomes(
        "task", "model", Difficulty(0.5, 0.6, 0.1), Lengths(140, 0.3, 0.3, 0.4), step_tokens=100.0
    )
    program, form = PAIRS[name](verifier, 4, 2)
    assert run(program, task, n=n).accuracy == pytest.approx(form(task).accuracy, abs=apart)


def test_one_solution_step_by_step_is_one_sample() -> None:
    ran = run(beam_search(width=1, branching=1), LONG, n=2000)
    agrees(ran.right, LONG.difficulty.mean)
    assert np.all(ran.latency_s == pytest.approx(ran.tokens * TPOT_S))  # one call after the other


@pytest.mark.slow
@pytest.mark.systems(174)
def test_a_stochastic_beam_judged_by_the_solver_itself() -> None:
    """As cold as can be it is a beam; warm it errs more; what the model thinks of its steps are calls."""
    itself = Judge(PoolName("solver"), Verifier(auc=0.8, output_tokens=10))
    cold = run(beam_search(width=6, branching=3, temperature=1e-3, verifier=itself), LONG, n=500)
    agrees(cold.right, forms.beam_search(LONG, FAIR, 6, 3).accuracy, 1e-3)
    warm = run(beam_search(width=6, branching=3, temperature=100.0, verifier=itself), LONG, n=500)
    assert warm.accuracy < cold.accuracy - 0.03
    voted = run(
        beam_search(width=6, branching=3, temperature=0.5, choose="vote", verifier=itself), LONG, n=300
    )
    assert np.all(voted.calls == 2 * 6 * np.maximum(1, voted.calls // 12))
    assert np.all(voted.tokens > 10 * voted.calls / 2)


@pytest.mark.systems(109)
def test_foresight_is_written_and_thrown_away() -> None:
    """D steps of width w and, at all but the last, w look-aheads of two steps or what is left."""
    task = Outcomes("task", "model", Difficulty(2.0, 1.0), Lengths(500, 0.0, 0.0), step_tokens=100.0)
    plain = run(beam_search(width=4, branching=2), task, n=200)
    ahead = run(beam_search(width=4, branching=2, lookahead=2), task, n=200)
    assert set(plain.tokens) == {4 * 500}
    assert set(ahead.tokens) == {4 * (500 + 2 * 100 + 2 * 100 + 2 * 100 + 100)}
    assert ahead.accuracy > task.difficulty.mean + 0.1


@pytest.mark.systems(296)
def test_a_planner_writes_what_small_particles_follow() -> None:
    profiles = {"small": LONG, "big": LONG}
    judge = Judge(None, FAIR)
    program = particle_filtering(
        n=6, plan_tokens=300, planner=PoolName("big"), solver=PoolName("small"), verifier=judge
    )
    ran = run(program, profiles, n=500, tpot_s={"big": 10 * TPOT_S})
    agrees(ran.right, forms.particle_filtering(LONG, FAIR, 6).accuracy, 1e-3)
    pools = np.array(ran.pools)[ran.pool]
    assert np.sum(pools == "big") == len(ran)
    first = ran.run.arrival_s[pools == "small"].min()
    assert first == pytest.approx(300 * 10 * TPOT_S)  # particles wait for the plan
    assert np.all(ran.run.prompt_tokens[pools == "small"] >= 300 + LONG.prompt_tokens)


def test_children_share_what_their_parent_holds() -> None:
    """In an engine with a prefix cache a step's prompt is cached but for a block; without one nothing is."""
    task = Outcomes("task", "model", Difficulty(2.0, 1.0), Lengths(600, 0.0, 0.0), step_tokens=100.0)
    program = beam_search(width=8, branching=4)
    for caching in (True, False):
        ran = run_programs(program, {"solver": engines(caching=caching)}, {"solver": task}, n_queries=3)
        deep = ran.run.prompt_tokens > task.prompt_tokens
        share = ran.run.cached_tokens[deep] / ran.run.prompt_tokens[deep]
        assert np.all(share > 0.9 if caching else share == 0)


def test_kept_tokens_are_counted_once() -> None:
    seen: dict[str, int] = {}

    def program(query: Query, llm: LLM) -> Steps:
        tree = Tree(query, llm, MAIN, Judge(None, FAIR))
        first = yield from tree.expand([tree.root, tree.root])
        second = yield from tree.expand([first[0], first[0], first[1]])
        seen.update(all=held_tokens(second), twins=held_tokens(second[:2]), none=held_tokens([tree.root]))
        return tree.answer(second)

    task = Outcomes("task", "model", Difficulty(2.0, 1.0), Lengths(200, 0.0, 0.0), step_tokens=100.0)
    run(program, task, n=1)
    assert seen == {"all": 500, "twins": 300, "none": 0}


def test_a_query_whose_time_is_up_ends_at_its_deadline() -> None:
    for program in (beam_search(lookahead=1), dvts(), rebase(), particle_filtering()):
        ran = run(program, LONG, n=20, deadline_s=2.5)
        assert np.all(ran.latency_s == 2.5)
        assert np.all(ran.answers == -1)  # no solution is whole by then
        assert np.all(ran.late)


@pytest.mark.parametrize(
    ("factory", "fields", "message"),
    [
        (beam_search, {"width": 6, "branching": 4}, "width: 6 is not a multiple of branching, 4"),
        (dvts, {"branching": 0}, "branching: 0 is not a whole number >= 1"),
        (rebase, {"choose": "worst"}, "choose: 'worst' is none of best, vote, weighted_vote"),
        (rebase, {"temperature": 0.0}, "temperature: 0.0 is not a number >= 0.01"),
        (particle_filtering, {"n": 0}, "n: 0 is not a whole number >= 1"),
        (particle_filtering, {"temperature": math.nan}, "temperature: nan is not a number"),
    ],
)
def test_bad_fields_are_refused_in_one_line(factory: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(")):
        factory(**fields)
