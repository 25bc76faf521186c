"""Bundled architectures against hand arithmetic and their makers' figures."""

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from foretell.models.architecture import (
    Architecture,
    Attention,
    LayerGroup,
    Mla,
    Mlp,
    list_architectures,
    load_architecture,
)
from foretell.models.catalogue import read_record

NAMES = list_architectures()
WANTED = {
    *("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b", "llama-3.3-70b", "llama-3.2-1b", "llama-3.2-3b"),
    *("llama-2-7b", "llama-2-70b", "llama-4-scout", "llama-4-maverick", "qwen2.5-7b", "qwen2.5-32b"),
    *("qwen2.5-72b", "qwen2.5-math-prm-7b", "qwen3-0.6b", "qwen3-1.7b", "qwen3-4b", "qwen3-8b", "qwen3-14b"),
    *("qwen3-32b", "qwen3-30b-a3b", "qwen3-235b-a22b", "mistral-7b", "mistral-small-24b", "mixtral-8x7b"),
    *("mixtral-8x22b", "deepseek-v3", "deepseek-r1", "deepseek-v2-lite", "gpt-oss-20b", "gpt-oss-120b"),
    *("minimax-m2", "minimax-text-01", "kimi-k2", "glm-4.5", "glm-4.5-air"),
    *("minimax-m2.5", "kimi-k2.5", "glm-5", "qwen3.5-397b-a17b"),
}


def published(name: str, field: str) -> float:
    value = getattr(load_architecture(name), field)
    assert isinstance(value, float)
    return value


def last_digit(value: float) -> float:
    """Unit of the last significant digit that was published: 1e9 for 37e9."""
    exponent = Decimal(f"{value:.0f}").normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return float(10**exponent)


def test_the_catalogue_has_what_was_asked_for() -> None:
    assert set(NAMES) >= WANTED


@pytest.mark.parametrize("name", NAMES)
def test_records_are_understood_whole_and_sourced(name: str) -> None:
    record, architecture = read_record("architectures", name), load_architecture(name)
    assert record["name"] == architecture.name == name
    assert architecture.unknown_fields == ()
    wanted = {"config", *(key for key in record if key.startswith("published_"))}
    assert set(architecture.sources) == wanted
    assert all(re.search(r"\b20\d\d\b", source) for source in architecture.sources.values())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "qwen2.5-math-prm-7b"])
def test_totals_match_the_published_ones_within_a_percent(name: str) -> None:
    figure = published(name, "published_parameters")
    assert load_architecture(name).parameters() == pytest.approx(figure, rel=0.01)


@pytest.mark.parametrize("name", [n for n in NAMES if load_architecture(n).published_active_parameters])
def test_active_parameters_match_the_published_ones(name: str) -> None:
    """Makers count embeddings, leave the input one out, or both; and give two digits."""
    architecture, figure = load_architecture(name), published(name, "published_active_parameters")
    active = architecture.active_parameters()
    without_input = active - architecture.embedding_parameters()
    without_both = without_input - architecture.head_parameters()
    nearest = min((active, without_input, without_both), key=lambda count: abs(count - figure))
    assert abs(nearest - figure) <= max(0.01 * figure, last_digit(figure))
    assert active <= architecture.parameters()


def test_llama_3_1_8b_by_hand() -> None:
    architecture = load_architecture("llama-3.1-8b")
    attention = 4096 * 4096 * 2 + 4096 * 1024 * 2
    layer = attention + 3 * 4096 * 14336 + 2 * 4096
    assert architecture.parameters() == 2 * 128256 * 4096 + 32 * layer + 4096 == 8_030_261_248
    assert architecture.active_parameters() == architecture.parameters()
    assert architecture.num_layers == 32
    # 8 KV heads x 128 x (K and V) x 32 layers: 128 KiB a token in bf16
    assert architecture.kv_elements_per_token() * 2 == 128 * 2**10
    assert architecture.kv_elements(1000) == 1000 * architecture.kv_elements_per_token()


def test_tied_embeddings_count_once() -> None:
    architecture = load_architecture("llama-3.2-1b")
    assert architecture.head_parameters() == 0
    assert architecture.parameters() == 1_235_814_400  # the checkpoint's own count


