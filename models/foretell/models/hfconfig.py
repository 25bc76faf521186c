"""Reading a Hugging Face configuration: typed fields that remember being read, and the format of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IRRELEVANT = frozenset(
    """
    _name_or_path add_cross_attention architectures attention_dropout attention_probs_dropout_prob
    attn_dropout attn_implementation attn_logit_softcapping attn_scale attn_temperature_tuning auto_map
    aux_loss_alpha bad_words_ids begin_suppress_tokens block_size boi_token_id boi_token_index
    bos_token_id cache_implementation chunk_size_feed_forward cross_attention_hidden_size
    decoder_start_token_id diversity_penalty do_sample dtype early_stopping embd_pdrop
    encoder_no_repeat_ngram_size eoi_token_id eoi_token_index eos_token_id ep_size
    exponential_decay_length_penalty final_logit_softcapping finetuning_task floor_scale
    for_llm_compressor forced_bos_token_id forced_eos_token_id full_attn_alpha_factor
    full_attn_beta_factor head_pad hidden_act hidden_activation hidden_dropout id2label ignore_index
    image_token_id image_token_index init_method initial_context_length initializer_factor
    initializer_range is_decoder is_encoder_decoder label2id layer_norm_eps layer_norm_epsilon
    layernorm_full_attention_alpha layernorm_full_attention_beta layernorm_linear_attention_alpha
    layernorm_linear_attention_beta layernorm_mlp_alpha layernorm_mlp_beta length_penalty
    linear_attn_alpha_factor linear_attn_beta_factor max_length media_placeholder_token_id min_length
    mlp_alpha_factor mlp_beta_factor mm_tokens_per_image model_type mtp_loss_factor
    mtp_transformer_layers n_group no_repeat_ngram_size norm_eps norm_topk_prob num_beam_groups
    num_beams num_mtp_modules num_return_sequences original_max_position_embeddings output_attentions
    output_dropout output_hidden_states output_router_logits output_scores pad_token_id
    partial_rotary_factor postnorm prefix pretraining_tp problem_type pruned_heads quantization_config
    query_pre_attn_scalar remove_invalid_values repetition_penalty resid_pdrop return_dict
    return_dict_in_generate rms_norm_eps rope_interleave rope_local_base_freq rope_parameters
    rope_scaling rope_theta rotary_dim rotary_pct routed_scaling_factor router_aux_loss_coef
    router_jitter_noise router_z_loss_coef scoring_func sep_token sep_token_id seq_aux shared_moe_mode
    sliding_window_size suppress_tokens swiglu_limit task_specific_params temperature tf_legacy_loss
    tie_encoder_decoder tokenizer_class top_k top_p topk_group torch_dtype torchscript
    transformers_version typical_p unk_token_id use_bfloat16 use_bidirectional_attention use_cache
    use_unified_vision_chunk video_placeholder
    """.split()  # noqa: SIM905
)
"""Fields that change no size: tokens, dropout, initialisation, rotary embedding, routing scores, sampling."""

DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
QUANT_METHODS = ("fp8", "mxfp4", "compressed-tensors", "awq", "gptq", "modelopt")


class Fields:
    """A configuration that remembers which of its fields were read."""

    def __init__(self, config: Mapping[str, Any], where: str, outer: Fields | None = None) -> None:
        self._config = config
        self._where = where
        self._outer = outer
        self._read: set[str] = set()

    def error(self, name: str, problem: str) -> ValueError:
        """Build the error that says what is wrong with a field."""
        return ValueError(f"{self._where}: field {name!r} {problem}")

    def get(self, name: str, default: Any = None) -> Any:
        """Read a field, `default` when it is absent or null."""
        self._read.add(name)
        value = self._config.get(name)
        return default if value is None else value

    def need(self, name: str) -> Any:
        """Read a field that must be there."""
        value = self.get(name)
        if value is None:
            raise self.error(name, "is missing from the configuration")
        return value

    def integer(self, name: str) -> int:
        """Read a positive integer that must be there, or 0 where the field counts dense layers."""
        value = self.need(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.error(name, f"is {value!r}, not an integer >= 0")
        if value == 0 and name != "first_k_dense_replace":
            raise self.error(name, "is 0, not an integer >= 1")
        return value

    def optional_int(self, name: str) -> int | None:
        """Read an integer that may be absent or null."""
        value = self.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise self.error(name, f"is {value!r}, not an integer >= 0")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """Read a boolean."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise self.error(name, f"is {value!r}, not true or false")
        return value

    def text(self, name: str) -> str:
        """Read a string that must be there."""
        return str(self.need(name))

    def skip(self, *names: str) -> None:
        """Mark fields as known, without reading them."""
        self._read.update(names)

    def inner(self, name: str) -> Fields:
        """Go down into a table of the configuration."""
        value = self.need(name)
        if not isinstance(value, Mapping):
            raise self.error(name, "is not a table")
        return Fields(value, f"{self._where}: {name}", self)

    def unread(self) -> tuple[str, ...]:
        """Name the fields that were neither read nor known to be irrelevant."""
        names = {name for name in self._config if name not in self._read and name not in IRRELEVANT}
        names = {name for name in names if not name.endswith(("_token_id", "_token_index"))}
        if self._outer is not None:
            # The wrapper repeats fields of its text part, and adds those that join the two.
            names |= {name for name in self._outer.unread() if name not in self._read}
        return tuple(sorted(names))


