"""What replays and forecasts of recorded runs come to: figures, targets, and tables for a terminal.

Errors (APE) are absolute, in per cent of what was measured; over several runs they are the median of the
runs', with where that lies in nine of ten draws of whole runs. A figure that nothing tells is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.validate.predicted_runs import FIGURES, Evidence, Latencies, Prediction, figures, measured
from foretell.validate.recorded_runs import RecordedRun
from foretell.validate.replayed_runs import Replay

Floats = npt.NDArray[np.float64]
BOUNDARY = (
    "from the arrival that the trace names to the token in the hands of the caller, in the engine's process; "
    "no HTTP, no tokeniser, no streaming"
)
AT_MOST = {
    "tpot_mean": 10.0,
    "e2e_mean": 10.0,
    "ttft_mean": 20.0,
    "tpot_p99": 25.0,
    "e2e_p99": 25.0,
    "ttft_p99": 25.0,
}
"""What was asked of the medians over runs [%]."""
_RESAMPLES = 2000
_STRETCHES = 20
_COUNTS = (
    "steps_compared",
    "steps_equal",
    "tokens",
    "tokens_in_step",
    "tokens_in_time",
    "requests",
    "requests_equal",
)


def summary(
    runs: Sequence[RecordedRun],
    origin: Sequence[str],
    replays: Sequence[Replay],
    found: Evidence,
    served: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the figures of all runs, by run, model and origin, the noise beside them, and the targets.

    Args:
        runs, origin, replays: the runs, where each comes from, and what its replay gave.
        found: forecasts.
        served: figures of runs of whole servers, from elsewhere.

    """
    names = _names(runs, origin)
    requests = [measured(run) for run in runs]
    real = [figures(one) for one in requests]
    by_run: dict[str, dict[str, Any]] = {}
    for i, (run, one) in enumerate(zip(runs, replays, strict=True)):
        by_run[names[i]] = {
            "origin": origin[i],
            "model": run.model,
            "burst": run.is_burst,
            **{name: getattr(one, name) for name in _COUNTS},
            "difference": one.difference or None,
            "latest_token_s": one.latest_s,
            "measured_s": real[i],
            "predicted_s": None,
            "not_predicted": found.not_predicted.get(i),
            **{f"{figure}_ape": None for figure in FIGURES},
        }
    for prediction in found.predictions:
        by_run[names[prediction.run]] |= _by_run(prediction, requests[prediction.run], names)
    errors = _signed(found.predictions, real)
    total = {name: sum(getattr(one, name) for one in replays) for name in _COUNTS}
    result = {
        **total,
        **_medians(errors),
        "runs": len(runs),
        "runs_predicted": len(found.predictions),
        "boundary": BOUNDARY,
        "by_run": by_run,
        "by_origin": {
            name: part
            | {
                "noise": _noise([r for r in found.repeats if origin[r[0]] == name], real, names),
                "random_halves": _random(found, [origin[p.run] == name for p in found.predictions]),
            }
            for name, part in _parts(found, real, [origin[p.run] for p in found.predictions]).items()
        },
        "by_model": _parts(found, real, [runs[p.run].model for p in found.predictions]),
        "speed_known": _medians(_signed(found.predictions, real, lambda p: p.speed_known)),
        "noise": _noise(found.repeats, real, names),
        "random_halves": _random(found),
        "bursts_alone": _bursts(found, real, names),
        "served": None if served is None else dict(served),
    }
    result["targets"] = targets(result)
    return result


