"""Architectures from a Hugging Face config.json: what is read is used, what is unknown is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from foretell.models.architecture import Architecture, Attention, LayerGroup, Mla, Mlp
from foretell.models.hfconfig import Fields, weight_format

Layers = Sequence[tuple[Attention, Mlp]]
NEXT_TOKEN_LAYERS = ("num_nextn_predict_layers", "mtp_num_hidden_layers")
REWARD_LABELS = {"Qwen2ForProcessRewardModel": 2, "Qwen2ForRewardModel": 1}


def architecture_from_hf(config: Mapping[str, Any], name: str) -> Architecture:
    """Read the architecture of a model from its Hugging Face configuration.

    Multimodal wrappers (`text_config`) give their text part. Vision towers and multi-token-prediction
    layers are left out, and `notes` says so. `unknown_fields` lists what was neither used nor known to
    be irrelevant to sizes.

    Args:
        config: the content of config.json.
        name: what to call the architecture, also in errors.

    Raises:
        ValueError: unsupported model_type (the supported ones are named), or a field missing or malformed.

    """
    notes: list[str] = []
    fields = Fields(config, f"model {name}")
    if "text_config" in config:
        fields.skip("vision_config")
        fields = fields.inner("text_config")
        notes.append("only the text part is described: the vision tower is left out")
    model_type = fields.text("model_type")
    build = FAMILIES.get(model_type)
    if build is None:
        supported = ", ".join(sorted(FAMILIES))
        raise ValueError(f"model {name}: model_type {model_type!r} is not supported; supported: {supported}")
    try:
        layers = _grouped(build(fields, notes), norms=4 if model_type.startswith("gemma3") else 2)
    except ValueError as error:
        where = "" if str(error).startswith("model ") else f"model {name}: "
        raise ValueError(f"{where}{error}") from None
    if any(fields.optional_int(name) for name in NEXT_TOKEN_LAYERS) or fields.flag("use_mtp"):
        notes.append("multi-token-prediction layers are left out")
    weight_dtype, quantized_parts = weight_format(config, fields, notes)
    return Architecture(
        name=name,
        hidden_size=fields.integer("hidden_size"),
        vocab_size=fields.integer("vocab_size"),
        layers=layers,
        tie_word_embeddings=fields.flag("tie_word_embeddings", model_type.startswith("gemma3")),
        max_position_embeddings=fields.integer("max_position_embeddings"),
        weight_dtype=weight_dtype,
        quantized_parts=quantized_parts,
        reward_labels=REWARD_LABELS.get(str((fields.get("architectures") or [""])[0])),
        unknown_fields=fields.unread(),
        notes=tuple(notes),
    )


def _grouped(layers: Layers, norms: int) -> tuple[LayerGroup, ...]:
    counts: dict[tuple[Attention, Mlp], int] = {}
    for layer in layers:
        counts[layer] = counts.get(layer, 0) + 1
    return tuple(LayerGroup(count, attention, mlp, norms) for (attention, mlp), count in counts.items())


def _attention(fields: Fields, **rest: Any) -> Attention:
    heads = fields.integer("num_attention_heads")
    head_dim = fields.optional_int("head_dim")
    if head_dim is None:
        head_dim, remainder = divmod(fields.integer("hidden_size"), heads)
        if remainder:
            raise fields.error("head_dim", "is missing, and num_attention_heads does not divide hidden_size")
    return Attention(heads, fields.optional_int("num_key_value_heads") or heads, head_dim, **rest)


def _windows(fields: Fields, windowed: Callable[[int], bool]) -> list[bool]:
    """Say which layers have the window: by `layer_types` where the configuration lists them."""
    depth = fields.integer("num_hidden_layers")
    kinds = fields.get("layer_types")
    if kinds is None:
        return [windowed(layer) for layer in range(depth)]
    local = {"sliding_attention": True, "chunked_attention": True, "full_attention": False}
    if not isinstance(kinds, list) or len(kinds) != depth or any(kind not in local for kind in kinds):
        raise fields.error("layer_types", f"is not a list of {depth} of {', '.join(sorted(local))}")
    return [local[kind] for kind in kinds]


def _with_windows(
    fields: Fields,
    attention: Callable[[int | None], Attention],
    window: int | None,
    windowed: Callable[[int], bool],
) -> list[Attention]:
    local, everywhere = attention(window), attention(None)
    return [local if here else everywhere for here in _windows(fields, windowed)]


def _llama(fields: Fields, notes: list[str]) -> Layers:
    """Llama 1 to 3, Mistral, Phi-3 and 4: one window or none for all layers."""
    bias = fields.flag("attention_bias")
    window = fields.optional_int("sliding_window")
    attention = _attention(fields, sliding_window=window, qkv_bias=bias, o_bias=bias)
    mlp = Mlp(fields.integer("intermediate_size"), bias=fields.flag("mlp_bias"))
    return [(attention, mlp)] * fields.integer("num_hidden_layers")


def _qwen_attention(fields: Fields, qk_norm: str, qkv_bias: bool, o_bias: bool) -> list[Attention]:
    window = fields.optional_int("sliding_window")
    if not fields.flag("use_sliding_window"):
        window = None
    first = fields.optional_int("max_window_layers") or 0
    return _with_windows(
        fields,
        lambda w: _attention(fields, sliding_window=w, qkv_bias=qkv_bias, o_bias=o_bias, qk_norm=qk_norm),
        window,
        lambda layer: layer >= first,
    )


def _qwen2(fields: Fields, notes: list[str]) -> Layers:
    mlp = Mlp(fields.integer("intermediate_size"))
    return [(attention, mlp) for attention in _qwen_attention(fields, "", True, False)]


def _qwen3(fields: Fields, notes: list[str]) -> Layers:
    bias = fields.flag("attention_bias")
    fields.integer("head_dim")
    mlp = Mlp(fields.integer("intermediate_size"))
    return [(attention, mlp) for attention in _qwen_attention(fields, "head", bias, bias)]


def _qwen_moe(fields: Fields, attentions: list[Attention], shared: int) -> Layers:
    moe = Mlp(
        fields.integer("moe_intermediate_size"),
        fields.integer("num_experts"),
        fields.integer("num_experts_per_tok"),
        shared,
        shared_gate=bool(shared),
    )
    step = fields.optional_int("decoder_sparse_step") or 1
    dense_layers = set(fields.get("mlp_only_layers") or [])
    fields.skip("intermediate_size")  # it is that of dense layers, which most of these models lack
    layers = []
    for layer, attention in enumerate(attentions):
        sparse = layer not in dense_layers and (layer + 1) % step == 0
        layers.append((attention, moe if sparse else Mlp(fields.integer("intermediate_size"))))
    return layers


def _qwen2_moe(fields: Fields, notes: list[str]) -> Layers:
    shared = fields.integer("shared_expert_intermediate_size")
    return _qwen_moe(fields, _qwen_attention(fields, "", True, False), shared)


def _qwen3_moe(fields: Fields, notes: list[str]) -> Layers:
    bias = fields.flag("attention_bias")
    fields.integer("head_dim")
    return _qwen_moe(fields, _qwen_attention(fields, "head", bias, bias), 0)


def _mixtral(fields: Fields, notes: list[str]) -> Layers:
    attention = _attention(fields, sliding_window=fields.optional_int("sliding_window"))
    mlp = Mlp(
        fields.integer("intermediate_size"),
        fields.integer("num_local_experts"),
        fields.integer("num_experts_per_tok"),
    )
    return [(attention, mlp)] * fields.integer("num_hidden_layers")


def _deepseek_mlps(fields: Fields, router_bias: bool) -> list[Mlp]:
    """Build the MLPs of DeepSeek-like models: some dense layers first, then experts with shared ones."""
    width = fields.integer("moe_intermediate_size")
    moe = Mlp(
        width,
        fields.integer("n_routed_experts"),
        fields.integer("num_experts_per_tok"),
        width * (fields.optional_int("n_shared_experts") or 0),
        router_bias=router_bias,
    )
    first, every = fields.integer("first_k_dense_replace"), fields.optional_int("moe_layer_freq") or 1
    dense = Mlp(fields.integer("intermediate_size"))
    depth = fields.integer("num_hidden_layers")
    return [moe if layer >= first and layer % every == 0 else dense for layer in range(depth)]


def _deepseek(fields: Fields, notes: list[str]) -> Layers:
    """DeepSeek V2 and V3 and Kimi K2: latent attention."""
    mla = Mla(
        q_lora_rank=fields.optional_int("q_lora_rank"),
        kv_lora_rank=fields.integer("kv_lora_rank"),
        qk_nope_head_dim=fields.integer("qk_nope_head_dim"),
        qk_rope_head_dim=fields.integer("qk_rope_head_dim"),
    )
    heads = fields.integer("num_attention_heads")
    fields.skip("num_key_value_heads", "head_dim")
    attention = Attention(
        heads,
        heads,
        mla.qk_nope_head_dim + mla.qk_rope_head_dim,
        v_head_dim=fields.integer("v_head_dim"),
        mla=mla,
    )
    if fields.flag("attention_bias"):
        raise fields.error("attention_bias", "true is not supported with latent attention")
    router_bias = fields.get("topk_method") == "noaux_tc"
    return [(attention, mlp) for mlp in _deepseek_mlps(fields, router_bias)]


def _qwen3_5_attention(fields: Fields, notes: list[str]) -> list[Attention]:
    """Qwen3-Next and Qwen3.5: gated delta nets in most layers, gated softmax attention in the rest.

    The delta net's value heads are shared out over its fewer query and key heads: one head here is a key
    head with all the values it serves, which leaves matrices, state and FLOPs as they are.
    """
    depth, every = fields.integer("num_hidden_layers"), fields.optional_int("full_attention_interval") or 4
    kinds = fields.get("layer_types") or [
        "linear_attention" if (layer + 1) % every else "full_attention" for layer in range(depth)
    ]
    if len(kinds) != depth or not set(kinds) <= {"linear_attention", "full_attention"}:
        raise fields.error("layer_types", f"is not a list of {depth} of full_attention, linear_attention")
    keys, values = fields.integer("linear_num_key_heads"), fields.integer("linear_num_value_heads")
    if values % keys:
        raise fields.error("linear_num_key_heads", f"does not divide linear_num_value_heads {values}")
    fields.skip(
        "linear_conv_kernel_dim", "mamba_ssm_dtype", "mtp_use_dedicated_embeddings", "mlp_only_layers"
    )
    notes.append("of the gated delta net, convolution, decay and step size (0.2 % of a layer) are left out")
    linear = Attention(
        keys,
        keys,
        fields.integer("linear_key_head_dim"),
        v_head_dim=values // keys * fields.integer("linear_value_head_dim"),
        linear=True,
        output_gate=True,
    )
    fields.integer("head_dim")
    full = _attention(
        fields,
        qkv_bias=fields.flag("attention_bias"),
        qk_norm="head",
        output_gate=fields.flag("attn_output_gate", True),
    )
    return [full if kind == "full_attention" else linear for kind in kinds]


def _qwen3_5(fields: Fields, notes: list[str]) -> Layers:
    mlp = Mlp(fields.integer("intermediate_size"))
    return [(attention, mlp) for attention in _qwen3_5_attention(fields, notes)]


def _qwen3_5_moe(fields: Fields, notes: list[str]) -> Layers:
    shared = fields.optional_int("shared_expert_intermediate_size") or 0
    return _qwen_moe(fields, _qwen3_5_attention(fields, notes), shared)


def _glm_dsa(fields: Fields, notes: list[str]) -> Layers:
    """GLM-5: latent attention as DeepSeek's, over the index_topk tokens that an indexer picks."""
    fields.skip("index_head_dim", "index_n_heads", "index_topk", "indexer_rope_interleave", "qk_head_dim")
    notes.append("sparse attention is described as attention to the whole context, without its indexer")
    return _deepseek(fields, notes)


