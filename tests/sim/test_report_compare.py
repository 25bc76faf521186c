"""The page of a comparison: its figures are the comparison's, its frontier is the Pareto frontier."""

from __future__ import annotations

import json
import math
import pickle
import random
import re
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

import places
from foretell.sim import Scenario
from foretell.sim.cli import main
from foretell.sim.comparing import Compared, Comparison, compare, difference
from foretell.sim.comparing_grid import Cell
from foretell.sim.forecasting import Verdict
from foretell.sim.intervals import Estimate
from foretell.sim.objectives import objectives_from_mapping
from foretell.sim.report.axes import Axis
from foretell.sim.report.comparison_page import pictured, points
from foretell.sim.report.comparison_words import headline, name
from foretell.sim.report.names import Box, placed_names
from foretell.sim.report.pareto_front import Point, front, on_front
from foretell.sim.report.words import show, signed
from paged import Page, checked, spaced

VALUES = {
    "workload": {
        "task": "aime24",
        "arrivals": {"process": "poisson", "rate_per_s": 0.01},
        "num_requests": 20,
    },
    "pools": {"solver": {"model": "qwen3-4b", "hardware": "h100-sxm", "operator_times": "curves"}},
    "strategy": {"name": "single"},
    "objectives": {"accuracy": ">= 0.7", "e2e_p99": "<= 30 min"},
    "compare": {
        "strategy": [{"name": "single"}, {"name": "self_consistency", "n": 4}],
        "pools.solver.model": ["qwen3-4b", "qwen3-14b", "qwen3-32b"],
        "pools.solver.hardware": ["h100-sxm", "l40s"],
    },
    "seed": 1,
    "replications": 4,
}


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(Scenario.from_dict(VALUES), method="closed_form")


@pytest.fixture(scope="module")
def page(comparison: Comparison) -> Page:
    return checked(comparison.to_html())


def test_answer_comes_first_and_is_the_comparisons(comparison: Comparison, page: Page) -> None:
    told = headline(comparison)
    assert comparison.best is not None
    assert spaced(told) in page.text
    assert page.text.index(spaced(told)) < page.text.index("Large marks")
    for verdict, row in zip(comparison.best.verdicts, page.rows(""), strict=True):
        assert row[0] == str(verdict.objective)
        assert row[1] == verdict.objective.show(verdict.value)


def test_every_cell_has_its_figures(comparison: Comparison, page: Page) -> None:
    told = [cell for cell in comparison.cells if not cell.reason]
    rows = page.rows("cells")
    assert len(rows) == len(told)
    for cell, row in zip(told, rows, strict=True):
        assert row[0].endswith(name(cell))
        accuracy = show("accuracy", cell.value("accuracy"))
        assert any(each.startswith(accuracy) for each in row[2:])
        late = cell.value("e2e_p99_s")
        assert any(each.startswith(show("e2e_p99_s", late)) for each in row[2:]) or math.isnan(late)


def test_differences_are_taken_run_by_run(comparison: Comparison, page: Page) -> None:
    first = comparison.cells[0]
    rows = page.rows("against")
    assert rows
    by_name = {name(cell): cell for cell in comparison.cells}
    for row in rows:
        found = difference(by_name[row[0]].summary["accuracy"], first.summary["accuracy"])
        assert row[1].startswith(signed("accuracy", found.value))


def test_failed_cells_say_why(comparison: Comparison, page: Page) -> None:
    failed = [cell for cell in comparison.cells if cell.reason]
    assert failed
    for cell in failed:
        assert spaced(cell.reason) in page.text
        assert name(cell) in page.text


def test_picture_joins_what_nothing_dominates(comparison: Comparison) -> None:
    for x, y in pictured(comparison):
        drawn = points(comparison, x, y)
        sign = [-1 if each == "accuracy" else 1 for each in (x, y)]
        at = [(sign[0] * p.x, sign[1] * p.y) for p in drawn]
        dominated = [
            any(b[0] <= a[0] and b[1] <= a[1] and b != a for b in at) for a in at
        ]  # by the definition, one pair after another
        better = ("max" if x == "accuracy" else "min", "max" if y == "accuracy" else "min")
        assert on_front(drawn, better) == [not each for each in dominated]


def test_all_frontiers_cells_keep_up(comparison: Comparison) -> None:
    shown = points(comparison, "e2e_p99_s", "accuracy")
    kept = sum(point.kept for point in shown)
    assert kept == sum(comparison.frontier)


def test_picture_draws_each_point_once() -> None:
    random.seed(4)
    drawn = [Point(random.random(), random.random(), f"p{i}") for i in range(60)]
    chart = front(drawn, Axis("x"), Axis("y"), "t", "a")
    on = sum(on_front(drawn, ("min", "max")))
    legend = 2  # one large mark, one small one
    assert len(re.findall(r"scale\(1.55\)", chart)) == on + legend - 1
    assert chart.count('fill-opacity=".38"') == len(drawn) - on + legend - 1
    assert front(drawn, Axis("x"), Axis("y"), "t", "a") == chart


