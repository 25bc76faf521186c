"""The picture of engines over time: its sums are the engines' own, its choices are what it says they are."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from foretell.sim.metrics import span_s
from foretell.sim.report.timeline_chart import overview, shares_over_time, single_steps
from foretell.sim.report.timeline_picture import ROWS, busiest_window, chosen, timeline_section
from foretell.sim.steps import KINDS, EngineSteps, engine_steps
from reported import SCENARIOS, forecasted, parsed, plain


@pytest.mark.parametrize("name", SCENARIOS)
def test_bins_and_idle_time_sum_to_the_run(name: str) -> None:
    result = forecasted(name)
    span = span_s(result.run)
    start = float(result.run.arrival_s.min())
    edges = np.linspace(start, start + span, 97)
    for steps, stats in zip(engine_steps(result), result.run.engines, strict=True):
        seconds = shares_over_time(steps, edges)
        after = float(
            (steps.end_s - np.maximum(steps.start_s, edges[-1])).clip(0).sum()
        )  # of calls cancelled
        assert seconds.sum() + after == pytest.approx(stats.busy_s)
        idle = np.diff(edges) - seconds.sum(axis=0)
        assert (idle >= -1e-9).all()
        assert seconds.sum() + idle.sum() == pytest.approx(span)
        for kind in range(len(KINDS)):
            own = float(steps.seconds[steps.kind == kind].sum())
            assert seconds[kind].sum() == pytest.approx(own, abs=after + 1e-9)


@pytest.mark.parametrize("name", SCENARIOS)
def test_single_steps_are_all_steps_one_after_the_other(name: str) -> None:
    for steps in engine_steps(forecasted(name)):
        every = list(single_steps(steps, -1.0, np.inf))
        assert len(every) == steps.count.sum()
        starts, ends = np.array([one[:2] for one in every]).T
        assert (ends > starts).all()
        assert (starts[1:] >= ends[:-1] - 1e-9).all()
        assert ends[-1] == pytest.approx(steps.end_s[-1])  # the cost's own steps sum to the run's
        assert (ends - starts).sum() == pytest.approx(steps.seconds.sum())
        few = list(single_steps(steps, starts[3], ends[7]))
        assert few == every[3:8]


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_section_is_sound_html_of_every_engine(name: str) -> None:
    result = forecasted(name)
    html = timeline_section(result)
    page = parsed(html)
    charts = [svg for svg in page.iter("svg") if svg.get("role") == "img"]
    assert len(charts) == 2
    for steps in engine_steps(result):
        assert steps.name in plain(html)
    for chart in charts:
        assert len(chart.findtext("desc") or "") > 40
        texts = " ".join(text.text or "" for text in chart.iter("text"))
        assert all(kind in texts for kind in (*KINDS, "idle"))
    assert "nan" not in html
    ids = re.findall(r'id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_the_table_is_the_engines_own_totals() -> None:
    result = forecasted("replicas")
    page = parsed(timeline_section(result))
    rows = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")][1:]
    span = span_s(result.run)
    for row, stats in zip(rows, result.run.engines, strict=True):
        prefill, mixed, decode, idle = (float(cell.replace(",", "")) for cell in row[1:5])
        assert prefill + mixed + decode == pytest.approx(stats.busy_s, rel=0.01)
        assert idle == pytest.approx(span - stats.busy_s, rel=0.01)
        assert row[5] == f"{100 * stats.busy_s / span:.0f} %"
        assert row[6] == f"{stats.steps:,}"


def engine(pool: str, place: int, busy_s: float, tokens: float = 1.0, at_s: float = 0.0) -> EngineSteps:
    """An engine with one step."""
    like = engine_steps(forecasted("step cost of its own"))[0]
    row = replace(like.where(np.arange(len(like)) == 0), pool=pool, place=place)
    load = row.load._replace(prefill_tokens=np.array([tokens]), decode_seqs=np.zeros(1))
    start = np.array([at_s])
    return replace(
        row, start_s=start, end_s=start + busy_s, load=load, count=np.ones(1), kind=np.zeros(1, int)
    )


def test_of_many_engines_every_pool_has_its_busiest_and_its_idlest() -> None:
    engines = [engine("a", i, 1 + (7 * i) % 60) for i in range(60)] + [
        engine("b", i, 1 + i) for i in range(3)
    ]
    kept = chosen(engines)
    assert len(kept) <= ROWS
    assert [steps.pool for steps in kept] == sorted(steps.pool for steps in kept)
    busy = {steps.seconds.sum() for steps in kept if steps.pool == "a"}
    some = len(busy)
    assert busy == {*range(1, some // 2 + 1), *range(60, 60 - (some + 1) // 2, -1)}
    assert {steps.place for steps in kept if steps.pool == "b"} == {0, 2}
    assert chosen(engines[:ROWS]) == engines[:ROWS]


def test_the_busiest_window_has_most_tokens() -> None:
    engines = [
        engine("a", 0, 1.0, tokens=10, at_s=0.0),
        engine("a", 1, 1.0, tokens=500, at_s=40.0),
        engine("a", 2, 1.0, tokens=400, at_s=70.0),
        engine("a", 3, 1.0, tokens=400, at_s=70.5),
    ]
    start, end = busiest_window(engines, 3.0)
    assert start <= 70.0
    assert end >= 71.5
    assert end - start == pytest.approx(3.0)


def test_a_row_is_as_full_as_its_engine_is_busy() -> None:
    """The areas of the picture, read back from its paths, are the shares of the time."""
    steps = engine("a", 0, 25.0)
    chart = overview([steps], 0.0, 100.0, "t", "a")
    band = re.search(
        r'<rect x="[\d.]+" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" fill="var\(--band\)', chart
    )
    path = re.search(r'<path fill="url\(#steps-o0\)" d="M([\d.]+) ([\d.]+)(.*?)Z"', chart)
    assert band is not None and path is not None
    corners = re.findall(r"([VH])([\d.]+)", path[3])
    x, y, area = float(path[1]), float(path[2]), 0.0
    for way, value in corners:  # Green's theorem
        if way == "H":
            area += y * (float(value) - x)
            x = float(value)
        else:
            y = float(value)
    assert abs(area) == pytest.approx(0.25 * float(band[2]) * float(band[3]), rel=0.02)


def test_preemptions_are_marked_where_they_happened_and_told() -> None:
    (steps,) = engine_steps(forecasted("full cache"))
    (stats,) = forecasted("full cache").run.engines
    assert len(steps.preempted_s) == stats.preemptions > 10
    chart = overview([steps], 0.0, 60.0, "t", "a")
    band = re.search(
        r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="[\d.]+" fill="var\(--band', chart
    )
    assert band is not None
    left, width = float(band[1]), float(band[2])
    _, *marked = map(int, re.findall(r"M(\d+) \d+h6l-3 6Z", chart))  # the first one is the legend's
    expected = {round(left + width * at / 60) - 3 for at in steps.preempted_s}
    assert marked == sorted(expected) and len(marked) > 10
    assert f"{stats.preemptions} times a request was preempted" in plain(
        timeline_section(forecasted("full cache"))
    )
    assert "preempted" not in timeline_section(forecasted("one engine"))
