"""What the what-if page may be asked, and how it answers."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsing import Watch

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
POOL = "#f-pools-chat"


def figure(page: Page, name: str) -> float:
    """The number of a figure as shown, in its own unit, times in seconds."""
    text = page.locator(f'[data-figure="{name}"] strong').first.inner_text()
    found = re.match(r"([\d,.]+)\s*(ms|s|min)?", text)
    assert found, text
    return float(found[1].replace(",", "")) * {"ms": 1e-3, "s": 1.0, "min": 60.0, None: 1.0}[found[2]]


def answered(page: Page) -> None:
    page.wait_for_selector("#answer[aria-busy=false]")


def test_another_model_and_other_hardware(ui: Page) -> None:
    ui.fill("#f-workload-arrivals-rate_per_s-exact", "0.5")
    answered(ui)
    fast, rent = figure(ui, "tpot_p50_s"), figure(ui, "usd_per_h")
    ui.select_option(f"{POOL}-hardware", label="l40s")
    answered(ui)
    assert figure(ui, "tpot_p50_s") > 2 * fast  # a quarter of the bandwidth
    assert figure(ui, "usd_per_h") < rent
    slow = figure(ui, "tpot_p50_s")
    ui.select_option(f"{POOL}-model", label="qwen3-0.6b")
    answered(ui)
    assert figure(ui, "tpot_p50_s") < slow / 2


def test_more_replicas_carry_more(ui: Page) -> None:
    carried = figure(ui, "capacity_rps")
    ui.fill(f"{POOL}-replicas-exact", "4")
    answered(ui)
    assert figure(ui, "capacity_rps") == pytest.approx(4 * carried, rel=0.05)
    assert ui.locator("#subject").inner_text().startswith("llama-3.1-8b on 4 ×")


def test_an_objective_is_added_judged_and_dropped(ui: Page) -> None:
    ui.select_option("#more-objectives", value="e2e_p99")
    ui.fill("#limit-e2e_p99", "100 ms")
    ui.keyboard.press("Enter")
    answered(ui)
    assert "Misses" in ui.locator("#headline").inner_text()
    assert ui.locator(".gauge", has_text="e2e_p99").locator(".said").inner_text().startswith("missed")
    ui.get_by_role("button", name="Drop the objective e2e_p99").click()
    answered(ui)
    assert ui.locator("#headline").inner_text() == "Meets every objective"


def test_too_much_is_told_and_marked_on_the_slider(ui: Page) -> None:
    limit = ui.locator("#f-workload-arrivals-rate_per_s").evaluate("e => e.style.getPropertyValue('--limit')")
    at = ui.locator("#f-workload-arrivals-rate_per_s").evaluate("e => e.style.getPropertyValue('--at')")
    assert float(at) < float(limit) < 1  # 3.5 of the 6.6 requests a second that it carries
    ui.fill("#f-workload-arrivals-rate_per_s-exact", "500")
    answered(ui)
    assert "missed" in (ui.locator("#verdict").get_attribute("class") or "")


def test_a_closed_loops_slider_moves_its_frontier(ui: Page) -> None:
    """The curve stays, as the deployment does; the ring goes along it to slower users and more output."""
    rate = ui.input_value("#f-workload-arrivals-rate_per_s-exact")
    for name in ("ttft_p90", "tpot_p99"):  # of closed loops it knows means only
        ui.get_by_role("button", name=f"Drop the objective {name}").click()
    ui.select_option("#f-workload-arrivals-process", label="when the last one ends (closed loop)")
    answered(ui)
    assert ui.locator("#trouble").is_hidden()
    assert "as more requests are in flight" in ui.locator("#frontier").inner_text()
    assert ui.locator("#frontier svg[role=img]").count() == 2
    seen = []
    for in_flight in (8, 64):
        slider = ui.locator("#f-workload-concurrency")
        slider.evaluate(MOVE, math.log10(in_flight))
        answered(ui)
        assert figure(ui, "mean_batch") == pytest.approx(in_flight, rel=0.02)
        ring = ui.locator("#frontier-charts circle[r='8']")
        seen.append([float(ring.get_attribute(at) or "nan") for at in ("cx", "cy")])
    (fast_x, little_y), (slow_x, much_y) = seen
    assert slow_x < fast_x - 10  # slower for each
    assert much_y < little_y - 10  # and higher up: more of all
    ui.select_option("#f-workload-arrivals-process", label="at random (poisson)")
    answered(ui)
    assert ui.input_value("#f-workload-arrivals-rate_per_s-exact") == rate


def test_percentiles_of_a_closed_loop_are_for_the_simulation(ui: Page, watch: Watch) -> None:
    watch.expected.add("422")
    ui.select_option("#f-workload-arrivals-process", label="when the last one ends (closed loop)")
    answered(ui)
    assert ui.locator("#trouble").inner_text() == "the closed form has no ttft_p90_s: press Simulate."


def test_a_cap_on_those_in_flight_outlasts_another_process(ui: Page, watch: Watch) -> None:
    """A workload of YAML may have both; and a task's closed loop is called by its name."""
    watch.expected.add("422")
    pool = "pools: {mine: {model: qwen3-4b, hardware: a10g}}\n"
    arrivals = "arrivals: {process: poisson, rate_per_s: 1}"
    workload = f"workload: {{{arrivals}, concurrency: 9, lengths: sharegpt, num_requests: 100}}\n"
    ask_yaml(ui, workload + pool)
    ui.select_option("#f-workload-arrivals-process", label="like clockwork (constant)")
    ui.get_by_role("button", name="YAML").click()
    ui.wait_for_selector("#yaml-text:not(:placeholder-shown)")
    written = ui.input_value("#yaml-text")
    assert "process: constant" in written and "concurrency: 9" in written
    ui.keyboard.press("Escape")
    task = "workload: {task: aime24, concurrency: 2, num_requests: 3}\nstrategy: {name: single}\n"
    ask_yaml(ui, task + pool)
    kind = ui.locator("#f-workload-arrivals-process option:checked")
    assert kind.inner_text() == "when the last one ends (closed loop)"


