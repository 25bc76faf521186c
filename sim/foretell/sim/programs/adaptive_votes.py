"""Adaptive stops between samples: ask again until the answers, or the model itself, are sure enough."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from foretell.sim.programs.answers import majority
from foretell.sim.programs.llm import LLM, MAIN, Call, Judge, PoolName, Program, Query, Steps, every
from foretell.sim.programs.sampling import ORACLE
from foretell.sim.programs.tools import one_of, whole, within


def certainty(answers: Iterable[int | None]) -> float:
    """1 − H/ln n of n answers by how often each was given; 1 if all agree, and 0 for none.

    The Certaindex of several samples (Fu et al. 2024, §3); samples without an answer agree with nobody.
    """
    said = list(answers)
    if len(said) < 2:
        return float(bool(said) and said[0] is not None)
    counts = Counter(answer for answer in said if answer is not None)
    shares = [count / len(said) for count in counts.values()]
    shares += [1 / len(said)] * (len(said) - sum(counts.values()))
    return 1 + sum(share * math.log(share) for share in shares) / math.log(len(said))


def lead_is_sure(most: int, second: int, threshold: float) -> bool:
    """Whether the first answer beats the second with this posterior chance.

    Of the two, the first has share p with p ~ Beta(most + 1, second + 1), from a uniform prior;
    P(p > 1/2) is then P(Binomial(most + second + 1, 1/2) > second) (Aggarwal et al. 2023, eq. 2).
    """
    n = most + second + 1
    below = sum(math.comb(n, k) for k in range(second + 1)) / 2**n
    return bool(1 - below >= threshold)


def adaptive_consistency(
    *,
    n: int = 40,
    batch: int = 1,
    threshold: float = 0.95,
    stop: str = "beta",
    solver: PoolName = MAIN,
) -> Program:
    """Adaptive self-consistency: sample until the vote's lead is sure, or n have been drawn.

    Aggarwal et al. 2023, Let's Sample Step by Step (EMNLP, arXiv 2305.11860). Samples come one after the
    other (or `batch` at a time), so that what is saved in tokens is paid in latency.

    Args:
        n: samples at most.
        batch: samples asked for at once.
        threshold: of the chance that the lead lasts, for "beta".
        stop: "beta": the posterior chance of the lead; "decided": once no samples to come could change it.
        solver: the pool.
    """
    whole("n", n)
    whole("batch", batch)
    within("threshold", threshold, 0, 1)
    one_of("stop", stop, ("beta", "decided"))

    def program(query: Query, llm: LLM) -> Steps:
        calls: list[Call] = []
        while len(calls) < n and not query.over:
            new = [llm.sample(query, pool=solver) for _ in range(min(batch, n - len(calls)))]
            yield every(new)
            calls += new
            ranked = Counter(call.answer for call in calls if call.answer is not None).most_common(2)
            most, second = ([count for _, count in ranked] + [0, 0])[:2]
            if lead_is_sure(most, second, threshold) if stop == "beta" else most > second + n - len(calls):
                break
        return majority(calls, query)

    return program


def certain_consistency(
    *, n: int = 16, batch: int = 4, threshold: float = 0.9, solver: PoolName = MAIN
) -> Program:
    """Self-consistency under Certaindex: rounds of samples until their answers are certain enough.

    Fu et al. 2024 (arXiv 2412.20993), self-consistency in Dynasor: certainty 1 − H/ln n, looked at
    after every round; the budget that sure queries leave serves the others.

    Args:
        n: samples at most.
        batch: samples of a round, at once.
        threshold: certainty that stops.
        solver: the pool.
    """
    whole("n", n)
    whole("batch", batch)
    within("threshold", threshold, 0, 1)

    def program(query: Query, llm: LLM) -> Steps:
        calls: list[Call] = []
        while len(calls) < n and not query.over:
            new = [llm.sample(query, pool=solver) for _ in range(min(batch, n - len(calls)))]
            yield every(new)
            calls += new
            if certainty(call.answer for call in calls) >= threshold:
                break
        return majority(calls, query)

    return program


def semantic_entropy(
    *,
    width: int = 4,
    rounds: int = 3,
    threshold: float = 0.5,
    summary_tokens: int = 100,
    solver: PoolName = MAIN,
) -> Program:
    """Multi-round parallel reasoning that ends when a round's answers have little semantic entropy.

    Xu et al. 2025, Adaptive Termination (arXiv 2507.06829). Every round asks for `width` answers at once; the
    next round's prompt holds those of the last. Assumed: answers mean the same if they are the same; seeing
    others' answers revises one's own at the profile's rates for that round.

    Args:
        width: answers of a round.
        rounds: at most.
        threshold: entropy over ln(width) at or below which it ends.
        summary_tokens: of one answer in the next prompt.
        solver: the pool.
    """
    whole("width", width)
    whole("rounds", rounds)
    within("threshold", threshold, 0, 1)
    whole("summary_tokens", summary_tokens, 0)

    def program(query: Query, llm: LLM) -> Steps:
        calls = [llm.sample(query, pool=solver) for _ in range(width)]
        yield every(calls)
        for number in range(rounds - 1):
            if query.over or 1 - certainty(call.answer for call in calls) <= threshold:
                break
            others = (width - 1) * summary_tokens
            revised = [llm.revise(call, number, prompt_tokens=others) for call in calls]
            yield every(revised)
            calls = [new if new.done else old for new, old in zip(revised, calls, strict=True)]
        return majority(calls, query)

    return program


def self_evaluated(
    *, n: int = 16, threshold: float = 0.5, verifier: Judge = ORACLE, solver: PoolName = MAIN
) -> Program:
    """Ask again until the model thinks that it cannot do better, n times at most; answer with the best.

    Manvi et al. 2024, Adaptive Inference-Time Compute (arXiv 2410.02725): after each sample the model writes
    one token, its chance of doing no better by starting again. Assumed: that chance is a verifier's score (0
    midway between right and wrong answers), which knows nothing of how hard the problem is.

    Args:
        n: samples at most.
        threshold: score that stops; higher asks more often.
        verifier: the self-evaluation; give it the solver's pool, and its AUC.
        solver: the pool.
    """
    whole("n", n)

    def program(query: Query, llm: LLM) -> Steps:
        best, answer = -math.inf, None
        for _ in range(n):
            call = llm.sample(query, pool=solver)
            yield call
            if not call.done:
                break
            judged = llm.judge(call, verifier)
            yield judged
            if answer is None or (judged.done and judged.score > best):
                best, answer = judged.score, call.answer
            if not judged.done or best >= threshold:
                break
        return answer

    return program


def selective(*, threshold: float = 0.0, max_tokens: int | None = None, solver: PoolName = MAIN) -> Program:
    """Answer only if confident enough; else abstain, which counts as no answer.

    Jurayj et al. 2025, Is That Your Final Answer? (arXiv 2502.13962): with more thinking more queries are
    answered, and a threshold on confidence trades answers for risk. Assumed: confidence as in the profile.

    Args:
        threshold: of the sample's confidence (right answers average +separation/2, wrong ones −).
        max_tokens: thinking budget; a sample that is cut abstains.
        solver: the pool.
    """

    def program(query: Query, llm: LLM) -> Steps:
        call = llm.sample(query, pool=solver, max_tokens=max_tokens)
        yield call
        return call.answer if call.answer is not None and call.confidence >= threshold else None

    return program
