"""One-line summaries that need neither rich nor pandas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foretell.sim import metrics
from foretell.sim.quantities import show_seconds

if TYPE_CHECKING:
    from foretell.sim.simulation import Run


def replay_line(run: Run, output: Path) -> str:
    """Say what a replay came to."""
    served = int((run.status == metrics.FINISHED).sum())
    rejected = int((run.status == metrics.REJECTED).sum())
    line = f"{served:,} requests in {show_seconds(metrics.span_s(run))} of the engine's time"
    if served:
        ttft = metrics.describe(metrics.ttft_s(run), (99,))
        e2e = metrics.describe(metrics.e2e_s(run), (99,))
        line += (
            f"; TTFT mean {show_seconds(ttft['mean'])}, p99 {show_seconds(ttft['p99'])}"
            f"; E2E mean {show_seconds(e2e['mean'])}, p99 {show_seconds(e2e['p99'])}"
        )
    preemptions = int(run.n_preemptions.sum())
    if preemptions:
        line += f"; {preemptions:,} preemptions"
    if rejected:
        line += f"; {rejected:,} rejected (they can never fit)"
    return f"{line}; written to {output}"
