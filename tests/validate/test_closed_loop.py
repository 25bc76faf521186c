"""Closed loops as load generators run them, and what of their latencies each term makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.tabulate import tabulate
from foretell.models.tabulated import TERMS
from foretell.sim import EngineConfig
from foretell.sim.client import Client
from foretell.validate.closed_loop import closed_loop, simulate_loop, uniform_lengths, way_s

COST = tabulate(
    load_architecture("llama-3.1-8b"), load_hardware("h100-sxm"), scales={"step": 2.0, "layers": 3.0}
)
FAR = Client(latency_s=0.01, per_prompt_token_s=1e-4)


@pytest.mark.parametrize("changes", [{}, {"async_scheduling": True}])
@pytest.mark.parametrize("engines", [1, 2])
def test_scaled_terms_add_up_to_the_latencies(changes: dict[str, Any], engines: int) -> None:
    """As latencies are the steps that a request waits for, and the client's way beside the first token's."""
    config = EngineConfig(num_gpu_blocks=10_000, max_num_seqs=64, **changes)
    prompts, outputs = uniform_lengths((200, 300), (1, 60), 40)
    found = simulate_loop(COST, config, engines, (prompts, outputs), 8, Client(latency_s=0.004))
    overheads = {"step": 2.0, "layers": 3.0, "prefill_layers": 0.0, "sequences": 0.0}
    scales = np.array([overheads.get(term, 1.0) for term in TERMS])
    # A run of decoding is priced at its mean context: exact but for the grids' corners.
    assert scales @ found.tpot_terms == pytest.approx(found.tpot_s, rel=1e-4)
    assert scales @ found.ttft_terms + 0.004 == pytest.approx(found.ttft_s, rel=1e-4)
    assert found.preemptions == 0


def test_the_first_requests_arrive_one_after_another_and_the_rest_wait_for_answers() -> None:
    prompts, outputs = np.array([100, 200, 300]), np.array([5, 5, 5])
    trace = closed_loop(prompts, outputs, 2, FAR)
    assert trace.arrival_s == pytest.approx([0.02, 0.04, 0.04])
    assert trace.think_s is not None
    assert trace.think_s[2] == pytest.approx(0.04)
    assert trace.concurrency == 2


def test_lengths_are_those_of_numpys_legacy_generator() -> None:
    prompts, outputs = uniform_lengths((0, 9), (0, 9), 10)
    # np.random.seed(0); np.random.randint(10, size=20), as NumPy's own documentation and many others print it
    assert prompts.tolist() == [5, 0, 3, 3, 7, 9, 3, 5, 2, 4]
    assert outputs.tolist() == [7, 6, 8, 8, 1, 6, 7, 7, 8, 1]
    assert uniform_lengths((8192, 8192), (1024, 1024), 3)[0].tolist() == [8192] * 3
    many = uniform_lengths((819, 1024), (6553, 8192), 5000)
    assert [(each.min(), each.max()) for each in many] == [(819, 1024), (6553, 8192)]


def test_the_way_of_the_first_requests_is_in_their_time_to_first_token() -> None:
    way = way_s(FAR, np.array([100, 200, 300]), 2)
    assert way == pytest.approx([0.02, 0.04, 0.04])
    config = EngineConfig(num_gpu_blocks=10_000)
    lengths = np.array([100, 200, 300]), np.array([5, 5, 5])
    near, far = (simulate_loop(COST, config, 1, lengths, 1, Client(latency_s=fixed)) for fixed in (0.0, 1.0))
    # one at a time: every request sees the same engine, later
    assert far.ttft_s == pytest.approx(near.ttft_s + 1.0)
    assert far.tpot_s == pytest.approx(near.tpot_s)
    assert far.steps == near.steps


def test_requests_of_one_token_have_no_time_per_token() -> None:
    lengths = np.full(8, 100), np.ones(8, dtype=np.int64)
    found = simulate_loop(COST, EngineConfig(num_gpu_blocks=1000), 1, lengths, 2, Client())
    assert found.tpot_s == 0.0
    assert not found.tpot_terms.any()
    assert found.ttft_s > 0.0
