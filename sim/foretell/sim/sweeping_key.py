"""What the result of a point depends on, as one key: its scenario, the files that it names, and the tool.

Equal keys mean equal results, so that a journal can be trusted after an upgrade, an edit of a trace or of
foretell's own sources, or on another machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from foretell.sim.forecast_json import tool_version
from foretell.sim.scenario import Scenario

_PARTS = ("models", "traces", "sim")
_FIGURES_FROM = ("aiconfigurator-core", "numpy", "scipy")
"""Packages whose release may change a figure; the first one is an extra."""


def point_key(scenario: Scenario, method: str) -> str:
    """Return the key of a scenario's forecast by a method, 64 hexadecimal digits.

    Where the scenario names a file, its content counts, not its name.
    """
    told = {"method": method, "scenario": _with_contents(scenario.to_dict()), "tool": tool_fingerprint()}
    return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()


@cache
def tool_fingerprint() -> str:
    """Return foretell's version, those of the packages behind its figures, and a digest of its own files."""
    import foretell

    digest = hashlib.sha256()
    for part in _PARTS:
        for root in foretell.__path__:
            for file in sorted((Path(root) / part).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    digest.update(f"{part}/{file.relative_to(root)}\0".encode())
                    digest.update(file.read_bytes())
    packages = [f"{name} {_version(name)}" for name in _FIGURES_FROM]
    return ", ".join([f"foretell {tool_version()} {digest.hexdigest()[:16]}", *packages])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _with_contents(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_contents(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_contents(each) for each in value]
    return _content(value) if isinstance(value, str) else value


def _content(text: str) -> str:
    try:
        found = Path(text).stat() if text else None
        if found is None or not Path(text).is_file():
            return text
        return _digest(text, found.st_size, found.st_mtime_ns)
    except (OSError, ValueError):
        return text


@cache
def _digest(path: str, size: int, mtime_ns: int) -> str:
    with Path(path).open("rb") as handle:
        return f"file {hashlib.file_digest(handle, 'sha256').hexdigest()}"
