"""Experts read, rank imbalance and routers, against exact enumeration, simulation and hand arithmetic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.layers import step_operators
from foretell.models.moe import (
    expected_distinct_experts,
    expected_distinct_skewed,
    most_loaded_rank_factor,
    zipf_popularity,
)
from foretell.models.operators import Linear
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision


@pytest.mark.parametrize(
    ("experts", "top_k", "tokens"), [(4, 2, 1), (4, 2, 3), (5, 1, 3), (5, 3, 2), (6, 2, 2)]
)
def test_distinct_experts_equal_the_mean_over_every_possible_routing(
    experts: int, top_k: int, tokens: int
) -> None:
    choices = list(itertools.combinations(range(experts), top_k))
    sizes = [len(set().union(*routing)) for routing in itertools.product(choices, repeat=tokens)]
    assert expected_distinct_experts(tokens, experts, top_k) == pytest.approx(
        sum(sizes) / len(sizes), rel=1e-12
    )


def test_distinct_experts_at_the_ends() -> None:
    assert expected_distinct_experts(0, 128, 8) == 0
    assert expected_distinct_experts(1, 128, 8) == pytest.approx(8, rel=1e-12)
    assert expected_distinct_experts(10**6, 128, 8) == pytest.approx(128)
    assert expected_distinct_experts(3, 4, 4) == 4


@given(tokens=st.integers(0, 5000), experts=st.integers(2, 400), data=st.data())
def test_equal_popularity_is_the_uniform_law(tokens: int, experts: int, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, experts - 1))
    uniform = expected_distinct_experts(tokens, experts, top_k)
    skewed = expected_distinct_skewed(tokens, zipf_popularity(experts, 0.0), top_k)
    assert skewed == pytest.approx(uniform, rel=1e-9, abs=1e-9)


def test_skew_reads_fewer_experts_and_a_token_still_k() -> None:
    popularity = zipf_popularity(64, 1.2)
    assert expected_distinct_skewed(1, popularity, 8) == pytest.approx(8, rel=1e-9)
    tokens = np.array([2, 8, 32, 128])
    assert (expected_distinct_skewed(tokens, popularity, 8) < expected_distinct_experts(tokens, 64, 8)).all()


@pytest.mark.parametrize("ranks", [2, 8, 16])
def test_rank_factor_is_near_simulated_balls_in_bins(ranks: int) -> None:
    rng = np.random.default_rng(1)
    for mean in (4, 32, 512):
        counts = rng.multinomial(mean * ranks, [1 / ranks] * ranks, size=4000)
        simulated = counts.max(axis=1).mean() / mean
        factor = most_loaded_rank_factor(float(mean * ranks), ranks)
        assert simulated <= factor * 1.001
        assert factor <= 1.2 * simulated


def test_rank_factor_at_the_ends() -> None:
    assert most_loaded_rank_factor(100, 1) == 1
    assert most_loaded_rank_factor(1, 8) <= 8
    assert most_loaded_rank_factor(1e12, 8) == pytest.approx(1, abs=1e-5)


def test_minimax_routes_in_fp32_by_cuda_cores() -> None:
    """Its gate has fp32 weights and inputs: 3072 × 256 weights of 4 bytes, and a cast of every token."""
    peaks = load_hardware("h200").accelerator.peak_flops
    found = {
        op.name: op
        for op in step_operators(load_architecture("minimax-m2.5"), Parallelism(4), Precision(), peaks)
        if isinstance(op, Linear)
    }
    router, cast = found["router"], found["router_input"]
    assert (router.precision, router.weights, router.weight_bytes) == ("fp32", "fp32", 4.0 * 3072 * 256)
    assert cast.work(10)[1] == 10 * 3072 * (2 + 4)
    plain = step_operators(load_architecture("gpt-oss-120b"), Parallelism(), Precision(), peaks)
    assert {op.weights for op in plain if isinstance(op, Linear) and op.name == "router"} == {"bf16"}
