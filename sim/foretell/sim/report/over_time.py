"""The first run over time: who runs and waits, KV cache in use, what arrives and what is written."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from foretell.sim.quantities import show_number, show_seconds
from foretell.sim.report.page import figure, table
from foretell.sim.report.plots import Axis, Line, lines
from foretell.sim.report.presence import Floats, kv_share, output_rate, presence, rates, running_and_waiting
from foretell.sim.report.words import percent, prose
from foretell.sim.steps import EngineSteps, engine_steps
from foretell.sim.timeline_spans import stays

if TYPE_CHECKING:
    from foretell.sim.forecasting import Forecast

_BINS = 150
_ROWS = 16
"""Engines of a pool that get a row of the table."""


def over_time_section(result: Forecast) -> str:
    """Requests running and waiting, KV cache, arrivals and output, by pool: HTML."""
    engines = engine_steps(result)
    edges = _edges(result, engines)
    if edges is None:
        return "<p>No engine ran a step.</p>"
    found = [
        running_and_waiting(steps, presence(one), edges)
        for steps, one in zip(engines, stays(result.run), strict=True)
    ]
    running, waiting = (np.array([one[i] for one in found]) for i in (0, 1))
    pools = [
        (pool, [i for i, _ in own])
        for pool, own in groupby(enumerate(engines), key=lambda item: item[1].pool)
    ]
    start = edges[0]
    body = [f"<p>{prose(_words(running.sum(axis=0), waiting.sum(axis=0), edges))}</p>", '<div class="pair">']
    body.append(_traffic(result, engines, edges))
    body.append(_writing(result, engines, edges))
    for pool, own in pools:
        name = f", {pool}" if len(pools) > 1 else ""
        body.append(_requests(running[own], waiting[own], edges, name))
        body.append(_memory([engines[i] for i in own], edges, name))
    body.append("</div>")
    shade = ". Where there are several engines, lines are their mean and the shade goes from least to most"
    several = any(len(own) > 1 for _, own in pools)
    width = show_seconds(float(edges[1] - start))
    told = (
        f"Of the first run; each point is the mean over {width}{shade if several else ''}. Waiting is who "
        "has come, is not done, and is in no step: in line, preempted, or while a KV cache is on its way."
    )
    if result.run.handovers is not None:
        told += " KV caches that an engine holds between its steps, until they are fetched, are not drawn."
    body.append(f'<p class="dim">{prose(told)}</p>')
    if len(engines) > 1:
        body.append(_table(engines, running, waiting, edges))
    return "".join(body)


def _edges(result: Forecast, engines: Sequence[EngineSteps]) -> Floats | None:
    """Bins from the first arrival to the last step."""
    ends = [float(steps.end_s[-1]) for steps in engines if len(steps)]
    if not ends:
        return None
    start = float(np.min(result.run.arrival_s))
    return np.linspace(start, max(*ends, start + 1e-9), _BINS + 1)


def _middle(edges: Floats) -> Floats:
    return np.asarray((edges[1:] + edges[:-1]) / 2 - edges[0])


def _rounded(mean: float) -> float:
    return 0.0 if mean < 1e-6 else mean  # what sums of times leave


def _words(running: Floats, waiting: Floats, edges: Floats) -> str:
    """What the queue does, in a sentence."""
    peak = int(np.argmax(waiting))
    span = edges[-1] - edges[0]
    text = (
        f"Over {show_seconds(float(span))}, on average {show_number(float(running.mean()))} requests run and "
        f"{show_number(_rounded(float(waiting.mean())))} wait"
    )
    if waiting[peak] >= 1:
        at = show_seconds(float(_middle(edges)[peak]))
        text += f"; the line is longest, with {show_number(float(waiting[peak]))}, after {at}"
    third = len(waiting) // 3
    first, last = float(waiting[:third].mean()), float(waiting[third : 2 * third].mean())
    if last > 2 * first + 1 and last > 0.5 * float(running.mean()):
        text += ". It keeps growing while requests come: this deployment does not keep up"
    return f"{text}."


def _traffic(result: Forecast, engines: Sequence[EngineSteps], edges: Floats) -> str:
    """Arrivals and departures."""
    run, queries = result.run, result.run.queries
    came, left = run.arrival_s, run.finish_s
    series = {"calls arrive" if queries is not None else "arrive": came, "finish": left}
    if queries is not None:
        series = {"queries arrive": queries.arrival_s, **series}
    drawn = {name: Line(_middle(edges), _smooth(rates(times, edges))) for name, times in series.items()}
    span = float(edges[-1] - edges[0])
    told = ", ".join(
        f"{name} {show_number(np.isfinite(times).sum() / span)}/s on average"
        for name, times in series.items()
    )
    title = "Requests that arrive and finish"
    chart = lines(
        drawn, Axis("Time", "s"), Axis("Requests a second", "/s", low=0), title, f"Over time: {told}."
    )
    return figure(chart, title)


def _smooth(values: Floats) -> Floats:
    """Means of five neighbours, so that single arrivals do not hide the course."""
    padded = np.pad(values, 2, mode="edge")
    return np.convolve(padded, np.full(5, 0.2), mode="valid")


def _writing(result: Forecast, engines: Sequence[EngineSteps], edges: Floats) -> str:
    tokens = output_rate(engines, edges)
    title = "Output tokens a second, all engines"
    mean, most = (show_number(float(value)) for value in (tokens.mean(), tokens.max()))
    about = f"Over time: {mean}/s on average, {most}/s at most."
    chart = lines(
        {"output": Line(_middle(edges), tokens)},
        Axis("Time", "s"),
        Axis("Output tokens", "tokens/s", low=0),
        title,
        about,
    )
    return figure(chart, title)


def _requests(running: Floats, waiting: Floats, edges: Floats, name: str) -> str:
    each = " of an engine" if len(running) > 1 else ""
    title = f"Requests running and waiting{each}{name}"
    run, wait = (
        f"{show_number(float(of.mean()))} on average, {show_number(float(of.max()))} at most"
        for of in (running, waiting)
    )
    about = f"Over time{each}: running {run}; waiting {wait}."
    chart = lines(
        {"running": _fan(running, edges), "waiting": _fan(waiting, edges)},
        Axis("Time", "s"),
        Axis("Requests", low=0),
        title,
        about,
    )
    return figure(chart, title)


def _fan(values: Floats, edges: Floats) -> Line:
    """The mean over engines, and from the least to the most."""
    x = _middle(edges)
    if len(values) == 1:
        return Line(x, values[0])
    return Line(x, values.mean(axis=0), values.min(axis=0), values.max(axis=0))


def _memory(engines: Sequence[EngineSteps], edges: Floats, name: str) -> str:
    shares = np.array([kv_share(steps, edges) for steps in engines])
    title = f"KV cache in use{name}"
    about = f"Over time: {percent(float(shares.mean()))} on average, {percent(float(shares.max()))} at most."
    chart = lines(
        {"in use": _fan(shares, edges)},
        Axis("Time", "s"),
        Axis("Share of the KV blocks", "share", low=0, high=1),
        title,
        about,
    )
    return figure(chart, title)


def _table(engines: Sequence[EngineSteps], running: Floats, waiting: Floats, edges: Floats) -> str:
    """A row an engine, as many as one reads."""
    span = float(edges[-1] - edges[0])
    rows = []
    for steps, run, wait in list(zip(engines, running, waiting, strict=True))[:_ROWS]:
        kv = kv_share(steps, edges)
        cells = (
            show_number(float(run.mean())),
            show_number(float(wait.mean())),
            show_number(float(wait.max())),
            percent(float(kv.mean())),
            percent(float(kv.max())),
            percent(float(steps.seconds.sum()) / span),
        )
        told = "".join(f"<td>{prose(cell)}</td>" for cell in cells)
        rows.append(f"<tr><th scope=row>{escape(steps.name)}</th>{told}</tr>")
    heads = ["engine", "running", "waiting", "most waiting", "KV cache", "KV cache, most", "busy"]
    which = "" if len(rows) == len(engines) else f": {len(rows)} of {len(engines)}"
    return table(heads, "".join(rows), f"Engines over the first run{which}")
