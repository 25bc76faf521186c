"""A forecast as tables for people: the answer first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foretell.sim.forecasting import Forecast, Verdict
from foretell.sim.intervals import Estimate
from foretell.sim.quantities import show_seconds, show_seconds_between
from foretell.sim.report.told import FIGURES, METRICS, about, between, headline, subject
from foretell.sim.report.words import chance

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm

    Told = Forecast | ClosedForm


def show_forecast(forecast: Told, console: Console | None = None) -> None:
    """Print a forecast: objectives, latencies, the other figures, notes."""
    out = console or Console(highlight=False)
    out.print(_headline(forecast))
    out.print(Text(subject(forecast), style="dim"))
    if forecast.verdicts:
        out.print(_verdicts(forecast.verdicts))
    out.print(_latencies(forecast))
    out.print(_figures(forecast))
    out.print(Text(f"{forecast.method[0].upper()}{forecast.method[1:]}.", style="dim"))
    out.print(Text(about(forecast), style="dim"))
    for note in forecast.notes:
        out.print(Text(f"- {note}", style="dim"))


def _headline(forecast: Told) -> Text:
    style = ("bold green" if forecast.met else "bold red") if forecast.verdicts else "bold"
    return Text(headline(forecast), style=style)


def _verdicts(verdicts: tuple[Verdict, ...]) -> Table:
    table = Table("Objective", "Forecast", "Chance", "", box=None, pad_edge=False)
    for verdict in verdicts:
        mark = Text("met", style="green") if verdict.met else Text("MISSED", style="red")
        shown = verdict.objective.show(verdict.value)
        table.add_row(str(verdict.objective), shown, chance(verdict.probability), mark)
    return table


def _latencies(forecast: Told) -> Table:
    asked = {v.objective.key.split("_")[1] for v in forecast.verdicts if v.objective.kind == "time"}
    statistics = ["mean", "p50", "p90", "p99"]
    statistics += sorted(s for s in asked if s not in statistics)
    at_client = forecast.scenario.client is not None and isinstance(forecast, Forecast)
    table = Table("Latency at the client" if at_client else "Latency", *statistics, box=None, pad_edge=False)
    for metric, label in METRICS.items():
        if not any(f"{metric}_{s}_s" in forecast.summary for s in statistics):
            continue  # a closed form has no gaps
        if forecast.scenario.workload.task is not None:
            label = "Query (E2E)" if metric == "e2e" else f"{label}, calls"
        if metric == "itl" and at_client:
            label = f"{label}, engine"
        cells = [_cell(forecast.summary.get(f"{metric}_{s}_s")) for s in statistics]
        table.add_row(label, *cells)
    return table


def _figures(forecast: Told) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, label, show, unit in FIGURES:
        if key.endswith("per_accelerator_tps") and forecast.deployment.accelerators == 1:
            continue
        found = forecast.summary.get(key)
        if found is not None and not math.isnan(found.value):
            low_high = between(found, show, unit)
            table.add_row(label, show(found.value) + unit, Text(low_high, style="dim"))
    return table


def _cell(found: Estimate | None) -> Any:
    if found is None or math.isnan(found.value):
        return "–"
    cell = Text(show_seconds(found.value))
    if not math.isnan(found.low) and found.high > found.low:
        cell.append(f"\n{show_seconds_between(found.low, found.high)}", style="dim")
    return cell
