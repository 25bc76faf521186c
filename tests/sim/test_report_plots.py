"""Charts: ticks people read, limits named, nothing invented, never too large."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
import pytest

from foretell.sim.report.axes import scale
from foretell.sim.report.page import document, section
from foretell.sim.report.plots import Axis, Line, bars, lines
from foretell.sim.report.svg import standalone


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None
    return match[1]


@pytest.mark.parametrize(
    ("axis", "values", "first", "last", "title"),
    [
        (Axis("TTFT", "s"), [0.0, 0.4], "0", "400", "TTFT (ms)"),
        (Axis("Time", "s"), [0.0, 3600.0], "0", "60", "Time (min)"),
        (Axis("Right", "share"), [0.0, 1.0], "0", "100", "Right (%)"),
        (Axis("Tokens"), [0.0, 25_000.0], "0", "25,000", "Tokens"),
        (Axis("FLOPs"), [0.0, 3e13], "0", "30T", "FLOPs"),
        (Axis("TTFT", "s", log=True), [0.009, 12.0], "10 ms", "10 s", "TTFT, log scale"),
        (Axis("Cost", "usd", log=True), [9e-6, 1.2], "0.00001", "1", "Cost, USD, log scale"),
    ],
)
def test_ticks_are_round_and_have_units(
    axis: Axis, values: Sequence[float], first: str, last: str, title: str
) -> None:
    found = scale(axis, np.asarray(values), 40, 440, across=True)
    texts = [text for _, text in found.ticks]
    assert (texts[0], texts[-1], found.title) == (first, last, title)
    assert len(set(texts)) == len(texts)


def test_every_range_has_ticks_inside_it() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        low, high = np.sort(10 ** rng.uniform(-6, 9, 2))
        for log in (False, True):
            for unit in ("s", "share", "usd", ""):
                found = scale(Axis("x", unit, log=log), np.array([low, high]), 40, 440, across=True)
                assert 1 <= len(found.ticks) <= 12
                places = found.place([value for value, _ in found.ticks])
                assert ((places >= 39.9) & (places <= 440.1)).all()
                assert len({text for _, text in found.ticks}) == len(found.ticks)


def test_a_point_lies_where_its_axes_say() -> None:
    chart = lines(
        {"a": Line([1.0, 2.0, 4.0], [0.0, 0.5, 1.0])},
        Axis("x", low=0, high=4),
        Axis("y", "share", low=0, high=1),
        "t",
        "about",
    )
    points = [
        tuple(map(float, p.split()))
        for p in _found(r'stroke-linejoin="round" d="M([^"]+)"', chart).split("L")
    ]
    (x1, y1), (x2, y2), (x4, y4) = points
    assert x2 - x1 == pytest.approx((x4 - x1) / 3, abs=0.2)
    assert y1 > y2 > y4
    assert y2 == pytest.approx((y1 + y4) / 2, abs=0.2)


def test_a_curve_ends_at_the_edge_of_its_axis() -> None:
    x = np.linspace(0, 10, 101)
    chart = lines({"a": Line(x, x)}, Axis("x", low=0, high=5), Axis("y", low=0, high=10), "t", "about")
    path = _found(r'stroke-linejoin="round" d="M([^"]+)"', chart)
    last = max(float(point.split()[0]) for point in path.split("L"))
    assert last == pytest.approx(460 - 14, abs=0.2)


def test_what_is_not_finite_interrupts_a_curve_and_nothing_else() -> None:
    chart = lines({"a": Line([1, 2, 3, 4, 5], [1, 2, np.nan, 3, np.inf])}, Axis("x"), Axis("y"), "t", "about")
    assert "nan" not in chart
    assert "inf" not in chart
    assert re.search(r'stroke-linejoin="round" d="M[^"M]+M[^"M]+"', chart)


@pytest.mark.parametrize("step", [False, True])
@pytest.mark.parametrize("marks", [False, True])
def test_a_chart_of_many_points_stays_small_and_keeps_its_peak(step: bool, marks: bool) -> None:
    rng = np.random.default_rng(0)
    y = rng.random(150_000)
    y[65_432] = 50.0
    line = Line(np.arange(len(y)), y, low=y - 0.1, high=y + 0.1, step=step, marks=marks)
    chart = lines(
        {"a": line, "b": Line(np.arange(len(y)), y / 2, step=step)},
        Axis("x"),
        Axis("y", low=0, high=50),
        "t",
        "a",
    )
    assert len(chart) < 60_000
    ys = [float(v) for v in re.findall(r"L[\d.]+ ([\d.]+)", chart)]
    assert min(ys) == pytest.approx(22, abs=1)  # the top of the plot


def test_labels_of_limits_do_not_overlap() -> None:
    limits = {f"limit number {i}": 1.0 + i / 50 for i in range(6)}
    chart = lines({"a": Line([0, 3], [0, 1])}, Axis("x", "s"), Axis("y"), "t", "about", upright=limits)
    rows = re.findall(r'class="limit-text" x="([\d.]+)" y="(\d+)">([^<]+)', chart)
    assert len(rows) == 6
    boxes = [(float(x), float(x) + 6.3 * len(text), y) for x, y, text in rows]
    for i, (start, end, y) in enumerate(boxes):
        assert all(y != other[2] or end <= other[0] or other[1] <= start for other in boxes[i + 1 :])


def test_bars_are_as_long_as_their_parts() -> None:
    chart = bars({"prefill": {"a": 0.25, "b": 0.5}, "decode": {"b": 0.75}}, "t", "about")
    wide = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', chart)]
    assert wide[1] == pytest.approx(2 * wide[0], abs=0.2)
    assert wide[2] == pytest.approx(3 * wide[0], abs=0.2)
    assert "prefill, a: 25 %" in chart


def test_hostile_names_are_text() -> None:
    bad = '<script>alert("x")</script>'
    for chart in (
        lines(
            {bad: Line([1, 2], [1, 2], marks=True, labels=[bad, bad]), "b": Line([1], [1])},
            Axis(bad),
            Axis(bad),
            bad,
            bad,
            upright={bad: 1.5},
            level={bad: 1.5},
        ),
        bars({bad: {bad: 1.0, "x": 2.0}}, bad, bad, unit=""),
    ):
        assert "<script" not in chart
        ElementTree.fromstring(chart)


def test_a_chart_stands_alone_with_scoped_colours() -> None:
    chart = standalone(lines({"a": Line([1, 2], [1, 2])}, Axis("x"), Axis("y"), "t", "about"))
    tree = ElementTree.fromstring(chart)
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    style = tree.findtext("{http://www.w3.org/2000/svg}style") or ""
    assert "prefers-color-scheme:dark" in style
    selectors = re.findall(r"([^{}@]+)\{[^{}]*\}", re.sub(r"@media[^{]+\{", "", style))
    assert all(".foretell-chart" in one for one in selectors)


def test_pages_with_sections_get_contents_and_a_skip_link() -> None:
    page = document(
        "a & b", "<h1>x</h1>" + section("one", "First & last", "<p>1") + section("two", "Second", "")
    )
    assert page.index("<nav") < page.index('<section id="one"')
    assert '<a href="#one">First &amp; last</a>' in page
    assert 'class="skip" href="#one"' in page
    assert "<nav" not in document("a", section("one", "First", ""))
