"""A forecast as one page: the answer, then what it rests on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from foretell.sim.report.answer import answer_section
from foretell.sim.report.figures import figures_section
from foretell.sim.report.latency import latency_section
from foretell.sim.report.over_time import over_time_section
from foretell.sim.report.page import document, section
from foretell.sim.report.roofline import step_time_section
from foretell.sim.report.settings import settings_section
from foretell.sim.report.timeline_picture import timeline_section
from foretell.sim.report.told import subject
from foretell.sim.report.tornado import light_section
from foretell.sim.report.words import prose

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.forecasting import Forecast

    Told: TypeAlias = "Forecast | ClosedForm"

_ENDLESS = (
    "<p>A closed form is of an endless run with an even load: nothing changes over time.</p>",
    "<p>A forecast in closed form is of an endless run: simulate it to see what engines do.</p>",
)
"""What stands over time, and for the engines, where nothing was simulated."""


def forecast_page(result: Told) -> str:
    """The whole page as HTML; equal forecasts give equal pages.

    A simulated forecast's first run is simulated once more, to record its steps.
    """
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.steps import with_loads

    if isinstance(result, ClosedForm):
        known: Told = result
        over_time, timeline = _ENDLESS
    else:
        known = with_loads(result)
        over_time, timeline = over_time_section(known), timeline_section(known)
    parts = [
        ("latency", "How long requests take", latency_section(known)),
        ("time", "Over time", over_time),
        ("steps", "Where the time of steps goes", step_time_section(known)),
        ("timeline", "What the engines did", timeline),
        ("tornado", "What the answer hangs on", light_section(result.scenario)),
        ("figures", "All figures", figures_section(known)),
        ("settings", "What was asked, settings and sources", settings_section(known)),
    ]
    what = subject(result)
    body = [f"<h1>{prose('Forecast: ' + what.split(';')[0])}</h1>", answer_section(result)]
    body += [section(key, title, text) for key, title, text in parts]
    return document(f"foretell: {what}", "".join(body))


def to_html(result: Told, path: str | Path | None) -> str:
    """The page, and with a path a file of it, whole or not at all.

    Raises:
        ValueError: the file cannot be written.

    """
    from foretell.sim.records import write_text

    text = forecast_page(result)
    if path is not None:
        write_text(Path(path), text)
    return text
