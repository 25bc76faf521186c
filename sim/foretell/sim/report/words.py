"""The figures of forecasts in words, with their units, as reports write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from foretell.sim.intervals import FEW, Estimate
from foretell.sim.quantities import show_number, show_seconds, show_seconds_between

if TYPE_CHECKING:
    from foretell.sim.objectives import Objective
    from foretell.sim.report.axes import Axis

_WORDS: Mapping[str, tuple[str, str]] = {  # figure → words, unit of an axis
    "accuracy": ("Right answers", "share"),
    "answered": ("Answered at all", "share"),
    "late": ("Cut short by their deadline", "share"),
    "query_throughput_rps": ("Queries", "/s"),
    "calls_per_query": ("Calls a query", ""),
    "tokens_per_query": ("Output tokens a query", ""),
    "prompt_tokens_per_query": ("Prompt tokens a query", ""),
    "usd_per_query": ("Cost a query", "usd"),
    "usd_per_correct": ("Cost a right answer", "usd"),
    "energy_per_query_J": ("Energy a query", "J"),
    "energy_per_correct_J": ("Energy a right answer", "J"),
    "request_throughput_rps": ("Requests", "/s"),
    "capacity_rps": ("Highest stable rate", "/s"),
    "load": ("Load", "share"),
    "goodput_rps": ("Goodput", "/s"),
    "attainment": ("Requests within their limits", "share"),
    "output_throughput_tps": ("Output tokens", "tokens/s"),
    "total_throughput_tps": ("All tokens", "tokens/s"),
    "output_throughput_per_accelerator_tps": ("Output tokens per accelerator", "tokens/s"),
    "total_throughput_per_accelerator_tps": ("All tokens per accelerator", "tokens/s"),
    "utilisation": ("Engine busy", "share"),
    "prefill_utilisation": ("Prefill engines busy", "share"),
    "decode_utilisation": ("Decode engines busy", "share"),
    "kv_transfer_utilisation": ("KV transfer links busy", "share"),
    "mean_batch": ("Requests running", ""),
    "mean_waiting": ("Requests waiting", ""),
    "kv_use": ("KV cache in use", "share"),
    "prefill_kv_use": ("KV cache in use, prefill", "share"),
    "decode_kv_use": ("KV cache in use, decode", "share"),
    "cache_hit_rate": ("Prefix cache hits", "share"),
    "preemptions": ("Preemptions", ""),
    "usd_per_million_output_tokens": ("Cost of a million output tokens", "usd"),
    "usd_per_million_tokens": ("Cost of a million tokens", "usd"),
    "usd_per_h": ("Rent per hour", "usd"),
    "energy_per_output_token_J": ("Energy an output token", "J"),
    "power_W": ("Power", "W"),
}
_METRICS = {
    "ttft": "First token (TTFT)",
    "tpot": "Per token (TPOT)",
    "itl": "Gap between tokens (ITL)",
    "e2e": "Whole answer (E2E)",
    "kv_transfer": "KV cache arrives after",
}
_LATENCY = re.compile(r"^(ttft|tpot|itl|e2e|kv_transfer)_(mean|std|p[\d.]+)_s$")
_UNITS = re.compile(r"(\d) (%|µs|ms|s|min|h|USD|points|kJ|J|W|kW)(?![\w])")
_LEAST = ("accuracy", "answered", "goodput_rps", "attainment", "capacity_rps", "cache_hit_rate")
"""Figures of which more is better, besides rates of work done."""


def axis(figure: str, *, log: bool = False) -> Axis:
    """An axis of a figure, in words and with its unit."""
    from foretell.sim.report.axes import Axis

    return Axis(words_of(figure), unit_of(figure), log)


def words_of(figure: str) -> str:
    """A figure's name for people."""
    found = _LATENCY.match(figure)
    if found is not None:
        metric, statistic = found.groups()
        how = {"mean": "mean", "std": "standard deviation"}.get(statistic, statistic)
        return f"{_METRICS[metric]}, {how}"
    if figure in _WORDS:
        return _WORDS[figure][0]
    return figure.removesuffix("_s").replace("_", " ").capitalize()


def unit_of(figure: str) -> str:
    """A figure's unit, as of an axis."""
    if figure in _WORDS:
        return _WORDS[figure][1]
    if figure.startswith("time_bound_by_"):
        return "share"
    return "s" if figure.endswith("_s") else ""


def more_is_better(figure: str) -> bool:
    """Whether one wishes for more of a figure."""
    return figure in _LEAST or figure.endswith(("throughput_rps", "_tps"))


def show(figure: str, value: float) -> str:
    """A value of a figure with its unit."""
    return shown(unit_of(figure), value)


