"""Claims of papers: the rules that judge them, the rows, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from foretell.validate.cli import validate_command
from foretell.validate.papers import Claim, Found, Kind, claims, findings, judge, papers_summary
from foretell.validate.papers_page import headline, ours, render
from places import ROOT


def claim(kind: Kind, low: float | None, high: float | None, neutral: float | None = None) -> Claim:
    return Claim(
        "p", "c", "printed", kind, low, high, "x", "s", "2025", lambda effort: Found(effort), neutral
    )


@pytest.mark.parametrize(
    ("kind", "low", "high", "value", "direction", "size"),
    [
        ("ratio", 2.0, 2.0, 1.61, True, True),
        ("ratio", 2.0, 2.0, 1.59, True, False),
        ("ratio", 2.0, 2.0, 0.99, False, False),
        ("ratio", 0.5, 0.5, 0.6, True, True),
        ("ratio", 1.5, 2.5, 3.1, True, True),
        ("ratio", 4.0, None, 400.0, True, True),
        ("points", 15.0, 15.0, 10.0, True, True),
        ("points", -16.7, -16.7, -10.0, True, False),
        ("points", 3.0, 3.0, -1.0, False, True),
        ("level", 82.3, 82.3, 77.4, None, True),
        ("level", 95.0, None, 89.9, None, False),
        ("direction", None, None, 0.1, True, None),
        ("direction", None, None, -0.1, False, None),
        ("ratio", 2.0, 2.0, float("nan"), False, False),
    ],
)
def test_rules(
    kind: Kind, low: float | None, high: float | None, value: float, direction: bool | None, size: bool | None
) -> None:
    found = judge(claim(kind, low, high), Found(value))
    assert (found.direction_agrees, found.size_agrees) == (direction, size)


def test_counts_are_on_the_side_of_their_neutral_number() -> None:
    row = claim("count", 9.0, 9.0, 200.0)
    assert judge(row, Found(17.0)).direction_agrees is True
    assert judge(row, Found(17.0)).size_agrees is True
    assert judge(row, Found(19.0)).size_agrees is False
    assert judge(row, Found(200.0)).direction_agrees is False
    assert judge(claim("count", 9.0, 9.0), Found(200.0)).direction_agrees is None


def test_an_interval_must_lie_on_the_papers_side() -> None:
    row = claim("ratio", 1.4, 1.4)
    assert judge(row, Found(1.2, (1.1, 1.3))).direction_agrees is True
    assert judge(row, Found(1.2, (0.9, 1.5))).direction_agrees is False


def test_rows_say_what_a_reader_needs() -> None:
    rows = claims()
    assert len(rows) >= 25
    assert len({(row.paper, row.claim) for row in rows}) == len(rows)
    for row in rows:
        assert row.published and row.setting and "20" in row.source, row.claim
        assert (row.low is None and row.high is None) == (row.kind == "direction"), row.claim
        if row.low is not None and row.high is not None:
            assert row.low <= row.high


def test_rows_are_found_by_paper() -> None:
    assert {row.paper for row in claims("magicdec")} == {"MagicDec"}
    with pytest.raises(ValueError, match="no paper is called 'nobody'; there are Kinetics, "):
        claims("nobody")


def test_a_summary_counts_its_rows() -> None:
    summary = papers_summary("Demystifying")
    directions = [one["direction_agrees"] for one in summary["findings"]]
    assert summary["rows"] == len(directions) == 2
    assert summary["papers"] == 1
    assert summary["direction"] == {"agree": sum(directions), "of": 2}
    assert headline(summary).startswith("2 claims of 1 papers")
    assert json.loads(json.dumps(summary)) == summary


def test_closed_forms_repeat_and_simulated_rows_have_intervals() -> None:
    rows = [row for row in claims("First Finish") if row.kind == "points"]
    one, other = findings(rows, 0.05), findings(rows, 0.05)
    assert one[0].found == other[0].found
    interval = one[0].found.interval
    assert interval is not None
    assert interval[0] < one[0].found.value < interval[1]


def test_the_command_prints_a_table_json_and_a_page(tmp_path: Path) -> None:
    run = CliRunner()
    shown = run.invoke(validate_command, ["papers", "--only", "Efficiently"])
    assert shown.exit_code == 0
    assert "1 claims of 1 papers" in shown.output
    printed = json.loads(run.invoke(validate_command, ["papers", "--only", "Efficiently", "--json"]).output)
    assert printed["findings"][0]["size_agrees"] is True
    page = tmp_path / "papers.html"
    assert run.invoke(validate_command, ["papers", "--only", "DSI", "--html", str(page)]).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "<script" not in text and "Distributed Speculative Inference" in text


def test_pages_escape_what_papers_say() -> None:
    summary = papers_summary("Efficiently")
    summary["findings"][0]["claim"] = "<b>bold</b>"
    assert "<b>bold</b>" not in render(summary)
    assert ours(summary["findings"][0]) == "32x"


@pytest.mark.systems(26, 12, 71, 116, 131, 137, 269, 179, 280)
@pytest.mark.slow
def test_every_row_runs() -> None:
    """What agrees on the whole is a finding, not a target; that every row has a figure is asked here."""
    found = findings(claims(), 0.1)
    for one in found:
        assert one.found.value == one.found.value, one.claim.claim
        if one.size_agrees is False or one.direction_agrees is False:
            assert one.found.why, f"{one.claim.paper}: {one.claim.claim}: differs, and nothing says why"


def test_the_page_lists_every_row() -> None:
    """If this fails: python docs/figures.py --run papers."""
    page = ROOT / "docs" / "papers.md"
    if not page.is_file():
        pytest.skip("the tests are on their own, without the repository")
    listed = [line.split(" | ")[:2] for line in page.read_text(encoding="utf-8").splitlines()]
    found = {(cells[0].removeprefix("| "), cells[-1]) for cells in listed}
    assert {(row.paper, row.claim) for row in claims()} <= found


@pytest.mark.parametrize("only", ["Efficiently", "fLaws", "DSI"])
def test_the_page_says_what_is_found_now(only: str) -> None:
    """Rows that take no time. If this fails: python docs/figures.py --run papers."""
    page = ROOT / "docs" / "papers.md"
    if not page.is_file():
        pytest.skip("the tests are on their own, without the repository")
    text = page.read_text(encoding="utf-8")
    for one in papers_summary(only)["findings"]:
        names = ("paper", "claim", "published", "shown", "direction", "size", "why")
        assert f"| {' | '.join(one[name] for name in names)} |\n" in text
