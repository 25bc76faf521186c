"""From an architecture, a plan and number formats to the operators of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foretell.models.architecture import Architecture, Attention, LayerGroup, Mlp
from foretell.models.operators import Attend, Experts, Linear, Operator, expert_popularity
from foretell.models.parallelism import Parallelism, kv_heads_per_rank
from foretell.models.precision import (
    ELEMENT_BYTES,
    Precision,
    compute_precision,
    is_weight_only,
    quantized_parts,
)

_ACTIVATION_BYTES = 2.0  # the residual stream and attention's inputs stay bf16 whatever the matrices are
_STATE_BYTES = 4.0  # linear attention keeps its state in fp32


@dataclass(frozen=True, slots=True)
class _Format:
    """Bytes of a weight and of an input element, what the product runs in, and the weights' format."""

    weight: float
    activation: float
    precision: str
    weights: str


@dataclass(frozen=True, slots=True)
class _Context:
    """What all builders below need."""

    hidden: int
    tp: int
    parallelism: Parallelism
    wide: _Format  # not quantised
    full: str  # what fp32 is multiplied in
    attention: _Format
    mlp: _Format
    experts: _Format
    kv_bytes: float
    skew: float


def step_operators(
    architecture: Architecture,
    parallelism: Parallelism,
    precision: Precision,
    peak_flops: Mapping[str, float],
    expert_skew: float = 0.0,
) -> tuple[Operator, ...]:
    """Operators of one step on one tensor-parallel rank, summed over the pipeline's stages.

    Args:
        architecture: the model.
        parallelism: how it is spread.
        precision: its number formats.
        peak_flops: the accelerator's precisions, which decide what quantised matrices are multiplied in.
        expert_skew: Zipf exponent of the experts' popularity, 0 for balanced routing.

    Raises:
        ValueError: the accelerator has a peak for none of the usable precisions.

    """
    context = _context(architecture, parallelism, precision, peak_flops, expert_skew)
    operators: list[Operator] = []
    for group in architecture.layers:
        operators += _attention(group, context)
        operators += _mlp(group, context)
    return (*operators, *_ends(architecture, context))


def _context(
    architecture: Architecture,
    parallelism: Parallelism,
    precision: Precision,
    peak_flops: Mapping[str, float],
    skew: float,
) -> _Context:
    parts = quantized_parts(
        precision, architecture.weight_dtype, architecture.quantized_parts, architecture.is_moe
    )
    wide = _Format(2.0, 2.0, compute_precision(peak_flops, "bf16", "bf16"), "bf16")
    key = compute_precision(peak_flops, precision.weights, precision.activations)
    # weights that are only stored narrow meet inputs that were never quantised
    stored = is_weight_only(peak_flops, precision.weights, precision.activations)
    activation = _ACTIVATION_BYTES if stored else min(2.0, ELEMENT_BYTES[precision.activations])
    narrow = _Format(ELEMENT_BYTES[precision.weights], activation, key, precision.weights)
    return _Context(
        hidden=architecture.hidden_size,
        tp=parallelism.tensor_parallel_size,
        parallelism=parallelism,
        wide=wide,
        full="fp32" if "fp32" in peak_flops else wide.precision,
        attention=narrow if parts == "linear" else wide,
        mlp=wide if parts == "experts" else narrow,
        experts=narrow,
        kv_bytes=ELEMENT_BYTES[precision.kv_cache],
        skew=skew,
    )


def _gemm(
    name: str, layers: int, rows: float, columns: float, form: _Format, driver: str = "tokens"
) -> Linear:
    """(x, columns) · (columns, rows)."""
    return Linear(
        name=name,
        kind="gemm",
        driver=driver,
        layers=layers,
        precision=form.precision,
        rows=round(rows),
        columns=round(columns),
        flops_per=2.0 * rows * columns,
        bytes_per=columns * form.activation + rows * _ACTIVATION_BYTES,
        weight_bytes=rows * columns * form.weight,
        weights=form.weights,
    )


def _passes(
    name: str, layers: int, num_bytes: float, launches: int, precision: str, driver: str = "tokens"
) -> Linear:
    """Elementwise work: `num_bytes` read and written for every unit of the driver."""
    return Linear(name, "memory", driver, layers, precision, 0, 0, 0.0, num_bytes, launches=launches)


def _quantize(name: str, layers: int, columns: float, form: _Format, wide: str) -> list[Operator]:
    """Bring the input of a product into its narrow format, if it has one: read in 16 bits, written narrow."""
    if form.activation >= _ACTIVATION_BYTES:
        return []
    return [_passes(f"{name}_quantize", layers, columns * (_ACTIVATION_BYTES + form.activation), 1, wide)]