def weight_format(config: Mapping[str, Any], fields: Fields, notes: list[str]) -> tuple[str, str]:
    """Tell what the checkpoint's matrices are stored in, and which of them.

    Returns:
        The dtype, and "linear", "mlp" or "experts" (see `Architecture.quantized_parts`).

    Raises:
        ValueError: an unsupported quantisation method or dtype.

    """
    quantization = config.get("quantization_config") or fields.get("quantization_config")
    if quantization is None:
        given = (
            fields.get("torch_dtype")
            or fields.get("dtype")
            or config.get("torch_dtype")
            or config.get("dtype")
        )
        if given is None:
            notes.append("the configuration gives no dtype: bf16 is assumed")
        elif given not in DTYPES:
            raise fields.error("torch_dtype", f"is {given!r}, not one of {', '.join(DTYPES)}")
        return DTYPES.get(str(given), "bf16"), "linear"
    if not isinstance(quantization, Mapping):
        raise fields.error("quantization_config", "is not a table")
    method = str(quantization.get("quant_method"))
    if method not in QUANT_METHODS:
        raise fields.error(
            "quantization_config.quant_method", f"is {method!r}; supported: {', '.join(QUANT_METHODS)}"
        )
    kept = [str(name) for key in ("ignore", "modules_to_not_convert") for name in quantization.get(key) or []]
    parts = "linear"
    if any("attn" in name and "norm" not in name and "indexer" not in name for name in kept):
        parts = "experts" if method == "mxfp4" or any("shared_expert" in name for name in kept) else "mlp"
    return _quantized_dtype(method, quantization, fields), "experts" if method == "mxfp4" else parts


def _quantized_dtype(method: str, quantization: Mapping[str, Any], fields: Fields) -> str:
    if method in ("fp8", "mxfp4"):
        return method
    if method in ("awq", "gptq"):
        kinds: set[tuple[Any, Any]] = {(quantization.get("bits", quantization.get("w_bit")), "int")}
    elif method == "modelopt":
        algorithm = str(quantization.get("quant_algo", "")).lower()
        if algorithm not in ("fp8", "nvfp4"):
            raise fields.error("quantization_config.quant_algo", f"is {algorithm!r}, not FP8 or NVFP4")
        return algorithm
    else:
        groups = [
            group.get("weights") or {} for group in dict(quantization.get("config_groups") or {}).values()
        ]
        kinds = {(weights.get("num_bits"), weights.get("type")) for weights in groups}
        if len(kinds) != 1:
            raise fields.error(
                "quantization_config.config_groups",
                f"gives {len(kinds)} formats of weights; exactly one is supported",
            )
    bits, kind = kinds.pop()
    names = {(8, "float"): "fp8", (8, "int"): "int8", (4, "int"): "int4", (4, "float"): "nvfp4"}
    if (bits, kind) not in names:
        raise fields.error(
            "quantization_config", f"has weights of {bits!r} bits, type {kind!r}; 4 or 8 are supported"
        )
    return names[bits, kind]
