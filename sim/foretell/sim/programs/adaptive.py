"""Adaptive stops within a trace: probes, verifiers of the thought so far, segments with summaries.

A trace settles on its final answer somewhere (`settling` of the profile); whoever notices can stop it there.
"""

from __future__ import annotations

from dataclasses import replace

from foretell.sim.programs.draws import RIGHT
from foretell.sim.programs.llm import LLM, MAIN, Call, Judge, PoolName, Program, Query, Steps, every
from foretell.sim.programs.sampling import ORACLE
from foretell.sim.programs.tools import whole, within


def dynasor(
    *,
    agree: int = 3,
    chunk_tokens: int = 64,
    probe_tokens: int = 16,
    hesitation: float = 0.0,
    max_tokens: int | None = None,
    solver: PoolName = MAIN,
) -> Program:
    """Dynasor: ask the trace for its answer after every chunk; stop when the last `agree` answers agree.

    Fu et al. 2024 (arXiv 2412.20993); its presets of (agree, chunk_tokens) are (8, 64), (5, 64), (3, 64),
    (2, 64) and (2, 32), mild to aggressive. A probe shares the trace's prefix and waits for it; the trace
    waits for the probe. Assumed: before the trace has settled, probes are fresh guesses, independent of each
    other, so that wrong ones agree as the profile's wrong answers do; of these guesses the share `hesitation`
    is empty or shows doubt in words, and counts for nothing.

    Args:
        agree: probes that must agree, and be answers.
        chunk_tokens: between probes.
        probe_tokens: of a probe.
        hesitation: share of guesses that are seen through.
        max_tokens: of the trace, where it is cut without an answer; None: no limit.
        solver: the pool.
    """
    whole("agree", agree)
    whole("chunk_tokens", chunk_tokens)
    whole("probe_tokens", probe_tokens)
    within("hesitation", hesitation, 0, 1)

    def program(query: Query, llm: LLM) -> Steps:
        trace = llm.sample(query, pool=solver, max_tokens=chunk_tokens)
        yield trace
        said: list[int | None] = []
        while trace.done and not trace.ended and (max_tokens is None or trace.position < max_tokens):
            probe = llm.probe(trace, probe_tokens)
            yield probe
            doubted = hesitation > 0 and not _settled(trace) and query.uniform() < hesitation
            said.append(probe.answer if probe.done and not doubted else None)
            last = said[-agree:]
            if len(last) == agree and last[0] is not None and len(set(last)) == 1:
                return last[0]
            trace = llm.resume(trace, chunk_tokens)
            yield trace
        # At the deadline, or where it is cut, the last probe is what there is.
        return trace.answer if trace.ended or not said else said[-1]

    return program


def trimr(
    *,
    chunk_tokens: int = 500,
    agree: int = 2,
    recall: float = 0.9,
    false_alarm: float = 0.02,
    answer_tokens: int = 32,
    verifier: PoolName = MAIN,
    solver: PoolName = MAIN,
) -> Program:
    """TrimR: a small verifier reads the thoughts as they come and cuts the trace once they repeat an answer.

    Lin et al. 2025 (arXiv 2505.17155). The verifier reads each thought while the solver writes the next one,
    so that detection lags by a thought or more; `agree` thoughts in a row must be flagged; then the solver is
    made to answer. Assumed: a thought is flagged with chance `recall` once the trace has settled before it,
    with chance `false_alarm` earlier, independently; a trace cut before it has settled answers with a guess.

    Args:
        chunk_tokens: of a thought.
        agree: flagged thoughts in a row that stop the trace.
        recall, false_alarm: of the verifier.
        answer_tokens: to say the answer once cut.
        verifier, solver: pools.
    """
    whole("chunk_tokens", chunk_tokens)
    whole("agree", agree)
    within("recall", recall, 0, 1)
    within("false_alarm", false_alarm, 0, 1)

    def program(query: Query, llm: LLM) -> Steps:
        trace = llm.sample(query, pool=solver, max_tokens=chunk_tokens)
        yield trace
        flagged = 0
        while trace.done and not trace.ended:
            settled = trace.outcome is not None and trace.start >= trace.outcome.settled_at
            flag = query.uniform() < (recall if settled else false_alarm)
            verdict = llm.write(query, 1, pool=verifier, prompt_tokens=trace.tokens)
            following = llm.resume(trace, chunk_tokens)
            yield verdict
            flagged = flagged + 1 if flag else 0
            if flagged == agree:
                llm.cancel([following])
                if following.ended:
                    return following.answer
                answer = llm.probe(following, answer_tokens)
                yield answer
                return answer.answer if answer.done else None
            yield following
            trace = following
        return trace.answer

    return program


