"""KV transfers by hand."""

from __future__ import annotations

import pytest

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_link
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.transfer import KVTransfer, kv_transfer

LLAMA = load_architecture("llama-3.1-70b")  # 80 layers, 8 KV heads of 128: 2·80·8·128 elements a token
DEEPSEEK = load_architecture("deepseek-r1")  # 61 layers, a latent of 512 + 64 elements a token
NDR = load_link("infiniband-ndr")  # 50 GB/s
BF16, FP8 = Precision("bf16", "bf16", "bf16"), Precision("fp8", "fp8", "fp8")


def test_heads_are_shared_over_ranks_with_a_link_each() -> None:
    token_bytes = 2 * 80 * 8 * 128 * 2
    found = kv_transfer(LLAMA, BF16, NDR, Parallelism(4), Parallelism(8), efficiency=0.5)
    assert found.token_bytes == token_bytes
    assert found.token_s == pytest.approx(token_bytes / 4 / 50e9 / 0.5)  # the four senders set the pace
    assert found.latency_s == NDR.latency_s
    alone = kv_transfer(LLAMA, BF16, NDR, Parallelism(), Parallelism(8), efficiency=1)
    assert alone.token_s == pytest.approx(token_bytes / 50e9)


def test_more_ranks_than_heads_are_no_faster() -> None:
    eight, sixteen = (kv_transfer(LLAMA, BF16, NDR, Parallelism(n), Parallelism(n)).token_s for n in (8, 16))
    assert sixteen == eight


def test_a_latent_crosses_once_on_one_link() -> None:
    token_bytes = 61 * (512 + 64)
    for size in (1, 8):
        found = kv_transfer(DEEPSEEK, FP8, NDR, Parallelism(size), Parallelism(size), efficiency=1)
        assert found.token_bytes == token_bytes
        assert found.token_s == pytest.approx(token_bytes / 50e9)


def test_stages_send_side_by_side() -> None:
    found = kv_transfer(LLAMA, BF16, NDR, Parallelism(1, 2), Parallelism(1, 4), efficiency=1)
    assert found.token_s == pytest.approx(2 * 80 * 8 * 128 * 2 / 2 / 50e9)


def test_fewer_links_than_ranks_share_the_whole() -> None:
    found = kv_transfer(LLAMA, BF16, NDR, Parallelism(8), Parallelism(8), links_per_engine=2, efficiency=1)
    assert found.token_s == pytest.approx(2 * 80 * 8 * 128 * 2 / 2 / 50e9)
    spare = kv_transfer(LLAMA, BF16, NDR, Parallelism(8), Parallelism(8), links_per_engine=16, efficiency=1)
    assert spare.token_s == pytest.approx(2 * 80 * 8 * 128 * 2 / 8 / 50e9)  # a rank uses one link


def test_layer_by_layer_hides_behind_the_prefill_but_for_the_last_layer() -> None:
    transfer = kv_transfer(LLAMA, BF16, NDR, Parallelism(8), Parallelism(8), layerwise=True)
    whole = transfer.on_link_s(1000)
    assert transfer.remaining_s(1000, prefill_s=10.0) == pytest.approx(whole / 80)
    assert transfer.remaining_s(1000, prefill_s=whole / 4) == pytest.approx(whole * 3 / 4)
    assert KVTransfer(token_s=1e-3).remaining_s(1000, prefill_s=10.0) == 1.0


@pytest.mark.parametrize(
    ("name", "value"),
    [("efficiency", 0.0), ("efficiency", 1.5), ("links_per_engine", 0), ("latency_s", -1.0)],
)
def test_bad_figures_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        kv_transfer(LLAMA, BF16, NDR, Parallelism(), Parallelism(), **{name: value})  # type: ignore[arg-type]