def ask_yaml(page: Page, text: str) -> None:
    page.get_by_role("button", name="YAML").click()
    page.wait_for_selector("#yaml-text:not(:placeholder-shown)")
    page.fill("#yaml-text", text)
    page.get_by_role("button", name="Ask this").click()
    page.wait_for_selector("#yaml-dialog", state="hidden")
    answered(page)


MOVE = """(input, value) => {
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}"""


def test_a_task_and_its_strategy(ui: Page) -> None:
    """More samples vote better, and cost more."""
    ui.get_by_text("A task", exact=True).click()
    answered(ui)
    ui.select_option("#f-strategy-name", label="self consistency")
    ui.fill("#f-strategy-n-exact", "1")
    answered(ui)
    one, cost = figure(ui, "accuracy"), figure(ui, "usd_per_query")
    ui.fill("#f-strategy-n-exact", "16")
    answered(ui)
    assert figure(ui, "accuracy") > one
    assert figure(ui, "usd_per_query") > cost
    assert ui.locator("#frontier svg[role=img]").count()


def test_a_strategy_that_judges_gets_a_pool_and_gives_it_back(ui: Page) -> None:
    ui.get_by_text("A task", exact=True).click()
    answered(ui)
    ui.select_option("#f-strategy-name", label="best of n")
    answered(ui)
    sure = figure(ui, "accuracy")  # an oracle judges
    ui.select_option("#f-strategy-verifier", label="+ a new pool")
    answered(ui)
    assert ui.get_by_role("group", name="Pool verifier").count() == 1
    assert figure(ui, "accuracy") < sure
    ui.select_option("#f-strategy-name", label="single")
    answered(ui)
    assert ui.get_by_role("group", name="Pool verifier").count() == 0
    assert ui.locator("#trouble").is_hidden()


def test_prefill_and_decode_apart_and_back(ui: Page) -> None:
    ui.select_option("#f-strategy-name", label="disaggregated")
    answered(ui)
    assert ui.get_by_role("group", name="Pool prefill").count() == 1
    assert ui.get_by_role("group", name="Pool decode").count() == 1
    assert "1 prefill and 1 decode" in ui.locator("#subject").inner_text()
    ui.select_option("#f-strategy-name", label="single")
    answered(ui)
    assert ui.locator("#trouble").is_hidden()


def test_every_start_has_an_answer(ui: Page) -> None:
    for index in range(1, ui.locator("#start option").count()):
        ui.select_option("#start", index=index)
        answered(ui)
        assert ui.locator("#trouble").is_hidden(), ui.locator("#trouble").inner_text()
        assert ui.locator("#question p.wrong").count() == 0


