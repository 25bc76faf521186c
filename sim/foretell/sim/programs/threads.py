"""Parallel threads within one answer: a trunk forks children, and joins what they wrote.

The trace is a sample of the model: its tokens are what the threads write together, its answer is theirs, so
that accuracy is the sequential model's (give a profile of the fine-tuned one where there is one). Closed
forms of the critical path: `foretell.models.accuracy.threads`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from foretell.sim.programs.llm import LLM, MAIN, Call, PoolName, Program, Query, Steps, every
from foretell.sim.programs.tools import whole, within
from foretell.sim.programs.traces import split


@dataclass(frozen=True, slots=True)
class _Fork:
    """Shape of a trace: share in parallel, children of a fork, forks, log-sd of the children's lengths."""

    parallel: float
    threads: int
    forks: int
    imbalance: float

    def __post_init__(self) -> None:
        within("parallel", self.parallel, 0, 1)
        whole("threads", self.threads)
        whole("forks", self.forks)
        within("imbalance", self.imbalance, 0, 5)

    def serial(self, tokens: int) -> list[int]:
        """Tokens of the trunk before, between and after the forks."""
        return split((1 - self.parallel) * tokens, [1.0] * (self.forks + 1))

    def children(self, query: Query, tokens: int) -> list[float]:
        """Tokens of one fork's children, whose mean is their even share."""
        mean = self.parallel * tokens / (self.forks * self.threads)
        sd = self.imbalance
        return [mean * math.exp(sd * query.normal() - sd * sd / 2) for _ in range(self.threads)]


def thread_weaver(
    *,
    parallel: float = 0.5,
    threads: int = 3,
    forks: int = 2,
    imbalance: float = 0.4,
    outline_tokens: int = 20,
    solver: PoolName = MAIN,
) -> Program:
    """ThreadWeaver: the model itself emits forks; children share the trunk, the join reads them again.

    Lian et al. 2025 (arXiv 2512.07843). Children are ordinary requests whose prompt is the trunk, cached;
    the join's prompt is the trunk and all children, of which all but the first must be prefilled again.
    Latency follows the critical path, the tokens those of the whole trace and the outlines.

    Args:
        parallel: share of the trace's tokens that is written in parallel.
        threads: children of a fork.
        forks: one after the other in a trace; the trunk is spread evenly around them.
        imbalance: standard deviation of the log length of children.
        outline_tokens: prompt of every child, written by the trunk: `threads` times this at every fork.
        solver: the pool.
    """
    shape = _Fork(parallel, threads, forks, imbalance)

    def program(query: Query, llm: LLM) -> Steps:
        trace = llm.foresee(query, solver)
        serial = shape.serial(trace.tokens)
        text: Call | None = None
        others = 0
        for trunk in serial[:-1]:
            text = llm.write(
                query, trunk + threads * outline_tokens, pool=solver, after=text, prompt_tokens=others
            )
            yield text
            children = [
                llm.write(query, tokens, pool=solver, after=text)
                for tokens in shape.children(query, trace.tokens)
            ]
            yield every(children)
            text, others = children[0], sum(child.tokens for child in children[1:])
            if not all(child.done for child in children):
                return None
        last = llm.write(query, serial[-1], pool=solver, after=text, prompt_tokens=others)
        yield last
        return trace.answer if last.done else None

    return program


def hogwild(
    *, parallel: float = 0.5, workers: int = 2, redundant: float = 0.0, solver: PoolName = MAIN
) -> Program:
    """Hogwild! Inference: workers of one model write at once, each seeing what the others write.

    Rodionov et al. 2025 (arXiv 2504.06261). Work is shared as it comes, so nobody waits for the longest
    child, but all workers write until the answer is there, also while only one is of use. A worker writes
    (1 − φ)·L + φ·L·(1 + redundant)/k tokens. Assumed of the server: rows attend to their own text only (their
    context is up to k times too short), and nothing is prefilled again, as the shared cache provides.

    Args:
        parallel: φ, share of the trace that can be written in parallel.
        workers: k.
        redundant: what the workers write twice, over the parallel tokens.
        solver: the pool.
    """
    shape = _Fork(parallel, workers, 1, 0.0)
    within("redundant", redundant, 0)

    def program(query: Query, llm: LLM) -> Steps:
        trace = llm.foresee(query, solver)
        share = (1 - shape.parallel) + shape.parallel * (1 + redundant) / workers
        calls = [llm.write(query, share * trace.tokens, pool=solver) for _ in range(workers)]
        yield every(calls)
        return trace.answer if all(call.done for call in calls) else None

    return program


