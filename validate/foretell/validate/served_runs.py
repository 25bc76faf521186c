"""Real servers with every request's times, forecast from a description of them alone.

A run is a folder: `meta.json` says what was served (vLLM's arguments), `config.json` on what, and
`requests.jsonl` has a line a request with its tokens and the engine's own times, as the bench of
LLMServingSim writes them. All times are taken in the engine: from its queue to its tokens, without HTTP.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.sim import Scenario, forecast
from foretell.sim.intervals import Estimate

Array = npt.NDArray[np.float64]
METRICS = ("ttft", "tpot", "e2e")
FIGURES = tuple(f"{metric}_{statistic}" for metric in METRICS for statistic in ("mean", "p99"))
MODELS = {
    "meta-llama/Llama-3.1-8B": "llama-3.1-8b",
    "Qwen/Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b",
}
ACCELERATORS = {"RTXPRO6000": "rtx-pro-6000-server"}
_ARGUMENTS = ("max_num_seqs", "max_num_batched_tokens", "max_model_len")
_PARALLEL = ("tensor_parallel_size", "data_parallel_size", "enable_expert_parallel")
_TIMES = ("queued_ts", "first_token_ts", "last_token_ts")
_REPLICATIONS = 16


@dataclass(frozen=True, slots=True)
class ServedRun:
    """A run as it was.

    Attributes:
        name: of its folder.
        meta: what was served.
        hardware: on what, by foretell's name.
        arrival_s: when each request came to the engine's queue, the first at 0.
        prompt_tokens, output_tokens: of each.
        measured_s: mean and p99 of TTFT, TPOT (over requests of two tokens at least) and E2E.

    """

    name: str
    meta: Mapping[str, Any]
    hardware: str
    arrival_s: Array
    prompt_tokens: npt.NDArray[np.int64]
    output_tokens: npt.NDArray[np.int64]
    measured_s: Mapping[str, float]


def read_served_run(folder: Path) -> ServedRun:
    """Read a run.

    Raises:
        ValueError: a file or a field is missing, or not what it should be.

    """
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        rows = [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]
        rows.sort(key=lambda row: float(row["queued_ts"]))
        queued, first, last = (np.array([float(row[name]) for row in rows]) for name in _TIMES)
        prompt, output = (
            np.array([int(row[name]) for row in rows]) for name in ("input_toks", "output_toks")
        )
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        hardware = ACCELERATORS[config["nodes"][0]["instances"][0]["hardware"]]
        arguments = meta["engine_kwargs"]
        missing = [name for name in (*_PARALLEL, *_ARGUMENTS) if name not in arguments]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{folder}: not a served run ({type(error).__name__}: {error})") from None
    if missing or not rows:
        raise ValueError(f"{folder}: {'engine_kwargs lacks ' + missing[0] if missing else 'no requests'}")
    several = output > 1
    times = {
        "ttft": first - queued,
        "tpot": (last - first)[several] / (output - 1)[several],
        "e2e": last - queued,
    }
    measured = {f"{name}_mean": float(np.mean(value)) for name, value in times.items()}
    measured |= {f"{name}_p99": float(np.percentile(value, 99)) for name, value in times.items()}
    return ServedRun(folder.name, meta, hardware, queued - queued[0], prompt, output, measured)


def scenario_of(run: ServedRun, trace: Path) -> Scenario:
    """The run as a scenario: what its arguments say, and the defaults of its vLLM.

    Raises:
        ValueError: a model that nobody named here, or a vLLM without a preset.

    """
    arguments = run.meta["engine_kwargs"]
    if run.meta["model"] not in MODELS:
        raise ValueError(f"{run.name}, model: {run.meta['model']!r} is not one of {', '.join(MODELS)}")
    release = ".".join(str(run.meta["vllm_version"]).split(".")[:2])
    engine = {name: arguments[name] for name in _ARGUMENTS if arguments[name] is not None}
    engine["preset"] = f"vllm-{release}-server"
    pool = {
        "model": MODELS[run.meta["model"]],
        "hardware": run.hardware,
        "router": "least_outstanding",
        "engine": engine,
        **{name: arguments[name] for name in _PARALLEL},
    }
    return Scenario.from_dict(
        {
            "workload": {"trace": str(trace)},
            "pools": {"engine": pool},
            "seed": 1,
            "replications": _REPLICATIONS,
        }
    )


def served_runs(folder: Path) -> dict[str, Any]:
    """Forecast every run of a folder, and the errors of them all: means over runs [%].

    Raises:
        ValueError: there is no run, or one that cannot be read.

    """
    found = sorted(path.parent for path in folder.glob("*/requests.jsonl"))
    if not found:
        raise ValueError(f"{folder}: no folder in it has a requests.jsonl")
    runs = {path.name: forecast_run(read_served_run(path)) for path in found}
    ends = [f"{metric}_mean_ape" for metric in METRICS]
    return {**{name: float(np.mean([run[name] for run in runs.values()])) for name in ends}, "runs": runs}


def forecast_run(run: ServedRun) -> dict[str, Any]:
    """What foretell says of a run of which it knows the arguments and the arrivals.

    Returns:
        For every figure what was measured, forecast [s], the interval, and the error [%]; the notes.

    """
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.csv"
        with trace.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("arrival_s", "prompt_tokens", "output_tokens"))
            rows.writerows(
                zip(
                    run.arrival_s.tolist(),
                    run.prompt_tokens.tolist(),
                    run.output_tokens.tolist(),
                    strict=True,
                )
            )
        made = forecast(scenario_of(run, trace))
    figures = {name: _judged(run.measured_s[name], made.summary[f"{name}_s"]) for name in FIGURES}
    ends = {f"{metric}_mean_ape": abs(figures[f"{metric}_mean"]["error"]) for metric in METRICS}
    return {"requests": len(run.arrival_s), **ends, "figures": figures, "notes": list(made.notes)}


def _judged(measured_s: float, told: Estimate) -> dict[str, Any]:
    return {
        "measured_s": measured_s,
        "forecast_s": told.value,
        "interval_s": [told.low, told.high],
        "error": 100 * (told.value / measured_s - 1),
        "inside": bool(told.low <= measured_s <= told.high),
    }
