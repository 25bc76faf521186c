"""Beam search over steps, and its kin: the best few go on, with equally many children each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from foretell.models.verifiers import Verifier
from foretell.sim.programs.llm import LLM, MAIN, Judge, PoolName, Program, Query, Steps
from foretell.sim.programs.search import CHOICES, Node, Tree, by_levels, ranked
from foretell.sim.programs.tools import one_of, whole, within

PRM = Judge(None, Verifier(auc=0.8))
"""A process reward model that costs nothing; name a pool to have its calls simulated."""


def beam_search(
    *,
    width: int = 16,
    branching: int = 4,
    lookahead: int = 0,
    temperature: float = 0.0,
    step_tokens: int = 0,
    choose: str = "best",
    verifier: Judge = PRM,
    solver: PoolName = MAIN,
) -> Program:
    """Of `width` candidates a level the best width/branching get `branching` children each.

    With `lookahead` each candidate is written on for so many steps, the judge scores where that leads, and
    what was written is thrown away (Snell et al.; phi-Decoding, arXiv:2503.13288). With a `temperature`
    candidates are drawn without replacement with weights e^(R/temperature), R the judge's reward:
    stochastic beam search (Xie et al., arXiv:2305.00633).
    Sources: Snell et al., arXiv:2408.03314; AlphaMath's step-level beam search (arXiv:2405.03553), whose
    value head shares the solver's forward pass: a verifier without a pool.
    """
    keep = _kept(width, branching)
    _check(step_tokens, choose, lookahead, temperature)

    def program(query: Query, llm: LLM) -> Steps:
        tree = Tree(query, llm, solver, verifier, step_tokens, lookahead)

        def select(nodes: list[Node]) -> Sequence[Node]:
            if temperature:  # the greatest of Gumbel-shifted log weights are such a draw
                nodes = sorted(nodes, key=lambda n: n.reward / temperature - math.log(-math.log(n.tie)))
                nodes.reverse()
            else:
                nodes = ranked(nodes)
            return [node for node in nodes[:keep] for _ in range(branching)]

        return tree.answer((yield from by_levels(tree, width, select)), choose)

    return program


def dvts(
    *,
    width: int = 16,
    branching: int = 4,
    step_tokens: int = 0,
    choose: str = "best",
    verifier: Judge = PRM,
    solver: PoolName = MAIN,
) -> Program:
    """Diverse verifier tree search: width/branching trees, of each of which one candidate goes on.

    Source: Beeching, Tunstall and Rush, "Scaling test-time compute with open models" (2024).
    """
    trees = _kept(width, branching)
    _check(step_tokens, choose)

    def program(query: Query, llm: LLM) -> Steps:
        tree = Tree(query, llm, solver, verifier, step_tokens)

        def select(nodes: list[Node]) -> Sequence[Node]:
            best = [max(nodes[i::trees], key=lambda n: n.rank) for i in range(min(trees, len(nodes)))]
            return best * branching  # a tree's candidates stay `trees` apart in the list

        return tree.answer((yield from by_levels(tree, width, select)), choose)

    return program


def _kept(width: int, branching: int) -> int:
    whole("branching", branching)
    whole("width", width)
    if width % branching:
        raise ValueError(f"width: {width} is not a multiple of branching, {branching}")
    return width // branching


def _check(step_tokens: int, choose: str, lookahead: int = 0, temperature: float = 0.0) -> None:
    whole("step_tokens", step_tokens, 0)
    whole("lookahead", lookahead, 0)
    within("temperature", temperature, 0)
    one_of("choose", choose, CHOICES)
