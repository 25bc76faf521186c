"""A measured closed loop, simulated: its lengths, its schedule, and the seconds of every cost term in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.tabulated import TabulatedCost
from foretell.sim.client import Client
from foretell.sim.config import EngineConfig
from foretell.sim.simulation import Run, simulate
from foretell.sim.term_times import latency_terms
from foretell.traces import Trace

Array = npt.NDArray[np.float64]


def way_s(client: Client, prompt_tokens: npt.NDArray[np.int64], concurrency: int) -> Array:
    """Seconds on both ways, of requests in their order; the first `concurrency` of them come at once."""
    way = client.there_s(prompt_tokens)
    way[:concurrency] = client.reached_s(np.zeros(len(way[:concurrency])), prompt_tokens[:concurrency])
    return way + client.back_s(concurrency)


def uniform_lengths(
    prompt: tuple[int, int], output: tuple[int, int], num_requests: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The lengths that vLLM's benchmark of random prompts draws with its default seed 0, ends included.

    InferenceX's bench_serving (Apache-2.0) seeds numpy's legacy generator with 0, then draws all prompt
    lengths and all output lengths: the same figures in every run.
    """
    rng = np.random.RandomState(0)
    prompts = rng.randint(prompt[0], prompt[1] + 1, size=num_requests)
    return prompts.astype(np.int64), rng.randint(output[0], output[1] + 1, size=num_requests).astype(np.int64)


def closed_loop(
    prompts: npt.NDArray[np.int64], outputs: npt.NDArray[np.int64], concurrency: int, client: Client
) -> Trace:
    """Requests sent as answers come in, each `client` later at the engine; the first ones queue there."""
    way = way_s(client, prompts, concurrency)
    arrival = np.full(len(prompts), way[:concurrency].max())  # of the others: never before the first ones
    arrival[:concurrency] = way[:concurrency]
    return Trace(
        arrival_s=arrival,
        prompt_tokens=prompts,
        output_tokens=outputs,
        think_s=way,
        concurrency=concurrency,
    )


@dataclass(frozen=True, slots=True)
class LoopFeatures:
    """Means over a run's requests, linear in a cost's scales as long as the schedule stays.

    Attributes:
        ttft_s: as simulated, and the client's way.
        tpot_s: as simulated, of requests of more than one token; 0 if there are none.
        ttft_terms, tpot_terms: seconds of every term of TERMS, not scaled, in them.
        steps: of all engines.
        preemptions: likewise.

    """

    ttft_s: float
    tpot_s: float
    ttft_terms: Array
    tpot_terms: Array
    steps: int
    preemptions: int


def loop_features(run: Run, costs: list[TabulatedCost], way_s: Array) -> LoopFeatures:
    """Measure a run recorded with `loads`, at clients `way_s` away; single tokens have no time per token."""
    terms = latency_terms(run, [cost.terms for cost in costs])
    gaps = run.output_tokens - 1
    waits = run.first_token_s - run.arrival_s + way_s
    per_token = ((run.finish_s - run.first_token_s) / np.maximum(gaps, 1))[gaps > 0]
    return LoopFeatures(
        float(waits.mean()),
        float(per_token.mean()) if len(per_token) else 0.0,
        terms["ttft"],
        terms["tpot"],
        sum(e.steps for e in run.engines),
        int(run.n_preemptions.sum()),
    )


def simulate_loop(
    cost: TabulatedCost,
    config: EngineConfig,
    engines: int,
    lengths: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    concurrency: int,
    client: Client,
) -> LoopFeatures:
    """Simulate a closed loop over `engines` like engines, and measure it."""
    trace = closed_loop(*lengths, concurrency, client)
    run = simulate(trace, cost, config, replicas=engines, router="least_outstanding", loads=True)
    return loop_features(run, [cost] * engines, way_s(client, lengths[0], concurrency))
