"""What `foretell validate frontier` finds: how far foretell's frontiers are from the measured ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from foretell.validate.frontier import KINDS, Array, gaps, resampled, steepness
from foretell.validate.frontier_rows import Group, Times, groups_of, predict
from foretell.validate.frontier_scales import Scales, held_out, in_sample, shipped
from foretell.validate.report import Target, judge, number
from foretell.validate.silicon_rows import MeasuredRow

LEAST_POINTS = 3
"""A frontier of fewer is none."""
ASKED = 10.0
JUDGED = "vLLM, aggregated (the judged runs)"
OTHERS = "other back ends and disaggregated"
_LOADS = ((1, 8), (9, 32), (33, 128), (129, 100_000))
Progress = Callable[[int, int], None]
Figures = dict[str, Any]


def validate_frontier(
    rows: Sequence[MeasuredRow],
    source: str,
    left_out: Mapping[str, int] | None = None,
    scales: Scales | None = None,
    progress: Progress | None = None,
) -> tuple[Figures, list[Group]]:
    """Forecast all rows in closed form by scales that had not seen them, and compare frontiers.

    Args:
        rows: measured ones; those set aside are left out.
        source: where the judged ones come from.
        left_out: rows that cannot be forecast, by reason.
        scales: fitted without each pair; those of the package when None.
        progress: is told how many rows are done.

    Returns:
        The summary (as JSON: numbers, None for what is not there), and the frontiers.

    Raises:
        ValueError: there is no frontier in the rows.

    """
    kept = [row for row in rows if not row.run.set_aside]
    judged = [row for row in kept if row.judged]
    known = shipped() if scales is None else scales
    times = predict(kept, lambda row: held_out(row, known), progress)
    groups = frontiers(kept, times)
    if not groups:
        raise ValueError(f"rows: no group of {len(kept)} rows has a frontier of {LEAST_POINTS} points")
    seen = frontiers(judged, predict(judged, in_sample))
    missing = [each for each in times if isinstance(each, str)]
    return summarise(groups, seen) | {
        "source": source,
        "rows": len(kept),
        "rows_predicted": len(kept) - len(missing),
        "rows_set_aside": len(rows) - len(kept),
        "not_predicted": {why: missing.count(why) for why in sorted(set(missing))},
        "left_out": dict(left_out or {}),
    }, groups


def frontiers(rows: Sequence[MeasuredRow], times: Sequence[Times | str]) -> list[Group]:
    """The groups whose measured frontier has enough points."""
    return [group for group in groups_of(rows, times) if len(group.measured) >= LEAST_POINTS]


def summarise(groups: Sequence[Group], seen: Sequence[Group] = ()) -> Figures:
    """Figures of all parts: judged runs, others, each back end, accelerator, model, load and group."""
    judged = [group for group in groups if group.judged]
    others = [group for group in groups if not group.judged]
    foreign = [group for group in others if (group.backend, group.mode) != ("vllm", "agg")]
    summary: Figures = {
        "groups": len(groups),
        "judged": figures(judged),
        "others": figures(foreign),
        "in_sample": figures(seen),
        "by_backend": _parts(others, lambda group: f"{group.backend} {group.mode}"),
        "by_accelerator": _parts(judged, lambda group: group.accelerator),
        "by_model": _parts(judged, lambda group: group.model),
        "by_weights": _parts(judged, lambda group: group.weights),
        "by_lengths": _parts(judged, lambda group: f"{group.prompt_tokens} in, {group.output_tokens} out"),
        "by_concurrency": _by_load(judged),
        "by_group": {group.name: _of_group(group) for group in groups},
    }
    summary["targets"] = [judge(target, summary) for target in TARGETS]
    return summary


def figures(groups: Sequence[Group]) -> Figures:
    """How far the groups' frontiers are from the measured ones, from either side, and each configuration."""
    found: Figures = {
        "groups": len(groups),
        "configurations": sum(len(group.configurations) for group in groups),
        "points": sum(len(group.measured) for group in groups),
    }
    here = [gaps(group.measured, group.predicted) for group in groups]
    back = [gaps(group.predicted, group.measured) for group in groups]
    for kind in KINDS:
        found[kind] = _errors({str(i): gap[kind] for i, gap in enumerate(here)})
    found["across_back"] = _errors({str(i): -gap["across"] for i, gap in enumerate(back)})
    found["both_ways"] = _errors(
        {
            str(i): np.concatenate([a["across"], -b["across"]])
            for i, (a, b) in enumerate(zip(here, back, strict=True))
        }
    )
    steep = [steepness(group.measured) for group in groups]
    found["steepness"] = number(np.median(np.concatenate(steep))) if groups else None
    found["same_configuration"] = _errors({str(i): _same(group) for i, group in enumerate(groups)})
    return found


