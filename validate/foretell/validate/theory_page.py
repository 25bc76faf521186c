"""The page of `foretell validate theory`: maps of where the closed form holds, and the textbook queues."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from foretell.sim.report.page import document, figure, table
from foretell.validate.theory import Theory
from foretell.validate.theory_batching import LIMITS
from foretell.validate.theory_map import NAMES, validity_map
from foretell.validate.theory_replications import judge
from foretell.validate.theory_tables import HEADS, headline, tally_rows, textbook_cells, textbook_note

_READ = (
    "Numbers are errors of the closed form against the simulation in per cent (×n: so many times it; ∞: it "
    "takes the load for an overload). Colours say the same: blue too low, orange too high, full at three "
    "times the limit. A full line is round errors beyond the limit wherever in its 95 % interval the "
    "simulated figure really is, a dashed one round those that may be. Loads are shares of the simulated "
    "capacity; right of the line nothing is asked. Unwarned are errors beyond the limit where the forecast's "
    "notes say nothing of its validity, needless such notes where the figure is within."
)
_HOW = (
    "Each case is a scenario, simulated by foretell's engines in independent replications of which the first "
    "fifth and the last tenth are left away, and answered by the closed form of a forecast."
)


def render(theory: Theory) -> str:
    """One offline page."""
    judged = judge(theory.rows)
    made = theory.made
    body = [
        "<h1>Queueing theory against simulation: where it holds</h1>",
        f"<p class=answer>{escape(headline(theory, judged))}.</p>",
        f"<p class=dim>Simulated {escape(str(made['date']))}, {escape(str(made['effort']))}, seed "
        f"{escape(str(made['seed']))}.</p>",
    ]
    if theory.points:
        body += [
            "<h2>Continuous batching</h2>",
            f"<p>{escape(_HOW)}</p>",
            table(HEADS, _rows(tally_rows(theory.points)), "Errors below 90 % load"),
            f"<p>{escape(_READ)}</p>",
            '<div class="pair">',
            *(
                figure(validity_map(theory.points, name), f"{text}: limit ±{100 * LIMITS[name]:g} %")
                for name, text in NAMES.items()
            ),
            "</div>",
        ]
    if theory.rows:
        loads = sorted({row.load for row in theory.rows})
        cells = (
            (name, (what, kind, by, *(found.get(load, "") for load in loads)))
            for (name, what, kind, by), found in textbook_cells(theory.rows).items()
        )
        columns = ("queue", "figure", "theory", "played by", *(f"{load:g}" for load in loads))
        body += [
            "<h2>Textbook queues</h2>",
            f"<p>{escape(textbook_note(judged))}</p>",
            table(columns, _rows(cells), "Error of theory ± half the 95 % interval, in per cent, by load"),
        ]
    if theory.absent:
        body += ["<h2>Left out</h2>", *(f"<p>{escape(text)}</p>" for text in theory.absent)]
    return document("Queueing theory against simulation", "".join(body))


def _rows(rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    return "".join(
        f"<tr><th scope=row>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, cells in rows
    )
