"""Rows simulated: what their scales depend on, repeats once, and reasons where nothing is found."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest

from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.residual import Residual
from foretell.models.silicon_source import has_silicon
from foretell.models.tabulated import TERMS
from foretell.validate import loops
from foretell.validate.closed_loop import LoopFeatures
from foretell.validate.loops import Loop, config_of, keys_of, simulate_row, simulate_rows
from foretell.validate.mixed import untuned
from foretell.validate.silicon_rows import MeasuredRow, Pool
from measured import measured, server_run

needs_silicon = pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")
PLAIN = untuned()


def loop(scales: Residual = PLAIN, operator_times: str = "curves", **changes: Any) -> Loop:
    return Loop(measured(**changes), scales, operator_times)


def same(one: LoopFeatures | str, other: LoopFeatures | str) -> bool:
    """Equal to the bit."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    parts = zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)
    return all(np.array_equal(a, b) for a, b in parts)


@cache
def found() -> LoopFeatures:
    result = simulate_row(loop())
    assert isinstance(result, LoopFeatures)
    return result


def test_what_a_rows_scales_depend_on() -> None:
    keys = keys_of(measured(accelerator="b200", version="0.17.1"))
    assert keys == (
        "model:llama-3.1-8b",
        "model on generation:llama-3.1-8b, blackwell",
        "generation:blackwell",
        "accelerator:b200",
        "release:to 0.17",
        "pair:llama-3.1-8b, b200",
    )
    others = keys_of(measured(accelerator="b200", version="0.17.1", backend="sglang"))
    assert others == tuple(key for key in keys if key != "release:to 0.17")


def test_a_row_by_its_parts() -> None:
    """One at a time nobody queues: the client's way, and each request's own steps."""
    one = simulate_row(loop(concurrency=1, num_requests=3, prompt_tokens=(100, 100), output_tokens=(5, 5)))
    assert isinstance(one, LoopFeatures)
    scales = np.array([PLAIN.scales[name] for name in TERMS])
    client = PLAIN.scales
    way_s = 1e-3 * client["client"] + 1e-6 * client["client_1k"] * 100 + 1e-6 * client["client_stream"]
    assert one.ttft_s == pytest.approx(way_s + scales @ one.ttft_terms, rel=1e-6)
    assert one.tpot_s == pytest.approx(scales @ one.tpot_terms, rel=1e-4)
    assert one.steps == 3 * 5
    # BF16 weights of 8 billion over 3.35 TB/s, and no more than twice of it
    assert 16e9 / 3.35e12 < one.tpot_s < 2 * 16e9 / 3.35e12


def test_scales_act() -> None:
    slower = {**PLAIN.scales, "gemm": 2.0 * PLAIN.scales["gemm"]}
    far = {**PLAIN.scales, "client": PLAIN.scales["client"] + 1000.0}
    for_model = dataclasses.replace(PLAIN, effects={"model:llama-3.1-8b": {"gemm": 2.0}})
    later = simulate_row(loop(Residual(far)))
    heavy, same_by_key = simulate_row(loop(Residual(slower))), simulate_row(loop(for_model))
    assert isinstance(later, LoopFeatures)
    assert isinstance(heavy, LoopFeatures)
    assert later.ttft_s > found().ttft_s + 0.9
    assert heavy.tpot_s > 1.3 * found().tpot_s
    assert same(heavy, same_by_key)


def test_engines_of_data_parallel_attention_share_the_clients() -> None:
    dense = Parallelism(1, data_parallel_size=2)
    two = simulate_row(loop(parallelism=dense, concurrency=8, num_requests=40))
    one = simulate_row(loop(concurrency=8, num_requests=40))
    assert isinstance(two, LoopFeatures)
    assert isinstance(one, LoopFeatures)
    assert two.steps > one.steps
    assert two.tpot_s < one.tpot_s


