"""The page of evidence as a browser gets it, and the command that makes it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import foretell.validate.evidence_gather as gathering
from evidence_summaries import CLIENT, CORPUS, ENERGY, KV, OPERATORS, PAPERS, RUNS, SCHEDULER, SERVED, SILICON
from foretell.validate.charts import Points
from foretell.validate.cli import plain
from foretell.validate.cli_report import report_command
from foretell.validate.evidence import Made, NotRun, Scatter, Section, missed
from foretell.validate.evidence_gather import gather
from foretell.validate.evidence_kinds import KINDS, Inputs
from foretell.validate.evidence_page import LARGEST, page
from foretell.validate.theory_tables import theory_summary
from frontier_groups import FRONTIER
from theory_sample import sample

MADE = Made("2026-11-21", "foretell 0.1.0, vLLM 0.32.0", "2 cores", "from x.json")
FILES: dict[str, Any] = {
    "scheduler": SCHEDULER,
    "corpus": CORPUS,
    "runs": RUNS,
    "served": SERVED,
    "client": CLIENT,
    "silicon": SILICON,
    "frontier": FRONTIER,
    "operators": OPERATORS,
    "energy": ENERGY,
    "kv": KV,
    "papers": PAPERS,
    "theory": plain(theory_summary(sample())),
}
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Parts(HTMLParser):
    """What is open, every heading's level, ids, and where links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.levels: list[int] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.unnamed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.seen.add(tag)
        self.open += [] if tag in VOID else [tag]
        self.levels += [int(tag[1])] if re.fullmatch(r"h\d", tag) else []
        self.ids |= {given["id"] or ""} if "id" in given else set()
        self.links |= {given["href"] or ""} if "href" in given else set()
        if tag == "svg" and not (
            given.get("aria-hidden") or (given.get("role") == "img" and given.get("aria-label"))
        ):
            self.unnamed.append(str(given))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def sections() -> list[tuple[Section, Made]]:
    return [(kind.build(FILES[kind.key]), MADE) for kind in KINDS]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    for name, value in FILES.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def run(*args: object) -> Any:
    return CliRunner().invoke(report_command, [*map(str, args)])


def verdict(html: str) -> str:
    """The text of the page's first section."""
    part = html[html.index('<section id="verdict"') : html.index("</section>")]
    return unescape(re.sub(r"<[^>]+>", " ", part))


def test_the_page_is_whole_loads_nothing_and_escapes(sections: list[tuple[Section, Made]]) -> None:
    html = page(sections, [NotRun("Theory <x>", "no command & none", "")])
    parts = Parts()
    parts.feed(html)
    assert not parts.open
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(parts.seen)
    assert not re.search(r"https?:|url\(|@import|src=|//", html)
    assert all(link.startswith("#") and link[1:] in parts.ids for link in parts.links)
    assert "preemption &lt;twice&gt;" in html
    assert "engine&#x27;s &lt;process&gt;" in html
    assert "Theory &lt;x&gt;" in html
    assert "r&lt;2&gt;" in html


def test_the_page_can_be_read_aloud_printed_and_in_the_dark(sections: list[tuple[Section, Made]]) -> None:
    html = page(sections, [])
    parts = Parts()
    parts.feed(html)
    assert 'lang="en"' in html
    assert not parts.unnamed
    assert parts.levels[0] == 1
    assert parts.levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(parts.levels, parts.levels[1:], strict=False))
    assert html.count("<table") == html.count('class="scroll" tabindex="0" role="region"')
    assert "prefers-color-scheme:dark" in html
    assert "@media print" in html


def test_every_figure_that_was_given_is_on_the_page(sections: list[tuple[Section, Made]]) -> None:
    html = unescape(page(sections, []))
    for section, _ in sections:
        told = [section.answer, section.claim, section.command, section.source, *section.how, *section.absent]
        told += [text for one in section.checks for text in (one.name, one.asked, one.reached)]
        told += [cell for grid in section.grids for row in grid.rows for cell in (grid.caption, *row)]
        told += [label for chart in section.charts for one in chart.series.values() for label in one.labels]
        drawn = {label for c in section.charts for p in c.series.values() for label in p.labels}
        assert not [text for text in told if text not in html and text not in drawn]
        assert not [text for text in drawn if text not in html]
    assert "foretell 0.1.0, vLLM 0.32.0" in html


