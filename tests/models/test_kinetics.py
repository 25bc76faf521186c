"""The cost laws against sums token by token, the published formulas, and the engine's own operators."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.kinetics import (
    DENSE,
    PAPER,
    PAPER_INTENSITY,
    Cost,
    DecoderShape,
    Law,
    Sparse,
    attention_over_parameters,
    intensity,
    kv_tokens_read,
    query_cost,
    shape_of,
    with_parameters,
)
from foretell.models.layers import step_operators
from foretell.models.operators import Attend
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision

SMALL = DecoderShape("small", 1e9, 1e9, layers=3, heads=8, kv_heads=2, head_dim=16, hidden_size=128)
SIZES = {"0.6B": 0.752e9, "1.7B": 2.03e9, "4B": 4.02e9, "8B": 8.19e9, "14B": 14.77e9, "32B": 32.76e9}
tokens = st.integers(1, 400)


def paper_shapes() -> dict[str, DecoderShape]:
    return {
        size: with_parameters(shape_of(load_architecture(f"qwen3-{size.lower()}")), count)
        for size, count in SIZES.items()
    }


def published(p: DecoderShape, c: float, g: float, n: float) -> tuple[float, float]:
    """The second spelling of reference: 2NPg + 2rNcDg + rNDg², and 2cDg + NDg² bytes."""
    r, d = p.heads / p.kv_heads, 2 * p.layers * p.kv_heads * p.head_dim
    return (
        2 * n * p.active_parameters * g + 2 * r * n * c * d * g + r * n * d * g * g,
        2 * c * d * g + n * d * g * g,
    )


@pytest.mark.systems(26)
@given(tokens, tokens, st.integers(1, 64), st.sampled_from(list(SIZES)))
def test_the_published_dense_law_in_its_other_spelling(c: int, g: int, n: int, size: str) -> None:
    shape = paper_shapes()[size]
    found = query_cost(shape, c, g, n, law=PAPER)
    flops, memory = published(shape, c, g, n)
    assert found.flops == pytest.approx(flops, rel=1e-14)
    assert found.memory_bytes == pytest.approx(memory, rel=1e-14)
    assert found.link_bytes == 0


@given(tokens, tokens, st.integers(1, 600), st.integers(1, 9))
def test_exact_sums_are_those_token_by_token(c: int, g: int, b: int, block: int) -> None:
    read = sum(min(c + t, b) for t in range(1, g + 1))
    assert kv_tokens_read(c, g, b) == read
    assert kv_tokens_read(c, g) == sum(c + t for t in range(1, g + 1))
    keys = sum(math.ceil((c + t) / block) for t in range(1, g + 1))
    bare = replace(PAPER, exact_sums=True)
    width, kv_width = 8 * 16 * 3, 2 * 16 * 3
    for n in (1, 4):
        top = query_cost(SMALL, c, g, n, attention=Sparse(b), law=bare)
        assert top.flops == n * (2e9 * g + 4 * read * width)
        assert top.memory_bytes == n * 4 * read * kv_width
        blocks = query_cost(SMALL, c, g, n, attention=Sparse(b, block), law=bare)
        assert blocks.flops - top.flops == 2 * n * keys * width  # one key a block, multiplied with each query
        assert blocks.memory_bytes - top.memory_bytes == 2 * n * keys * kv_width


@given(tokens, tokens, st.integers(1, 300), st.integers(1, 9), st.integers(1, 64))
def test_the_published_sparse_laws(c: int, g: int, b: int, block: int, n: int) -> None:
    p = SMALL
    width, kv_width = p.heads * p.head_dim * p.layers, p.kv_heads * p.head_dim * p.layers
    for sign, law in ((1, PAPER), (-1, replace(PAPER, sign_bug=False))):
        kv = b * g + sign * 0.5 * max(0, b - c) ** 2
        top = query_cost(p, c, g, n, attention=Sparse(b), law=law)
        assert top.flops == pytest.approx(n * (2e9 * g + 4 * kv * width))
        assert top.memory_bytes == pytest.approx(n * 4 * kv * kv_width)
        kv = b * g - 0.5 * max(0, b - c) ** 2  # the block script has the right sign
        blocks = query_cost(p, c, g, n, attention=Sparse(b, block), law=law)
        search = (2 * c + g) // block * g * width
        assert blocks.flops == pytest.approx(n * (2e9 * g + 4 * kv * width + search))
        shared = (2 * c + n * g) // block * g * kv_width
        assert blocks.memory_bytes == pytest.approx(n * 4 * kv * kv_width + shared)


def test_what_the_sign_bug_costs() -> None:
    """1 to 2 % at B = 512 and usual lengths; several times at B = 2048 and short chains."""
    shape = paper_shapes()["8B"]
    for budget, generated, low, high in (
        (512, 8192, 1.005, 1.02),
        (2048, 2048, 1.9, 2.5),
        (2048, 1024, 3, 5),
    ):
        bugged, right = (
            query_cost(shape, 256, generated, attention=Sparse(budget), law=law).eflops(PAPER_INTENSITY)
            for law in (PAPER, replace(PAPER, exact_sums=True, sign_bug=False))
        )
        assert low < bugged / right < high


def test_budgets_beyond_the_context_are_dense_without_a_shared_prompt() -> None:
    dense = query_cost(SMALL, 100, 50, 1)
    wide = query_cost(SMALL, 100, 50, 1, attention=Sparse(10_000))
    assert wide.flops == dense.flops
    assert wide.memory_bytes == dense.memory_bytes
    four, shared = (query_cost(SMALL, 100, 50, 4, attention=a).memory_bytes for a in (Sparse(10_000), DENSE))
    assert four - shared == 3 * 4 * 100 * 50 * 2 * 16 * 3  # three more trials read the prompt's KV


@pytest.mark.systems(26)
def test_the_paper_s_targets() -> None:
    """KV at 32K tokens and Φ at 4096 tokens after 256, for the six Qwen3 sizes."""
    shapes = paper_shapes()
    kv = [float(s.kv_bytes_of(32_768)) / 2**30 for s in shapes.values()]
    assert kv == [3.5, 3.5, 4.5, 4.5, 5.0, 8.0]
    phi = [attention_over_parameters(s, 4096, 256) for s in shapes.values()]
    assert phi == pytest.approx([88, 33, 21, 10, 6.5, 4.7], abs=0.5)  # as printed
    assert phi[-2:] == pytest.approx([6.5, 4.7], abs=0.05)
    assert intensity(load_hardware("b200").accelerator, "fp8") == PAPER_INTENSITY
    assert intensity(load_hardware("b200").accelerator) == PAPER_INTENSITY / 2


def test_phi_is_the_quotient_of_the_law_s_own_terms() -> None:
    shape, c, g = paper_shapes()["1.7B"], 256, 4096
    whole = query_cost(shape, c, g, law=PAPER)
    prompt_reads = 2 * c * g * 2 * shape.layers * shape.kv_heads * shape.head_dim
    attention = (
        whole.eflops(PAPER_INTENSITY) - 2 * shape.active_parameters * g - PAPER_INTENSITY * prompt_reads
    )
    phi = attention_over_parameters(shape, g, c)
    assert phi == pytest.approx(attention / (2 * shape.active_parameters * g))


def test_where_the_paper_counts_other_parameters() -> None:
    ours = {size: shape_of(load_architecture(f"qwen3-{size.lower()}")).active_parameters for size in SIZES}
    twice = {"0.6B", "1.7B"}  # the file holds the tied embedding a second time, as the head
    looked_up = {"8B", "14B", "32B"}  # an embedding of its own
    for size, paper in SIZES.items():
        model = load_architecture(f"qwen3-{size.lower()}")
        extra = model.embedding_parameters() if size in twice | looked_up else 0
        assert ours[size] + extra == pytest.approx(paper, rel=2e-3)


@pytest.mark.parametrize("name", ["qwen3-8b", "llama-3.1-70b", "qwen3-30b-a3b"])
@pytest.mark.parametrize("batch", [1, 16])
def test_a_step_costs_what_the_engine_s_operators_say(name: str, batch: int) -> None:
    """The difference of two answer lengths is one decode step; activations alone are not in the law."""
    model = load_architecture(name)
    shape, c, g = shape_of(model), 1000, 4000
    long, short = (query_cost(shape, c, n, batch=batch) for n in (g + 1, g))
    context = batch * (c + g + 1)
    flops = memory = 0.0
    for op in step_operators(model, Parallelism(), Precision(), load_hardware("h200").accelerator.peak_flops):
        if isinstance(op, Attend):
            work = op.work(batch, context, context, batch) if op.phase == "decode" else (0.0, 0.0)
        else:
            work = op.work(0 if op.driver == "prefill_context" else batch)
        flops, memory = flops + op.layers * work[0], memory + op.layers * work[1]
    assert batch * (long.flops - short.flops) == pytest.approx(flops, rel=0.01)
    assert batch * (long.memory_bytes - short.memory_bytes) == pytest.approx(memory, rel=0.02)


def test_each_switch_adds_its_term() -> None:
    shape = shape_of(load_architecture("qwen3-8b"))
    none = Law(parameter_reads=False, prefill=False, kv_writes=False, links=False)
    bare = query_cost(shape, 500, 100, 2, law=none, tensor_parallel_size=2)
    reads = query_cost(shape, 500, 100, 2, law=replace(none, parameter_reads=True), batch=4)
    assert reads.memory_bytes - bare.memory_bytes == pytest.approx(100 * 2 * shape.parameters / 4)
    writes = query_cost(shape, 500, 100, 2, law=replace(none, kv_writes=True))
    assert writes.memory_bytes - bare.memory_bytes == pytest.approx(shape.kv_bytes_of(200))
    first = query_cost(shape, 500, 100, 2, law=replace(none, prefill=True))
    pairs = sum(range(1, 501))
    work = 2 * shape.active_parameters * 500 + 4 * pairs * shape.heads * shape.head_dim * shape.layers
    assert first.flops - bare.flops == pytest.approx(work)
    sent = query_cost(shape, 500, 100, 2, law=replace(none, links=True), tensor_parallel_size=2).link_bytes
    ring = 2 * (2 - 1) / 2 * shape.hidden_size * 2  # bytes a rank sends, a token and all-reduce
    assert sent == pytest.approx(200 * 2 * shape.layers * 2 * ring)


def test_mixtures_read_the_experts_they_meet() -> None:
    model = load_architecture("qwen3-30b-a3b")
    shape = shape_of(model)
    assert shape.active_parameters < 0.12 * shape.parameters
    one, many = shape.weights_read_bytes(np.array([1.0, 1e6]))
    assert one == pytest.approx(2 * shape.active_parameters, rel=1e-3)
    assert many == pytest.approx(2 * shape.parameters)
    apart = [float(query_cost(shape, 0, 100, batch=b).memory_bytes) for b in (1, 8, 64, 4096)]
    assert apart == sorted(apart, reverse=True)
    dense = query_cost(shape_of(load_architecture("qwen3-32b")), 256, 8192, law=PAPER)
    assert query_cost(shape, 256, 8192, law=PAPER).flops < dense.flops / 5


def test_costs_add_and_overlap() -> None:
    both = Cost(np.array([4.0, 1.0]), 3.0) + Cost(1.0, 2.0, 6.0)
    assert both.eflops(2.0, 0.5).tolist() == [5 + 10 + 3, 2 + 10 + 3]
    assert both.eflops(0.0).tolist() == [5, 2]
    assert both.eflops(2.0, 0.5, overlap=True).tolist() == [10, 10]


def test_arrays_broadcast() -> None:
    grid = query_cost(
        SMALL, np.array([[10], [20]]), np.array([5, 50, 500]), 3, attention=Sparse(np.full((4, 1, 1), 32))
    )
    assert grid.flops.shape == grid.memory_bytes.shape == (4, 2, 3)
    one = query_cost(SMALL, 20, 50, 3, attention=Sparse(32))
    assert grid.eflops(7.0)[2, 1, 1] == pytest.approx(one.eflops(7.0))


def test_other_attention_is_refused() -> None:
    for name in ("deepseek-v3", "gpt-oss-20b"):
        with pytest.raises(ValueError, match="plain attention"):
            shape_of(load_architecture(name))
    with pytest.raises(ValueError, match="no peak_flops"):
        intensity(load_hardware("a100-80gb-sxm").accelerator, "fp8")
    with pytest.raises(ValueError, match="heads"):
        replace(SMALL, heads=0)