def _attention(group: LayerGroup, at: _Context) -> list[Operator]:
    attention, layers = group.attention, group.count
    heads = attention.num_heads / at.tp
    wide = at.wide.precision
    quantize = [
        *_quantize("attention_input", layers, at.hidden, at.attention, wide),
        *_quantize("attention_output", layers, heads * attention.value_dim, at.attention, wide),
    ]
    # each norm reads hidden and residual and writes both
    norms = _passes("norms", layers, group.norms * 4 * at.hidden * _ACTIVATION_BYTES, group.norms, wide)
    out = _gemm("o_proj", layers, at.hidden, heads * attention.value_dim, at.attention)
    if attention.mla is not None:
        return [norms, *quantize, *_latent_attention(attention, layers, heads, at), out]
    query = heads * attention.head_dim
    kv = kv_heads_per_rank(attention, at.tp) * (attention.head_dim + attention.value_dim)
    gate = heads * attention.value_dim if attention.output_gate else 0
    if attention.linear:
        return [norms, *quantize, *_linear_attention(attention, layers, heads, at), out]
    common: dict[str, Any] = dict(  # noqa: C408
        layers=layers,
        precision=wide,
        num_heads=round(heads),
        num_kv_heads=kv_heads_per_rank(attention, at.tp),
        head_dim=attention.head_dim,
        window=attention.sliding_window,
        flops_per_pair=2.0 * heads * (attention.head_dim + attention.value_dim),
        bytes_per_key=kv * at.kv_bytes,
        flops_per_query=0.0,
        bytes_per_query=heads * (attention.head_dim + attention.value_dim) * _ACTIVATION_BYTES,
        element_bytes=at.kv_bytes,
    )
    return [
        norms,
        *quantize,
        _gemm("qkv_proj", layers, query + kv + gate, at.hidden, at.attention),
        # rotary embedding reads and writes queries and keys; the KV write reads keys and values
        _passes("rope", layers, 2 * (query + kv) * _ACTIVATION_BYTES, 1, wide),
        _passes("kv_write", layers, kv * (_ACTIVATION_BYTES + at.kv_bytes), 1, wide),
        Attend(name="prefill_attention", phase="prefill", **common),
        Attend(name="decode_attention", phase="decode", **common),
        out,
    ]


def _linear_attention(attention: Attention, layers: int, heads: float, at: _Context) -> list[Operator]:
    """Attention with a d × d_v state a head: updated and read out by every token, 4·d·d_v FLOPs a head."""
    width = heads * (2 * attention.head_dim + attention.value_dim * (2 if attention.output_gate else 1))
    state = heads * attention.head_dim * attention.value_dim
    common: dict[str, Any] = dict(  # noqa: C408
        layers=layers,
        precision=at.wide.precision,
        num_heads=round(heads),
        num_kv_heads=round(heads),
        head_dim=attention.head_dim,
        window=None,
        flops_per_pair=0.0,
        bytes_per_key=0.0,
        flops_per_query=4.0 * state,
        bytes_per_query=width * _ACTIVATION_BYTES,
        bytes_per_sequence=2 * state * _STATE_BYTES,
    )
    return [
        _gemm("qkv_proj", layers, width, at.hidden, at.attention),
        Attend(name="prefill_state", phase="prefill", **common),
        Attend(name="decode_state", phase="decode", **common),
    ]


def _latent_attention(attention: Attention, layers: int, heads: float, at: _Context) -> list[Operator]:
    """MLA as vLLM runs it: prefill expands the latents of the context, decode works in the latent space.

    DeepSeek-V2, arXiv 2405.04434, §2.1 and appendix C: W_UK and W_UV are absorbed into queries and outputs.
    The down projections and the latent cache are whole on every rank; heads are shared.
    """
    mla = attention.mla
    assert mla is not None
    form, wide = at.attention, at.wide.precision
    query = heads * (mla.qk_nope_head_dim + mla.qk_rope_head_dim)
    latent = mla.kv_lora_rank + mla.qk_rope_head_dim
    value = attention.value_dim
    expanded = heads * (mla.qk_nope_head_dim + value)
    operators: list[Operator] = []
    if mla.q_lora_rank is None:
        operators.append(_gemm("q_kv_a_proj", layers, query + latent, at.hidden, form))
    else:
        operators.append(_gemm("q_kv_a_proj", layers, mla.q_lora_rank + latent, at.hidden, form))
        operators.append(_gemm("q_b_proj", layers, query, mla.q_lora_rank, form))
    operators += [
        _passes("rope", layers, 2 * (query + latent) * _ACTIVATION_BYTES, 2, wide),
        _passes("kv_write", layers, latent * (_ACTIVATION_BYTES + at.kv_bytes), 1, wide),
        _gemm("kv_b_proj", layers, expanded, mla.kv_lora_rank, form, driver="prefill_context"),
        # one batched multiplication on queries, one on outputs
        Linear(
            name="absorb",
            kind="gemm",
            driver="decode_seqs",
            layers=layers,
            precision=wide,
            rows=round(expanded),
            columns=mla.kv_lora_rank,
            flops_per=2.0 * expanded * mla.kv_lora_rank,
            bytes_per=(expanded + 2 * heads * mla.kv_lora_rank) * _ACTIVATION_BYTES,
            weight_bytes=expanded * mla.kv_lora_rank * _ACTIVATION_BYTES,
            launches=2,
            weights="bf16",
        ),
        Attend(
            name="prefill_attention",
            phase="prefill",
            layers=layers,
            precision=wide,
            num_heads=round(heads),
            num_kv_heads=round(heads),
            head_dim=mla.qk_nope_head_dim + mla.qk_rope_head_dim,
            window=attention.sliding_window,
            flops_per_pair=2.0 * (query + heads * value),
            bytes_per_key=latent * at.kv_bytes + expanded * _ACTIVATION_BYTES,
            flops_per_query=0.0,
            bytes_per_query=(query + heads * value) * _ACTIVATION_BYTES,
            element_bytes=at.kv_bytes,
            latent=True,
        ),
        Attend(
            name="decode_attention",
            phase="decode",
            layers=layers,
            precision=wide,
            num_heads=round(heads),
            num_kv_heads=1,
            head_dim=latent,
            window=attention.sliding_window,
            flops_per_pair=2.0 * heads * (latent + mla.kv_lora_rank),
            bytes_per_key=latent * at.kv_bytes,
            flops_per_query=0.0,
            bytes_per_query=heads * (latent + mla.kv_lora_rank) * _ACTIVATION_BYTES,
            element_bytes=at.kv_bytes,
            latent=True,
        ),
    ]
    return operators


