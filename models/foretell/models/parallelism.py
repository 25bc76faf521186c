"""How a model is spread over accelerators, and whether it can be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from foretell.models.architecture import Architecture, Attention
from foretell.models.hardware import Hardware


@dataclass(frozen=True, slots=True)
class Parallelism:
    """Degrees of parallelism under vLLM's names.

    Attributes:
        tensor_parallel_size: ranks that share every matrix.
        pipeline_parallel_size: stages that share the layers.
        data_parallel_size: engines with schedulers of their own. Attention and dense layers are copied; in
            a mixture of experts the experts are spread over all tensor × data ranks.
        enable_expert_parallel: whole experts are dealt to ranks, instead of slices of every expert.

    Raises:
        ValueError: a degree below 1.

    """

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    enable_expert_parallel: bool = False

    def __post_init__(self) -> None:
        for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: {value!r} is not an integer >= 1")

    @property
    def world_size(self) -> int:
        """Accelerators in all."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def expert_ranks(self) -> int:
        """Ranks that the routed experts of a layer are spread over."""
        return self.tensor_parallel_size * self.data_parallel_size


def kv_heads_per_rank(attention: Attention, tensor_parallel_size: int) -> int:
    """KV heads on one tensor-parallel rank: a share, or one copy where there are more ranks than heads."""
    return max(attention.num_kv_heads // tensor_parallel_size, 1)


def kv_elements_per_rank(attention: Attention, tensor_parallel_size: int) -> int:
    """KV-cache elements that a token adds to one layer on one rank; MLA's latent is on every rank whole."""
    if attention.linear or attention.mla is not None:
        return attention.kv_elements_per_token()
    return kv_heads_per_rank(attention, tensor_parallel_size) * (attention.head_dim + attention.value_dim)


def layers_per_stage(architecture: Architecture, pipeline_parallel_size: int) -> int:
    """Layers of the fullest pipeline stage."""
    return math.ceil(architecture.num_layers / pipeline_parallel_size)


def validate_parallelism(architecture: Architecture, hardware: Hardware, parallelism: Parallelism) -> None:
    """Check that vLLM could start this.

    Raises:
        ValueError: the first of the degrees that cannot work, by vLLM's flag name, and what would.

    """
    tp, pp = parallelism.tensor_parallel_size, parallelism.pipeline_parallel_size
    name = architecture.name
    for group in architecture.layers:
        heads, kv_heads = group.attention.num_heads, group.attention.num_kv_heads
        if heads % tp:
            allowed = [d for d in range(1, heads + 1) if heads % d == 0 and d <= 64]
            raise ValueError(
                f"tensor_parallel_size: {tp} does not divide the {heads} attention heads of {name}; "
                f"use one of {', '.join(map(str, allowed))}"
            )
        if group.attention.mla is None and not group.attention.linear and kv_heads % tp and tp % kv_heads:
            raise ValueError(
                f"tensor_parallel_size: {tp} neither divides nor is a multiple of "
                f"the {kv_heads} KV heads of {name}"
            )
        mlp = group.mlp
        if (
            mlp.num_experts
            and parallelism.enable_expert_parallel
            and mlp.num_experts < parallelism.expert_ranks
        ):
            raise ValueError(
                f"enable_expert_parallel: {parallelism.expert_ranks} ranks (tensor × data) are more than the "
                f"{mlp.num_experts} experts of {name}"
            )
        width = mlp.intermediate_size
        if mlp.num_experts and not parallelism.enable_expert_parallel:
            if width % parallelism.expert_ranks:
                raise ValueError(
                    f"tensor_parallel_size: {parallelism.expert_ranks} ranks (tensor × data) do not divide "
                    f"the expert width {width} of {name}; set enable_expert_parallel or use fewer"
                )
        elif not mlp.num_experts and width % tp:
            raise ValueError(
                f"tensor_parallel_size: {tp} does not divide intermediate_size {width} of {name}"
            )
    if pp > architecture.num_layers:
        raise ValueError(
            f"pipeline_parallel_size: {pp} stages are more than "
            f"the {architecture.num_layers} layers of {name}"
        )
    per_node, world = hardware.node.accelerators, parallelism.world_size
    if world > per_node and world % per_node:
        raise ValueError(
            f"tensor_parallel_size × pipeline_parallel_size × data_parallel_size: {world} accelerators are "
            f"more than a node {hardware.node.name} of {per_node} and no multiple of it"
        )
    if tp > per_node and tp % per_node:
        raise ValueError(
            f"tensor_parallel_size: {tp} spans nodes of {per_node} and is no multiple of {per_node}"
        )
    if parallelism.enable_expert_parallel and not architecture.is_moe:
        raise ValueError(f"enable_expert_parallel: {name} has no experts; leave it off")
