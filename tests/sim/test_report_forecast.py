"""The page of a forecast: its figures are the forecast's, it needs nothing else, and it is small."""

from __future__ import annotations

import html
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from foretell.sim import Scenario, forecast
from foretell.sim.cli import main
from foretell.sim.closed_form import forecast_closed_form
from foretell.sim.forecasting import Forecast
from foretell.sim.report.told import FIGURES, headline
from foretell.sim.report.words import of_runs, ranges
from reported import forecasted

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("**/*.yaml"))
LIMIT = 500_000
VOID = {"meta", "br", "path", "rect", "circle", "line", "stop", "use"}


class Page(HTMLParser):
    """Tags in order, ids, and text without what is drawn or styled."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


def _scenario(**changes: Any) -> Scenario:
    values = {
        "workload": {
            "arrivals": {"process": "poisson", "rate_per_s": 8},
            "lengths": {"prompt": {"fixed": 300}, "output": {"geometric": 60}},
            "num_requests": 150,
        },
        "pools": {
            "main": {
                "step_cost": "affine:0.006,1e-5",
                "price_usd_per_h": 2.0,
                "engine": {"max_num_seqs": 16, "num_gpu_blocks": 400},
            }
        },
        "objectives": {"ttft_p99": "<= 300 ms", "e2e_p90": "<= 100 ms"},
        "replications": 4,
    }
    return Scenario.from_dict(values).replace(**changes)


@pytest.fixture(scope="module")
def small() -> Forecast:
    return forecast(_scenario())


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.DOTALL)
    assert match is not None
    return match[1]


def _check(page: str) -> Page:
    """What every page must keep."""
    found = Page(page)
    assert found.open == []
    assert found.tags[0] == ("html", {"lang": "en"})
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    for tag, attrs in found.tags:
        assert tag not in ("script", "link", "iframe", "img", "object")
        assert "src" not in attrs
        href = attrs.get("href") or ""
        if tag == "a":
            assert href.startswith(("#", "https://"))
        if href.startswith("#"):
            assert href[1:] in ids
        if tag == "svg" and "aria-hidden" not in attrs:
            assert attrs["role"] == "img"
            assert attrs["aria-label"]
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page
    charts = re.findall(r'<svg [^>]*role="img".*?</svg>', page, re.DOTALL)
    assert charts
    for chart in charts:
        said = html.unescape(_found(r"<desc>(.*?)</desc>", chart))
        assert re.search(r"\d", said), said
        assert len(chart) < 200_000
    for table in re.findall(r"<table.*?</table>", page, re.DOTALL):
        assert "<th scope=row>" in table
        assert "<caption>" in table
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page).lower().split()
    return found


def test_the_answer_stands_first_and_the_figures_are_the_forecasts(small: Forecast) -> None:
    page = _check(small.to_html())
    text = page.text
    said = headline(small).replace("<=", "≤")
    assert text.index(said) < text.rindex("How long requests take")
    for key, label, shown, unit in FIGURES:
        found = small.summary.get(key)
        if found is not None and math.isfinite(found.value) and "per_accelerator" not in key:
            assert f"{label.strip(' -')} {shown(found.value)}{unit}" in text, key
    for verdict in small.verdicts:
        assert verdict.objective.show(verdict.value) in text
    met, missed = small.verdicts
    assert f"{met.objective.name}: met" in text
    assert f"{missed.objective.name}: missed" in text


def test_notes_stand_with_the_answer() -> None:
    slow = forecast(_scenario(**{"workload.arrivals.rate_per_s": 200, "workload.num_requests": 400}))
    assert any(note.startswith("overloaded") for note in slow.notes)
    answer = slow.to_html().split('<section id="latency"')[0]
    for note in slow.notes:
        assert html.escape(note[1:]).replace("\u00a0", " ") in answer.replace("\u00a0", " ")


def test_equal_scenarios_give_equal_pages(small: Forecast) -> None:
    assert forecast(_scenario()).to_html() == small.to_html()


def test_hostile_names_are_text() -> None:
    bad = "<img src=x onerror=alert(1)>"
    pool = _scenario().to_dict()["pools"]["main"]
    result = forecast(_scenario(pools={bad: pool | {"replicas": 2}}, objectives={}, replications=1))
    page = result.to_html()
    assert "<img" not in page
    assert html.escape(bad) in page
    _check(page)


def test_what_a_closed_form_has_is_on_its_page() -> None:
    closed = forecast_closed_form(_scenario(), draws=4)
    text = _check(closed.to_html()).text
    assert headline(closed).replace("<=", "≤") in text
    assert "--method closed_form" in text
    assert "nothing changes over time" in text


def test_the_scenario_on_the_page_is_the_scenario(small: Forecast) -> None:
    import yaml

    page = small.to_html()
    block = _found(r'aria-label="Scenario"><pre[^>]*>(.*?)</pre>', page)
    assert Scenario.from_dict(yaml.safe_load(html.unescape(block))) == small.scenario


def test_a_page_is_written_whole_or_not_at_all(small: Forecast, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    assert small.to_html(str(target)) == target.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be written"):
        small.to_html(str(tmp_path / "missing" / "page.html"))
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def _run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="foretell")


_FLAGS = ("forecast", "--step-cost", "constant:0.01", "--num-prompts", 20, "--replications", 2,
          "--input-len", 50, "--output-len", 10, "--request-rate", 5)  # fmt: skip


def test_the_command_writes_page_timeline_and_json(tmp_path: Path) -> None:
    page, timeline, figures = (tmp_path / name for name in ("a.html", "t.json", "f.json"))
    done = _run(*_FLAGS, "--html", page, "--timeline", timeline, "--json", figures)
    assert done.exit_code == 0, done.output
    _check(page.read_text(encoding="utf-8"))
    assert timeline.read_text(encoding="utf-8").startswith('{"otherData"')
    again = tmp_path / "b.html"
    _run(*_FLAGS, "--html", again)
    assert again.read_bytes() == page.read_bytes()


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--html", "scenario.yaml"), "looks like a scenario"),
        (("--html", "-"), "a page is for a file"),
        (("--html", "x.json", "--json", "x.json"), "is the file of --json too"),
        (("--html", "x.html", "--timeline", "x.html"), "is the file of --html too"),
        (("--timeline", "-"), "name a file"),
        (("--html", "nowhere/x.html"), "no such folder"),
        (("--timeline", "x.json", "--method", "closed_form"), "no course of events"),
    ],
)
def test_files_that_cannot_be_meant_are_refused(
    flags: tuple[str, ...], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = _run(*_FLAGS, *flags)
    assert done.exit_code == 2
    assert why in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_has_a_page(path: Path) -> None:
    try:
        result = forecast(Scenario.load(path).replace(replications=2), processes=1)
    except ValueError as error:  # made for `compare`
        pytest.skip(str(error))
    page = result.to_html()
    _check(page)
    assert len(page.encode()) < LIMIT


@pytest.mark.slow
@pytest.mark.parametrize(("replicas", "requests"), [(64, 10_000), (1, 40_000)])
def test_a_large_run_has_a_page_that_one_can_send(replicas: int, requests: int) -> None:
    chat = Scenario.load(EXAMPLES[[path.stem for path in EXAMPLES].index("chat")])
    changes = {
        "pools.chat.replicas": replicas,
        "workload.num_requests": requests,
        "workload.arrivals.rate_per_s": 3.0 * replicas,
        "replications": 1,
    }
    page = forecast(chat.replace(**changes), processes=1).to_html()
    _check(page)
    assert len(page.encode()) < 2_000_000


def test_what_is_rejected_stands_in_the_first_line() -> None:
    result = forecasted("some rejected")
    share = float((result.run.status == 2).mean())
    assert 0 < share < 0.5
    assert f"{100 * share:.3g} % of requests are rejected" in headline(result)


def test_intervals_of_few_runs_are_not_called_more() -> None:
    assert of_runs(8).startswith("where one run lands in 9 of 10")
    assert of_runs(3) == "from the lowest to the highest of 3 runs"
    assert "draws" in ranges(8, closed_form=True)
