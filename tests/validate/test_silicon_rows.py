"""The sample of measured servers: every row is resolved, or left out with a reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.parallelism import Parallelism
from foretell.models.silicon_source import has_silicon
from foretell.validate.silicon_rows import Pool, measured_rows, reasons, resolve, spread
from places import SHARED

NAN = float("nan")
needs_silicon = pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")
needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="no shared recordings")
DUMP = "db-dump/2026-04-27; config_id=1; silicon_concurrency=64; measured=2026-02-08"
DATED = "source_file=2026-04-06.csv; model=X; silicon_concurrency=64; measured=2026-02-08"
OWN = "source_file=data/h100_sxm/vllm/0.12.0/x.csv; silicon_concurrency=64"


def sample(**columns: Any) -> dict[str, Any]:
    return {
        "id": "a",
        "silicon_data_source": DUMP,
        "backend": "sglang",
        "backend_version": "0.5.9",
        "model_path": "deepseek-ai/DeepSeek-V3",
        "system": "b200_sxm",
        "precision": "fp8",
        "mode": "agg",
        "isl": 8192,
        "osl": 1024,
        "batch_size": 64.0,
        "tp_size": 8.0,
        "attention_dp_size": 1.0,
        "moe_tp_size": 8.0,
        "moe_ep_size": 1.0,
        "silicon_ttft_ms": 1000.0,
        "silicon_tpot_ms": 20.0,
        **columns,
    }


def plan(**columns: Any) -> Parallelism:
    rows, _ = resolve([sample(**columns)], set())
    return rows[0].run.parallelism


def test_degrees_that_were_multiplied() -> None:
    assert plan() == Parallelism(8)
    twice = {"tp_size": 64.0, "moe_ep_size": 8.0}
    assert plan(**twice) == Parallelism(8, enable_expert_parallel=True)
    attention = {"tp_size": 1.0, "attention_dp_size": 64.0, "moe_ep_size": 8.0}
    assert plan(**attention) == Parallelism(1, 1, 8, True)
    once = {"moe_tp_size": 1.0, "moe_ep_size": 8.0, "silicon_data_source": DATED}
    assert plan(**once, model_path="openai/gpt-oss-120b") == Parallelism(8, enable_expert_parallel=True)


def test_degrees_of_other_runs() -> None:
    own = {"silicon_data_source": OWN, "attention_dp_size": NAN}
    mixed = {"model_path": "Qwen/Qwen3-235B-A22B-FP8", "tp_size": 1.0, "moe_tp_size": 2.0, "moe_ep_size": 2.0}
    assert plan(**own, **mixed) == Parallelism(1, 1, 4, True)
    assert plan(**own, model_path="Qwen/Qwen3-32B", tp_size=2.0, moe_tp_size=1.0) == Parallelism(2)


def test_loads() -> None:
    (row,), _ = resolve([sample()], set())
    assert row.run.prompt_tokens == (6553, 8192)
    assert row.run.output_tokens == (819, 1024)
    assert (row.run.concurrency, row.run.num_requests) == (64, 640)
    assert (row.run.model, row.run.accelerator, row.run.precision.kv_cache) == ("deepseek-r1", "b200", "fp8")
    (row,), _ = resolve([sample(silicon_data_source=OWN, model_path="Qwen/Qwen3-32B", precision=NAN)], set())
    assert row.run.prompt_tokens == (8192, 8192)
    assert row.run.precision.weights == "bf16"


def test_pools() -> None:
    columns: dict[str, Any] = {}
    for phase, workers, tp, dp, ep in (("prefill", 5.0, 1.0, 8.0, 8.0), ("decode", 2.0, 8.0, 1.0, 1.0)):
        names = ("num_workers", "tp_size", "attention_dp_size", "moe_ep_size", "moe_tp_size")
        columns |= {f"{phase}_{n}": v for n, v in zip(names, (workers, tp, dp, ep, 8 / ep), strict=True)}
    (row,), _ = resolve([sample(mode="disagg", **columns)], set())
    assert row.mode == "disagg"
    assert row.prefill == Pool(5, Parallelism(1, 1, 8, True))
    assert row.decode == Pool(2, Parallelism(8))
    _, (out,) = resolve([sample(mode="disagg", **{**columns, "decode_num_workers": NAN})], set())
    assert "workers" in out.why


def pools(backend: str, *sides: tuple[float, float, float]) -> tuple[Parallelism, Parallelism]:
    columns: dict[str, Any] = {}
    for phase, (tp, dp, ep) in zip(("prefill", "decode"), sides, strict=True):
        names = ("num_workers", "tp_size", "attention_dp_size", "moe_ep_size", "moe_tp_size")
        values = (1.0, tp, dp, ep, tp * dp / ep)
        columns |= {f"{phase}_{n}": v for n, v in zip(names, values, strict=True)}
    (row,), _ = resolve([sample(mode="disagg", backend=backend, **columns)], set())
    assert row.prefill
    assert row.decode
    return row.prefill.parallelism, row.decode.parallelism


def test_degrees_that_pools_labels_lack() -> None:
    wide, narrow = Parallelism(1, 1, 32, True), Parallelism(1, 1, 8)
    assert pools("sglang", (1.0, 8.0, 1.0), (1.0, 32.0, 1.0)) == (narrow, wide)
    four, sixteen = (4.0, 1.0, 4.0), (16.0, 1.0, 16.0)
    spread = Parallelism(1, 1, 4, True), Parallelism(1, 1, 16, True)
    assert pools("vllm", four, sixteen) == spread
    assert pools("vllm", four, four) == (spread[0], Parallelism(4, enable_expert_parallel=True))
    assert pools("trtllm", four, four) == (Parallelism(4, enable_expert_parallel=True),) * 2


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"silicon_data_source": DATED}, "multi-token prediction"),
        ({"silicon_data_source": "db-dump/2026-04-27; config_id=1"}, "concurrency"),
        ({"tp_size": 72.0, "moe_tp_size": 72.0}, "two pools"),
        ({"silicon_data_source": OWN, "batch_size": 16.0}, "batch and concurrency"),
    ],
)
def test_rows_left_out(columns: dict[str, Any], word: str) -> None:
    rows, (out,) = resolve([sample(**columns)], set())
    assert not rows
    assert word in out.why


def test_a_measurement_counts_once_under_its_best_label() -> None:
    dated = sample(id="b", silicon_data_source=DATED, model_path="moonshotai/Kimi-K2.5")
    rows, (out,) = resolve([dated, sample()], set())
    assert [row.run.id for row in rows] == ["a"]
    assert out.id == "b"
    rows, left_out = resolve([dated, sample()], {"b"})
    assert not rows
    assert reasons(left_out) == {"sglang agg: the measurement of another row": 1}


def test_a_sample_is_spread_evenly() -> None:
    rows, _ = resolve([sample(id=str(i), silicon_tpot_ms=20.0 + i) for i in range(10)], set())
    assert [row.run.id for row in spread(rows, 2)] == ["2", "7"]
    assert spread(rows, None) == spread(rows, 10) == rows


@needs_silicon
def test_every_row_of_the_sample_is_resolved_or_left_out_once() -> None:
    found = measured_rows(None)
    ids = [row.run.id for row in found.rows] + [row.id for row in found.left_out]
    assert len(ids) == len(set(ids)) == 5221
    assert "sample's own columns" in found.source
    modes = Counter((row.run.backend, row.mode) for row in found.rows)
    assert min(modes.values()) >= 10
    assert len(modes) == 6
    for row in found.rows:
        hardware = load_hardware(row.run.accelerator)
        assert row.run.parallelism.world_size <= 72
        assert hardware.accelerator.memory_bytes > 0
        assert (row.decode is None) == (row.prefill is None)
    for model in {row.run.model for row in found.rows}:
        load_architecture(model)


@needs_silicon
@needs_shared
def test_the_sample_names_the_judged_runs_without_their_file() -> None:
    here, there = measured_rows(None), measured_rows(Path(SHARED) / "data")
    assert "flags at the date" in there.source
    runs, known = ({row.run.id: row.run for row in rows.rows if row.judged} for rows in (here, there))
    assert set(runs) == set(known)
    assert len(known) == 1090
    for name, run in runs.items():
        assert (run.prompt_tokens, run.concurrency) == (known[name].prompt_tokens, known[name].concurrency)
        assert (run.ttft_s, run.tpot_s) == pytest.approx((known[name].ttft_s, known[name].tpot_s))
    assert sum(runs[name].parallelism == known[name].parallelism for name in runs) > 0.95 * len(runs)
