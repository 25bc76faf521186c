"""A closed loop over two pools in closed form: prefill, transfer, decode, and round again.

Of n requests in flight those that decode fix the rate X, as in `frontier_loops`; the others are on their way
there: X·(way + prefill + transfer). A prefill engine is a queue of whole steps with half the wait of a random
one, as prompts are alike (M/D/1); what is left of n decodes. As n is fixed, its line cannot grow for ever.

Validity: as in `frontier_loops`; links are not shared. Clients that all start at once queue for prefill, and
again a round later, as answers are alike: that second wave is left out, so that TTFT is too short.
"""

from __future__ import annotations

import math

import numpy as np

from foretell.models.queueing import EngineLimits, Lengths
from foretell.models.queueing.backlog import step_s
from foretell.models.queueing.saturation import with_in_flight
from foretell.models.stepcost import StepCost
from foretell.models.transfer import KVTransfer
from foretell.sim.client import Client
from foretell.validate.frontier_loops import burst_s, solver

_HALVINGS = 40


def pool_times(
    costs: tuple[StepCost, StepCost],
    limits: tuple[EngineLimits, EngineLimits],
    engines: tuple[int, int],
    transfer: KVTransfer,
    law: Lengths,
    concurrency: int,
    client: Client | None = None,
    rounds: float = math.inf,
) -> tuple[float, float]:
    """Mean time to first token and per output token, as the client has them [s].

    The first token comes from the decode pool, after the transfer.

    Args:
        costs, limits, engines: of a prefill and of a decode engine, and how many there are of each.
        transfer: between two of them.
        law, concurrency, client, rounds: as in `frontier_loops.loop_times`.

    """
    client = client or Client()
    way_s = float(client.there_s(law.prompt.astype(np.int64)).mean() + client.back_s(concurrency))
    move_s = transfer.latency_s + transfer.token_s * law.mean_prompt
    budget = float(limits[0].max_num_batched_tokens)
    steps = math.ceil(law.mean_prompt / budget)
    alone_s = steps * step_s(costs[0], law, 0.0, law.mean_prompt / steps, budget)
    full = min(budget, law.mean_prompt * concurrency / engines[0])
    least_s = min(step_s(costs[0], law, 0.0, full, budget) * law.mean_prompt / full, alone_s)
    held = Lengths(np.ones_like(law.prompt), law.output, law.prompt)
    solve = solver(costs[1], limits[1], held)

    def prefill_s(rate: float) -> float:
        rho = rate * least_s / engines[0]
        return math.inf if rho >= 1 else alone_s + rho / (2 * (1 - rho)) * least_s

    low, high = 0.0, concurrency / engines[1]
    for _ in range(_HALVINGS):
        inside = (low + high) / 2
        rate = with_in_flight(solve, inside).rate_per_s * engines[1]
        elsewhere = rate * (way_s + prefill_s(rate) + move_s)
        low, high = (inside, high) if elsewhere + inside * engines[1] < concurrency else (low, inside)
    at = with_in_flight(solve, max(low, 1e-6))
    rate, running, decoding = at.rate_per_s, at.limit, at.decoding
    line_s = max(low - running, 0.0) / rate
    tpot_s = step_s(costs[1], held, max(decoding, min(low, 1.0)), 0.0, 1.0)
    steady_s = way_s + prefill_s(rate * engines[1]) + move_s + line_s + 1.5 * tpot_s
    if math.isinf(rounds):
        return steady_s, tpot_s
    first_s = burst_s(costs[0], limits[0], law, client, concurrency, engines[0]) + move_s + line_s + tpot_s
    return steady_s + (first_s - steady_s) / rounds, tpot_s
