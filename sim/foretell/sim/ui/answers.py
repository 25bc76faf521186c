"""Answers to the page's questions, as values that JSON can hold: figures, verdicts, charts, lines to run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from foretell.sim.quantities import show_number
from foretell.sim.report.words import between, chance, show, unit_of, words_of
from foretell.sim.ui.questions import Handed
from foretell.sim.ui.yaml_text import as_yaml

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.forecasting import Forecast, Verdict
    from foretell.sim.intervals import Estimate
    from foretell.sim.scenario import Scenario

    Told = Forecast | ClosedForm

DRAWS = 8
"""Draws for the intervals of an answer: a forecast's usual number."""
FEWER_DRAWS = 4
"""Of what takes about twice as long; a number by kind, not by time: the same question has the same ranges."""
PERCENTILES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99)
CURVED = ("ttft", "tpot", "e2e")
"""Latencies whose curves an answer has, by their percentiles."""


def answer(scenario: Scenario, handed: Handed, intervals: bool) -> dict[str, Any]:
    """Forecast in closed form.

    Args:
        scenario: what is asked.
        handed: files that it may name.
        intervals: whether to draw what is not known for sure, which takes several times as long.

    Raises:
        ValueError: it has no closed form, or is impossible; one line.

    """
    from foretell.sim.closed_form import forecast_closed_form

    began = time.perf_counter()
    draws = (DRAWS if of_one_kind(scenario) else FEWER_DRAWS) if intervals else 1
    found = forecast_closed_form(_with_percentiles(scenario), draws=draws)
    answered = told(_of(scenario, found), handed, curves=found.summary)
    if intervals:
        answered["notes"].append(f"ranges: from {draws} draws")
    return answered | {"intervals": intervals, "seconds": time.perf_counter() - began}


def of_one_kind(scenario: Scenario) -> bool:
    """Whether all engines are alike; others, as of disaggregation, take about twice as long."""
    return sum(len(pool.groups) for pool in scenario.pools.values()) == 1


def _with_percentiles(scenario: Scenario) -> Scenario:
    """The same with objectives that bind nobody, after its own: their percentiles are figures then."""
    from foretell.sim.objectives import limits_for, objectives_from_mapping

    limits_for(objectives_from_mapping(scenario.objectives), scenario.goodput)  # says what is missing
    more = {f"{metric}_p{q}": "<= 1e9 s" for metric in CURVED for q in PERCENTILES}
    if scenario.workload.concurrency is not None:
        return scenario  # of closed loops means are known only
    own = dict(scenario.objectives)
    return replace(scenario, objectives=own | {name: more[name] for name in more if name not in own})


def _of(scenario: Scenario, found: ClosedForm) -> ClosedForm:
    """A forecast of `_with_percentiles` as one of the scenario itself."""
    from foretell.sim.objectives import limits_for, objectives_from_mapping

    verdicts = found.verdicts[: len(scenario.objectives)]
    usual = {f"{metric}_p{q}_s" for metric in CURVED for q in (50, 90, 99)}
    extra = {f"{metric}_p{q}_s" for metric in CURVED for q in PERCENTILES} - usual
    extra -= {verdict.objective.key for verdict in verdicts}
    if not limits_for(objectives_from_mapping(scenario.objectives), scenario.goodput):
        extra |= {"attainment", "goodput_rps"}  # of limits that nobody set
    summary = {name: value for name, value in found.summary.items() if name not in extra}
    return replace(found, scenario=scenario, verdicts=verdicts, summary=summary)


def told(found: Told, handed: Handed, curves: Mapping[str, Estimate] | None = None) -> dict[str, Any]:
    """What there is to tell of a forecast, in closed form or simulated.

    Args:
        found: the forecast.
        handed: files that its scenario may name.
        curves: latencies at `PERCENTILES`, in closed form.

    """
    from foretell.sim.report.told import headline, subject
    from foretell.sim.ui.answer_charts import charts

    chances = [v.probability for v in found.verdicts if not math.isnan(v.probability)]
    least = min(chances, default=math.nan)
    return {
        "met": found.met if found.verdicts else None,
        "headline": _overload(found) or headline(found),
        "chance": finite(least),
        "chance_shown": chance(least),
        "subject": subject(found),
        "figures": list(_figures(found)),
        "objectives": [_objective(verdict) for verdict in found.verdicts],
        "charts": charts(found, curves or {}),
        "commands": list(_commands(found)),
        "notes": list(found.notes),
        "method": found.method,
        "yaml": as_yaml(found.scenario, handed),
    }


