"""What queries of a task come to: right or wrong, how long, how many tokens and calls, at what cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from foretell.sim.quantities import show_number, show_seconds
from foretell.sim.report.distribution import distribution
from foretell.sim.report.page import figure, table
from foretell.sim.report.plots import Axis, Line, lines
from foretell.sim.report.words import between, of_runs, percent, prose, show, words_of

if TYPE_CHECKING:
    from foretell.sim.forecasting import Forecast

_TOLD = (
    "accuracy",
    "answered",
    "late",
    "tokens_per_query",
    "calls_per_query",
    "usd_per_query",
    "usd_per_correct",
    "energy_per_query_J",
    "energy_per_correct_J",
)


def query_part(result: Forecast) -> str:
    """Accuracy, tokens and costs of a query, then tokens and calls as curves: HTML."""
    queries = result.run.queries
    assert queries is not None
    kept = queries.arrival_s >= queries.arrival_s.min() + result.scenario.workload.warmup_s
    rows = "".join(
        f"<tr><th scope=row>{prose(words_of(key))}</th><td>{prose(show(key, found.value))}</td>"
        f"<td>{prose(between(key, found)) or '–'}</td></tr>"
        for key in _TOLD
        if (found := result.summary.get(key)) is not None and math.isfinite(found.value)
    )
    heads = ["", "forecast", "range"]
    caption = f"A query of the task; range: {of_runs(result.scenario.replications)}"
    outcomes = _outcomes(
        queries.right[kept],
        queries.late[kept],
        queries.latency_s[kept],
        queries.tokens[kept],
        queries.calls[kept],
    )
    charts = [
        _curve("Output tokens of a query", queries.tokens[kept], queries.right[kept]),
        _curve("Calls of a query", queries.calls[kept], queries.right[kept]),
    ]
    return (
        f"<h3>Queries</h3>{table(heads, rows, caption)}"
        f'<div class="pair">{"".join(chart for chart in charts if chart)}</div>{outcomes}'
    )


def _curve(name: str, values: npt.NDArray[np.int64], right: npt.NDArray[np.bool_]) -> str:
    """The distribution of a count over queries, apart for right and wrong answers."""
    if len(np.unique(values)) < 2:
        return ""
    parts = {"right": distribution(values[right]), "wrong or none": distribution(values[~right])}
    series = {word: Line(of.values, of.share, step=True) for word, of in parts.items() if len(of)}
    told = "; ".join(
        f"{word}: half within {of.quantile(0.5):,.0f}, 99 % within {of.quantile(0.99):,.0f}"
        for word, of in parts.items()
        if len(of)
    )
    chart = lines(
        series, Axis(name), Axis("Queries at or below", "share", low=0, high=1), name, f"{name}. {told}."
    )
    return figure(chart, f"{name}, by its answer, first run")


def _outcomes(
    right: npt.NDArray[np.bool_],
    late: npt.NDArray[np.bool_],
    latency_s: npt.NDArray[np.float64],
    tokens: npt.NDArray[np.int64],
    calls: npt.NDArray[np.int64],
) -> str:
    """What right and wrong answers took, of the first run."""
    rows = []
    for name, chosen in (("right", right), ("wrong or none", ~right), ("cut by the deadline", late)):
        if not chosen.any():
            continue
        times = latency_s[chosen & np.isfinite(latency_s)]
        late_s = show_seconds(float(np.quantile(times, 0.99))) if len(times) else "–"
        median = show_seconds(float(np.median(times))) if len(times) else "–"
        cells = (
            f"{chosen.sum():,}",
            percent(float(chosen.mean())),
            median,
            late_s,
            show_number(float(tokens[chosen].mean())),
            show_number(float(calls[chosen].mean())),
        )
        rows.append(
            f"<tr><th scope=row>{name}</th>{''.join(f'<td>{prose(cell)}</td>' for cell in cells)}</tr>"
        )
    heads = ["answer", "queries", "share", "E2E p50", "E2E p99", "output tokens, mean", "calls, mean"]
    return table(heads, "".join(rows), "Queries by their answer, first run")
