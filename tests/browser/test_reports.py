"""Reports in a real browser: every command's page opens, is whole, and can be read by everybody."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsing import colours, faint_texts, keep, overflow_px, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHAT = """
workload: {arrivals: {process: poisson, rate_per_s: 3.5}, lengths: sharegpt, num_requests: 200}
pools: {chat: {model: llama-3.1-8b, hardware: h100-sxm}}
objectives: {ttft_p90: <= 1 s, tpot_p99: <= 80 ms}
seed: 1
replications: 2
"""
TASK = """
workload: {task: aime24, arrivals: {process: poisson, rate_per_s: 0.01}, num_requests: 30}
pools: {solver: {model: qwen3-8b, hardware: h100-sxm}}
strategy: {name: self_consistency, n: 4}
objectives: {accuracy: ">= 0.7", e2e_p99: <= 10 min}
replications: 2
"""
COMPARE = """compare:
  strategy: [{name: single}, {name: first_finish, n: 4}, {name: self_consistency, n: 8}]
  pools.solver.hardware: [h100-sxm, l40s]
"""
PLAN = """plan:
  fields:
    pools.chat.hardware: [h100-sxm, l40s]
    pools.chat.replicas: {low: 1, high: 8}
  headroom: 10 %
"""
SWEEP = """sweep:
  workload.arrivals.rate_per_s: [1, 2, 3, 4, 5]
  pools.chat.hardware: [h100-sxm, h200]
"""
COMMANDS = {  # command → its scenario and options
    "forecast": (CHAT, []),
    "compare": (TASK + COMPARE, ["--method", "closed_form"]),
    "plan": (CHAT + PLAN, []),
    "sweep": (CHAT + SWEEP, ["--method", "closed_form"]),
    "sensitivity": (CHAT, []),
}
PAPER_PX = (717, 1046)  # A4 less margins of 1 cm, at 96 pixels an inch
# Charts without a name and a description, marks in cells without words, drawings that are neither of these
# nor ornament.
NAMELESS = """() => [...document.querySelectorAll("svg")].filter((svg) => {
  const said = (part) => svg.querySelector(`:scope > ${part}`)?.textContent.trim();
  if (svg.role !== "img") return !svg.ariaHidden;
  return svg.closest("td") ? !svg.ariaLabel : !(said("title") && said("desc"));
}).map((svg) => svg.outerHTML.slice(0, 200))"""
Reports = Callable[[str], Path]


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """The page of a command, made once."""
    folder = tmp_path_factory.mktemp("reports")

    def made(name: str) -> Path:
        page = folder / f"{name}.html"
        if not page.exists():
            scenario, options = COMMANDS[name]
            file = folder / f"{name}.yaml"
            file.write_text(scenario)
            command = [sys.executable, "-m", "foretell.sim", name, str(file), *options, "--html", str(page)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert page.exists(), done.stderr[-500:]
        return page

    return made


@pytest.fixture(params=[pytest.param(n, marks=pytest.mark.slow) for n in COMMANDS])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(browser: Browser, report: Reports, name: str) -> Iterator[Page]:
    """A report that is looked at: nothing on its console, and no request but for itself."""
    file = report(name).as_uri()
    with watched(browser, file, viewport={"width": 1280, "height": 900}) as (context, _):
        found = context.new_page()
        found.goto(file)
        yield found


def test_a_forecast_opens(browser: Browser, report: Reports) -> None:
    """The quick one: no request, no message, the answer on top, charts that are named."""
    file = report("forecast")
    assert file.stat().st_size < 2e6
    with watched(browser, file.as_uri()) as (context, _):
        page = context.new_page()
        page.goto(file.as_uri())
        assert page.locator("h1").count() == 1
        assert "Meets every objective" in page.locator("main").inner_text()[:600]
        assert page.locator("svg[role=img]").count() >= 3


def test_headings_and_pictures_are_in_order(page: Page) -> None:
    levels = page.locator("h1,h2,h3,h4").evaluate_all("all => all.map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels)), levels
    assert not page.evaluate(NAMELESS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(page: Page, scheme: str) -> None:
    """WCAG AA: 4.5 to 1, 3 to 1 for large text."""
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    assert not faint_texts(page)


def test_a_narrow_window_scrolls_one_way(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert overflow_px(page) <= 0


def test_it_prints(page: Page) -> None:
    """On A4: no chart is cut at the side, and none is higher than a sheet."""
    printed = page.pdf(format="A4", margin={"top": "1cm", "bottom": "1cm", "left": "1cm", "right": "1cm"})
    assert printed.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", printed)) >= 1
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER_PX[0], "height": PAPER_PX[1]})
    boxes = page.locator("svg[role=img]:visible").evaluate_all(
        "all => all.map((svg) => svg.getBoundingClientRect()).map((box) => [box.left, box.right, box.height])"
    )
    assert boxes
    assert all(left >= -1 and right <= PAPER_PX[0] + 1 for left, right, _ in boxes), boxes
    assert all(height <= PAPER_PX[1] for _, _, height in boxes), boxes


def test_it_shows_something(page: Page, browser: Browser, name: str, tmp_path: Path) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        image = page.screenshot(full_page=True)
        keep(image, f"{name}-{scheme}", tmp_path)
        count, commonest = colours(browser, image)
        assert count > 20 and 0.5 < commonest < 0.99
