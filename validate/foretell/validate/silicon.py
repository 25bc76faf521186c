"""Measured servers forecast as the closed loops they were: by scales that had not seen them.

1. Every judged row is simulated with the priors of `mixed`: the figures called untuned, and what each term
   has in them. Once more with a slower client: what that changes.
2. Scales are fitted with a part of the rows left out, for every part.
3. Every row is simulated again with the scales that had not seen it.
4. Intervals come from how far off the other parts' forecasts were.

Rows of other back ends and of two pools take the scales that left their own model on their accelerator out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from foretell.models.residual import Residual
from foretell.validate.closed_loop import LoopFeatures
from foretell.validate.folds import calibrating, interval_factors, left_out, model_of, pair_of, runs_of
from foretell.validate.loops import Loop, Progress, simulate_rows
from foretell.validate.mixed import Mixed, mixed, untuned
from foretell.validate.report import CALIBRATED, LEAVE_MODEL, MAIN
from foretell.validate.silicon_rows import MeasuredRow

if TYPE_CHECKING:
    import pandas as pd

UNTUNED = "untuned"
IN_SAMPLE = "in the sample"
_SLOWER = 9.0
"""`client_1k` of the second simulation: beyond what is found."""
Fold = Callable[[MeasuredRow], str]


def validate_silicon(
    rows: Sequence[MeasuredRow], progress: Progress | None = None, operator_times: str = "silicon"
) -> pd.DataFrame:
    """Forecast the rows: one line for each row and variant; columns as `report.summarise` reads them.

    Raises:
        ValueError: no row is judged, so that nothing can be fitted.

    """
    import pandas as pd

    judged = [row for row in rows if row.judged]
    others = [row for row in rows if not row.judged]
    if not judged:
        raise ValueError("rows: none of them is judged; scales are fitted on those")
    tell = _counter(progress, 6 * len(judged) + len(others))
    first, model, known = layout(judged, operator_times, tell)
    lines = _lines(judged, first, UNTUNED, lambda row: "", judged=True)
    everything = fit_all(model, known)
    variants: tuple[tuple[str, Fold, Mapping[str, Residual]], ...] = (
        (MAIN, pair_of, left_out(model, known, pair_of)),
        (LEAVE_MODEL, model_of, left_out(model, known, model_of)),
        (CALIBRATED, pair_of, left_out(model, known, pair_of, calibrated=True)),
        (IN_SAMPLE, lambda row: "", {"": everything}),
    )
    helped = set(calibrating(known))
    for k, (name, fold, scales) in enumerate(variants, 2):
        asked = [row for row in judged if not (name == CALIBRATED and row.run.id in helped)]
        loops = [Loop(row, scales.get(fold(row), everything), operator_times) for row in asked]
        found = simulate_rows(loops, tell(k * len(judged)))
        lines += _lines(asked, found, name, fold, judged=True)
    main = variants[0][2]
    loops = [Loop(row, main.get(pair_of(row), everything), operator_times) for row in others]
    lines += _lines(others, simulate_rows(loops, tell(6 * len(judged))), MAIN, pair_of, judged=False)
    return _with_intervals(pd.DataFrame(lines))


def layout(
    rows: Sequence[MeasuredRow], operator_times: str, tell: Callable[[int], Progress | None]
) -> tuple[list[LoopFeatures | str], Mixed, list[MeasuredRow]]:
    """Simulate rows at the priors, and lay out what is fitted to those of them that can be simulated."""
    plain = untuned()
    slower = dataclasses.replace(plain, scales={**plain.scales, "client_1k": _SLOWER})
    first, second = (
        simulate_rows([Loop(row, scales, operator_times) for row in rows], tell(k * len(rows)))
        for k, scales in enumerate((plain, slower))
    )
    both = [
        (row, a, b)
        for row, a, b in zip(rows, first, second, strict=True)
        if isinstance(a, LoopFeatures) and isinstance(b, LoopFeatures)
    ]
    known = [row for row, _, _ in both]
    runs = runs_of(known, [a for _, a, _ in both], [b for _, _, b in both], plain.scales, slower.scales)
    return first, mixed(runs), known


def fit_all(model: Mixed, rows: Sequence[MeasuredRow]) -> Residual:
    """The scales of all rows but those set aside: what is shipped."""
    trusted = np.flatnonzero([not row.run.set_aside for row in rows])
    return model.residual(model.fit(trusted))


def _lines(
    rows: Sequence[MeasuredRow],
    found: Sequence[LoopFeatures | str],
    variant: str,
    fold: Fold,
    *,
    judged: bool,
) -> list[dict[str, Any]]:
    return [
        _line(row, result) | {"variant": variant, "fold": fold(row), "judged": judged}
        for row, result in zip(rows, found, strict=True)
    ]


def _line(row: MeasuredRow, result: LoopFeatures | str) -> dict[str, Any]:
    run, told = row.run, isinstance(result, LoopFeatures)
    return {
        "id": run.id,
        "backend": run.backend,
        "version": run.version,
        "mode": row.mode,
        "model": run.model,
        "accelerator": run.accelerator,
        "weights": run.precision.weights,
        "kv_cache": run.precision.kv_cache,
        "tensor_parallel_size": run.parallelism.tensor_parallel_size,
        "data_parallel_size": run.parallelism.data_parallel_size,
        "enable_expert_parallel": run.parallelism.enable_expert_parallel,
        "prompt_tokens": run.prompt_tokens[1],
        "output_tokens": run.output_tokens[1],
        "concurrency": run.concurrency,
        "ttft_s": run.ttft_s,
        "tpot_s": run.tpot_s,
        "ttft_predicted_s": result.ttft_s if isinstance(result, LoopFeatures) else np.nan,
        "tpot_predicted_s": result.tpot_s if isinstance(result, LoopFeatures) else np.nan,
        "why": "" if told else result,
        "set_aside": run.set_aside,
    }


def _with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Add 90 % intervals: those of a variant's other folds, and for rows not judged those of all of MAIN."""
    for metric in ("ttft", "tpot"):
        ratio = np.log(table[f"{metric}_s"].to_numpy(float) / table[f"{metric}_predicted_s"].to_numpy(float))
        low, high = np.full(len(table), np.nan), np.full(len(table), np.nan)
        judged = table["judged"].to_numpy(bool)
        for variant in (MAIN, LEAVE_MODEL, CALIBRATED):
            mine = judged & (table["variant"] == variant).to_numpy()
            trusted = mine & (table["set_aside"] == "").to_numpy()
            factors = interval_factors(ratio[trusted], table["fold"][trusted].tolist())
            rows = mine | (~judged if variant == MAIN else False)
            for i in np.flatnonzero(rows):
                at = factors.get(table["fold"].iloc[i] if judged[i] else "", factors[""])
                predicted = table[f"{metric}_predicted_s"].iloc[i]
                low[i], high[i] = predicted * at[0], predicted * at[1]
        table[f"{metric}_low_s"], table[f"{metric}_high_s"] = low, high
    return table


def _counter(progress: Progress | None, total: int) -> Callable[[int], Progress | None]:
    """Progress of parts as progress of the whole."""

    def after(done: int) -> Progress | None:
        return None if progress is None else lambda part, _: progress(done + part, total)

    return after
