"""Search over reasoning steps: a tree of partial solutions, grown by one loop of expand, score and select.

The step model. A solution takes D steps: a right sample's median length to the problem (at most the cap)
over the profile's `step_tokens`, at least 1, the same for all solutions of a problem. A partial solution is
on track or not. A step from one on track stays on track with q = p^(1/D), p being the problem's chance; one
that has left the track never comes back. A whole solution on track is right, another says one of the
problem's wrong answers. So one solution is right with p, whatever D. Steps are log-normal with the profile's
spread within a problem, around a D-th of the median solution.

What it leaves out: repair of bad steps, solutions in fewer steps than others, the length of wrong solutions,
solutions that reach the cap. The judge scores every step afresh, right meaning on track. With `common` 0 its
errors are independent, so that a long search with a fair judge does better here than with real process
reward models, which are fooled by like steps alike: with more, steps of one depth share part of its noise.

A node is a call whose prompt is its parent's text: children of one parent share all of it in the engine's
prefix cache, and the judge shares what it has read before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

import simpy

from foretell.models.accuracy.search import steps_of
from foretell.models.accuracy.search_scores import log_odds
from foretell.sim.programs.answers import majority, weighted_majority
from foretell.sim.programs.llm import LLM, RIGHT, Call, Judge, PoolName, Query, every

CHOICES = ("best", "vote", "weighted_vote")


class Node:
    """A partial solution.

    Attributes:
        parent: what it goes on from; None for the root.
        call: that wrote its last step; None for the root.
        depth: steps in it.
        on_track: whether it can still become right (hidden from searches).
        odds: log of the judge's likelihood ratio of right over wrong; 0 before it has judged.
        tie: a uniform draw, for choices among equals.

    """

    __slots__ = ("call", "depth", "odds", "on_track", "parent", "tie")

    def __init__(
        self, parent: Node | None, call: Call | None, depth: int, on_track: bool, tie: float
    ) -> None:
        self.parent = parent
        self.call = call
        self.depth = depth
        self.on_track = on_track
        self.odds = 0.0
        self.tie = tie

    @property
    def reward(self) -> float:
        """The judge's belief in it, in [0, 1]."""
        return 1 / (1 + math.exp(-self.odds))

    @property
    def rank(self) -> tuple[float, float]:
        """Greater is better; chance decides among equals."""
        return self.odds, self.tie

    def path(self) -> Iterator[Node]:
        """It and its ancestors, the root left out."""
        node: Node | None = self
        while node is not None and node.parent is not None:
            yield node
            node = node.parent


Growth = Generator[simpy.Event, Any, list[Node]]
Select = Callable[[list[Node]], Sequence[Node]]
"""From the nodes of a level, the parents of the next level's: one entry for each child."""


