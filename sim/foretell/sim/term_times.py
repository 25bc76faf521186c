"""How much of a run's latencies each term of a cost makes: linear in its scale while the schedule stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models import StepLoad
from foretell.sim import metrics
from foretell.sim.simulation import Run

Floats = npt.NDArray[np.float64]
Terms = Callable[..., Mapping[str, Any]]
"""Seconds (or counts) by term of the seven figures of a `StepLoad`."""


def latency_terms(run: Run, terms: Terms) -> dict[str, Floats]:
    """Mean seconds of every term within a request's TTFT, TPOT and E2E, and within a gap between tokens.

    Args:
        run: recorded with `loads=True`.
        terms: a value by term, for arrays of step figures.

    Returns:
        {"ttft" | "tpot" | "itl" | "e2e": (k,)}, over finished requests; those of single tokens have no TPOT.

    """
    assert run.loads is not None
    finished = run.status == metrics.FINISHED
    more = finished & (run.output_tokens > 1)
    sums: dict[str, Any] = dict.fromkeys(("ttft", "tpot", "itl", "e2e"), 0.0)
    for replica, loads in enumerate(run.loads):
        if not len(loads):
            continue
        at, upto = _accrued(loads, terms)
        here, longer = finished & (run.replica == replica), more & (run.replica == replica)
        came, first, last = (
            _between(at, upto, times)
            for times in (run.arrival_s[here], run.first_token_s[here], run.finish_s[here])
        )
        sums["ttft"] += (first - came).sum(axis=0)
        sums["e2e"] += (last - came).sum(axis=0)
        decoding = (last - first)[longer[here]]
        sums["itl"] += decoding.sum(axis=0)
        sums["tpot"] += (decoding / (run.output_tokens[longer] - 1)[:, None]).sum(axis=0)
    gaps = float((run.output_tokens[more] - 1).sum())
    counts = {"ttft": finished.sum(), "e2e": finished.sum(), "tpot": more.sum(), "itl": gaps}
    return {name: total / max(float(counts[name]), 1.0) for name, total in sums.items()}


def _accrued(loads: Floats, terms: Terms) -> tuple[Floats, Floats]:
    """When steps start and end, and what every term has come to by then, (2n,) and (2n, k)."""
    start, end, steps, *figures = loads.T
    load = StepLoad(*figures)
    # Runs of decoding: their context grows by one token a sequence, so its mean is that of the middle.
    middle = load._replace(decode_context=load.decode_context + load.decode_seqs * (steps - 1) / 2)
    each = np.column_stack([np.broadcast_to(v, steps.shape) for v in terms(*middle).values()])
    total = np.cumsum(each * steps[:, None], axis=0)
    before = np.vstack([np.zeros(total.shape[1]), total[:-1]])
    return np.column_stack([start, end]).ravel(), np.stack([before, total], axis=1).reshape(
        -1, total.shape[1]
    )


def _between(at: Floats, upto: Floats, times: Floats) -> Floats:
    return np.column_stack([np.interp(times, at, column) for column in upto.T])
