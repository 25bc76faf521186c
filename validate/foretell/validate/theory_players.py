"""Queues played by chance: on foretell's own engines, and by recursions that share no code with them.

A mean service is one second. The engines get constant step costs, so that slots are servers and answers are
services (a step a token), or costs per token of a prompt, so that one step is one service of any length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models import AffineCost, StepCost, constant_cost
from foretell.models.queueing import BatchTime
from foretell.sim import EngineConfig, simulate
from foretell.sim.simulation import Run
from foretell.traces import Trace
from foretell.validate.theory_laws import Law, Tokens

Array = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Array]
PROMPT = 16
_VAST = 1 << 22


def engine(
    arrival_s: Array, prompt: Tokens, output: Tokens, cost: StepCost, replicas: int = 1, **settings: Any
) -> Run:
    """An engine that only its slots bound; by default one slot."""
    most = {"max_num_seqs": 1, "max_num_batched_tokens": _VAST, "max_model_len": _VAST, **settings}
    config = EngineConfig(num_gpu_blocks=2000, block_size=_VAST, **most)
    return simulate(Trace(arrival_s, prompt, output), cost, config, replicas=replicas)


def arrivals(rng: np.random.Generator, rate: float, count: int, scv: float = 1.0) -> Array:
    """Times of arrivals with independent gamma gaps; scv 0 is constant, 1 Poisson."""
    if scv == 0:
        return np.arange(count) / rate
    return np.cumsum(rng.gamma(1 / scv, scv / rate, count))


def by_answers(arrival_s: Array, answer: Tokens, step_s: float, slots: int = 1) -> tuple[Array, Array]:
    """(waits, finishes): each token of an answer takes a step of `step_s`."""
    prompt = np.full(len(answer), PROMPT)
    run = engine(arrival_s, prompt, answer, constant_cost(step_s), max_num_seqs=slots)
    return run.first_token_s - arrival_s - step_s, run.finish_s


def by_prompts(arrival_s: Array, prompt: Tokens, token_s: float, replicas: int = 1) -> tuple[Array, Array]:
    """(waits, finishes): answers of one token, whose step takes so long for each token of the prompt."""
    cost = AffineCost(0.0, token_s)
    run = engine(arrival_s, prompt, np.ones_like(prompt), cost, replicas)
    return run.finish_s - arrival_s - token_s * prompt, run.finish_s


def lindley(arrival_s: Array, service_s: Array) -> Array:
    """Waits at one server: W' = max(0, W + S − gap)."""
    steps = np.concatenate([[0.0], service_s[:-1] - np.diff(arrival_s)])
    sums = np.cumsum(steps)
    return np.asarray(sums - np.minimum.accumulate(sums), dtype=np.float64)


def kiefer_wolfowitz(arrival_s: Array, service_s: Array, servers: int) -> Array:
    """Waits at several servers behind one line: whoever comes takes the first to be free."""
    import heapq

    free = [0.0] * servers
    waits = np.empty(len(arrival_s))
    for i, (at, takes) in enumerate(zip(arrival_s.tolist(), service_s.tolist(), strict=True)):
        start = max(at, free[0])
        heapq.heapreplace(free, start + takes)
        waits[i] = start - at
    return waits


def static_batches(arrival_s: Array, answer: Tokens, time: BatchTime, most: int, policy: str) -> Array:
    """Waits until one's batch starts, batch by batch: dynamic, fixed or elastic as in `bulk_queue`."""
    waits = np.full(len(arrival_s), np.nan)
    now, i = 0.0, 0
    while i < len(arrival_s) - most:
        need = most if policy == "fixed" else 1
        now = max(now, float(arrival_s[i + need - 1]))
        b = min(most, int(np.searchsorted(arrival_s[i : i + most], now, side="right")))
        own = answer[i : i + b]
        longest = int(own.max())
        work = int(own.sum()) if policy == "elastic" else b * longest
        waits[i : i + b] = now - arrival_s[i : i + b]
        now += time.per_request_s * b + time.fixed_s
        now += time.per_request_token_s * work + time.per_token_s * longest
        i += b
    return waits


def services(law: Law, mean_s: float = 1.0) -> Draw:
    """Services of a law, scaled to a mean."""
    return lambda rng, count: np.asarray(law.draw(rng, count) * (mean_s / law.mean), dtype=np.float64)
