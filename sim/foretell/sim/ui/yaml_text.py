"""Scenarios as YAML text and back: what `foretell forecast FILE` reads."""

from __future__ import annotations

from typing import Any

from foretell.sim.scenario import Scenario
from foretell.sim.ui.questions import Handed, check_size


def as_yaml(scenario: Scenario, handed: Handed) -> str:
    """The file of a scenario. A trace that was uploaded stands there by its name, and a comment says so."""
    import yaml

    values = scenario.to_dict()
    names = {str(path): path.name for path in handed.uploads.values()}
    remarks = []
    workload = values["workload"]
    for table in (workload, workload.get("lengths")):
        if isinstance(table, dict) and table.get("trace") in names:
            table["trace"] = names[table["trace"]]
            remarks.append(f"# trace: {table['trace']} was loaded into the page; keep it beside this file\n")
    return "".join(remarks) + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=96)


def with_ids(values: dict[str, Any], handed: Handed) -> dict[str, Any]:
    """The same with each uploaded trace as "upload:ID", whether it stands there by its name or its path."""
    found = {str(path): f"upload:{id}" for id, path in handed.uploads.items()}
    found |= {path.name: f"upload:{id}" for id, path in handed.uploads.items()}
    workload = values.get("workload")
    if not isinstance(workload, dict):
        return values

    def told(table: dict[str, Any]) -> dict[str, Any]:
        trace = table.get("trace")
        return table | {"trace": found[trace]} if isinstance(trace, str) and trace in found else table

    workload = told(workload)
    if isinstance(workload.get("lengths"), dict):
        workload = workload | {"lengths": told(workload["lengths"])}
    return values | {"workload": workload}


def from_yaml(text: str) -> dict[str, Any]:
    """The fields that YAML text holds.

    Raises:
        ValueError: not YAML, with line and column, or no table of fields; one line.

    """
    import yaml

    try:
        values: Any = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark
        where = f"line {at.line + 1}, column {at.column + 1}: " if at else ""
        raise ValueError(f"{where}not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(values, dict):
        raise ValueError("not a scenario: expected fields such as workload and pools")
    check_size(values)
    return values