def _errors(logs: Mapping[str, Array]) -> Figures:
    """Of ln(predicted / measured) by group: errors in per cent, over points and over groups."""
    values = {name: 100 * np.expm1(part[np.isfinite(part)]) for name, part in logs.items()}
    every = np.concatenate([np.zeros(0), *values.values()])
    medians = {name: np.median(np.abs(part)) for name, part in values.items() if len(part)}
    spread = resampled({name: np.abs(part) for name, part in values.items()})
    group_spread = resampled({name: np.array([value]) for name, value in medians.items()})
    has = bool(len(every))
    beyond = sum(int((~np.isfinite(part)).sum()) for part in logs.values())
    missing = np.full(beyond, 1e300)  # finite, so that a median between two of them is
    whole = float(np.median(np.append(np.abs(every), missing))) if has else np.nan
    return {
        "points": len(every),
        "beyond": beyond,
        "median_ape_beyond_missed": number(whole) if whole < 1e300 else None,
        "median_ape": number(np.median(np.abs(every))) if has else None,
        "median_ape_90": None if spread is None else list(spread),
        "mean_ape": number(np.mean(np.abs(every))) if has else None,
        "bias": number(np.median(every)) if has else None,
        "group_median_ape": number(np.median(list(medians.values()))) if medians else None,
        "group_median_ape_90": None if group_spread is None else list(group_spread),
    }


def _same(group: Group) -> Array:
    """Log of tokens/s/accelerator predicted over measured, of every configuration."""
    pairs = [(one.predicted[1], one.measured[1]) for one in group.configurations]
    return np.array([np.log(a / b) for a, b in pairs])


def _parts(groups: Sequence[Group], key: Callable[[Group], str]) -> dict[str, Figures]:
    names = sorted({key(group) for group in groups})
    return {name: figures([group for group in groups if key(group) == name]) for name in names}


def _by_load(groups: Sequence[Group]) -> dict[str, Figures]:
    """Errors of measured frontier points by the requests in flight there."""
    found: dict[str, Figures] = {}
    for low, high in _LOADS:
        parts: dict[str, dict[str, Array]] = {kind: {} for kind in KINDS}
        steep = [np.zeros(0)]
        for group in groups:
            gap, measured = gaps(group.measured, group.predicted), group.measured
            load = {one.measured: one.concurrency for one in group.configurations}
            mine = np.array([low <= load[(x, y)] <= high for x, y in measured.tolist()], dtype=bool)
            steep.append(steepness(measured)[mine])
            for kind in KINDS:
                parts[kind][group.name] = gap[kind][mine]
        name = f"{low} to {high}" if high < 100_000 else f"{low} and more"
        found[name] = {kind: _errors(each) for kind, each in parts.items()}
        slopes = np.concatenate(steep)
        found[name]["steepness"] = number(np.median(slopes)) if len(slopes) else None
    return found


def _of_group(group: Group) -> Figures:
    one = figures([group])
    return {
        "judged": group.judged,
        "backend": f"{group.backend} {group.mode}",
        "configurations": one["configurations"],
        "points": one["points"],
        "beyond": one["across"]["beyond"],
        **{kind: one[kind]["median_ape"] for kind in (*KINDS, "both_ways", "same_configuration")},
        "bias": one["across"]["bias"],
        "measured": group.measured.tolist(),
        "predicted": group.predicted.tolist(),
    }


def _reached(part: str, kind: str, key: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda summary: summary[part][kind][key]


TARGETS = (
    Target(
        f"{JUDGED}: tokens/s/accelerator at equal tokens/s/user, median over points",
        _reached("judged", "across", "median_ape"),
        high=ASKED,
    ),
    Target(
        f"{JUDGED}: likewise, median over groups",
        _reached("judged", "across", "group_median_ape"),
        high=ASKED,
    ),
    Target(
        f"{JUDGED}: the frontier as a whole (factor of speed; not asked), median over points",
        _reached("judged", "speed", "median_ape"),
        high=ASKED,
    ),
    Target(
        f"{OTHERS}: tokens/s/accelerator at equal tokens/s/user, median over points",
        _reached("others", "across", "median_ape"),
        high=ASKED,
    ),
)
