"""What one rank of an engine computes and moves in a step: operators as (FLOPs, bytes), without any hardware.

An operator knows its shape, so that a measured table can price it as well as a roofline. All figures are
of ONE layer on ONE rank; `layers` says how many times the step does it. A multiply-add is 2 FLOPs.

Traffic counted: weights once a step, inputs and outputs of every kernel once. Attention reads each sequence's
keys and values once (tiles that read them again hit the cache on chip).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from foretell.models.moe import (
    expected_distinct_experts,
    expected_distinct_skewed,
    most_loaded_rank_factor,
    zipf_popularity,
)
from foretell.models.numeric import least


@dataclass(frozen=True, slots=True)
class Linear:
    """Work linear in one figure x of the load: a matrix multiplication, or passes over activations.

    Attributes:
        name: what it is.
        kind: "gemm" or "memory" (elementwise and copies): its class of efficiency.
        driver: the figure x: "tokens", "sampled", "prefill_context", "decode_seqs".
        layers: times a step does it.
        precision: key of the peak it computes under.
        rows, columns: outputs n and inputs k of a matrix multiplication (x, k)·(k, n), 0 otherwise.
        flops_per, bytes_per: for every unit of x.
        weight_bytes: read once if x > 0.
        launches: kernels.
        weights: format of the weights, a key of ELEMENT_BYTES; empty without weights.

    """

    name: str
    kind: str
    driver: str
    layers: int
    precision: str
    rows: int
    columns: int
    flops_per: float
    bytes_per: float
    weight_bytes: float = 0.0
    launches: int = 1
    weights: str = ""

    def work(self, x: Any) -> tuple[Any, Any]:
        """FLOPs and bytes of one layer."""
        return self.flops_per * x, self.weight_bytes * (x > 0) + self.bytes_per * x


@dataclass(frozen=True, slots=True)
class Experts:
    """The routed experts of one layer, on the most loaded of the ranks that share them.

    The step lasts until the fullest rank is done: its tokens count (`most_loaded_rank_factor`), and as many
    more of its experts are read, up to all it has.

    Attributes:
        num_experts, top_k: of the whole layer.
        expert_ranks: ranks that hold different experts (1: every rank has a slice of each).
        hidden_size, intermediate_size: of the slice that this rank has of an expert.
        tokens_per_token: tokens that all data-parallel ranks send, for each token of this rank's step.
        flops_per: for each (token, expert) pair.
        bytes_per: activations moved for each pair.
        expert_bytes: weights of one expert's slice.
        popularity: of each expert, empty when all are equal.
        weights: format of the experts' weights, a key of ELEMENT_BYTES.
        tensor_ranks: ranks that share one expert, each with a slice of its width.

    """

    name: str
    layers: int
    precision: str
    num_experts: int
    top_k: int
    expert_ranks: int
    hidden_size: int
    intermediate_size: int
    tokens_per_token: int
    flops_per: float
    bytes_per: float
    expert_bytes: float
    popularity: tuple[float, ...] = ()
    launches: int = 4  # align, two grouped multiplications, sum
    kind: str = "moe"
    driver: str = "tokens"
    weights: str = "bf16"
    tensor_ranks: int = 1

    def work(self, x: Any) -> tuple[Any, Any]:
        """FLOPs and bytes of one layer on the fullest rank for x tokens on this rank's engine."""
        tokens = x * self.tokens_per_token
        factor = most_loaded_rank_factor(tokens * self.top_k, self.expert_ranks)
        held = self.num_experts / self.expert_ranks
        pairs = least(tokens * self.top_k / self.expert_ranks * factor, tokens * min(self.top_k, held))
        if self.popularity:
            distinct = expected_distinct_skewed(tokens, self.popularity, self.top_k)
        else:
            distinct = expected_distinct_experts(tokens, self.num_experts, self.top_k)
        distinct = least(distinct / self.expert_ranks * factor, held)
        return self.flops_per * pairs, self.expert_bytes * distinct + self.bytes_per * pairs


@dataclass(frozen=True, slots=True)
class Attend:
    """Attention over the KV cache in one layer, of prefill entries or of decoding ones.

    Under a sliding window of W, Σ min(context, W) is taken as count·min(mean, W), that is min(pairs,
    tokens·W): sums alone tell no more. It never undercounts; at most by a third over for one prompt twice as
    long as the window, and right for contexts all above or all below it.

    Attributes:
        phase: "prefill" or "decode".
        num_heads, num_kv_heads, head_dim: on this rank (of MLA's decode, one KV head as wide as the latent).
        window: tokens seen, None for all.
        flops_per_pair: for each query–key pair, all heads.
        flops_per_query, bytes_per_query: for each query token.
        bytes_per_key: for each cached token read.
        bytes_per_sequence: state of linear attention, read and written.
        element_bytes: of a cached element.
        latent: whether it is MLA's: the whole context on every rank, as one latent a token.

    """

    name: str
    phase: str
    layers: int
    precision: str
    num_heads: int
    num_kv_heads: int
    head_dim: int
    window: int | None
    flops_per_pair: float
    bytes_per_key: float
    flops_per_query: float
    bytes_per_query: float
    bytes_per_sequence: float = 0.0
    element_bytes: float = 2.0
    launches: int = 1
    latent: bool = False

    @property
    def kind(self) -> str:
        """Its class of efficiency."""
        narrow = "narrow_" if self.phase == "decode" and self.element_bytes < 2.0 else ""
        return f"{narrow}{self.phase}_attention"

    def work(self, queries: Any, pairs: Any, context: Any, sequences: Any) -> tuple[Any, Any]:
        """FLOPs and bytes of one layer (a decode: queries = sequences, pairs = context)."""
        if self.window is not None:
            pairs = least(pairs, queries * self.window)
            context = least(context, sequences * (self.window - 1) + queries)
        flops = self.flops_per_pair * pairs + self.flops_per_query * queries
        return flops, (
            self.bytes_per_key * context
            + self.bytes_per_query * queries
            + self.bytes_per_sequence * sequences
        )


Operator = Linear | Experts | Attend


def expert_popularity(num_experts: int, skew: float) -> tuple[float, ...]:
    """Popularity for `Experts`: Zipf with exponent `skew`, empty (uniform) for 0."""
    return zipf_popularity(num_experts, skew) if skew > 0 else ()
