"""The measured servers of aiconfigurator's `silicon_sample.csv`: which can be simulated, and why not others.

Four kinds of rows, told by their `silicon_data_source`:

- "db-dump": InferenceX's database of 2026-04-27, with the workers of both pools. Runs without speculation:
  their concurrencies are those of InferenceX's nvidia-master.yaml (2026) where it has no spec-decoding.
- a date: earlier exports of it. They repeat runs of the dump, mix in runs with multi-token prediction and do
  not say which; their disaggregated rows lack the number of workers and data-parallel attention.
- "...-gap-analysis.csv": rows of the two, rounded.
- the rest: NVIDIA's own runs, their load not described: taken for closed loops of fixed lengths.

Pools whose attention is data-parallel over more ranks than a server has spread whole experts, whatever their
label: FP8 blocks do not let an expert be cut so thin. vLLM's pools are those of NVIDIA's recipes
(srt-slurm, kimi-k2.5/1k1k/disagg-gb200-1p4d-dep4-tep4 and its like): prefill engines, and decode engines
wider than a server, have data-parallel attention, which the labels lack.

No rule looks at a time but that of repeats: a measurement counts once, under its best label. Where tp_size
and attention_dp_size were multiplied by moe_ep_size, the ranks are moe_tp_size = moe_ep_size. Rows that mix
speculation in, lack pools or a concurrency, or contradict themselves are left out, with the reason.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.silicon_source import data_folder
from foretell.validate.server_runs import ACCELERATORS, ServerRun, read_server_runs, run_of, set_aside

CLOSED_LOOP = Path("inferencex") / "vllm_closed_loop_runs.csv"
_ARCHITECTURES = (  # what a model's path contains → our name; InferenceX ran no DeepSeek but R1-0528
    ("DeepSeek-V3.1", "deepseek-v3"),
    ("DeepSeek-", "deepseek-r1"),
    ("Qwen3.5-397B", "qwen3.5-397b-a17b"),
    ("Qwen3-235B", "qwen3-235b-a22b"),
    ("Qwen3-32B", "qwen3-32b"),
    ("Llama-3.1-8B", "llama-3.1-8b"),
    ("Llama-3.1-70B", "llama-3.3-70b"),
    ("GLM-5", "glm-5"),
    ("Kimi-K2.5", "kimi-k2.5"),
    ("gpt-oss-120b", "gpt-oss-120b"),
    ("MiniMax-M2.5", "minimax-m2.5"),
)
_DENSE = ("qwen3-32b", "llama-3.1-8b", "llama-3.3-70b")
_PREDICTING = ("deepseek-r1", "qwen3.5-397b-a17b", "glm-5")
"""Models with a layer for multi-token prediction that InferenceX also ran with it."""
_BLACKWELL = ("b200", "b300", "gb200", "gb300")
_RANKS_OF_A_SERVER = 8
_MAX_NUM_BATCHED_TOKENS = 8192
"""All three engines' default on these accelerators."""
_ORDER = ("dump", "dated", "rounded", "own")
_SETTINGS = {  # backend → (tokens of a step, share of memory), from InferenceX's scripts
    "vllm": (8192, 0.9),
    "sglang": (32768, 0.82),
    "trtllm": (8192, 0.85),
}


