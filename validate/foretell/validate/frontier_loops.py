"""A closed loop in closed form: so many requests always in flight, a new one sent as an answer ends.

To an engine that is what `saturated` solves: a line that never ends, with as many slots as requests. So with
N of them inside the rate X(N) is known, and by Little's law a request takes N/X. Of that the time to first
token is: the wait in line where the engine takes fewer; the rest of the running step, with asynchronous
scheduling the planned one too; the steps of the own prompt. What is left are the gaps between tokens. The
client's way takes X·way requests out of the engine.

A benchmark ends. Of its r rounds of n requests the first comes all at once, and its prompts delay each other
instead of decoding requests: TTFT is the burst's for one in r, and what prompts add to TPOT is less by
1/(2r).

Validity: like prompts, no prefix hits, no speculation. How far it is from the simulation of the same runs
with the same costs is in docs/frontier.md: little in TPOT and the whole request; TTFT comes out too short.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt

from foretell.models.queueing import EngineLimits, Lengths, Saturated, saturated
from foretell.models.queueing.backlog import step_s
from foretell.models.queueing.saturation import with_in_flight
from foretell.models.stepcost import StepCost
from foretell.sim.client import Client

Array = npt.NDArray[np.float64]
_ITERATIONS = 4


def loop_times(
    cost: StepCost,
    limits: EngineLimits,
    law: Lengths,
    concurrency: int,
    engines: int = 1,
    client: Client | None = None,
    rounds: float = math.inf,
) -> tuple[float, float]:
    """Mean time to first token and per output token, as the client has them [s].

    Args:
        cost: seconds of a step of one engine.
        limits: of one engine.
        law: of the requests, at most some thousand of them.
        concurrency: requests in flight, evenly over the engines.
        engines: like ones.
        client: the way to them.
        rounds: requests in all, in multiples of the concurrency, the first of which come at once.

    """
    client = client or Client()
    prompts = law.prompt.astype(np.int64)
    way_s = float(client.there_s(prompts).mean() + client.back_s(concurrency))
    n = concurrency / engines
    solve = solver(cost, limits, law)
    inside, rate, running, decoding = n, 0.0, n, n
    for _ in range(_ITERATIONS):
        at = with_in_flight(solve, inside)
        rate, running, decoding = at.rate_per_s, at.limit, at.decoding
        inside = max(n - rate * way_s, 0.5 * n)
    cycle_s = inside / rate
    others = max(running - 1, 0.0)
    own_s = _prompt_s(cost, law, limits, others)
    bare_s = step_s(cost, law, decoding, 0.0, 1.0)
    waits = inside > running * (1 + 1e-9) + 1
    if waits:
        line_s, rest_s = (inside - running) / rate, 0.0
    else:
        # A running step that has a prompt is longer, and more likely to be met; its prompt may share ours.
        busy = min(rate * others / max(running, 1.0) * own_s, 0.95)
        met_s = bare_s + busy * max(own_s - bare_s, 0.0)
        planned_s = bare_s if limits.async_scheduling else 0.0
        line_s = 0.0
        rest_s = 0.5 * met_s + planned_s + (met_s - bare_s) if inside > 1 else 0.0
    ttft_s = line_s + rest_s + own_s
    tpot_s = max((cycle_s - ttft_s) / max(law.decode_steps, 1e-6), bare_s)
    ttft_s += way_s
    if math.isinf(rounds):
        return ttft_s, tpot_s
    late_s = ttft_s if waits else burst_s(cost, limits, law, client, concurrency, engines)
    ttft_s += (late_s - ttft_s) / rounds
    return ttft_s, tpot_s - (tpot_s - bare_s) / (2 * rounds)


def solver(cost: StepCost, limits: EngineLimits, law: Lengths) -> Callable[[int], Saturated]:
    """`saturated` by the number of slots, each solved once."""

    @cache
    def solve(slots: int) -> Saturated:
        return saturated(cost, law, replace(limits, max_num_seqs=min(slots, limits.max_num_seqs)))

    return solve


def _prompt_s(cost: StepCost, law: Lengths, limits: EngineLimits, others: float) -> float:
    """Seconds of the steps that compute a prompt while others decode."""
    room = max(limits.max_num_batched_tokens - others, 1.0)
    steps = math.ceil(law.mean_prompt / room)
    return steps * step_s(cost, law, others, law.mean_prompt / steps, room)


def burst_s(
    cost: StepCost, limits: EngineLimits, law: Lengths, client: Client, concurrency: int, engines: int
) -> float:
    """Mean time to first token of requests that all come at once, in steps as full as they can be."""
    prompts = np.resize(law.prompt, concurrency).astype(np.int64)
    at_s = client.reached_s(np.zeros(concurrency), prompts)[::engines]
    mine = prompts[::engines].astype(np.float64)
    budget = float(limits.max_num_batched_tokens)
    tokens = min(float(mine.sum()), budget)
    work_s = mine * (step_s(cost, law, 0.0, tokens, budget) / tokens)
    done = np.cumsum(work_s)
    first_s = done + np.maximum.accumulate(at_s - np.concatenate([[0.0], done[:-1]]))
    return float(first_s.mean() + client.back_s(concurrency))
