"""The what-if page in a real browser: a server of its own, a Chromium, and pages that are watched."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from browsing import Watch, chromium, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a `foretell ui`."""
    pytest.importorskip("starlette", reason="no starlette: pip install 'foretell[ui]'")
    command = [sys.executable, "-m", "foretell.sim", "ui", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            found = re.search(r"http://\S+?:\d+", line)
            if found:
                break
        else:
            pytest.fail(f"foretell ui ended: {''.join(lines)}")
        yield found[0]
        process.terminate()


@pytest.fixture
def profile(browser: Browser, server: str) -> Iterator[tuple[BrowserContext, Watch]]:
    """A fresh profile of the browser, and what is seen to go wrong in it."""
    with watched(browser, server, viewport={"width": 1366, "height": 860}) as found:
        yield found


@pytest.fixture
def ui(profile: tuple[BrowserContext, Watch], server: str) -> Page:
    """The what-if page, with its first answer whole."""
    page = profile[0].new_page()
    page.goto(server)
    page.wait_for_selector("#answer[aria-busy=false]")
    return page


@pytest.fixture
def watch(profile: tuple[BrowserContext, Watch]) -> Watch:
    """What goes wrong in the page `ui`."""
    return profile[1]