@dataclass(frozen=True, slots=True)
class Pool:
    """Like engines of one phase: `workers` of them, each with `parallelism`, data-parallel ranks inside."""

    workers: int
    parallelism: Parallelism


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """A row that can be simulated.

    Attributes:
        run: model, load and measurement; its parallelism is that of the decode pool where there are two.
        judged: whether it is one of the closed-loop runs of vLLM that the targets speak of.
        prefill, decode: the pools of a disaggregated deployment, None of an aggregated one.

    """

    run: ServerRun
    judged: bool = False
    prefill: Pool | None = None
    decode: Pool | None = None

    @property
    def mode(self) -> str:
        """Either "agg" or "disagg"."""
        return "disagg" if self.decode else "agg"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that cannot be simulated, and why."""

    id: str
    backend: str
    mode: str
    why: str


@dataclass(frozen=True, slots=True)
class MeasuredRows:
    """All rows, and where the judged ones were read (`source`, for people)."""

    source: str
    rows: tuple[MeasuredRow, ...]
    left_out: tuple[LeftOut, ...]


def measured_rows(data: Path | None = None) -> MeasuredRows:
    """Read the sample of the extra `silicon`, and the closed-loop file in the folder `data` if it is there.

    Raises:
        ValueError: the extra is missing, or a file cannot be read.

    """
    sample = _read(data_folder().parent / "silicon_sample.csv")
    file = data / CLOSED_LOOP if data else None
    if file and file.is_file():
        judged = read_server_runs(file)
        source = f"{CLOSED_LOOP.name} (InferenceX, with the servers' flags at the date of measurement)"
    else:
        judged = [_judged(row) for row in sample if _is_judged(row)]
        source = (
            "the sample's own columns (vllm_closed_loop_runs.csv is absent: flags are the engines' defaults)"
        )
    rows, left_out = resolve(sample, {run.id for run in judged})
    return MeasuredRows(source, (*(MeasuredRow(run, True) for run in judged), *rows), left_out)


def spread(rows: Sequence[MeasuredRow], number: int | None) -> tuple[MeasuredRow, ...]:
    """Only `number` of the rows, evenly over their order; all where it is None."""
    if number is None or number >= len(rows):
        return tuple(rows)
    return tuple(rows[(2 * i + 1) * len(rows) // (2 * number)] for i in range(number))


def reasons(left_out: Sequence[LeftOut]) -> dict[str, int]:
    """How many rows are left out, by back end, mode and reason."""
    counts = Counter(f"{row.backend} {row.mode}: {row.why}" for row in left_out)
    return dict(sorted(counts.items()))


def resolve(
    sample: Sequence[Mapping[str, Any]], judged: set[str]
) -> tuple[tuple[MeasuredRow, ...], tuple[LeftOut, ...]]:
    """Resolve the rows that are not judged, by the rules of this module."""
    first: dict[tuple[Any, ...], str] = {}
    for row in sorted(sample, key=lambda row: (row["id"] not in judged, _ORDER.index(_kind(row)))):
        first.setdefault(_measurement(row), row["id"])
    rows, left_out = [], []
    for row in sample:
        if row["id"] in judged:
            continue
        same = first[_measurement(row)]
        why = _why_not(row) if same == row["id"] else "the measurement of another row"
        if why:
            left_out.append(LeftOut(row["id"], row["backend"], row["mode"], why))
        else:
            rows.append(_row(row))
    return tuple(rows), tuple(left_out)


def _read(path: Path) -> list[dict[str, Any]]:
    import pandas as pd

    try:
        rows = pd.read_csv(path, low_memory=False).to_dict("records")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as a table of runs ({error})") from None
    return [{str(key): value for key, value in row.items()} for row in rows]


def _measurement(row: Mapping[str, Any]) -> tuple[Any, ...]:
    times = (round(row["silicon_ttft_ms"], 2), round(row["silicon_tpot_ms"], 2))
    return (row["backend"], row["mode"], row["system"], row["isl"], row["osl"], *times)


def _kind(row: Mapping[str, Any]) -> str:
    source = row["silicon_data_source"]
    if source.startswith("db-dump"):
        return "dump"
    if re.match(r"source_file=\d{4}-\d\d-\d\d\.csv", source):
        return "dated"
    return "rounded" if "-gap-analysis.csv" in source else "own"


def _why_not(row: Mapping[str, Any]) -> str:
    kind, model = _kind(row), _model(row)
    if _concurrency(row) is None:
        return "its concurrency is not recorded"
    if kind in ("dated", "rounded") and model in _PREDICTING:
        return "its file mixes runs with multi-token prediction in and does not say which"
    if row["mode"] == "disagg":
        known = all(_count(row[f"{phase}_num_workers"]) for phase in ("prefill", "decode"))
        return "" if known else "the workers of its pools are not recorded"
    if _ranks(row) > _RANKS_OF_A_SERVER:
        return "labelled aggregated, but with the accelerators of two pools together"
    if kind == "own" and row["batch_size"] != _concurrency(row):
        return "batch and concurrency differ, and it says of neither replicas nor data-parallel attention"
    return ""


def _row(row: Mapping[str, Any]) -> MeasuredRow:
    if row["mode"] == "agg":
        return MeasuredRow(_run(row, _plan(row, "")))
    prefill, decode = _pool(row, "prefill"), _pool(row, "decode")
    return MeasuredRow(_run(row, decode.parallelism), False, prefill, decode)


def _run(row: Mapping[str, Any], parallelism: Parallelism) -> ServerRun:
    model, accelerator, backend = _model(row), ACCELERATORS[row["system"]], row["backend"]
    concurrency = _concurrency(row) or 1
    ttft_s, tpot_s = 1e-3 * row["silicon_ttft_ms"], 1e-3 * row["silicon_tpot_ms"]
    tokens, share = _SETTINGS[backend]
    if _kind(row) == "own":
        least, tokens = 1.0, _MAX_NUM_BATCHED_TOKENS
    else:
        least = 0.8
    version = row["backend_version"]
    return ServerRun(
        id=row["id"],
        backend=backend,
        version=version if isinstance(version, str) else "",
        model=model,
        accelerator=accelerator,
        parallelism=parallelism,
        precision=_precision(row, model, accelerator),
        concurrency=concurrency,
        num_requests=10 * concurrency,
        prompt_tokens=(int(least * row["isl"]), int(row["isl"])),
        output_tokens=(int(least * row["osl"]), int(row["osl"])),
        max_num_batched_tokens=max(tokens, concurrency + int(row["isl"])) if backend == "trtllm" else tokens,
        max_num_seqs=1024,
        gpu_memory_utilization=share,
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        set_aside=set_aside(model, accelerator, concurrency, ttft_s, tpot_s),
    )


def _precision(row: Mapping[str, Any], model: str, accelerator: str) -> Precision:
    """Formats by model and label; caches of quantised models are FP8 on Blackwell and in TensorRT-LLM."""
    label = row["precision"] if isinstance(row["precision"], str) else "bf16"
    eight = label != "bf16" and (row["backend"] == "trtllm" or accelerator in _BLACKWELL)
    cache = "fp8" if eight else "bf16"
    if model == "gpt-oss-120b":
        return Precision("mxfp4", "bf16", cache, "experts")  # its one checkpoint, whatever the label
    if label == "fp4":
        return Precision("nvfp4", "fp4", cache, "linear" if model in _DENSE else "experts")
    if label == "int4":
        return Precision("int4", "bf16", cache, "experts")
    return Precision("fp8", "fp8", cache, "linear") if label == "fp8" else Precision(kv_cache=cache)


def _pool(row: Mapping[str, Any], phase: str) -> Pool:
    return Pool(int(row[f"{phase}_num_workers"]), _plan(row, f"{phase}_"))


def _plan(row: Mapping[str, Any], phase: str) -> Parallelism:
    """True degrees: data-parallel attention where there are more attention ranks than tensor ranks."""
    tp, dp = _count(row[f"{phase}tp_size"]) or 1, _count(row[f"{phase}attention_dp_size"])
    experts = (_count(row[f"{phase}moe_ep_size"]) or 1) > 1
    ranks = _ranks(row, phase)
    if _model(row) in _DENSE:
        return Parallelism(tp)
    if phase and row["backend"] == "vllm" and experts and (phase == "prefill_" or ranks > _RANKS_OF_A_SERVER):
        return Parallelism(1, 1, ranks, True)
    if phase or (_kind(row) == "own" and dp):
        return Parallelism(tp, 1, dp or 1, experts or dp > _RANKS_OF_A_SERVER)
    if _kind(row) == "own":
        return Parallelism(tp, 1, max(ranks // tp, 1), experts)
    return Parallelism(1, 1, ranks, experts) if (dp or 1) > 1 else Parallelism(ranks, 1, 1, experts)


def _ranks(row: Mapping[str, Any], phase: str = "") -> int:
    """Ranks that share the experts; in InferenceX's exports equal degrees are one degree, given twice."""
    tensor, expert = (_count(row[f"{phase}moe_{kind}_size"]) or 1 for kind in ("tp", "ep"))
    if tensor == expert and _kind(row) != "own":
        return tensor
    return max(tensor * expert, 1)


