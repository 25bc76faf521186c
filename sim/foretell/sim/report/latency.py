"""How long requests and queries take: curves with intervals and limits, by kind where there are several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from foretell.sim import metrics
from foretell.sim.objectives import limits_for, objectives_from_mapping
from foretell.sim.quantities import show_number, show_seconds
from foretell.sim.report.distribution import Distribution, band, distribution, quantiles
from foretell.sim.report.page import figure, table
from foretell.sim.report.plots import Axis, Line, lines
from foretell.sim.report.queries import query_part
from foretell.sim.report.words import between, of_runs, percent, prose

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.forecasting import Forecast

    Told: TypeAlias = "Forecast | ClosedForm"

_NAMES = {
    "ttft": "Time to first token (TTFT)",
    "tpot": "Time per output token (TPOT)",
    "itl": "Gap between tokens (ITL)",
    "e2e": "Time to the whole answer (E2E)",
}
_STATISTICS = ("p50", "p90", "p99")
_WIDE = 30.0
"""Spread of a curve from which on its axis is logarithmic."""
_KINDS = 6
_FEW = 300
"""Values below which a curve shows its steps."""


def latency_section(result: Told) -> str:
    """Curves of every latency, what keeps its limits, and what differs by kind: HTML."""
    task = result.scenario.workload.task is not None
    run = getattr(result, "client_run", None)
    curves = [] if run is None else [_curve(result, metric, found) for metric, found in _values(result)]
    body = [f"<p>{prose(text)}</p>" for text in _goodput(result)]
    if curves:
        body.append(f'<div class="pair">{"".join(curves)}</div>')
        body.append(f'<p class="dim">{prose(_about(result))}</p>')
    else:
        body.append(_quantile_charts(result))
    if task and run is not None:
        body.append(query_part(result))  # type: ignore[arg-type]
    elif run is not None:
        body.append(_by_kind(result))  # type: ignore[arg-type]
    return "".join(body)


def _values(result: Told) -> Iterator[tuple[str, Distribution]]:
    """Latencies of replication 0, as its client sees them, warm-up left out."""
    run, warmup = result.client_run, result.scenario.workload.warmup_s  # type: ignore[union-attr]
    kept = metrics.counted(run, warmup)
    queries = run.queries
    if queries is None:
        e2e = metrics.e2e_s(run)[kept]
    else:
        e2e = queries.latency_s[queries.arrival_s >= queries.arrival_s.min() + warmup]
    order = ("e2e", "ttft", "tpot", "itl") if queries is not None else ("ttft", "tpot", "itl", "e2e")
    found = {
        "ttft": distribution(metrics.ttft_s(run)[kept]),
        "tpot": distribution(metrics.tpot_s(run)[kept]),
        "itl": distribution(*(run.itl if run.itl is not None else (np.zeros(0), np.zeros(0)))),
        "e2e": distribution(e2e),
    }
    yield from ((metric, found[metric]) for metric in order if len(found[metric]))


def _curve(result: Told, metric: str, of: Distribution) -> str:
    task = result.scenario.workload.task is not None
    name = _NAMES[metric] if metric != "e2e" or not task else "Time to a query's answer (E2E)"
    which = "queries" if task and metric == "e2e" else "calls" if task else "requests"
    which = "gaps" if metric == "itl" else which
    known = quantiles(result.summary, metric)
    limits = {
        f"{v.objective.name} ≤ {show_seconds(v.objective.limit)}": v.objective.limit
        for v in result.verdicts
        if v.objective.key.startswith(f"{metric}_") and v.objective.kind == "time"
    }
    limit = _request_limits(result).get(metric)
    if limit is not None and limit not in limits.values():
        limits[f"goodput: ≤ {show_seconds(limit)}"] = limit
    area = band(of, known)
    shown = {"one run": _plain(of) if area is None else _banded(of, area)}
    n = result.scenario.replications
    marks = {share: found for share, found in known.items() if found.value > 0 or not _log(of)}
    points = Line(
        [found.value for found in marks.values()],
        list(marks),
        marks=True,
        joined=False,
        labels=[_quantile_words(metric, share, found) for share, found in marks.items()],
        left=[found.low for found in marks.values()],
        right=[found.high for found in marks.values()],
    )
    shown[f"mean of {n} runs" if n > 1 else "percentiles"] = points
    upper = max([of.quantile(0.9985), *(e.value for e in marks.values()), *_near(limits.values(), of)])
    chart = lines(
        shown,
        _axis(name, of, upper),
        Axis(f"{which.capitalize()} at or below", "share", low=0, high=1),
        name,
        _in_words(name, which, known, metric, of, limits),
        upright=limits,
    )
    return figure(chart, name)


def _plain(of: Distribution) -> Line:
    return Line(of.values, of.share, step=len(of) < _FEW)


def _banded(
    of: Distribution, area: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]
) -> Line:
    """The curve with its band, on common places."""
    x, low, high = area
    places = np.unique(np.concatenate([of.values, x]))
    share = np.concatenate([[0.0], of.share])[np.searchsorted(of.values, places, side="right")]
    inside = (places >= x[0]) & (places <= x[-1])
    ends = [np.where(inside, np.interp(places, x, end), np.nan) for end in (low, high)]
    return Line(places, share, ends[0], ends[1], step=len(of) < _FEW)


def _axis(name: str, of: Distribution, upper: float) -> Axis:
    if _log(of):
        positive = of.values[of.values > 0]
        return Axis(name, "s", log=True, low=float(np.quantile(positive, 0.002)), high=upper * 1.1)
    return Axis(name, "s", high=upper * 1.04 or None)


def _log(of: Distribution) -> bool:
    low = of.quantile(0.05)
    return low > 0 and of.quantile(0.995) > _WIDE * low


def _near(limits: object, of: Distribution) -> list[float]:
    """Limits that are worth the room they take."""
    high = of.quantile(0.9985)
    return [float(limit) for limit in limits if limit <= 3 * high]  # type: ignore[attr-defined]


def _quantile_words(metric: str, share: float, found: object) -> str:
    from foretell.sim.intervals import Estimate

    assert isinstance(found, Estimate)
    low_high = between(f"{metric}_p_s", found)
    return f"p{share * 100:g}: {show_seconds(found.value)}" + (f" ({low_high})" if low_high else "")


def _in_words(
    name: str,
    which: str,
    known: Mapping[float, object],
    metric: str,
    of: Distribution,
    limits: Mapping[str, float],
) -> str:
    told = "; ".join(_quantile_words(metric, share, found) for share, found in known.items())
    kept = "".join(
        f"; {percent(of.within(limit))} within {show_seconds(limit)}" for limit in set(limits.values())
    )
    return f"{name}: share of {which} at or below each time. {told}{kept}."


def _request_limits(result: Told) -> dict[str, float]:
    scenario = result.scenario
    return dict(limits_for(objectives_from_mapping(scenario.objectives), scenario.goodput))


def _goodput(result: Told) -> Iterator[str]:
    """What keeps the limits of each request."""
    limits = _request_limits(result)
    good, share = result.summary.get("goodput_rps"), result.summary.get("attainment")
    if not limits or good is None or share is None or not np.isfinite(good.value):
        return
    which = "requests" if result.scenario.workload.task is None else "queries"
    told = " and ".join(f"{metric.upper()} ≤ {show_seconds(limit)}" for metric, limit in limits.items())
    text = f"{percent(share.value)} of {which} keep {told}: a goodput of {show_number(good.value)}/s"
    low_high = between("goodput_rps", good)
    yield f"{text} ({low_high})." if low_high else f"{text}."


def _about(result: Told) -> str:
    n = result.scenario.replications
    words = "Curves are of the first run"
    if n > 1:
        words += (
            f"; marks are means of {n} runs, and the bars through them tell {of_runs(n)}. The shade has the "
            "same width in between, in proportion; it is left out where runs differ too much for that"
        )
    client = result.scenario.client
    side = "at the engine" if client is None else "at the client, gaps at the engine"
    return f"{words}. Times are {side}. Logarithmic axes where times spread widely."


def _quantile_charts(result: Told) -> str:
    """A closed form has percentiles alone."""
    charts = []
    for metric, name in _NAMES.items():
        known = quantiles(result.summary, metric)
        if len(known) < 2:
            continue
        limits = {
            f"{v.objective.name} ≤ {show_seconds(v.objective.limit)}": v.objective.limit
            for v in result.verdicts
            if v.objective.key.startswith(f"{metric}_") and v.objective.kind == "time"
        }
        values = np.array([found.value for found in known.values()])
        series = {
            "forecast": Line(
                values,
                list(known),
                marks=True,
                labels=[_quantile_words(metric, share, found) for share, found in known.items()],
            )
        }
        for end, word in (("low", "low end of 9 in 10"), ("high", "high end of 9 in 10")):
            ends = np.array([getattr(found, end) for found in known.values()])
            if np.isfinite(ends).all() and (ends != values).any():
                series[word] = Line(ends, list(known), dashed=True, marks=True)
        told = "; ".join(_quantile_words(metric, share, found) for share, found in known.items())
        chart = lines(
            series,
            Axis(
                name, "s", log=float(values.min()) > 0 and float(values.max()) > _WIDE * float(values.min())
            ),
            Axis("Requests at or below", "share", low=0, high=1),
            name,
            f"{name}: {told}.",
            upright=limits,
        )
        charts.append(figure(chart, name))
    if not charts:
        return "<p>This closed form has no distribution of latencies.</p>"
    return (
        f'<div class="pair">{"".join(charts)}</div><p class="dim">A closed form knows these percentiles of '
        "an endless run; the straight lines between them only guide the eye. Simulate for the curve.</p>"
    )


def _by_kind(result: Forecast) -> str:
    """Latencies by model asked for, by priority, by turn of a session: of the first run."""
    run, trace = result.client_run, result.trace
    kinds: dict[str, npt.NDArray[np.bool_]] = {}
    if trace.model is not None and len(set(trace.model)) > 1:
        column = np.array([name or "any" for name in trace.model])
        kinds = {f"model {name}": column == name for name in np.unique(column)}
    elif trace.priority is not None and len(np.unique(trace.priority)) > 1:
        kinds = {f"priority {level}": trace.priority == level for level in np.unique(trace.priority)}
    elif trace.session is not None:
        session = np.array(trace.session)
        first = np.zeros(len(session), dtype=bool)
        first[np.unique(session, return_index=True)[1]] = True
        first |= session == ""
        kinds = {"first turns": first, "later turns": ~first}
    kinds = {name: rows for name, rows in list(kinds.items())[:_KINDS] if rows.any()}
    if len(kinds) < 2:
        return ""
    kept = metrics.counted(run, result.scenario.workload.warmup_s)
    rows, curves = [], {}
    for name, chosen in kinds.items():
        chosen = chosen & kept
        ttft = distribution(metrics.ttft_s(run)[chosen])
        if not len(ttft):
            continue
        curves[name] = Line(ttft.values, ttft.share)
        cells = [f"{chosen.sum():,}"]
        for values in (metrics.ttft_s(run), metrics.tpot_s(run), metrics.e2e_s(run)):
            told = metrics.describe(values[chosen], (50, 99))
            cells += [show_seconds(told["p50"]), show_seconds(told["p99"])]
        rows.append(f"<tr><th scope=row>{escape(name)}</th>{''.join(f'<td>{c}</td>' for c in cells)}</tr>")
    heads = ["kind", "requests", "TTFT p50", "p99", "TPOT p50", "p99", "E2E p50", "p99"]
    told_medians = "; ".join(
        f"{n}: half within {show_seconds(float(np.median(np.asarray(c.x))))}" for n, c in curves.items()
    )
    highest = max(float(np.quantile(np.asarray(line.x), 0.995)) for line in curves.values())
    chart = lines(
        curves,
        Axis(_NAMES["ttft"], "s", high=highest),
        Axis("Requests at or below", "share", low=0, high=1),
        "First token by kind of request",
        f"Time to first token by kind of request. {told_medians}.",
    )
    return (
        "<h3>By kind of request</h3>"
        f"{figure(chart, 'Time to first token by kind of request, first run')}"
        f"{table(heads, ''.join(rows), 'Latencies by kind of request, first run')}"
    )
