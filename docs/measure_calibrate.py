"""How well calibrations on recorded runs predict the other runs: python docs/measure_calibrate.py.

Every model's runs are calibrated as `foretell calibrate` does it with their folders; JSON is printed. The
runs are those of `foretell validate runs`: the shipped ones, and the recordings if they are found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foretell.sim.calibrating import calibrate_steps
from foretell.sim.costforms import affine_form
from foretell.sim.profile import Profile
from foretell.sim.steplog import StepLog, read_step_logs
from foretell.validate.cli_runs import places_of
from foretell.validate.recorded_runs import RecordedRun, load_run

_DRAWS = 2000


def measure(places: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """What the page quotes, by model and of all runs, of the runs' folders by where they come from."""
    models: dict[str, list[RecordedRun]] = {}
    for folders in places.values():
        for run in map(load_run, folders):
            models.setdefault(run.model, []).append(run)
    found = {name: _of_model(runs) for name, runs in models.items()}
    return {
        "runs": sum(map(len, models.values())),
        "steps": sum(one["steps"] for one in found.values()),
        "models": found,
    }


def _of_model(runs: Sequence[RecordedRun]) -> dict[str, Any]:
    """Errors as shares: of a step (mean), and of all steps of a run together, each half from the other."""
    folders = [run.folder for run in runs]
    log = read_step_logs(folders)
    result = calibrate_steps(log, affine_form())
    held_out = result.held_out
    totals = [abs(one.total_error) for one in held_out]
    alone_s = {run.name: _alone_s(log, i) for i, run in enumerate(runs)}
    return {
        "runs": len(runs),
        "steps": len(log),
        "noise": result.profile.log_error,
        "step_mape": sum(one.rows * one.mape for one in held_out) / sum(one.rows for one in held_out),
        "total_ape": float(np.median(totals)),
        "total_ape_max": max(totals),
        "worst": max(held_out, key=lambda one: abs(one.total_error)).name,
        "run_log_error": result.profile.run_log_error,
        "alone_s": {
            "bursts": _ends(alone_s[run.name] for run in runs if run.is_burst),
            "live": _ends(alone_s[run.name] for run in runs if not run.is_burst),
        },
        "intervals": _intervals(folders) if len(runs) > 3 else None,
    }


def _alone_s(log: StepLog, run: int) -> float | None:
    """The median step of a run that decodes one sequence and does nothing else."""
    load = log.load
    alone = (log.run == run) & (np.asarray(load.decode_seqs) == 1) & (np.asarray(load.prefill_tokens) == 0)
    return float(np.median(log.seconds[alone])) if alone.any() else None


def _ends(values: Iterable[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    return {"least": min(known), "most": max(known)} if known else None


def _intervals(folders: Sequence[Path]) -> dict[str, int]:
    """How many runs' total times the 90 % intervals of a profile of the other half's runs hold."""
    halves = [list(folders[::2]), list(folders[1::2])]
    inside = 0
    for seen, others in (halves, halves[::-1]):
        profile = calibrate_steps(read_step_logs(seen), affine_form()).profile
        inside += sum(_holds(profile, read_step_logs([folder])) for folder in others)
    return {"runs": len(folders), "inside": inside}


def _holds(profile: Profile, log: StepLog) -> bool:
    """Whether a run's total time lies in the interval: posterior, times how far a run is from the average."""
    rng = np.random.default_rng(0)
    totals = np.asarray(profile.draws) @ affine_form().features(log.load).sum(axis=0)
    drawn = rng.choice(totals, _DRAWS) * np.exp(profile.run_log_error * rng.standard_normal(_DRAWS))
    low, high = np.quantile(drawn, [0.05, 0.95])
    return bool(low <= log.seconds.sum() <= high)


if __name__ == "__main__":
    print(json.dumps(measure(places_of(None)), indent=1))
