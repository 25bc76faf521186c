"""A measured run on two pools, prefill and decode apart, simulated as the closed loop it was."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from foretell.models.architecture import Architecture
from foretell.models.engine_memory import EngineMemory
from foretell.models.hardware import Hardware
from foretell.models.memory import kv_capacity
from foretell.models.parallelism import Parallelism
from foretell.models.tabulated import TabulatedCost
from foretell.models.transfer import KVTransfer, kv_transfer
from foretell.sim.client import Client
from foretell.sim.config import EngineConfig
from foretell.sim.disaggregated import EnginePool, simulate_disaggregated
from foretell.validate.closed_loop import closed_loop
from foretell.validate.server_runs import ServerRun
from foretell.validate.silicon_rows import MeasuredRow, Pool

Lengths = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
_BLOCK_SIZE = 16
_STATIC = EngineMemory((0, 0), 0.0, 0.0, 0.0, 0.0, 1.0, 1.0)
"""Nothing besides weights and KV cache: what else an engine keeps is outside of the share it was given."""
_ROUTER = "least_outstanding"
_LEAST_CONCURRENCY, _LEAST_ENGINES = 256, 2
"""Of a slice of a deployment. So cut, the mean time per token of 12 deployments moved by 0.1 % at most, that
to the first token by up to 8 % (few engines share their queues less). Half of the requests instead would move
the latter by 50 %, as all clients start at once."""


def pools_of(
    row: MeasuredRow, hardware: Hardware, architecture: Architecture
) -> tuple[EngineConfig, EngineConfig, KVTransfer]:
    """The settings of a prefill and of a decode engine, and what joins them.

    Raises:
        ValueError: the row has no pools.

    """
    prefill, decode = _pools(row)
    run = row.run
    ranks = sum(pool.workers * pool.parallelism.world_size for pool in (prefill, decode))
    node = hardware.node
    transfer = kv_transfer(
        architecture,
        run.precision,
        node.intra if ranks <= node.accelerators else node.inter,
        prefill.parallelism,
        decode.parallelism,
    )
    prompt, answer = (float(np.mean(bounds)) for bounds in (run.prompt_tokens, run.output_tokens))
    configs = [
        engine_of(run, pool.parallelism, context, hardware, architecture)
        for pool, context in ((prefill, prompt), (decode, prompt + answer / 2))
    ]
    return configs[0], configs[1], transfer


def engine_of(
    run: ServerRun, plan: Parallelism, context_tokens: float, hardware: Hardware, architecture: Architecture
) -> EngineConfig:
    """The settings of one engine of a run, its KV cache estimated for requests of so many tokens."""
    return EngineConfig(
        num_gpu_blocks=num_blocks(run, plan, context_tokens, hardware, architecture),
        max_num_seqs=run.max_num_seqs,
        max_num_batched_tokens=max(run.max_num_batched_tokens, run.max_num_seqs),
        async_scheduling=True,
    )


def simulate_pools(
    row: MeasuredRow,
    prefill_cost: TabulatedCost,
    decode_cost: TabulatedCost,
    prefill_config: EngineConfig,
    decode_config: EngineConfig,
    transfer: KVTransfer,
    lengths: Lengths,
    client: Client,
) -> tuple[float, float]:
    """Mean time to first token and mean time per output token as the client measures them [s].

    The ranks of data-parallel attention are engines, each with a queue of its own. The stream comes from the
    decode engine, as behind Dynamo and SGLang's and vLLM's routers, so that the first token waits for the
    transfer. Of many like engines a slice is simulated (`slice_of`).

    Args:
        row: with both pools.
        prefill_cost, decode_cost: seconds of a step of one engine.
        prefill_config, decode_config, transfer: as by `pools_of`.
        lengths: prompt and output tokens of all requests.
        client: the way to the prefill engine.

    Raises:
        ValueError: the row has no pools.

    """
    prefill, decode = _pools(row)
    counts = [pool.workers * pool.parallelism.data_parallel_size for pool in (prefill, decode)]
    parts = slice_of(counts[0], counts[1], row.run.concurrency)
    n = len(lengths[0]) // parts
    concurrency, client = row.run.concurrency // parts, _slower(client, parts)
    trace = closed_loop(lengths[0][:n], lengths[1][:n], concurrency, client)
    run = simulate_disaggregated(
        trace,
        EnginePool(prefill_cost, prefill_config, counts[0] // parts, _ROUTER),
        EnginePool(decode_cost, decode_config, counts[1] // parts, _ROUTER),
        transfer,
        first_token="decode",
    )
    gaps = np.maximum(run.output_tokens - 1, 1)
    assert trace.think_s is not None
    way = np.concatenate([trace.arrival_s[:concurrency], trace.think_s[concurrency:]])
    ttft = np.nanmean(run.first_token_s - run.arrival_s + way)
    return float(ttft), float(np.nanmean((run.finish_s - run.first_token_s) / gaps))


def num_blocks(
    run: ServerRun,
    parallelism: Parallelism,
    context: float,
    hardware: Hardware,
    architecture: Architecture,
) -> int:
    """KV blocks of an engine: vLLM's by its profiling, others' by the share that weights and KV may take.

    The servers ran. Where weights leave less by this than two of the longest requests take, they had those.
    """
    vllm = run.backend == "vllm"
    least = 1 + 2 * math.ceil((run.prompt_tokens[1] + run.output_tokens[1]) / _BLOCK_SIZE)
    try:
        capacity = kv_capacity(
            architecture,
            hardware,
            parallelism,
            run.precision,
            block_size=_BLOCK_SIZE,
            gpu_memory_utilization=run.gpu_memory_utilization,
            max_num_batched_tokens=run.max_num_batched_tokens if vllm else 1,
            max_num_seqs=run.max_num_seqs if vllm else 1,
            mean_context_tokens=context,
            engine=None if vllm else _STATIC,
            engine_version=engine_version(run),
        )
    except ValueError:
        return least
    return max(capacity.num_gpu_blocks, least)


def engine_version(run: ServerRun) -> str:
    """The version whose KV cache is estimated: the run's, or that of most runs where it is not known."""
    return ".".join(map(str, run.release)) if run.backend == "vllm" and run.release != (0, 0) else "0.19"


def slice_of(prefill: int, decode: int, concurrency: int) -> int:
    """Into how many like parts engines and clients can be cut, each of which stands for the whole.

    All that couples the parts is the router, which keeps them even; a part keeps some requests in flight.
    """
    whole = math.gcd(prefill, decode, concurrency)
    most = min(whole, concurrency // _LEAST_CONCURRENCY, min(prefill, decode) // _LEAST_ENGINES)
    return max((k for k in range(1, most + 1) if whole % k == 0), default=1)


def _slower(client: Client, parts: int) -> Client:
    """The client of one of `parts`: the first requests come one by one from a single client."""
    in_line = ("request_s", "per_prompt_token_s", "per_stream_s")
    return dataclasses.replace(client, **{name: getattr(client, name) * parts for name in in_line})


def _pools(row: MeasuredRow) -> tuple[Pool, Pool]:
    if row.prefill is None or row.decode is None:
        raise ValueError(f"row {row.run.id}: it has no pools; give one of mode disagg")
    return row.prefill, row.decode
