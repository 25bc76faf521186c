"""Figures on pages are those that were recorded, and every one of them says where it comes from."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from places import ROOT, docs_script

pytestmark = pytest.mark.skipif(
    not (ROOT / "README.md").is_file(), reason="the tests are on their own, without the repository"
)
FIGURES = ROOT / "docs" / "figures"
PAGES = sorted(file.stem for file in FIGURES.glob("*.toml") if file.stem != "sources")


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    return docs_script("figures")


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    files = sorted((FIGURES / "recorded").glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_was_recorded(name: str, figures: ModuleType, kept: dict[str, Any]) -> None:
    """If this fails: python docs/figures.py, with results or --run SOURCE if the record lacks something."""
    page = (ROOT if name == "README" else ROOT / "docs") / f"{name}.md"
    quotes = figures.asked()[page]
    text = page.read_text(encoding="utf-8")
    summaries = {source: entry["found"] for source, entry in kept.items()}
    assert figures.updated(text, quotes, summaries) == (text, [])
    assert figures.unaccounted(text, quotes) == []


def test_every_page_says_where_its_figures_come_from() -> None:
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} | {"README"} == set(PAGES)


def test_records_say_what_made_them(figures: ModuleType, kept: dict[str, Any]) -> None:
    quoted = [path for page in figures.asked().values() for path in figures.paths(page)]
    assert {path.split("/")[0].split("(")[-1] for path in quoted} == set(kept) == set(figures.sources())
    for source, entry in kept.items():
        assert entry["command"] == figures.sources()[source]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry["date"])


SUMMARY: dict[str, Any] = {
    "a": {"b": 0.0481, "name": "x", "well": True, "ill": False},
    "by": {"p": {"n": 2, "off": -0.25}, "q/r": {"n": 1500}},
    "between": [9.4, 13.1],
    "runs": [{"model": "m", "tp": 1, "off": 0.5}, {"model": "m", "tp": 2, "off": float("nan")}],
}


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{s/a/b:%1} %, {s/a/name}", "4.8 %, x"),
        ("{s/a/b:ms0} ms", "48 ms"),
        ("{s/a/b:us0} µs", "48,100 µs"),
        ("{s/by/p/off:+%0}", "\N{MINUS SIGN}25"),
        ("{s/by/q~1r/n} and {s/by/q~1r/n:k1}", "1,500 and 1.5"),
        ("{sum(s/by/*/n)} in {count(s/by/*):word}", "1,502 in two"),
        ("{s/runs/[model=m,tp=1]/off} {s/runs/[tp=2]/off}", "0.5 \N{EN DASH}"),
        ("{max(s/by/*/n):sig2}", "1,500"),
        ("{mean(s/by/*/n):.1f} {min(s/by/*/n)}", "751.0 2"),
        ("{size(s/by/p/off):%0} {size(s/by/p/*):.1f}", "25 2.0"),
        ("{s/a/well} {s/a/ill}", "yes no"),
        ("{s/between/0}\N{EN DASH}{s/between/1}", "9.4\N{EN DASH}13.1"),
    ],
)
def test_templates(template: str, says: str, figures: ModuleType) -> None:
    assert figures.filled(template, {"s": SUMMARY}) == says


def test_a_figure_that_is_not_there(figures: ModuleType) -> None:
    with pytest.raises(ValueError, match="s/a/c: no such figure"):
        figures.filled("{s/a/c}", {"s": SUMMARY})
    with pytest.raises(ValueError, match=r"s/by/\*/n: 2 such figures"):
        figures.filled("{s/by/*/n}", {"s": SUMMARY})
    with pytest.raises(ValueError, match=r"max\(s/runs/\*/off\): not all are finite"):
        figures.filled("{max(s/runs/*/off)}", {"s": SUMMARY})
    with pytest.raises(ValueError, match=r"no 'most'; there are sum, "):
        figures.filled("{most(s/by/*/n)}", {"s": SUMMARY})


def test_only_what_is_quoted_is_kept(figures: ModuleType) -> None:
    paths = ["a/b", "sum(by/*/n)", "runs/[tp=1]/off", "between/1"]
    kept = figures.kept(SUMMARY, paths)
    assert kept == {
        "a": {"b": 0.0481},
        "by": {"p": {"n": 2}, "q/r": {"n": 1500}},
        "between": [9.4, 13.1],
        "runs": [{"tp": 1, "off": 0.5}],
    }
    for path in paths:
        assert figures.figure(kept, path) == figures.figure(SUMMARY, path)


def test_sentences_follow_the_record(figures: ModuleType) -> None:
    page = {"sentence": [{"says": "it is {s/a/b:%1} % off"}]}
    assert figures.updated("So it is 9 % off.", page, {"s": SUMMARY}) == ("So it is 4.8 % off.", [])
    for text, count in (("It was.", "no"), ("it is 9 % off, it is 8 % off", "2")):
        assert figures.updated(text, page, {"s": SUMMARY}) == (text, [f"{count} places say: it is 4.8 % off"])


def test_tables_follow_the_record(figures: ModuleType) -> None:
    table = {"name": "t", "rows": "s/by/*", "cells": {"by": "{.}", "n / off": "{./n} / {./off:%0}"}}
    text = "Before.\n<!-- figures t -->\n| old |\n\nAfter.\n"
    made = (
        "Before.\n<!-- figures t -->\n| by | n / off |\n|---|---|\n"
        "| p | 2 / \N{MINUS SIGN}25 |\n| q/r | 1,500 / \N{EN DASH} |\n\nAfter.\n"
    )
    assert figures.updated(text, {"table": [table]}, {"s": SUMMARY}) == (made, [])
    ranges = "{./n} ({min(./ends/*)}–{max(./ends/*)})"
    several = table | {
        "rows": ["s/by/*", "s/span"],
        "cells": {"by": "{.}", "n": ranges, "x": "{./x} / {./y} %"},
    }
    told = figures.table_of(several, {"s": SUMMARY | {"span": {"n": 3, "ends": [1, 2]}}}).splitlines()
    assert told[2:] == ["| p | 2 | – |", "| q/r | 1,500 | – |", "| span | 3 (1–2) | – |"]
    counts = {"name": "c", "rows": "s/counts/*", "cells": {"why": "{.}", "n": "{sum(.)}"}}
    assert list(figures.paths({"table": [counts]})) == ["s/counts/*", "sum(s/counts/*)"]
    assert figures.table_of(counts, {"s": {"counts": {"new": 1, "old": 3}}}).splitlines()[2:] == [
        "| new | 1 |",
        "| old | 3 |",
    ]
    with pytest.raises(ValueError, match="table t: two rows have the same key"):
        figures.table_of(table | {"rows": ["s/by/*", "s/by/p"]}, {"s": SUMMARY})
    lacking = table | {"labels": {"q/r": "Q", "z": "Z"}}
    assert figures.updated(text, {"table": [lacking]}, {"s": SUMMARY}) == (text, ["table t: no row z"])
    chosen = table | {"labels": {"q/r": "Q"}, "cells": {"by": "{.}", "n": "{./n}"}}
    assert "| Q | 1,500 |\n\nAfter" in figures.updated(text, {"table": [chosen]}, {"s": SUMMARY})[0]


def test_a_row_chooses_items_of_a_list(figures: ModuleType) -> None:
    rows = [{"a": a, "kind": k, "off": o} for a, k, o in (("x", "p", 1), ("y", "p", 2), ("y", "q", 3))]
    summary = {"rows": [*rows, {"a": "z", "kind": "p", "off": 4}]}
    cells = {"kind": "{./kind}", "x": "{s/rows/[a=x,kind=.kind]/off}", "y": "{./off}"}
    page = {"table": [{"name": "t", "rows": "s/rows/[a=y]", "cells": cells}]}
    kept = figures.kept(summary, [path.removeprefix("s/") for path in figures.paths(page)])
    assert kept["rows"] == rows
    for known in (summary, kept):
        lines = figures.table_of(page["table"][0], {"s": known}).splitlines()
        assert lines[2:] == ["| p | 1 | 2 |", "| q | \N{EN DASH} | 3 |"]


def test_figures_without_a_source_are_told(figures: ModuleType) -> None:
    text = "At 5 % it is 7 % off, in 3 of 4.\n\n| a | 2 |\n\n`9 %`\n\n```text\n8 %\n```\n"
    quotes = {"given": [{"why": "asked", "says": ["At 5 %"]}]}
    told = figures.unaccounted(text, quotes)
    assert [line.split(":")[0] for line in told] == ["| a | 2 |", "7 %", "3 of 4"]
    assert (
        figures.unaccounted(
            text, {"given": [{"why": "set", "says": ["| a", "At 5 % it is 7 %", "in 3 of 4"]}]}
        )
        == []
    )
    wrong = figures.updated(text, {"given": [{"why": "so", "says": ["At 6 %"]}]}, {})[1]
    assert wrong == [
        "why 'so': there are asked, set, published, worked out, history",
        "given, but not there: At 6 %",
    ]


def test_a_command_is_run_as_this_python_has_it(figures: ModuleType) -> None:
    assert figures.printed("python -c 'import json, sys; print(json.dumps(sys.prefix))'") == sys.prefix


def test_a_source_that_is_not_there(
    figures: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["figures.py", "--run", "energi"])
    assert figures.main() == 2
    assert "no source 'energi'; there are accuracy, " in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["figures.py", "energi"])
    assert figures.main() == 2
    assert "no folder 'energi'" in capsys.readouterr().err


def test_check_writes_nothing(
    figures: ModuleType,
    kept: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Results that differ are told, and stand nowhere."""
    changed = kept["models"]["found"] | {"models": 1234}
    (tmp_path / "models.json").write_text(json.dumps(changed), encoding="utf-8")
    record = FIGURES / "recorded" / "models.json"
    before = record.read_bytes()
    monkeypatch.setattr(sys, "argv", ["figures.py", "--check", str(tmp_path)])
    assert figures.main() == 1
    assert record.read_bytes() == before
    assert "README.md: out of date" in capsys.readouterr().out


def test_the_readme_quotes_the_page_of_papers() -> None:
    """That page's first sentence comes from the record."""
    page = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    found = re.search(
        r"(\d+) claims of (\d+) papers: direction agrees in (\d+ of \d+), size in (\d+ of \d+)", page
    )
    assert found is not None
    claims, papers, direction, size = found.groups()
    says = f"Of {claims} claims of {papers} papers the direction agrees in {direction} and the size in {size}"
    assert says in (ROOT / "README.md").read_text(encoding="utf-8")