def shown(unit: str, value: float) -> str:
    """A value with its unit, as of an axis."""
    if not math.isfinite(value):
        return "–"
    factor, name = scaled(unit, value)
    return f"{show_number(value / factor)} {name}".strip()


def percent(value: float) -> str:
    """Show a share in per cent."""
    if not math.isfinite(value):
        return "–"
    return f"{value * 100:,.0f} %" if abs(value) >= 9.995 else f"{value * 100:.3g} %"


def whole_percent(share: float) -> str:
    """Show a share in whole per cents; nothing small is called none, nothing short of all is called all."""
    if 0 < share < 0.01:
        return "< 1 %"
    if 0.995 <= share < 1:
        return "> 99 %"
    return f"{100 * share:.0f} %"


def chance(probability: float) -> str:
    """Show a probability, never as certainty that replications cannot give."""
    if math.isnan(probability):
        return "–"
    if probability >= 0.995:
        return "> 99 %"
    return "< 1 %" if probability < 0.005 else f"{probability:.0%}".replace("%", " %")


def of_runs(n: int) -> str:
    """What an interval from n replications is, as an answer to "where does one run land"."""
    if n < FEW:
        return f"from the lowest to the highest of {n} runs"
    return f"where one run lands in 9 of 10 cases, from {n} replications"


def of_draws(n: int) -> str:
    """What an interval of a closed form from n draws is."""
    if n < FEW:
        return f"from the lowest to the highest of {n} draws of the models' own errors"
    return f"where 9 of 10 draws of the models' own errors land, from {n} draws"


def ranges(n: int, *, closed_form: bool) -> str:
    """What stands beside or below a figure."""
    return of_draws(n) if closed_form else of_runs(n)


def between(figure: str, found: Estimate) -> str:
    """A figure's interval; empty where there is none."""
    if not (math.isfinite(found.low) and math.isfinite(found.high)) or found.low == found.high:
        return ""
    unit = unit_of(figure)
    if unit == "s":
        return show_seconds_between(found.low, found.high)
    factor, _ = scaled(unit, found.value)
    low, high = (show_number(end / factor) for end in (found.low, found.high))
    return "" if low.removesuffix(".0") == high.removesuffix(".0") else f"{low} to {high}"


def heading(figure: str) -> str:
    """A figure's name over a column: short, latencies as people call them."""
    found = _LATENCY.match(figure)
    if found is not None and found[1] != "kv_transfer":
        return f"{found[1].upper()} {found[2]}"
    return words_of(figure)


def limit_text(objective: Objective) -> str:
    """An objective as it is written at a line."""
    return str(objective).replace(">=", "≥").replace("<=", "≤")


def prose(text: str) -> str:
    """Text as HTML, a number and its unit on one line."""
    return _UNITS.sub("\\1\u00a0\\2", escape(text))


def signed(figure: str, value: float) -> str:
    """A difference of a figure, with its sign; of shares in points."""
    value = 0.0 if abs(value) < 1e-9 else value  # what is left of equal figures
    unit = unit_of(figure)
    text = f"{show_number(abs(value) * 100)} points" if unit == "share" else shown(unit, abs(value))
    return ("+" if value >= 0 else "−") + text


def signed_between(figure: str, low: float, high: float) -> str:
    """The interval of a difference, its unit said once; empty where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)) or abs(high - low) < 1e-9:
        return ""
    unit = unit_of(figure)
    factor, name = (0.01, "points") if unit == "share" else scaled(unit, max(abs(low), abs(high)))
    ends = [f"{'+' if end >= 0 else '−'}{show_number(abs(end) / factor)}" for end in (low, high)]
    return f"{ends[0]} to {ends[1]} {name}".strip()


def scaled(unit: str, value: float) -> tuple[float, str]:
    """What a value of an axis' unit is best divided by, and the unit then."""
    if unit == "s":
        text = show_seconds(value).split(" ")[-1]
        return {"µs": 1e-6, "ms": 1e-3, "min": 60.0, "h": 3600.0}.get(text, 1.0), text
    if unit == "share":
        return 0.01, "%"
    if unit in ("J", "W"):
        return (1e3, f"k{unit}") if abs(value) >= 1e4 else (1.0, unit)
    return 1.0, "USD" if unit == "usd" else unit


def lowered(label: str) -> str:
    """A label within a sentence: its first letter small, unless it begins with an abbreviation."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def wide(values: list[float], times: float = 12.0) -> bool:
    """Whether positive values spread so far that a logarithmic axis serves them."""
    told = [value for value in values if math.isfinite(value)]
    return bool(told) and min(told) > 0 and max(told) > times * min(told)
