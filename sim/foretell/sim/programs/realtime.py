"""Programs against the clock: streams that arrive, control loops, and agents that must act in time."""

from __future__ import annotations

import simpy

from foretell.sim.programs.hidden import WRONG
from foretell.sim.programs.llm import LLM, MAIN, Call, PoolName, Program, Query, Steps
from foretell.sim.programs.tools import whole, within


def streaming(
    *,
    frames: int = 60,
    period_s: float = 0.5,
    frame_tokens: int = 10,
    decision_tokens: int = 1,
    speak: float = 0.1,
    speech_tokens: int = 30,
    think_along: bool = True,
    solver: PoolName = MAIN,
) -> Program:
    """Frames come at a fixed rate and join the context; after each the model is silent or speaks.

    Every frame is a call that reads its tokens behind the context so far and writes a decision, or with
    chance `speak` a remark. A frame waits for the one before to be done: if they take longer than the period,
    the stream falls behind. Not thinking along, all frames are read when the last has come. Then comes the
    sample that decides the outcome.

    Args:
        frames: of the stream.
        period_s: between two of them [s].
        frame_tokens: of one.
        decision_tokens: of the decision to be silent.
        speak, speech_tokens: chance and tokens of a remark.
        think_along: whether frames are read as they come.
        solver: pool.

    Source: Chen et al. 2024, "VideoLLM-online"; Lu et al. 2026, "Think while watching".
    """
    whole("frames", frames)
    within("period_s", period_s, 0)
    within("speak", speak, 0, 1)

    def program(query: Query, llm: LLM) -> Steps:
        last: Call | None = None
        unread = 0
        for number in range(frames):
            wait = query.arrival_s + number * period_s - llm.now
            if wait > 0:
                yield llm.wait(wait)
            if query.over:
                return None
            unread += frame_tokens
            if think_along:
                tokens = speech_tokens if query.uniform() < speak else decision_tokens
                last = llm.write(query, tokens, pool=solver, after=last, prompt_tokens=unread)
                unread = 0
                yield last
        call = llm.sample(query, pool=solver, after=last, prompt_tokens=unread)
        yield call
        return call.answer

    return program


def control_loop(
    *,
    chunks: int = 10,
    chunk_s: float = 0.5,
    chunk_tokens: int = 32,
    observation_tokens: int = 256,
    overlap: bool = True,
    stale: float = 0.0,
    solver: PoolName = MAIN,
) -> Program:
    """A robot's loop: observe, compute a chunk of actions, carry it out; the next one meanwhile, or after.

    Overlapping, the chunk after next is computed from what is seen at the beginning of the one being carried
    out; a robot stands still only while the computation takes longer than the chunk. An observation that is a
    chunk old spoils the task with chance `stale`·min(latency/chunk_s, 1) a chunk. The outcome is otherwise
    that of one sample, whose tokens are the chunks'.

    Args:
        chunks: of the task.
        chunk_s: that a chunk takes to be carried out [s].
        chunk_tokens, observation_tokens: written and read for a chunk.
        overlap: see above.
        stale: see above; 0 where the state is rolled forward.
        solver: pool.

    Source: Tang et al. 2025, "VLASH"; Black et al. 2025, "Real-time execution of action chunking flow
    policies". Their policies denoise actions; here a chunk is a call of so many tokens.
    """
    whole("chunks", chunks)
    within("chunk_s", chunk_s, 0)
    within("stale", stale, 0, 1)

    def program(query: Query, llm: LLM) -> Steps:
        outcome = llm.foresee(query, solver)
        spoiled = False
        moving: simpy.Event | None = None
        for _ in range(chunks):
            if moving is not None and not overlap:
                yield moving
            asked = llm.now
            call = llm.write(query, chunk_tokens, pool=solver, prompt_tokens=observation_tokens)
            yield call
            if overlap and moving is not None:
                delay = min((llm.now - asked) / chunk_s, 1.0) if chunk_s else 1.0
                spoiled = spoiled or query.uniform() < stale * delay
                yield moving
            if query.over:
                return None
            moving = llm.wait(chunk_s)
        if moving is not None:
            yield moving
        return WRONG if spoiled else outcome.answer

    return program


def reactive_and_planning(
    *,
    period_s: float = 10.0,
    ticks: int = 6,
    reactive_tokens: int = 200,
    plan_chunk_tokens: int = 512,
    reactive: bool = True,
    planning: bool = True,
    solver: PoolName = MAIN,
    planner: PoolName = MAIN,
) -> Program:
    """The world moves every period: a short stream reacts in time, and a long one plans beside it.

    At every tick an action is due. The planner thinks on all the while, in chunks; when it is done its answer
    is taken from then on. Until then the reactive stream reads the plan so far and acts on what it says (a
    probe of the plan, `reactive_tokens` long), if it is in time. The ticks count alike: the outcome is that
    of one of them, drawn; a tick without an action has none.

    Args:
        period_s: between ticks [s].
        ticks: of the episode.
        reactive_tokens: written for an action.
        plan_chunk_tokens: that the planner writes before what it has can be read.
        reactive, planning: which streams there are. Without a planner a reaction is a sample cut at
            `reactive_tokens`.
        solver: pool of the reactive stream, where there is no planner.
        planner: pool of the planner, whose text the reaction goes on from.

    Source: Wen et al. 2025, "Real-time reasoning agents in evolving environments" (AgileThinker); Zhang et
    al. 2025, "VideoGameBench", where latency itself costs success.
    """
    whole("ticks", ticks)
    whole("reactive_tokens", reactive_tokens)
    within("period_s", period_s, 0)
    if not (reactive or planning):
        raise ValueError("reactive: false, and planning too; switch one of them on")

    def program(query: Query, llm: LLM) -> Steps:
        counts = int(query.uniform() * ticks)
        thought: Call | None = None
        writing = llm.sample(query, pool=planner, max_tokens=plan_chunk_tokens) if planning else None
        answer: int | None = None
        for tick in range(ticks):
            due = llm.wait(period_s)
            reaction: Call | None = None
            if reactive and not planning:
                reaction = llm.sample(query, pool=solver, max_tokens=reactive_tokens)
            elif reactive and thought is not None and not thought.ended:
                reaction = llm.probe(thought, reactive_tokens)
            while not due.processed:
                yield due if writing is None or writing.ended else due | writing
                if writing is not None and writing.processed and not writing.ended:
                    thought = writing
                    if not thought.done:
                        writing = None
                        continue
                    writing = llm.resume(thought, plan_chunk_tokens)
                elif writing is not None and writing.ended:
                    thought = writing
            if query.over:
                return answer
            action = None
            if thought is not None and thought.ended:
                action = thought.answer
            elif reaction is not None and reaction.done:
                action = reaction.answer
            if reaction is not None:
                llm.cancel([reaction])
            if tick == counts:
                answer = action
        return answer

    return program
