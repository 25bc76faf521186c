"""Speculative reasoning: a small model drafts whole steps, and the base checks them.

The trace is a sample of the base model, cut into the profile's steps; what the drafts change is who writes
which step. Token-level speculation is the engine's business (`num_speculative_tokens` of the base's pool)
and nests within these. Closed forms: `foretell.models.accuracy.speculative`.
"""

from __future__ import annotations

from itertools import pairwise

from foretell.models.verifiers import Verifier
from foretell.sim.programs.llm import LLM, MAIN, Call, Judge, PoolName, Program, Query, Steps, every
from foretell.sim.programs.tools import whole, within
from foretell.sim.programs.traces import steps_of


def spec_reason(
    *,
    draft: PoolName,
    base: PoolName = MAIN,
    good: float = 0.6,
    draft_ratio: float = 1.0,
    max_tokens: int | None = None,
    verifier: Judge | None = None,
) -> Program:
    """SpecReason: the small model drafts a step, the base scores it, and rewrites what it refuses.

    Pan et al. 2025 (arXiv 2504.07891): a draft is taken if the base's one-token score is 7 of 9 or more;
    tokens/step = draft + score + (1 − a)·base. Assumed: drafted steps are as good as the base's own with
    chance `good`, whatever the problem and independently; a step that is not, but is accepted, leaves the
    trace with the small model's answer; otherwise the answer is the base's. Steps are `draft_ratio` times as
    long where the small model wrote them; within a budget of tokens, shorter ones leave room to come to an
    answer, which is where the paper's accuracy comes from.

    Args:
        draft, base: pools of the two models.
        good: chance that a drafted step is as good as the base's; with a perfect scorer, the acceptance.
        draft_ratio: tokens of a drafted step over those of the base's.
        max_tokens: of the trace; where it would be longer, it has no answer. None: no limit.
        verifier: who gives verdicts on steps; the base, with one token and without a fault, by default.
    """
    within("good", good, 0, 1)
    within("draft_ratio", draft_ratio, 0.01)
    scorer = verifier or Judge(base, Verifier(completeness=1.0))
    if scorer.verifier.completeness is None:
        raise ValueError("verifier: it gives scores; give completeness and soundness, for verdicts on steps")

    def program(query: Query, llm: LLM) -> Steps:
        trace, fallback = llm.foresee(query, base), llm.foresee(query, draft)
        derailed, text, written = False, None, 0
        lengths = steps_of(trace.tokens, llm.samples(base).profile.step_tokens)
        for depth, tokens in enumerate(lengths, 1):
            fine = query.uniform() < good
            step = llm.write(query, tokens * draft_ratio, pool=draft, after=text)
            yield step
            score = llm.judge(step, scorer, right=fine, depth=depth)
            yield score
            if score.score > 0:
                derailed |= not fine
            else:
                step = llm.write(query, tokens, pool=base, after=text)
                yield step
            if not (step.done and score.done):
                return None
            text, written = step, written + step.tokens
            if max_tokens is not None and written > max_tokens:
                return None
        return fallback.answer if derailed else trace.answer

    return program


def lookahead(
    *,
    draft: PoolName,
    base: PoolName = MAIN,
    acceptance: float = 0.6,
    ahead: int = 3,
    verifier: PoolName | None = None,
    verifier_prompt_tokens: int = 0,
) -> Program:
    """Lookahead Reasoning: drafts of several steps, and the base's own versions of all of them in one batch.

    Fu et al. 2025 (arXiv 2506.19830), the synchronous version: the draft model writes the next steps one
    after the other; the base writes its own version of each as soon as the drafts before it are there; a
    verifier says which drafts mean the same, and the longest prefix of these is kept, with the base's step
    after it. Assumed: a draft means the same with chance `acceptance`, independently, and is as long as the
    base's step; the answer is the base's. The wall time falls, the tokens written do not.

    Args:
        draft, base: pools of the two models.
        acceptance: chance that a drafted step means the same as the base's.
        ahead: steps looked ahead in a round; 1 is the base alone.
        verifier: pool of the verifier, which reads both steps and writes one token; None: free, at once.
        verifier_prompt_tokens: of its instructions.
    """
    within("acceptance", acceptance, 0, 1)
    whole("ahead", ahead)

    def program(query: Query, llm: LLM) -> Steps:
        trace = llm.foresee(query, base)
        steps = steps_of(trace.tokens, llm.samples(base).profile.step_tokens)
        text: Call | None = None
        while steps:
            own = [llm.write(query, steps[0], pool=base, after=text)]
            drafts: list[Call] = []
            for tokens, following in pairwise(steps[:ahead]):
                text = llm.write(query, tokens, pool=draft, after=text)
                yield text
                drafts.append(text)
                own.append(llm.write(query, following, pool=base, after=text))
            yield every(own)
            if verifier is not None and drafts:
                both = [verifier_prompt_tokens + call.tokens for call in own]
                yield every(
                    llm.write(query, 1, pool=verifier, after=drafted, prompt_tokens=tokens)
                    for drafted, tokens in zip(drafts, both, strict=False)
                )
            gained = 1
            while gained < len(own) and query.uniform() < acceptance:
                gained += 1
            text = own[gained - 1]
            if not text.done:
                return None
            steps = steps[gained:]
        return trace.answer

    return program