def _overload(found: Told) -> str:
    """Say so first where more comes than can be served; empty where it can."""
    load = found.summary.get("load")
    looped = found.scenario.workload.concurrency is not None  # what comes is what was served
    if load is None or looped or not load.value >= 1:
        return ""
    much = f"{load.value * 100:.0f} % of" if load.value < 10 else f"{show_number(load.value)} times"
    return f"Cannot keep up: the load is {much} the capacity"


def _objective(verdict: Verdict) -> dict[str, Any]:
    from foretell.sim.objectives import room_of

    objective = verdict.objective
    return {
        "name": objective.name,
        "figure": objective.key,
        "text": str(objective),
        "met": verdict.met,
        "value": finite(verdict.value),
        "shown": objective.show(verdict.value) if math.isfinite(verdict.value) else "–",
        "limit": objective.limit,
        "chance": finite(verdict.probability),
        "chance_shown": chance(verdict.probability),
        "room": finite(room_of(objective, verdict.value)),
    }


_METRICS = ("ttft", "tpot", "itl", "e2e", "kv_transfer")
_GROUPS: Mapping[str, tuple[str, ...]] = {  # group → its figures, in their order
    "answers": (
        "accuracy",
        "answered",
        "late",
        "query_throughput_rps",
        "calls_per_query",
        "tokens_per_query",
    ),
    "load": (
        "request_throughput_rps",
        "capacity_rps",
        "load",
        "goodput_rps",
        "attainment",
        "output_throughput_tps",
        "total_throughput_tps",
        "output_throughput_per_accelerator_tps",
        "total_throughput_per_accelerator_tps",
    ),
    "cost": (
        "usd_per_h",
        "usd_per_query",
        "usd_per_correct",
        "usd_per_million_output_tokens",
        "usd_per_million_tokens",
        "energy_per_query_J",
        "energy_per_correct_J",
        "energy_per_output_token_J",
        "power_W",
    ),
    "engine": (
        "utilisation",
        "prefill_utilisation",
        "decode_utilisation",
        "kv_transfer_utilisation",
        "mean_batch",
        "mean_waiting",
        "kv_use",
        "prefill_kv_use",
        "decode_kv_use",
        "cache_hit_rate",
        "preemptions",
    ),
}


def _figures(found: Told) -> Iterator[dict[str, Any]]:
    asked = {v.objective.key.split("_")[1] for v in found.verdicts if v.objective.kind == "time"}
    statistics = ["mean", "p50", "p90", "p99"]
    statistics += sorted(asked.difference(statistics))
    groups = {"latency": tuple(f"{m}_{s}_s" for m in _METRICS for s in statistics)} | dict(_GROUPS)
    for group, names in groups.items():
        for name in names:
            if name in found.summary:
                yield _figure(name, group, found.summary[name])


def _figure(name: str, group: str, found: Estimate) -> dict[str, Any]:
    return {
        "name": name,
        "group": group,
        "label": words_of(name),
        "unit": unit_of(name),
        "value": finite(found.value),
        "shown": show(name, found.value),
        "low": finite(found.low),
        "high": finite(found.high),
        "range": "" if _same(name, found) else between(name, found),
    }


def _same(name: str, found: Estimate) -> bool:
    """Whether the ends of an interval are shown alike: "0.375 to 0.375" says nothing."""
    ends = [show(name, end).replace(".0 ", " ").removesuffix(".0") for end in (found.low, found.high)]
    return ends[0] == ends[1]


def _commands(found: Told) -> Iterator[dict[str, Any]]:
    """The `vllm serve` line of each pool."""
    from foretell.sim.vllm_command import serve_commands

    for command in serve_commands(found.scenario, found.deployment):
        if command.hardware is not None:
            yield {
                "pool": command.pool,
                "replicas": command.replicas,
                "accelerators": command.accelerators,
                "line": command.line,
                "notes": list(command.notes),
            }


def finite(value: float) -> float | None:
    """What JSON gets for a figure."""
    return float(value) if math.isfinite(value) else None