def test_no_miss_can_be_hidden_from_the_verdict(sections: list[tuple[Section, Made]]) -> None:
    said = verdict(page(sections, []))
    checks = [one for section, _ in sections for one in section.checks]
    for section, _ in sections:
        assert any(missed(section))
        assert not [line for line in section.misses if line not in said]
    for one in checks:
        assert (f"{one.name} {one.reached} (asked {one.asked})" in said) is (one.met is False)
    assert f"{sum(one.met is False for one in checks)} missed" in said


def test_the_verdict_says_what_is_not_on_the_page(sections: list[tuple[Section, Made]]) -> None:
    absent = NotRun("Papers", "no command yet", "foretell validate papers")
    html = page(sections[:1], [absent])
    assert "Not on this page: Papers" in verdict(html)
    tail = html[html.index('id="not-run"') :]
    assert "no command yet" in tail
    assert "foretell validate papers" in tail


def test_the_page_stays_small_with_many_points(sections: list[tuple[Section, Made]]) -> None:
    values = np.geomspace(1e-3, 1e2, 40_000)
    many = Points(values, values, [f"request {n} of a run with a name" for n in range(len(values))])
    section = replace(sections[0][0], charts=[Scatter(f"chart {n}", {"all": many}) for n in range(30)])
    assert len(page([(section, MADE)], []).encode()) <= LARGEST


def test_the_command_takes_files_and_says_what_is_not_there(results: Path, tmp_path: Path) -> None:
    (results / "silicon.json").unlink()
    done = run("--html", tmp_path / "e.html", "--results", results, "--quick", "--json")
    assert done.exit_code == 0, done.output
    html = (tmp_path / "e.html").read_text(encoding="utf-8")
    assert "run it with --full" in html
    assert "foretell validate silicon --json &gt; silicon.json" in html
    found = json.loads(done.stdout)
    assert list(found["sections"]) == [kind.key for kind in KINDS if kind.key != "silicon"]
    assert [one["title"] for one in found["not_run"]] == ["Whole servers on GPUs"]
    assert found["sections"]["served"]["misses"]


def test_files_that_say_when_and_with_what_are_told_so(results: Path) -> None:
    made = {"date": "2026-01-02", "versions": "foretell 9", "machine": "a pocket calculator"}
    (results / "kv.json").write_text(json.dumps({"made": made, "found": KV}), encoding="utf-8")
    (results / "scheduler-031.json").write_text(json.dumps(SCHEDULER | {"vllm_version": "0.31.0"}))
    told = {section.key: made for section, made in gather(results, Inputs(), "seconds")[0]}
    assert told["kv"] == Made("2026-01-02", "foretell 9", "a pocket calculator", "from kv.json")
    assert told["client"].machine == "2 cores"
    assert told["scheduler"].versions == "vLLM 0.31.0; vLLM 0.32.0"


def test_what_was_run_is_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(inputs: Inputs) -> Any:
        raise ValueError("its inputs are not there")

    kinds = [replace(kind, run=(lambda inputs: KV) if kind.key == "kv" else absent) for kind in KINDS]
    monkeypatch.setattr(gathering, "KINDS", kinds)
    done = run("--json", "--quick", "--save", tmp_path)
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["kv.json"]
    first = json.loads(done.stdout)
    again = json.loads(run("--json", "--quick", "--results", tmp_path).stdout)
    assert list(first["sections"]) == ["kv"]
    assert first["sections"]["kv"]["misses"] == again["sections"]["kv"]["misses"]
    assert again["sections"]["kv"]["made"]["origin"] == "from kv.json"
    assert "its inputs are not there" in {one["reason"] for one in first["not_run"]}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("kv.json", "{", "not a JSON file"),
        ("kv.json", "{}", "kv.json: not what `foretell validate kv --json` makes (no 'summary')"),
        ("operators.json", "{}", "operators.json: not what"),
        ("runs.json", "[1]", "runs.json: not what"),
    ],
)
def test_a_wrong_file_is_one_line_and_nothing_is_written(
    results: Path, tmp_path: Path, name: str, text: str, said: str
) -> None:
    (results / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        run_raw("--html", tmp_path / "e.html", "--results", results, "--quick")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "--html FILE says"),
        (["--json", "--quick", "--full"], "only one of them"),
        (["--json", "--vllm-python", "python"], "--vllm-python: is for --full"),
        (["--html", "no/such/e.html"], "does not exist"),
        (["--json", "--results", "nowhere"], "--results: nowhere is not a folder"),
        (["--json", "--save", "nowhere"], "--save: nowhere is not a folder"),
    ],
)
def test_wrong_options_are_refused(args: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        run_raw(*args)


def run_raw(*args: object) -> None:
    """The command without what turns its error into an exit code."""
    report_command.main([str(arg) for arg in args], standalone_mode=False)
