"""Monte Carlo tree search over steps: roll out, back up, and come back to what turned out well."""

from __future__ import annotations

import math

from foretell.sim.programs.llm import LLM, MAIN, Judge, PoolName, Program, Query, Steps
from foretell.sim.programs.search import CHOICES, Node, Tree
from foretell.sim.programs.search_beam import PRM
from foretell.sim.programs.tools import one_of, whole, within


class _Arm:
    """What is known of a node: its children, and the rewards of the solutions found below it."""

    __slots__ = ("children", "sum", "visits")

    def __init__(self) -> None:
        self.children: list[Node] = []
        self.visits = 0
        self.sum = 0.0


def mcts(
    *,
    rounds: int = 8,
    branching: int = 4,
    exploration: float = 1.0,
    memory_tokens: int = 0,
    retrieval_s: float = 0.0,
    step_tokens: int = 0,
    choose: str = "best",
    verifier: Judge = PRM,
    solver: PoolName = MAIN,
) -> Program:
    """A round goes down the tree by UCT to a node without children, gives it `branching`, and rolls each out.

    A rollout writes all steps that are left in one call; the judge scores the solution, and the mean reward
    of the solutions below a node is its value. The answer is chosen among all of them. UCT adds
    exploration·√(ln N/n) to the value of a child with n of its parent's N visits.
    With `memory_tokens` a node is first reminded of what it needs, by a retrieval (`retrieval_s`) and a
    call whose text is before its children's (CoAT: Pan et al., arXiv:2502.02390).
    Sources: Kocsis and Szepesvári (2006), UCT; Hao et al., RAP, arXiv:2305.14992.
    """
    for name, value in (("rounds", rounds), ("branching", branching)):
        whole(name, value)
    for name, value in (("memory_tokens", memory_tokens), ("step_tokens", step_tokens)):
        whole(name, value, 0)
    within("exploration", exploration, 0)
    within("retrieval_s", retrieval_s, 0)
    one_of("choose", choose, CHOICES)

    def program(query: Query, llm: LLM) -> Steps:
        tree = Tree(query, llm, solver, verifier, step_tokens)
        arms: dict[Node, _Arm] = {tree.root: _Arm()}
        ends: list[Node] = []

        def promising(parent: _Arm) -> Node:
            urge = exploration * math.sqrt(math.log(parent.visits))

            def bound(child: Node) -> tuple[float, float]:
                arm = arms[child]
                return arm.sum / arm.visits + urge / math.sqrt(arm.visits), child.tie

            return max(parent.children, key=bound)

        def learn(node: Node, reward: float) -> None:
            for step in (*node.path(), tree.root):
                if step in arms:
                    arms[step].visits += 1
                    arms[step].sum += reward

        for _ in range(rounds):
            node = tree.root
            while arms[node].children:
                node = promising(arms[node])
            if query.over:
                break
            if node.depth == tree.steps:
                learn(node, node.reward)
                continue
            if memory_tokens:
                yield llm.wait(retrieval_s)
                node.call = yield llm.write(query, memory_tokens, pool=solver, after=node.call)
            children = yield from tree.write([node] * branching)
            if children and children[0].depth < tree.steps:
                rolled = yield from tree.score((yield from tree.write(children, tree.steps)))
            else:
                rolled = yield from tree.score(children)
            ends += rolled
            arms[node].children = [end if end in children else end.parent or end for end in rolled]
            arms.update((child, _Arm()) for child in arms[node].children)
            for end in rolled:
                learn(end, end.reward)
        return tree.answer(ends, choose)

    return program