def _model(row: Mapping[str, Any]) -> str:
    return next(name for part, name in _ARCHITECTURES if part.lower() in row["model_path"].lower())


def _concurrency(row: Mapping[str, Any]) -> int | None:
    found = re.search(r"silicon_concurrency=(\d+)", row["silicon_data_source"])
    return int(found[1]) if found else None


def _count(value: Any) -> int:
    return 0 if value is None or math.isnan(value) else int(value)


def _is_judged(row: Mapping[str, Any]) -> bool:
    """InferenceX's aggregated vLLM, but for B300 in the export of 2026-03-25, whose flags nobody knows."""
    if (row["backend"], row["mode"]) != ("vllm", "agg") or _kind(row) not in ("dump", "dated"):
        return False
    return not (
        row["silicon_data_source"].startswith("source_file=2026-03-25") and row["system"] == "b300_sxm"
    )


def _judged(row: Mapping[str, Any]) -> ServerRun:
    """A judged run from the sample's own columns, its labels read as those of the closed-loop file."""
    model, concurrency = row["model_path"], _concurrency(row)
    blackwell = ACCELERATORS[row["system"]] in _BLACKWELL and "Kimi" not in model
    return run_of(
        {
            "exp_uid": row["id"],
            "engine_version": row["backend_version"],
            "model": model,
            "gpu": row["system"],
            "weights_precision": row["precision"],
            "kv_dtype": "fp8" if blackwell or "Llama" in model else None,
            "tp": row["tp_size"],
            "dp": row["attention_dp_size"],
            "ep": row["moe_ep_size"],
            "concurrency": concurrency,
            "num_requests": 10 * (concurrency or 1),
            "isl_spec": f"U[{int(0.8 * row['isl'])},{row['isl']}]",
            "osl_spec": f"U[{int(0.8 * row['osl'])},{row['osl']}]",
            "max_num_batched_tokens": None,
            "max_num_seqs": None,
            "gpu_mem_util": _SETTINGS["vllm"][1],
            "actual_ttft_mean_ms": row["silicon_ttft_ms"],
            "actual_tpot_mean_ms": row["silicon_tpot_ms"],
        }
    )
