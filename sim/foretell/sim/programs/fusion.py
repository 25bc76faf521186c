"""Several models' answers made into one: by rank, by fusion, by debate.

A model that reads an answer sees some evidence of its being right: a log-likelihood ratio, as a verifier
of its AUC would give. Evidence of several looks adds up; answers said by several candidates add up too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from foretell.models.verifiers import Verifier
from foretell.sim.programs.llm import LLM, MAIN, Call, Judge, PoolName, Program, Query, Steps, every
from foretell.sim.programs.tools import whole, within

CERTAIN = 1e3
"""A log-likelihood ratio that leaves no doubt."""
_RANKER = Judge(MAIN, Verifier())


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer on the table.

    Attributes:
        call: who wrote it.
        answer: what it says.
        evidence: log-likelihood ratio of its being right, of all looks at it so far.

    """

    call: Call
    answer: int
    evidence: float = 0.0

    def seen(self, evidence: float) -> Candidate:
        """The same after one more look."""
        return Candidate(self.call, self.answer, self.evidence + evidence)


def evidence(verifier: Verifier, score: float) -> float:
    """Log-likelihood ratio, right over wrong, of a score or a verdict as a verifier of that kind gives it.

    |separation|·score for scores; for verdicts log c/(1−s), or log (1−c)/s for a −1; at most `CERTAIN`.
    A judge whose scores point the wrong way (AUC below 1/2) is believed all the same.
    """
    if verifier.completeness is None:
        size = abs(verifier.separation)
        return min(max(size * score, -CERTAIN), CERTAIN) if size else 0.0
    c, s = verifier.completeness, verifier.soundness
    over, under = (c, 1 - s) if score > 0 else (1 - c, s)
    if not over or not under:
        return CERTAIN * ((over > under) - (over < under))
    return math.log(over / under)


def look(llm: LLM, candidate: Candidate, auc: float) -> Candidate:
    """The candidate after a model that reads it anyway has judged it, which takes no call of its own."""
    verifier = Verifier(auc=auc)
    return candidate.seen(evidence(verifier, llm.judge(candidate.call, Judge(None, verifier)).score))


def candidates_of(calls: Iterable[Call]) -> list[Candidate]:
    """The answers of calls that have one."""
    return [Candidate(call, call.answer) for call in calls if call.answer is not None]


def settled(candidates: Sequence[Candidate]) -> int | None:
    """The answer with most weight, each candidate weighing e^evidence; the earliest of equals; None of none.

    With evidence of 0 everywhere it is the majority vote.
    """
    if not candidates:
        return None
    most = max(candidate.evidence for candidate in candidates)
    weights: dict[int, float] = {}
    for candidate in candidates:
        weight = 1.0 if candidate.evidence == most else math.exp(candidate.evidence - most)
        weights[candidate.answer] = weights.get(candidate.answer, 0.0) + weight
    return max(weights, key=weights.__getitem__)


def shown(candidates: Iterable[Candidate], tokens: int) -> int:
    """Tokens of the candidates in the prompt of whoever reads them, at most `tokens` of each (0: all)."""
    return sum(min(c.call.tokens, tokens) if tokens else c.call.tokens for c in candidates)


def mixture_of_agents(
    *,
    proposers: tuple[PoolName, ...] = (MAIN,),
    aggregator: PoolName = MAIN,
    n: int = 3,
    layers: int = 2,
    auc: float = 0.7,
    shown_tokens: int = 0,
) -> Program:
    """Layers of models that each read the layer before and answer again; an aggregator has the last word.

    Assumes that who reads the candidates also tries for himself (a sample of his profile), and settles on
    the answer with most evidence, the candidates' and his own seen with `auc`. The first layer sees nothing.
    Costs (layers − 1)·n·proposers samples and one of the aggregator, with all candidates in each prompt.

    Args:
        proposers: pools; the first pool by default.
        aggregator: pool.
        n: samples of each proposer in a layer.
        layers: at least 2: the aggregator is the last one.
        auc: how well a reader tells right candidates from wrong ones.
        shown_tokens: of each candidate that a reader sees (its answer without the thinking); 0: all.

    Source: Wang et al. 2024, "Mixture-of-Agents enhances large language model capabilities".
    """
    whole("n", n)
    whole("layers", layers, 2)
    whole("shown_tokens", shown_tokens, 0)
    within("auc", auc, 0, 1)
    asked = [pool for pool in proposers for _ in range(n)]

    def program(query: Query, llm: LLM) -> Steps:
        known: list[Candidate] = []
        for layer in range(layers):
            readers = asked if layer < layers - 1 else [aggregator]
            extra = shown(known, shown_tokens)
            calls = [llm.sample(query, pool=pool, prompt_tokens=extra) for pool in readers]
            yield every(calls)
            known = fused(llm, known, calls, auc) or known
        return settled(known)

    return program