def _glm4_moe(fields: Fields, notes: list[str]) -> Layers:
    attention = _attention(
        fields,
        qkv_bias=fields.flag("attention_bias"),
        qk_norm="head" if fields.flag("use_qk_norm") else "",
    )
    return [(attention, mlp) for mlp in _deepseek_mlps(fields, router_bias=True)]


def _gpt_oss(fields: Fields, notes: list[str]) -> Layers:
    """gpt-oss: windows on every other layer, biases everywhere, a sink a head."""
    bias = fields.flag("attention_bias", True)
    attentions = _with_windows(
        fields,
        lambda window: _attention(fields, sliding_window=window, qkv_bias=bias, o_bias=bias, sinks=True),
        fields.integer("sliding_window"),
        lambda layer: layer % 2 == 0,
    )
    top_k = fields.optional_int("num_experts_per_tok") or fields.integer("experts_per_token")
    fields.skip("experts_per_token")
    mlp = Mlp(fields.integer("intermediate_size"), fields.integer("num_local_experts"), top_k, bias=True)
    return [(attention, mlp) for attention in attentions]


def _minimax_mlp(fields: Fields, router_bias: bool) -> Mlp:
    return Mlp(
        fields.integer("intermediate_size"),
        fields.integer("num_local_experts"),
        fields.integer("num_experts_per_tok"),
        fields.optional_int("shared_intermediate_size") or 0,
        router_bias=router_bias,
        router_dtype="fp32",  # vLLM's minimax_m2.py and minimax_text_01.py (0.11 to 0.19)
    )


