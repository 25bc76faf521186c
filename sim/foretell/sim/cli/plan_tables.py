"""A plan as text for people: what to deploy, how to start it, what else there is, how it was found."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foretell.sim.cli.comparison_tables import figure_cell
from foretell.sim.objectives import Objective, objectives_from_mapping
from foretell.sim.planning import Expected
from foretell.sim.planning_verify import Finalist, Plan
from foretell.sim.quantities import show_number
from foretell.sim.report.plan_words import (
    binds_text,
    command_text,
    headline,
    headroom_text,
    how_found,
    loss_text,
    meanings,
    why,
)
from foretell.sim.report.plan_words import layout as layout
from foretell.sim.report.words import chance

_LAYOUT_WIDTH = 22


def show_plan(plan: Plan, console: Console | None = None) -> None:
    """Print a plan: the answer, its commands, finalists, how they were found, notes."""
    out = console or Console(highlight=False)
    out.print(_headline(plan))
    for line in _commands(plan.best):
        out.print(Text(line), soft_wrap=True)
    if plan.finalists or plan.others:
        out.print(_table(plan))
    for line in (*why(plan), *how_found(plan), *meanings(plan), *(f"- {note}" for note in plan.notes)):
        out.print(Text(line, style="dim"))


def _headline(plan: Plan) -> Text:
    return Text(headline(plan), style="bold red" if plan.best is None else "bold green")


def _commands(best: Finalist | None) -> Iterator[str]:
    if best is None:
        return
    for command in best.commands:
        yield command_text(best, command)
        yield f"  {command.line}"
        yield from (f"  ({note})" for note in command.notes)


def _table(plan: Plan) -> Table:
    objectives = [o for o in objectives_from_mapping(plan.scenario.objectives) if o.key != "usd_per_h"]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    table.add_column("Deployment", overflow="fold", min_width=_LAYOUT_WIDTH)
    for title in ("USD/h", "Meets", *(o.name for o in objectives), "More\ntraffic", "One\nlost"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("What binds", overflow="fold")
    for one in plan.finalists:
        table.add_row(*_row(one, one is plan.best, objectives), style="bold" if one is plan.best else "")
    for expected in plan.others:
        table.add_row(*_unsimulated(expected, objectives), style="dim")
    return table


def _row(one: Finalist, best: bool, objectives: list[Objective]) -> list[str | Text]:
    sure = one.checked.probability
    meets = chance(sure) if not math.isnan(sure) else ("yes" if one.met else "no")
    return [
        "*" if best else "",
        layout(one.candidate),
        show_number(one.usd_per_h) if math.isfinite(one.usd_per_h) else "–",
        Text(meets, style="green" if one.met else "red"),
        *(figure_cell(o.key, one.trial.summary.get(o.key), True) for o in objectives),
        headroom_text(one),
        loss_text(one),
        binds_text(one),
    ]


def _unsimulated(expected: Expected, objectives: list[Objective]) -> list[str | Text]:
    figures = expected.figures
    told = [
        o.show(figures[o.key]) if math.isfinite(figures.get(o.key, math.nan)) else "–" for o in objectives
    ]
    usd = show_number(expected.usd_per_h) if math.isfinite(expected.usd_per_h) else "–"
    return ["", layout(expected.candidate), usd, "–", *told, "", "", "closed form only"]
