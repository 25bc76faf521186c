"""Forecasts against measured runs in figures: errors, coverage and targets, pooled and by group.

The table is that of `silicon.validate_silicon`: one row a (run, variant). Errors (APE) are absolute, in per
cent of what was measured; shares (coverage) lie between 0 and 1. A figure that nothing tells is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Figures = dict[str, Any]
MAIN = "leave-one-(model, GPU)-out"
LEAVE_MODEL = "leave-one-model-out"
CALIBRATED = "three calibration rows"
METRICS = ("tpot", "ttft")
ERRORS = tuple(f"{metric}_{kind}_ape" for metric in METRICS for kind in ("median", "mean"))
GROUP = ("model", "accelerator")
INPUTS = (
    "model",
    "accelerator",
    "weights",
    "prompt_tokens",
    "output_tokens",
    "concurrency",
    "tensor_parallel_size",
    "version",
)
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that is asked for: between `low` and `high`, both included.

    Attributes:
        name: for people.
        figure: looks it up in a summary.
        low, high: its bounds, in the figure's unit.
        unit: "%", "rows" or "" of a share.

    """

    name: str
    figure: Callable[[Mapping[str, Any]], float | None]
    low: float = 0.0
    high: float = np.inf
    unit: str = "%"


def _variant(variant: str, key: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda summary: summary["variants"].get(variant, {}).get(key)


def _errors(variant: str, tpot: tuple[float, float], ttft: tuple[float, float]) -> tuple[Target, ...]:
    return tuple(
        Target(f"{variant}: {key[:4].upper()} {key[5:-4]} error", _variant(variant, key), high=high)
        for key, high in zip(ERRORS, (*tpot, *ttft), strict=True)
    )


TARGETS = (
    Target(
        "share of the rows predicted",
        lambda s: s["rows_predicted"] / s["rows"] if s["rows"] else None,
        1.0,
        unit="",
    ),
    *_errors(MAIN, (5.0, 8.0), (10.0, 15.0)),
    *_errors(LEAVE_MODEL, (8.0, 12.0), (13.0, 17.0)),
    *_errors(CALIBRATED, (4.0, 6.0), (8.0, 12.0)),
    Target("coverage of the nominal 90 % interval", lambda s: s["interval_coverage_90"], 0.85, 0.95, ""),
    Target(
        "other backends and disaggregated: TPOT median error",
        lambda s: s["other_backends"].get("all", {}).get("tpot_median_ape"),
        high=12.0,
    ),
)


def summarise(table: pd.DataFrame, source: str, left_out: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Everything that `foretell validate silicon --json` prints.

    Args:
        table: of `silicon.validate_silicon`.
        source: where the judged rows come from.
        left_out: rows that cannot be simulated at all, counted by reason.

    Returns:
        Top-level figures of the judged rows in the variant MAIN (`rows` and `rows_predicted` of all of them,
        errors and coverage without those set aside), bootstrap 90 % intervals of the errors (`..._ape_90`),
        the same with all rows (`with_set_aside`), by group and by every input, in other variants, of other
        backends, the targets, and the `points` of those figures, by column.

    """
    judged = table[table["judged"].astype(bool)]
    main = judged[judged["variant"] == MAIN]
    kept = _kept(main)
    others = table[~table["judged"].astype(bool)]
    first = others["variant"].eq(MAIN) if (others["variant"] == MAIN).any() else others["variant"].notna()
    every = figures(main)
    summary: dict[str, Any] = {
        **figures(kept),
        "rows": every["rows"],
        "rows_predicted": every["rows_predicted"],
        "rows_set_aside": len(main) - len(kept),
        **bootstrap(kept),
        "variant": MAIN,
        "source": source,
        "with_set_aside": every,
        "group_medians": group_medians(kept),
        "by_group": by(kept, *GROUP),
        **{f"by_{name}": by(kept, name) for name in INPUTS},
        "variants": {
            str(name): {
                **figures(_kept(rows)),
                "with_set_aside": figures(rows),
                "group_medians": group_medians(_kept(rows)),
            }
            for name, rows in judged.groupby("variant", sort=False)
        },
        "other_backends": _others(others[first]),
        "not_predicted": _reasons(table[table["variant"] == MAIN]),
        "left_out": dict(left_out or {}),
        "set_aside": [
            {"id": str(row["id"]), "reason": str(row["set_aside"])}
            for row in main[main["set_aside"].fillna("") != ""].to_dict("records")
        ],
    }
    summary["points"] = points(kept)
    summary["targets"] = [judge(target, summary) for target in TARGETS]
    return summary


def points(rows: pd.DataFrame) -> dict[str, list[Any]]:
    """What was measured and predicted of every row that is predicted, by column: for plots."""
    told = rows[_predicted(rows)]
    times = [f"{metric}{middle}_s" for metric in METRICS for middle in ("", "_predicted")]
    return {name: told[name].tolist() for name in ("id", *GROUP, "concurrency", *times)}


def figures(rows: pd.DataFrame) -> Figures:
    """Rows, rows predicted, the median and mean APE of both times [%], and how much the 90 % intervals cover.

    A row is predicted when both times are. Errors and coverage are of the predicted rows; coverage of those
    with an interval, each time for itself and (interval_coverage_90) both together.
    """
    told = rows[_predicted(rows)]
    found: Figures = {"rows": len(rows), "rows_predicted": len(told)}
    inside = []
    for metric in METRICS:
        ape = errors(told, metric)
        found[f"{metric}_median_ape"] = number(np.median(ape)) if len(ape) else None
        found[f"{metric}_mean_ape"] = number(ape.mean()) if len(ape) else None
        low, high = (told[f"{metric}_{side}_s"].to_numpy(float) for side in ("low", "high"))
        measured = told[f"{metric}_s"].to_numpy(float)
        banded = np.isfinite(low) & np.isfinite(high)
        covered = (low <= measured)[banded] & (measured <= high)[banded]
        found[f"{metric}_interval_coverage_90"] = number(covered.mean()) if covered.size else None
        inside.append(covered)
    both = np.concatenate(inside)
    found["interval_coverage_90"] = number(both.mean()) if both.size else None
    return found


def errors(rows: pd.DataFrame, metric: str) -> Array:
    """Absolute errors in per cent of the measured time; `metric` is "tpot" or "ttft"."""
    return np.abs(residuals(rows, metric))


def residuals(rows: pd.DataFrame, metric: str) -> Array:
    """Predicted over measured, less one, in per cent."""
    measured, predicted = rows[f"{metric}_s"].to_numpy(float), rows[f"{metric}_predicted_s"].to_numpy(float)
    return np.asarray(100.0 * (predicted / measured - 1.0))


def by(rows: pd.DataFrame, *columns: str) -> dict[str, Figures]:
    """The figures of every part of the rows; several columns join to "model, accelerator"."""
    parts = rows.groupby(list(columns), sort=True, dropna=False)
    return {", ".join(map(name_of, key)): figures(part) for key, part in parts}


def group_medians(rows: pd.DataFrame) -> Figures:
    """The median over the groups (model, accelerator) of each group's error: every group weighs the same."""
    groups = by(rows, *GROUP)
    found: Figures = {"groups": len(groups)}
    for key in ERRORS:
        values = [group[key] for group in groups.values() if group[key] is not None]
        found[key] = number(np.median(values)) if values else None
    return found


def bootstrap(
    rows: pd.DataFrame, resamples: int = _RESAMPLES, seed: int = 0
) -> dict[str, list[float] | None]:
    """The 5th and 95th percentile of the errors [%] when whole groups are drawn anew, as often as given."""
    told = rows[_predicted(rows)]
    parts = [part for _, part in told.groupby(list(GROUP), sort=True)]
    if len(parts) < 2:
        return {f"{key}_90": None for key in ERRORS}
    ape = [{metric: errors(part, metric) for metric in METRICS} for part in parts]
    drawn = np.random.default_rng(seed).integers(len(parts), size=(resamples, len(parts)))
    found: dict[str, list[float] | None] = {}
    for metric in METRICS:
        samples = [np.concatenate([ape[i][metric] for i in draw]) for draw in drawn]
        for kind, of in (("median", np.median), ("mean", np.mean)):
            ends = np.quantile([of(sample) for sample in samples], [0.05, 0.95])
            found[f"{metric}_{kind}_ape_90"] = [float(end) for end in ends]
    return found


def judge(target: Target, summary: Mapping[str, Any]) -> dict[str, Any]:
    """A target beside what was reached; `met` is None where nothing was measured."""
    reached = target.figure(summary)
    return {
        "name": target.name,
        "asked": {"at_least": target.low or None, "at_most": number(target.high), "unit": target.unit},
        "reached": reached,
        "met": None if reached is None else bool(target.low <= reached <= target.high),
    }


def number(value: Any) -> float | None:
    """A figure as JSON knows it: None for what is not finite."""
    return float(value) if np.isfinite(value) else None


def name_of(value: Any) -> str:
    """A group's value as text: numbers without needless zeros, "unknown" for none, a range by its ends."""
    if isinstance(value, tuple):
        return "–".join(map(name_of, value))
    if isinstance(value, float | np.floating):
        return f"{value:g}" if np.isfinite(value) else "unknown"
    return str(value) or "unknown"


def _kept(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["set_aside"].fillna("") == ""]


def _predicted(rows: pd.DataFrame) -> pd.Series[bool]:
    return rows["tpot_predicted_s"].notna() & rows["ttft_predicted_s"].notna()


def _others(rows: pd.DataFrame) -> dict[str, Figures]:
    """Of the rows that are not judged, by backend and mode; "all" are those that are not aggregated vLLM."""
    kept = _kept(rows)
    if not len(kept):
        return {}
    foreign = kept[(kept["backend"] != "vllm") | (kept["mode"] != "agg")]
    parts = {
        f"{backend} {mode}": figures(part) for (backend, mode), part in kept.groupby(["backend", "mode"])
    }
    return {**({"all": figures(foreign)} if len(foreign) else {}), **parts}


def _reasons(rows: pd.DataFrame) -> dict[str, int]:
    missing = rows[~_predicted(rows)]
    counts = missing["why"].fillna("").replace("", "no reason given").value_counts()
    return {str(reason): int(count) for reason, count in counts.items()}
