"""What is tested is what is installed."""

from __future__ import annotations

import os
from importlib import import_module, metadata, resources
from pathlib import Path

import pytest

PARTS = ("models", "sim", "traces", "validate")


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_typed_and_carries_its_data(part: str) -> None:
    folder = resources.files(f"foretell.{part}")
    assert (folder / "py.typed").is_file()
    if part != "validate":
        assert any(entry.name.endswith(".toml") or entry.is_dir() for entry in (folder / "data").iterdir())


@pytest.mark.parametrize("part", PARTS)
def test_ci_tests_the_wheel(part: str) -> None:
    installed = os.environ.get("FORETELL_INSTALLED")
    if not installed:
        pytest.skip("FORETELL_INSTALLED is not set: only .ci/run's wheel run insists")
    file = import_module(f"foretell.{part}").__file__
    assert file is not None
    place = Path(file).resolve()
    assert place.is_relative_to(Path(installed).resolve()) and "site-packages" in place.parts


def test_nothing_but_the_namespace_is_installed() -> None:
    """A wheel must not put `sim` or `models` at the top of somebody's environment."""
    try:
        files = metadata.files("foretell") or ()
    except metadata.PackageNotFoundError:
        pytest.skip("foretell is on the path, not installed")
    names = {Path(str(file)).parts[0] for file in files}
    assert not names & {*PARTS, "tests", "docs", "notebooks"}
