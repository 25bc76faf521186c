"""The page and the charts: whole, offline, readable by machines, and with the figures of the summary."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from foretell.sim.report.svg import legend
from foretell.validate.charts import Points, boxes, scatter
from foretell.validate.report import summarise
from foretell.validate.silicon_report import render, show_asked
from foretell.validate.silicon_tables import show_silicon
from silicon_table import table

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_loads_nothing_and_escapes() -> None:
    page = render(table(), summarise(table(), "a <file>", {"sglang agg: no reason": 7}))
    parser = Balance()
    parser.feed(page)
    assert not parser.open
    assert {"script", "link", "img", "iframe"}.isdisjoint(parser.seen)
    assert not re.search(r"https?:|url\(|@import|src=|href=", page)
    assert "a &lt;file&gt;" in page
    assert "a clock &lt;stopped&gt;" in page
    assert "it does not fit" in page
    assert "sglang agg: no reason" in page
    assert 'lang="en"' in page
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page


def test_the_page_and_the_terminal_show_what_was_reached() -> None:
    summary = summarise(table(), "a file")
    page = render(table(), summary)
    console = Console(width=200, file=io.StringIO(), record=True)
    show_silicon(summary, console)
    shown = console.export_text()
    for text in ("6.0 %", "10.0 %", "leave-one-model-out: TPOT mean error", "not measured", "trtllm disagg"):
        assert text in page
        assert text in shown
    assert "Missed: share of the rows predicted" in shown


def test_a_page_of_nothing_is_still_a_page() -> None:
    page = render(table().iloc[:0], summarise(table().iloc[:0], ""))
    assert "0 of 0 server runs" in page


def test_a_scatter_plot_is_to_scale_and_described() -> None:
    points = Points(np.array([0.01, 0.1, np.nan]), np.array([0.01, 0.1, 1.0]), ["a", "b & c", "d"])
    svg = ET.fromstring(scatter({"m": points}, "TPOT <1>"))
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == "TPOT <1>"
    marks = svg.findall("g/path")
    assert [mark.findtext("title") for mark in marks] == ["a", "b & c"]
    (x0, y0), (x1, y1) = (
        map(float, re.findall(r"M([\d.]+) ([\d.]+)", mark.get("d", ""))[0]) for mark in marks
    )
    equal = next(path for path in svg.findall("path") if path.get("class") == "equal")
    ends = [float(value) for value in re.findall(r"[\d.]+", equal.get("d", ""))]
    slope = (ends[3] - ends[1]) / (ends[2] - ends[0])
    assert (y1 - y0) / (x1 - x0) == pytest.approx(slope, rel=0.01)  # both points lie on the diagonal
    assert x1 > x0
    assert y1 < y0
    assert scatter({}, "none").startswith("<svg")


def test_boxes_tell_quartiles() -> None:
    svg = ET.fromstring(boxes({"8": np.arange(-20.0, 21.0), "16": np.array([])}, "by concurrency"))
    assert "8: median +0.0 %" in (svg.findtext("desc") or "")
    box = svg.find("rect")
    zero = next(path for path in svg.findall("path") if path.get("class") == "equal")
    assert box is not None
    middle = float(box.get("x", 0)) + float(box.get("width", 0)) / 2
    assert zero.get("d", "").startswith(f"M{middle:.1f} ")


def test_series_differ_by_marker_as_well() -> None:
    paths = re.findall(r'd="([^"]+)"', legend(["a", "b", "c", "d"]))
    assert len(set(paths)) == 4


def test_what_is_asked_in_words() -> None:
    assert show_asked({"at_least": None, "at_most": 5.0, "unit": "%"}) == "at most 5.0 %"
    assert show_asked({"at_least": 0.85, "at_most": 0.95, "unit": ""}) == "85.0 % to 95.0 %"
    assert show_asked({"at_least": 1.0, "at_most": None, "unit": ""}) == "at least 100.0 %"