def targets(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was asked, what is reached, and whether that is met; None if not measured."""
    asked = [
        ("steps equal", 100.0, None, _share(result, "steps_equal", "steps_compared")),
        ("tokens in the same step", 100.0, None, _share(result, "tokens_in_step", "tokens")),
        ("tokens between its end and the next step", 100.0, None, _share(result, "tokens_in_time", "tokens")),
        *(
            (f"{name.replace('_', ', ')}: median error", None, most, result[f"{name}_ape"])
            for name, most in AT_MOST.items()
        ),
    ]
    return [
        {
            "name": name,
            "asked": {"at_least": low, "at_most": high, "unit": "%"},
            "reached": value,
            "met": None
            if value is None
            else (low is None or value >= low) and (high is None or value <= high),
        }
        for name, low, high, value in asked
    ]


def _by_run(prediction: Prediction, requests: Latencies, names: Sequence[str]) -> dict[str, Any]:
    ours, real = figures(prediction.latencies), figures(requests)
    errors = {name: 100 * (ours[name] / real[name] - 1) for name in FIGURES}
    return {
        "predicted_s": ours,
        **{f"{name}_ape": _number(abs(value)) for name, value in errors.items()},
        **{f"{name}_error": _number(value) for name, value in errors.items()},
        **{f"{n}_mean_error_90": _band(prediction.latencies[n], values) for n, values in requests.items()},
        "steps_error": 100 * prediction.steps_error,
        "step_mape": 100 * prediction.step_mape,
        "fitted_on": [names[i] for i in prediction.fitted_on],
    }


def _band(ours: Floats, real: Floats) -> list[float] | None:
    """Where the error of a mean lies in nine of ten draws of twentieths of a run, in order of arrival."""
    pairs = np.column_stack([ours, real])
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    parts = np.array([part.sum(axis=0) for part in np.array_split(pairs, min(_STRETCHES, len(pairs) or 1))])
    if len(parts) < _STRETCHES:
        return None
    drawn = np.random.default_rng(0).integers(0, len(parts), (_RESAMPLES, len(parts)))
    sums = parts[drawn].sum(axis=1)
    low, high = np.quantile(100 * (sums[:, 0] / sums[:, 1] - 1), [0.05, 0.95])
    return [float(low), float(high)]


def _signed(
    predictions: Iterable[Prediction],
    real: Sequence[Mapping[str, float]],
    told: Callable[[Prediction], Latencies] = lambda p: p.latencies,
) -> dict[str, list[float]]:
    """Errors in per cent, with their sign; of a run without the figure (one-token answers) none."""
    pairs = [(figures(told(p)), real[p.run]) for p in predictions]
    errors = {name: [100 * (ours[name] / theirs[name] - 1) for ours, theirs in pairs] for name in FIGURES}
    return {name: [value for value in values if math.isfinite(value)] for name, values in errors.items()}


def _medians(errors: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Median size of the errors and its interval, and their median with the sign."""
    found: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    for name, values in errors.items():
        size = np.abs(values)
        found[f"{name}_ape"] = float(np.median(size)) if len(size) else None
        found[f"{name}_ape_90"] = None
        if len(size) > 1:
            drawn = np.median(size[rng.integers(0, len(size), (_RESAMPLES, len(size)))], axis=1)
            found[f"{name}_ape_90"] = np.quantile(drawn, [0.05, 0.95]).tolist()
        found[f"{name}_error"] = float(np.median(values)) if len(values) else None
    return found


def _parts(found: Evidence, real: Sequence[Mapping[str, float]], part_of: Sequence[str]) -> dict[str, Any]:
    parts = {}
    for name in sorted(set(part_of)):
        chosen = [p for p, part in zip(found.predictions, part_of, strict=True) if part == name]
        parts[name] = {"runs_predicted": len(chosen)} | _medians(_signed(chosen, real))
    return parts


def _noise(
    repeats: Sequence[tuple[int, int]], real: Sequence[Mapping[str, float]], names: Sequence[str]
) -> dict[str, Any]:
    """A repeat as the forecast of the other, both ways round."""
    errors: dict[str, list[float]] = {name: [] for name in FIGURES}
    for pair in repeats:
        for one, other in (pair, pair[::-1]):
            for name in FIGURES:
                errors[name].append(100 * (real[one][name] / real[other][name] - 1))
    return {
        "pairs": [[names[i] for i in pair] for pair in repeats],
        **{f"{name}_ape": float(np.median(np.abs(e))) if e else None for name, e in errors.items()},
        **{f"{name}_ape_max": float(np.max(np.abs(e))) if e else None for name, e in errors.items()},
    }


def _random(found: Evidence, of: Sequence[bool] | None = None) -> dict[str, Any]:
    """Medians over the runs, or some, in each random division: their mean, and where nine of ten lie."""
    some = slice(None) if of is None else np.flatnonzero(of)
    kept = {name: 100 * np.median(v[:, some], axis=1) for name, v in found.random_halves.items() if v.size}
    return {
        "divisions": max((len(v) for v in kept.values()), default=0),
        **{f"{name}_ape": float(v.mean()) for name, v in kept.items()},
        **{f"{name}_ape_90": np.quantile(v, [0.05, 0.95]).tolist() for name, v in kept.items()},
    }


def _bursts(found: Evidence, real: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, Any]:
    errors = [100 * p.steps_error for p in found.from_bursts]
    return {
        "runs_predicted": len(found.from_bursts),
        **_medians(_signed(found.from_bursts, real)),
        "steps_error": float(np.median(errors)) if errors else None,
        "steps_error_range": [min(errors), max(errors)] if errors else None,
        "by_run": {
            names[p.run]: {"steps_error": 100 * p.steps_error}
            | {f"{n}_error": _number(100 * (v / real[p.run][n] - 1)) for n, v in figures(p.latencies).items()}
            for p in found.from_bursts
        },
    }


def _names(runs: Sequence[RecordedRun], origin: Sequence[str]) -> list[str]:
    """Names of the runs, with their origin where two are called the same."""
    plain = [run.name for run in runs]
    return [n if plain.count(n) == 1 else f"{o}/{n}" for n, o in zip(plain, origin, strict=True)]


def _share(result: Mapping[str, Any], part: str, whole: str) -> float | None:
    return 100 * result[part] / result[whole] if result[whole] else None


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
