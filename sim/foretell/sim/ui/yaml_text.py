"""Scenarios as YAML text and back: what `foretell forecast FILE` reads."""

from __future__ import annotations

from typing import Any

import yaml

from foretell.sim.scenario import Scenario
from foretell.sim.ui.questions import MOST_VALUES, Handed, check_size

MOST_CHARACTERS = 200_000
"""Of a YAML text."""


def as_yaml(scenario: Scenario, handed: Handed) -> str:
    """The file of a scenario. A trace that was uploaded stands there by its name, and a comment says so."""
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


class _Loader(yaml.SafeLoader):
    """YAML's plain values, without merges that unfold into far more than the text.

    `check_size` counts what is there in the end; merging copies before that.
    """

    merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what `<<` names, one table and a few values at most."""
        merges = [value for key, value in node.value if key.tag == "tag:yaml.org,2002:merge"]
        if len(merges) > 1 or any(isinstance(value, yaml.SequenceNode) for value in merges):
            raise _refused("<< merges one table here", node)
        super().flatten_mapping(node)
        self.merged += len(node.value) if merges else 0
        if self.merged > MOST_VALUES:
            raise _refused(f"<< unfolds into more than {MOST_VALUES:,} values", node)


def _refused(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def from_yaml(text: str) -> dict[str, Any]:
    """The fields that YAML text holds.

    Raises:
        ValueError: not YAML, with line and column, no table of fields, or too long; one line.

    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"a text of {len(text):,} characters; the page reads up to {MOST_CHARACTERS:,}")
    try:
        values: Any = yaml.load(text, _Loader)
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