def fused(llm: LLM, known: Sequence[Candidate], calls: Iterable[Call], auc: float) -> list[Candidate]:
    """What each of these readers settles on, of the candidates that it read and its own attempt."""
    after = []
    for call in calls:
        if not call.done:
            continue
        seen = [look(llm, candidate, auc) for candidate in [*known, *candidates_of([call])]] if known else []
        answer = settled(seen) if known else call.answer
        if answer is not None:
            call.answer = answer
            after.append(Candidate(call, answer))
    return after


def rank_and_fuse(
    *,
    proposers: tuple[PoolName, ...] = (MAIN,),
    ranker: Judge = _RANKER,
    fuser: PoolName = MAIN,
    n: int = 4,
    keep: int = 3,
    auc: float = 0.7,
    shown_tokens: int = 0,
) -> Program:
    """A ranker scores all candidates, and a fuser reads the best `keep` of them and writes the answer.

    As in `mixture_of_agents` the fuser tries for himself too; he is not asked for keep = 1. Costs n·proposers
    samples, as many calls of the ranker, and a sample of the fuser with `keep` candidates in its prompt.

    Args:
        proposers: pools; the first pool by default.
        ranker: who scores.
        fuser: pool.
        n: samples of each proposer.
        keep: candidates that the fuser reads.
        auc: how well the fuser tells right candidates from wrong ones.
        shown_tokens: of each candidate that the fuser sees; 0: all.

    Source: Jiang et al. 2023, "LLM-Blender: ensembling large language models with pairwise ranking and
    generative fusion"; the ranker here scores candidates one by one, not in pairs.
    """
    whole("n", n)
    whole("keep", keep)
    whole("shown_tokens", shown_tokens, 0)
    within("auc", auc, 0, 1)
    asked = [pool for pool in proposers for _ in range(n)]

    def program(query: Query, llm: LLM) -> Steps:
        calls = [llm.sample(query, pool=pool) for pool in asked]
        yield every(calls)
        ranked = candidates_of(calls)
        if not ranked:
            return None
        verdicts = [llm.judge(candidate.call, ranker) for candidate in ranked]
        yield every(verdicts)
        scores = [evidence(ranker.verifier, v.score) if v.done else -CERTAIN for v in verdicts]
        order = sorted(range(len(ranked)), key=lambda i: -scores[i])[:keep]
        if keep == 1 or query.over:
            return ranked[order[0]].answer
        best = [ranked[i].seen(scores[i]) for i in order]
        call = llm.sample(query, pool=fuser, prompt_tokens=shown(best, shown_tokens))
        yield call
        after = fused(llm, best, [call], auc)
        return after[0].answer if after else best[0].answer

    return program


def debate(
    *,
    agents: tuple[PoolName, ...] = (MAIN,),
    n: int = 3,
    rounds: int = 2,
    auc: float = 0.6,
    ratio: float = 0.5,
) -> Program:
    """Agents answer, then read each other's answers and think again, round by round; the majority stands.

    In a round each agent looks at all answers of the round before, his own among them, with `auc`, and takes
    the one with most evidence: at 0.5 he follows the majority. He has no new idea of his own. Costs n·agents
    samples, then in every round a call of each with the others' answers in its prompt.

    Args:
        agents: pools; the first pool by default.
        n: agents of each pool.
        rounds: of debate, after the first answers.
        auc: how well an agent tells a right answer from a wrong one.
        ratio: tokens of a rejoinder over those of the agent's first answer.

    Source: Du et al. 2023, "Improving factuality and reasoning in language models through multiagent debate".
    """
    whole("n", n)
    whole("rounds", rounds, 0)
    within("auc", auc, 0, 1)
    within("ratio", ratio, 0)
    asked = [pool for pool in agents for _ in range(n)]

    def program(query: Query, llm: LLM) -> Steps:
        firsts = [llm.sample(query, pool=pool) for pool in asked]
        yield every(firsts)
        table = candidates_of(firsts)
        turns = list(firsts)
        for _ in range(rounds):
            if query.over or not table:
                break
            heard = [sum(c.tokens for c in turns if c is not mine) for mine in turns]
            before = list(zip(turns, heard, strict=True))
            turns = [
                llm.write(query, ratio * f.tokens, pool=f.pool, after=t, prompt_tokens=others)
                for f, (t, others) in zip(firsts, before, strict=True)
            ]
            yield every(turns)
            held = [settled([look(llm, candidate, auc) for candidate in table]) for _ in turns]
            said = [(call, answer) for call, answer in zip(turns, held, strict=True) if call.done]
            for call, answer in said:
                call.answer = answer
            table = [Candidate(call, answer) for call, answer in said if answer is not None] or table
        return settled(table)

    return program
