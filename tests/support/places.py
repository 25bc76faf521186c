"""Where tests find what is not part of the package."""

from __future__ import annotations

import os
from pathlib import Path

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
