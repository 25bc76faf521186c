"""Agents: models that call tools and go on from what the tools say."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import simpy

from foretell.sim.programs.hidden import WRONG, chance
from foretell.sim.programs.llm import LLM, MAIN, Call, PoolName, Program, Query, Steps
from foretell.sim.programs.tools import joined, side_by_side, tool, whole, within


def react(
    *,
    turn_tokens: int = 200,
    observation_tokens: int = 500,
    max_turns: int = 50,
    plan_share: float = 0.0,
    plan_tokens: int = 300,
    tool_s: float = 1.0,
    tool_spread: float = 0.5,
    tool_slots: int = 0,
    failure: float = 0.0,
    solver: PoolName = MAIN,
) -> Program:
    """Think, call a tool, observe, and think on: a trajectory in turns, whose context grows.

    A sample of the profile is a whole trajectory: what the model writes of it comes in turns of
    `turn_tokens`, with a tool's use and its observation between two of them. A tool that fails tells the
    model so, which then asks again: a turn that brings nothing. A trajectory that has not ended after
    `max_turns` has no answer. The context's KV is reused if the engine caches prefixes and still holds it.

    Args:
        turn_tokens: that the model writes before it calls a tool.
        observation_tokens: that the tool's answer adds to the context.
        max_turns: of the model, failed tools' included.
        plan_share: share of turns in which the model writes a plan before it acts.
        plan_tokens: of such a plan, besides the turn's own.
        tool_s, tool_spread: median latency of the tool [s] and standard deviation of its log.
        tool_slots: uses at once, of all queries; 0: no limit.
        failure: chance that a use fails.
        solver: pool.

    Source: Yao et al. 2022, "ReAct"; plans at some turns: Paglieri et al. 2025, "Learning when to plan".
    """
    whole("turn_tokens", turn_tokens)
    whole("max_turns", max_turns)
    within("plan_share", plan_share, 0, 1)
    use = tool(tool_s, spread=tool_spread, failure=failure, slots=tool_slots)

    def program(query: Query, llm: LLM) -> Steps:
        call = llm.sample(query, pool=solver, max_tokens=turn_tokens)
        yield call
        turns = 1
        while call.done and not call.ended and turns < max_turns:
            worked = yield from use(query, llm)
            turns += 1
            while not worked and turns < max_turns and not query.over:
                yield llm.write(query, turn_tokens, pool=solver, after=call, prompt_tokens=observation_tokens)
                worked = yield from use(query, llm)
                turns += 1
            if query.over or not worked:
                return None
            if plan_share and query.uniform() < plan_share:
                yield llm.write(query, plan_tokens, pool=solver, after=call, prompt_tokens=observation_tokens)
            call = llm.resume(call, turn_tokens, observation_tokens)
            yield call
        return call.answer

    return program


def compiler(
    *,
    graph: Mapping[str, Sequence[str]] | None = None,
    width: int = 3,
    depth: int = 2,
    plan_tokens: int = 300,
    task_tokens: int = 0,
    observation_tokens: int = 300,
    tool_s: float = 1.0,
    tool_spread: float = 0.5,
    tool_slots: int = 0,
    failure: float = 0.0,
    replans: int = 1,
    planner: PoolName = MAIN,
    worker: PoolName = MAIN,
    solver: PoolName = MAIN,
) -> Program:
    """Plan a graph of tasks, run each as soon as those before it are done, then answer from all results.

    Latency is the plan, the graph's critical path and the answer, not the sum of the tasks. Tasks that
    failed are planned and run once more, `replans` times; if one is still missing there is no answer.

    Args:
        graph: tasks, each with those it waits for, {search: [], compare: [search]}; without it `depth`
            layers of `width` tasks, each waiting for the whole layer before.
        width, depth: of that.
        plan_tokens: of a plan.
        task_tokens: that a worker writes for each task before its tool's use; 0: the plan says it all.
        observation_tokens: of each result, in the prompt of tasks behind it and of the answer.
        tool_s, tool_spread, tool_slots, failure: as of `react`'s tool.
        replans: see above.
        planner, worker, solver: pools.

    Source: Kim et al. 2023, "An LLM compiler for parallel function calling"; Zhang et al. 2025,
    "Plan-over-graph"; Qin et al. 2025, "Flash-Searcher" (tasks are planned anew as results come).
    """
    whole("width", width)
    whole("depth", depth)
    tasks = {str(task): tuple(before) for task, before in (graph or _layered(width, depth)).items()}
    order = _ordered(tasks)
    use = tool(tool_s, spread=tool_spread, failure=failure, slots=tool_slots)

    def task(
        query: Query, llm: LLM, before: list[simpy.Process], waits: int
    ) -> Generator[simpy.Event, Any, bool]:
        if before:
            yield joined(llm, before)
        if query.over or not all(process.value for process in before):
            return False
        if task_tokens:
            yield llm.write(query, task_tokens, pool=worker, prompt_tokens=waits * observation_tokens)
        return (yield from use(query, llm))

    def program(query: Query, llm: LLM) -> Steps:
        left, call = order, None
        for _ in range(1 + replans):
            read = (len(order) - len(left)) * observation_tokens
            call = llm.write(query, plan_tokens, pool=planner, after=call, prompt_tokens=read)
            yield call
            running: dict[str, simpy.Process] = {}
            for name in left:
                before = [running[b] for b in tasks[name] if b in running]
                running |= {name: side_by_side(llm, [task(query, llm, before, len(tasks[name]))])[0]}
            yield joined(llm, list(running.values()))
            if query.over:
                return None
            left = [name for name in left if not running[name].value]
            if not left:
                break
        if left:
            return None
        answer = llm.sample(query, pool=solver, prompt_tokens=len(order) * observation_tokens)
        yield answer
        return answer.answer

    return program


def orchestrator(
    *,
    workers: int = 3,
    worker_turns: int = 4,
    turn_tokens: int = 200,
    observation_tokens: int = 500,
    report_tokens: int = 300,
    plan_tokens: int = 500,
    tool_s: float = 1.0,
    tool_spread: float = 0.5,
    tool_slots: int = 0,
    at_once: bool = True,
    leader: PoolName = MAIN,
    worker: PoolName = MAIN,
) -> Program:
    """A leader plans, workers with contexts of their own use tools and report, and the leader answers.

    Costs a plan, workers·worker_turns turns and as many uses of tools, a report each, and one sample of the
    leader with all reports in its prompt. At once its latency goes with the slowest worker.

    Args:
        workers: each with a part of the question.
        worker_turns: of each, every one followed by a use of a tool.
        turn_tokens, observation_tokens: as in `react`.
        report_tokens: that a worker hands back.
        plan_tokens: of the leader's plan.
        tool_s, tool_spread, tool_slots: as in `react`.
        at_once: whether workers work side by side.
        leader, worker: pools.

    Source: Wu et al. 2023, "AutoGen"; Chen and Li 2024, "On the design and analysis of LLM-based algorithms"
    (parallel decomposition).
    """
    whole("workers", workers)
    whole("worker_turns", worker_turns)
    use = tool(tool_s, spread=tool_spread, slots=tool_slots)

    def work(query: Query, llm: LLM, plan: Call) -> Generator[simpy.Event, Any, Call]:
        last = plan
        for turn in range(worker_turns):
            read = observation_tokens if turn else 0
            last = llm.write(query, turn_tokens, pool=worker, after=last, prompt_tokens=read)
            yield last
            yield from use(query, llm)
            if query.over:
                return last
        last = llm.write(query, report_tokens, pool=worker, after=last, prompt_tokens=observation_tokens)
        yield last
        return last

    def program(query: Query, llm: LLM) -> Steps:
        plan = llm.write(query, plan_tokens, pool=leader)
        yield plan
        if at_once:
            yield joined(llm, side_by_side(llm, [work(query, llm, plan) for _ in range(workers)]))
        else:
            for _ in range(workers):
                yield from work(query, llm, plan)
        call = llm.sample(query, pool=leader, after=plan, prompt_tokens=workers * report_tokens)
        yield call
        return call.answer

    return program


def depth_first(
    *,
    depth: int = 4,
    siblings: int = 2,
    noticed: float = 1.0,
    max_nodes: int = 50,
    action_tokens: int = 100,
    observation_tokens: int = 300,
    tool_s: float = 0.5,
    tool_spread: float = 0.5,
    tool_slots: int = 0,
    solver: PoolName = MAIN,
) -> Program:
    """Depth-first search over chains of tool calls, which goes back from what it sees to be a dead end.

    The chance that a step is right is the depth-th root of the query's own, so that a chain without search
    succeeds as often as a sample does. A wrong step is seen to be one with chance `noticed`, after its tool
    was called; then the node has a next child, up to `siblings`, and after them the search goes back to the
    parent's next. A wrong step that passes makes every chain below it end, unnoticed, in a wrong answer.

    Args:
        depth: right steps that the answer takes.
        siblings: children of a node at most; 1: a chain, as ReAct's.
        noticed: chance that a wrong step is seen to be wrong.
        max_nodes: calls at most; then there is no answer.
        action_tokens, observation_tokens: of a step, written and read.
        tool_s, tool_spread, tool_slots: as in `react`.
        solver: pool.

    Source: Qin et al. 2023, "ToolLLM", the depth-first decision tree (DFSDT).
    """
    whole("depth", depth)
    whole("siblings", siblings)
    whole("max_nodes", max_nodes)
    within("noticed", noticed, 0, 1)
    use = tool(tool_s, spread=tool_spread, slots=tool_slots)

    def program(query: Query, llm: LLM) -> Steps:
        step = chance(query, llm, solver) ** (1 / depth)
        path: list[Call] = []  # the calls that lead to where we are
        tried = [0]  # children tried, of every node on the path
        right = True
        nodes = 0
        while len(path) < depth:
            if tried[-1] == siblings:
                if not path:
                    return None
                path.pop()
                tried.pop()
                continue
            if nodes == max_nodes or query.over:
                return None
            nodes += 1
            tried[-1] += 1
            read = observation_tokens if path else 0
            last = path[-1] if path else None
            call = llm.write(query, action_tokens, pool=solver, after=last, prompt_tokens=read)
            yield call
            yield from use(query, llm)
            good = not right or query.uniform() < step  # below a wrong step all look alike
            if good or query.uniform() >= noticed:
                right = right and good
                path.append(call)
                tried.append(0)
        answer = llm.write(
            query, action_tokens, pool=solver, after=path[-1], prompt_tokens=observation_tokens
        )
        yield answer
        return (0 if right else WRONG) if answer.done else None

    return program


def bounded_memory(
    *,
    steps: int = 10,
    action_tokens: int = 50,
    screen_tokens: int = 1000,
    memories: int = 5,
    memory_tokens: int = 8,
    tool_s: float = 1.0,
    tool_spread: float = 0.3,
    solver: PoolName = MAIN,
) -> Program:
    """Act on a screen, step by step, with past trajectories in the prompt at so many tokens each.

    As embeddings a trajectory takes a handful of tokens, as text thousands: `memory_tokens` says which. The
    last step is the sample that decides the outcome.

    Args:
        steps: of the task.
        action_tokens, screen_tokens: written and read in a step.
        memories, memory_tokens: trajectories in the prompt, and tokens of each.
        tool_s, tool_spread: of the environment.
        solver: pool.

    Source: Wu et al. 2025, "Auto-scaling continuous memory for GUI agent".
    """
    whole("steps", steps)
    use = tool(tool_s, spread=tool_spread)
    extra = memories * memory_tokens + screen_tokens

    def program(query: Query, llm: LLM) -> Steps:
        for _ in range(steps - 1):
            yield llm.write(query, action_tokens, pool=solver, prompt_tokens=extra)
            yield from use(query, llm)
            if query.over:
                return None
        call = llm.sample(query, pool=solver, prompt_tokens=extra)
        yield call
        return call.answer

    return program


def _layered(width: int, depth: int) -> dict[str, list[str]]:
    return {
        f"{layer}.{i}": [f"{layer - 1}.{j}" for j in range(width)] if layer else []
        for layer in range(depth)
        for i in range(width)
    }


def _ordered(tasks: Mapping[str, Sequence[str]]) -> list[str]:
    """The tasks, each behind all that it waits for.

    Raises:
        ValueError: a task waits for an unknown one, or for itself by a circle.
    """
    order: list[str] = []
    for name, before in tasks.items():
        for other in before:
            if other not in tasks:
                raise ValueError(f"graph.{name}: it waits for {other!r}, which is no task")
    while len(order) < len(tasks):
        ready = [n for n, before in tasks.items() if n not in order and all(b in order for b in before)]
        if not ready:
            stuck = ", ".join(n for n in tasks if n not in order)
            raise ValueError(f"graph: the tasks {stuck} wait for each other in a circle")
        order += ready
    return order
