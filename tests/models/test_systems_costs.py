"""Systems of docs/systems.csv that change what a step costs or keeps in memory: each by its architecture."""

from __future__ import annotations

from dataclasses import replace

import pytest

from foretell.models.architecture import Architecture, LayerGroup, load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.memory import kv_bytes_per_token, kv_capacity, weights_bytes
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.pricing import step_cost
from foretell.models.roofline import RooflineCost, roofline_cost
from foretell.models.stepcost import StepLoad

H100 = load_hardware("h100-sxm")
LLAMA = load_architecture("llama-3.1-8b")
ALONE, BF16 = Parallelism(), Precision()


def with_attention(model: Architecture, **changes: object) -> Architecture:
    groups = tuple(
        replace(group, attention=replace(group.attention, **changes))  # type: ignore[arg-type]
        for group in model.layers
    )
    return replace(model, layers=groups)


def with_depth(model: Architecture, layers: int) -> Architecture:
    (group,) = model.layers
    return replace(model, layers=(replace(group, count=layers),))


def split(model: Architecture, layers: int, **changes: object) -> Architecture:
    """The model with the attention of `layers` of its layers changed."""
    (group,) = model.layers
    other = replace(group, count=layers, attention=replace(group.attention, **changes))  # type: ignore[arg-type]
    return replace(model, layers=(replace(group, count=group.count - layers), other))


def decode(batch: int, context: int) -> StepLoad:
    return StepLoad(decode_seqs=batch, decode_context=batch * context, sampled=batch)


def prefill(tokens: int, before: int = 0) -> StepLoad:
    return StepLoad(tokens, tokens * (before + (tokens + 1) / 2), before + tokens, 1, 0, 0, 1)


def seconds(model: Architecture, load: StepLoad, precision: Precision = BF16) -> float:
    return float(roofline_cost(model, H100, ALONE, precision)(*load))


@pytest.mark.systems(111, 371)
def test_a_constant_state_costs_the_same_at_any_context_and_holds_no_kv() -> None:
    linear = with_attention(LLAMA, linear=True, num_kv_heads=32)
    assert seconds(linear, decode(32, 1000)) == pytest.approx(seconds(linear, decode(32, 100_000)))
    assert seconds(LLAMA, decode(32, 100_000)) > 3 * seconds(linear, decode(32, 100_000))
    assert kv_bytes_per_token(linear, ALONE, BF16) == 0
    assert linear.kv_elements(1000) == linear.kv_elements(100_000) > 0


@pytest.mark.systems(159)
def test_a_hybrid_pays_for_context_by_its_share_of_attention_layers() -> None:
    hybrid = split(LLAMA, 24, linear=True, num_kv_heads=32)
    grown = [seconds(m, decode(32, 60_000)) - seconds(m, decode(32, 20_000)) for m in (hybrid, LLAMA)]
    assert grown[0] == pytest.approx(grown[1] / 4, rel=1e-6)
    assert kv_bytes_per_token(hybrid, ALONE, BF16) == kv_bytes_per_token(LLAMA, ALONE, BF16) / 4


@pytest.mark.systems(314)
def test_prefill_with_a_constant_state_is_linear_in_the_prompt() -> None:
    linear = with_attention(LLAMA, linear=True, num_kv_heads=32)
    # A segment costs the same wherever in the prompt it stands; with attention the later ones cost more.
    early, late = (seconds(linear, prefill(8192, before)) for before in (0, 120_000))
    assert late == pytest.approx(early)
    assert seconds(LLAMA, prefill(8192, 120_000)) > 2 * seconds(LLAMA, prefill(8192))


@pytest.mark.systems(62)
def test_layers_that_see_a_part_of_the_context_read_that_part() -> None:
    sparse = with_attention(LLAMA, sliding_window=4096)
    assert seconds(sparse, decode(16, 64_000)) == pytest.approx(seconds(sparse, decode(16, 8192)))
    read = [seconds(m, decode(16, 65_536)) - seconds(m, decode(16, 1)) for m in (sparse, LLAMA)]
    assert read[0] == pytest.approx(read[1] / 16, rel=0.02)
    assert kv_bytes_per_token(sparse, ALONE, BF16, 65_536) == kv_bytes_per_token(LLAMA, ALONE, BF16) / 16


