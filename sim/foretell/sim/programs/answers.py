"""Votes over answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

from foretell.sim.programs.llm import Call, Query


def majority(calls: Iterable[Call], query: Query) -> int | None:
    """The most frequent answer; a tie is settled by a draw; None where nobody has one."""
    answered = [call for call in calls if call.answer is not None]
    return weighted_majority(answered, repeat(1.0), query)


def weighted_majority(calls: Sequence[Call], weights: Iterable[float], query: Query) -> int | None:
    """The answer with most weight; a tie is settled by a draw; None where nobody has one."""
    mass: dict[int, float] = {}
    for call, weight in zip(calls, weights, strict=False):
        if call.answer is not None:
            mass[call.answer] = mass.get(call.answer, 0.0) + weight
    if not mass:
        return None
    most = max(mass.values())
    top = [answer for answer, held in mass.items() if held == most]
    return top[0] if len(top) == 1 else top[int(query.uniform() * len(top))]