def test_gpt_oss_is_exact() -> None:
    """The model card gives 116.83B and 20.91B in all, 5.13B and 3.61B active without the input embedding."""
    large, small = load_architecture("gpt-oss-120b"), load_architecture("gpt-oss-20b")
    assert round(large.parameters() / 1e9, 2) == 116.83
    assert round(small.parameters() / 1e9, 2) == 20.91
    assert round((large.active_parameters() - large.embedding_parameters()) / 1e9, 2) == 5.13
    assert round((small.active_parameters() - small.embedding_parameters()) / 1e9, 2) == 3.61
    assert (large.weight_dtype, large.quantized_parts) == ("mxfp4", "experts")
    # half the layers keep 128 tokens: 18 x 1024 elements x (context + 128)
    assert large.kv_elements(10_000) == 18 * 8 * 128 * (10_000 + 128)
    # the experts: 128 x 36 x 3 x 2880 x 2880, and biases
    experts = 36 * 128 * (3 * 2880 * 2880 + 3 * 2880)
    assert large.quantized_parameters() == experts


def test_deepseek_v3_by_hand() -> None:
    architecture = load_architecture("deepseek-v3")
    # a token caches the latent and the shared rotary key: (512 + 64) x 61
    assert architecture.kv_elements_per_token() == 576 * 61 == 35136
    mla = 7168 * 1536 + 1536 * 128 * 192 + 7168 * 576 + 512 * 128 * 256 + 128 * 128 * 7168
    norms = 1536 + 512 + 2 * 7168
    moe = 257 * 3 * 7168 * 2048 + 256 * (7168 + 1)
    total = 2 * 129280 * 7168 + 7168 + 61 * (mla + norms) + 3 * 3 * 7168 * 18432 + 58 * moe
    assert architecture.parameters() == total == 671_026_419_200
    dense, sparse = architecture.layers
    assert (dense.count, sparse.count) == (3, 58)
    assert sparse.mlp == Mlp(2048, 256, 8, 2048, router_bias=True)
    assert architecture.is_moe


def test_linear_attention_keeps_a_constant_state() -> None:
    architecture = load_architecture("minimax-text-01")
    softmax = 10 * 2 * 8 * 128
    state = 70 * 64 * 128 * 128
    assert architecture.kv_elements_per_token() == softmax
    assert architecture.kv_elements(5) == 5 * softmax + state


def test_qwen3_5_by_hand() -> None:
    """15 layers of gated attention, 45 of a delta net with 16 key and 64 value heads of 128."""
    architecture = load_architecture("qwen3.5-397b-a17b")
    delta = 4096 * 128 * (16 + 16 + 64 + 64) + 64 * 128 * 4096
    full = 4096 * 256 * (32 + 32 + 2 + 2) + 32 * 256 * 4096
    moe = 513 * 3 * 4096 * 1024 + 512 * 4096 + 4096
    vectors = 60 * 2 * 4096 + 4096 + 45 * 64 * 128 + 15 * 2 * 256
    total = 45 * delta + 15 * full + 60 * moe + 2 * 248320 * 4096 + vectors
    assert architecture.parameters() == total
    assert architecture.kv_elements(1000) == 15 * 2 * 2 * 256 * 1000 + 45 * 64 * 128 * 128


def test_text_parts_that_others_share() -> None:
    """Kimi-K2.5 and MiniMax-M2.5 have the shapes of what came before them."""
    for new, old in (("kimi-k2.5", "kimi-k2"), ("minimax-m2.5", "minimax-m2")):
        assert load_architecture(new).layers == load_architecture(old).layers
    kimi = load_architecture("kimi-k2.5")
    assert (kimi.weight_dtype, kimi.quantized_parts) == ("int4", "experts")
    assert kimi.quantized_parameters() == 60 * 384 * 3 * 7168 * 2048


def test_windows_of_the_bundled_models() -> None:
    def windows(name: str) -> dict[int | None, int]:
        counts: dict[int | None, int] = {}
        for group in load_architecture(name).layers:
            window = group.attention.sliding_window
            counts[window] = counts.get(window, 0) + group.count
        return counts

    assert windows("llama-4-scout") == {8192: 36, None: 12}
    assert windows("gemma-3-27b") == {1024: 52, None: 10}
    assert windows("gpt-oss-20b") == {128: 12, None: 12}
    assert windows("qwen2.5-7b") == {None: 28}


