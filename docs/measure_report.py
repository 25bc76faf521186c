"""Print as JSON how large reports and timelines are: python docs/measure_report.py.

Takes a minute or two; `python docs/figures.py --run report` records it and brings the pages up to date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from foretell.sim import Scenario, forecast
from foretell.sim.timeline import timeline_json

CHAT = Path(__file__).resolve().parents[1] / "examples" / "chat.yaml"
RUNS = ((1, 40_000), (64, 10_000))
"""Engines and requests."""


def page_bytes(engines: int, requests: int) -> int:
    """How large the report of a run of examples/chat.yaml is, at the same load of each engine."""
    changes = {
        "pools.chat.replicas": engines,
        "workload.num_requests": requests,
        "workload.arrivals.rate_per_s": 3.0 * engines,
        "replications": 1,
    }
    return len(forecast(Scenario.load(CHAT).replace(**changes), processes=1).to_html().encode())


def timeline(requests: int = 1000) -> dict[str, int]:
    """How large the timeline of a run of examples/chat.yaml is."""
    asked = Scenario.load(CHAT).replace(**{"workload.num_requests": requests, "replications": 1})
    text = timeline_json(forecast(asked, processes=1))
    events = json.loads(text)["traceEvents"]
    slices = sum(event["ph"] == "X" for event in events)
    return {"requests": requests, "slices": slices, "bytes": len(text.encode())}


def main() -> int:
    """Simulate and print."""
    pages: list[dict[str, Any]] = [
        {"engines": engines, "requests": requests, "bytes": page_bytes(engines, requests)}
        for engines, requests in RUNS
    ]
    print(json.dumps({"pages": pages, "timeline": timeline()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