def _dense(name: str, layers: int, width: float, mlp: Mlp, form: _Format, at: _Context) -> list[Operator]:
    inner = 2 if mlp.gated else 1
    return [
        *_quantize(f"{name}mlp_input", layers, at.hidden, form, at.wide.precision),
        *_quantize(f"{name}mlp_activation", layers, width, form, at.wide.precision),
        _gemm(f"{name}gate_up_proj", layers, inner * width, at.hidden, form),
        _passes(f"{name}activation", layers, (inner + 1) * width * _ACTIVATION_BYTES, 1, at.wide.precision),
        _gemm(f"{name}down_proj", layers, at.hidden, width, form),
    ]


def _router(mlp: Mlp, layers: int, at: _Context) -> list[Operator]:
    if mlp.router_dtype == "bf16":
        return [_gemm("router", layers, mlp.num_experts, at.hidden, at.wide)]
    bytes_of = ELEMENT_BYTES["fp32"]
    cast = _passes("router_input", layers, at.hidden * (_ACTIVATION_BYTES + bytes_of), 1, at.wide.precision)
    full = _Format(bytes_of, bytes_of, at.full, "fp32")
    return [cast, _gemm("router", layers, mlp.num_experts, at.hidden, full)]


def _mlp(group: LayerGroup, at: _Context) -> list[Operator]:
    mlp, layers = group.mlp, group.count
    if not mlp.num_experts:
        return _dense("", layers, mlp.intermediate_size / at.tp, mlp, at.mlp, at)
    plan = at.parallelism
    whole = plan.enable_expert_parallel
    width = mlp.intermediate_size if whole else mlp.intermediate_size / plan.expert_ranks
    matrices = 3 if mlp.gated else 2
    form = at.experts
    operators: list[Operator] = [
        *_router(mlp, layers, at),
        _passes("routing", layers, 4.0 * (mlp.num_experts + 2 * mlp.top_k), 2, at.wide.precision),
        Experts(
            name="experts",
            layers=layers,
            precision=form.precision,
            num_experts=mlp.num_experts,
            top_k=mlp.top_k,
            expert_ranks=plan.expert_ranks if whole else 1,
            hidden_size=at.hidden,
            intermediate_size=round(width),
            tokens_per_token=plan.data_parallel_size,
            flops_per=2.0 * matrices * at.hidden * width,
            # into and out of both multiplications, and the activation between them
            bytes_per=at.hidden * (form.activation + _ACTIVATION_BYTES)
            + 2 * matrices * width * _ACTIVATION_BYTES,
            expert_bytes=matrices * at.hidden * width * form.weight,
            popularity=expert_popularity(mlp.num_experts, at.skew),
            weights=form.weights,
            tensor_ranks=1 if whole else plan.expert_ranks,
        ),
    ]
    if mlp.shared_intermediate_size:
        operators += _dense("shared_", layers, mlp.shared_intermediate_size / at.tp, mlp, at.mlp, at)
    return operators


def _ends(architecture: Architecture, at: _Context) -> list[Operator]:
    hidden, wide = at.hidden, at.wide.precision
    embedding = _passes("embedding", 1, 2 * hidden * _ACTIVATION_BYTES, 1, wide)
    norm = _passes("final_norm", 1, 4 * hidden * _ACTIVATION_BYTES, 1, wide)
    if architecture.reward_labels is not None:
        head = _gemm("reward_head", 1, hidden + architecture.reward_labels, hidden, at.wide, "sampled")
        return [embedding, norm, head]
    rows = architecture.vocab_size / at.tp
    logits = _gemm("lm_head", 1, rows, hidden, at.wide, "sampled")
    # logits to fp32, softmax or argmax: two passes over the gathered row
    sampling = _passes("sampling", 1, 2 * 4.0 * architecture.vocab_size, 2, wide, "sampled")
    return [embedding, norm, logits, sampling]