def infty_think(
    *, segment_tokens: int = 2048, summary_tokens: int = 256, overhead: float = 0.0, solver: PoolName = MAIN
) -> Program:
    """InftyThink: reasoning in short segments, each of which starts from a summary of what came before.

    Yan et al. 2025 (arXiv 2503.06692). A segment's prompt is the query and the last summary, so that the
    context is a sawtooth and KV memory stays bounded. Assumed: the segments write together what the trace
    would have, and `overhead` of it more; the answer is the trace's.

    Args:
        segment_tokens: of reasoning in a segment.
        summary_tokens: written at the end of each but the last, read at the start of the next.
        overhead: tokens written again because summaries lose something, over the trace's.
        solver: the pool.
    """
    whole("segment_tokens", segment_tokens)
    whole("summary_tokens", summary_tokens)
    within("overhead", overhead, 0)

    def program(query: Query, llm: LLM) -> Steps:
        trace = llm.foresee(query, solver)
        left = round(trace.tokens * (1 + overhead))
        carried = 0
        while True:
            tokens = min(left, segment_tokens)
            left -= tokens
            segment = llm.write(
                query, tokens + (summary_tokens if left else 0), pool=solver, prompt_tokens=carried
            )
            yield segment
            if not segment.done:
                return None
            if not left:
                return trace.answer
            carried = summary_tokens

    return program


def pruned_best_of_n(
    *,
    n: int = 16,
    prune_tokens: int = 128,
    keep: int = 4,
    verifier: Judge = ORACLE,
    partial_auc: float = 0.65,
    solver: PoolName = MAIN,
) -> Program:
    """Best of N with mid-generation pruning: all start, the least promising are given up early.

    Manvi et al. 2024, Adaptive Inference-Time Compute (arXiv 2410.02725): the model's own self-evaluation,
    one token, read in the middle of a sample, says whether to go on. Assumed: it tells traces that will come
    to be right from those that will not with `partial_auc`; complete samples are judged by `verifier`.

    Args:
        n: samples begun.
        prune_tokens: where they are judged.
        keep: how many go on.
        verifier: of complete samples; its pool and tokens also serve in the middle.
        partial_auc: of the judgement in the middle.
        solver: the pool.
    """
    whole("n", n)
    whole("prune_tokens", prune_tokens)
    whole("keep", keep)
    within("partial_auc", partial_auc, 0, 1)
    final = verifier.verifier
    early = Judge(
        verifier.pool,
        replace(final, auc=partial_auc, completeness=None),
    )

    def program(query: Query, llm: LLM) -> Steps:
        begun = [llm.sample(query, pool=solver, max_tokens=prune_tokens) for _ in range(n)]
        yield every(begun)
        verdicts = [llm.judge(call, early, right=_will_be_right(call)) for call in begun if call.done]
        if not verdicts:
            return None
        yield every(verdicts)
        order = sorted(range(len(verdicts)), key=lambda i: -verdicts[i].score)[:keep]
        kept = [llm.resume(begun[i], 1 << 40) for i in order]
        yield every(kept)
        answered = [call for call in kept if call.answer is not None]
        if not answered:
            return None
        finals = [llm.judge(call, verifier) for call in answered]
        yield every(finals)
        done = [(judged.score, -i) for i, judged in enumerate(finals) if judged.done]
        return answered[-max(done)[1] if done else 0].answer

    return program


def _settled(trace: Call) -> bool:
    return trace.outcome is not None and trace.position >= trace.outcome.settled_at


def _will_be_right(call: Call) -> bool:
    return call.outcome is not None and call.outcome.answer == RIGHT