def _minimax_m2(fields: Fields, notes: list[str]) -> Layers:
    kinds = fields.get("attn_type_list")
    if kinds is not None and set(kinds) != {1}:
        raise fields.error("attn_type_list", "has entries other than 1, full attention")
    norm = {"per_layer": "full", "per_head": "head"}.get(str(fields.get("qk_norm_type", "per_layer")))
    if norm is None:
        raise fields.error("qk_norm_type", "is not 'per_layer' or 'per_head'")
    attention = _attention(fields, qk_norm=norm if fields.flag("use_qk_norm") else "")
    mlp = _minimax_mlp(fields, fields.flag("use_routing_bias"))
    return [(attention, mlp)] * fields.integer("num_hidden_layers")


def _minimax_linear(fields: Fields, notes: list[str]) -> Layers:
    """MiniMax-Text-01 and M1: lightning attention in most layers, softmax attention in the rest."""
    depth = fields.integer("num_hidden_layers")
    kinds = fields.get("attn_type_list")
    if kinds is None:
        kinds = [int(kind == "full_attention") for kind in fields.need("layer_types")]
    if not isinstance(kinds, list) or len(kinds) != depth or not set(kinds) <= {0, 1}:
        raise fields.error("attn_type_list", f"is not a list of {depth} zeros (linear) and ones (softmax)")
    full = _attention(fields)
    linear = Attention(full.num_heads, full.num_heads, full.head_dim, linear=True, output_gate=True)
    mlp = _minimax_mlp(fields, False)
    return [(full if kind else linear, mlp) for kind in kinds]


