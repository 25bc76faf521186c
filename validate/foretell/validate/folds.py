"""What is left out, and the scales fitted without it; how far off those are says how sure the others are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from foretell.models.residual import Residual
from foretell.models.tabulated import TERMS
from foretell.validate.closed_loop import LoopFeatures
from foretell.validate.loops import keys_of
from foretell.validate.mixed import Mixed, Runs
from foretell.validate.server_runs import ServerRun
from foretell.validate.silicon_rows import MeasuredRow

Array = npt.NDArray[np.float64]
CALIBRATION_ROWS = 3
_CALIBRATION_WEIGHT = 30.0
"""Of a calibration row, in rows of other groups."""
_ENDS = (0.05, 0.95)


def runs_of(
    rows: Sequence[MeasuredRow],
    features: Sequence[LoopFeatures],
    slower: Sequence[LoopFeatures],
    scales: Mapping[str, float],
    slower_scales: Mapping[str, float],
) -> Runs:
    """Put simulated terms beside measured times, and what the client's way makes of a time to first token.

    Prompts of a burst that are tokenised one by one reach the engine one by one and queue the less there. So
    what a slower client adds is told by a second simulation, in which nothing else differs: per unit of
    `client_1k`, a row's time grows by s; all else of it is the terms', as it would be at `client_1k` = 0.

    Args:
        rows: n of them.
        features: simulated at `scales`.
        slower: at `slower_scales`, of which only `client_1k` differs and is greater.
        scales, slower_scales: of every row.

    """
    low, high = scales["client_1k"], slower_scales["client_1k"]
    ttft, later = (np.array([each.ttft_s for each in found]) for found in (features, slower))
    terms = np.array([found.ttft_terms for found in features])
    concurrency = np.array([row.run.concurrency for row in rows], dtype=float)
    fixed = 1e-3 * scales["client"] + 1e-6 * scales["client_stream"] * concurrency
    per_unit = np.clip((later - ttft) / (high - low), 0.0, 0.9 * (ttft - fixed) / low)
    engine = terms @ np.array([scales[name] for name in TERMS])
    at_zero = (ttft - fixed - low * per_unit) / engine
    client = np.column_stack([np.full(len(rows), 1e-3), per_unit, 1e-6 * concurrency])
    return Runs(
        np.column_stack([terms * at_zero[:, None], client]),
        np.column_stack([np.array([found.tpot_terms for found in features]), 0.0 * client]),
        np.array([row.run.ttft_s for row in rows]),
        np.array([row.run.tpot_s for row in rows]),
        tuple(keys_of(row) for row in rows),
    )


def pair_of(row: MeasuredRow) -> str:
    """What MAIN leaves out together."""
    return ", ".join(row.run.group)


def model_of(row: MeasuredRow) -> str:
    """What leave-one-model-out leaves out together."""
    return row.run.model


def left_out(
    model: Mixed, rows: Sequence[MeasuredRow], fold: Callable[[MeasuredRow], str], calibrated: bool = False
) -> dict[str, Residual]:
    """By fold, the scales fitted without it, or but for its calibration rows; rows set aside never help."""
    trusted = np.array([not row.run.set_aside for row in rows])
    folds = np.array([fold(row) for row in rows])
    start = model.fit(np.flatnonzero(trusted))
    found = {}
    for name in sorted(set(folds)):
        train = np.flatnonzero(trusted & (folds != name))
        weights = np.ones(len(train))
        if calibrated:
            few = calibration_rows(rows, np.flatnonzero(trusted & (folds == name)).tolist())
            train = np.concatenate([train, few])
            weights = np.concatenate([weights, np.full(len(few), _CALIBRATION_WEIGHT)])
        found[name] = model.residual(model.fit(train, start, weights))
    return found


def calibration_rows(rows: Sequence[MeasuredRow], mine: Sequence[int]) -> list[int]:
    """Three rows of a group, of distinct configurations, evenly by prompt length, then concurrency."""

    def order(i: int) -> tuple[tuple[int, int], int, str]:
        run = rows[i].run
        return run.prompt_tokens, run.concurrency, run.id

    first: dict[ServerRun, int] = {}
    for i in sorted(mine, key=order):
        first.setdefault(configuration(rows[i]), i)
    distinct = list(first.values())
    n = len(distinct)
    return [distinct[(2 * k + 1) * n // (2 * CALIBRATION_ROWS)] for k in range(min(CALIBRATION_ROWS, n))]


def configuration(row: MeasuredRow) -> ServerRun:
    """What ran, whatever was measured."""
    return dataclasses.replace(row.run.unmeasured(), version="")


def calibrating(rows: Sequence[MeasuredRow]) -> list[str]:
    """The ids of all pairs' calibration rows, and of all repeats of theirs."""
    trusted = [i for i, row in enumerate(rows) if not row.run.set_aside]
    pairs = sorted({pair_of(rows[i]) for i in trusted})
    mine = ([i for i in trusted if pair_of(rows[i]) == pair] for pair in pairs)
    known = {configuration(rows[i]) for each in mine for i in calibration_rows(rows, each)}
    return [row.run.id for row in rows if configuration(row) in known]


def interval_factors(
    errors: Array, folds: Sequence[str], weigh: bool = True
) -> dict[str, tuple[float, float]]:
    """By fold, factors on a prediction that hold nine of ten measurements, told from the other folds alone.

    They are quantiles of measured over predicted; every fold weighs the same, for what is forecast next is a
    new fold. "" has those of all folds.

    Args:
        errors: ln(measured / predicted) of rows; NaN has no say.
        folds: of the rows.
        weigh: False lets every row weigh the same.

    """
    labels = np.array(folds)
    told = np.isfinite(errors)
    found = {}
    for name in ("", *sorted(set(folds))):
        use = told & (labels != name)
        counts: Mapping[str, int] = {each: int((labels[use] == each).sum()) for each in set(labels[use])}
        weights = np.array([1.0 / counts[each] if weigh else 1.0 for each in labels[use]])
        low, high = _quantiles(errors[use], weights)
        found[name] = (float(np.exp(low)), float(np.exp(high)))
    return found


def _quantiles(values: Array, weights: Array) -> tuple[float, float]:
    if not len(values):
        return float("nan"), float("nan")
    order = np.argsort(values)
    at = np.cumsum(weights[order])
    at = (at - 0.5 * weights[order]) / at[-1]
    low, high = np.interp(_ENDS, at, values[order])
    return float(low), float(high)
