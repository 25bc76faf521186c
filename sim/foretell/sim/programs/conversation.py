"""Conversations: turns that share their history, side tasks that branch off, work done ahead of questions."""

from __future__ import annotations

import math

from foretell.sim.programs.hidden import WRONG
from foretell.sim.programs.llm import LLM, MAIN, RIGHT, Call, PoolName, Program, Query, Steps
from foretell.sim.programs.tools import whole, within


def chat(
    *,
    turns: int = 4,
    user_tokens: int = 100,
    answer_tokens: float = 300.0,
    answer_spread: float = 0.6,
    think_s: float = 20.0,
    think_spread: float = 1.0,
    side_tasks: int = 0,
    side_prompt_tokens: int = 50,
    side_tokens: int = 20,
    branch: bool = True,
    solver: PoolName = MAIN,
) -> Program:
    """A session: each turn's prompt is all that was said before, and what the user says now after thinking.

    The last turn is the sample that decides the outcome. The session is the query: its latency counts the
    user's thinking; each turn's is in the table of calls. Side tasks (rewriting, retrieval decisions) come
    before each turn: on a branch they read only their instructions besides the KV of the conversation, and
    are dropped; otherwise each has the whole conversation as a prompt of its own.

    Args:
        turns: of the session.
        user_tokens: of every message after the first.
        answer_tokens, answer_spread: median length of the answers before the last, and standard deviation of
            its log.
        think_s, think_spread: likewise of the user's thinking [s].
        side_tasks: before each turn after the first, one after the other.
        side_prompt_tokens, side_tokens: instructions and answer of each.
        branch: see above.
        solver: pool.

    Source: for side tasks, Lee et al. 2025, "CIFLEX: contextual instruction flow for sub-task execution".
    """
    whole("turns", turns)
    within("answer_tokens", answer_tokens, 1)
    within("answer_spread", answer_spread, 0)
    within("think_s", think_s, 0)
    within("think_spread", think_spread, 0)

    def program(query: Query, llm: LLM) -> Steps:
        last: Call | None = None
        for turn in range(turns):
            if last is not None:
                yield llm.wait(think_s * math.exp(think_spread * query.normal()))
                for _ in range(side_tasks):
                    if branch:
                        side = llm.write(
                            query, side_tokens, pool=solver, after=last, prompt_tokens=side_prompt_tokens
                        )
                    else:
                        again = last.prompt_tokens + last.tokens + side_prompt_tokens
                        side = llm.write(query, side_tokens, pool=solver, prompt_tokens=again)
                    yield side
            extra = user_tokens if turn else 0
            if turn == turns - 1 or query.over:
                break
            length = answer_tokens * math.exp(answer_spread * query.normal())
            last = llm.write(query, length, pool=solver, after=last, prompt_tokens=extra)
            yield last
        call = llm.sample(query, pool=solver, after=last, prompt_tokens=extra)
        yield call
        return call.answer

    return program


def sleep_time(
    *,
    questions: int = 5,
    context_tokens: int = 2000,
    notes_tokens: int = 1000,
    sleep_calls: int = 1,
    predictable: float = 0.8,
    at_hand: float = 0.8,
    idle_s: float = 60.0,
    gap_s: float = 30.0,
    question_tokens: int = 50,
    solver: PoolName = MAIN,
) -> Program:
    """Think about a context before anything is asked of it, so that the questions take less thinking.

    The query is a context. In its idle time the model writes `notes_tokens` about it in each of `sleep_calls`
    calls. Then come the questions, each with the notes as its prompt: a question that was foreseen, with
    chance `predictable`, has the share `at_hand` of its trace written already. So accuracy stays and tokens
    fall. The questions count alike: the outcome is that of one of them, drawn.

    Args:
        questions: that share the notes.
        context_tokens: of the context, behind the query's own prompt.
        notes_tokens: written by one call of the idle time.
        sleep_calls: one after the other; 0: nothing is done before.
        predictable: chance that a question is one that the notes foresaw.
        at_hand: share of such a question's tokens that the notes spare.
        idle_s: from the context to the first question [s]; notes not written by then are waited for.
        gap_s: between questions [s].
        question_tokens: of each.
        solver: pool.

    Source: Lin et al. 2025, "Sleep-time compute: beyond inference scaling at test-time".
    """
    whole("questions", questions)
    whole("sleep_calls", sleep_calls, 0)
    within("idle_s", idle_s, 0)
    within("gap_s", gap_s, 0)
    within("predictable", predictable, 0, 1)
    within("at_hand", at_hand, 0, 1)

    def program(query: Query, llm: LLM) -> Steps:
        idle = llm.wait(idle_s)
        notes: Call | None = None
        for _ in range(sleep_calls):
            extra = context_tokens if notes is None else 0
            notes = llm.write(query, notes_tokens, pool=solver, after=notes, prompt_tokens=extra)
            yield notes
        yield idle
        counts = int(query.uniform() * questions)
        answer: int | None = None
        for number in range(questions):
            if number:
                yield llm.wait(gap_s)
            outcome = llm.foresee(query, solver)
            foreseen = query.uniform() < predictable and notes is not None
            tokens = outcome.tokens * (1 - at_hand if foreseen else 1)
            extra = question_tokens + (context_tokens if notes is None else 0)
            call = llm.write(query, tokens, pool=solver, after=notes, prompt_tokens=extra)
            yield call
            if number == counts and call.done:
                answer = outcome.answer
        return answer

    return program


def packed(
    *,
    tasks: int = 3,
    merged: bool = True,
    task_prompt_tokens: int = 100,
    penalty: float = 0.0,
    solver: PoolName = MAIN,
) -> Program:
    """Several sub-tasks on one input: in one call whose prompt holds them all, or in a call each, in a chain.

    The outcome is that of the last task. In one call the answers follow each other, each with the tokens of a
    sample, and the last is wrong with chance `penalty` where it would be right alone.

    Args:
        tasks: sub-tasks.
        merged: whether they share a call.
        task_prompt_tokens: instructions of each.
        penalty: see above; 0.1 is a tenth of the accuracy.
        solver: pool.

    Source: Son et al. 2024, "Multi-task inference: can large language models follow multiple instructions at
    once?" (accuracy may also rise: a negative penalty is not modelled).
    """
    whole("tasks", tasks)
    within("penalty", penalty, 0, 1)

    def program(query: Query, llm: LLM) -> Steps:
        outcomes = [llm.foresee(query, solver) for _ in range(tasks)]
        if merged:
            total = sum(outcome.tokens for outcome in outcomes)
            call = llm.write(query, total, pool=solver, prompt_tokens=tasks * task_prompt_tokens)
            yield call
            if not call.done:
                return None
            spoiled = query.uniform() < penalty and outcomes[-1].answer == RIGHT
            return WRONG if spoiled else outcomes[-1].answer
        for outcome in outcomes:
            call = llm.write(query, outcome.tokens, pool=solver, prompt_tokens=task_prompt_tokens)
            yield call
        return outcomes[-1].answer if call.done else None

    return program
