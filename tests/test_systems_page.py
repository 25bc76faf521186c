"""The page of systems: made from the catalogue and the marks, ticked only where a test runs."""

from __future__ import annotations

import ast
import re
from types import ModuleType

import pytest

from places import ROOT, docs_script

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs" / "systems.py").is_file(), reason="the tests are on their own, without the repository"
)


def systems() -> ModuleType:
    return docs_script("systems")


def test_the_page_is_up_to_date() -> None:
    """If this fails: python docs/systems.py, and look at what changed."""
    assert systems().rendered() == systems().PAGE.read_text(encoding="utf-8")


def test_every_row_is_listed_once() -> None:
    text = systems().PAGE.read_text(encoding="utf-8")
    listed = [int(number) for number in re.findall(r"(?m)^\| ✓? ?\| (\d+) \|", text)]
    assert sorted(listed) == sorted(int(row["id"]) for row in systems().catalogue())
    assert len(listed) == 237


def test_rows_are_ticked_where_a_test_runs_them_and_nowhere_else() -> None:
    text = systems().PAGE.read_text(encoding="utf-8")
    ticked = {int(number) for number in re.findall(r"(?m)^\| ✓ \| (\d+) \|", text)}
    assert ticked == set(systems().marked_tests())


def test_marks_are_read_from_tests_only() -> None:
    source = (
        "import pytest\n"
        "pytestmark = [pytest.mark.slow, pytest.mark.systems(5)]\n"
        "@pytest.mark.systems(1, 2)\n@pytest.mark.slow\ndef test_a(): ...\n"
        "@pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.systems(3))])\ndef test_b(x): ...\n"
        "@pytest.mark.systems(4)\ndef helper(): ...\n"
        "@other.systems(6)\ndef test_c(): ...\n"
    )
    found = set(systems().marks(ast.parse(source)))
    assert found == {("", 5), ("test_a", 1), ("test_a", 2), ("test_b", 3)}


def test_a_mark_must_name_plain_numbers() -> None:
    tree = ast.parse("@pytest.mark.systems(*ROWS)\ndef test_a(): ...\n")
    with pytest.raises(ValueError, match="plain numbers"):
        list(systems().marks(tree))
