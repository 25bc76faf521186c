"""Objectives: what a deployment must reach, as flags (ttft:p99:500ms) or in a file (ttft_p99: <= 500 ms)."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foretell.sim.quantities import parse_quantity, show_number, show_seconds

LATENCIES = ("ttft", "tpot", "itl", "e2e")
"""Latency metrics: time to first token, time per output token, inter-token latency, end to end."""

FIGURES: Mapping[str, tuple[str, str, str]] = {
    "accuracy": ("accuracy", "share", ">="),
    "answered": ("answered", "share", ">="),
    "query_throughput": ("query_throughput_rps", "rate", ">="),
    "tokens_per_query": ("tokens_per_query", "count", "<="),
    "calls_per_query": ("calls_per_query", "count", "<="),
    "goodput": ("goodput_rps", "rate", ">="),
    "attainment": ("attainment", "share", ">="),
    "request_throughput": ("request_throughput_rps", "rate", ">="),
    "output_throughput": ("output_throughput_tps", "rate", ">="),
    "total_throughput": ("total_throughput_tps", "rate", ">="),
    "utilisation": ("utilisation", "share", "<="),
    "kv_use": ("kv_use", "share", "<="),
    "preemptions": ("preemptions", "count", "<="),
    "cost_per_query": ("usd_per_query", "money", "<="),
    "cost_per_correct": ("usd_per_correct", "money", "<="),
    "cost_per_million_output_tokens": ("usd_per_million_output_tokens", "money", "<="),
    "cost_per_million_tokens": ("usd_per_million_tokens", "money", "<="),
    "energy_per_output_token": ("energy_per_output_token_J", "energy", "<="),
    "energy_per_query": ("energy_per_query_J", "energy", "<="),
    "energy_per_correct": ("energy_per_correct_J", "energy", "<="),
    "budget": ("usd_per_h", "rent", "<="),
    "power": ("power_W", "power", "<="),
}
"""Other metrics with an objective: name → key in a forecast's summary, kind of quantity, usual direction."""

COSTS = ("money", "energy", "rent", "power")
"""Kinds of quantity that more replicas never make less of."""

_SHOWN = {"rate": "/s", "money": " USD", "energy": " J", "rent": " USD/h", "power": " W"}
_ALIASES = {"e2el": "e2e", "latency": "e2e"}
_STATISTIC = re.compile(r"^(?:mean|std|median|p(?:\d{1,2}(?:\.\d+)?|100))$")


@dataclass(frozen=True, slots=True)
class Objective:
    """One figure of a forecast and its limit.

    Attributes:
        name: as people write it: "ttft_p99", "goodput".
        key: the figure's key in a forecast's summary.
        kind: kind of quantity, see `parse_quantity`.
        direction: "<=" or ">=".
        limit: in SI units.

    """

    name: str
    key: str
    kind: str
    direction: str
    limit: float

    def met(self, value: float) -> bool:
        """Whether a value is within the limit; a missing one (NaN) is not."""
        return value <= self.limit if self.direction == "<=" else value >= self.limit

    @property
    def percentile(self) -> float | None:
        """The percentile that a latency objective asks for, if it does."""
        statistic = self.name.rpartition("_")[2]
        return float(statistic[1:]) if self.kind == "time" and statistic.startswith("p") else None

    def show(self, value: float) -> str:
        """Show a value of this figure with its unit."""
        if self.kind == "time":
            return show_seconds(value)
        if self.kind == "share":
            return f"{show_number(value * 100)} %"
        return show_number(value) + _SHOWN.get(self.kind, "")

    def __str__(self) -> str:
        return f"{self.name} {self.direction} {self.show(self.limit)}"


def objective_from_flag(text: str) -> Objective:
    """Parse METRIC:STATISTIC:LIMIT for latencies (ttft:p99:500ms), METRIC:LIMIT for the rest (goodput:5/s).

    Raises:
        ValueError: unknown metric or statistic, or no quantity.

    """
    parts = text.split(":")
    if len(parts) == 3:
        return _objective(f"{parts[0].strip()}_{parts[1].strip()}", parts[2], f"objective {text!r}")
    if len(parts) == 2:
        return _objective(parts[0].strip(), parts[1], f"objective {text!r}")
    raise ValueError(f"objective {text!r}: write METRIC:STATISTIC:LIMIT, as in ttft:p99:500ms")


