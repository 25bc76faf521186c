"""Measured closed loops of vLLM: labels become configurations by rules that look at no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.validate.server_runs import ServerRun, read_server_runs, run_of, set_aside
from places import SHARED

RUNS = SHARED / "data" / "inferencex" / "vllm_closed_loop_runs.csv"
needs_runs = pytest.mark.skipif(not RUNS.is_file(), reason="no shared recordings")
NAN = float("nan")
ROW: dict[str, Any] = {
    "exp_uid": "aic-silicon/a",
    "model": "MiniMaxAI/MiniMax-M2.5",
    "gpu": "H200-141GB-SXM",
    "tp": 4.0,
    "dp": 1.0,
    "ep": 1.0,
    "weights_precision": "fp8",
    "kv_dtype": NAN,
    "engine_version": "0.19.0 (or so)",
    "concurrency": 64.0,
    "num_requests": 640.0,
    "isl_spec": "U[6553,8192]",
    "osl_spec": "U[819,1024]",
    "max_num_seqs": NAN,
    "max_num_batched_tokens": NAN,
    "gpu_mem_util": 0.9,
    "actual_ttft_mean_ms": 900.0,
    "actual_tpot_mean_ms": 30.0,
}
GPT, KIMI, LLAMA = "openai/gpt-oss-120b", "moonshotai/Kimi-K2.5", "meta-llama/Llama-3.1-70B"


def resolved(**columns: Any) -> ServerRun:
    return run_of({**ROW, **columns})


def test_a_row_in_full() -> None:
    assert resolved(max_num_seqs=512.0) == ServerRun(
        id="a",
        backend="vllm",
        version="0.19.0",
        model="minimax-m2.5",
        accelerator="h200",
        parallelism=Parallelism(4),
        precision=Precision("fp8", "fp8", "bf16", "linear"),
        concurrency=64,
        num_requests=640,
        prompt_tokens=(6553, 8192),
        output_tokens=(819, 1024),
        max_num_batched_tokens=8192,
        max_num_seqs=512,
        gpu_memory_utilization=0.9,
        ttft_s=0.9,
        tpot_s=0.03,
    )
    assert resolved().group == ("minimax-m2.5", "h200")
    assert resolved().release == (0, 19)
    assert resolved(engine_version="v0.10.2").release == (0, 10)
    assert resolved(engine_version=NAN).release == (0, 0)


@pytest.mark.parametrize(
    ("columns", "plan"),
    [
        ({"tp": 8.0, "ep": 8.0}, Parallelism(8, enable_expert_parallel=True)),
        ({"tp": 4.0, "dp": 4.0}, Parallelism(1, 1, 4, True)),  # attention, over the tensor ranks
        ({"tp": 4.0, "dp": 4.0, "ep": 16.0, "gpu": "H100-80GB-SXM"}, Parallelism(4, 1, 1, True)),
        ({"model": KIMI, "weights_precision": "int4", "dp": 4.0, "ep": 16.0}, Parallelism(4)),
        ({"gpu": "B200"}, Parallelism(4, enable_expert_parallel=True)),  # its first script
        ({"gpu": "B200", "kv_dtype": "fp8"}, Parallelism(4)),
        ({"gpu": "B300"}, Parallelism(4)),
    ],
)
def test_degrees(columns: dict[str, Any], plan: Parallelism) -> None:
    assert resolved(**columns).parallelism == plan


@pytest.mark.parametrize(
    ("model", "label", "kv", "precision"),
    [
        (GPT, "fp4", NAN, Precision("mxfp4", "bf16", "bf16", "experts")),
        (GPT, "fp4", "fp8", Precision("mxfp4", "bf16", "fp8", "experts")),
        (KIMI, "int4", NAN, Precision("int4", "bf16", "bf16", "experts")),
        (KIMI, "fp4", NAN, Precision("nvfp4", "fp4", "fp8", "experts")),  # as its checkpoint asks for
        (LLAMA, "fp8", "fp8", Precision("fp8", "fp8", "fp8", "linear")),
        (LLAMA, "fp4", "fp8", Precision("nvfp4", "fp4", "fp8", "linear")),
        (ROW["model"], "fp4", "auto", Precision("nvfp4", "fp4", "bf16", "experts")),
    ],
)
def test_formats(model: str, label: str, kv: Any, precision: Precision) -> None:
    assert resolved(model=model, weights_precision=label, kv_dtype=kv).precision == precision


def test_doubted_measurements() -> None:
    late = {"model": GPT, "weights_precision": "fp4", "gpu": "H100-80GB-SXM", "concurrency": 512.0}
    assert "waited outside" in resolved(**late, actual_ttft_mean_ms=20_000.0).set_aside
    assert not resolved(**late).set_aside
    assert not resolved(**{**late, "concurrency": 256.0}, actual_ttft_mean_ms=20_000.0).set_aside
    assert set_aside("kimi-k2.5", "h200", 16, 1.0, 0.064)
    assert not set_aside("minimax-m2.5", "h200", 16, 1.0, 0.064)


def write(path: Path, columns: dict[str, Any]) -> Path:
    cells = [str(value) if "," not in str(value) else f'"{value}"' for value in columns.values()]
    path.write_text(",".join(columns) + "\n" + ",".join(cells) + "\n", encoding="utf-8")
    return path


def test_a_file_of_one_run(tmp_path: Path) -> None:
    assert read_server_runs(write(tmp_path / "runs.csv", {**ROW, "kv_dtype": "", "max_num_seqs": ""})) == [
        resolved()
    ]


@pytest.mark.parametrize("column", ["gpu", "kv_dtype", "isl_spec", "actual_tpot_mean_ms", "max_num_seqs"])
def test_a_file_that_lacks_a_column_says_which(tmp_path: Path, column: str) -> None:
    path = write(tmp_path / "runs.csv", {name: value for name, value in ROW.items() if name != column})
    with pytest.raises(ValueError, match=f"runs.csv: .*'{column}'") as error:
        read_server_runs(path)
    assert "\n" not in str(error.value)


def test_a_file_with_a_name_that_nobody_knows(tmp_path: Path) -> None:
    for column, value in (("gpu", "MI300X"), ("model", "a/b"), ("osl_spec", "1k")):
        with pytest.raises(ValueError, match=f"runs.csv: .*'{value}'"):
            read_server_runs(write(tmp_path / "runs.csv", {**ROW, column: value}))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.csv: cannot be read as a table of runs"):
        read_server_runs(tmp_path / "none.csv")


@needs_runs
def test_the_recorded_runs() -> None:
    runs = read_server_runs(RUNS)
    assert len(runs) == len({run.id for run in runs}) == 1090
    assert sum(bool(run.set_aside) for run in runs) == 10
    assert {run.num_requests // run.concurrency for run in runs} == {10}
    for run in runs:
        assert run.parallelism.world_size <= 8
        assert 0 < run.tpot_s < 1 < run.output_tokens[0] <= run.output_tokens[1]