def adaptive_parallel(
    *,
    parallel: float = 0.6,
    threads: int = 4,
    forks: int = 1,
    imbalance: float = 0.4,
    message_tokens: int = 50,
    result_tokens: int = 30,
    window_tokens: int | None = None,
    solver: PoolName = MAIN,
) -> Program:
    """Adaptive Parallel Reasoning: spawn() threads with contexts of their own; join() returns short results.

    Pan et al. 2025 (arXiv 2504.15466). A child sees its message, not its parent's text; the parent goes on
    with the results. So no thread's context holds the whole trace, and a trace longer than the window can
    still be finished, which is where the paper's gain at 4k tokens comes from.

    Args:
        parallel: share of the trace's tokens that is searched by children.
        threads: children of a spawn.
        forks: spawns, one after the other.
        imbalance: standard deviation of the log length of children.
        message_tokens: what the parent writes for each child, which is the child's prompt.
        result_tokens: what a child returns, which its parent reads.
        window_tokens: of every thread, prompt apart; a trace that needs more has no answer. None: unlimited.
        solver: the pool.
    """
    shape = _Fork(parallel, threads, forks, imbalance)

    def program(query: Query, llm: LLM) -> Steps:
        trace = llm.foresee(query, solver)
        serial = shape.serial(trace.tokens)
        text: Call | None = None
        returned = context = longest = 0
        for trunk in serial[:-1]:
            text = llm.write(
                query, trunk + threads * message_tokens, pool=solver, after=text, prompt_tokens=returned
            )
            yield text
            children = [
                llm.write(query, tokens + result_tokens, pool=solver, prompt_tokens=message_tokens)
                for tokens in shape.children(query, trace.tokens)
            ]
            yield every(children)
            returned = threads * result_tokens
            context += trunk + threads * message_tokens + returned
            longest = max(longest, *(message_tokens + child.asked_tokens for child in children))
            if not all(child.done for child in children):
                return None
        last = llm.write(query, serial[-1], pool=solver, after=text, prompt_tokens=returned)
        yield last
        fits = window_tokens is None or max(longest, context + serial[-1]) <= window_tokens
        return trace.answer if last.done and fits else None

    return program


def async_think(
    *,
    parallel: float = 0.6,
    workers: int = 2,
    own: float = 0.5,
    imbalance: float = 0.4,
    result_tokens: int = 50,
    organiser: PoolName = MAIN,
    worker: PoolName = MAIN,
) -> Program:
    """AsyncThink: an organiser forks sub-queries to workers, goes on thinking, and joins them later.

    Chi et al. 2025 (arXiv 2510.26658). Latency is the critical path: the organiser's own text or the
    longest worker, whichever is longer, between the fork and the join.

    Args:
        parallel: share of the trace's tokens that workers write.
        workers: sub-queries of a fork.
        own: share of the organiser's own tokens that it writes while they do.
        imbalance: standard deviation of the log length of the workers' texts.
        result_tokens: what a worker returns, which the organiser reads.
        organiser, worker: pools.
    """
    shape = _Fork(parallel, workers, 1, imbalance)
    within("own", own, 0, 1)

    def program(query: Query, llm: LLM) -> Steps:
        trace = llm.foresee(query, organiser)
        serial = (1 - shape.parallel) * trace.tokens
        before = llm.write(query, serial * (1 - own) / 2, pool=organiser)
        yield before
        calls = [llm.write(query, tokens, pool=worker) for tokens in shape.children(query, trace.tokens)]
        meanwhile = llm.write(query, serial * own, pool=organiser, after=before) if own else before
        yield every([meanwhile, *calls])
        join = llm.write(
            query,
            serial * (1 - own) / 2,
            pool=organiser,
            after=meanwhile,
            prompt_tokens=workers * result_tokens,
        )
        yield join
        return trace.answer if join.done and all(call.done for call in calls) else None

    return program


def skeleton_of_thought(
    *,
    points: int = 5,
    skeleton_tokens: int = 60,
    point_tokens: int = 30,
    imbalance: float = 0.4,
    solver: PoolName = MAIN,
) -> Program:
    """Skeleton-of-Thought: a short skeleton, then all its points in parallel; the answer is their sum.

    Ning et al. 2024 (ICLR, arXiv 2307.15337). The points' prompts are the skeleton and a request to expand
    one point; nothing is joined by the model. Assumed: the points together are as long as a whole answer.

    Args:
        points: of a skeleton.
        skeleton_tokens: of the skeleton.
        point_tokens: prompt for one point, behind the skeleton.
        imbalance: standard deviation of the log length of points.
        solver: the pool.
    """
    shape = _Fork(1.0, points, 1, imbalance)

    def program(query: Query, llm: LLM) -> Steps:
        trace = llm.foresee(query, solver)
        skeleton = llm.write(query, skeleton_tokens, pool=solver)
        yield skeleton
        calls = [
            llm.write(query, tokens, pool=solver, after=skeleton, prompt_tokens=point_tokens)
            for tokens in shape.children(query, trace.tokens)
        ]
        yield every(calls)
        return trace.answer if all(call.done for call in calls) else None

    return program


def prompt_fan_out(
    *,
    items: int = 5,
    decomposable: float = 1.0,
    template_tokens: int = 50,
    imbalance: float = 0.4,
    solver: PoolName = MAIN,
) -> Program:
    """Fan-out within a prompt: a query that asks for many like things is asked as many queries.

    PARALLELPROMPT (Kolawole et al. 2025, arXiv 2506.18728): a schema of template, shared context and items;
    each item goes with template and context. Assumed: decomposing costs no model call.

    Args:
        items: of a decomposable query.
        decomposable: share of queries that are; the others are asked whole.
        template_tokens: prompt of an item, behind the shared context.
        imbalance: standard deviation of the log length of items' answers.
        solver: the pool.
    """
    shape = _Fork(1.0, items, 1, imbalance)
    within("decomposable", decomposable, 0, 1)

    def program(query: Query, llm: LLM) -> Steps:
        trace = llm.foresee(query, solver)
        alone = query.uniform() >= decomposable
        sizes = [float(trace.tokens)] if alone else shape.children(query, trace.tokens)
        calls = [
            llm.write(query, tokens, pool=solver, prompt_tokens=0 if alone else template_tokens)
            for tokens in sizes
        ]
        yield every(calls)
        return trace.answer if all(call.done for call in calls) else None

    return program
