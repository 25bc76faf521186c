"""The page of a sweep: a picture that fits the fields, every point's figures, and which have none."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from foretell.sim import Scenario
from foretell.sim.cli import main
from foretell.sim.report.heat_map import MOST, heat_map, spread
from foretell.sim.report.sweep_words import chosen
from foretell.sim.report.words import show
from foretell.sim.sweeping import Row, Sweep, sweep
from paged import checked, spaced

VALUES = {
    "workload": {
        "arrivals": {"process": "poisson", "rate_per_s": 2},
        "lengths": {"prompt": {"fixed": 500}, "output": {"fixed": 100}},
        "num_requests": 50,
    },
    "pools": {"chat": {"model": "llama-3.1-8b", "hardware": "h100-sxm", "operator_times": "curves"}},
    "objectives": {"ttft_p99": "<= 200 ms"},
    "seed": 1,
}
RATE, HARDWARE = "workload.arrivals.rate_per_s", "pools.chat.hardware"
SIZE, REPLICAS = "pools.chat.engine.max_num_seqs", "pools.chat.replicas"


def _swept(fields: dict[str, list[Any]]) -> Sweep:
    scenario = Scenario.from_dict({**VALUES, "sweep": fields})
    return sweep(scenario, method="closed_form", processes=1)


@pytest.fixture(scope="module")
def over_rate() -> Sweep:
    return _swept({RATE: [1, 2, 4, 8, 1000]})


def test_every_point_has_its_figures(over_rate: Sweep) -> None:
    page = checked(over_rate.to_html())
    names = chosen(over_rate)
    for row, told in zip(over_rate.rows, page.rows("points"), strict=True):
        assert told[0] == row.labels[RATE]
        shown = [show(name, row.figure(name).value) for name in names]
        assert [cell.split(" ")[0] for cell in told[2:]] == [text.split(" ")[0] for text in shown]


def test_curve_goes_through_the_points(over_rate: Sweep) -> None:
    """Pixels of the first picture are a logarithm and a straight line of the figures."""
    page = over_rate.to_html()
    curve = re.search(r'<path fill="none" stroke="var\(--c0\)"[^>]* d="M([^"]+)"', page)
    assert curve is not None
    path = curve[1]
    places = [tuple(map(float, each.split())) for each in path.split("L")]
    rows = [row for row in over_rate.rows if math.isfinite(row.figure("ttft_p99_s").value)]
    assert len(places) == len(rows) == 4  # at 1000/s there is no latency
    xs = [math.log(row.changes[RATE]) for row in rows]
    ys = [row.figure("ttft_p99_s").value for row in rows]
    for at, values in ((0, xs), (1, ys)):
        slope = (places[-1][at] - places[0][at]) / (values[-1] - values[0])
        for place, value in zip(places, values, strict=True):
            assert place[at] == pytest.approx(places[0][at] + slope * (value - values[0]), abs=0.11)


def test_points_without_latency_are_counted(over_rate: Sweep) -> None:
    assert "1 of 5 points have no latency, being overloaded" in checked(over_rate.to_html()).text


def test_the_answer_is_the_cheapest_point_that_meets(over_rate: Sweep) -> None:
    meeting = [row for row in over_rate.rows if row.record["met"]]
    cheapest = min(meeting, key=lambda row: row.figure("usd_per_query").value)
    text = checked(over_rate.to_html()).text
    assert f"{len(meeting)} of 5 points meet every objective" in text
    assert f"rate per s {cheapest.labels[RATE]}, at" in text


@pytest.mark.parametrize(
    ("fields", "picture"),
    [
        ({HARDWARE: ["h100-sxm", "l40s"]}, "by hardware"),
        ({REPLICAS: [1, 2], RATE: [1, 2, 4]}, "replicas 2</text>"),
        ({HARDWARE: ["h100-sxm", "l40s"], SIZE: [64, 128]}, "(light) to"),
        ({HARDWARE: ["h100-sxm", "l40s"], REPLICAS: [1, 2], RATE: [1, 2]}, "↙ better"),
    ],
)
def test_picture_fits_the_fields(fields: dict[str, list[Any]], picture: str) -> None:
    page = _swept(fields).to_html()
    checked(page)
    assert picture in page


def test_figures_asked_for_are_those_shown(over_rate: Sweep) -> None:
    page = checked(over_rate.to_html(figures=["kv_use"]))
    assert len(page.rows("points")[0]) == 3
    assert "KV cache in use over rate per s" in page.text


def test_failed_points_say_why() -> None:
    found = _swept({"pools.chat.model": ["llama-3.1-8b", "qwen3-32b"], HARDWARE: ["h100-sxm", "l4"]})
    failed = [row for row in found.rows if row.reason]
    text = checked(found.to_html()).text
    assert failed
    assert all(spaced(row.reason) in text for row in failed)
    assert f"Without a forecast: {len(failed)}" in text


def _made(count: int, text: str = "") -> Sweep:
    random.seed(count)
    rows = []
    side = math.isqrt(count)
    for i in range(count):
        value = random.uniform(0.01, 3)
        figures = {
            name: {"value": value, "low": 0.9 * value, "high": 1.1 * value}
            for name in ("ttft_p99_s", "tpot_p99_s", "utilisation", "usd_per_million_output_tokens")
        }
        met = value < 0.2
        record = {"figures": figures, "objectives": [], "met": met, "notes": [text], "reason": None}
        rows.append(Row({RATE: i % side + 1, SIZE: i // side + 1}, record))
    return Sweep(Scenario.from_dict(VALUES), "closed_form", tuple(rows))


def test_large_sweeps_stay_small_and_say_what_is_left_out() -> None:
    page = checked(_made(2025).to_html())
    assert "400 of 2,025 points, spread evenly" in page.text
    assert "so many are drawn as can be told apart" in page.text


def test_text_is_escaped() -> None:
    text = '<img alt="x">&'
    page = _made(4, text).to_html()
    assert "<img" not in page
    assert text in checked(page).text


def test_heat_map_fills_with_the_figure() -> None:
    cells = {("a", "x"): 1.0, ("b", "x"): 2.0, ("a", "y"): 3.0, ("b", "y"): math.inf}
    chart = heat_map(
        cells, ["a", "b"], ["x", "y"], ("f", "g"), "ttft_p99_s", "t", missed=frozenset([("a", "y")])
    )
    fills = [float(each) for each in re.findall(r'fill-opacity="([\d.]+)"', chart)]
    assert len(fills) == 3  # what is not finite stays empty
    low, high, middle = fills[0], fills[1], fills[2]  # by columns, from below
    assert low < middle < high
    assert "× 3.00 s" in chart


def test_spread_keeps_both_ends() -> None:
    values = [str(i) for i in range(100)]
    kept = spread(values)
    assert len(kept) == MOST
    assert (kept[0], kept[-1]) == ("0", "99")
    assert spread(values[:MOST]) == values[:MOST]


def test_equal_results_give_equal_bytes(over_rate: Sweep, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    again = _swept({RATE: [1, 2, 4, 8, 1000]})
    assert again.to_html(target) == over_rate.to_html() == target.read_text(encoding="utf-8")


def test_command_writes_the_page(tmp_path: Path) -> None:
    file = tmp_path / "scenario.json"
    file.write_text(json.dumps(VALUES), encoding="utf-8")
    target = tmp_path / "report.html"
    arguments = ["sweep", str(file), "--set", f"{RATE}=1,2", "--method", "closed_form", "--html", str(target)]
    assert CliRunner().invoke(main, [*arguments, "--processes", "1"]).exit_code == 0
    assert len(checked(target.read_text(encoding="utf-8")).rows("points")) == 2
    done = CliRunner().invoke(main, [*arguments[:-1], str(file)])
    assert done.exit_code == 2
    assert "is the file of the scenario too" in done.stderr
