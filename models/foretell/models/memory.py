"""How many KV blocks fit beside a model: vLLM's start-up arithmetic, with a band where it cannot be known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from foretell.models.architecture import Architecture
from foretell.models.engine_memory import (
    DEFAULT_VERSION,
    GIB,
    EngineMemory,
    activation_bytes,
    engine_memory,
    runtime_bytes,
)
from foretell.models.hardware import Accelerator, Hardware
from foretell.models.layers import step_operators
from foretell.models.operators import Experts, Linear
from foretell.models.parallelism import (
    Parallelism,
    kv_elements_per_rank,
    layers_per_stage,
    validate_parallelism,
)
from foretell.models.precision import ELEMENT_BYTES, Precision

_RESERVED_BYTES = 0.5 * GIB
"""What NVIDIA's driver keeps of the memory that nvidia-smi reports: PyTorch sees about 79.2 GiB of an H100's
79.6 and 23.5 of an RTX 4090's 24.0."""
_WEIGHTS_BAND = 0.01
"""Weights that servers logged lie within this fraction of the estimate; small buffers are not counted."""
_MXFP4_PAD = 256
"""gpt-oss's experts of 2,880 take 3,072 wide in memory: so the logs of data/kv_capacity.toml say."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What fits on the fullest rank.

    Attributes:
        num_gpu_blocks: KV blocks, the null block among them.
        low, high: a band of them.
        bytes_per_block: on this rank.
        block_size: tokens of a block.
        memory_bytes: what gpu_memory_utilization leaves to the engine.
        weights_bytes: the weights on this rank.
        activation_bytes: the peak of a profiling step.
        runtime_bytes: context, libraries, communication buffers.
        notes: what was approximated.

    """

    num_gpu_blocks: int
    low: int
    high: int
    bytes_per_block: float
    block_size: int
    memory_bytes: float
    weights_bytes: float
    activation_bytes: float
    runtime_bytes: float
    notes: tuple[str, ...] = ()

    @property
    def kv_bytes(self) -> float:
        """Memory of all blocks."""
        return self.num_gpu_blocks * self.bytes_per_block

    @property
    def num_kv_tokens(self) -> int:
        """Tokens that fit."""
        return self.num_gpu_blocks * self.block_size


def reserved_bytes(accelerator: Accelerator) -> float:
    """Bytes of an accelerator's memory that its driver keeps from PyTorch."""
    return _RESERVED_BYTES if accelerator.vendor.lower() == "nvidia" else 0.0


def kv_bytes_per_token(
    architecture: Architecture,
    parallelism: Parallelism,
    precision: Precision,
    mean_context_tokens: float | None = None,
) -> float:
    """Bytes that a token of context takes in the KV cache of the fullest rank.

    KV heads are shared over the tensor-parallel ranks, and copied where there are more ranks than heads;
    MLA's latent is whole on every rank. Sliding-window layers count in full by default, as in a pool
    without vLLM's hybrid manager; with `mean_context_tokens` C given, a layer with window W counts W/C of a
    token where C is longer. vLLM's groups of layers share one pool of like pages; the average stands for it.
    """
    elements = 0.0
    for group in architecture.layers:
        window = group.attention.sliding_window
        share = 1.0
        if window is not None and mean_context_tokens is not None:
            share = min(1.0, window / mean_context_tokens)
        tp = parallelism.tensor_parallel_size
        elements += share * group.count * kv_elements_per_rank(group.attention, tp)
    stage = layers_per_stage(architecture, parallelism.pipeline_parallel_size) / architecture.num_layers
    return elements * stage * ELEMENT_BYTES[precision.kv_cache]


def weights_bytes(
    architecture: Architecture, parallelism: Parallelism, precision: Precision, hardware: Hardware
) -> float:
    """Bytes of the weights on the fullest rank.

    Matrices are shared over tensor-parallel ranks, layers over stages, experts over tensor × data ranks;
    embedding, head, router and whatever the checkpoint leaves alone are bf16. Norms and biases are left out.
    """
    layers = ends = 0.0
    for op in step_operators(
        architecture, parallelism, precision, hardware.accelerator.peak_flops, expert_skew=0.0
    ):
        if isinstance(op, Experts):
            # kernels of MXFP4 pad an expert's width
            padded = math.ceil(op.intermediate_size / _MXFP4_PAD) * _MXFP4_PAD / op.intermediate_size
            held = op.layers * op.expert_bytes * op.num_experts / op.expert_ranks
            layers += held * (padded if op.weights == "mxfp4" else 1.0)
        elif isinstance(op, Linear):
            if op.driver == "sampled":
                ends = max(ends, op.weight_bytes)
            else:
                layers += op.layers * op.weight_bytes
    table = architecture.embedding_parameters() * 2.0 / parallelism.tensor_parallel_size
    pp = parallelism.pipeline_parallel_size
    stage = layers_per_stage(architecture, pp) / architecture.num_layers
    tied = architecture.tie_word_embeddings and architecture.reward_labels is None
    if pp > 1:
        return layers * stage + max(table, ends)
    return layers + table + (0.0 if tied else ends)


