"""Power and joules a token against ml-energy's steady-state runs of vLLM 0.11 on H100 and B200."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foretell.models.architecture import Architecture, load_architecture
from foretell.models.energy import PowerModel, peak_work, power_model
from foretell.models.hardware import Hardware, load_hardware
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.pricing import step_cost
from foretell.models.stepcost import StepCost, StepLoad

if TYPE_CHECKING:
    import pandas as pd

ACCELERATORS = {"H100": "h100-sxm", "B200": "b200"}
PRECISIONS = {
    "bfloat16": Precision(),
    "fp8": Precision("fp8", "fp8"),
    "mxfp4": Precision("mxfp4"),
}
PROMPT_TOKENS = {"lm-arena-chat": 200, "gpqa": 250, "sourcegraph-fim": 600}
"""Mean prompt of a task: an assumption, for the data do not say; they weigh little but in sourcegraph-fim,
whose outputs are short, and which is therefore left out of the fit."""
BATCHES = (0.0, 16.0, 64.0, 256.0, 1024.0, np.inf)
_COEFFICIENTS = ("busy", "compute", "memory")
CostBuilder = Callable[..., StepCost]


def measured_engine(
    architecture: Architecture, hardware: Hardware, parallelism: Parallelism, precision: Precision
) -> StepCost:
    """The step cost of the engine that ran: vLLM 0.11 does not schedule asynchronously by default."""
    layout = (architecture, hardware, parallelism, precision)
    return step_cost(*layout, engine_version="0.11", async_scheduling=False)


def asynchronous_engine(
    architecture: Architecture, hardware: Hardware, parallelism: Parallelism, precision: Precision
) -> StepCost:
    """The same as if it did, for `fit_synchronous`."""
    layout = (architecture, hardware, parallelism, precision)
    return step_cost(*layout, engine_version="0.11")


def energy_errors(path: Path, cost: CostBuilder = measured_engine) -> pd.DataFrame:
    """Compare the power curve, and joules a token, with every text run of a model that is bundled.

    Args:
        path: llm_runs.csv of ml-energy.
        cost: builds a step cost from (architecture, hardware, parallelism, precision).

    Returns:
        One row a run: model, gpu, task, accelerators, batch, fitted (whether the fit uses it), step_s and
        its estimate estimate_step_s, power_W of one accelerator and its estimates power_shipped_W (given the
        measured step time), power_left_model_W and power_left_gpu_W (the curve fitted without the run's
        model, or GPU), joules_per_token, joules_per_token_given_time (power_left_model_W over the measured
        time) and joules_per_token_estimate (power and time of our own, the curve without this model's runs).

    """
    import pandas as pd

    rows = []
    for run in pd.read_csv(path).itertuples():
        name = ARCHITECTURES.get(str(run.model_id))
        if name is not None and run.task in PROMPT_TOKENS:
            rows.append(_row(run, name, cost))
    table = pd.DataFrame(rows)
    for column, by in (("power_left_model_W", "model"), ("power_left_gpu_W", "gpu")):
        table[column] = 0.0
        for group in table[by].unique():
            held = table[by] == group
            curve = fit_power(table[~held])
            table.loc[held, column] = _power(table[held], curve)
            if by == "model":
                own = _power(table[held], curve, ours=True)
                seconds = table.loc[held, "estimate_step_s"]
                table.loc[held, "joules_per_token_estimate"] = (
                    own * seconds * table.loc[held, "accelerators"] / table.loc[held, "batch"]
                )
    table["power_shipped_W"] = _power(table, None)
    table["joules_per_token_given_time"] = (
        table["power_left_model_W"] * table["accelerators"] * table["step_s"] / table["batch"]
    )
    return table.drop(columns=[name for name in table if str(name).startswith("_")])


def energy_summary(table: pd.DataFrame) -> dict[str, Any]:
    """`relative_errors` of the fitted runs, by batch size and by GPU; and of those that are set aside."""
    import pandas as pd

    pairs = {
        "power_left_model_out": ("power_left_model_W", "power_W"),
        "power_left_gpu_out": ("power_left_gpu_W", "power_W"),
        "joules_given_time": ("joules_per_token_given_time", "joules_per_token"),
        "joules_end_to_end": ("joules_per_token_estimate", "joules_per_token"),
    }
    fitted = table[table["fitted"]]
    summary: dict[str, Any] = {name: relative_errors(fitted, *pair) for name, pair in pairs.items()}
    summary["power_shipped"] = relative_errors(fitted, "power_shipped_W", "power_W")
    batches = pd.cut(fitted["batch"], list(BATCHES))
    summary["by_batch"] = {
        str(interval): {name: relative_errors(rows, *pair) for name, pair in pairs.items()}
        for interval, rows in fitted.groupby(batches, observed=True)
    }
    summary["by_gpu"] = {
        str(gpu): {name: relative_errors(rows, *pair) for name, pair in pairs.items()}
        for gpu, rows in fitted.groupby("gpu")
    }
    summary["power_by_gpu_and_model"] = {
        str(gpu): {str(model): relative_errors(own, *pairs["power_left_model_out"]) for model, own in of}
        for gpu, of in ((gpu, rows.groupby("model")) for gpu, rows in fitted.groupby("gpu"))
    }
    aside = table[~table["fitted"]]
    summary["set_aside"] = {name: relative_errors(aside, *pair) for name, pair in pairs.items()}
    summary["set_aside_by_task"] = {str(task): len(rows) for task, rows in aside.groupby("task")}
    summary["runs"] = len(table)
    return summary


def relative_errors(rows: pd.DataFrame, estimate: str, truth: str) -> dict[str, float]:
    """Of one column over another, less one: median, mean and 90th percentile of its size, and its median."""
    error = rows[estimate] / rows[truth] - 1
    return {
        "runs": len(rows),
        "median_ape": float(error.abs().median()),
        "mean_ape": float(error.abs().mean()),
        "p90_ape": float(error.abs().quantile(0.9)),
        "bias": float(error.median()),
    }


def fit_power(table: pd.DataFrame) -> tuple[float, float, float]:
    """Fit the curve's coefficients to the powers of a table's fitted runs, under a soft L1 loss."""
    from scipy.optimize import least_squares

    rows = table[table["fitted"]]
    span = rows["_tdp_W"] - rows["_idle_W"]

    def residuals(coefficients: Any) -> Any:
        return (_power(rows, coefficients) - rows["power_W"]) / span

    solution = least_squares(residuals, (0.9, 6.0, 0.3), bounds=(0, np.inf), loss="soft_l1", f_scale=0.1)
    busy, compute, memory = (float(value) for value in solution.x)
    return busy, compute, memory


def fit_synchronous(table: pd.DataFrame) -> tuple[float, float]:
    """Fit what synchronous scheduling adds to a step [s] and to every entry of its batch [s].

    Least absolute logarithms of estimated over measured step times of the fitted runs.

    Args:
        table: of `energy_errors` with the cost `asynchronous_engine`.

    """
    from scipy.optimize import minimize

    rows = table[table["fitted"]]
    estimate, measured, batch = (
        rows[name].to_numpy(float) for name in ("estimate_step_s", "step_s", "batch")
    )

    def loss(logs: Any) -> float:
        step_s, entry_s = np.exp(logs)
        return float(np.abs(np.log((estimate + step_s + entry_s * batch) / measured)).mean())

    found = np.exp(minimize(loss, np.log([1e-3, 2e-5]), method="Nelder-Mead").x)
    return float(found[0]), float(found[1])


def synchronous_errors(table: pd.DataFrame) -> Any:
    """Estimated over measured step time less one, of the fitted runs, each model left out of the fit."""
    rows = table[table["fitted"]]
    error = np.zeros(len(rows))
    for model in rows["model"].unique():
        step_s, entry_s = fit_synchronous(rows[rows["model"] != model])
        held = (rows["model"] == model).to_numpy()
        told = rows["estimate_step_s"] + step_s + entry_s * rows["batch"]
        error[held] = (told / rows["step_s"] - 1)[held]
    return error


def _power(rows: pd.DataFrame, curve: Any, ours: bool = False) -> Any:
    """Power of every run over the measured time, or over our own; the shipped curve when None."""
    watts = []
    for run in rows.to_dict("records"):
        model: PowerModel = run["_power"]
        if curve is not None:
            model = dataclasses.replace(model, **dict(zip(_COEFFICIENTS, curve, strict=True)))
        # shares of the host and of the rest are the breakdown's, whatever the time
        scale = 1.0 if ours else run["step_s"] / run["estimate_step_s"]
        parts = {name: seconds * scale for name, seconds in run["_parts"].items()}
        watts.append(float(model.power_W(parts, run["_work"])))
    return np.array(watts)


def _row(run: Any, name: str, build: CostBuilder) -> dict[str, Any]:
    """One run: what a step carries in its steady state, and what it takes."""
    architecture = load_architecture(name)
    data_parallel = int(run.par_data_parallel)
    plan = Parallelism(
        int(run.num_gpus) // data_parallel,
        1,
        data_parallel,
        architecture.is_moe and run.par_expert_parallel > 1,
    )
    hardware = load_hardware(ACCELERATORS[run.gpu_model])
    if run.weight_precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise ValueError(
            f"weight_precision: {run.weight_precision!r} of {run.model_id} is not one of {known}"
        )
    precision = PRECISIONS[run.weight_precision]
    load = steady_load(run.avg_batch_size / data_parallel, PROMPT_TOKENS[run.task], float(run.avg_output_len))
    cost, work = _models(build, name, hardware.name, plan, precision)
    parts = {key: float(seconds) for key, seconds in cost.breakdown(*load).items()}
    power = power_model(hardware.accelerator)
    return {
        "model": name,
        "gpu": run.gpu_model,
        "task": run.task,
        "accelerators": int(run.num_gpus),
        "batch": float(run.avg_batch_size),
        "fitted": run.task != "sourcegraph-fim" and (run.gpu_model, run.task) != ("B200", "gpqa"),
        "step_s": float(run.avg_batch_size / run.output_throughput_tokens_per_sec),
        "estimate_step_s": sum(parts.values()),
        "power_W": float(run.avg_power_watts / run.num_gpus),
        "joules_per_token": float(run.energy_per_token_joules),
        "_parts": parts,
        "_work": tuple(float(seconds) for seconds in work(*load)),
        "_power": power,
        "_idle_W": power.idle_W,
        "_tdp_W": power.tdp_W,
    }


def steady_load(batch: float, prompt_tokens: float, output_tokens: float) -> StepLoad:
    """Mean load of a step with `batch` sequences decoding, each replaced by a new one when it is done."""
    prompts = batch / output_tokens
    return StepLoad(
        prefill_tokens=prompts * prompt_tokens,
        prefill_pairs=prompts * prompt_tokens * (prompt_tokens + 1) / 2,
        prefill_context=prompts * prompt_tokens,
        prefill_seqs=prompts,
        decode_seqs=batch,
        decode_context=batch * (prompt_tokens + output_tokens / 2),
        sampled=batch + prompts,
    )


@cache
def _models(
    build: CostBuilder, name: str, hardware: str, plan: Parallelism, precision: Precision
) -> tuple[Any, Any]:
    what = load_architecture(name), load_hardware(hardware), plan, precision
    return build(*what), peak_work(*what)


ARCHITECTURES = {
    "Qwen/Qwen3-8B": "qwen3-8b",
    "Qwen/Qwen3-14B": "qwen3-14b",
    "Qwen/Qwen3-32B": "qwen3-32b",
    "Qwen/Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b",
    "Qwen/Qwen3-30B-A3B-Thinking-2507": "qwen3-30b-a3b",
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": "qwen3-30b-a3b",
    "Qwen/Qwen3-235B-A22B-Instruct-2507": "qwen3-235b-a22b",
    "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8": "qwen3-235b-a22b",
    "Qwen/Qwen3-235B-A22B-Thinking-2507": "qwen3-235b-a22b",
    "Qwen/Qwen3-235B-A22B-Thinking-2507-FP8": "qwen3-235b-a22b",
    "Qwen/Qwen3-Coder-480B-A35B-Instruct": "qwen3-coder-480b-a35b",
    "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8": "qwen3-coder-480b-a35b",
    "google/gemma-3-12b-it": "gemma-3-12b",
    "google/gemma-3-27b-it": "gemma-3-27b",
    "meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "meta-llama/Llama-3.1-70B-Instruct": "llama-3.1-70b",
    "meta-llama/Llama-3.1-405B-Instruct": "llama-3.1-405b",
    "meta-llama/Llama-3.1-405B-Instruct-FP8": "llama-3.1-405b",
    "meta-llama/Llama-3.3-70B-Instruct": "llama-3.3-70b",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": "llama-4-scout",
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8": "llama-4-maverick",
    "openai/gpt-oss-20b": "gpt-oss-20b",
    "openai/gpt-oss-120b": "gpt-oss-120b",
    "deepseek-ai/DeepSeek-R1-0528": "deepseek-r1",
    "deepseek-ai/DeepSeek-V3.1": "deepseek-v3",
}
"""The bundled architecture of each model of the data that has one."""
