"""What a page is of: the scenario as YAML, how its figures were found, what is assumed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from foretell.sim.intervals import Estimate
from foretell.sim.report.page import section
from foretell.sim.report.words import between, show

if TYPE_CHECKING:
    from foretell.sim.scenario import Scenario


def asked_section(scenario: Scenario, lines: Iterable[str], notes: Iterable[str]) -> str:
    """How figures were found, the notes on them, and the scenario to run again."""
    from foretell.sim.forecast_json import tool_version

    found = [*lines, f"Seed {scenario.seed}; foretell {tool_version()}."]
    told = "".join(f"<p>{escape(line)}</p>" for line in found)
    remarks = "".join(f"<li>{escape(note)}</li>" for note in notes)
    body = told + (f"<h3>Estimated, assumed, left out</h3><ul>{remarks}</ul>" if remarks else "")
    return section("asked", "What was asked, and how it was found", f"{body}{yaml_block(scenario)}")


def yaml_block(scenario: Scenario) -> str:
    """The scenario as YAML, folded, to copy."""
    import yaml

    text = yaml.safe_dump(scenario.to_dict(), sort_keys=False, allow_unicode=True, width=96)
    return f"<details open><summary>The scenario, as YAML</summary>{code(text, 'The scenario')}</details>"


def code(text: str, name: str) -> str:
    """Text to copy: a click into it selects all of it."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f'<pre style="user-select:all;-webkit-user-select:all">{escape(text)}</pre></div>'
    )


def figure_td(figure: str, found: Estimate | None) -> str:
    """A cell with a figure and, below it, its interval."""
    if found is None or not math.isfinite(found.value):
        return "<td>–</td>"
    low_high = between(figure, found)
    return f"<td>{escape(show(figure, found.value))}{small(low_high)}</td>"


def small(text: str) -> str:
    """A second line of a table's cell."""
    return f"<br><small>{escape(text)}</small>" if text else ""
