"""All figures of a forecast as tables, as the terminal shows them."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from foretell.sim.quantities import show_seconds, show_seconds_between
from foretell.sim.report.page import table
from foretell.sim.report.told import FIGURES, METRICS, about, between, interval_words
from foretell.sim.report.words import chance, limit_text, prose

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.forecasting import Forecast
    from foretell.sim.intervals import Estimate


def figures_section(result: Forecast | ClosedForm) -> str:
    """Objectives, latencies, everything else: HTML."""
    parts = []
    if result.verdicts:
        rows = "".join(
            f"<tr><th scope=row>{prose(limit_text(v.objective))}</th>"
            f"<td>{prose(v.objective.show(v.value))}</td><td>{prose(chance(v.probability))}</td>"
            f'<td class="{"met" if v.met else "missed"}">{"met" if v.met else "missed"}</td></tr>'
            for v in result.verdicts
        )
        parts.append(table(["objective", "forecast", "chance", ""], rows, "Objectives"))
    parts += [_latencies(result), _others(result), f'<p class="dim">{prose(about(result))}</p>']
    return "".join(parts)


def _latencies(result: Forecast | ClosedForm) -> str:
    asked = {v.objective.key.split("_")[1] for v in result.verdicts if v.objective.kind == "time"}
    statistics = ["mean", "std", "p50", "p90", "p99"]
    statistics += sorted(s for s in asked if s not in statistics)
    rows = []
    for metric, label in METRICS.items():
        found = [result.summary.get(f"{metric}_{s}_s") for s in statistics]
        if not any(found):
            continue
        if result.scenario.workload.task is not None:
            label = "Query (E2E)" if metric == "e2e" else f"{label}, calls"
        cells = "".join(f"<td>{_latency(one)}</td>" for one in found)
        rows.append(f"<tr><th scope=row>{escape(label)}</th>{cells}</tr>")
    heads = ["latency", *("std. deviation" if s == "std" else s for s in statistics)]
    return table(heads, "".join(rows), f"Latencies; below each, {interval_words(result)}")


def _latency(found: Estimate | None) -> str:
    if found is None or math.isnan(found.value):
        return "–"
    text = prose(show_seconds(found.value))
    if not math.isnan(found.low) and found.high > found.low:
        text += f"<br><small>{prose(show_seconds_between(found.low, found.high))}</small>"
    return text


def _others(result: Forecast | ClosedForm) -> str:
    rows = []
    for key, label, show, unit in FIGURES:
        found = result.summary.get(key)
        if found is None or math.isnan(found.value):
            continue
        if key.endswith("per_accelerator_tps") and result.deployment.accelerators == 1:
            continue
        rows.append(
            f"<tr><th scope=row{' class=part' if label[0] in ' -' else ''}>{escape(label.strip(' -'))}</th>"
            f"<td>{prose(show(found.value) + unit)}</td>"
            f"<td>{prose(between(found, show, unit)) or '–'}</td></tr>"
        )
    caption = f"Everything else; range: {interval_words(result)}"
    return table(["figure", "forecast", "range"], "".join(rows), caption)