def kv_capacity(
    architecture: Architecture,
    hardware: Hardware,
    parallelism: Parallelism,
    precision: Precision,
    *,
    block_size: int = 16,
    gpu_memory_utilization: float = 0.92,
    max_num_batched_tokens: int = 8192,
    max_num_seqs: int = 1024,
    mean_context_tokens: float | None = None,
    engine_version: str = DEFAULT_VERSION,
    engine: EngineMemory | None = None,
    enforce_eager: bool = False,
) -> Capacity:
    """Estimate vLLM's num_gpu_blocks: ⌊(memory·utilisation − weights − activations − runtime) / block⌋.

    Runtime and activations are those of vLLM's start-up profiling at `engine_version` (`engine` in its
    place gives other constants): see `engine_memory`. CUDA graphs take nothing with `enforce_eager`.
    A hybrid of attention and constant states shares one pool, whose padding is left out. Prefer the number
    in the server's log.

    Source: the form is vLLM's start-up profiling; constants fitted to 36 logged starts (docs/energy.md).

    Raises:
        ValueError: a setting out of range, a plan that cannot work, or a model that does not fit: by how
            much, and the smallest tensor_parallel_size that would do.

    """
    if not 0 < gpu_memory_utilization <= 1:
        raise ValueError(f"gpu_memory_utilization: {gpu_memory_utilization!r} is not in (0, 1]")
    for name, value in (
        ("block_size", block_size),
        ("max_num_batched_tokens", max_num_batched_tokens),
        ("max_num_seqs", max_num_seqs),
    ):
        if value < 1:
            raise ValueError(f"{name}: {value!r} is not an integer >= 1")
    if mean_context_tokens is not None and not mean_context_tokens > 0:
        raise ValueError(f"mean_context_tokens: {mean_context_tokens!r} is not > 0")
    validate_parallelism(architecture, hardware, parallelism)
    accelerator = hardware.accelerator
    memory = (accelerator.memory_bytes - reserved_bytes(accelerator)) * gpu_memory_utilization
    weights = weights_bytes(architecture, parallelism, precision, hardware)
    engine = engine or engine_memory(engine_version)
    if enforce_eager:
        engine = dataclasses.replace(engine, graph_bytes_per_layer=0.0)
    activations = activation_bytes(architecture, parallelism, max_num_batched_tokens, max_num_seqs, engine)
    runtime = runtime_bytes(architecture, parallelism, engine)
    per_token = kv_bytes_per_token(architecture, parallelism, precision, mean_context_tokens)
    if per_token <= 0:
        raise ValueError(f"{architecture.name}: no layer keeps a KV cache; give num_gpu_blocks instead")
    block = per_token * block_size

    def blocks(factor: float, weights_factor: float = 1.0) -> int:
        return math.floor((memory - weights_factor * weights - factor * (activations + runtime)) / block)

    # two blocks: the null block and one to work with
    if blocks(1.0) < 2:
        short = 2 * block - (memory - weights - activations - runtime)
        raise ValueError(
            f"{architecture.name} does not fit on {hardware.name} with tensor_parallel_size "
            f"{parallelism.tensor_parallel_size}: {short / GIB:.1f} GiB a rank short at "
            f"gpu_memory_utilization {gpu_memory_utilization:g}; "
            + _advice(
                architecture,
                hardware,
                parallelism,
                precision,
                memory,
                lambda plan: (
                    activation_bytes(architecture, plan, max_num_batched_tokens, max_num_seqs, engine)
                    + runtime_bytes(architecture, plan, engine)
                ),
            )
        )
    notes = ["num_gpu_blocks is estimated; the server's log has the true number"]
    if any(group.attention.sliding_window for group in architecture.layers):
        how = "in full" if mean_context_tokens is None else f"for a mean context of {mean_context_tokens:g}"
        notes.append(f"sliding-window layers count {how}")
    return Capacity(
        num_gpu_blocks=blocks(1.0),
        low=max(2, blocks(engine.high, 1 + _WEIGHTS_BAND)),
        high=blocks(engine.low, 1 - _WEIGHTS_BAND),
        bytes_per_block=block,
        block_size=block_size,
        memory_bytes=memory,
        weights_bytes=weights,
        activation_bytes=activations,
        runtime_bytes=runtime,
        notes=tuple(notes),
    )


def _advice(
    architecture: Architecture,
    hardware: Hardware,
    parallelism: Parallelism,
    precision: Precision,
    memory: float,
    overhead: Callable[[Parallelism], float],
) -> str:
    """The smallest tensor_parallel_size with room, in words."""
    size = parallelism.tensor_parallel_size
    while size < 64:
        size *= 2
        plan = dataclasses.replace(parallelism, tensor_parallel_size=size)
        try:
            validate_parallelism(architecture, hardware, plan)
        except ValueError:
            continue
        if weights_bytes(architecture, plan, precision, hardware) + overhead(plan) < 0.98 * memory:
            return f"tensor_parallel_size {size} would fit"
    return "no tensor_parallel_size up to 64 fits; use narrower weights or larger accelerators"
