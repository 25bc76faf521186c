"""Speculative planning: a cheap agent acts ahead while a dear one checks what it did."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from foretell.sim.programs.llm import LLM, Call, PoolName, Program, Query, Steps
from foretell.sim.programs.tools import side_by_side, tool, whole, within


def speculative_planning(
    *,
    target: PoolName,
    draft: PoolName,
    steps: int = 8,
    lookahead: int = 3,
    adapt: bool = False,
    agreement: float = 0.7,
    target_tokens: int = 300,
    draft_tokens: int = 100,
    observation_tokens: int = 200,
    tool_s: float = 0.5,
    tool_spread: float = 0.0,
    tool_slots: int = 0,
) -> Program:
    """A cheap agent drafts steps and runs their tools; a dear one writes each of them too, meanwhile.

    The target begins step j as soon as the draft has reached the state before it. If both agree the step
    stands; at the first disagreement the target's own step is carried out, and what was drafted behind it is
    cancelled. The outcome is the target's sample after all steps: nothing is lost but tokens. Lookahead 0:
    the target acts alone.

    Args:
        target, draft: pools.
        steps: of the task.
        lookahead: steps drafted before all of them have to be checked.
        adapt: whether the lookahead grows by one, up to 2·`lookahead`, when all were right, and falls by one
            otherwise: a simple controller in the place of the paper's learnt one.
        agreement: chance that both write the same step.
        target_tokens, draft_tokens: written for a step by each.
        observation_tokens: of the tool's answer.
        tool_s, tool_spread, tool_slots: the tool.

    Source: Guan et al. 2025, "Dynamic speculative agent planning"; Hua et al. 2024, "Interactive speculative
    planning".
    """
    whole("steps", steps)
    whole("lookahead", lookahead, 0)
    within("agreement", agreement, 0, 1)
    use = tool(tool_s, spread=tool_spread, slots=tool_slots)

    def program(query: Query, llm: LLM) -> Steps:
        last: Call | None = None
        done, ahead = 0, lookahead
        while done < steps and not query.over:
            k = min(ahead, steps - done)
            agreed = [query.uniform() < agreement for _ in range(k)]
            reached = [llm.wait(0.0).env.event() for _ in range(k + 1)]
            begun: list[Call] = []
            drafter = side_by_side(llm, [drafting(query, llm, last, reached, begun)])[0]
            matched = 0
            check = yield reached[0]
            while matched < k and check is not None:
                yield check
                if not agreed[matched]:
                    break
                matched += 1
                check = yield reached[matched]
            if matched == k and k:
                last = check  # of the draft that went furthest
            elif check is not None:
                if drafter.is_alive:
                    drafter.interrupt()
                llm.cancel(call for call in begun if call is not check)
                yield check
                yield from use(query, llm)
                last = check
            done += max(matched, 1) if matched == k else matched + 1
            if adapt and k:
                ahead = min(ahead + 1, 2 * lookahead) if matched == k else max(ahead - 1, 1)
        read = observation_tokens if last is not None else 0
        call = llm.sample(query, pool=target, after=last, prompt_tokens=read)
        yield call
        return call.answer

    def drafting(
        query: Query, llm: LLM, last: Call | None, reached: list[simpy.Event], begun: list[Call]
    ) -> Generator[simpy.Event, Any, None]:
        """Begin the target's checks, one as each state is reached; the last event tells the last state."""
        try:
            for event in reached[: max(len(reached) - 1, 1)]:
                read = observation_tokens if last is not None else 0
                check = llm.write(query, target_tokens, pool=target, after=last, prompt_tokens=read)
                begun.append(check)
                event.succeed(check)
                if len(reached) == 1:  # nothing to draft: the target acts alone
                    return
                last = llm.write(query, draft_tokens, pool=draft, after=last, prompt_tokens=read)
                begun.append(last)
                yield last
                yield from use(query, llm)
                if query.over:
                    break
            for event in reached:
                if not event.triggered:
                    event.succeed(None if query.over else last)
        except simpy.Interrupt:
            pass  # a check failed: what would follow is void

    return program
