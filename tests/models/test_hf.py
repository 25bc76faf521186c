"""Hugging Face configurations: the families, what is unknown, what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from foretell.models.architecture import load_architecture
from foretell.models.hf import FAMILIES, architecture_from_hf
from places import SHARED

TINY: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 100,
    "max_position_embeddings": 512,
    "torch_dtype": "bfloat16",
}
PROJECTIONS = 64 * (4 + 2 + 2) * 16 + 64 * 64
OUTSIDE = 2 * 100 * 64 + 64 + 4 * 2 * 64


def tiny(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in (TINY | fields).items() if value is not ...}


def layer(**fields: Any) -> float:
    """Parameters of one layer beyond the norms, embeddings and head."""
    return (architecture_from_hf(tiny(**fields), "tiny").parameters() - OUTSIDE) / 4


def test_llama_and_its_biases() -> None:
    mlp = 3 * 64 * 96
    assert layer() == PROJECTIONS + mlp
    assert layer(attention_bias=True) == PROJECTIONS + mlp + 128 + 64
    assert layer(mlp_bias=True) == PROJECTIONS + mlp + 2 * 96 + 64
    assert layer(num_key_value_heads=...) == 4 * 64 * 64 + mlp
    assert architecture_from_hf(tiny(head_dim=...), "tiny").layers[0].attention.head_dim == 16


def test_qwen_biases_and_norms() -> None:
    mlp = 3 * 64 * 96
    assert layer(model_type="qwen2") == PROJECTIONS + mlp + 128
    assert layer(model_type="qwen3") == PROJECTIONS + mlp + 2 * 16


def test_qwen_windows_only_where_switched_on() -> None:
    config = tiny(model_type="qwen2", sliding_window=32, max_window_layers=3)
    assert {g.attention.sliding_window for g in architecture_from_hf(config, "q").layers} == {None}
    groups = architecture_from_hf(config | {"use_sliding_window": True}, "q").layers
    assert [(g.count, g.attention.sliding_window) for g in groups] == [(3, None), (1, 32)]


def test_mistral_window() -> None:
    (group,) = architecture_from_hf(tiny(model_type="mistral", sliding_window=128), "m").layers
    assert (group.count, group.attention.sliding_window) == (4, 128)


def test_sparse_layers_of_qwen_moe() -> None:
    moe = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
    groups = architecture_from_hf(
        tiny(model_type="qwen3_moe", decoder_sparse_step=2, mlp_only_layers=[3], **moe), "q"
    ).layers
    assert [(g.count, g.mlp.num_experts) for g in groups] == [(3, 0), (1, 8)]
    groups = architecture_from_hf(
        tiny(model_type="qwen2_moe", shared_expert_intermediate_size=48, **moe), "q"
    ).layers
    assert layer(model_type="qwen2_moe", shared_expert_intermediate_size=48, **moe) == (
        PROJECTIONS + 128 + 8 * 3 * 64 * 24 + 8 * 64 + 3 * 64 * 48 + 64
    )
    assert groups[0].mlp.active_parameters(64) == 2 * 3 * 64 * 24 + 8 * 64 + 3 * 64 * 48 + 64


def test_gated_delta_nets_take_the_values_of_a_key_head_together() -> None:
    config = tiny(
        model_type="qwen3_5_text", full_attention_interval=4, linear_num_key_heads=2, linear_key_head_dim=8,
        linear_num_value_heads=4, linear_value_head_dim=6, attn_output_gate=True,
    )  # fmt: skip
    linear, full = architecture_from_hf(config, "q").layers
    assert (linear.count, full.count) == (3, 1)
    assert linear.attention.projection_parameters(64) == 64 * (2 * 8 * 2 + 4 * 6 * 2) + 4 * 6 * 64
    assert linear.attention.state_elements() == 4 * 8 * 6
    assert full.attention.projection_parameters(64) == PROJECTIONS + 64 * 64
    assert full.attention.output_gate
    listed = config | {"layer_types": ["full_attention"] * 2 + ["linear_attention"] * 2}
    assert [group.count for group in architecture_from_hf(listed, "q").layers] == [2, 2]
    for wrong, line in (
        ({"layer_types": ["full_attention"]}, "field 'layer_types' is not a list of 4"),
        ({"linear_num_key_heads": 3}, "'linear_num_key_heads' does not divide linear_num_value_heads 4"),
    ):
        with pytest.raises(ValueError, match=line):
            architecture_from_hf(config | wrong, "q")


def test_layer_types_decide_windows() -> None:
    config = tiny(
        model_type="gpt_oss", sliding_window=32, num_local_experts=4, num_experts_per_tok=2,
        layer_types=["full_attention"] * 3 + ["sliding_attention"],
    )  # fmt: skip
    groups = architecture_from_hf(config, "g").layers
    assert [(g.count, g.attention.sliding_window) for g in groups] == [(3, None), (1, 32)]
    with pytest.raises(ValueError, match="field 'layer_types' is not a list of 4 of"):
        architecture_from_hf(config | {"layer_types": ["full_attention"]}, "g")


def test_maverick_interleaves_dense_and_sparse_layers() -> None:
    layers = load_architecture("llama-4-maverick").layers
    assert sum(g.count for g in layers if g.mlp.num_experts == 128) == 24
    assert sum(g.count for g in layers if g.mlp.intermediate_size == 16384) == 24
    assert any("chunked attention" in note for note in load_architecture("llama-4-maverick").notes)
    assert any("vision tower" in note for note in load_architecture("llama-4-maverick").notes)


def test_unknown_fields_are_reported_and_nothing_else() -> None:
    known = architecture_from_hf(tiny(rope_theta=1e4, bos_token_id=1, hidden_act="silu"), "t")
    assert known.unknown_fields == ()
    odd = architecture_from_hf(tiny(wormholes=3, num_experts=8), "t")
    assert odd.unknown_fields == ("num_experts", "wormholes")
    assert odd.parameters() == known.parameters()
    wrapped = {"model_type": "x", "text_config": tiny(inner=1), "outer": 2, "vision_config": {}}
    assert architecture_from_hf(wrapped, "t").unknown_fields == ("inner", "outer")


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        ({"quant_method": "fp8", "modules_to_not_convert": ["lm_head"]}, ("fp8", "linear")),
        (
            {
                "quant_method": "fp8",
                "modules_to_not_convert": ["lm_head", "layers.0.self_attn.q_a_layernorm"],
            },
            ("fp8", "linear"),
        ),
        ({"quant_method": "awq", "bits": 4}, ("int4", "linear")),
        ({"quant_method": "gptq", "bits": 8}, ("int8", "linear")),
        ({"quant_method": "mxfp4"}, ("mxfp4", "experts")),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, ("nvfp4", "linear")),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"num_bits": 4, "type": "int"}}},
                "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"],
            },
            ("int4", "experts"),
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"num_bits": 8, "type": "float"}}},
                "ignore": ["model.layers.0.self_attn.q_proj"],
            },
            ("fp8", "mlp"),
        ),
    ],
)
def test_quantised_checkpoints(quantization: dict[str, Any], expected: tuple[str, str]) -> None:
    architecture = architecture_from_hf(tiny(quantization_config=quantization), "t")
    assert (architecture.weight_dtype, architecture.quantized_parts) == expected


def test_a_missing_dtype_is_said() -> None:
    architecture = architecture_from_hf(tiny(torch_dtype=...), "t")
    assert architecture.weight_dtype == "bf16"
    assert any("no dtype" in note for note in architecture.notes)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"model_type": "mamba"}, "model_type 'mamba' is not supported; supported: deepseek_v2"),
        ({"model_type": ...}, "field 'model_type' is missing"),
        ({"hidden_size": ...}, "field 'hidden_size' is missing"),
        ({"vocab_size": 0}, "field 'vocab_size' is 0"),
        ({"num_hidden_layers": "32"}, "field 'num_hidden_layers' is '32'"),
        ({"num_hidden_layers": True}, "field 'num_hidden_layers' is True"),
        ({"num_key_value_heads": 3}, "num_kv_heads: 3 does not divide num_heads 4"),
        ({"head_dim": ..., "num_attention_heads": 7}, "field 'head_dim' is missing"),
        ({"tie_word_embeddings": "no"}, "field 'tie_word_embeddings' is 'no'"),
        ({"model_type": "qwen3", "head_dim": ...}, "field 'head_dim' is missing"),
        ({"model_type": "mixtral"}, "field 'num_local_experts' is missing"),
        ({"model_type": "deepseek_v3"}, "field 'kv_lora_rank' is missing"),
        ({"torch_dtype": "int3"}, "field 'torch_dtype' is 'int3', not one of bfloat16"),
        ({"quantization_config": {"quant_method": "magic"}}, "is 'magic'; supported: fp8"),
        ({"quantization_config": {"quant_method": "awq", "bits": 3}}, "has weights of 3 bits"),
        ({"text_config": 5}, "field 'text_config' is not a table"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        architecture_from_hf(tiny(**fields), "tiny")
    assert str(caught.value).startswith("model tiny")
    assert "\n" not in str(caught.value)


def test_a_config_json_or_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "my-model" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(TINY))
    assert load_architecture(str(path)).name == "my-model"
    assert load_architecture(str(path.parent)) == load_architecture(str(path))
    path.write_text("{")
    with pytest.raises(ValueError, match=r"config.json: not valid JSON"):
        load_architecture(str(path))
    path.write_text("[1]")
    with pytest.raises(ValueError, match="expected a table of fields"):
        load_architecture(str(path))


def test_the_measured_small_models_are_read() -> None:
    folder = SHARED / "data" / "vllm-cpu" / "models"
    configs = sorted(folder.glob("*/config.json"))
    if not configs:
        pytest.skip("the recorded vLLM runs are not beside this checkout")
    for path in configs:
        assert architecture_from_hf(json.loads(path.read_text()), path.parent.name).unknown_fields == ()


def test_every_family_is_bundled_or_tested_here() -> None:
    assert {
        "llama",
        "mistral",
        "mixtral",
        "qwen2",
        "qwen3",
        "qwen3_moe",
        "deepseek_v2",
        "deepseek_v3",
    } <= set(FAMILIES)
    assert {"kimi_k2", "gpt_oss", "minimax_text_01", "minimax_m2", "llama4_text", "glm4_moe"} <= set(FAMILIES)
