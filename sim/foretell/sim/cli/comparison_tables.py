"""A comparison as tables for people: the winner first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foretell.sim.comparing import Compared, Comparison, difference
from foretell.sim.comparing_records import AGAINST_BEST
from foretell.sim.forecasting import SHARES
from foretell.sim.intervals import Estimate
from foretell.sim.quantities import show_number, show_seconds
from foretell.sim.report.choices import by_reason, common, field_titles
from foretell.sim.report.comparison_words import headline, how_found, name, respects, told_cells
from foretell.sim.report.words import chance, percent

_FIGURES: Sequence[tuple[str, str]] = (  # key, title
    ("accuracy", "Accuracy"),
    ("e2e_p50_s", "p50"),
    ("e2e_p99_s", "p99"),
    ("tokens_per_query", "Tokens"),
    ("usd_per_query", "$/query"),
    ("usd_per_correct", "$/right"),
    ("energy_per_query_J", "kJ/query"),
    ("energy_per_correct_J", "kJ/right"),
)
_TOLD = ("accuracy", "e2e_p99_s", "usd_per_correct", "energy_per_correct_J")
"""Figures whose intervals have room on a narrow terminal; JSON and CSV have all."""
_ROOMY = 130
_NARROW = 100
_DROPPED = ("usd_per_query", "energy_per_query_J", "tokens_per_query")
"""Figures that a terminal narrower than that does without."""
_CELL_WIDTH = 18
_ROWS = 6
"""Cells that are set against the first."""


def show_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print a comparison: who wins, every cell, differences to the winner, notes."""
    out = console or Console(highlight=False)
    out.print(_headline(comparison))
    out.print(_cells(comparison, out.width))
    for line in _failures(comparison):
        out.print(Text(line, style="dim"))
    against = _against(comparison)
    if against is not None:
        out.print(against)
    for line in _legend(comparison):
        out.print(Text(line, style="dim"))


def _headline(comparison: Comparison) -> Text:
    return Text(headline(comparison), style="bold red" if comparison.best is None else "bold green")


def _failures(comparison: Comparison) -> list[str]:
    """One line a reason."""
    failed = by_reason((cell.reason, name(cell)) for cell in comparison.cells if cell.reason)
    return [
        f"- {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {reason}"
        for reason, names in failed.items()
    ]


def _cells(comparison: Comparison, width: int) -> Table:
    roomy = width >= _ROOMY
    told = told_cells(comparison)
    paths = list(dict.fromkeys(path for cell in comparison.cells for path in cell.labels))
    figures = [f for f in _FIGURES if any(not math.isnan(cell.value(f[0])) for cell in told)]
    if width < _NARROW:
        figures = [f for f in figures if f[0] not in _DROPPED]
    goals = bool(comparison.scenario.objectives)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    for title in field_titles(paths) if roomy else ["Cell"]:
        table.add_column(title, overflow="fold", min_width=None if roomy else _CELL_WIDTH)
    for title in [*(["Meets"] if goals else []), *(title for _, title in figures)]:
        table.add_column(title, justify="right", no_wrap=True)
    for place, cell in enumerate(comparison.cells):
        mark = "*" if comparison.frontier[place] else ""
        names = [cell.labels.get(path, "–") for path in paths] if roomy else [name(cell)]
        row: list[str | Text] = [mark, *names]
        if cell.reason:
            table.add_row(*row, *([""] if goals else []), Text("failed", style="red"))
            continue
        row += [_meets(cell)] if goals else []
        row += [figure_cell(key, cell.summary.get(key), roomy or key in _TOLD) for key, _ in figures]
        table.add_row(*row, style="bold" if cell is comparison.best else "")
    return table


def _meets(cell: Compared) -> Text:
    chances = [v.probability for v in cell.verdicts if not math.isnan(v.probability)]
    text = chance(min(chances)) if chances else ("yes" if cell.met else "no")
    return Text(text, style="green" if cell.met else "red")


def figure_cell(key: str, found: Estimate | None, interval: bool) -> Text:
    """Show a figure and, below it, its interval; energies in kJ."""
    if found is None or not math.isfinite(found.value):
        return Text("–")
    show, between = _shown(key)
    cell = Text(show(found.value))
    if interval and math.isfinite(found.low) and found.high > found.low:
        cell.append(f"\n{between(found.low, found.high)}", style="dim")
    return cell


def _shown(key: str) -> tuple[Callable[[float], str], Callable[[float, float], str]]:
    """How to show a figure and its interval; intervals with two digits."""
    if key.endswith("_s"):
        return show_seconds, _seconds_between
    if key in SHARES:
        return percent, lambda low, high: f"{_two(low * 100)}–{_two(high * 100)}"
    if key == "tokens_per_query":
        return lambda value: f"{value:,.0f}", lambda low, high: f"{low:,.0f}–{high:,.0f}"
    scale = 1e-3 if key.endswith("_J") else 1.0
    return (
        lambda value: show_number(value * scale),
        lambda low, high: f"{_two(low * scale)}–{_two(high * scale)}",
    )


def _seconds_between(low: float, high: float) -> str:
    unit = show_seconds(high).split(" ")[-1]
    factor = {"µs": 1e-6, "ms": 1e-3, "min": 60.0, "h": 3600.0}.get(unit, 1.0)
    return f"{_two(low / factor)}–{_two(high / factor)}"


def _two(value: float) -> str:
    """Two digits, without an exponent where people can do without."""
    if value == 0 or not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2g}"
    return f"{value:,.{max(0, 1 - math.floor(math.log10(abs(value))))}f}"


def _against(comparison: Comparison) -> Table | None:
    """Differences of the next cells to the first, where runs can be compared."""
    first = comparison.cells[0]
    others = [
        (place, cell)
        for place, cell in enumerate(comparison.cells[1:], 1)
        if not cell.reason and (cell.met or comparison.frontier[place])
    ][:_ROWS]
    figures = [f for f in AGAINST_BEST if f in first.summary and math.isfinite(first.value(f))]
    if not others or not figures or comparison.scenario.replications < 2:
        return None
    titles = dict(_FIGURES)
    table = Table("Against the first", *(titles[f] for f in figures), box=None, pad_edge=False)
    for _, cell in others:
        table.add_row(
            name(cell), *(_change(f, difference(cell.summary[f], first.summary[f])) for f in figures)
        )
    return table


def _change(key: str, found: Estimate) -> Text:
    if not math.isfinite(found.value):
        return Text("–")

    def signed(value: float) -> str:
        value = 0.0 if abs(value) < 1e-9 else value  # what is left of equal figures
        text = f"{abs(value) * 100:.2g}" if key == "accuracy" else _shown(key)[0](abs(value))
        return ("+" if value >= 0 else "−") + text

    cell = Text(signed(found.value) + (" points" if key == "accuracy" else ""))
    if math.isfinite(found.low):
        sure = found.low > 0 or found.high < 0
        cell.append(f" ({signed(found.low)} to {signed(found.high)})", style="" if sure else "dim")
    return cell


def _legend(comparison: Comparison) -> list[str]:
    lines = [
        f"* on the Pareto frontier of {respects(comparison)}: no cell is as good in all and better in one."
    ]
    notes = common([cell.notes for cell in told_cells(comparison)])
    return [*lines, *how_found(comparison), *(f"- {note}" for note in notes)]