@pytest.mark.systems(108)
def test_an_eighth_of_the_kv_is_room_for_eight_times_the_tokens_at_less_a_step() -> None:
    compressed = with_attention(LLAMA, num_kv_heads=1)  # as many bytes a token as at a compression of 8
    more = kv_capacity(compressed, H100, ALONE, BF16).num_kv_tokens
    assert more == pytest.approx(8 * kv_capacity(LLAMA, H100, ALONE, BF16).num_kv_tokens, rel=0.05)
    # At equal KV reads eight times as many sequences decode, for less than eight times the time.
    assert seconds(compressed, decode(64, 16_000)) < 1.5 * seconds(LLAMA, decode(8, 16_000))


@pytest.mark.systems(130)
def test_sparse_prefill_with_chunks_and_stages_takes_long_prompts_faster() -> None:
    def first_token_s(model: Architecture, stages: int) -> float:
        cost = roofline_cost(model, H100, Parallelism(4, stages), BF16)
        return sum(float(cost(*prefill(32_768, start))) for start in range(0, 262_144, 32_768))

    sparse = with_attention(LLAMA, sliding_window=32_768)
    assert first_token_s(LLAMA, 1) > 2 * first_token_s(sparse, 1)
    assert first_token_s(sparse, 2) < 1.3 * first_token_s(sparse, 1)  # a single prompt passes every stage


@pytest.mark.systems(225, 349)
@pytest.mark.parametrize("layers", [8, 16, 24, 40])
def test_depth_is_a_multiplier_of_what_layers_cost(layers: int) -> None:
    bare = RooflineCost(
        LLAMA, replace(H100, launch_s=0.0, host_s=0.0), ALONE, BF16, roofline_cost(LLAMA, H100).efficiency
    )

    def busy(model: Architecture) -> float:
        return float(replace(bare, architecture=model)(*decode(8, 4000)))

    whole, none = busy(LLAMA), 2 * busy(with_depth(LLAMA, 16)) - busy(LLAMA)  # the head alone
    assert busy(with_depth(LLAMA, layers)) == pytest.approx(none + (whole - none) * layers / 32, rel=1e-6)


@pytest.mark.systems(172)
def test_a_share_of_the_layers_by_request_saves_its_share_of_compute() -> None:
    # Llama-2-7B: of 100 requests each runs as deep as it needs, 14.8 % less in the mean (the paper's figure).
    model = load_architecture("llama-2-7b")
    depths = [16] * 10 + [24] * 20 + [29] * 20 + [32] * 50
    spent = sum(seconds(with_depth(model, depth), prefill(512)) for depth in depths) / len(depths)
    saved = 1 - spent / seconds(model, prefill(512))
    assert saved == pytest.approx(1 - sum(depths) / len(depths) / 32, abs=0.02)
    assert 0 < saved < 0.5


@pytest.mark.systems(399)
def test_looped_layers_cost_their_loops_but_no_memory() -> None:
    looped = with_depth(LLAMA, 64)  # each of the 32 layers twice
    assert seconds(looped, prefill(2048)) == pytest.approx(2 * seconds(LLAMA, prefill(2048)), rel=0.1)


