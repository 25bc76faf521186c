"""The what-if page's promises: it is there at once, and figures move with the sliders."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RATE = "#f-workload-arrivals-rate_per_s"

# Move the slider to each place in turn; give seconds until the figure's change is painted, and the figures.
MOVES = """async ([slider, figure, places]) => {
  const input = document.querySelector(slider);
  const value = () => document.querySelector(`[data-figure="${figure}"] strong`).textContent;
  const painted = () => new Promise((go) => requestAnimationFrame(() => setTimeout(go)));
  const seconds = [], values = [];
  for (const place of places) {
    const before = value(), began = performance.now();
    input.value = Math.log10(place);
    input.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((go) => {
      const watch = new MutationObserver(() => { if (value() !== before) { watch.disconnect(); go(); } });
      watch.observe(document.getElementById("answer"), { childList: true, subtree: true });
    });
    await painted();
    seconds.push((performance.now() - began) / 1000);
    values.push(value());
  }
  return [seconds, values];
}"""


PAINT = """new Promise((go) => new PerformanceObserver((seen) => {
  const paint = seen.getEntriesByName("first-contentful-paint")[0];
  if (paint) go(paint.startTime / 1000);
}).observe({ type: "paint", buffered: true }))"""


def seconds_of(text: str) -> float:
    """What a shown time is."""
    number, unit = text.split()
    return float(number.replace(",", "")) * {"ms": 1e-3, "s": 1.0, "min": 60.0}[unit]


def test_figures_follow_the_slider_within_half_a_second(ui: Page) -> None:
    """From the move to the painted figure; on a busy machine the best of three rounds counts."""
    rates = [1, 2, 3, 4, 5, 6]
    rounds = []
    for _ in range(3):
        ui.evaluate(MOVES, [RATE, "ttft_p99_s", [0.5]])
        seconds, shown = ui.evaluate(MOVES, [RATE, "ttft_p99_s", rates])
        waits = [seconds_of(text) for text in shown]
        assert waits == sorted(waits) and waits[0] < waits[-1]  # the more is asked, the longer they wait
        rounds.append(median(seconds))
        if rounds[-1] < 0.25:
            break
    print(f"from a move to its figures: median {min(rounds):.3f} s")
    assert min(rounds) < 0.5


def test_the_page_is_there_within_a_second(browser: Browser, server: str) -> None:
    """First contentful paint in a fresh profile, best of three."""
    paints = []
    for _ in range(3):
        with browser.new_context() as profile:
            page = profile.new_page()
            page.goto(server)
            paints.append(page.evaluate(PAINT))
            assert page.get_by_role("heading", name="Simulate it").is_visible()  # before any answer
        if paints[-1] < 0.5:
            break
    print(f"first paint after {min(paints):.3f} s")
    assert min(paints) < 1.0
