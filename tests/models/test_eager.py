"""Steps without CUDA graphs: no shorter than the host's launches, and otherwise as they were."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest

from foretell.models.architecture import load_architecture
from foretell.models.eager import EAGER_LAUNCH_S, EAGER_LOG_ERROR, eager_seconds
from foretell.models.hardware import load_hardware
from foretell.models.parallelism import Parallelism
from foretell.models.roofline import roofline_cost
from foretell.models.stepcost import StepLoad
from foretell.models.tabulate import tabulate

LLAMA, H100 = load_architecture("llama-3.1-8b"), load_hardware("h100-sxm")
COSTS = pytest.mark.parametrize("build", [roofline_cost, tabulate])
Build = Callable[..., Any]
KERNELS = 32 * 10 + 5
"""Of a layer: two norms, four products, rotation, write to the KV cache, attention, activation. Beside
layers: embedding, norm, head and two of sampling."""


def decode(seqs: int, context: int = 500) -> StepLoad:
    return StepLoad(decode_seqs=seqs, decode_context=seqs * context, sampled=seqs)


@pytest.mark.systems(348)
@COSTS
def test_a_small_step_takes_its_launches(build: Build) -> None:
    cost = build(LLAMA, H100, enforce_eager=True)
    assert cost(*decode(1)) == pytest.approx(KERNELS * EAGER_LAUNCH_S)
    assert cost(*decode(8)) == cost(*decode(1))  # whatever the batch, as servers show


@COSTS
def test_messages_are_launched_too(build: Build) -> None:
    """Two all-reduces a layer and one of the embedding, and the gathering of logits."""
    cost = build(LLAMA, H100, Parallelism(2), enforce_eager=True)
    assert cost(*decode(1)) == pytest.approx((KERNELS + 66) * EAGER_LAUNCH_S)


@COSTS
def test_long_steps_are_as_with_graphs(build: Build) -> None:
    eager, graphs = build(LLAMA, H100, enforce_eager=True), build(LLAMA, H100)
    prompt = StepLoad(8192, 8192 * 4096, 8192, 1, 0, 0, 1)
    for load in (prompt, decode(1024, 2000)):
        assert eager(*load) == graphs(*load) > KERNELS * EAGER_LAUNCH_S
    assert graphs(*decode(1)) < 0.6 * eager(*decode(1))


@COSTS
@pytest.mark.parametrize("plan", [Parallelism(), Parallelism(1, 2)])
def test_runs_of_decoding_are_calls_to_the_bit(build: Build, plan: Parallelism) -> None:
    """On both sides of where the launches stop to bind."""
    cost = build(LLAMA, H100, plan, enforce_eager=True)
    found = list(islice(cost.decode_steps(64, 64 * 200), 6000))
    assert found == [cost(*decode(64, 200 + step)) for step in range(6000)]
    assert found[0] == found[100] < found[-1]


@COSTS
def test_breakdown_gives_the_wait_to_the_host_and_sums_to_the_step(build: Build) -> None:
    eager, graphs = build(LLAMA, H100, enforce_eager=True), build(LLAMA, H100)
    load = decode(1)
    parts, before = eager.breakdown(*load), graphs.breakdown(*load)
    assert sum(parts.values()) == pytest.approx(eager(*load))
    assert parts["host"] - before["host"] == pytest.approx(eager(*load) - graphs(*load))
    assert {name: parts[name] for name in parts if name != "host"} == {
        name: before[name] for name in parts if name != "host"
    }
    many = StepLoad(*(np.array([figure, 512 * figure]) for figure in load))
    assert eager(*many) == pytest.approx([eager(*load), eager(*decode(512))])


@COSTS
def test_draws_differ_as_servers_do(build: Build) -> None:
    cost, rng = build(LLAMA, H100, enforce_eager=True), np.random.default_rng(0)
    drawn = np.log([cost.perturbed(rng)(*decode(1)) for _ in range(400)])
    low = np.quantile(drawn, 0.9) - np.median(drawn)  # below, the accelerator may bind
    assert low == pytest.approx(1.2816 * EAGER_LOG_ERROR, rel=0.2)


@COSTS
def test_it_is_said_and_off_by_default(build: Build) -> None:
    assert any(
        note.startswith("enforce_eager: ") for note in build(LLAMA, H100, enforce_eager=True).validity()
    )
    assert not any("eager" in note for note in build(LLAMA, H100).validity())


def test_no_kernels_no_launches() -> None:
    assert eager_seconds((), ()) == 0