def test_a_reward_head_replaces_the_language_model_head() -> None:
    prm, base = load_architecture("qwen2.5-math-prm-7b"), load_architecture("qwen2.5-7b")
    head = 3584 * 3584 + 3584 + 3584 * 2 + 2
    assert prm.parameters() == base.parameters() - 152064 * 3584 + head


def test_a_checkpoint_in_fp8_keeps_embeddings_norms_and_router_in_bf16() -> None:
    architecture = load_architecture("deepseek-v3")
    kept = architecture.parameters() - architecture.quantized_parameters()
    norms = 61 * (1536 + 512 + 2 * 7168) + 7168
    assert kept == 2 * 129280 * 7168 + 58 * 256 * 7169 + norms
    dense = load_architecture("llama-3.1-8b")
    assert dense.quantized_parameters() == dense.parameters()


def test_parts_of_a_small_model() -> None:
    attention = Attention(4, 2, 8, v_head_dim=6, qkv_bias=True, o_bias=True, qk_norm="full", sinks=True)
    assert attention.projection_parameters(10) == 10 * (32 + 16 + 12) + 24 * 10
    assert attention.vector_parameters(10) == 4 + (32 + 16 + 12) + 10 + (32 + 16)
    assert attention.kv_elements_per_token() == 2 * (8 + 6)
    mlp = Mlp(5, gated=False, bias=True)
    assert mlp.parameters(10) == 2 * 10 * 5 + 5 + 10
    model = Architecture("tiny", 10, 3, (LayerGroup(2, attention, mlp),), False, 64)
    assert model.parameters() == 2 * 3 * 10 + 10 + 2 * (840 + 122 + 115 + 20)
    assert (
        len({model, replace(model, sources={"vocab_size": "a toy (2026)"})}) == 2
    )  # hashable, sources and all


def test_mla_without_a_query_latent() -> None:
    attention = Attention(2, 2, 6, v_head_dim=3, mla=Mla(None, 5, 4, 2))
    assert attention.projection_parameters(10) == 10 * 2 * 6 + 10 * 7 + 5 * 2 * (4 + 3) + 2 * 3 * 10
    assert attention.vector_parameters(10) == 5
    assert attention.kv_elements_per_token() == 7


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("llama-3.1-8", "did you mean llama-3.1-8b"),
        ("meta-llama/Llama-3.1-8B-Instruct", "did you mean llama-3.1-8b"),
        ("qwen3-7b", "did you mean"),
        ("missing.json", "missing.json: No such file"),
    ],
)
def test_unknown_models_suggest_the_nearest(name: str, line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        load_architecture(name)
    assert "\n" not in str(caught.value)


def test_capitals_do_not_matter() -> None:
    assert load_architecture("Llama-3.1-8B").name == "llama-3.1-8b"


def test_a_users_own_record(tmp_path: Path) -> None:
    text = (
        'name = "mine"\n[config]\nmodel_type = "llama"\nhidden_size = 64\nintermediate_size = 128\n'
        "num_hidden_layers = 2\nnum_attention_heads = 4\nvocab_size = 100\nmax_position_embeddings = 512\n"
        'torch_dtype = "bfloat16"\n'
    )
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert load_architecture(str(path)).parameters() == 2 * 100 * 64 + 64 + 2 * (
        4 * 64 * 64 + 3 * 64 * 128 + 128
    )
    path.write_text(text.replace("hidden_size = 64\n", "", 1))
    with pytest.raises(ValueError, match="model mine: field 'hidden_size' is missing"):
        load_architecture(str(path))
    path.write_text("colour = 1\n" + text)
    with pytest.raises(ValueError, match="unknown field 'colour'"):
        load_architecture(str(path))


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (lambda: Attention(8, 3, 64), "num_kv_heads: 3 does not divide num_heads 8"),
        (lambda: Attention(0, 1, 64), "num_heads: 0 is not"),
        (lambda: Attention(8, 8, 64, sliding_window=0), "sliding_window: 0 is not"),
        (lambda: Mlp(64, 8, 9), "top_k: 9 is not between 1 and num_experts 8"),
        (lambda: LayerGroup(0, Attention(8, 8, 64), Mlp(64)), "count: 0 is not"),
    ],
)
def test_impossible_shapes_are_refused(build: object, line: str) -> None:
    assert callable(build)
    with pytest.raises(ValueError, match=re.escape(line)):
        build()