def _llama4(fields: Fields, notes: list[str]) -> Layers:
    depth = fields.integer("num_hidden_layers")
    chunk = fields.optional_int("attention_chunk_size")
    if chunk:
        notes.append(f"chunked attention of {chunk} tokens is treated as a sliding window of that size")
    rope = fields.get("no_rope_layers")
    interval = fields.optional_int("no_rope_layer_interval") or 4
    if not rope:
        rope = [int((layer + 1) % interval != 0) for layer in range(depth)]
    bias = fields.flag("attention_bias")
    attentions = _with_windows(
        fields,
        lambda window: _attention(fields, sliding_window=window, qkv_bias=bias, o_bias=bias),
        chunk,
        lambda layer: bool(rope[layer]),
    )
    fields.skip("use_qk_norm")  # that norm has no parameters
    width = fields.integer("intermediate_size")
    moe = Mlp(width, fields.integer("num_local_experts"), fields.integer("num_experts_per_tok"), width)
    dense = Mlp(fields.integer("intermediate_size_mlp"))
    step = fields.optional_int("interleave_moe_layer_step") or 1
    sparse = fields.get("moe_layers") or range(step - 1, depth, step)
    return [(attention, moe if layer in sparse else dense) for layer, attention in enumerate(attentions)]


def _gemma3(fields: Fields, notes: list[str]) -> Layers:
    pattern = fields.optional_int("sliding_window_pattern") or 6
    attentions = _with_windows(
        fields,
        lambda window: _attention(fields, sliding_window=window, qk_norm="head"),
        fields.integer("sliding_window"),
        lambda layer: (layer + 1) % pattern != 0,
    )
    fields.integer("head_dim")
    mlp = Mlp(fields.integer("intermediate_size"))
    return [(attention, mlp) for attention in attentions]


FAMILIES: Mapping[str, Callable[[Fields, list[str]], Layers]] = {
    "llama": _llama,
    "mistral": _llama,
    "phi3": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "mixtral": _mixtral,
    "qwen2_moe": _qwen2_moe,
    "qwen3_moe": _qwen3_moe,
    "qwen3_vl_text": _qwen3,
    "qwen3_vl_moe_text": _qwen3_moe,
    "qwen3_5_text": _qwen3_5,
    "qwen3_5_moe_text": _qwen3_5_moe,
    "qwen3_next": _qwen3_5_moe,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "kimi_k2": _deepseek,
    "glm4_moe": _glm4_moe,
    "glm_moe_dsa": _glm_dsa,
    "gpt_oss": _gpt_oss,
    "minimax": _minimax_linear,
    "minimax_text_01": _minimax_linear,
    "minimax_m1": _minimax_linear,
    "minimax_m2": _minimax_m2,
    "llama4_text": _llama4,
    "gemma3_text": _gemma3,
}
"""What reads each `model_type`; a name that is not here is refused."""
