"""A forecast as one page: the answer, then what it rests on."""

from __future__ import annotations

from collections.abc import Callable
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


def forecast_page(result: Told) -> str:
    """The whole page as HTML; equal forecasts give equal pages.

    A simulated forecast's first run is simulated once more, to record its steps.
    """
    known = result if hasattr(result, "busy") else _recorded(result)
    parts: list[tuple[str, str, Callable[[Told], str]]] = [
        ("latency", "How long requests take", latency_section),
        ("time", "Over time", over_time_section),
        ("steps", "Where the time of steps goes", step_time_section),
        ("timeline", "What the engines did", timeline_section),
        ("tornado", "What the answer hangs on", lambda told: light_section(told.scenario)),
        ("figures", "All figures", figures_section),
        ("settings", "What was asked, settings and sources", settings_section),
    ]
    what = subject(result)
    body = [f"<h1>{prose('Forecast: ' + what.split(';')[0])}</h1>", answer_section(result)]
    body += [section(key, title, make(known)) for key, title, make in parts]
    return document(f"foretell: {what}", "".join(body))


def _recorded(result: Forecast) -> Forecast:
    from foretell.sim.steps import with_loads

    return with_loads(result)


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
