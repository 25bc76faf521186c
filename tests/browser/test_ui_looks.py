"""How the what-if page looks: readable, whole on narrow screens and large type, and never blank."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from browsing import colours, faint_texts, keep, overflow_px, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
Scheme = Literal["light", "dark"]
TASK = ".segments span:has-text('A task')"


def test_faint_text_would_be_found(browser: Browser) -> None:
    """What the next tests rest on: texts of known contrast, on grounds that lie over one another."""
    with browser.new_context() as context:
        page = context.new_page()
        page.set_content(
            """<body style="background:#fff"><p style="color:#777">4.48</p><p style="color:#767676">4.54</p>
            <div style="background:rgb(0 0 0/.5)"><p style="color:#fff">3.95</p></div>
            <p style="color:#949494;font-size:24px">3.03</p><p style="color:#969696;font-size:24px">2.96</p>
            <svg width="99" height="30"><rect width="99" height="30" fill="#000"/>
            <text x="9" y="20" fill="#fff">21</text><text x="50" y="20" fill="#333">1.7</text></svg></body>"""
        )
        found = [line.split()[1] for line in faint_texts(page)]
    assert found == ["4.48", "3.95", "2.96", "1.7"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(ui: Page, scheme: Scheme) -> None:
    """WCAG AA, with folds open, an objective missed, a task's charts, and the windows."""
    ui.emulate_media(color_scheme=scheme)
    assert not faint_texts(ui)
    ui.locator("summary").evaluate_all("all => all.forEach((one) => { one.parentElement.open = true; })")
    ui.fill("#limit-tpot_p99", "1 ms")
    ui.keyboard.press("Enter")
    ui.wait_for_selector("#answer[aria-busy=false]")
    assert not faint_texts(ui)
    ui.locator(TASK).click()
    ui.wait_for_selector("#answer[aria-busy=false]")
    assert not faint_texts(ui)
    ui.get_by_role("button", name="YAML").click()
    assert not faint_texts(ui)


@pytest.mark.parametrize(
    ("width", "scheme"), [(1366, "light"), (1366, "dark"), (820, "light"), (390, "dark")]
)
def test_it_fits_its_window(
    browser: Browser, server: str, width: int, scheme: Scheme, tmp_path: Path
) -> None:
    size = {"width": width, "height": 844}
    with watched(browser, server, viewport=size, color_scheme=scheme) as (context, _):
        page = context.new_page()
        page.goto(server)
        page.wait_for_selector("#answer[aria-busy=false]")
        assert overflow_px(page) <= 0
        image = page.screenshot(full_page=True)
        keep(image, f"ui-{width}-{scheme}", tmp_path)
        count, commonest = colours(browser, image)
        assert count > 50 and 0.5 < commonest < 0.98
        page.locator(TASK).click()
        page.wait_for_selector("#answer[aria-busy=false]")
        assert overflow_px(page) <= 0


def test_large_type(browser: Browser, server: str) -> None:
    """At 200 % of the type's size nothing is lost at the side: a window half as wide."""
    with watched(browser, server, viewport={"width": 640, "height": 400}, device_scale_factor=2) as found:
        page = found[0].new_page()
        page.goto(server)
        page.wait_for_selector("#answer[aria-busy=false]")
        assert overflow_px(page) <= 0


def test_nothing_moves_for_those_who_want_no_motion(ui: Page) -> None:
    ui.emulate_media(reduced_motion="reduce")
    moving = ui.evaluate(
        """() => [...document.querySelectorAll("*")].map((one) => getComputedStyle(one))
        .filter((style) => style.transitionDuration !== "0s" || style.animationName !== "none").length"""
    )
    assert not moving
