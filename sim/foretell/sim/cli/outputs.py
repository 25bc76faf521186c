"""The files that `foretell forecast` writes besides its folder of records: checked before, written whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foretell.sim.cli.options import _target, html_target, json_target

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.forecasting import Forecast


def output_targets(
    json_to: str | None, html_to: str | None, timeline_to: str | None, read: Mapping[str, Path | None]
) -> dict[str, Path]:
    """The files by what goes there: "json", "html", "timeline"; those that were asked for.

    Args:
        json_to, html_to, timeline_to: as given; JSON may be "-" for standard output, which is no file.
        read: what the command reads, by what to call it.

    Raises:
        click.UsageError: one looks like a scenario, or is another's file.
        ValueError: one cannot be written.

    """
    found: dict[str, Path | None] = {"json": json_target(json_to)}
    others = {**read, "--json": found["json"]}
    found["html"] = html_target(html_to, others)
    if timeline_to is not None:
        if timeline_to == "-":
            raise click.UsageError("--timeline -: name a file, as in --timeline run.json")
        target = _target("--timeline", timeline_to, "; name a file, as in --timeline run.json")
        for name, other in {**others, "--html": found["html"]}.items():
            if other is not None and other.resolve() == target.resolve():
                raise click.UsageError(f"--timeline {timeline_to}: is the file of {name} too; name another")
        found["timeline"] = target
    return {name: target for name, target in found.items() if target is not None}


def write_outputs(result: Forecast | ClosedForm, targets: Mapping[str, Path], text: str) -> None:
    """Write what was asked for, each file whole or not at all; `text` is the JSON."""
    from foretell.sim.records import write_text

    made = {"json": text}
    if "html" in targets or "timeline" in targets:
        known = _recorded(result)  # once for both
        made["html"] = known.to_html() if "html" in targets else ""
        made["timeline"] = _timeline(known) if "timeline" in targets else ""
    for name, target in targets.items():
        write_text(target, made[name])


def _recorded(result: Forecast | ClosedForm) -> Forecast | ClosedForm:
    from foretell.sim.forecasting import Forecast
    from foretell.sim.steps import with_loads

    return with_loads(result) if isinstance(result, Forecast) else result


def _timeline(result: Forecast | ClosedForm) -> str:
    from foretell.sim.forecasting import Forecast
    from foretell.sim.timeline import timeline_json

    assert isinstance(result, Forecast)
    return timeline_json(result)
