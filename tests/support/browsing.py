"""A Chromium to look at pages with, and what is to be seen to in any page."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing(why: str) -> None:
    """Skip by name where there is no browser; where FORETELL_BROWSER says that there is one, fail."""
    (pytest.fail if os.environ.get("FORETELL_BROWSER") else pytest.skip)(why)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium, without a window."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        missing("no Chromium on this machine: apt install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("no playwright: pip install playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield browser
        browser.close()


@dataclass  # no slots: playwright marks the methods that it calls
class Watch:
    """What goes wrong in a page: messages on its console, exceptions, requests that fail or go elsewhere.

    Attributes:
        home: where its requests may go: the beginning of their URLs.
        expected: words of console errors that a test provokes.
        wrong: what was seen.

    """

    home: str
    expected: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def over(self, page: Page) -> None:
        """Watch a page from now on."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.wrong.append(f"exception: {error}"))
        page.on("request", self._asked)
        page.on("requestfailed", self._failed)

    def _said(self, message: ConsoleMessage) -> None:
        text = f"console {message.type}: {message.text}"
        if message.type in ("error", "warning") and not any(words in text for words in self.expected):
            self.wrong.append(text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.home, "data:", "blob:")):
            self.wrong.append(f"request to {request.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # given up by the page, as something newer was asked
            self.wrong.append(f"request failed: {request.url} {request.failure}")


@contextmanager
def watched(browser: Browser, home: str, **options: Any) -> Iterator[tuple[BrowserContext, Watch]]:
    """A fresh profile whose pages are all watched; what went wrong fails the test at its end."""
    context = browser.new_context(**options)
    context.set_default_timeout(15_000)
    watch = Watch(home)
    context.on("page", watch.over)
    yield context, watch
    context.close()
    assert not watch.wrong


def overflow_px(page: Page) -> int:
    """How much wider the page is than its window."""
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


def settled(page: Page) -> None:
    """Make the window as high as the page, so that everything can be pointed at."""
    size = page.viewport_size or {"width": 1280, "height": 800}
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": min(height, 12_000)})


def faint_texts(page: Page) -> list[str]:
    """Every visible text whose contrast is less than WCAG AA wants: 4.5, or 3 where it is large."""
    settled(page)
    found: list[str] = page.evaluate(_CONTRAST)
    return found


def colours(browser: Browser, image: bytes) -> tuple[int, float]:
    """How many colours an image has, and the share of its commonest: 1 colour is a blank page."""
    with browser.new_context() as context:
        source = "data:image/png;base64," + base64.b64encode(image).decode()
        count, share = context.new_page().evaluate(_COLOURS, source)
    return int(count), float(share)


def keep(image: bytes, name: str, folder: Path) -> None:
    """Leave a screenshot where FORETELL_SCREENSHOTS says, else in the test's folder."""
    place = Path(os.environ.get("FORETELL_SCREENSHOTS") or folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.png").write_bytes(image)


# The background of a text is all that lies below it, laid over one another by their opacities.
_CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (colour) => {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const opacity = (node) => node ? Number(getComputedStyle(node).opacity) * opacity(node.parentElement) : 1;
  const ground = (element, x, y) => {
    const below = [];
    for (let node = element; node; node = node.parentElement) {
      const style = getComputedStyle(node);
      below.push(rgba(style.backgroundColor));
    }
    if (element instanceof SVGElement) {
      const shapes = document.elementsFromPoint(x, y)
        .filter((node) => ["rect", "path", "circle", "polygon"].includes(node.tagName));
      for (const node of shapes.reverse()) {
        const { fill, fillOpacity, opacity: own } = getComputedStyle(node);
        if (fill === "none" || fill.startsWith("url")) continue;
        const [r, g, b, a] = rgba(fill);
        below.unshift([r, g, b, a * Number(fillOpacity) * Number(own)]);
      }
    }
    return below.reduceRight((under, colour) => over(colour, under), [255, 255, 255]);
  };
  const wrong = new Set();
  const check = (element, text, colour, box) => {
    const style = getComputedStyle(element);
    const visible = element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
    if (!visible || box.width < 2 || box.height < 2 || box.right < 0) return;
    const back = ground(element, box.x + box.width / 2, box.y + box.height / 2);
    const [r, g, b, a] = rgba(colour);
    const front = over([r, g, b, a * opacity(element)], back);
    const [high, low] = [light(front), light(back)].sort((x, y) => y - x);
    const ratio = (high + 0.05) / (low + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5) - 0.005) {
      const where = `${element.tagName} ${element.getAttribute("class") ?? ""}`;
      const pair = `${front.map(Math.round)} on ${back.map(Math.round)}`;
      wrong.add(`${ratio.toFixed(2)}: ${text.trim().slice(0, 40)} <${where}> ${pair}`);
    }
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("style,script,title,desc,option,template")) continue;
    const area = document.createRange();
    area.selectNodeContents(node);
    const style = getComputedStyle(element);
    const colour = element instanceof SVGElement ? style.fill : style.color;
    check(element, node.data, colour, area.getBoundingClientRect());
  }
  const inputs = "input:not([type=range],[type=radio],[type=file]),select,textarea";
  for (const input of document.querySelectorAll(inputs)) {
    const empty = input.placeholder && !input.value;
    const style = getComputedStyle(input, empty ? "::placeholder" : undefined);
    check(input, input.value || input.placeholder || "", style.color, input.getBoundingClientRect());
  }
  return [...wrong];
}"""

_COLOURS = """async (source) => {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  const pixels = new Uint32Array(canvas.getImageData(0, 0, image.width, image.height).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  return [counts.size, Math.max(...counts.values()) / pixels.length];
}"""
