"""Particle filtering over steps: weigh, resample, go on, as a sequential Monte Carlo method does."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate

from foretell.sim.programs.llm import LLM, MAIN, Judge, PoolName, Program, Query, Steps
from foretell.sim.programs.search import CHOICES, Node, Tree, by_levels
from foretell.sim.programs.search_beam import PRM
from foretell.sim.programs.tools import one_of, whole, within


def particle_filtering(
    *,
    n: int = 16,
    temperature: float = 1.0,
    plan_tokens: int = 0,
    planner: PoolName = MAIN,
    step_tokens: int = 0,
    choose: str = "best",
    verifier: Judge = PRM,
    solver: PoolName = MAIN,
) -> Program:
    """Let n particles take a step each, weigh them, and resample them with replacement, all at once.

    The weight is the odds of the judge's reward, R/(1−R), to the power 1/temperature; resampling is
    multinomial. A particle drawn twice shares its KV; the next step waits for the slowest.
    With `plan_tokens` the `planner` first writes the program that the particles follow, as a prefix of all
    of them (self-steering, DisCIPL: Grand et al., arXiv:2504.07081).
    Source: Puri et al., arXiv:2502.01618.
    """
    whole("n", n)
    whole("step_tokens", step_tokens, 0)
    whole("plan_tokens", plan_tokens, 0)
    within("temperature", temperature, 1e-6)
    one_of("choose", choose, CHOICES)

    def program(query: Query, llm: LLM) -> Steps:
        tree = Tree(query, llm, solver, verifier, step_tokens)
        if plan_tokens:
            tree.root.call = yield llm.write(query, plan_tokens, pool=planner)

        def resample(nodes: list[Node]) -> Sequence[Node]:
            top = max(node.odds for node in nodes)
            mass = list(accumulate(math.exp((node.odds - top) / temperature) for node in nodes))
            return [nodes[bisect(mass, query.uniform() * mass[-1], hi=len(nodes) - 1)] for _ in range(n)]

        return tree.answer((yield from by_levels(tree, n, resample)), choose)

    return program
