"""Measured runs on two pools: the closed loop, its settings, and the prices of other back ends."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from foretell.models.architecture import load_architecture
from foretell.models.efficiency import load_efficiency
from foretell.models.hardware import load_hardware
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.silicon_source import has_silicon
from foretell.models.tabulate import tabulate
from foretell.models.tabulated import TabulatedCost
from foretell.models.transfer import KVTransfer
from foretell.sim.client import Client
from foretell.sim.config import EngineConfig
from foretell.validate.backends import backend_cost
from foretell.validate.closed_loop import uniform_lengths
from foretell.validate.pools import pools_of, simulate_pools, slice_of
from foretell.validate.server_runs import ServerRun
from foretell.validate.silicon_rows import MeasuredRow, Pool

needs_silicon = pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")
ONE = Pool(1, Parallelism())
CONFIG = EngineConfig(num_gpu_blocks=4000, max_num_batched_tokens=8192)
NOW = KVTransfer()


def measured(
    prefill: Pool = ONE, decode: Pool = ONE, concurrency: int = 1, prompt: int = 256, **changes: Any
) -> MeasuredRow:
    run = ServerRun(
        id="a",
        backend="vllm",
        version="",
        model="llama-3.1-8b",
        accelerator="h100-sxm",
        parallelism=decode.parallelism,
        precision=Precision(),
        concurrency=concurrency,
        num_requests=10 * concurrency,
        prompt_tokens=(prompt, prompt),
        output_tokens=(8, 8),
        max_num_batched_tokens=8192,
        max_num_seqs=1024,
        gpu_memory_utilization=0.9,
        ttft_s=1.0,
        tpot_s=1.0,
    )
    return MeasuredRow(dataclasses.replace(run, **changes), False, prefill, decode)


def cost(parallelism: Parallelism | None = None) -> TabulatedCost:
    return tabulate(load_architecture("llama-3.1-8b"), load_hardware("h100-sxm"), parallelism)


def loop(row: MeasuredRow, transfer: KVTransfer = NOW, client: Client | None = None) -> tuple[float, float]:
    run, price = row.run, cost()
    lengths = uniform_lengths(run.prompt_tokens, run.output_tokens, run.num_requests)
    return simulate_pools(row, price, price, CONFIG, CONFIG, transfer, lengths, client or Client())


def test_one_client_by_hand() -> None:
    ttft, tpot = loop(measured())
    price = cost()
    steps = [price(0, 0, 0, 0, 1, context, 1) for context in range(256, 264)]
    prefill = price(256, 256 * 257 / 2, 256, 1, 0, 0, 1)
    # the first step of the decode engine computes the last token of the prompt once more
    assert ttft == pytest.approx(prefill + steps[0], rel=0.01)
    assert tpot == pytest.approx(sum(steps[1:]) / 7, rel=0.01)


def test_transfer_and_client_come_on_top_of_the_first_token() -> None:
    ttft, tpot = loop(measured())
    far, same = loop(
        measured(), KVTransfer(token_s=1e-5, latency_s=0.01), Client(latency_s=0.02, per_prompt_token_s=1e-6)
    )
    assert far == pytest.approx(ttft + 256e-5 + 0.01 + 0.02 + 256e-6)
    assert same == pytest.approx(tpot)


def test_more_engines_answer_faster() -> None:
    ranks = Pool(1, Parallelism(1, data_parallel_size=2))
    alone, shared = loop(measured(concurrency=64)), loop(measured(ONE, ranks, concurrency=64))
    assert shared[1] < alone[1]
    assert loop(measured(ONE, Pool(2, Parallelism()), concurrency=64)) == shared
    assert loop(measured(ranks, ONE, concurrency=64))[0] < alone[0]


def test_a_slice_stands_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    row = measured(Pool(4, Parallelism()), Pool(4, Parallelism()), 512, num_requests=2048)
    ttft, tpot = loop(row)
    monkeypatch.setattr("foretell.validate.pools.slice_of", lambda *counts: 1)
    whole = loop(row)
    assert tpot == pytest.approx(whole[1], rel=0.01)
    assert ttft == pytest.approx(whole[0], rel=0.1)


@pytest.mark.parametrize(
    ("prefill", "decode", "concurrency", "parts"),
    [(40, 32, 2048, 8), (10, 32, 8192, 2), (1, 32, 8192, 1), (8, 8, 512, 2), (8, 8, 100, 1), (4, 4, 4096, 2)],
)
def test_slices(prefill: int, decode: int, concurrency: int, parts: int) -> None:
    assert slice_of(prefill, decode, concurrency) == parts


def test_settings() -> None:
    hardware, architecture = load_hardware("h100-sxm"), load_architecture("llama-3.1-8b")
    near = pools_of(measured(), hardware, architecture)
    eight = Pool(8, Parallelism())
    far = pools_of(measured(eight, eight), hardware, architecture)
    assert near[2].token_bytes == 2 * 32 * 8 * 128 * 2
    assert far[2].token_s > 5 * near[2].token_s  # over InfiniBand instead of NVLink
    assert near[0].num_gpu_blocks == near[1].num_gpu_blocks
    other = pools_of(measured(backend="sglang"), hardware, architecture)
    # nothing but weights and KV cache in the share: 0.9 · 79.2 GiB − 15 GiB, 2 MiB a block
    assert other[1].num_gpu_blocks == pytest.approx((0.9 * 79.2 - 15.0) * 512, rel=0.02)
    assert other[1].num_gpu_blocks > near[1].num_gpu_blocks


def test_a_model_that_should_not_fit_has_room_for_two_requests() -> None:
    row = measured(model="llama-3.1-405b", backend="sglang", prompt=1600)
    config, _, _ = pools_of(row, load_hardware("h100-sxm"), load_architecture("llama-3.1-405b"))
    assert config.num_gpu_blocks == 1 + 2 * 101


def test_rows_without_pools() -> None:
    row = MeasuredRow(measured().run)
    with pytest.raises(ValueError, match="it has no pools"):
        pools_of(row, load_hardware("h100-sxm"), load_architecture("llama-3.1-8b"))


@needs_silicon
def test_other_back_ends_prices() -> None:
    architecture, hardware = load_architecture("deepseek-r1"), load_hardware("gb200")
    wide = Parallelism(1, data_parallel_size=32, enable_expert_parallel=True)
    run = measured(
        model="deepseek-r1", accelerator="gb200", backend="sglang", precision=Precision("fp8", "fp8", "fp8")
    ).run
    load = (0, 0, 0, 0, 128, 128 * 1500, 128)
    price = backend_cost(run, wide, architecture, hardware)
    terms = price.terms(*load)
    # 4,096 tokens · 8 experts over 32 ranks; each goes to 31·(1 − (31/32)^8) = 6.95 others and back
    sent = 58 * 128 * 6.95 * 7168 * 3 / (900e9 * load_efficiency("gb200").link)
    assert 0.003 < terms["experts"] + terms.get("experts_compute", 0.0) < 0.015
    assert terms["communication"] == pytest.approx(sent + 116 * 4e-6, rel=0.01)
    assert price(*load) == pytest.approx(sum(price.breakdown(*load).values()))
    narrow = Parallelism(8)
    trt = dataclasses.replace(run, backend="trtllm")
    same = [backend_cost(each, narrow, architecture, hardware).terms(*load)["experts"] for each in (run, trt)]
    assert same[0] == same[1]
    assert np.isfinite(list(terms.values())).all()
