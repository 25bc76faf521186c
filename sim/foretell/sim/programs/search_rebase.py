"""REBASE and ETS: children in proportion to belief, and pruning for the sake of shared KV."""

from __future__ import annotations

import math
from collections.abc import Sequence

from foretell.sim.programs.llm import LLM, MAIN, Judge, PoolName, Program, Query, Steps
from foretell.sim.programs.search import CHOICES, Node, Tree, by_levels, ranked
from foretell.sim.programs.search_beam import PRM
from foretell.sim.programs.search_prune import retained
from foretell.sim.programs.tools import one_of, whole, within


def rebase(
    *,
    width: int = 16,
    temperature: float = 0.2,
    step_tokens: int = 0,
    choose: str = "weighted_vote",
    verifier: Judge = PRM,
    solver: PoolName = MAIN,
) -> Program:
    """Reward-balanced search: a node gets ⌈W·e^(R/T)/Σ⌉ of the next level's W children, the best first.

    R is the judge's reward in [0, 1]. Source: Wu et al., arXiv:2408.00724.
    """
    _check(width, temperature, step_tokens, choose)

    def program(query: Query, llm: LLM) -> Steps:
        tree = Tree(query, llm, solver, verifier, step_tokens)
        leaves = yield from by_levels(tree, width, lambda nodes: balanced(nodes, width, temperature))
        return tree.answer(leaves, choose)

    return program


def ets(
    *,
    width: int = 16,
    temperature: float = 0.2,
    cost: float = 1.0,
    diversity: float = 1.4,
    similarity: float = 0.5,
    step_tokens: int = 0,
    choose: str = "weighted_vote",
    verifier: Judge = PRM,
    solver: PoolName = MAIN,
) -> Program:
    """Efficient tree search: REBASE among those nodes only that are worth the KV they hold.

    Retained are the nodes that maximise Σ weight − cost·(nodes of the tree kept) + diversity·(clusters
    covered), each as a share (`search_prune.retained`, which says how). What steps say falls into clusters:
    a step on track says one of a few right things, another one of a few wrong ones, the k-th most frequent
    with chance similarity·(1−similarity)^(k−1), whatever came before (an assumption: no figure is known).
    Source: Hooper et al., arXiv:2502.13575.
    """
    _check(width, temperature, step_tokens, choose)
    within("cost", cost, 0)
    within("diversity", diversity, 0)
    within("similarity", similarity, 0.01, 0.99)
    rarity = math.log1p(-similarity)

    def program(query: Query, llm: LLM) -> Steps:
        tree = Tree(query, llm, solver, verifier, step_tokens)

        def select(nodes: list[Node]) -> Sequence[Node]:
            said = [(node.on_track, int(math.log(query.uniform()) / rarity)) for node in nodes]
            weights = [math.exp(node.reward / temperature) for node in nodes]
            kept = retained(nodes, weights, said, cost, diversity)
            return balanced([nodes[i] for i in kept], width, temperature)

        return tree.answer((yield from by_levels(tree, width, select)), choose)

    return program


def balanced(nodes: Sequence[Node], width: int, temperature: float) -> list[Node]:
    """Parents of `width` children: from the best down each gets ⌈width·e^(R/T)/Σ⌉, while there are any."""
    weights = {node: math.exp(node.reward / temperature) for node in nodes}
    total = sum(weights.values())
    parents: list[Node] = []
    for node in ranked(nodes):
        given = math.ceil(width * weights[node] / total - 1e-9)
        parents += [node] * min(given, width - len(parents))
    return parents


def _check(width: int, temperature: float, step_tokens: int, choose: str) -> None:
    whole("width", width)
    whole("step_tokens", step_tokens, 0)
    within("temperature", temperature, 0.01)
    one_of("choose", choose, CHOICES)
