"""What vLLM keeps of an accelerator's memory besides weights and KV blocks, by version of the engine."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from foretell.models.architecture import Architecture
from foretell.models.parallelism import Parallelism

GIB = 2.0**30
DEFAULT_VERSION = "0.32"
"""The version that the presets speak of."""
_ROW_BYTES = 2.0  # activations are bf16


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """What start-up profiling takes, from a version on; fitted by `foretell.validate.kv.fit_engines`.

    Attributes:
        since: the first version it holds for, (major, minor).
        logit_bytes: for each logit of a profiled batch of max_num_seqs (sampling sorts them before 0.17).
        runtime_bytes: context, libraries and workspaces of a rank.
        communication_bytes: NCCL and custom all-reduce buffers of a rank that talks to others.
        graph_bytes_per_layer: CUDA graphs' share (profiled since 0.21; before, they came on top).
        low, high: factors on the sum of all this that hold nine of ten logged runs.

    """

    since: tuple[int, int]
    logit_bytes: float
    runtime_bytes: float
    communication_bytes: float
    graph_bytes_per_layer: float
    low: float
    high: float


def version_tuple(version: str) -> tuple[int, int]:
    """(major, minor) of a version such as "0.32" or "0.11.2rc1".

    Raises:
        ValueError: not a version.

    """
    parts = str(version).removeprefix("v").split(".")
    if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        raise ValueError(f'engine_version: {version!r} is not a version of vLLM such as "0.32"')
    return int(parts[0]), int(parts[1])


@cache
def capacity_data() -> dict[str, Any]:
    """The bundled record of logged capacities (`run`) and of what was fitted to them (`engine`)."""
    return tomllib.loads((files("foretell.models") / "data" / "kv_capacity.toml").read_text(encoding="utf-8"))


def engine_memory(version: str = DEFAULT_VERSION) -> EngineMemory:
    """Find what holds for a version of vLLM; versions older than all serve as the oldest.

    Raises:
        ValueError: not a version.

    """
    wanted = version_tuple(version)
    engines = [
        EngineMemory(**(entry | {"since": version_tuple(entry["since"])}))
        for entry in capacity_data()["engine"]
    ]
    held = [engine for engine in engines if engine.since <= wanted]
    return max(held or engines[:1], key=lambda engine: engine.since)


def activation_bytes(
    architecture: Architecture,
    parallelism: Parallelism,
    max_num_batched_tokens: int,
    max_num_seqs: int,
    engine: EngineMemory,
) -> float:
    """Peak of activations in vLLM's profiling step.

    The larger of a layer on max_num_batched_tokens (residual, hidden and two more rows of the hidden size,
    and the widest of attention and MLP) and of sampling max_num_seqs rows of logits; the workspace of a
    mixture of experts (both products of every token's top_k) outlives the layer and comes on top.
    """
    tp, hidden = parallelism.tensor_parallel_size, architecture.hidden_size
    widest = workspace = 0.0
    for group in architecture.layers:
        attention, mlp = group.attention, group.mlp
        width = (2 * attention.num_heads * attention.head_dim + 2 * attention.kv_elements_per_token()) / tp
        matrices = 3 if mlp.gated else 2
        dense = mlp.shared_intermediate_size if mlp.num_experts else mlp.intermediate_size
        widest = max(widest, width, matrices * dense / tp)
        if mlp.num_experts:
            inner = mlp.intermediate_size / (
                1 if parallelism.enable_expert_parallel else parallelism.expert_ranks
            )
            rows = mlp.top_k * parallelism.data_parallel_size  # tokens of all ranks are gathered
            workspace = max(workspace, rows * (max((matrices - 1) * inner, hidden) + max(inner, hidden)))
    layer = max_num_batched_tokens * (4 * hidden + widest) * _ROW_BYTES
    sampling = min(max_num_seqs, max_num_batched_tokens) * architecture.vocab_size * engine.logit_bytes
    return max(layer, sampling) + max_num_batched_tokens * workspace * _ROW_BYTES


def runtime_bytes(architecture: Architecture, parallelism: Parallelism, engine: EngineMemory) -> float:
    """Memory of one rank outside weights, activations and KV blocks: context, buffers and CUDA graphs."""
    talks = parallelism.tensor_parallel_size * parallelism.data_parallel_size > 1
    layers = architecture.num_layers / parallelism.pipeline_parallel_size
    return (
        engine.runtime_bytes
        + (engine.communication_bytes if talks else 0.0)
        + engine.graph_bytes_per_layer * layers
    )
