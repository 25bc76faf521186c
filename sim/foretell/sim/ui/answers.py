"""Answers to the page's questions, as plain values that JSON can hold: figures, verdicts, charts, lines to run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from foretell.sim.quantities import show_seconds, show_seconds_between

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.forecasting import Forecast
    from foretell.sim.intervals import Estimate
    from foretell.sim.scenario import Scenario

    Told = Forecast | ClosedForm

DRAWS = 8
"""Draws for the intervals of an answer; fewer where that would keep people waiting."""
_LEAST_DRAWS = 4
_PATIENCE_S = 0.35


def answer(scenario: Scenario, intervals: bool) -> dict[str, Any]:
    """Forecast in closed form.

    Args:
        scenario: what is asked.
        intervals: whether to draw what is not known for sure, which takes several times as long.

    Raises:
        ValueError: it has no closed form, or is impossible; one line.

    """
    from foretell.sim.closed_form import forecast_closed_form

    began = time.perf_counter()
    found = forecast_closed_form(scenario, draws=1)
    if intervals:
        each = max(time.perf_counter() - began, 1e-3)
        draws = max(_LEAST_DRAWS, min(DRAWS, int(_PATIENCE_S / each)))
        found = forecast_closed_form(scenario, draws=draws)
    asked = replace(found, scenario=scenario)
    return told(asked) | {"intervals": intervals, "seconds": time.perf_counter() - began}


def told(found: Told) -> dict[str, Any]:
    """What there is to tell of a forecast."""
    from foretell.sim.cli.tables import _headline, _subject, chance

    chances = [v.probability for v in found.verdicts if not math.isnan(v.probability)]
    least = min(chances) if chances else None
    return {
        "met": found.met if found.verdicts else None,
        "headline": _headline(found).plain,
        "chance": least,
        "chance_shown": chance(math.nan if least is None else least),
        "subject": _subject(found),
        "figures": list(_figures(found)),
        "objectives": [_objective(verdict) for verdict in found.verdicts],
        "charts": {},
        "commands": [],
        "notes": list(found.notes),
        "method": found.method,
        "yaml": "",
    }


def _objective(verdict: Any) -> dict[str, Any]:
    from foretell.sim.cli.tables import chance
    from foretell.sim.objectives import room_of

    objective = verdict.objective
    return {
        "name": objective.name,
        "text": str(objective),
        "met": verdict.met,
        "value": finite(verdict.value),
        "shown": objective.show(verdict.value) if math.isfinite(verdict.value) else "–",
        "chance": finite(verdict.probability),
        "chance_shown": chance(verdict.probability),
        "room": finite(room_of(objective, verdict.value)),
    }


_GROUPS = (
    ("answers", ("accuracy", "answered", "late", "query_", "calls_", "tokens_")),
    ("cost", ("usd", "energy", "power")),
    ("load", ("request_", "capacity", "load", "goodput", "attainment", "output_", "total_")),
)


def _figures(found: Told) -> Iterator[dict[str, Any]]:
    from foretell.sim.cli.tables import _FIGURES, _METRICS

    asked = {v.objective.key.split("_")[1] for v in found.verdicts if v.objective.kind == "time"}
    statistics = ["mean", "p50", "p90", "p99"]
    statistics += sorted(s for s in asked if s not in statistics)
    for metric, label in _METRICS.items():
        for statistic in statistics:
            key = f"{metric}_{statistic}_s"
            if key in found.summary:
                yield _figure(key, "latency", f"{label}, {statistic}", found.summary[key], show_seconds, "")
    for key, label, show, unit in _FIGURES:
        if key in found.summary:
            group = next((name for name, starts in _GROUPS if key.startswith(starts)), "engine")
            yield _figure(key, group, label.strip().removeprefix("- "), found.summary[key], show, unit)


def _figure(key: str, group: str, label: str, found: Estimate, show: Any, unit: str) -> dict[str, Any]:
    low, high = finite(found.low), finite(found.high)
    ranged = ""
    if low is not None and high is not None and low < high:
        ranged = show_seconds_between(low, high) if key.endswith("_s") else f"{show(low)} to {show(high)}{unit}"
    return {
        "name": key,
        "group": group,
        "label": label,
        "unit": "s" if key.endswith("_s") else unit.strip(),
        "value": finite(found.value),
        "shown": f"{show(found.value)}{unit}" if math.isfinite(found.value) else "–",
        "low": low,
        "high": high,
        "range": ranged,
    }


def finite(value: float) -> float | None:
    """What JSON gets for a figure."""
    return float(value) if math.isfinite(value) else None
