"""Recorded runs forecast end to end, with a step cost fitted on other runs of the same model.

Arrivals are those of the trace: when the client meant to send, not when the engine took a request between
two steps. Both sides are measured from there to the moment a token is handed to the caller in the engine's
process: no HTTP, no tokeniser. A step lasts until the next one starts, where the engine goes on; what happens
between steps (handing out tokens, taking requests) is so part of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from foretell.models import AffineCost
from foretell.sim import simulate
from foretell.sim.calibrating import fit_steps
from foretell.sim.costforms import affine_form
from foretell.sim.metrics import describe, e2e_s, tpot_s, ttft_s
from foretell.sim.steplog import StepLog, read_step_logs
from foretell.validate.recorded_runs import RecordedRun

Floats = npt.NDArray[np.float64]

Latencies = Mapping[str, Floats]
"""Seconds of each request of a trace, by metric: tpot, e2e, ttft; NaN for the TPOT of a single token."""
FIGURES = tuple(f"{metric}_{kind}" for metric in ("tpot", "e2e", "ttft") for kind in ("mean", "p99"))
"""Of a run's requests, in seconds."""
_SEED = 4
_DRAWS = 10
_ROUNDS = 20
_CLOSE = 1e-3


@dataclass(frozen=True, slots=True)
class Prediction:
    """A run as a cost fitted on others forecasts it.

    Attributes:
        run: its place in the list.
        fitted_on: places of the runs that the cost was fitted on.
        cost: fitted.
        latencies: forecast, of each request.
        speed_known: likewise, were the summed time of the run's steps known: no forecast, but what is left
            once the machine is as fast as it was.
        steps_error: predicted over measured − 1 of its steps' summed time, given their batches.
        step_mape: mean error of a step, given its batch.

    """

    run: int
    fitted_on: tuple[int, ...]
    cost: AffineCost
    latencies: Latencies
    speed_known: Latencies
    steps_error: float
    step_mape: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything about some recorded runs that takes a simulation.

    Attributes:
        predictions: by the other half of the runs of a model, at most one a run.
        from_bursts: of runs that are no bursts, by the bursts of their model.
        repeats: pairs of runs that differ in nothing but their time.
        random_halves: |error| of every figure in each of some random divisions: figure → (draws, runs).
        not_predicted: reason by run.

    """

    predictions: tuple[Prediction, ...]
    from_bursts: tuple[Prediction, ...]
    repeats: tuple[tuple[int, int], ...]
    random_halves: Mapping[str, Floats]
    not_predicted: Mapping[int, str]


def evidence(runs: Sequence[RecordedRun], origin: Sequence[str], draws: int = _DRAWS) -> Evidence:
    """Fit and forecast, both ways round. Runs belong together if their model and `origin` are the same.

    Every second run of a model, by name, is one half. Which division that is should not matter, so `draws`
    random ones are made too.
    """
    log = step_log(runs)
    groups: dict[tuple[str, str], list[int]] = {}
    for i, run in enumerate(runs):
        groups.setdefault((origin[i], run.model_key), []).append(i)
    alone = [members[0] for members in groups.values() if len(members) == 1]
    large = [members for members in groups.values() if len(members) > 1]
    bursts: list[Prediction] = []
    for members in large:
        seen = [i for i in members if runs[i].is_burst]
        others = [i for i in members if not runs[i].is_burst]
        if seen and others:
            bursts += predict(runs, log, seen, others)
    rng = np.random.default_rng(_SEED)
    shuffled = [
        _errors(runs, _both_ways(runs, log, large, rng.permutation, detail=False)) for _ in range(draws)
    ]
    return Evidence(
        tuple(_both_ways(runs, log, large, lambda members: np.asarray(members))),
        tuple(bursts),
        repeats(runs, origin),
        {name: np.array([errors[name] for errors in shuffled]) for name in FIGURES} if draws else {},
        dict.fromkeys(alone, "the only run of its model"),
    )


def _both_ways(
    runs: Sequence[RecordedRun],
    log: StepLog,
    groups: Sequence[Sequence[int]],
    order: Callable[[Sequence[int]], npt.NDArray[np.int64]],
    detail: bool = True,
) -> list[Prediction]:
    found = []
    for members in groups:
        placed = order(members).tolist()
        for seen, others in ((placed[::2], placed[1::2]), (placed[1::2], placed[::2])):
            found += predict(runs, log, seen, others, detail)
    return sorted(found, key=lambda prediction: prediction.run)


def predict(
    runs: Sequence[RecordedRun], log: StepLog, seen: Sequence[int], others: Sequence[int], detail: bool = True
) -> list[Prediction]:
    """Forecast some runs with a cost fitted on others; of the former, trace and settings are used."""
    cost = fitted(log.only(list(seen)))
    found = []
    for i in others:
        steps = log.only([i])
        given = np.asarray(cost(*steps.load), dtype=np.float64)
        found.append(
            Prediction(
                i,
                tuple(seen),
                cost,
                forecast(runs[i], cost),
                forecast(runs[i], scaled(cost, float(steps.seconds.sum() / given.sum()))) if detail else {},
                float(given.sum() / steps.seconds.sum() - 1),
                float(np.mean(np.abs(given / steps.seconds - 1))),
            )
        )
    return found


def step_log(runs: Sequence[RecordedRun]) -> StepLog:
    """What every step carried, and how long until the next one."""
    log = read_step_logs([run.folder for run in runs])
    return dataclasses.replace(log, seconds=np.concatenate([run.busy_s() for run in runs]))


def fitted(log: StepLog) -> AffineCost:
    """An affine cost of steps of some runs, whose speeds differ with what else the machine does.

    What a token costs beside a sequence is told within runs: `fit_steps` fits their steps with each run's
    speed taken out, by turns. It fits logarithms, robustly, and finds a step's median time; latencies are
    sums of steps, for which means count. So all coefficients are raised by one factor, to the time that the
    steps of all runs took together (Duan, JASA 78(383), 1983).
    """
    form = affine_form()
    features = form.features(log.load)
    at = np.unique(log.run, return_inverse=True)[1]
    took = np.bincount(at, log.seconds)
    fit, slowness = fit_steps(log, form, 1), np.ones(len(took))
    for _ in range(_ROUNDS if len(took) > 1 else 0):
        before, slowness = slowness, took / np.bincount(at, fit.predict(features))
        slowness /= took.sum() / fit.predict(features).sum()
        if np.max(np.abs(slowness / before - 1)) < _CLOSE:
            break
        fit = fit_steps(dataclasses.replace(log, seconds=log.seconds / slowness[at]), form, 1)
    return scaled(form.cost(fit.coefficients), float(took.sum() / fit.predict(features).sum()))


def scaled(cost: AffineCost, factor: float) -> AffineCost:
    """Every step takes `factor` times as long."""
    return AffineCost(*(factor * getattr(cost, f.name) for f in dataclasses.fields(cost)))


def forecast(run: RecordedRun, cost: AffineCost) -> Latencies:
    """Latencies of a run's trace on an engine with its settings."""
    simulated = simulate(run.trace, cost, run.config)
    return {"tpot": tpot_s(simulated), "e2e": e2e_s(simulated), "ttft": ttft_s(simulated)}


