"""Measured rows simulated as the closed loops they were, many at a time."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.pricing import operator_cost, operator_timer
from foretell.models.residual import CLIENT, Residual, residual_keys
from foretell.models.tabulated import TabulatedCost
from foretell.sim.client import Client
from foretell.sim.config import EngineConfig
from foretell.validate.backends import TunedMatrices, backend_cost
from foretell.validate.closed_loop import LoopFeatures, simulate_loop, uniform_lengths
from foretell.validate.pools import engine_of, pools_of, simulate_pools
from foretell.validate.server_runs import ServerRun
from foretell.validate.silicon_rows import MeasuredRow

Array = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]
_TRITON_EXPERTS = "0.19.0"
"""A version of the tables whose FP8 experts on Blackwell are Triton's."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A row to simulate.

    Attributes:
        row: as measured.
        scales: of terms and client, by name.
        operator_times: "silicon" or "curves".

    """

    row: MeasuredRow
    scales: Residual
    operator_times: str = "silicon"


def keys_of(row: MeasuredRow) -> tuple[str, ...]:
    """What a row's scales depend on; releases are vLLM's."""
    run = row.run
    keys = residual_keys(run.model, run.accelerator, run.version)
    return keys if run.backend == "vllm" else tuple(key for key in keys if not key.startswith("release:"))


def simulate_rows(loops: Sequence[Loop], progress: Progress | None = None) -> list[LoopFeatures | str]:
    """Simulate on all processors, repeats once: what was found, or why nothing was, in the order given."""
    plain = [_without_measurement(loop) for loop in loops]
    distinct = sorted({_order(loop): loop for loop in plain}.items())
    found: dict[tuple[str, ...], LoopFeatures | str] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(simulate_row, [loop for _, loop in distinct], chunksize=8)
        for (key, _), result in zip(distinct, results, strict=True):
            found[key] = result
            if progress:
                progress(len(found) * len(loops) // len(distinct), len(loops))
    return [found[_order(loop)] for loop in plain]


def simulate_row(loop: Loop) -> LoopFeatures | str:
    """Simulate one row; a reason where that is impossible."""
    run, row = loop.row.run, loop.row
    scales = loop.scales.at(keys_of(row))
    client = client_of(scales)
    terms = {name: value for name, value in scales.items() if name not in CLIENT}
    lengths = uniform_lengths(run.prompt_tokens, run.output_tokens, run.num_requests)
    try:
        if row.prefill and row.decode:
            architecture, hardware = load_architecture(run.model), load_hardware(run.accelerator)
            costs = [
                pool_cost(run, pool.parallelism, loop.operator_times).scaled(terms)
                for pool in (row.prefill, row.decode)
            ]
            ttft_s, tpot_s = simulate_pools(
                row, costs[0], costs[1], *pools_of(row, hardware, architecture), lengths, client
            )
            nothing = np.zeros(0)
            return LoopFeatures(ttft_s, tpot_s, nothing, nothing, 0, 0)
        cost = own_cost(run, run.parallelism, loop.operator_times).scaled(terms)
        engines = run.parallelism.data_parallel_size
        return simulate_loop(cost, config_of(run), engines, lengths, run.concurrency, client)
    except ValueError as error:
        return str(error)


def config_of(run: ServerRun) -> EngineConfig:
    """The settings of one engine, its KV cache estimated."""
    prompt, output = (sum(bounds) / 2 for bounds in (run.prompt_tokens, run.output_tokens))
    hardware, architecture = load_hardware(run.accelerator), load_architecture(run.model)
    return engine_of(run, run.parallelism, prompt + output / 2, hardware, architecture)


def client_of(scales: Mapping[str, float]) -> Client:
    """The way to the engine that the scales of CLIENT stand for."""
    return Client(
        latency_s=1e-3 * scales["client"],
        per_prompt_token_s=1e-6 * scales["client_1k"],
        per_stream_s=1e-6 * scales["client_stream"],
    )


def own_cost(run: ServerRun, plan: Parallelism, operator_times: str) -> TabulatedCost:
    """Seconds of a step of an engine that does both phases, before any scaling."""
    early = (run.model, run.accelerator) == ("minimax-m2.5", "b200") and run.release == (0, 17)
    # its script sets VLLM_USE_FLASHINFER_MOE_FP8=0
    return _operators(
        run.model,
        run.accelerator,
        plan,
        run.precision,
        operator_times,
        run.backend,
        _TRITON_EXPERTS if early and run.backend == "vllm" else None,
    )


def pool_cost(run: ServerRun, plan: Parallelism, operator_times: str) -> TabulatedCost:
    """Seconds of a step of an engine of a pool, before any scaling."""
    if operator_times != "silicon":
        return own_cost(run, plan, operator_times)
    return _backend_cost(dataclasses.replace(run, concurrency=0, num_requests=0), plan)


@cache
def _backend_cost(run: ServerRun, plan: Parallelism) -> TabulatedCost:
    return backend_cost(run, plan, load_architecture(run.model), load_hardware(run.accelerator))


@cache
def _operators(
    model: str,
    accelerator: str,
    plan: Parallelism,
    precision: Precision,
    operator_times: str,
    backend: str,
    version: str | None,
) -> TabulatedCost:
    hardware = load_hardware(accelerator)
    times = operator_timer(operator_times, hardware, backend, version)
    if (operator_times, backend) == ("silicon", "trtllm"):
        times = TunedMatrices(times, operator_timer("silicon", hardware))
    return operator_cost(load_architecture(model), hardware, plan, precision, times=times)


def _without_measurement(loop: Loop) -> Loop:
    return dataclasses.replace(loop, row=dataclasses.replace(loop.row, run=loop.row.run.unmeasured()))


def _order(loop: Loop) -> tuple[str, ...]:
    """Like costs one after another; equal where two loops are one simulation."""
    run = loop.row.run
    return run.backend, loop.row.mode, run.model, run.accelerator, repr(run), repr(loop)