def objectives_from_mapping(given: Mapping[str, Any]) -> tuple[Objective, ...]:
    """Parse a scenario's objectives, as in {"e2e_p99": "<= 60 s"}.

    Raises:
        ValueError: see `objective_from_flag`; also a direction that the metric does not have.

    """
    return tuple(_objective(name, str(limit), f"objectives.{name}") for name, limit in given.items())


def request_limits(given: Iterable[str]) -> dict[str, float]:
    """Parse per-request limits METRIC:LIMIT, as of `vllm bench serve --goodput`; a bare number is in ms.

    Raises:
        ValueError: a metric other than ttft, tpot and e2e (e2el), one named twice, or no time.

    """
    limits: dict[str, float] = {}
    for text in given:
        name, colon, limit = text.partition(":")
        metric = _ALIASES.get(name.strip(), name.strip())
        if not colon or metric not in ("ttft", "tpot", "e2e"):
            raise ValueError(f"goodput {text!r}: write ttft:LIMIT, tpot:LIMIT or e2e:LIMIT, as in ttft:500ms")
        if metric in limits:
            raise ValueError(f"goodput: {metric} is given twice; keep one")
        limits[metric] = parse_quantity(limit, "time", f"goodput {metric}", bare_unit="ms")
    return limits


def limits_of(objectives: Iterable[Objective]) -> dict[str, float]:
    """Take the per-request limits that percentile objectives imply, the tightest of each metric."""
    limits: dict[str, float] = {}
    for objective in objectives:
        metric = objective.name.partition("_")[0]
        if objective.percentile is not None and metric in ("ttft", "tpot", "e2e"):
            limits[metric] = min(objective.limit, limits.get(metric, objective.limit))
    return limits


def limits_for(objectives: Sequence[Objective], goodput: Mapping[str, str]) -> dict[str, float]:
    """Per-request limits of a scenario: those given, else the ones that its objectives imply.

    Raises:
        ValueError: an objective that needs such limits, and there are none.

    """
    limits = request_limits(f"{metric}:{limit}" for metric, limit in goodput.items()) or limits_of(objectives)
    needy = [o.name for o in objectives if o.name in ("goodput", "attainment")]
    if needy and not limits:
        raise ValueError(
            f"objectives.{needy[0]}: needs per-request limits; give goodput, as in {{ttft: 500ms}}"
        )
    return limits


def room_of(objective: Objective, value: float) -> float:
    """Room of a value to its limit, as a share of that; < 0 where it is missed, −inf where there is none."""
    if math.isnan(value):
        return -math.inf
    if objective.limit == 0:
        return 0.0 if objective.met(value) else -math.inf
    left = objective.limit - value if objective.direction == "<=" else value - objective.limit
    return left / objective.limit


def _objective(name: str, limit: str, where: str) -> Objective:
    metric, _, statistic = name.partition("_")
    metric = _ALIASES.get(metric, metric)
    if name in FIGURES:
        key, kind, usual = FIGURES[name]
    elif metric in LATENCIES and _STATISTIC.match(statistic):
        statistic = "p50" if statistic == "median" else statistic
        name, key, kind, usual = f"{metric}_{statistic}", f"{metric}_{statistic}_s", "time", "<="
    elif metric in LATENCIES:
        wrong = f"statistic {statistic!r}" if statistic else "no statistic"
        raise ValueError(
            f"{where}: {wrong}; use mean, std or a percentile such as p99, as in {metric}:p99:1s"
        )
    else:
        raise ValueError(f"{where}: {_unknown(metric if statistic and metric in name else name, name)}")
    direction, text = usual, limit.strip()
    for sign in ("<=", ">="):
        if text.startswith(sign):
            direction, text = sign, text.removeprefix(sign).strip()
    if direction != usual:
        raise ValueError(f"{where}: {name} is bounded by {usual}, not {direction}")
    return Objective(name, key, kind, direction, parse_quantity(text, kind, f"{where}"))


def _unknown(metric: str, name: str) -> str:
    known = [*LATENCIES, *FIGURES]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6) or difflib.get_close_matches(
        metric, known, n=1, cutoff=0.5
    )
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"unknown metric {name!r}; {hint}"