def test_repeats_are_simulated_once_and_both_rows_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that differ in what was measured alone are one simulation."""
    asked: list[Loop] = []

    class Here:
        """A pool of no processes, which counts."""

        def __init__(self, workers: int | None) -> None: ...

        def __enter__(self) -> Here:
            return self

        def __exit__(self, *error: object) -> None: ...

        def map(self, work: object, what: list[Loop], chunksize: int) -> list[LoopFeatures]:
            asked.extend(what)
            return [dataclasses.replace(found(), steps=each.row.run.concurrency) for each in what]

    monkeypatch.setattr(loops, "ProcessPoolExecutor", Here)
    told: list[tuple[int, int]] = []
    many = [
        loop(id="a"),
        loop(id="b", concurrency=2),
        loop(id="c", ttft_s=9.0, tpot_s=8.0, set_aside="a clock"),
        loop(id="d", version="0.18.0"),
        loop(id="e", operator_times="silicon"),
        loop(Residual({**PLAIN.scales, "step": 9.0}), id="f"),
    ]
    results = simulate_rows(many, lambda done, of: told.append((done, of)))
    assert len(asked) == 5
    assert results[0] is results[2]
    assert [each.steps for each in results if isinstance(each, LoopFeatures)] == [4, 2, 4, 4, 4, 4]
    assert told[-1] == (6, 6)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_as_many_processes_as_there_are_find_what_one_finds() -> None:
    many = [
        loop(id="a", concurrency=8),
        loop(id="b"),
        loop(id="c", ttft_s=1.0),
        loop(id="d", parallelism=Parallelism(3)),
        loop(id="e", accelerator="h200"),
    ]
    together, alone = simulate_rows(many), [simulate_row(each) for each in many]
    assert all(same(one, other) for one, other in zip(together, alone, strict=True))
    assert isinstance(together[3], str)
    assert same(together[1], together[2])
    assert not same(together[0], together[1])
    assert simulate_rows([]) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"parallelism": Parallelism(3)}, "tensor_parallel_size"),
        ({"accelerator": "nobody's"}, "nobody's"),
        ({"model": "nobody's"}, "nobody's"),
    ],
)
def test_what_cannot_be_simulated_says_why(changes: dict[str, Any], why: str) -> None:
    result = simulate_row(loop(**changes))
    assert isinstance(result, str)
    assert why in result


def test_settings() -> None:
    config = config_of(server_run(max_num_batched_tokens=32, max_num_seqs=64))
    assert config.max_num_batched_tokens == 64  # never fewer than sequences
    assert config.max_num_seqs == 64
    assert config.async_scheduling
    more = config_of(server_run(gpu_memory_utilization=0.95))
    assert more.num_gpu_blocks > config.num_gpu_blocks > 1000
    # weights that leave nothing by the estimate: the server ran, with two of its longest requests at least
    tight = server_run(model="llama-3.3-70b", prompt_tokens=(900, 1000), output_tokens=(90, 100))
    assert config_of(tight).num_gpu_blocks == 1 + 2 * 69


@pytest.mark.parametrize("operator_times", ["curves", pytest.param("silicon", marks=needs_silicon)])
def test_pools(operator_times: str) -> None:
    run = server_run(
        model="gpt-oss-120b",
        accelerator="b200",
        precision=Precision("mxfp4", "bf16", "bf16", "experts"),
        backend="trtllm",
        concurrency=8,
        num_requests=24,
    )
    row = MeasuredRow(run, False, Pool(1, Parallelism(1)), Pool(1, Parallelism(2)))
    result = simulate_row(Loop(row, PLAIN, operator_times))
    assert isinstance(result, LoopFeatures)
    whole = simulate_row(Loop(MeasuredRow(run), PLAIN, operator_times))
    assert isinstance(whole, LoopFeatures)
    assert 0.0 < result.tpot_s < whole.tpot_s  # twice the ranks, and no prompts between
    assert result.ttft_s > 1e-3 * PLAIN.scales["client"]