class Tree:
    """The solutions of one query, as far as they are written.

    Args:
        query, llm: the program's.
        solver: who writes steps.
        judge: who scores them.
        step_tokens: tokens of a step; 0: the profile's.
        lookahead: steps that are written after a node, judged in its place and thrown away.

    Attributes:
        root: the query itself.
        steps: D, of a whole solution.

    """

    def __init__(
        self,
        query: Query,
        llm: LLM,
        solver: PoolName,
        judge: Judge,
        step_tokens: float = 0,
        lookahead: int = 0,
    ) -> None:
        pool = solver or llm.first_pool
        profile = query.draws.samples[pool].profile
        log_median = min(query.log_median(pool), math.log(profile.lengths.cap_tokens))
        self.query = query
        self.llm = llm
        self.pool = PoolName(pool)
        self.judge = judge
        self.lookahead = lookahead
        self.steps = int(steps_of(profile, log_median, step_tokens))
        self.step_tokens = math.exp(log_median) / self.steps
        self.spread = profile.lengths.sd_within
        self.stay = query.chance(pool) ** (1 / self.steps)
        self.root = Node(None, None, 0, True, 0.0)

    def expand(self, parents: Iterable[Node]) -> Growth:
        """One more step after each of `parents` (a node stands there once for each child), judged.

        Returns those that were done: all, unless the query's time is up.
        """
        nodes = yield from self.write(parents)
        if not self.lookahead or not nodes or nodes[0].depth == self.steps:
            return (yield from self.score(nodes))
        ahead = yield from self.score((yield from self.write(nodes, self.lookahead)))
        seen = []
        for end in ahead:
            if end.parent:
                end.parent.odds = end.odds
                seen.append(end.parent)
        return seen

    def write(self, parents: Iterable[Node], steps: int = 1) -> Growth:
        """So many more steps (or those that are left) after each of `parents` in one call, not judged."""
        query, nodes = self.query, []
        for parent in parents:
            more = min(steps, self.steps - parent.depth)
            tokens = more * self.step_tokens * math.exp(self.spread * query.normal())
            on_track = query.uniform() < self.stay**more and parent.on_track
            call = self.llm.write(query, tokens, pool=self.pool, after=parent.call)
            nodes.append(Node(parent, call, parent.depth + more, on_track, query.uniform()))
        if nodes:
            yield every([node.call for node in nodes if node.call])
        return [node for node in nodes if node.call and node.call.done]

    def score(self, nodes: list[Node]) -> Growth:
        """Let the judge read each of `nodes`; returns those that it has."""
        verdicts = [
            self.llm.judge(node.call, self.judge, node.on_track, node.depth) for node in nodes if node.call
        ]
        if not verdicts:
            return []
        yield every(verdicts)
        odds = log_odds(self.judge.verifier, [verdict.score for verdict in verdicts]).tolist()
        for node, value in zip(nodes, odds, strict=True):
            node.odds = value
        return [node for node, verdict in zip(nodes, verdicts, strict=True) if verdict.done]

    def answer(self, nodes: Iterable[Node], choose: str = "best") -> int | None:
        """What the whole solutions among `nodes` come to.

        Args:
            nodes: any.
            choose: the `best` by the judge, a `vote`, or a `weighted_vote` with the judge's rewards.

        """
        leaves = [node for node in nodes if node.depth == self.steps]
        if choose == "best":
            leaves = [max(leaves, key=_rank)] if leaves else []
        calls = [self._says(leaf) for leaf in leaves]
        if choose == "weighted_vote":
            return weighted_majority(calls, [leaf.reward for leaf in leaves], self.query)
        return majority(calls, self.query)

    def _says(self, leaf: Node) -> Call:
        assert leaf.call is not None
        query = self.query
        wrong = query.draws.samples[self.pool].wrong
        leaf.call.answer = RIGHT if leaf.on_track else wrong(query.id, query.uniform())
        return leaf.call


def by_levels(
    tree: Tree, width: int, select: Select, watch: Callable[[Sequence[Node]], object] = len
) -> Growth:
    """Grow a tree level by level: `width` first steps, then a step after each node that `select` gives.

    Args:
        tree: to be grown.
        width: nodes of the first level.
        select: from a level's nodes, all judged, the parents of the next.
        watch: called with every level.

    Returns:
        The last level, of whole solutions; fewer or none once the query's time is up.

    """
    nodes = yield from tree.expand([tree.root] * width)
    watch(nodes)
    for _ in range(tree.steps - 1):
        if not nodes:
            break
        nodes = yield from tree.expand(select(nodes))
        watch(nodes)
    return nodes


def held_tokens(nodes: Iterable[Node]) -> int:
    """Tokens of all steps on the paths to `nodes`, those that they share counted once: the KV they hold."""
    calls = {step.call.serial: step.call.tokens for node in nodes for step in node.path() if step.call}
    return sum(calls.values())


def ranked(nodes: Iterable[Node]) -> list[Node]:
    """The best-scored first."""
    return sorted(nodes, key=_rank, reverse=True)


def _rank(node: Node) -> tuple[float, float]:
    return node.rank
