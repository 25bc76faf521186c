"""KV capacity against what servers logged: errors as shipped and leave-one-out, and the fit itself."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from foretell.models.architecture import load_architecture
from foretell.models.engine_memory import (
    GIB,
    EngineMemory,
    activation_bytes,
    capacity_data,
    engine_memory,
    runtime_bytes,
    version_tuple,
)
from foretell.models.hardware import Hardware, load_hardware
from foretell.models.memory import Capacity, kv_capacity, reserved_bytes, weights_bytes
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision

if TYPE_CHECKING:
    import pandas as pd

Record = Mapping[str, Any]
_SORTING_UNTIL, _GRAPHS_SINCE = (0, 17), (0, 21)
_START = (30.0, 15.0, 1.5e8, 2.5e8, 5e8, 1.8e9, 2e7)
"""Where the fit starts: bytes a logit, runtime and communication before 0.17 and since, graphs a layer."""


def logged_runs() -> list[dict[str, Any]]:
    """Bundled runs whose server logged a KV capacity (data/kv_capacity.toml)."""
    runs: list[dict[str, Any]] = capacity_data()["run"]
    return runs


def capacity_of(run: Record, engine: EngineMemory | None = None) -> Capacity:
    """Estimate a logged run's capacity; raises the ValueError of `kv_capacity` when it seems not to fit."""
    architecture, hardware, plan, precision = _setting(run)
    return kv_capacity(
        architecture,
        hardware,
        plan,
        precision,
        gpu_memory_utilization=run["gpu_memory_utilization"],
        max_num_batched_tokens=run["max_num_batched_tokens"],
        max_num_seqs=run["max_num_seqs"],
        engine_version=run["engine_version"],
        engine=engine,
    )


def kv_errors(leave_out: str = "run") -> pd.DataFrame:
    """Compare estimates with logs, one row a run.

    Args:
        leave_out: refit the constants without the run that is estimated ("run"), without all runs of its
            source ("source"), or not at all (""). The band's factors stay.

    Returns:
        Columns model, accelerator, engine_version, tensor_parallel_size, actual_gib, estimate_gib, error
        (estimate over actual, less 1), weights_gib, logits_gib (what sampling takes in the profiled batch, as
        shipped), overhead_gib and overhead_estimate_gib (all but weights and KV), low and high [GiB], inside.

    Raises:
        ValueError: leave_out is none of these.

    """
    import pandas as pd

    if leave_out not in ("", "run", "source"):
        raise ValueError(f"leave_out: {leave_out!r} is not 'run', 'source' or ''")

    runs = logged_runs()
    rows = []
    for index, run in enumerate(runs):
        engine = engine_memory(run["engine_version"])
        if leave_out:
            kept = [
                other
                for place, other in enumerate(runs)
                if place != index and (leave_out == "run" or _source(other) != _source(run))
            ]
            engine = _pick(fit_engines(kept), run)
        capacity = capacity_of(run, engine)
        actual = kv_gib(run, capacity)
        budget = (capacity.memory_bytes - capacity.weights_bytes) / GIB
        estimate = capacity.kv_bytes / GIB
        low, high = (blocks * capacity.bytes_per_block / GIB for blocks in (capacity.low, capacity.high))
        rows.append(
            {
                "model": run["model"],
                "accelerator": run["accelerator"],
                "engine_version": run["engine_version"],
                "tensor_parallel_size": run.get("tensor_parallel_size", 1),
                "actual_gib": actual,
                "estimate_gib": estimate,
                "error": estimate / actual - 1,
                "weights_gib": capacity.weights_bytes / GIB,
                "logits_gib": _logits_gib(run),
                "overhead_gib": budget - actual,
                "overhead_estimate_gib": (capacity.activation_bytes + capacity.runtime_bytes) / GIB,
                "low": low,
                "high": high,
                "inside": low <= actual <= high,
            }
        )
    return pd.DataFrame(rows)


def kv_summary(table: pd.DataFrame) -> dict[str, float]:
    """Absolute errors of the KV capacity, and the share of runs inside the band."""
    error = table["error"].abs()
    return {
        "runs": float(len(table)),
        "median_ape": float(error.median()),
        "mean_ape": float(error.mean()),
        "p90_ape": float(error.quantile(0.9)),
        "coverage": float(table["inside"].mean()),
    }


