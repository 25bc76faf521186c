"""Search over whole answers: ask anew (wider) or have one looked at again (deeper), as feedback suggests."""

from __future__ import annotations

from collections.abc import Iterator

from foretell.models.accuracy.search_scores import reward
from foretell.sim.programs.llm import LLM, MAIN, Call, Judge, PoolName, Program, Query, Steps
from foretell.sim.programs.sampling import ORACLE
from foretell.sim.programs.tools import one_of, whole, within

POLICIES = ("thompson", "wider", "deeper")


class _Attempt:
    """An answer, the reward of its feedback, and what was made of it; the root is none."""

    __slots__ = ("attempts", "call", "depth", "reward")

    def __init__(self, call: Call | None, reward: float, depth: int) -> None:
        self.call = call
        self.reward = reward
        self.depth = depth
        self.attempts: list[_Attempt] = []

    def rewards(self) -> Iterator[float]:
        """Its own and of all that was made of it."""
        yield self.reward
        for attempt in self.attempts:
            yield from attempt.rewards()


def adaptive_branching(
    *,
    n: int = 16,
    policy: str = "thompson",
    feedback_s: float = 0.0,
    verifier: Judge = ORACLE,
    solver: PoolName = MAIN,
) -> Program:
    """Make n attempts, each a new answer (wider) or a revision of one that there is (deeper).

    Going down from the root, at every node a new attempt from it competes with each of those made from it
    before: Thompson sampling, with a Beta(1, 1) prior on the mean reward of new attempts, and on that of
    each former one and all that came of it (AB-MCTS-A). Each attempt is tried (`feedback_s`) and judged;
    the one with the best score is the answer. `wider` only is best-of-n, `deeper` only a chain of revisions.
    Source: Inoue et al., "Wider or Deeper?", arXiv:2503.04412.
    """
    whole("n", n)
    within("feedback_s", feedback_s, 0)
    one_of("policy", policy, POLICIES)

    def program(query: Query, llm: LLM) -> Steps:
        from scipy.special import betaincinv

        root = _Attempt(None, 0.0, 0)
        best: tuple[float, float] = (-1.0, 0.0)
        answer: int | None = None

        def hope(rewards: list[float]) -> float:
            won = sum(rewards)
            return float(betaincinv(1 + won, 1 + len(rewards) - won, query.uniform()))

        def start() -> _Attempt:
            node = root
            while node.attempts and policy != "wider":
                if policy == "deeper":
                    node = node.attempts[0]
                    continue
                new = hope([attempt.reward for attempt in node.attempts])
                hopes = [hope(list(attempt.rewards())) for attempt in node.attempts]
                if new >= max(hopes):
                    break
                node = node.attempts[hopes.index(max(hopes))]
            return node

        for _ in range(n):
            node = start()
            if node.call is None:
                call = yield llm.sample(query, pool=solver)
            else:
                call = yield llm.revise(node.call, node.depth - 1)
            if query.over:
                break
            yield llm.wait(feedback_s)
            verdict = yield llm.judge(call, verifier)
            if not verdict.done:
                break
            attempt = _Attempt(call, float(reward(verifier.verifier, verdict.score)), node.depth + 1)
            node.attempts.append(attempt)
            rank = (attempt.reward, query.uniform())
            if call.answer is not None and rank > best:
                best, answer = rank, call.answer
        return answer

    return program
