"""Screenshots of pages, by the Chromium of the machine: python docs/screenshots.py PAGE FILE.png [dark]."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def what_if_page(scenario: Path | None = None) -> Iterator[str]:
    """The address of a `foretell ui` that runs meanwhile, and starts with a scenario if one is given."""
    given = [str(scenario)] if scenario else []
    command = [sys.executable, "-m", "foretell.sim", "ui", *given, "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+?:\d+", line := process.stdout.readline())
        if found is None:
            raise RuntimeError(f"foretell ui: {line}{process.stdout.read()}")
        try:
            yield found[0]
        finally:
            process.terminate()


@contextmanager
def browser() -> Iterator[Browser]:
    """The machine's Chromium, without a window.

    Raises:
        RuntimeError: there is none.

    """
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if chromium is None:
        raise RuntimeError("no Chromium on this machine: apt install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


def screenshot(
    page: str | Path,
    path: Path,
    width: int = 1280,
    height: int = 800,
    scheme: Literal["light", "dark"] = "light",
) -> None:
    """Write what is seen of a page, an address or a file, as a PNG; the what-if page once it has answered.

    Raises:
        RuntimeError: there is no Chromium.

    """
    address = page if isinstance(page, str) and "://" in page else Path(page).resolve().as_uri()
    with browser() as chromium:
        tab = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        tab.goto(address)
        tab.wait_for_selector("body:not(:has(#answer[aria-busy=true]))")
        tab.screenshot(path=path)


if __name__ == "__main__":
    screenshot(sys.argv[1], Path(sys.argv[2]), scheme="dark" if "dark" in sys.argv[3:] else "light")
