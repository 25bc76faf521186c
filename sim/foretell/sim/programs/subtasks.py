"""Reasoning as a tree of subtasks, of which only results stay in the context."""

from __future__ import annotations

from foretell.sim.programs.llm import LLM, MAIN, PoolName, Program, Query, Steps
from foretell.sim.programs.tools import whole, within
from foretell.sim.programs.traces import split


def thread_inference(
    *,
    branching: int = 3,
    depth: int = 2,
    pruned: float = 1.0,
    result_tokens: int = 40,
    solver: PoolName = MAIN,
) -> Program:
    """TIM with TIMRUN: one generation that recurses into subtasks, and prunes what finished ones have left.

    Luo et al. 2025, Beyond Context Limits (arXiv 2507.16784): a subtask sees the text of those above it and
    the results of those before; once it has finished, its working memory is evicted, its positions are used
    again. So the context grows with the depth of the tree, not with the trace. Assumed: leaves share the
    trace's tokens evenly; every leaf is a call that reads what is held: results, and 1 − `pruned` of texts.

    Args:
        branching: subtasks of a task.
        depth: levels of the tree below its root; leaves do the work.
        pruned: share of a finished subtask's text that leaves the context.
        result_tokens: that stay of a subtask, written at its end.
        solver: the pool.
    """
    whole("branching", branching)
    whole("depth", depth)
    within("pruned", pruned, 0, 1)
    whole("result_tokens", result_tokens)

    def program(query: Query, llm: LLM) -> Steps:
        trace = llm.foresee(query, solver)
        held = [0] * (depth + 1)  # what the finished subtasks of each open level have left in the context
        for done, tokens in enumerate(split(trace.tokens, [1.0] * branching**depth), 1):
            call = llm.write(query, tokens + result_tokens, pool=solver, prompt_tokens=sum(held))
            yield call
            if not call.done:
                return None
            level, ended = depth, done
            held[level] += result_tokens + round((1 - pruned) * tokens)
            while level > 1 and not ended % branching:  # the last subtask of a task: its result stays instead
                held[level - 1] += result_tokens + round((1 - pruned) * held[level])
                held[level] = 0
                level, ended = level - 1, ended // branching
        return trace.answer

    return program
