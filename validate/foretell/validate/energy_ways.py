"""The energy per token with other step costs, and the step times of engines that schedule synchronously."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foretell.models.architecture import Architecture
from foretell.models.hardware import Hardware
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.pricing import step_cost
from foretell.models.stepcost import StepCost
from foretell.validate.energy import (
    asynchronous_engine,
    energy_errors,
    energy_summary,
    fit_synchronous,
    relative_errors,
    synchronous_errors,
)

if TYPE_CHECKING:
    import pandas as pd


def validate_energy(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of `energy_errors` and what `foretell validate energy` says of it.

    Args:
        path: llm_runs.csv of ml-energy.

    """
    table = energy_errors(path)
    return table, energy_summary(table) | {
        "other_step_costs": {
            "shipped curves": _end_to_end(path, shipped_curves),
            "fractions of peaks, not synchronous": _end_to_end(path, fractions_of_peaks),
        },
        "gpqa_over_lm_arena_chat_on_b200": tasks_apart(table[table["gpu"] == "B200"]),
        "synchronous_scheduling": synchronous_summary(energy_errors(path, asynchronous_engine)),
    }


def synchronous_summary(table: pd.DataFrame) -> dict[str, float]:
    """What synchronous scheduling adds [s], and how far off step times are without it and with it.

    Args:
        table: of `energy_errors` with the cost `asynchronous_engine`.

    """
    rows = table[table["fitted"]]
    step_s, entry_s = fit_synchronous(table)
    error = np.abs(synchronous_errors(table))
    return {
        "step_s": step_s,
        "entry_s": entry_s,
        "bias_without": float(np.median(rows["estimate_step_s"] / rows["step_s"])) - 1,
        "model_left_out_median_ape": float(np.median(error)),
        "model_left_out_mean_ape": float(np.mean(error)),
    }


def tasks_apart(table: pd.DataFrame, task: str = "gpqa", other: str = "lm-arena-chat") -> dict[str, float]:
    """How many times as long steps took in one task as in another, on the same servers at equal batches.

    Between the other task's batches the logarithm of the step time is linear in that of the batch; runs
    beyond them are left out.
    """
    ratios: list[float] = []
    for _, rows in table.groupby(["model", "accelerators", "gpu"]):
        known = rows[rows["task"] == other].sort_values("batch")
        asked = rows[rows["task"] == task]
        if len(known):
            inside = asked[asked["batch"].between(known["batch"].min(), known["batch"].max())]
            logs = (np.log(known[name].to_numpy(float)) for name in ("batch", "step_s"))
            told = np.exp(np.interp(np.log(inside["batch"].to_numpy(float)), *logs))
            ratios += (inside["step_s"].to_numpy(float) / told).tolist()
    return {
        "runs": len(ratios),
        "median": float(np.median(ratios)) if ratios else float("nan"),
        "least": min(ratios, default=float("nan")),
        "most": max(ratios, default=float("nan")),
    }


def shipped_curves(
    architecture: Architecture, hardware: Hardware, parallelism: Parallelism, precision: Precision
) -> StepCost:
    """The engine that ran, without the extra `silicon`."""
    layout = (architecture, hardware, parallelism, precision)
    return step_cost(*layout, operator_times="curves", engine_version="0.11", async_scheduling=False)


def fractions_of_peaks(
    architecture: Architecture, hardware: Hardware, parallelism: Parallelism, precision: Precision
) -> StepCost:
    """The roofline, whose host's time is of either kind of scheduling."""
    return step_cost(architecture, hardware, parallelism, precision, operator_times="roofline")


def _end_to_end(path: Path, cost: Any) -> dict[str, float]:
    table = energy_errors(path, cost)
    return relative_errors(table[table["fitted"]], "joules_per_token_estimate", "joules_per_token")