def measured(run: RecordedRun) -> Latencies:
    """Latencies of a run as recorded."""
    first = np.array([times[0] for times in run.token_s])
    last = np.array([times[-1] for times in run.token_s])
    gaps = np.array([float(len(times) - 1) or np.nan for times in run.token_s])
    return {
        "tpot": (last - first) / gaps,
        "e2e": last - run.trace.arrival_s,
        "ttft": first - run.trace.arrival_s,
    }


def figures(latencies: Latencies) -> dict[str, float]:
    """FIGURES of requests' latencies; NaN where no request has one."""
    told = {name: describe(values, (99,)) for name, values in latencies.items()}
    return {name: told[name.partition("_")[0]][name.partition("_")[2]] for name in FIGURES}


def repeats(runs: Sequence[RecordedRun], origin: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pairs of runs with the same model, settings, trace and origin."""

    def alike(a: RecordedRun, b: RecordedRun) -> bool:
        return (
            a.model_key == b.model_key
            and a.config == b.config
            and len(a.trace) == len(b.trace)
            and all(
                np.array_equal(getattr(a.trace, name), getattr(b.trace, name))
                for name in ("arrival_s", "prompt_tokens", "output_tokens", "priority")
            )
            and a.trace.segments == b.trace.segments
        )

    pairs = combinations(range(len(runs)), 2)
    return tuple((i, j) for i, j in pairs if origin[i] == origin[j] and alike(runs[i], runs[j]))


def _errors(runs: Sequence[RecordedRun], found: Sequence[Prediction]) -> dict[str, list[float]]:
    pairs = [(figures(one.latencies), figures(measured(runs[one.run]))) for one in found]
    return {name: [abs(ours[name] / real[name] - 1) for ours, real in pairs] for name in FIGURES}
