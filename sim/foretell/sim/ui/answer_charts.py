"""The charts beside an answer: latencies as curves, and where the time of a step goes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from foretell.sim.report.page import figure
from foretell.sim.report.plots import Axis, Line, bars, lines
from foretell.sim.report.words import limit_text

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.forecasting import Forecast
    from foretell.sim.intervals import Estimate

_LABELS = {"ttft": "First token", "e2e": "Whole answer", "tpot": "Each further token"}


def charts(found: Forecast | ClosedForm, curves: Mapping[str, Estimate]) -> dict[str, str]:
    """HTML figures by name, in the order in which they are shown.

    Args:
        found: the forecast.
        curves: percentiles of latencies, in closed form; a simulated one has its requests.

    """
    made = {"latency": _latency(found, curves), "step_time": _step_time(found)}
    return {name: chart for name, chart in made.items() if chart}


def _latency(found: Forecast | ClosedForm, curves: Mapping[str, Estimate]) -> str:
    """The share of requests that are served within a time."""
    task = found.scenario.workload.task is not None
    series = {
        ("Whole query" if task and metric == "e2e" else label): line
        for metric, label in _LABELS.items()
        if (line := _curve(found, metric, curves)) is not None
    }
    if not series:
        return ""
    limits = {
        limit_text(verdict.objective): verdict.objective.limit
        for verdict in found.verdicts
        if verdict.objective.kind == "time" and verdict.objective.limit > 0
    }
    chart = lines(
        series,
        Axis("within", "s", log=True),
        Axis("share of queries" if task else "share of requests", "share", low=0, high=1),
        "How long requests take",
        "Share of requests whose first token, whole answer and further tokens come within a time",
        upright=limits,
    )
    return figure(
        chart, "Share of queries answered within a time" if task else "Share of requests served within a time"
    )


def _curve(found: Any, metric: str, curves: Mapping[str, Estimate]) -> Line | None:
    run = getattr(found, "client_run", None)
    if run is not None:
        return _sampled(found, run, metric)
    from foretell.sim.ui.answers import PERCENTILES

    told = [(q / 100, curves[f"{metric}_p{q}_s"]) for q in PERCENTILES if f"{metric}_p{q}_s" in curves]
    told = [(share, each) for share, each in told if math.isfinite(each.value) and each.value > 0]
    if len(told) < 2:
        return None
    shares = np.array([share for share, _ in told])
    times = np.array([each.value for _, each in told])
    if not all(math.isfinite(each.low) and math.isfinite(each.high) for _, each in told):
        return Line(times, shares)
    low, high = (np.maximum.accumulate([getattr(each, end) for _, each in told]) for end in ("low", "high"))
    at = np.unique(np.concatenate([times, low, high]))
    middle = np.interp(at, times, shares, left=0, right=1)
    band = [np.interp(at, ends, shares, left=0, right=1) for ends in (high, low)]
    inside = (at >= times[0]) & (at <= times[-1])
    return Line(at[inside], middle[inside], band[0][inside], band[1][inside])


def _sampled(found: Any, run: Any, metric: str) -> Line | None:
    """The distribution of a run's own latencies."""
    from foretell.sim import metrics

    values = getattr(metrics, f"{metric}_s")(run)[metrics.counted(run, found.scenario.workload.warmup_s)]
    values = np.sort(values[np.isfinite(values) & (values > 0)])
    if len(values) < 2:
        return None
    return Line(values, (np.arange(len(values)) + 1) / len(values))


def _step_time(found: Forecast | ClosedForm) -> str:
    """What bounds the steps, by pool."""
    from foretell.sim.operating import spent

    rows = {}
    for one in spent(found):
        if one.busy_s > 0:
            where = one.part.hardware.name if one.part.hardware is not None else one.kind
            rows[f"{one.pool}, {one.kind}" if one.pool else f"{where}, {one.kind}"] = one.shares
    if not rows:
        return ""
    chart = bars(
        rows,
        "What the time of a step goes to",
        "Shares of a step's time: arithmetic, reading memory, communication, launching kernels, the host",
    )
    return figure(chart, "What the time of a step goes to")
