"""Bundled and user-written outcome profiles: one TOML record a model and task, read into `Outcomes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from foretell.models.catalogue import check_keys, list_records, read_record, unknown_name
from foretell.models.outcomes import Answers, Difficulty, Lengths, Outcomes, Revision

_SECTIONS: Mapping[str, type] = {
    "difficulty": Difficulty,
    "lengths": Lengths,
    "answers": Answers,
    "revision": Revision,
}
_KIND = "outcomes"


@cache
def list_tasks() -> tuple[str, ...]:
    """Names of the tasks with at least one bundled profile, sorted."""
    folder = files("foretell.models") / "data" / _KIND
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    return tuple(name for name in names if list_records(f"{_KIND}/{name}"))


@cache
def list_outcomes() -> tuple[tuple[str, str], ...]:
    """(task, model) of every bundled profile, sorted."""
    return tuple((task, model) for task in list_tasks() for model in list_records(f"{_KIND}/{task}"))


def load_outcomes(task: str, model: str) -> Outcomes:
    """Load the bundled profile of a model on a task, or a user's own file.

    Args:
        task: a bundled task (`list_tasks`), in any case; with a file, its own task or "".
        model: a model with a profile of this task, in any case, with or without its organisation
            ("Qwen/Qwen3-8B"); or a path to a .toml or .json file.

    Raises:
        ValueError: unknown task or model (the nearest are named), or a record that is missing, malformed
            or of another task.

    """
    if not isinstance(task, str) or not isinstance(model, str):
        raise ValueError(f"outcomes: task {task!r} and model {model!r} are not both names")
    if model.endswith((".toml", ".json")):
        profile = parse_outcomes(read_record(_KIND, model), model)
        if task and task.lower() != profile.task.lower():
            raise ValueError(f"{model}: its task is {profile.task!r}, not {task!r}")
        return profile
    found_task, found = task.lower(), model.lower().rsplit("/", 1)[-1]
    if found_task not in list_tasks():
        raise ValueError(unknown_name("task", task, list_tasks()))
    known = list_records(f"{_KIND}/{found_task}")
    if found not in known:
        others = [other for other, name in list_outcomes() if name == found]
        elsewhere = f"; {found} has profiles of {', '.join(others)}" if others else ""
        raise ValueError(f"{unknown_name('outcome profile', model, known)} (task {found_task}{elsewhere})")
    return _bundled(found_task, found)


@cache
def _bundled(task: str, model: str) -> Outcomes:
    return parse_outcomes(read_record(f"{_KIND}/{task}", model), f"outcomes {task}/{model}")


def parse_outcomes(record: Mapping[str, Any], where: str = "outcomes") -> Outcomes:
    """Make a profile of a record's fields, named as those of `Outcomes` and of its sections.

    Raises:
        ValueError: a field is missing, unknown or out of range; the message starts with `where`.

    """
    names = [f.name for f in fields(Outcomes)]
    required = ("task", "model", "difficulty", "lengths")
    check_keys(record, required, [name for name in names if name not in required], where)
    values = dict(record)
    for name in ("task", "model"):
        if not isinstance(values[name], str) or not values[name].strip():
            raise ValueError(f"{where}: {name} {values[name]!r} is not a name")
    try:
        for section, kind in _SECTIONS.items():
            if section in values:
                values[section] = _section(kind, values[section], section)
        values["gaps"] = tuple(values.get("gaps", ()))
        values["sources"] = dict(values.get("sources", {}))
        return Outcomes(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def _section(kind: type, values: Any, name: str) -> Any:
    if not isinstance(values, Mapping):
        raise ValueError(f"{name}: {values!r} is not a table of fields")
    known = [f.name for f in fields(kind)]
    for key in values:
        if key not in known:
            raise ValueError(unknown_name(f"field of {name}", key, known))
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        return kind(**lists)
    except TypeError as error:  # a required field is missing
        missing = str(error).rpartition("argument")[2].strip(" s:'")
        raise ValueError(f"{name}: {missing} is missing") from None
    except ValueError as error:
        raise ValueError(f"{name}.{error}" if not str(error).startswith(name) else str(error)) from None


def write_outcomes(path: Path, profile: Outcomes) -> None:
    """Write a profile as the TOML record that `load_outcomes` reads.

    Raises:
        ValueError: the file cannot be written.

    """
    try:
        path.write_text(outcomes_toml(profile), encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {error.strerror or error}") from None


def outcomes_toml(profile: Outcomes) -> str:
    """A profile as TOML text."""
    scalars: list[str] = []
    tables: list[str] = []
    for each in fields(profile):
        value = getattr(profile, each.name)
        if value is None:
            continue
        if each.name in _SECTIONS:
            rows = {f.name: getattr(value, f.name) for f in fields(value)}
        elif isinstance(value, Mapping):
            rows = dict(value)
        else:
            scalars.append(f"{each.name} = {_toml(value)}")
            continue
        tables += ["", f"[{each.name}]", *(f"{_key(key)} = {_toml(row)}" for key, row in rows.items())]
    return "\n".join([*scalars, *tables, ""])


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() and name.isascii() else _toml(name)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        inner = ", ".join(_toml(item) for item in value)
        if len(inner) < 90:
            return f"[{inner}]"
        return "[\n" + "".join(f"    {_toml(item)},\n" for item in value) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return repr(value) if value != float("inf") else "inf"
