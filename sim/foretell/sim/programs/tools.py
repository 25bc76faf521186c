"""What agents wait for besides models: tools that take time, fail, and serve a few at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import simpy

from foretell.sim.programs.llm import LLM, Query

Waiting = Generator[simpy.Event, Any, bool]
Tool = Callable[[Query, LLM], Waiting]
"""One use of a tool: a generator that ends when the tool does, with whether it worked."""


def tool(
    seconds: float, *, spread: float = 0.0, failure: float = 0.0, retries: int = 0, slots: int = 0
) -> Tool:
    """A tool whose latency is log-normal.

    Args:
        seconds: median latency [s].
        spread: standard deviation of the log latency.
        failure: chance that one use fails, after the same time.
        retries: how often a failed use is repeated, without asking the model.
        slots: how many uses all queries together may have at once, first come first served; 0: no limit.

    Raises:
        ValueError: a figure out of range.

    """
    within("tool_s", seconds, 0)
    within("tool_spread", spread, 0)
    within("failure", failure, 0, 1)
    whole("retries", retries, 0)
    whole("tool_slots", slots, 0)
    desks: dict[simpy.Environment, simpy.Resource] = {}

    def use(query: Query, llm: LLM) -> Waiting:
        for _ in range(1 + retries):
            took = seconds * math.exp(spread * query.normal()) if spread else seconds
            worked = not failure or query.uniform() >= failure
            yield from serve(query, llm, took)
            if query.over:
                return False
            if worked:
                return True
        return False

    def serve(query: Query, llm: LLM, took: float) -> Generator[simpy.Event, Any, None]:
        if not slots:
            yield llm.wait(took)
            return
        now = llm.wait(0.0)
        if now.env not in desks:
            desks.clear()  # of a run before
            desks[now.env] = simpy.Resource(now.env, slots)
        with desks[now.env].request() as turn:
            yield turn if math.isinf(query.deadline_s) else turn | llm.wait(query.deadline_s - llm.now)
            yield llm.wait(took)

    return use


def side_by_side(llm: LLM, steps: Iterable[Generator[simpy.Event, Any, Any]]) -> list[simpy.Process]:
    """Start several generators at once; each process triggers with what its generator returns."""
    env = llm.wait(0.0).env
    return [env.process(step) for step in steps]


def joined(llm: LLM, events: Sequence[simpy.Event]) -> simpy.Event:
    """An event for when all of these have ended; at once for none."""
    return simpy.AllOf(llm.wait(0.0).env, events)


def within(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Refuse a parameter that is not a number in [least, most].

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        span = f"in [{least:g}, {most:g}]" if most < math.inf else f">= {least:g}"
        raise ValueError(f"{name}: {value!r} is not a number {span}")


def whole(name: str, value: int, least: int = 1) -> None:
    """Refuse a parameter that is not a whole number of at least `least`.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: {value!r} is not a whole number >= {least}")


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a parameter that is none of these words.

    Raises:
        ValueError: it is not.
    """
    if value not in allowed:
        raise ValueError(f"{name}: {value!r} is none of {', '.join(allowed)}")
