"""The edge where scenarios come in: files and plain dicts, validated by pydantic into the frozen specs."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foretell.sim.client import Client, load_client
from foretell.sim.presets import EngineSettings
from foretell.sim.scenario import Pool, ReplicaGroup, Scenario, Workload

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

_WANTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "mapping_type": "a table of fields",
    "dict_type": "a table of fields",
    "dataclass_type": "a table of fields",
    "tuple_type": "a list",
}


def load_scenario(path: str | os.PathLike[str]) -> Scenario:
    """Read a scenario file: YAML, or TOML or JSON by its name.

    Raises:
        ValueError: one line with the file, and the line or field.

    """
    file = Path(path)
    values = load_values(file)
    try:
        return scenario_from_dict(values)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def load_values(file: Path) -> dict[str, Any]:
    """Read a scenario file without validating it; relative paths in it then start at the file.

    Raises:
        ValueError: see `read_mapping`.

    """
    values = read_mapping(file)
    workload = values.get("workload")
    for place in (workload, workload.get("lengths") if isinstance(workload, dict) else None):
        if isinstance(place, dict) and isinstance(place.get("trace"), str):
            place["trace"] = str(file.parent / Path(place["trace"]).expanduser())
    pools = values.get("pools")
    for pool in pools.values() if isinstance(pools, dict) else ():
        groups = pool.get("replicas") if isinstance(pool, dict) else None
        for place in (pool, *(groups if isinstance(groups, list) else ())):
            for name in ("calibration", "outcomes"):
                named = place.get(name) if isinstance(place, dict) else None
                if isinstance(named, str) and (name == "calibration" or named.endswith(".toml")):
                    place[name] = str(file.parent / Path(named).expanduser())
    if isinstance(values.get("client"), str) and values["client"].endswith(".toml"):
        values["client"] = str(file.parent / Path(values["client"]).expanduser())
    return values


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let every ValueError begin with the file that it is about."""
    try:
        yield
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(str(path)) else f"{path}: {message}") from None


def read_mapping(file: Path) -> dict[str, Any]:
    """Read a YAML, TOML or JSON file whose top is a table.

    Raises:
        ValueError: unreadable or malformed, with the line where that is known.

    """
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".toml":
            values: Any = tomllib.loads(text)
        elif file.suffix == ".json":
            values = json.loads(text)
        else:
            values = yaml.safe_load(text)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not a UTF-8 text file") from None
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark
        where = f", line {at.line + 1}, column {at.column + 1}" if at else ""
        raise ValueError(f"{file}{where}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{file}: malformed: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{file}: expected fields such as workload and pools, found {type(values).__name__}")
    for name in ("workload", "pools", "objectives", "goodput", "compare", "sweep", "plan"):
        if name in values and not isinstance(values[name], dict):
            raise ValueError(f"{file}: {name}: {_short(values[name])} is not a table of fields")
    return values


def scenario_from_dict(values: Mapping[str, Any]) -> Scenario:
    """Validate plain dicts and lists into a scenario.

    Raises:
        ValueError: one line that names the field, what is wrong, and what would be right.

    """
    from pydantic import ValidationError

    try:
        return _adapter().validate_python(_spelled_out(values))
    except ValidationError as error:
        raise ValueError(_one_line(error, values)) from None


def _spelled_out(values: Mapping[str, Any]) -> dict[str, Any]:
    """Spell out shorthands: an engine that is only a preset's name, numbers as objectives and as keys."""
    result = dict(values)
    workload = result.get("workload")
    if isinstance(workload, dict) and isinstance(workload.get("priorities"), dict):
        weights = {str(key): weight for key, weight in workload["priorities"].items()}
        result["workload"] = workload | {"priorities": weights}
    pools = result.get("pools")
    if isinstance(pools, dict):
        result["pools"] = {
            name: pool | {"engine": {"preset": pool["engine"]}}
            if isinstance(pool, dict) and isinstance(pool.get("engine"), str)
            else pool
            for name, pool in pools.items()
        }
    if isinstance(result.get("client"), str):
        result["client"] = dataclasses.asdict(load_client(result["client"]))
    for name in ("objectives", "goodput"):
        limits = result.get(name)
        if isinstance(limits, dict):
            result[name] = {key: str(v) if isinstance(v, int | float) else v for key, v in limits.items()}
    return result


@cache
def _adapter() -> TypeAdapter[Scenario]:
    from pydantic import TypeAdapter

    for spec in (Workload, EngineSettings, ReplicaGroup, Pool, Client, Scenario):
        # Without this, pydantic takes unknown keys of stdlib dataclasses and says nothing.
        setattr(spec, "__pydantic_config__", {"extra": "forbid"})  # noqa: B010  (not a declared attribute)
    return TypeAdapter(Scenario)


def _one_line(error: ValidationError, values: Any) -> str:
    details = error.errors(include_url=False)
    # A union reports each member; the one that got furthest is what was meant.
    worst = max(details, key=lambda detail: len(_path(detail["loc"], values)))
    path = _path(worst["loc"], values)
    kind, given = worst["type"], worst.get("input")
    where = ".".join(map(str, path))
    if kind == "value_error":
        message = str(worst["ctx"]["error"])
        return f"{where}.{message}" if where else message
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        known = [f.name for f in dataclasses.fields(_spec_at(path[:-1]))]
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        return f"{where}: unknown field; {hint}"
    if kind in ("missing", "missing_argument"):
        return f"{where}: missing"
    if kind == "literal_error":
        return f"{where}: {given!r} is not {worst['ctx']['expected']}"
    return f"{where}: {_short(given)} is not {_WANTED.get(kind, 'right: ' + worst['msg'])}"


def _path(loc: Sequence[str | int], values: Any) -> tuple[str | int, ...]:
    """Where an error is in the user's terms: without the names of union members, which pydantic adds."""
    path: list[str | int] = []
    at = values
    for i, part in enumerate(loc):
        inside = dict(enumerate(at)) if isinstance(at, list | tuple) else at
        if isinstance(inside, Mapping) and part in inside:
            at = inside[part]
        elif i < len(loc) - 1 or not isinstance(at, Mapping):
            continue
        path.append(part)
    return tuple(path)


def _spec_at(path: Sequence[str | int]) -> type[Any]:
    kinds: dict[int, type[Any]] = {0: Scenario, 2: Pool, 4: ReplicaGroup}
    if path and path[-1] == "engine":
        return EngineSettings
    if path and path[0] == "client":
        return Client
    return Workload if path and path[0] == "workload" else kinds.get(len(path), Scenario)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
