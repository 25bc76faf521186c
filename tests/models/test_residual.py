"""Scales by key: what a deployment's keys are, how factors multiply, and the file that is shipped."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.models.architecture import load_architecture
from foretell.models.catalogue import list_records
from foretell.models.residual import (
    CLIENT,
    GENERATIONS,
    Residual,
    load_residual,
    release,
    residual_keys,
)
from foretell.models.tabulated import TERMS

BY_HAND = Residual(
    {"gemm": 2.0, "layers": 8.0, "client": 10.0},
    {
        "model:a": {"gemm": 1.5, "client": 2.0},
        "accelerator:x": {"gemm": 0.5, "layers": 1.25},
        "accelerator:y": {},
        "pair:a, x": {"layers": 3.0},
        "pair:b, x": {"layers": 7.0},
    },
)
KINDS = ("model", "model on generation", "generation", "accelerator", "release", "pair")
SOURCES = ("silicon", "curves")


def test_keys() -> None:
    assert residual_keys("gpt-oss-120b", "b200", "0.11.2") == (
        "model:gpt-oss-120b",
        "model on generation:gpt-oss-120b, blackwell",
        "generation:blackwell",
        "accelerator:b200",
        "release:to 0.11",
        "pair:gpt-oss-120b, b200",
    )
    assert residual_keys("gpt-oss-120b", "a100-80gb-sxm") == (
        "model:gpt-oss-120b",
        "accelerator:a100-80gb-sxm",
        "release:since 0.18",
        "pair:gpt-oss-120b, a100-80gb-sxm",
    )


def test_generations_name_accelerators_of_the_catalogue_or_their_kin_once() -> None:
    names = [name for parts in GENERATIONS.values() for name in parts]
    assert len(names) == len(set(names))
    known = set(list_records("hardware"))
    for generation, parts in GENERATIONS.items():
        assert known & set(parts), generation


@pytest.mark.parametrize(
    ("version", "period"),
    [
        ("0.6.3", "to 0.11"),
        ("0.11.0", "to 0.11"),
        ("v0.11", "to 0.11"),
        ("0.12.0rc1", "to 0.17"),
        ("0.17.1", "to 0.17"),
        ("0.18.0", "since 0.18"),
        ("0.24.0", "since 0.18"),
        ("0.110", "since 0.18"),
        ("1.0", "since 0.18"),
        ("", "since 0.18"),
        (None, "since 0.18"),
        ("nightly", "since 0.18"),
    ],
)
def test_releases(version: str | None, period: str) -> None:
    assert release(version) == period


def test_factors_multiply() -> None:
    keys = ("model:a", "accelerator:x", "pair:a, x")
    assert BY_HAND.at(keys) == pytest.approx({"gemm": 1.5, "layers": 30.0, "client": 20.0})
    assert BY_HAND.terms(keys) == pytest.approx({"gemm": 1.5, "layers": 30.0})
    assert BY_HAND.at(("model:nobody", "accelerator:y")) == BY_HAND.scales
    assert BY_HAND.scales["gemm"] == 2.0  # `at` changes a copy


@pytest.mark.parametrize(
    ("model", "accelerator", "told"),
    [
        ("a", "x", "pair"),  # another server of a pair that was seen
        ("a", "y", "pair"),  # both were seen, but not together
        ("b", "x", "model"),
        ("a", "z", "accelerator"),
        ("b", "z", "both"),
    ],
)
def test_what_the_fit_had_not_seen(model: str, accelerator: str, told: str) -> None:
    assert BY_HAND.known(residual_keys(model, accelerator)) == told


@given(st.permutations((*residual_keys("a", "x"), "accelerator:nowhere")))
def test_the_order_of_keys_is_of_no_account(keys: list[str]) -> None:
    assert BY_HAND.at(keys) == pytest.approx(BY_HAND.at(residual_keys("a", "x")))
    assert BY_HAND.known(keys[:]) == "pair"


@pytest.mark.parametrize("source", SOURCES)
def test_the_shipped_scales(source: str) -> None:
    residual = load_residual(source)
    assert set(residual.scales) == {*TERMS, *CLIENT}
    every = [residual.scales, *residual.effects.values()]
    for factors in every:
        assert set(factors) <= {*TERMS, *CLIENT}
        assert all(math.isfinite(value) and value > 0 for value in factors.values())
    assert residual.source
    assert set(residual.errors) == {"pair", "model", "accelerator", "both", "sample"}
    for told in residual.errors.values():
        assert set(told) == {"ttft", "tpot"}
        assert all(0.0 < value < 1.0 for value in told.values())


@pytest.mark.parametrize("source", SOURCES)
def test_the_shipped_keys_are_those_of_deployments_that_can_be_asked_for(source: str) -> None:
    effects = load_residual(source).effects
    assert {key.partition(":")[0] for key in effects} == set(KINDS)
    hardware = set(list_records("hardware"))
    pairs = [key.removeprefix("pair:").split(", ") for key in effects if key.startswith("pair:")]
    assert pairs
    found = {"release:to 0.11", "release:to 0.17", "release:since 0.18"}
    for model, accelerator in pairs:
        load_architecture(model)
        assert accelerator in hardware
        assert load_residual(source).known(residual_keys(model, accelerator)) == "pair"
        found |= set(residual_keys(model, accelerator))
    assert set(effects) <= found


@pytest.mark.parametrize("source", SOURCES)
def test_no_deployment_is_scaled_beyond_reason(source: str) -> None:
    """Operators as measured or fitted within a factor of three, whatever the model, GPU and release."""
    residual = load_residual(source)
    operators = [term for term in TERMS if term not in ("layers", "prefill_layers", "step", "sequences")]
    for model in ("gpt-oss-120b", "llama-3.3-70b", "minimax-m2.5", "kimi-k2.5", "qwen3-32b"):
        for accelerator in ("h100-sxm", "h200", "b200", "b300", "gb200", "a100-80gb-sxm"):
            for version in ("0.11.0", "0.15.0", "0.19.0"):
                scales = residual.terms(residual_keys(model, accelerator, version))
                assert all(1 / 3 < scales[t] < 3 for t in operators if t != "launches"), (model, accelerator)
