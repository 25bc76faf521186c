"""Fit a cost's coefficients to mean latencies at operating points: simulate, fit, and simulate again.

A mean latency is linear in the terms of the steps that a request waits for. Which steps those are hangs on
the coefficients; a few rounds of simulating the schedule and fitting it settle both.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models.calibration import Fit, fit_coefficients
from foretell.sim.calibrating import Calibration, HeldOut, profile_of
from foretell.sim.config import EngineConfig
from foretell.sim.costforms import CostForm
from foretell.sim.observations import OperatingPoint
from foretell.sim.scenario import Workload
from foretell.sim.simulation import simulate
from foretell.sim.term_times import latency_terms
from foretell.sim.workload import drawn_trace, fixed_trace
from foretell.traces import Trace

Floats = npt.NDArray[np.float64]

_ROUNDS = 3
_ERRORS = {"tpot": 0.05, "itl": 0.05, "ttft": 0.12, "e2e": 0.06}
"""Standard error of a mean latency's logarithm: what is left over server runs of one model and GPU."""
_CLIENT_S, _CLIENT_ERROR = 5e-3, 1.0
"""Prior of a request's time outside of the engine: HTTP, tokens to text, processes."""
_SAME = 0.1


def calibrate_points(
    points: Sequence[OperatingPoint],
    form: CostForm,
    config: EngineConfig,
    *,
    workload: Workload | None = None,
    replicas: int = 1,
    router: str = "round_robin",
    fitted_on: Mapping[str, str | int] | None = None,
    created: str = "",
    version: str = "",
    seed: int = 0,
    draws: int = 100,
) -> Calibration:
    """Fit a form to operating points of a server whose settings are known.

    One more coefficient takes what a request spends outside of the engine, which shows in the time to first
    token alone.

    Args:
        points: what was seen.
        form: what to fit; its prior must hold every coefficient that few points cannot tell.
        config: of each engine.
        workload: lengths (and arrivals, where a point has none of its own); fixed lengths by default.
        replicas, router: of the fleet.
        fitted_on, created, version: for the profile.
        seed: of what is drawn.
        draws: from the posterior.

    Raises:
        ValueError: a point says too little of its load.

    """
    at = np.where(np.isfinite(form.prior_log_error), form.prior, 0.0)
    if not at.any():
        raise ValueError(
            "step_cost: a few latencies do not tell a step's time from nothing; give model and hardware, "
            "or a first guess as the scenario's step_cost"
        )
    traces, notes = [], []
    for index, point in enumerate(points):
        trace, remarks = _trace(point, workload, np.random.SeedSequence(seed, spawn_key=(index,)))
        traces.append(trace)
        notes += remarks
    rows = [(i, name) for i, point in enumerate(points) for name in point.seconds]
    measured = np.array([points[i].seconds[name] for i, name in rows])
    features, bounds = np.zeros((0, 0)), form.lower
    for _ in range(_ROUNDS):
        cost = form.cost(at)
        runs = [
            simulate(trace, cost, config, replicas=replicas, router=router, seed=seed, loads=True)
            for trace in traces
        ]
        means = [latency_terms(run, form.terms) for run in runs]
        features = np.array([[*means[i][name], 1.0 if name in ("ttft", "e2e") else 0.0] for i, name in rows])
        bounds = form.bounds(_loads(runs))
        fit = _fit(features, measured, rows, form, bounds, draws)
        at = fit.coefficients[:-1]
    held_out = tuple(_left_out(points, features, measured, rows, form, bounds))
    off = np.array([h.total_error for h in held_out])
    spread = float(np.sqrt(np.mean(np.log1p(off) ** 2))) if len(off) else _ERRORS["tpot"]
    if len(points) == 1:
        notes.append("one operating point: how others differ is not known; a standard error of 5 % is taken")
    about: dict[str, str | int] = {"observations": "operating points", "rows": len(rows), "runs": len(points)}
    profile = profile_of(
        fit,
        form,
        run_log_error=spread,
        fitted_on=about | dict(fitted_on or {}),
        warnings=[*notes, *fit.warnings],
        created=created,
        version=version,
        client_s=float(fit.coefficients[-1]),
    )
    return Calibration(profile, fit, _compared(fit, features, measured, "all points"), held_out)


