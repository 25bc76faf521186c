"""Figures in prose are those that were recorded, and the record knows where it comes from."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from places import ROOT

pytestmark = pytest.mark.skipif(
    not (ROOT / "README.md").is_file(), reason="the tests are on their own, without the repository"
)


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_say_what_was_recorded(figures: ModuleType) -> None:
    """If this fails: python docs/figures.py RESULTS, and mend the sentences that it lists."""
    record = json.loads(figures.RECORD.read_text(encoding="utf-8"))
    pages = {c["page"]: (ROOT / c["page"]).read_text(encoding="utf-8") for c in figures.claims()}
    assert not figures.wrong(figures.claims(), record, pages)
    for source, entry in record.items():
        assert entry["command"].startswith(f"foretell validate {source} ")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry["date"])


def test_a_sentence_with_another_figure_is_told(figures: ModuleType) -> None:
    claim = {"page": "p.md", "source": "s", "says": "{a:.1f} % off", "figures": {"a": "x/y * 100"}}
    record = {"s": {"figures": {"x/y * 100": 4.8}}}
    assert figures.wrong([claim], record, {"p.md": "it is 4.8 % off"}) == []
    assert figures.wrong([claim], record, {"p.md": "it is 4.7 % off"}) == ["p.md does not say: 4.8 % off"]
    assert figures.wrong([claim], {}, {"p.md": "it is 4.8 % off"}) == ["p.md: s has no record of x/y * 100"]


def test_figures_of_a_summary(figures: ModuleType) -> None:
    summary = {"a": {"b": 0.25, "c": 3}, "parts": {"x": {"n": 2}, "y": {"n": 5}}}
    assert figures.figure(summary, "a/b * 100") == 25
    assert figures.figure(summary, "sum(parts/*/n)") == 7
    with pytest.raises(ValueError, match="no such figure"):
        figures.figure(summary, "a/d")


def test_results_are_recorded_and_others_kept(figures: ModuleType, tmp_path: Path) -> None:
    summary = {"summary": {"joules_end_to_end": {"runs": 7, "median_ape": 0.5}}}
    (tmp_path / "energy.json").write_text(json.dumps(summary), encoding="utf-8")
    record = figures.recorded(tmp_path, {"theory": {"kept": True}})
    assert record["theory"] == {"kept": True}
    assert record["energy"]["figures"]["summary/joules_end_to_end/median_ape * 100"] == 50


def test_the_readme_quotes_the_page_of_papers() -> None:
    """docs/papers.py writes that page's first sentence from what the command finds."""
    page = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    found = re.search(
        r"(\d+) claims of (\d+) papers: direction agrees in (\d+ of \d+), size in (\d+ of \d+)", page
    )
    assert found is not None
    claims, papers, direction, size = found.groups()
    says = f"Of {claims} claims of {papers} papers the direction agrees in {direction} and the size in {size}"
    assert says in (ROOT / "README.md").read_text(encoding="utf-8")
