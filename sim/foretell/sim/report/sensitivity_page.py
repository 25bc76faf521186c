"""A sensitivity as one page: what the nearest objective hangs on, and what it is worth to know better."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from foretell.sim.report.asked import asked_section
from foretell.sim.report.page import document, figure, section, table
from foretell.sim.report.pieces import scrolling
from foretell.sim.report.sensitivity_words import headline, meanings, missed_as_well
from foretell.sim.report.swings import counts_between, worth
from foretell.sim.report.tornado import tornado
from foretell.sim.report.words import lowered, prose

if TYPE_CHECKING:
    from foretell.sim.sensitivity import At, Sensitivity, Swing

_SAME = 5e-3
"""Room that is no difference, as a share of the limit."""


def sensitivity_page(found: Sensitivity) -> str:
    """The whole page of a sensitivity."""
    title = f"What {found.nearest.name} hangs on"
    about = (
        f"Each input is changed by {found.change * 100:g} % by itself, the others as they are. Beside the "
        "bars: the fewest replicas that meet every objective with less and with more of the input, and what "
        "it is worth to know it before renting."
    )
    chart = figure(
        scrolling(tornado(found), title), f"{found.nearest.name} with less and with more of each input"
    )
    parts = [
        f"<h1>{prose(title)}</h1>",
        f'<p class="answer {"met" if found.met else "missed"}">{prose(headline(found))}</p>',
        *(f"<p>{prose(line)}</p>" for line in findings(found)),
        section("tornado", "Each input by itself", f'<p class="dim">{prose(about)}</p>{chart}'),
        section("inputs", "All inputs", _table(found)),
        asked_section(found.scenario, meanings(found), found.notes),
    ]
    return document(f"{title}: foretell", "".join(parts))


def findings(found: Sensitivity) -> Iterator[str]:
    """What the tornado says, in sentences."""
    moving = [swing for swing in found.swings if swing.effect > _SAME]
    if not moving:
        yield f"No input changes the room of {found.nearest.name} by {100 * _SAME:g} % of its limit."
    else:
        first = moving[0]
        yield (
            f"What matters most: {lowered(first.label)}. With {found.change * 100:g} % less, "
            f"{found.nearest.name} is {_value(found, first.low)}; with as much more, "
            f"{_value(found, first.high)}."
        )
    if found.base.met:
        breaking = [_breaks(swing) for swing in found.swings if not (swing.low.met and swing.high.met)]
        if breaking:
            yield f"An objective is missed with {', with '.join(breaking)}."
        else:
            yield f"No change of {found.change * 100:g} % of one input makes an objective missed."
    yield from missed_as_well(found)
    more = [s for s in found.swings if s.low.replicas != s.high.replicas]
    if more:
        told = "; ".join(
            f"{lowered(s.label)}: {counts_between(s.low.replicas, s.high.replicas)}" for s in more
        )
        yield f"The replicas needed change with {told}."
    paying = [s for s in found.swings if math.isfinite(s.worth.usd_per_h) and s.worth.usd_per_h > 5e-4]
    if paying:
        best = max(paying, key=lambda swing: swing.worth.usd_per_h)
        yield (
            f"What is worth most to know better: {lowered(best.label)}, {worth(best.worth.usd_per_h)} USD/h, "
            f"known to {best.log_error * 100:.2g} % now{' (assumed)' if best.assumed else ''}."
        )
    elif math.isfinite(found.base.usd_per_h):
        yield "Knowing any of them better would save no replica."


def _breaks(swing: Swing) -> str:
    which = [word for word, at in (("less", swing.low), ("more", swing.high)) if not at.met]
    return f"{' or '.join(which)} {lowered(swing.label)}"


def _value(found: Sensitivity, at: At) -> str:
    value = at.figures.get(found.nearest.key, math.nan)
    return found.nearest.show(value) if math.isfinite(value) else "without a value, being overloaded"


def _table(found: Sensitivity) -> str:
    by, name = f"{found.change * 100:g} %", found.nearest.name
    heads = ["Input", f"{name}, {by} less", f"{name}, {by} more", "Replicas", "Known to", "Worth, USD/h"]
    rows = "".join(
        f"<tr><th scope=row>{prose(swing.label)}</th>{_at(found, swing.low)}{_at(found, swing.high)}"
        f"<td>{counts_between(swing.low.replicas, swing.high.replicas)}</td>"
        f"<td>{prose(f'{swing.log_error * 100:.2g} %')}{'*' if swing.assumed else ''}</td>"
        f"<td>{worth(swing.worth.usd_per_h)}</td></tr>"
        for swing in found.swings
    )
    return table(heads, rows, "In red: an objective is missed then.")


def _at(found: Sensitivity, at: At) -> str:
    value = at.figures.get(found.nearest.key, math.nan)
    shown = found.nearest.show(value) if math.isfinite(value) else "overloaded"
    style = "" if at.met else ' class="missed"'
    return f"<td{style}>{prose(shown)}</td>"
