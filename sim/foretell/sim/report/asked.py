"""What a page is of: the scenario as YAML, how its figures were found, what is assumed."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from foretell.sim.report.page import section
from foretell.sim.report.pieces import code

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
