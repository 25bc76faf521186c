"""Tornadoes: bars as long as the figures say, and the light one agrees with the whole one."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from foretell.sim import Scenario
from foretell.sim.cli import main
from foretell.sim.report.sensitivity_words import headline
from foretell.sim.report.swings import counts_between, light, whole
from foretell.sim.report.tornado import light_section, tornado
from foretell.sim.report.words import lowered
from foretell.sim.sensitivity import Sensitivity, sensitivity
from paged import checked, spaced

VALUES: dict[str, Any] = {
    "workload": {
        "arrivals": {"process": "poisson", "rate_per_s": 4},
        "lengths": {"prompt": {"fixed": 900}, "output": {"fixed": 200}},
        "num_requests": 100,
    },
    "pools": {"chat": {"model": "llama-3.1-8b", "hardware": "h100-sxm", "operator_times": "curves"}},
    "objectives": {"ttft_p99": "<= 300 ms", "tpot_p99": "<= 90 ms"},
    "seed": 1,
}


@pytest.fixture(scope="module")
def found() -> Sensitivity:
    return sensitivity(Scenario.from_dict(VALUES))


def test_light_tornado_agrees_with_the_whole_one(found: Sensitivity) -> None:
    quick, full = light(found.scenario), whole(found)
    assert quick.objective == full.objective == found.nearest
    assert quick.base == pytest.approx(full.base)
    bars = {bar.label: bar for bar in quick.bars}
    assert set(bars) == {bar.label for bar in full.bars}
    for bar in full.bars:
        assert (bars[bar.label].low, bars[bar.label].high) == pytest.approx((bar.low, bar.high))
        assert (bars[bar.label].low_met, bars[bar.label].high_met) == (bar.low_met, bar.high_met)


def test_bars_are_sorted_and_as_long_as_the_figures_say(found: Sensitivity) -> None:
    told = light(found.scenario)
    spans = [abs(bar.high - bar.low) for bar in told.bars]
    assert spans == sorted(spans, reverse=True)
    widths = [float(each) for each in re.findall(r'<rect [^>]*width="([\d.]+)" height="6"', tornado(told))]
    lengths = [abs(value - told.base) for bar in told.bars for value in (bar.low, bar.high)]
    assert len(widths) == len(lengths)
    per_px = max(lengths) / max(widths)
    for width, length in zip(widths, lengths, strict=True):
        assert width == pytest.approx(max(length / per_px, 0.6), abs=0.3)


def test_limit_is_a_line_where_it_is_near_and_an_arrow_where_not(found: Sensitivity) -> None:
    limit = f"<= {2 * found.base.figures['ttft_p99_s']} s"
    near = Scenario.from_dict({**VALUES, "objectives": {"ttft_p99": limit}})
    assert 'class="limit"' in tornado(light(near))
    far = Scenario.from_dict({**VALUES, "objectives": {"ttft_p99": "<= 60 s"}})
    chart = tornado(light(far))
    assert 'class="limit"' not in chart
    assert "limit 60.0 s →" in chart


def test_without_objectives_the_latency_that_people_ask_for(found: Sensitivity) -> None:
    told = light(Scenario.from_dict({**VALUES, "objectives": {}}))
    assert told.objective.key == "ttft_p99_s"
    assert told.base == pytest.approx(found.base.figures["ttft_p99_s"])
    assert "limit" not in re.sub("<[^>]*>", " ", tornado(told))


def test_an_overloaded_deployment_shows_its_load() -> None:
    told = light(Scenario.from_dict(VALUES).replace(**{"workload.arrivals.rate_per_s": 400}))
    assert told.objective.key == "load"
    assert told.base > 1
    rate = next(bar for bar in told.bars if bar.label == "Request rate")
    assert rate.high / rate.low == pytest.approx(1.1 / 0.9, rel=1e-3)  # load is traffic over capacity


def test_where_there_is_no_closed_form_the_section_says_so() -> None:
    scenario = Scenario.from_dict(VALUES).replace(
        workload={**VALUES["workload"], "arrivals": {"process": "all_at_once"}}
    )
    with pytest.raises(ValueError) as error:
        light(scenario)
    assert "there is none" in light_section(scenario)
    assert str(error.value)


def test_page_says_the_finding_first(found: Sensitivity) -> None:
    page = checked(found.to_html())
    assert spaced(headline(found)) in page.text
    assert f"What matters most: {lowered(found.swings[0].label)}." in page.text


def test_every_input_has_its_figures(found: Sensitivity) -> None:
    rows = checked(found.to_html()).rows("inputs")
    for swing, row in zip(found.swings, rows, strict=True):
        low, high = (at.figures[found.nearest.key] for at in (swing.low, swing.high))
        assert row[:3] == [swing.label, found.nearest.show(low), found.nearest.show(high)]
        assert row[3] == counts_between(swing.low.replicas, swing.high.replicas)
        assert math.isfinite(float(row[5]))


def test_command_writes_the_page_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.json").write_text(json.dumps(VALUES), encoding="utf-8")
    done = CliRunner().invoke(main, ["sensitivity", "s.json", "--input", "request_rate", "--html", "r.html"])
    assert done.exit_code == 0
    assert checked((tmp_path / "r.html").read_text(encoding="utf-8")).rows("inputs")[0][0] == "Request rate"
    done = CliRunner().invoke(main, ["sensitivity", "s.json", "--input", "nothing", "--html", "other.html"])
    assert done.exit_code == 2
    assert not (tmp_path / "other.html").exists()