@pytest.mark.systems(73)
def test_layers_of_different_shapes_make_a_cheaper_model() -> None:
    (group,) = load_architecture("llama-3.1-70b").layers
    narrow = replace(group, count=40, mlp=replace(group.mlp, intermediate_size=8192))
    fewer = replace(group, count=16, attention=replace(group.attention, num_kv_heads=4))
    whole = load_architecture("llama-3.1-70b")
    puzzle = replace(whole, layers=(replace(group, count=24), narrow, fewer))
    plan = Parallelism(4)
    times = [float(roofline_cost(m, H100, plan, BF16)(*decode(64, 4000))) for m in (puzzle, whole)]
    assert times[0] < 0.9 * times[1]
    assert puzzle.parameters() < whole.parameters()
    assert kv_bytes_per_token(puzzle, plan, BF16) == pytest.approx(
        kv_bytes_per_token(whole, plan, BF16) * (64 + 8) / 80
    )


@pytest.mark.systems(184)
def test_stages_and_ranks_together_hold_few_bits_a_weight() -> None:
    small, plan = Precision("int4", "bf16"), Parallelism(2, 2)
    model = load_architecture("llama-3.1-70b")
    held = weights_bytes(model, plan, small, H100)
    assert held < 0.4 * weights_bytes(model, plan, BF16, H100)
    assert held == pytest.approx(weights_bytes(model, Parallelism(4), small, H100), rel=0.05)
    costs = [roofline_cost(model, H100, plan, formats) for formats in (small, BF16)]
    assert float(costs[0](*decode(1, 1000))) < 0.5 * float(costs[1](*decode(1, 1000)))
    talks = [roofline_cost(model, H100, p, small).breakdown(*decode(8, 1000)) for p in (plan, Parallelism(4))]
    assert talks[0]["communication"] < talks[1]["communication"]


@pytest.mark.systems(176)
def test_a_processor_is_a_device_like_others() -> None:
    cpu, model = load_hardware("cpu-2core"), load_architecture("qwen3-0.6b")
    cost = step_cost(model, cpu)
    on_gpu = step_cost(model, H100, operator_times="roofline")
    assert float(cost(*decode(1, 100))) > 5 * float(on_gpu(*decode(1, 100)))
    read_s = 2 * model.parameters() / cpu.accelerator.memory_Bps
    assert float(cost(*decode(1, 100))) > read_s


@pytest.mark.systems(237)
def test_a_processor_with_a_smaller_kv_cache_reads_less() -> None:
    cpu, model = load_hardware("cpu-2core"), load_architecture("qwen3-0.6b")
    wide, narrow = (
        roofline_cost(model, cpu, ALONE, Precision(kv_cache=kv))(*decode(4, 8000)) for kv in ("bf16", "int8")
    )
    assert narrow < wide


@pytest.mark.systems(7)
def test_one_pass_costs_less_than_decoding_beams() -> None:
    beams = seconds(LLAMA, prefill(1024)) + sum(seconds(LLAMA, decode(20, 1024 + i)) for i in range(16))
    assert seconds(LLAMA, prefill(512)) < 0.1 * beams


@pytest.mark.systems(199)
def test_a_model_that_skips_half_its_layers_drafts_for_itself() -> None:
    from foretell.models.accuracy.speculative import token_speedup

    model = load_architecture("llama-2-13b")
    relative = seconds(with_depth(model, 20), decode(1, 500)) / seconds(model, decode(1, 500))
    assert 0.45 < relative < 0.65
    sure, unsure = (float(token_speedup(a, 4, relative)) for a in (0.95, 0.5))
    assert sure > 1.2 > 1 > unsure


def test_groups_keep_their_layers() -> None:
    assert split(LLAMA, 8, sliding_window=128).num_layers == LLAMA.num_layers
    assert isinstance(split(LLAMA, 8, sliding_window=128).layers[1], LayerGroup)


@pytest.mark.systems(165)
def test_a_window_and_a_state_together_bound_what_a_sequence_holds() -> None:
    both = split(with_attention(LLAMA, sliding_window=2048), 16, linear=True, num_kv_heads=32)
    assert both.kv_elements(4096) == both.kv_elements(400_000)
    assert both.kv_elements(1024) < both.kv_elements(4096) < LLAMA.kv_elements(4096)
    assert seconds(both, decode(32, 100_000)) == pytest.approx(seconds(both, decode(32, 4096)))
