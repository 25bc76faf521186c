"""Catalogues: folders of TOML records, one record a file, found by name or given as a path."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

SINGULAR = {"links": "link", "nodes": "node", "architectures": "model"}
"""What a record of a kind is called in errors, where not as the kind itself."""


@cache
def list_records(kind: str) -> tuple[str, ...]:
    """Names of the bundled records of a kind ("hardware", "links", "nodes", "architectures"), sorted."""
    folder = files("foretell.models") / "data" / kind
    return tuple(
        sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    )


def read_record(kind: str, name: str) -> dict[str, Any]:
    """Read the bundled record `name`, or the user's own file when `name` is a path to a .toml or .json file.

    Raises:
        ValueError: no such record (the nearest names are suggested), or the file cannot be read or parsed.

    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(
            f"{SINGULAR.get(kind, kind)}: {name!r} is not a name; known: {', '.join(list_records(kind))}"
        )
    if name.endswith((".toml", ".json")) or (("/" in name or "\\" in name) and Path(name).exists()):
        return read_file(Path(name))
    found = name.lower()
    if found not in list_records(kind):
        raise ValueError(unknown_name(kind, name, list_records(kind)))
    return deepcopy(_bundled(kind, found))


@cache
def _bundled(kind: str, name: str) -> dict[str, Any]:
    text = (files("foretell.models") / "data" / kind / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def read_file(path: Path) -> dict[str, Any]:
    """Read a user's record: TOML, or JSON when the file's name ends so; a folder means its config.json.

    Raises:
        ValueError: the file is missing, unreadable or malformed.

    """
    if path.is_dir():
        path = path / "config.json"
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a UTF-8 text file") from None
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: not valid {path.suffix[1:].upper() or 'TOML'}: {error}") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path}: expected a table of fields, found a {type(record).__name__}")
    return record


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Say in one line that a name is unknown and which known ones are nearest."""
    names = sorted(known)
    lowered = name.lower().rsplit("/", 1)[-1]
    near = [other for other in names if lowered and lowered in other]
    near = near or difflib.get_close_matches(lowered, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near[:3])}?" if near else f"known: {', '.join(names)}"
    return f"unknown {SINGULAR.get(kind, kind)} {name!r}; {hint}"


def check_keys(
    record: Mapping[str, Any], required: Iterable[str], optional: Iterable[str], where: str
) -> None:
    """Raise ValueError when a record lacks a required field or carries one that nobody reads."""
    wanted = list(required)
    allowed = [*wanted, *optional]
    for key in wanted:
        if key not in record:
            raise ValueError(f"{where}: field {key!r} is missing")
    for key in record:
        if key not in allowed:
            raise ValueError(f"{where}: {unknown_name('field', key, allowed)}")
