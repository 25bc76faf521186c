"""What the ranks of an engine send each other in a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from foretell.models.architecture import Architecture
from foretell.models.collectives import Group, all_gather_s, all_reduce_s, make_group, point_to_point_s
from foretell.models.hardware import Hardware
from foretell.models.parallelism import Parallelism

_ACTIVATION_BYTES = 2.0


@dataclass(frozen=True, slots=True)
class Transfer:
    """One kind of message.

    Attributes:
        name: what is sent.
        operation: "all_reduce", "all_gather" (a reduce-scatter costs the same) or "point_to_point".
        count: times a step does it.
        driver: "tokens" or "sampled".
        bytes_per: bytes of the whole message for every unit of the driver.
        group: who takes part.

    """

    name: str
    operation: str
    count: int
    driver: str
    bytes_per: float
    group: Group

    def seconds(self, x: Any, efficiency: float) -> Any:
        """Seconds of all `count` of them at x units, when links reach `efficiency` of their bandwidth."""
        num_bytes = x * (self.bytes_per / efficiency)
        if self.operation == "all_reduce":
            return self.count * all_reduce_s(num_bytes, self.group)
        if self.operation == "all_gather":
            return self.count * all_gather_s(num_bytes, self.group)
        link = self.group.intra if self.group.nodes == 1 else self.group.inter
        return self.count * point_to_point_s(num_bytes, link)


def step_transfers(
    architecture: Architecture, hardware: Hardware, parallelism: Parallelism
) -> tuple[Transfer, ...]:
    """Messages of one step of one data-parallel rank, as vLLM sends them.

    Tensor parallel: an all-reduce after attention and one after the MLP of every layer, one after the
    embedding, a gather of logits, and where queries and keys are normed across all heads (MiniMax) one of
    two fp32 sums of squares a token. Pipeline: hidden states and residual between stages. Data parallel
    with experts: an all-gather of the tokens of all ranks before the experts and a reduce-scatter after
    them (vLLM's default "allgather_reducescatter" back end, with or without expert parallelism); the other
    ranks are assumed to step with a like load.
    """
    tp, pp = parallelism.tensor_parallel_size, parallelism.pipeline_parallel_size
    dp, node = parallelism.data_parallel_size, hardware.node
    hidden = architecture.hidden_size * _ACTIVATION_BYTES
    transfers: list[Transfer] = []
    if tp > 1:
        group = make_group(tp, 1, node)
        count = 2 * architecture.num_layers + 1
        transfers.append(Transfer("tensor_all_reduce", "all_reduce", count, "tokens", hidden, group))
        whole = sum(g.count for g in architecture.layers if g.attention.qk_norm == "full")
        if whole:
            transfers.append(Transfer("qk_norm_all_reduce", "all_reduce", whole, "tokens", 8.0, group))
        if architecture.reward_labels is None:
            row = architecture.vocab_size * _ACTIVATION_BYTES
            transfers.append(Transfer("logits_gather", "all_gather", 1, "sampled", row, group))
    if pp > 1:
        # stages are neighbours: a hop leaves the node only where two stages do not share one
        group = make_group(2, tp, node)
        transfers.append(Transfer("stage_hop", "point_to_point", pp - 1, "tokens", 2 * hidden / tp, group))
    layers = sum(group.count for group in architecture.layers if group.mlp.num_experts)
    if dp > 1 and layers:
        group = make_group(dp, tp * pp, node)
        transfers.append(Transfer("expert_exchange", "all_gather", 2 * layers, "tokens", dp * hidden, group))
    return tuple(transfers)
