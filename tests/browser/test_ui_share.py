"""Ways into the what-if page and out of it: links, YAML, vllm serve lines, files that are dropped."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsing import Watch, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


def answered(page: Page) -> None:
    page.wait_for_selector("#answer[aria-busy=false]")


def test_a_link_opens_the_same_question_elsewhere(ui: Page, browser: Browser, server: str) -> None:
    ui.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ui.select_option("#f-pools-chat-hardware", label="h200")
    ui.fill("#f-workload-arrivals-rate_per_s-exact", "7")
    answered(ui)
    ui.get_by_role("button", name="Copy link").click()
    ui.wait_for_selector("#said:has-text('Link copied')")
    link = ui.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{server}/#s=")
    asked: list[str] = []
    with watched(browser, server) as (context, _):
        other = context.new_page()
        other.on("request", lambda request: asked.append(request.url))
        other.goto(link)
        answered(other)
        assert other.locator("#subject").inner_text() == ui.locator("#subject").inner_text()
        assert "h200" in other.locator("#subject").inner_text()
    assert not [url for url in asked if "#" in url or "s=" in url]  # the server never sees it


def test_the_address_is_the_question_and_survives_a_reload(ui: Page) -> None:
    ui.select_option("#f-pools-chat-hardware", label="l40s")
    answered(ui)
    ui.wait_for_url(re.compile(r"/#s=\w"))
    ui.reload()
    answered(ui)
    assert "l40s" in ui.locator("#subject").inner_text()


def deflated(text: str) -> str:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(text.encode()) + packer.flush()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    ["nonsense", deflated("{}"), deflated('{"workload": {}, "pools": {"a": null}}'), deflated(" " * 2**24)],
    ids=["nonsense", "empty", "no pool", "inflates"],
)
def test_a_broken_link_is_told(browser: Browser, server: str, text: str) -> None:
    with watched(browser, server) as (context, _):
        page = context.new_page()
        page.goto(f"{server}/#s={text}")
        page.wait_for_selector("#said:has-text('does not hold')")
        answered(page)


def test_yaml_goes_to_the_command_line_and_back(ui: Page, tmp_path: Path) -> None:
    """What the page says and what `foretell forecast` says of its YAML are the same figures."""
    ui.fill("#f-workload-arrivals-rate_per_s-exact", "5")
    answered(ui)
    ui.get_by_role("button", name="YAML").click()
    ui.wait_for_selector("#yaml-text:not(:placeholder-shown)")
    with ui.expect_download() as download:
        ui.get_by_role("button", name="Save as a file").click()
    file = tmp_path / "scenario.yaml"
    download.value.save_as(file)
    assert file.read_text() == ui.input_value("#yaml-text")
    command = [sys.executable, "-m", "foretell.sim", "forecast", str(file), "--method", "closed_form"]
    found = tmp_path / "found.json"
    subprocess.run([*command, "--json", str(found)], check=True, capture_output=True)
    p99_ms = json.loads(found.read_text())["p99_ttft_ms"]
    shown = ui.locator('[data-figure="ttft_p99_s"] strong').inner_text()
    value, unit = shown.split()
    assert float(value) * {"ms": 1, "s": 1000}[unit] == pytest.approx(p99_ms, rel=0.01)

    changed = ui.input_value("#yaml-text").replace("h100-sxm", "h200")
    ui.fill("#yaml-text", changed)
    ui.get_by_role("button", name="Ask this").click()
    ui.wait_for_selector("#yaml-dialog", state="hidden")
    answered(ui)
    assert "h200" in ui.locator("#subject").inner_text()


def test_wrong_yaml_is_told_in_a_line(ui: Page, watch: Watch) -> None:
    watch.expected.add("422")
    ui.get_by_role("button", name="YAML").click()
    ui.wait_for_selector("#yaml-text:not(:placeholder-shown)")
    ui.fill("#yaml-text", "workload: {}\npools: [")
    ui.get_by_role("button", name="Ask this").click()
    ui.wait_for_selector("#yaml-wrong:not(:empty)")
    assert "\n" not in ui.locator("#yaml-wrong").inner_text()
    ui.keyboard.press("Escape")
    assert ui.locator("#yaml-dialog").is_hidden()


def test_a_vllm_serve_line(ui: Page) -> None:
    ui.get_by_role("button", name="vllm serve").click()
    ui.fill(
        "#vllm-text",
        "vllm serve Qwen/Qwen3-8B --tensor-parallel-size 2 --max-num-seqs 64 --port 8000",
    )
    ui.get_by_role("button", name="Read it").click()
    ui.wait_for_selector("#vllm-told li")
    told = ui.locator("#vllm-told").inner_text()
    assert "--tensor-parallel-size" in told and "--port" in told
    ui.locator("#vllm-dialog [data-close]").click()
    answered(ui)
    assert ui.locator("#subject").inner_text().startswith("qwen3-8b on 2 × h100-sxm")
    assert ui.input_value("#f-pools-chat-engine-max_num_seqs") == "64"


def test_a_yaml_file_is_dropped(ui: Page) -> None:
    ui.evaluate(
        """(text) => {
          const files = new DataTransfer();
          files.items.add(new File([text], "mine.yaml"));
          dispatchEvent(new DragEvent("drop", { dataTransfer: files, cancelable: true }));
        }""",
        "workload: {arrivals: {process: poisson, rate_per_s: 1}, lengths: sharegpt, num_requests: 100}\n"
        "pools: {mine: {model: qwen3-4b, hardware: a10g}}\n",
    )
    ui.wait_for_selector("#subject:has-text('a10g')")
    answered(ui)


def test_an_answer_is_kept_to_compare_with(ui: Page) -> None:
    before = ui.locator('[data-figure="tpot_p50_s"] strong').inner_text()
    ui.get_by_role("button", name="Keep to compare").click()
    ui.select_option("#f-pools-chat-hardware", label="h200")
    answered(ui)
    beside = ui.locator('[data-figure="tpot_p50_s"] .beside')
    assert beside.inner_text() == f"kept {before}"
    ui.get_by_role("button", name="Forget what was kept").click()
    assert beside.count() == 0
