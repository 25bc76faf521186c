"""Simulations asked for on the what-if page: watched, cancelled, and their reports opened."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def small(page: Page, requests: int, replications: int) -> None:
    page.fill("#f-workload-num_requests", str(requests))
    page.fill("#f-replications", str(replications))
    page.keyboard.press("Tab")
    page.wait_for_selector("#answer[aria-busy=false]")


def test_a_simulation_is_watched_and_its_report_opened(ui: Page) -> None:
    small(ui, 300, 3)
    ui.evaluate(
        """() => {
          window.seen = [];
          new MutationObserver(() => window.seen.push(document.getElementById("progress").value))
            .observe(document.getElementById("progress"), { attributes: true });
        }"""
    )
    ui.get_by_role("button", name="Simulate", exact=True).click()
    ui.wait_for_selector("#progress-text a")
    seen = ui.evaluate("window.seen")
    assert len(set(seen)) > 2 and max(seen) <= 1  # it moved
    beside = ui.locator('[data-figure="ttft_p50_s"] .beside').inner_text()
    assert re.fullmatch(r"simulated [\d.,]+ m?s", beside)
    with ui.context.expect_page() as opened:
        ui.get_by_role("link", name="Open the full report").click()
    report = opened.value
    report.wait_for_load_state()
    assert report.locator("h1").count() == 1
    assert report.locator("svg[role=img]").count() >= 3
    report.close()
    ui.select_option("#f-pools-chat-hardware", label="h200")  # another question: that answer is gone
    ui.wait_for_selector("#answer[aria-busy=false]")
    assert ui.locator(".beside").count() == 0


def test_a_simulation_is_cancelled(ui: Page) -> None:
    small(ui, 20_000, 8)
    ui.get_by_role("button", name="Simulate", exact=True).click()
    ui.get_by_role("button", name="Cancel").click()
    ui.wait_for_selector("#progress-text:has-text('Cancelled')")
    assert ui.get_by_role("button", name="Simulate", exact=True).is_visible()
    small(ui, 100, 1)  # the server is free for the next
    ui.get_by_role("button", name="Simulate", exact=True).click()
    ui.wait_for_selector("#progress-text a")
