"""A user's own program, watched: what goes wrong in it is told in one line that names it."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import simpy

from foretell.sim.programs.llm import LLM, Program, Query, Steps

MOST_STEPS = 100_000
"""No query waits so often; one that does has a program without an end."""


def watched(program: Program, name: str) -> Program:
    """The same program, whose errors are ValueErrors that name it.

    Told are exceptions with their line, what is no generator, what it yields that is no event, an answer that
    is no integer, and a query that waits `MOST_STEPS` times.
    """

    def run(query: Query, llm: LLM) -> Steps:
        try:
            steps = program(query, llm)
        except Exception as error:
            raise ValueError(f"{name}: {_told(error)}") from error
        if not isinstance(steps, Generator):
            raise ValueError(f"{name}: its program gives {steps!r}; it must be a generator, with a yield")
        step, sent = steps.send, None
        for _ in range(MOST_STEPS):
            try:
                event = step(sent)
            except StopIteration as end:
                return _answer(end.value, name)
            except Exception as error:
                raise ValueError(f"{name}: {_told(error)}") from error
            if not isinstance(event, simpy.Event):
                raise ValueError(f"{name}: it yields {event!r}, which is no event; yield calls and waits")
            step, sent = steps.send, (yield event)
        raise ValueError(f"{name}: query {query.id} waits {MOST_STEPS:,} times without an answer; let it end")

    return run


def _answer(value: object, name: str) -> int | None:
    if value is None or (isinstance(value, int | np.integer) and value >= 0):
        return value if value is None else int(value)
    raise ValueError(
        f"{name}: it answers {value!r}; an answer is a whole number >= 0, RIGHT being 0, or None"
    )


def _told(error: Exception) -> str:
    """Its kind, text and the innermost line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    line = f" (line {trace.tb_lineno} of {trace.tb_frame.f_code.co_filename})" if trace is not None else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{line}"