def _fit(
    features: Floats,
    measured: Floats,
    rows: list[tuple[int, str]],
    form: CostForm,
    lower: Floats,
    draws: int,
) -> Fit:
    unit = _ERRORS["tpot"]
    return fit_coefficients(
        features,
        measured,
        (*form.names, "client_s"),
        prior=np.append(form.prior, _CLIENT_S),
        prior_log_error=np.append(form.prior_log_error, _CLIENT_ERROR),
        lower=np.append(lower, 0.0),
        weights=[(unit / _ERRORS[name]) ** 2 for _, name in rows],
        noise_log_error=unit,
        groups=[i for i, _ in rows],
        draws=draws,
    )


def _left_out(
    points: Sequence[OperatingPoint],
    features: Floats,
    measured: Floats,
    rows: list[tuple[int, str]],
    form: CostForm,
    lower: Floats,
) -> list[HeldOut]:
    """Every point's time by token, predicted by the others (with the schedule of the fit on all)."""
    if len(points) < 2:
        return []
    found = []
    for index, point in enumerate(points):
        mine = np.array([i == index for i, _ in rows])
        rest = [row for row in rows if row[0] != index]
        fit = _fit(features[~mine], measured[~mine], rest, form, lower, 1)
        found.append(_compared(fit, features[mine], measured[mine], point.name))
    return found


def _compared(fit: Fit, features: Floats, measured: Floats, name: str) -> HeldOut:
    ratio = fit.predict(features) / measured
    mean = float(np.exp(np.mean(np.log(ratio))) - 1)
    return HeldOut(name, len(measured), float(np.mean(np.abs(ratio - 1))), mean)


def _loads(runs: Sequence[Any]) -> Any:
    from foretell.models import StepLoad

    rows = np.vstack([loads for run in runs for loads in run.loads])
    return StepLoad(*rows[:, 3:].T)


def _trace(
    point: OperatingPoint, workload: Workload | None, seed: np.random.SeedSequence
) -> tuple[Trace, list[str]]:
    """The requests of a point: its own load, counts and lengths, and what else the workload says."""
    notes = []
    if workload is None:
        workload = _fixed_lengths(point)
        if point.lengths is None:
            notes = [
                f"{point.name}: lengths are taken as fixed; a scenario, or --save-detailed, gives theirs"
            ]
    if workload.trace is not None:
        trace = fixed_trace(workload)
        assert trace is not None
        if point.concurrency is not None:
            trace = dataclasses.replace(trace, concurrency=point.concurrency)
        return trace, _lengths_differ(point, trace)
    changes: dict[str, Any] = {}
    if point.num_requests is not None:
        changes = {"num_requests": point.num_requests, "duration_s": None}
    elif workload.num_requests is None and workload.duration_s is None:
        changes = {"num_requests": 1000}
    if point.concurrency is not None or point.rate_per_s is not None:
        rate = math.inf if point.rate_per_s is None else point.rate_per_s
        process = {"process": "poisson", "rate_per_s": rate}
        if math.isfinite(rate) and point.burstiness != 1:
            process |= {"process": "gamma", "burstiness": point.burstiness}
        closed = point.concurrency is not None and not math.isfinite(rate)
        changes |= {"concurrency": point.concurrency, "arrivals": None if closed else process}
    if point.lengths is not None:
        changes["num_requests"] = len(point.lengths[0])
    trace = drawn_trace(dataclasses.replace(workload, **changes), seed)
    if point.lengths is not None:
        prompts, outputs = (np.array(each, dtype=np.int64) for each in point.lengths)
        trace = dataclasses.replace(trace, prompt_tokens=prompts, output_tokens=outputs, segments=None)
    return trace, [*notes, *_lengths_differ(point, trace)]


def _fixed_lengths(point: OperatingPoint) -> Workload:
    if point.mean_prompt is None or point.mean_output is None:
        raise ValueError(f"{point.name}: does not say how long prompts and answers are; give a scenario")
    if point.concurrency is None and point.rate_per_s is None:
        raise ValueError(f"{point.name}: does not say what the load was; give a scenario")
    lengths = {"prompt": round(point.mean_prompt), "output": max(round(point.mean_output), 1)}
    return Workload(lengths=lengths, concurrency=1)


def _lengths_differ(point: OperatingPoint, trace: Trace) -> list[str]:
    notes = []
    for what, seen, made in (
        ("prompt", point.mean_prompt, trace.prompt_tokens),
        ("output", point.mean_output, trace.output_tokens),
    ):
        mean = float(made.mean())
        if seen is not None and abs(mean / seen - 1) > _SAME:
            notes.append(
                f"{point.name}: its requests have {seen:,.0f} {what} tokens on average, "
                f"the workload's {mean:,.0f}"
            )
    return notes