@pytest.mark.parametrize("better", [("min", "max"), ("max", "max"), ("min", "min"), ("max", "min")])
def test_stairs_stay_behind_every_point(better: tuple[str, str]) -> None:
    """The joined frontier is what can be had: no point lies beyond it, whichever way is better."""
    random.seed(1)
    drawn = [Point(random.random(), random.random()) for _ in range(40)]
    chart = front(drawn, Axis("x"), Axis("y"), "t", "a", better=better)
    drawn_path = re.search(r'<path d="M([^"]+)" fill="none" stroke="var\(--text\)"', chart)
    assert drawn_path is not None
    path = drawn_path[1]
    corners = [tuple(map(float, each.split())) for each in path.split("L")]
    marks = [tuple(map(float, m)) for m in re.findall(r"translate\(([\d.]+) ([\d.]+)\) scale\(1.55\)", chart)]
    assert marks and {(round(x, 1), round(y, 1)) for x, y in marks} <= set(corners)
    down = better[1] == "min"  # pixels grow downwards
    for (x0, y0), (x1, y1) in pairwise(corners):
        assert x0 == x1 or y0 == y1
        for x, y in marks:
            if min(x0, x1) < x < max(x0, x1):
                assert y <= max(y0, y1) + 0.11 if down else y >= min(y0, y1) - 0.11


def test_names_touch_nothing() -> None:
    random.seed(7)
    room = Box(40, 20, 460, 300)
    places = [(random.uniform(60, 440), random.uniform(40, 280)) for _ in range(25)]
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    wanted = [(at, f"strategy n={i}, model {i % 3}b") for i, at in enumerate(places)]
    parts = [part for part in placed_names(wanted, taken, places, room) if part.startswith("<text")]
    boxes = []
    for part in parts:
        rows = re.findall(r'x="([\d.]+)" y="([\d.]+)">([^<]*)', part)
        x, top = float(rows[0][0]), float(rows[0][1]) - 9
        boxes.append(Box(x, top, x + 6 * max(len(text) for *_, text in rows), float(rows[-1][1]) + 1))
    assert len(boxes) > 8
    assert all(box.within(room) for box in boxes)
    assert not any(a.touches(b) for i, a in enumerate(boxes) for b in (*boxes[:i], *taken))


def _made(count: int, text: str = "") -> Comparison:
    """Many cells with made-up figures."""
    random.seed(count)
    scenario = Scenario.from_dict(VALUES)
    goals = objectives_from_mapping(scenario.objectives)

    def estimate(value: float) -> Estimate:
        return Estimate(value, 0.9 * value, 1.1 * value, tuple(value * (0.9 + 0.05 * i) for i in range(4)))

    cells = []
    for i in range(count):
        summary = {
            "accuracy": estimate(random.uniform(0.3, 0.9)),
            "e2e_p99_s": estimate(random.uniform(10, 4000)),
            "usd_per_query": estimate(random.uniform(0.01, 0.3)),
        }
        verdicts = tuple(
            Verdict(goal, summary[goal.key].value, goal.met(summary[goal.key].value), 0.5) for goal in goals
        )
        changes = {"strategy": {"name": f"{text}s{i % 5}"}, "strategy.n": i}
        cells.append(Compared(Cell(changes, scenario), summary, verdicts))
    return Comparison(scenario, "simulate", "usd_per_query", tuple(sorted(cells, key=lambda c: not c.met)))


def test_large_comparisons_stay_small_and_say_what_is_left_out() -> None:
    page = checked(_made(2000).to_html())
    assert "of 2,000 cells" in page.text
    assert 300 <= len(page.rows("cells")) < 400


def test_text_of_users_is_escaped() -> None:
    text = '<script>alert("&")</script>'
    page = _made(12, text).to_html()
    assert "<script" not in page
    assert text in checked(page).text


def test_equal_results_give_equal_bytes(comparison: Comparison, tmp_path: Path) -> None:
    other = pickle.loads(pickle.dumps(comparison))
    target = tmp_path / "report.html"
    assert other.to_html(target) == comparison.to_html() == target.read_text(encoding="utf-8")


def test_command_writes_page_and_tables(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    arguments = [
        "compare",
        str(places.example("reasoning.yaml")),
        "--method",
        "closed_form",
        "--html",
        str(target),
        "--json",
    ]
    done = CliRunner().invoke(main, arguments)
    best = json.loads(done.stdout)["cells"][0]
    assert done.exit_code == 0
    assert ", ".join(best["labels"].values()) in checked(target.read_text(encoding="utf-8")).text


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--html", "page.yaml"], "--html page.yaml: looks like a scenario"),
        (["--html", "-"], "--html -: a page is for a file"),
        (["--html", "out.json", "--json", "out.json"], "--html out.json: is the file of --json too"),
        (["--html", "out/cells.csv", "--output", "out"], "is the file of --output's cells.csv too"),
        (["--html", "nowhere/page.html"], "no such folder"),
        (["--html", "out"], "it is a folder"),
    ],
)
def test_pages_that_cannot_be_written_are_refused_before_anything_is_done(
    extra: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    done = CliRunner().invoke(
        main, ["compare", str(places.example("reasoning.yaml")), "--method", "closed_form", *extra]
    )
    assert done.exit_code == 2
    assert said in done.stderr
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "out"]
