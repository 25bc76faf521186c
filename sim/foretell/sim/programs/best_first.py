"""Best-first search over steps: always go on from the most promising node, wherever it stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import Any

import simpy

from foretell.models.accuracy.search_scores import mean_doubt
from foretell.sim.programs.llm import LLM, MAIN, Judge, PoolName, Program, Query, Steps
from foretell.sim.programs.search import CHOICES, Growth, Node, Tree
from foretell.sim.programs.search_beam import PRM
from foretell.sim.programs.tools import joined, one_of, side_by_side, tool, whole, within

Act = Callable[[list[Node]], Generator[simpy.Event, Any, list[Node]]]


def best_first(
    tree: Tree,
    cost: Callable[[Node], float],
    *,
    branching: int,
    expansions: int,
    solutions: int = 1,
    act: Act | None = None,
) -> Growth:
    """Expand the node of least cost, again and again.

    Args:
        tree: to be grown.
        cost: of a node that has been judged.
        branching: children of an expansion.
        expansions: at most so many.
        solutions: how many whole ones to find; one is found when it is itself of least cost.
        act: what happens to children before they are judged; returns those that live.

    Returns:
        The solutions found, the first one first; if the budget is spent before, the open ones of least
        cost are written to their end, as many as are missing.

    """
    queue = [(0.0, 0.0, tree.root)]
    found: list[Node] = []
    while queue and len(found) < solutions and not tree.query.over:
        _, _, node = heappop(queue)
        if node.depth == tree.steps:
            found.append(node)
            continue
        if not expansions:
            ends = yield from tree.write([node], tree.steps)
            found += yield from tree.score(ends)
            continue
        expansions -= 1
        children = yield from tree.write([node] * branching)
        if act is not None:
            children = yield from act(children)
        for child in (yield from tree.score(children)):
            heappush(queue, (cost(child), child.tie, child))
    return found


def a_star(
    *,
    branching: int = 4,
    expansions: int = 32,
    solutions: int = 1,
    optimism: float = 1.0,
    step_tokens: int = 0,
    choose: str = "best",
    verifier: Judge = PRM,
    solver: PoolName = MAIN,
) -> Program:
    """A* over steps: the cost of a node is its path's doubt so far plus the doubt that is still to come.

    A step's doubt is −ln R, R the judge's reward; what is to come is `optimism` times the mean doubt of a
    right step for each step that is left, which with 1 is the bias of Fano's metric in sequential decoding.
    Less than 1 looks wider, more dives.
    Source: Chatziveroglou, "A*-Decoding", arXiv:2505.13672; Fano, IEEE Trans. Inf. Theory 9 (1963).
    """
    for name, value in (("branching", branching), ("expansions", expansions), ("solutions", solutions)):
        whole(name, value)
    whole("step_tokens", step_tokens, 0)
    within("optimism", optimism, 0)
    one_of("choose", choose, CHOICES)
    still = optimism * mean_doubt(verifier.verifier)

    def program(query: Query, llm: LLM) -> Steps:
        tree = Tree(query, llm, solver, verifier, step_tokens)

        def cost(node: Node) -> float:
            doubt = sum(-math.log(step.reward) for step in node.path())
            return doubt + still * (tree.steps - node.depth)

        found = yield from best_first(
            tree, cost, branching=branching, expansions=expansions, solutions=solutions
        )
        return tree.answer(found[:1] if choose == "best" else found, choose)

    return program


def agent_search(
    *,
    branching: int = 5,
    expansions: int = 20,
    solutions: int = 1,
    tool_s: float = 1.0,
    tool_spread: float = 0.0,
    failure: float = 0.0,
    reset_s: float = 2.0,
    environments: int = 1,
    step_tokens: int = 0,
    verifier: Judge = PRM,
    solver: PoolName = MAIN,
) -> Program:
    """Best-first search of an agent whose steps act on an environment, which takes time and can not fork.

    The state that the judge (a value model) believes in most is expanded: `branching` actions are proposed
    at once, each is carried out (`tool_s`, or it fails and is lost) and its outcome is judged. With one
    environment that happens one after the other, and coming back to a state takes a reset (`reset_s`) and
    all its actions anew; with `environments` 0 every action has its own (a proof checker, say). Of the
    `solutions` found the one that is believed in most is the answer.
    Sources: Koh et al., "Tree Search for Language Model Agents", arXiv:2407.01476 (b 5, budget 20);
    MPS-Prover, arXiv:2505.10962 (tactics, a critic, and the proof checker's latency).
    """
    for name, value in (("branching", branching), ("expansions", expansions), ("solutions", solutions)):
        whole(name, value)
    whole("step_tokens", step_tokens, 0)
    within("reset_s", reset_s, 0)
    if environments not in (0, 1):
        raise ValueError(f"environments: {environments!r} is neither 1 nor 0, one for every action")
    use = tool(tool_s, spread=tool_spread, failure=failure)

    def program(query: Query, llm: LLM) -> Steps:
        tree = Tree(query, llm, solver, verifier, step_tokens)
        here = tree.root

        def act(children: list[Node]) -> Generator[simpy.Event, Any, list[Node]]:
            nonlocal here
            if not environments:
                acts = side_by_side(llm, [use(query, llm) for _ in children])
                yield joined(llm, acts)
                return [child for child, done in zip(children, acts, strict=True) if done.value]
            alive = []
            for child in children:
                parent = child.parent or tree.root
                if here is not parent:
                    yield llm.wait(reset_s + parent.depth * tool_s)
                if (yield from use(query, llm)):
                    alive.append(child)
                here = child
            return alive

        found = yield from best_first(
            tree, _disbelief, branching=branching, expansions=expansions, solutions=solutions, act=act
        )
        return tree.answer(found)

    return program


def _disbelief(node: Node) -> float:
    return -node.odds
