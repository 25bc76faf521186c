"""Where tests find what is not part of the package."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds tests/: the repository, or a copy of its tests alone."""

SHARED = Path(os.environ.get("FORETELL_SHARED") or ROOT.parent / "shared")
"""Recordings and reference data that are not ours to ship; tests that need them skip without."""


def example(name: str) -> Path:
    """An example of the repository; the test skips where the tests are on their own."""
    file = ROOT / "examples" / name
    if not file.is_file():
        pytest.skip("the tests are on their own, without the examples")
    return file


def docs_script(name: str) -> ModuleType:
    """A script of docs/ as a module; the test skips where the tests are on their own."""
    if not (ROOT / "docs" / f"{name}.py").is_file():
        pytest.skip("the tests are on their own, without docs")
    if str(ROOT / "docs") not in sys.path:
        sys.path.insert(0, str(ROOT / "docs"))  # scripts import each other
    return importlib.import_module(name)


def docs_record(source: str) -> Any:
    """What pages quote of a source of docs/figures/sources.toml."""
    text = (ROOT / "docs" / "figures" / "recorded" / f"{source}.json").read_text(encoding="utf-8")
    return json.loads(text)["found"]