def test_bad_input_is_one_line_at_its_field_and_the_answer_stays(ui: Page, watch: Watch) -> None:
    watch.expected.add("422")  # Chromium reports any refusal on the console
    before = ui.locator("#headline").inner_text()
    ui.fill("#limit-ttft_p90", "1 banana")
    ui.keyboard.press("Enter")
    answered(ui)
    line = ui.locator(".field[data-path='objectives.ttft_p90'] p.wrong")
    assert line.count() == 1
    assert "banana" in line.inner_text() and "\n" not in line.inner_text()
    assert ui.locator("#headline").inner_text() == before
    assert "stale" in (ui.locator("#answer").get_attribute("class") or "")
    assert ui.locator("#limit-ttft_p90").get_attribute("aria-invalid") == "true"
    ui.fill("#limit-ttft_p90", "2 s")
    ui.keyboard.press("Enter")
    answered(ui)
    assert line.count() == 0


def test_a_model_that_does_not_fit_says_so_and_what_would(ui: Page, watch: Watch) -> None:
    watch.expected.add("422")
    ui.select_option(f"{POOL}-model", label="llama-3.1-70b")
    answered(ui)
    line = ui.locator("p.wrong:visible, #trouble:visible")
    assert line.count() == 1
    assert "tensor_parallel_size 2 would fit" in line.inner_text()
    ui.select_option(f"{POOL}-tensor_parallel_size", label="4")
    answered(ui)
    assert line.count() == 0
    assert "4 × h100-sxm" in ui.locator("#subject").inner_text()


def test_by_keyboard_alone(ui: Page) -> None:
    """Tab comes to the slider and every other input; an arrow moves it, and the focus stays."""
    before = figure(ui, "ttft_p99_s")
    reached = []
    for _ in range(30):
        ui.keyboard.press("Tab")
        reached.append(ui.evaluate("document.activeElement.id || document.activeElement.className"))
        if reached[-1] == "f-workload-arrivals-rate_per_s":
            break
    assert reached[0] == "skip" and reached[-1] == "f-workload-arrivals-rate_per_s", reached
    for _ in range(10):
        ui.keyboard.press("ArrowRight")
    answered(ui)
    assert figure(ui, "ttft_p99_s") > before
    assert ui.evaluate("document.activeElement.id") == "f-workload-arrivals-rate_per_s"
    assert ui.evaluate("document.activeElement.getAttribute('aria-valuetext')").endswith("/s")


def test_back_undoes(ui: Page) -> None:
    ui.select_option(f"{POOL}-hardware", label="h200")
    answered(ui)
    assert "h200" in ui.locator("#subject").inner_text()
    ui.go_back()
    answered(ui)
    assert "h100-sxm" in ui.locator("#subject").inner_text()
    assert ui.input_value(f"{POOL}-hardware") == '"h100-sxm"'


def test_every_input_has_a_name(ui: Page) -> None:
    """For those who hear the page: labels of all inputs, names of all buttons, charts and regions."""
    nameless = ui.evaluate(
        """() => [...document.querySelectorAll("input,select,textarea,button")].filter((input) =>
        !(input.labels?.length && input.labels[0].textContent.trim()) && !input.getAttribute("aria-label")
        && !(input.tagName === "BUTTON" && input.textContent.trim())).map((input) => input.outerHTML)"""
    )
    assert not nameless


def test_a_trace_is_loaded(ui: Page, tmp_path: Path) -> None:
    rows = [f"{i * 0.5},{200 + i % 7 * 100},{50 + i % 5 * 20}" for i in range(400)]
    file = tmp_path / "mine.csv"
    file.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *rows]))
    ui.get_by_text("A trace", exact=True).click()
    ui.set_input_files("#trace-file", file)
    ui.wait_for_selector(".drop strong:has-text('mine.csv')")
    answered(ui)
    assert figure(ui, "request_throughput_rps") == pytest.approx(2, rel=0.05)
    ui.fill("#f-workload-rate_scale-exact", "2")
    answered(ui)
    assert figure(ui, "request_throughput_rps") == pytest.approx(4, rel=0.05)
    ui.get_by_text("Described", exact=True).click()
    answered(ui)
    assert ui.locator("#trouble").is_hidden()
