"""A sweep as one page: which points meet, the figures over the fields, every point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from foretell.sim.report.asked import asked_section
from foretell.sim.report.choices import common, field_titles, name_of, varied
from foretell.sim.report.page import document, section, table
from foretell.sim.report.pieces import failed_section, figure_td, name_th
from foretell.sim.report.sweep_pictures import pictures, thinned
from foretell.sim.report.sweep_words import chosen, failures, headline, how_found, meets, told_rows
from foretell.sim.report.words import heading, prose
from foretell.sim.sweeping import Row, Sweep

_ROWS = 400
"""Points of the table at most; of more, so many that are spread evenly."""


def sweep_page(sweep: Sweep, figures: Sequence[str] = ()) -> str:
    """The whole page of a sweep.

    Args:
        sweep: the result.
        figures: names of those to show; those of the objectives and the usual ones by default.

    """
    names = chosen(sweep, figures)
    paths = varied([row.labels for row in sweep.rows])
    fields = ", ".join(title.replace("_", " ") for title in field_titles(paths))
    title = f"{len(sweep.rows):,} points over {fields}"
    told = told_rows(sweep)
    met = bool(sweep.scenario.objectives) and any(row.record["met"] for row in told)
    style = "" if not sweep.scenario.objectives else " met" if met else " missed"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="answer{style}">{prose(headline(sweep, names))}.</p>',
    ]
    if told:
        parts.append(section("pictures", "The figures over the fields", _drawn(sweep, names)))
        parts.append(section("points", "The points", _points(sweep, names, paths)))
    parts.append(failed_section(failures(sweep)))
    lines = how_found(sweep, "Bands, and below a figure")
    parts.append(asked_section(sweep.scenario, lines, common([row.record["notes"] for row in told])))
    return document(f"{title}: foretell", "".join(parts))


def _drawn(sweep: Sweep, names: Sequence[str]) -> str:
    words = ""
    if thinned(sweep):
        words = '<p class="dim">Of fields with many values so many are drawn as can be told apart.</p>'
    if sweep.scenario.objectives:
        words += '<p class="dim">Red: the limit of an objective, or a figure beyond it.</p>'
    late = [name for name in names if name.endswith("_s")]
    told = told_rows(sweep)
    missing = sum(any(not math.isfinite(row.figure(name).value) for name in late) for row in told)
    if missing:
        words += (
            f'<p class="dim">{missing:,} of {len(told):,} points have no latency, being overloaded: pictures '
            "end there.</p>"
        )
    return words + pictures(sweep, names)


def _points(sweep: Sweep, names: Sequence[str], paths: Sequence[str]) -> str:
    rows = told_rows(sweep)
    shown = rows
    about = ""
    if len(rows) > _ROWS:
        shown = [rows[round(i * (len(rows) - 1) / (_ROWS - 1))] for i in range(_ROWS)]
        about = f"{_ROWS} of {len(rows):,} points, spread evenly; foretell sweep --output has them all."
    goals = bool(sweep.scenario.objectives)
    heads = [", ".join(t.replace("_", " ") for t in field_titles(paths)), *(["Meets"] if goals else [])]
    body = "".join(_row(row, names, paths, goals=goals) for row in shown)
    return table([*heads, *map(heading, names)], body, about, "figures dense")


def _row(row: Row, names: Sequence[str], paths: Sequence[str], *, goals: bool) -> str:
    verdict = ""
    if goals:
        verdict = f'<td class="{"met" if row.record["met"] else "missed"}">{prose(meets(row))}</td>'
    cells = "".join(figure_td(name, row.figure(name)) for name in names)
    return f"<tr>{name_th(name_of(row.labels, paths))}{verdict}{cells}</tr>"
