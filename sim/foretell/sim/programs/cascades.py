"""Cascades: a cheap model answers first, and a dear one where a gate does not trust the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from foretell.models.verifiers import Verifier
from foretell.sim.programs.llm import LLM, MAIN, Call, Judge, PoolName, Program, Query, Steps, every
from foretell.sim.programs.tools import whole, within

_JUDGE = Judge(MAIN, Verifier())


def agreement_cascade(*, weak: PoolName, strong: PoolName, n: int = 4, threshold: float = 0.75) -> Program:
    """Keep the weak model's majority answer if enough of its samples agree, else ask the strong one.

    Assumes that the samples run at once, and that both models' errors go together as the profiles' `shared`
    ease has it. Costs n weak samples always and a strong one where it defers.

    Args:
        weak, strong: pools.
        n: weak samples.
        threshold: least share of the n samples that must agree, ties kept out by more than 1/2.

    Source: Yue et al. 2023, "Large language model cascades with mixture of thoughts", the voting gate.
    """
    whole("n", n)
    within("threshold", threshold, 0, 1)

    def program(query: Query, llm: LLM) -> Steps:
        calls = [llm.sample(query, pool=weak) for _ in range(n)]
        yield every(calls)
        said = Counter(call.answer for call in calls if call.answer is not None)
        answer, votes = said.most_common(1)[0] if said else (None, 0)
        if votes >= threshold * n and answer is not None:
            return answer
        return (yield from _deferred(query, llm, strong, answer))

    return program


def confidence_cascade(*, weak: PoolName, strong: PoolName, threshold: float = 0.0) -> Program:
    """Keep the weak model's answer if it is sure enough of it, else ask the strong one.

    Confidence is as of the weak profile's `confidence_auc`: a normal deviate, higher for right answers.
    Costs one weak sample always and a strong one where it defers.

    Args:
        weak, strong: pools.
        threshold: least confidence to keep; 0 is midway between right and wrong answers' means.

    Source: Gupta et al. 2024, "Language model cascades: token-level uncertainty and beyond".
    """

    def program(query: Query, llm: LLM) -> Steps:
        call = llm.sample(query, pool=weak)
        yield call
        if call.answer is not None and call.confidence >= threshold:
            return call.answer
        return (yield from _deferred(query, llm, strong, call.answer))

    return program


def verified_cascade(
    *,
    weak: PoolName,
    strong: PoolName,
    middle: PoolName | None = None,
    verifier: Judge = _JUDGE,
    threshold: float = 0.0,
    uplink_s: float = 0.0,
) -> Program:
    """Two or three tiers; a verifier scores each answer but the last, which is kept from `threshold` on.

    Costs a sample and a verifier's call at each tier that is reached. With `uplink_s` the tiers stand apart,
    as on a device, at the edge and in the cloud, and every deferral pays the way there and back.

    Args:
        weak, strong: pools of the first and the last tier.
        middle: pool of a tier between them.
        verifier: what scores answers; a verdict is +1 or −1.
        threshold: least score to keep.
        uplink_s: round trip to the next tier [s].

    Source: Chen et al. 2023, "FrugalGPT"; tiers as in Shao and Li 2025, "AI Flow at the network edge".
    """
    within("uplink_s", uplink_s, 0)
    tiers: Sequence[PoolName] = [weak, *([middle] if middle is not None else [])]

    def program(query: Query, llm: LLM) -> Steps:
        answer: int | None = None
        for tier in tiers:
            call = llm.sample(query, pool=tier)
            yield call
            if call.answer is not None:
                answer = call.answer
                verdict = llm.judge(call, verifier)
                yield verdict
                if verdict.done and verdict.score >= threshold:
                    return answer
            if uplink_s:
                yield llm.wait(uplink_s)
        return (yield from _deferred(query, llm, strong, answer))

    return program


def hawkeye(*, large: PoolName, small: PoolName, chain_ratio: float = 0.35, carried: float = 0.95) -> Program:
    """A large model writes a short chain of thought, and a small one the answer from it.

    The chain takes `chain_ratio` of the tokens of the large model's own sample, and carries its outcome with
    chance `carried`; else the answer is the small model's own. The small model writes as much as it would for
    a whole sample of its own.

    Args:
        large, small: pools.
        chain_ratio: tokens of the short chain over those of a full one.
        carried: chance that the chain is as good as the full one.

    Source: She et al. 2025, "Hawkeye: efficient reasoning with model collaboration", whose chains keep 35 %.
    """
    within("chain_ratio", chain_ratio, 0, 1)
    within("carried", carried, 0, 1)

    def program(query: Query, llm: LLM) -> Steps:
        full = llm.foresee(query, large)
        chain = llm.write(query, chain_ratio * full.tokens, pool=large)
        yield chain
        answer = llm.sample(query, pool=small, after=chain)
        yield answer
        if not answer.done:
            return None
        return full.answer if query.uniform() < carried else answer.answer

    return program


def _deferred(query: Query, llm: LLM, strong: PoolName, fallback: int | None) -> Steps:
    """The strong model's answer; the weak one's where it has none in time."""
    call: Call = llm.sample(query, pool=strong)
    yield call
    return call.answer if call.answer is not None else fallback
