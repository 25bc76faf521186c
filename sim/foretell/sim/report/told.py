"""What a forecast says in words, on the terminal and on pages: its headline, its subject, its figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from foretell.sim.forecasting import Forecast
from foretell.sim.intervals import Estimate
from foretell.sim.metrics import REJECTED
from foretell.sim.quantities import show_number, show_seconds
from foretell.sim.report.words import chance, of_runs, percent, ranges

if TYPE_CHECKING:
    from foretell.sim.client import Client
    from foretell.sim.closed_form import ClosedForm

    Told: TypeAlias = "Forecast | ClosedForm"

Show = Callable[[float], str]
METRICS = {
    "ttft": "First token (TTFT)",
    "tpot": "Per token (TPOT)",
    "itl": "Gaps (ITL)",
    "e2e": "Whole (E2E)",
}
"""Latencies as rows are called."""
FIGURES: list[tuple[str, str, Show, str]] = [  # key, label, number, unit
    ("accuracy", "Right answers", percent, ""),
    ("answered", "Answered at all", percent, ""),
    ("late", "Cut short by their deadline", percent, ""),
    ("query_throughput_rps", "Queries", show_number, "/s"),
    ("calls_per_query", "Calls a query", show_number, ""),
    ("tokens_per_query", "Output tokens a query", show_number, ""),
    ("usd_per_query", "Cost a query", show_number, " USD"),
    ("usd_per_correct", "Cost a right answer", show_number, " USD"),
    ("energy_per_query_J", "Energy a query", show_number, " J"),
    ("energy_per_correct_J", "Energy a right answer", show_number, " J"),
    ("request_throughput_rps", "Requests", show_number, "/s"),
    ("capacity_rps", "Highest stable rate", show_number, "/s"),
    ("load", "Load", percent, ""),
    ("goodput_rps", "Goodput", show_number, "/s"),
    ("attainment", "Requests within their limits", percent, ""),
    ("output_throughput_tps", "Output tokens", show_number, "/s"),
    ("total_throughput_tps", "All tokens", show_number, "/s"),
    ("total_throughput_per_accelerator_tps", "All tokens per accelerator", show_number, "/s"),
    ("utilisation", "Engine busy", percent, ""),
    ("time_bound_by_compute", "  with computing", percent, ""),
    ("time_bound_by_memory", "  with reading memory", percent, ""),
    ("time_bound_by_communication", "  with communicating", percent, ""),
    ("time_bound_by_launch", "  with launching kernels", percent, ""),
    ("time_bound_by_host", "  with waiting for the host", percent, ""),
    ("prefill_utilisation", "- prefill", percent, ""),
    ("decode_utilisation", "- decode", percent, ""),
    ("mean_batch", "Requests running", show_number, ""),
    ("mean_waiting", "Requests waiting", show_number, ""),
    ("kv_use", "KV cache in use", percent, ""),
    ("prefill_kv_use", "- prefill", percent, ""),
    ("decode_kv_use", "- decode", percent, ""),
    ("kv_transfer_utilisation", "KV transfer links busy", percent, ""),
    ("kv_transfer_mean_s", "KV cache arrives after, mean", show_seconds, ""),
    ("kv_transfer_p99_s", "KV cache arrives after, p99", show_seconds, ""),
    ("cache_hit_rate", "Prefix cache hits", percent, ""),
    ("preemptions", "Preemptions", show_number, ""),
    ("usd_per_million_output_tokens", "Cost per million output tokens", show_number, " USD"),
    ("usd_per_million_tokens", "Cost per million tokens", show_number, " USD"),
    ("usd_per_h", "Rent", show_number, " USD/h"),
    ("energy_per_output_token_J", "Energy per output token", show_number, " J"),
    ("power_W", "Power", show_number, " W"),
]


def headline(forecast: Told) -> str:
    """The answer in a line: whether the objectives are met, and how surely; without any, the main figures."""
    rejected, text = refused(forecast), _headline(forecast)
    return f"{text}; {rejected:.3g} % of requests are rejected" if rejected else text


def refused(forecast: Told) -> float:
    """Requests of the first run that can never be served, in per cent."""
    return 100 * float((forecast.run.status == REJECTED).mean()) if isinstance(forecast, Forecast) else 0.0


def _headline(forecast: Told) -> str:
    if not forecast.verdicts:
        if "accuracy" in forecast.summary:
            right, late = (forecast.summary[key].value for key in ("accuracy", "e2e_p99_s"))
            return f"{percent(right)} of answers right; p99: {show_seconds(late)} a query"
        point = "p99" if "ttft_p99_s" in forecast.summary else "mean"  # of closed loops means are known only
        ttft, tpot = (forecast.summary[f"{m}_{point}_s"].value for m in ("ttft", "tpot"))
        each = "" if math.isnan(tpot) else f", {show_seconds(tpot)} a token"  # of answers of one token: none
        return f"{point}: first token {show_seconds(ttft)}{each}"
    chances = [v.probability for v in forecast.verdicts if not math.isnan(v.probability)]
    sure = f" (least certain: {chance(min(chances))})" if chances else ""
    if forecast.met:
        return f"Meets every objective{sure}"
    return f"Misses {', '.join(str(v.objective) for v in forecast.verdicts if not v.met)}"


def subject(forecast: Told) -> str:
    """Say what runs where, under which load."""
    deployment = forecast.deployment
    counts: dict[str, int] = {}
    for part in deployment.parts:
        if part.hardware is not None:
            name = part.hardware.name
            counts[name] = counts.get(name, 0) + part.count * part.accelerators
    where = " on " + " and ".join(f"{n} × {name}" for name, n in counts.items()) if counts else ""
    engines = len(deployment.engines)
    first = getattr(deployment, "prefill_engines", 0)
    fleet = f"{engines} engine{'s' * (engines > 1)}"
    if first:
        fleet = f"{first} prefill and {engines - first} decode engines"
    task = forecast.scenario.workload.task
    load = "requests" if task is None else f"queries of {task}"
    if isinstance(forecast, Forecast):
        load = f"{_counted(len(forecast.trace), load)}{_rate(forecast)}"
    else:
        flying = forecast.scenario.workload.concurrency
        load += f", at most {flying} in flight," if flying is not None and task is None else ""
        load += _at(forecast.rate_per_s, forecast.mean_tokens)
    models = dict.fromkeys(p.model or p.step_cost or p.calibration for p in forecast.scenario.pools.values())
    what = " and ".join(str(model) for model in models) if task else str(next(iter(models)))
    if task is not None:
        what = f"{forecast.scenario.strategy['name']} with {what}"
    return f"{what}{where}, {fleet}; {load}"


def _counted(count: int, things: str) -> str:
    one = things.replace("requests", "request", 1).replace("queries", "query", 1)
    return f"{count:,} {one if count == 1 else things}"


def _rate(forecast: Forecast) -> str:
    trace, workload = forecast.trace, forecast.scenario.workload
    text = f" of {trace.name}" if trace.name and workload.trace else ""
    if trace.concurrency is not None:
        return f"{text}, at most {trace.concurrency} in flight"
    span = float(trace.arrival_s.max() - trace.arrival_s.min())
    if span <= 0 or trace.session is not None:
        return text
    mean_in, mean_out = float(trace.prompt_tokens.mean()), float(trace.output_tokens.mean())
    rate = (len(trace) - 1) / span
    return text + _at(rate, None if workload.task is not None else (mean_in, mean_out))


def _at(rate_per_s: float, tokens: tuple[float, float] | None) -> str:
    lengths = f", on average {tokens[0]:,.0f} tokens in, {tokens[1]:,.0f} out" if tokens else ""
    return f" at {show_number(rate_per_s)}/s{lengths}"


def about(forecast: Told) -> str:
    """Say what the figures are of."""
    if not isinstance(forecast, Forecast):
        return _side(None)
    n = forecast.scenario.replications
    below = f"Beside or below a figure: {of_runs(n)}. "
    return (below if n > 1 else "") + _side(forecast.scenario.client)


def interval_words(forecast: Told) -> str:
    """What stands beside or below a figure."""
    return ranges(forecast.scenario.replications, closed_form=not isinstance(forecast, Forecast))


def _side(client: Client | None) -> str:
    """Say on which side of the boundary the figures lie."""
    if client is None:
        return "Times are the engine's: without HTTP, tokenising and detokenising."
    whose = f" ({client.source}, {client.date})" if client.source else ""
    return (
        f"TTFT, TPOT, E2E, rates and goodput are the client's{whose}; gaps and what is said of the engines "
        "are the engine's."
    )


def between(found: Estimate, show: Show, unit: str) -> str:
    """An interval, its unit said once; empty where there is none."""
    low, high = show(found.low), show(found.high)
    if math.isnan(found.low) or low == high:
        return ""
    if unit == "" and low.endswith(" %"):
        low = low.removesuffix(" %")
    return f"{low} to {high}{unit}"
