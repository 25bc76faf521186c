"""Closed loops in closed form against the simulation of the same loop, request by request."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from foretell.models import AffineCost
from foretell.models.queueing import Lengths, saturated
from foretell.models.transfer import KVTransfer
from foretell.sim.analytic_engines import limits_of_engine
from foretell.sim.client import Client
from foretell.sim.config import EngineConfig
from foretell.sim.disaggregated import EnginePool, simulate_disaggregated
from foretell.sim.simulation import simulate
from foretell.validate.closed_loop import closed_loop, uniform_lengths, way_s
from foretell.validate.frontier_loops import loop_times
from foretell.validate.frontier_pools import pool_times

COST = AffineCost(base_s=6e-3, per_token_s=2e-5, per_seq_s=5e-5, per_context_token_s=2e-8)
CLIENT = Client(latency_s=5e-3, per_prompt_token_s=2e-6, per_stream_s=1e-5)
ROUNDS = 10


def config(**settings: int | bool) -> EngineConfig:
    given: dict[str, int | bool] = {
        "num_gpu_blocks": 100_000,
        "max_num_seqs": 256,
        "max_num_batched_tokens": 8192,
        "async_scheduling": True,
    }
    return EngineConfig(**(given | settings))  # type: ignore[arg-type]


def law(lengths: tuple[np.ndarray, np.ndarray]) -> Lengths:
    return Lengths(*(each.astype(np.float64) for each in lengths))


def simulated(
    settings: EngineConfig, prompt: int, output: int, concurrency: int, engines: int
) -> tuple[float, float]:
    prompts, outputs = uniform_lengths(
        (int(0.8 * prompt), prompt), (int(0.8 * output), output), ROUNDS * concurrency
    )
    trace = closed_loop(prompts, outputs, concurrency, CLIENT)
    run = simulate(trace, COST, settings, replicas=engines, router="least_outstanding")
    ttft = run.first_token_s - run.arrival_s + way_s(CLIENT, prompts, concurrency)
    gaps = (run.finish_s - run.first_token_s) / (run.output_tokens - 1)
    return float(ttft.mean()), float(gaps.mean())


@pytest.mark.parametrize(
    ("prompt", "output", "concurrency", "engines", "settings"),
    [
        (1024, 256, 4, 1, {}),
        (1024, 256, 64, 1, {}),
        (1024, 256, 64, 4, {}),
        (4096, 128, 32, 1, {}),
        (1024, 256, 32, 1, {"async_scheduling": False}),
        (512, 256, 64, 1, {"max_num_seqs": 32}),
    ],
    ids=["few", "many", "engines", "long prompts", "synchronous", "a line"],
)
def test_a_closed_loop_is_that_of_the_simulation(
    prompt: int, output: int, concurrency: int, engines: int, settings: dict[str, int | bool]
) -> None:
    of = config(**settings)
    lengths = uniform_lengths((int(0.8 * prompt), prompt), (int(0.8 * output), output), 2048)
    ttft, tpot = loop_times(COST, limits_of_engine(of), law(lengths), concurrency, engines, CLIENT, ROUNDS)
    true_ttft, true_tpot = simulated(of, prompt, output, concurrency, engines)
    steps = 0.9 * output - 1
    assert tpot == pytest.approx(true_tpot, rel=0.05)
    assert ttft + steps * tpot == pytest.approx(true_ttft + steps * true_tpot, rel=0.04)
    assert ttft == pytest.approx(true_ttft, rel=0.3)


def test_an_endless_loop_without_a_client_is_the_line_that_never_ends() -> None:
    of = config()
    lengths = law(uniform_lengths((800, 1000), (200, 256), 2048))
    ttft, tpot = loop_times(COST, limits_of_engine(of), lengths, 32)
    cycle = ttft + lengths.decode_steps * tpot
    rate = saturated(COST, lengths, limits_of_engine(config(max_num_seqs=32))).rate_per_s
    assert 32 / cycle == pytest.approx(rate, rel=1e-9)  # Little's law


def test_more_requests_in_flight_never_slow_the_server_nor_speed_a_user_up() -> None:
    of = limits_of_engine(config())
    lengths = law(uniform_lengths((800, 1000), (200, 256), 2048))
    times = [loop_times(COST, of, lengths, n, 1, CLIENT, ROUNDS) for n in (1, 2, 4, 8, 16, 32, 64, 128)]
    assert all(a[1] <= b[1] for a, b in pairwise(times))
    rates = [n / (t + 228 * g) for n, (t, g) in zip((1, 2, 4, 8, 16, 32, 64, 128), times, strict=True)]
    assert rates == sorted(rates)


def test_two_pools_are_those_of_the_simulation() -> None:
    concurrency, engines = 48, (2, 2)
    bounds = ((1600, 2000), (200, 256))
    prompts, outputs = uniform_lengths(*bounds, ROUNDS * concurrency)
    of, transfer = config(), KVTransfer(token_s=2e-6, latency_s=1e-3)
    prefill, decode = (EnginePool(COST, of, count, "least_outstanding") for count in engines)
    trace = closed_loop(prompts, outputs, concurrency, CLIENT)
    run = simulate_disaggregated(trace, prefill, decode, transfer, first_token="decode")
    true_ttft = float((run.first_token_s - run.arrival_s + way_s(CLIENT, prompts, concurrency)).mean())
    true_tpot = float(((run.finish_s - run.first_token_s) / (run.output_tokens - 1)).mean())
    lengths = law(uniform_lengths(*bounds, 2048))
    ttft, tpot = pool_times(
        (COST, COST),
        (limits_of_engine(of), limits_of_engine(of)),
        engines,
        transfer,
        lengths,
        concurrency,
        CLIENT,
        ROUNDS,
    )
    assert tpot == pytest.approx(true_tpot, rel=0.05)
    assert ttft + 228 * tpot == pytest.approx(true_ttft + 228 * true_tpot, rel=0.05)


def test_a_prefill_pool_that_is_too_small_sets_the_pace() -> None:
    lengths = law(uniform_lengths((6400, 8000), (50, 64), 2048))
    of = limits_of_engine(config())
    ttft, tpot = pool_times((COST, COST), (of, of), (1, 8), KVTransfer(), lengths, 512)
    rate = 512 / (ttft + lengths.decode_steps * tpot)
    alone = float(COST(lengths.mean_prompt, 0.0, lengths.mean_prompt, 1.0, 0.0, 0.0, 1.0))
    assert rate <= 1.15 / alone
    assert ttft > 100 * alone  # the line is in front of the prompts