def validate_kv() -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of `kv_errors` and what `foretell validate kv` says of it."""
    table, of_source = kv_errors(), Counter(_source(run) for run in logged_runs())
    since = [engine_memory(str(version)).since for version in table["engine_version"]]
    engines = {_dotted(start): engine_memory(_dotted(start)) for start in sorted(set(since))}
    summary: dict[str, Any] = kv_summary(table) | {
        "runs_of_the_two_largest_sources": sum(count for _, count in of_source.most_common(2)),
        "as_shipped": kv_summary(kv_errors("")),
        "source_left_out": kv_summary(kv_errors("source")),
        "since": {
            _dotted(start): kv_summary(table[[each == start for each in since]])
            for start in sorted(set(since))
        },
        "constants": {
            start: {**dataclasses.asdict(engine), "since": start} for start, engine in engines.items()
        },
    }
    return table, summary


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def kv_gib(run: Record, capacity: Capacity) -> float:
    """KV memory that the server logged, from its blocks where it logged those alone."""
    if "kv_gib" in run:
        return float(run["kv_gib"])
    return float(run["num_gpu_blocks"] * capacity.bytes_per_block / GIB)


def _logits_gib(run: Record) -> float:
    rows = min(run["max_num_seqs"], run["max_num_batched_tokens"])
    logits = rows * load_architecture(run["architecture"]).vocab_size
    return float(logits * engine_memory(run["engine_version"]).logit_bytes / GIB)


def fit_engines(runs: Sequence[Record]) -> tuple[EngineMemory, ...]:
    """Fit the constants of all versions to logged runs, robustly; the bands' factors are the shipped ones.

    Residuals are of the memory besides weights and KV, over 0.15 GiB and 15 % of it, under a soft L1 loss.
    """
    from scipy.optimize import least_squares

    cases = []
    for run in runs:
        architecture, hardware, plan, precision = _setting(run)
        accelerator = hardware.accelerator
        memory = (accelerator.memory_bytes - reserved_bytes(accelerator)) * run["gpu_memory_utilization"]
        weights = weights_bytes(architecture, plan, precision, hardware)
        kept = memory - weights - kv_gib(run, capacity_of(run)) * GIB
        cases.append((run, architecture, plan, kept))

    def residuals(logarithms: Any) -> Any:
        engines = _engines(np.exp(logarithms))
        found = []
        for run, architecture, plan, kept in cases:
            engine = _pick(engines, run)
            estimate = runtime_bytes(architecture, plan, engine) + activation_bytes(
                architecture, plan, run["max_num_batched_tokens"], run["max_num_seqs"], engine
            )
            found.append((estimate - kept) / (0.15 * GIB + 0.15 * abs(kept)))
        return found

    solution = least_squares(residuals, np.log(_START), loss="soft_l1")
    return _engines(np.exp(solution.x))


def _engines(values: Any) -> tuple[EngineMemory, ...]:
    sorting, masking, runtime_old, runtime, talk_old, talk, graphs = (float(value) for value in values)
    fitted = (
        (sorting, runtime_old, talk_old, 0.0),
        (masking, runtime, talk, 0.0),
        (masking, runtime, talk, graphs),
    )
    starts = ((0, 6), _SORTING_UNTIL, _GRAPHS_SINCE)
    shipped = [engine_memory(f"{major}.{minor}") for major, minor in starts]
    return tuple(
        EngineMemory(start, *constants, engine.low, engine.high)
        for start, constants, engine in zip(starts, fitted, shipped, strict=True)
    )


def _pick(engines: Sequence[EngineMemory], run: Record) -> EngineMemory:
    wanted = version_tuple(run["engine_version"])
    return max((engine for engine in engines if engine.since <= wanted), key=lambda engine: engine.since)


def _source(run: Record) -> str:
    return str(run["source"]).partition(" (")[0]


def _setting(run: Record) -> tuple[Any, Hardware, Parallelism, Precision]:
    """The architecture, hardware, plan and formats of a logged run."""
    hardware = load_hardware(run["accelerator"])
    if "memory_gib" in run:  # PyTorch's own figure: no part of it is the driver's
        accelerator = hardware.accelerator
        memory = run["memory_gib"] * GIB + reserved_bytes(accelerator)
        hardware = dataclasses.replace(
            hardware, accelerator=dataclasses.replace(accelerator, memory_bytes=memory)
        )
    plan = Parallelism(
        run.get("tensor_parallel_size", 1), 1, 1, bool(run.get("enable_expert_parallel", False))
    )
    return load_architecture(run["architecture"]), hardware, plan, Precision(**run.get("precision", {}))
