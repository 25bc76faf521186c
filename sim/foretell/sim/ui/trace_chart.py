"""A picture of a trace's arrivals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foretell.sim.report.page import figure
from foretell.sim.report.plots import Axis, Line, lines

if TYPE_CHECKING:
    from foretell.traces import Trace

_BINS = 60


def arrivals_chart(trace: Trace) -> str:
    """Requests a second over the trace's time, a figure."""
    at = trace.arrival_s - trace.arrival_s.min()
    bins = int(min(_BINS, max(2, len(trace) // 10)))
    counts, edges = np.histogram(at, bins=bins)
    width_s = float(edges[1] - edges[0])
    rate = np.append(counts, counts[-1]) / width_s
    chart = lines(
        {"arrivals": Line(edges, rate, step=True)},
        Axis("time", "s"),
        Axis("requests/s", low=0),
        "Arrivals over time",
        f"Requests a second in {bins} equal stretches of the trace",
        height=200,
    )
    return figure(chart, "Arrivals over the trace's time")
