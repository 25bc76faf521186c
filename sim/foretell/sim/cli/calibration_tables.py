"""A calibration as tables for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from foretell.sim.quantities import show_number, show_seconds
from foretell.sim.report.words import percent

if TYPE_CHECKING:
    from foretell.sim.calibrating import Calibration, HeldOut


def show_calibration(result: Calibration, output: Path, console: Console | None = None) -> None:
    """Print what was fitted, how sure it is, and what it predicts of data it did not see."""
    out = console or Console(highlight=False)
    profile = result.profile
    show = show_seconds if profile.kind == "affine" else show_number
    about = profile.fitted_on
    where = " on ".join(str(about[name]) for name in ("model", "hardware") if name in about)
    out.print(Text(f"{about['rows']:,} {_rows(result)} of {about['runs']:,} {_runs(result)}", style="bold"))
    if where:
        out.print(Text(where, style="dim"))
    table = Table("Coefficient", "Fit", "90 % interval", "", box=None, pad_edge=False)
    interval = profile.interval()
    for name, value in profile.coefficients.items():
        low, high = interval[name]
        mark = Text("") if profile.identified[name] else Text("not identified", style="yellow")
        table.add_row(name, show(value), f"{show(low)} to {show(high)}", mark)
    if profile.client_s:
        table.add_row("outside of the engine", show_seconds(profile.client_s), "", "")
    out.print(table)
    out.print(_errors(result))
    for warning in profile.warnings:
        out.print(Text(f"- {warning}", style="yellow"))
    out.print(Text(f"written to {output}"))


def _errors(result: Calibration) -> Table:
    steps = result.profile.fitted_on["observations"] == "steps"
    table = Table("Predicted", "a step" if steps else "a latency", "in all", box=None, pad_edge=False)
    table.add_row("what was fitted", *_cells(result.in_sample))
    if result.held_out:
        rows = [each.rows for each in result.held_out]
        mape = float(np.average([each.mape for each in result.held_out], weights=rows))
        total = float(np.mean([abs(each.total_error) for each in result.held_out]))
        how = "the other half, from each half" if steps else "each point, from the others"
        table.add_row(how, f"{percent(mape)} off", f"{percent(total)} off")
    return table


def _cells(held: HeldOut) -> tuple[str, str]:
    return f"{percent(held.mape)} off", f"{percent(abs(held.total_error))} off"


def _rows(result: Calibration) -> str:
    return "steps" if result.profile.fitted_on["observations"] == "steps" else "mean latencies"


def _runs(result: Calibration) -> str:
    one = result.profile.fitted_on["runs"] == 1
    if result.profile.fitted_on["observations"] == "steps":
        return "run" if one else "runs"
    return "operating point" if one else "operating points"
