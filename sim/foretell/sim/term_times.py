"""How much of a run's latencies each term of a cost makes: linear in its scale while the schedule stays.

A mean latency is a weighted sum over steps: a step counts as often as requests waited for it. Those weights
come first, from the requests alone, so that the work is linear in requests and steps, however many terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models import StepLoad
from foretell.sim import metrics
from foretell.sim.simulation import Run

Floats = npt.NDArray[np.float64]
Terms = Callable[..., Mapping[str, Any]]
"""Seconds (or counts) by term of the seven figures of a `StepLoad`."""


def latency_terms(run: Run, terms: Terms | Sequence[Terms]) -> dict[str, Floats]:
    """Mean seconds of every term within a request's TTFT, TPOT and E2E, and within a gap between tokens.

    Args:
        run: recorded with `loads=True`.
        terms: k values by term, for arrays of step figures; a sequence gives one for each replica.

    Returns:
        {"ttft" | "tpot" | "itl" | "e2e": (k,)}, over finished requests; those of single tokens have no TPOT.

    Raises:
        ValueError: the run has no loads, or there are not as many terms as replicas.

    """
    if run.loads is None:
        raise ValueError("run: has no loads; simulate with loads=True")
    each = list(terms) if isinstance(terms, Sequence) else [terms] * len(run.loads)
    if len(each) != len(run.loads):
        raise ValueError(f"terms: {len(each)} given for {len(run.loads)} replicas; give one, or one for each")
    finished = run.status == metrics.FINISHED
    gaps = np.where(finished, run.output_tokens - 1, 0)
    sums: Any = np.zeros((4, 1))
    for replica, (loads, of) in enumerate(zip(run.loads, each, strict=True)):
        if len(loads):
            here = np.flatnonzero(finished & (run.replica == replica))
            sums = sums + _waited(loads, run, here, gaps[here]) @ _seconds(loads, of)
    counts = np.array([finished.sum(), (gaps > 0).sum(), gaps.sum(), finished.sum()], dtype=np.float64)
    return dict(zip(("ttft", "tpot", "itl", "e2e"), sums / np.maximum(counts, 1.0)[:, None], strict=True))


def _seconds(loads: Floats, terms: Terms) -> Floats:
    """Every term of every run of steps, (n, k)."""
    steps, load = loads[:, 2], StepLoad(*loads[:, 3:].T)
    # Runs of decoding: their context grows by one token a sequence, so its mean is that of the middle.
    middle = load._replace(decode_context=load.decode_context + load.decode_seqs * (steps - 1) / 2)
    values = [np.broadcast_to(value, steps.shape) for value in terms(*middle).values()]
    return np.asarray(np.column_stack(values) * steps[:, None])


def _waited(loads: Floats, run: Run, here: npt.NDArray[np.int64], gaps: npt.NDArray[np.int64]) -> Floats:
    """How often each run of steps counts in the sums of TTFT, TPOT, gaps and E2E, (4, n)."""
    clock = loads[:, :2].ravel()
    done = (np.arange(len(clock)) + 1) // 2  # runs of steps that ended by then: 0 1, 1 2, 2 3, ...
    came, first, last = (
        np.interp(times[here], clock, done) for times in (run.arrival_s, run.first_token_s, run.finish_s)
    )
    one, several = np.ones(len(here)), (gaps > 0).astype(np.float64)
    spans = (
        (came, first, one),
        (first, last, np.asarray(several / np.maximum(gaps, 1), dtype=np.float64)),
        (first, last, several),
        (came, last, one),
    )
    n = len(loads)
    return np.array([_counted(until, each, n) - _counted(since, each, n) for since, until, each in spans])


def _counted(at: Floats, weights: Floats, n: int) -> Floats:
    """Sum over requests of weight times the part of each of n steps that lies before `at` steps, (n,)."""
    whole = at.astype(np.int64)
    ended = np.bincount(whole, weights, n + 1)
    inside = np.bincount(whole, weights * (at - whole), n + 1)
    return np.asarray(np.cumsum(ended[::-1])[::-1][1:] + inside[:-1])
