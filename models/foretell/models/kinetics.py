"""What a query costs by arithmetic and by memory: the cost laws of "Kinetics".

Source: Sadhukhan et al., "Kinetics: Rethinking Test-Time Scaling Laws", arXiv 2506.05333 (2025-06), and the
authors' cost_model/utils.py (github.com/Infini-AI-Lab/Kinetics at e776559, read 2026-11). Symbols, as there:
P parameters that a token is multiplied with; N trials; c prompt tokens; g generated tokens of a trial; n_l
layers; H query heads; K KV heads; d head dim; B tokens of KV that sparse attention reads; I FLOP that the
hardware could do while it reads a byte.

    kv(g)  = Σ_{t=1..g} min(c + t, B)                                     [KV tokens read by one trial]
    FLOP   = N·(2·P·g + 4·kv·H·d·n_l)        bytes = N·4·kv·K·d·n_l  [16-bit KV; dense: prompt shared]
    eFLOPs = FLOP + I·bytes

The published law stops here; the default adds what it drops: reads of the parameters, the prefill, writes of
KV and, over several accelerators, the all-reduces. Everything takes arrays, which broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models.architecture import Architecture
from foretell.models.hardware import Accelerator
from foretell.models.moe import expected_distinct_experts

FloatArray = npt.NDArray[np.float64]
PAPER_INTENSITY = 562.5
"""FLOP/byte, "B200" in the paper: 4500 TFLOP/s (dense FP8) over 8 TB/s. Weights and KV there are 16-bit,
for which the same accelerator has 281."""


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """The figures of a model that the laws need; embeddings that are only looked up are in none of them.

    Attributes:
        name: of the model.
        parameters: weights that a step may have to read.
        active_parameters: P, weights that one token is multiplied with.
        layers, heads, kv_heads, head_dim, hidden_size: n_l, H, K, d, and the width between layers.
        experts, top_k: routed experts of a layer, and how many a token meets; 0 for a dense model.
        expert_parameters: weights of one expert, of all layers together.
        weight_bytes, kv_bytes: of one weight, and of one element of the KV cache.

    Raises:
        ValueError: a figure that is not positive.

    """

    name: str
    parameters: float
    active_parameters: float
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden_size: int
    experts: int = 0
    top_k: int = 0
    expert_parameters: float = 0.0
    weight_bytes: float = 2.0
    kv_bytes: float = 2.0

    def __post_init__(self) -> None:
        for name in ("parameters", "active_parameters", "layers", "heads", "kv_heads", "head_dim"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{self.name}: {name}: {getattr(self, name)!r} is not a number > 0")

    def kv_bytes_of(self, tokens: npt.ArrayLike) -> FloatArray:
        """Bytes of the KV cache of so many tokens."""
        return np.multiply(2.0 * self.layers * self.kv_heads * self.head_dim * self.kv_bytes, tokens)

    def weights_read_bytes(self, tokens: npt.ArrayLike) -> FloatArray:
        """Bytes of weights that a step of so many tokens reads: all, or of a mixture the experts it meets.

        Experts are equally popular and tokens routed independently (foretell.models.moe).
        """
        count = np.asarray(tokens, dtype=np.float64)
        read = self.parameters + 0.0 * count
        if self.experts:
            met = expected_distinct_experts(count, self.experts, self.top_k)
            read = read - (self.experts - met) * self.expert_parameters
        return np.asarray(self.weight_bytes * read, dtype=np.float64)


def shape_of(model: Architecture, weight_bytes: float = 2.0, kv_bytes: float = 2.0) -> DecoderShape:
    """The shape of a model whose layers all have plain (grouped-query) attention.

    Raises:
        ValueError: it has windows, latent (MLA) or linear attention, or layers of unlike attention.

    """
    plain = {(g.attention.num_heads, g.attention.num_kv_heads, g.attention.head_dim) for g in model.layers}
    odd = [a for a in (g.attention for g in model.layers) if a.linear or a.mla or a.sliding_window]
    if odd or len(plain) > 1:
        raise ValueError(
            f"model {model.name}: the Kinetics laws are for models whose layers all have the same plain "
            "attention, without windows, MLA or linear layers"
        )
    looked_up = 0 if model.tie_word_embeddings else model.embedding_parameters()
    routed = [g for g in model.layers if g.mlp.num_experts]
    (heads, kv_heads, head_dim) = plain.pop()
    return DecoderShape(
        name=model.name,
        parameters=model.parameters() - looked_up,
        active_parameters=model.active_parameters() - looked_up,
        layers=model.num_layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        hidden_size=model.hidden_size,
        experts=routed[0].mlp.num_experts if routed else 0,
        top_k=routed[0].mlp.top_k if routed else 0,
        expert_parameters=sum(g.count * g.mlp.expert_parameters(model.hidden_size) for g in routed),
        weight_bytes=weight_bytes,
        kv_bytes=kv_bytes,
    )


@dataclass(frozen=True, slots=True)
class Sparse:
    """Attention to the `budget` KV tokens that matter most.

    Attributes:
        budget: B, KV tokens read at most by a generated token; an array, or infinite for dense attention.
        block: tokens of a block where whole blocks are chosen by one key each (block top-k); None for an
            oracle that knows the best tokens at no cost.

    """

    budget: Any = np.inf
    block: Any = None


DENSE = Sparse()


@dataclass(frozen=True, slots=True)
class Law:
    """What a cost law keeps.

    Attributes:
        exact_sums: add up KV lengths token by token, instead of by integrals.
        parameter_reads, prefill, kv_writes, links: keep these terms.
        sign_bug: of the published top-k script, B·g + ½·max(0, B − c)² where − is meant: 1 to 2 % too
            much at B = 512, several times too much at B = 2048 and short g. Only without exact sums.

    """

    exact_sums: bool = True
    parameter_reads: bool = True
    prefill: bool = True
    kv_writes: bool = True
    links: bool = True
    sign_bug: bool = False


WHOLE = Law()
PAPER = Law(
    exact_sums=False, parameter_reads=False, prefill=False, kv_writes=False, links=False, sign_bug=True
)
"""The published formulas, with the bug that the published sparse figures were made with."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a query costs.

    Attributes:
        flops: floating-point operations.
        memory_bytes: read and written in accelerators' memories.
        link_bytes: sent between accelerators.

    """

    flops: Any
    memory_bytes: Any
    link_bytes: Any = 0.0

    def __add__(self, other: Cost) -> Cost:
        """Both costs together."""
        return Cost(
            self.flops + other.flops,
            self.memory_bytes + other.memory_bytes,
            self.link_bytes + other.link_bytes,
        )

    def eflops(self, intensity: float, link_intensity: float = 0.0, overlap: bool = False) -> Any:
        """Equivalent FLOP: arithmetic and transfers added up, as published, or the longest if they overlap.

        Args:
            intensity: I, FLOP a byte of memory; 0 counts FLOP alone.
            link_intensity: the same for links.
            overlap: take the greatest instead of the sum, as a roofline does.

        """
        parts = self.flops, intensity * self.memory_bytes, link_intensity * self.link_bytes
        if overlap:
            return np.maximum(np.maximum(parts[0], parts[1]), parts[2])
        return parts[0] + parts[1] + parts[2]


def intensity(accelerator: Accelerator, precision: str = "bf16") -> float:
    """FLOP that an accelerator could do while it reads one byte: I = peak/bandwidth.

    Raises:
        ValueError: it has no such precision.

    """
    if precision not in accelerator.peak_flops:
        known = ", ".join(accelerator.peak_flops)
        raise ValueError(f"precision: {accelerator.name} has no peak_flops.{precision}; it has {known}")
    return accelerator.peak_flops[precision] / accelerator.memory_Bps


def kv_tokens_read(prompt: Any, generated: Any, budget: Any = np.inf) -> FloatArray:
    """Σ_{t=1..g} min(c + t, B): KV tokens that the generation of one trial reads, exactly."""
    c, g, b = (np.asarray(x, dtype=np.float64) for x in (prompt, generated, budget))
    below = np.clip(b - c, 0.0, g)  # steps whose whole context is read
    capped = (g - below) * np.where(np.isfinite(b), b, 0.0)
    return np.asarray(below * c + below * (below + 1) / 2 + capped, dtype=np.float64)


def query_cost(
    shape: DecoderShape,
    prompt: npt.ArrayLike,
    generated: npt.ArrayLike,
    trials: npt.ArrayLike = 1,
    *,
    attention: Sparse = DENSE,
    law: Law = WHOLE,
    batch: npt.ArrayLike = 1,
    tensor_parallel_size: int = 1,
) -> Cost:
    """Cost of one query: its prompt once, and `trials` answers of `generated` tokens each.

    The paper's P counts the tied embedding of Qwen3-0.6B and 1.7B twice (0.752 and 2.03 ×10⁹, what their
    files hold) and the untied input embedding of 8B to 32B, which is only looked up.

    Args:
        shape: the model; N trials of g tokens after c = `prompt` ones.
        prompt, generated, trials: c, g, N.
        attention: dense, top-k or block top-k. Dense trials read the prompt's KV once a step together (as
            cascade attention does), sparse ones each for itself, as published.
        law: which terms are kept; PAPER for the published formulas.
        batch: queries that are decoded together and share reads of the parameters; many: reads vanish.
        tensor_parallel_size: accelerators that share every matrix; two all-reduces a layer and token.

    """
    c, g, n, b = (np.asarray(x, dtype=np.float64) for x in (prompt, generated, trials, batch))
    width, kv_width = (h * shape.head_dim * shape.layers for h in (shape.heads, shape.kv_heads))
    copies = max(1.0, tensor_parallel_size / shape.kv_heads)  # ranks beyond the KV heads hold copies
    element = shape.kv_bytes * kv_width * copies
    read, shared = _kv_sums(c, g, n, attention, law)
    flops = n * (2 * shape.active_parameters * g + 4 * read * width)
    memory = 2 * element * shared
    if attention.block is not None:
        sought, sought_shared = _searches(c, g, n, attention.block, law)
        flops = flops + 2 * n * sought * width
        memory = memory + element * sought_shared
    tokens = n * g
    if law.prefill:
        flops = flops + 2 * shape.active_parameters * c + 2 * c * (c + 1) * width
        tokens = tokens + c
    if law.kv_writes:
        memory = memory + 2 * element * tokens
    if law.parameter_reads:
        memory = memory + g * shape.weights_read_bytes(n * b) / b
        if law.prefill:
            memory = memory + shape.weights_read_bytes(c) / b
    sent: Any = 0.0
    if law.links:  # a ring all-reduce of bf16 sends 2·(tp − 1)/tp of the message from each rank
        sent = tokens * 2 * shape.layers * 2 * (tensor_parallel_size - 1) * shape.hidden_size * 2.0
    return Cost(flops, memory, sent)


def attention_over_parameters(
    shape: DecoderShape, generated: Any, prompt: Any, intensity: float = PAPER_INTENSITY
) -> Any:
    """Φ = [2·r·c·D + (r + I)·D·g]/2P: attention's eFLOPs over the parameters', one trial, as published.

    r = H/K; D = 2·n_l·K·d. The prompt's reads of KV (2·I·c·D) are left out there.
    """
    group = shape.heads / shape.kv_heads
    width = 2 * shape.layers * shape.kv_heads * shape.head_dim
    both = 2 * group * prompt * width + (group + intensity) * width * generated
    return both / (2 * shape.active_parameters)


def with_parameters(shape: DecoderShape, parameters: float) -> DecoderShape:
    """The shape with somebody else's count of the parameters, such as the paper's."""
    return replace(shape, parameters=parameters, active_parameters=parameters)


def _kv_sums(c: Any, g: Any, n: Any, attention: Sparse, law: Law) -> tuple[Any, Any]:
    """KV tokens that one trial attends to, and that the query reads, prompt shared where it is."""
    if attention is DENSE or (np.ndim(attention.budget) == 0 and np.isinf(attention.budget)):
        own = g * (g + 1) / 2 if law.exact_sums else g * g / 2
        return c * g + own, c * g + n * own
    budget = np.asarray(attention.budget, dtype=np.float64)
    if law.exact_sums:
        read = kv_tokens_read(c, g, budget)
    else:
        bugged = law.sign_bug and attention.block is None
        read = budget * g + (0.5 if bugged else -0.5) * np.maximum(0.0, budget - c) ** 2
    return read, n * read


def _searches(c: Any, g: Any, n: Any, block: Any, law: Law) -> tuple[Any, Any]:
    """Keys of blocks that one trial's queries are multiplied with, and that the query reads."""
    if not law.exact_sums:
        return (2 * c + g) // block * g / 2, (2 * c + n * g) // block * g / 2
    keys = _blocks_up_to(c + g, block) - _blocks_up_to(c, block)
    return keys, n * keys


def _blocks_up_to(tokens: Any, block: Any) -> Any:
    """Σ_{i=1..n} ⌈i/b⌉."""
    whole = np.floor(tokens / block)
    return block * whole * (whole + 1) / 2 + (tokens - block * whole) * (whole + 1)
