"""The page of a plan: the answer with its commands, what was simulated, and why nothing cheaper does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from foretell.sim.cli import main
from foretell.sim.planning_verify import Plan, plan
from foretell.sim.quantities import show_number
from foretell.sim.report.plan_picture import candidates, marks
from foretell.sim.report.plan_words import headline, layout
from paged import Page, checked, spaced
from planned import chat

FIELDS = {"replicas": {"low": 1, "high": 8}, "hardware": ["h100-sxm", "l40s"]}


@pytest.fixture(scope="module")
def found() -> Plan:
    asked = chat(FIELDS, {"ttft_p99": "<= 400 ms", "tpot_p99": "<= 25 ms"}, rate=25, requests=150)
    return plan(asked, processes=1)


@pytest.fixture(scope="module")
def page(found: Plan) -> Page:
    return checked(found.to_html())


def test_answer_and_commands_come_first(found: Plan, page: Page) -> None:
    assert found.best is not None
    assert spaced(headline(found)) in page.text
    commands = [spaced(command.line) for command in found.best.commands]
    assert commands
    assert all(line in page.text for line in commands)
    assert page.text.index(commands[0]) < page.text.index("More traffic One lost")


def test_finalists_have_their_figures(found: Plan, page: Page) -> None:
    rows = page.rows("finalists")
    assert len(rows) == len(found.finalists) + len(found.others)
    for one, row in zip(found.finalists, rows, strict=False):
        assert row[0].endswith(layout(one.candidate))
        assert row[1].startswith(show_number(one.usd_per_h))
        for objective, cell in zip(("ttft_p99_s", "tpot_p99_s"), row[3:5], strict=True):
            verdict = next((v for v in one.trial.verdicts if v.objective.key == objective), None)
            assert cell == "–" if verdict is None else cell.startswith(verdict.objective.show(verdict.value))


def test_everything_that_was_tried_is_listed(found: Plan, page: Page) -> None:
    tried = [layout(c.candidate) for f in found.finalists for c in (*f.settled.failed, f.checked)]
    assert [row[0] for row in page.rows("walk")] == tried


def test_reasons_of_what_was_dropped_add_up(found: Plan, page: Page) -> None:
    counts = [int(row[1].replace(",", "")) for row in page.rows("dropped")] if found.shortlist.short else []
    assert sum(counts) == sum(found.shortlist.short.values())


def test_picture_has_every_candidate_that_was_simulated(found: Plan) -> None:
    shown = marks(found)
    simulated = {mark.told.partition(":")[0] for mark in shown if mark.simulated}
    tried = {
        layout(c.candidate).partition(":")[0] for f in found.finalists for c in (*f.settled.failed, f.checked)
    }
    assert simulated == tried
    assert sum(mark.chosen for mark in shown) == 1
    assert all(mark.met or not mark.chosen for mark in shown)
    chart = candidates(found)
    legend = len({(mark.simulated, mark.met) for mark in shown})
    assert len(re.findall(r"scale\(1\.6\)", chart)) == len(shown) + legend


def test_marks_that_fail_a_limit_lie_below_the_line(found: Plan) -> None:
    chart = candidates(found)
    limit = re.search(r'class="limit" d="M[\d.]+ ([\d.]+)H', chart)
    assert limit is not None
    line = float(limit[1])
    heights = [float(y) for y in re.findall(r"translate\([\d.]+ ([\d.]+)\) scale\(1\.6\)", chart)]
    shown = marks(found)
    drawn = sorted(
        zip(heights, sorted(shown, key=lambda mark: mark.simulated), strict=False), key=lambda p: p[0]
    )
    assert all((y <= line + 0.06) == (mark.room >= 0) for y, mark in drawn)


def test_a_plan_that_nothing_meets_says_what_comes_nearest() -> None:
    asked = chat({"replicas": [1]}, {"ttft_p99": "<= 1 ms"}, rate=2, requests=40)
    found = plan(asked, processes=1)
    page = checked(found.to_html())
    assert not found.met
    assert spaced(headline(found)) in page.text
    assert "vllm serve" not in page.text


def test_equal_plans_give_equal_bytes(found: Plan, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    assert found.to_html(target) == found.to_html() == target.read_text(encoding="utf-8")


def test_a_page_at_the_place_of_another_output_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "out"
    arguments = ["plan", "no.yaml", "--output", str(place), "--html", str(place / "plan.json")]
    place.mkdir()
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "is the file of --output's plan.json too" in done.stderr
