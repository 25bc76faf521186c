"""Measured closed-loop runs of real servers, read and resolved into what foretell can simulate.

The InferenceX runs (SemiAnalysis, Apache-2.0) come as `vllm_closed_loop_runs.csv`, with the server's flags
at the date of measurement, or as rows of aiconfigurator's `silicon_sample.csv`, without them. Every rule that
turns a label into a configuration stands here, and none looks at the measured times but `set_aside`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision

ACCELERATORS = {
    "H100-80GB-SXM": "h100-sxm",
    "H200-141GB-SXM": "h200",
    "B200": "b200",
    "B300": "b300",
    "h100_sxm": "h100-sxm",
    "h200_sxm": "h200",
    "b200_sxm": "b200",
    "b300_sxm": "b300",
    "gb200": "gb200",
    "gb300": "gb300",
}
MODELS = {
    "MiniMaxAI/MiniMax-M2.5": "minimax-m2.5",
    "openai/gpt-oss-120b": "gpt-oss-120b",
    "meta-llama/Llama-3.1-70B": "llama-3.3-70b",  # the checkpoints are those of Llama-3.3-70B-Instruct
    "moonshotai/Kimi-K2.5": "kimi-k2.5",
}
_KIND = {
    # (model, label of the weights) -> (weights, activations, which parts are quantised)
    ("minimax-m2.5", "fp8"): ("fp8", "fp8", "linear"),
    ("minimax-m2.5", "fp4"): ("nvfp4", "fp4", "experts"),
    ("gpt-oss-120b", "fp4"): ("mxfp4", "bf16", "experts"),
    ("llama-3.3-70b", "fp8"): ("fp8", "fp8", "linear"),
    ("llama-3.3-70b", "fp4"): ("nvfp4", "fp4", "linear"),
    ("kimi-k2.5", "int4"): ("int4", "bf16", "experts"),
    ("kimi-k2.5", "fp4"): ("nvfp4", "fp4", "experts"),
}
_MAX_NUM_BATCHED_TOKENS = 8192
_MAX_NUM_SEQS = 1024
"""vLLM's own for an API server on these GPUs, 0.10 to 0.19."""


@dataclass(frozen=True, slots=True)
class ServerRun:
    """One measured run.

    Attributes:
        id: of the row.
        backend, version: the engine.
        model, accelerator: by foretell's names.
        parallelism, precision: resolved.
        concurrency: requests in flight.
        num_requests: in all.
        prompt_tokens, output_tokens: (least, most) of the uniform lengths.
        max_num_batched_tokens, max_num_seqs, gpu_memory_utilization: the server's.
        ttft_s, tpot_s: measured means.
        set_aside: why the measurement is doubted, empty if it is not.

    """

    id: str
    backend: str
    version: str
    model: str
    accelerator: str
    parallelism: Parallelism
    precision: Precision
    concurrency: int
    num_requests: int
    prompt_tokens: tuple[int, int]
    output_tokens: tuple[int, int]
    max_num_batched_tokens: int
    max_num_seqs: int
    gpu_memory_utilization: float
    ttft_s: float
    tpot_s: float
    set_aside: str = ""

    @property
    def group(self) -> tuple[str, str]:
        """What is left out together."""
        return self.model, self.accelerator

    @property
    def release(self) -> tuple[int, int]:
        """The engine's version as numbers, (0, 0) where it is not known."""
        found = re.match(r"v?(\d+)\.(\d+)", self.version)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def unmeasured(self) -> ServerRun:
        """What ran, whatever was measured."""
        return dataclasses.replace(self, id="", ttft_s=0.0, tpot_s=0.0, set_aside="")


def read_server_runs(path: Path) -> list[ServerRun]:
    """Read `vllm_closed_loop_runs.csv`.

    Raises:
        ValueError: the file cannot be read or lacks a column.

    """
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as a table of runs ({error})") from None
    try:
        return [run_of(row) for row in table.to_dict("records")]
    except KeyError as error:
        raise ValueError(f"{path}: column or name {error} is missing or unknown") from None


def run_of(row: Mapping[Any, Any]) -> ServerRun:
    """Resolve one row of that file."""
    model, accelerator = MODELS[row["model"]], ACCELERATORS[row["gpu"]]
    weights, activations, parts = _KIND[model, row["weights_precision"]]
    cache = "fp8" if row["kv_dtype"] == "fp8" else "bf16"
    if (model, weights) == ("kimi-k2.5", "nvfp4"):
        cache = "fp8"  # what the checkpoint asks for, where no flag does
    ttft_s, tpot_s = 1e-3 * row["actual_ttft_mean_ms"], 1e-3 * row["actual_tpot_mean_ms"]
    concurrency = int(row["concurrency"])
    return ServerRun(
        id=str(row["exp_uid"]).removeprefix("aic-silicon/"),
        backend="vllm",
        version=_version(row["engine_version"]),
        model=model,
        accelerator=accelerator,
        parallelism=_parallelism(row, model, accelerator),
        precision=Precision(weights, activations, cache, parts),
        concurrency=concurrency,
        num_requests=int(row["num_requests"]),
        prompt_tokens=_bounds(row["isl_spec"]),
        output_tokens=_bounds(row["osl_spec"]),
        max_num_batched_tokens=_or(row["max_num_batched_tokens"], _MAX_NUM_BATCHED_TOKENS),
        max_num_seqs=_or(row["max_num_seqs"], _MAX_NUM_SEQS),
        gpu_memory_utilization=float(row["gpu_mem_util"]),
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        set_aside=set_aside(model, accelerator, concurrency, ttft_s, tpot_s),
    )


def set_aside(model: str, accelerator: str, concurrency: int, ttft_s: float, tpot_s: float) -> str:
    """The reason to doubt a measurement, by rules stated before any forecast was made."""
    if (model, accelerator, concurrency) == ("gpt-oss-120b", "h100-sxm", 512) and ttft_s > 15.0:
        return "time to first token of 15 s and more at a few ms a token: requests waited outside"
    if model == "kimi-k2.5" and tpot_s > 0.063:
        return "64 ms a token where its repeat has 16"
    return ""


def _parallelism(row: Mapping[Any, Any], model: str, accelerator: str) -> Parallelism:
    """True degrees from labels in which dp > 1 means data-parallel attention over the tensor ranks."""
    tp, dp, ep = (int(row[name]) for name in ("tp", "dp", "ep"))
    if model == "kimi-k2.5":
        return Parallelism(tp)  # no flag for data or expert parallelism is in its script, whatever the label
    if dp > 1 and accelerator == "h100-sxm":
        return Parallelism(tp, enable_expert_parallel=True)
    if dp > 1:
        return Parallelism(1, data_parallel_size=dp, enable_expert_parallel=True)
    early = (model, accelerator) == ("minimax-m2.5", "b200") and row["kv_dtype"] != "fp8"
    # its first script on B200 sets --enable-expert-parallel from 1 rank on
    return Parallelism(tp, enable_expert_parallel=ep > 1 or early)


def _version(text: Any) -> str:
    return str(text).split()[0] if isinstance(text, str) else ""


def _bounds(text: Any) -> tuple[int, int]:
    found = re.fullmatch(r"U\[(\d+),(\d+)\]", str(text))
    if not found:
        raise KeyError(str(text))
    return int(found[1]), int(found[2])


def _or(value: Any, default: int) -> int:
    return default if value is None or math.isnan(value) else int(value)
