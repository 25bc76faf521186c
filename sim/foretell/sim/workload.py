"""From a scenario's workload to the trace that an engine is given."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from foretell.sim.scenario import Workload
from foretell.traces import Trace, between, from_zero, head, read_trace, scaled_rate, trace_from_spec


def fixed_trace(workload: Workload) -> Trace | None:
    """Read and slice the trace of a workload that has one; None for one that is drawn.

    Raises:
        ValueError: the file is not a trace (with line and column), or nothing is left of it.

    """
    if workload.trace is None:
        return None
    stamp = None
    with suppress(OSError, ValueError):  # the reader says what is wrong with the file
        stat = Path(workload.trace).stat()
        stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    trace = _read(workload.trace, workload.format, stamp)
    if workload.start_s is not None or workload.end_s is not None:
        end = math.inf if workload.end_s is None else workload.end_s
        trace = from_zero(between(trace, workload.start_s or 0.0, end))
    if workload.head is not None:
        trace = head(trace, workload.head)
    if not len(trace):
        raise ValueError(f"{workload.trace}: no requests between start_s and end_s")
    return _finished(trace, workload)


@lru_cache(maxsize=2)
def _read(path: str, format: str | None, stamp: tuple[int, ...] | None) -> Trace:
    """A file as it was at its stamp; kept, for it is asked about again and again and takes seconds."""
    return read_trace(path, format)


def drawn_trace(workload: Workload, seed: np.random.SeedSequence) -> Trace:
    """Draw the trace of a workload that is a description.

    Raises:
        ValueError: a field of the description is wrong, or the draw came out empty.

    """
    trace = trace_from_spec(description(workload), seed)
    if not len(trace):
        raise ValueError(f"workload: no request arrives within duration_s {workload.duration_s}")
    return _finished(trace, workload)


def description(workload: Workload) -> Mapping[str, Any]:
    """Return the workload as `foretell.traces.trace_from_spec` takes it."""
    names = ("arrivals", "lengths", "prefixes", "sessions", "priorities", "num_requests", "duration_s")
    spec = {name: getattr(workload, name) for name in names if getattr(workload, name) is not None}
    if workload.task is not None:
        spec["lengths"] = {"prompt": 1, "output": 1}  # the task's profile has its own
    if isinstance(workload.lengths, str):
        spec["lengths"] = {"preset": workload.lengths}
    if workload.arrivals is None:
        spec["arrivals"] = {"process": "closed_loop", "concurrency": workload.concurrency}
    elif workload.arrivals.get("rate_per_s") in (math.inf, "inf", ".inf"):
        # vLLM's --request-rate inf: all at once, which a process of gaps cannot say.
        spec["arrivals"] = {"process": "closed_loop", "concurrency": _ALL}
    return spec


_ALL = 2**31
"""A bound on the requests in flight that binds nobody."""


def _finished(trace: Trace, workload: Workload) -> Trace:
    if workload.rate_scale != 1:
        trace = scaled_rate(trace, workload.rate_scale)
    if workload.concurrency is not None:
        trace = dataclasses.replace(trace, concurrency=workload.concurrency)
    elif trace.concurrency == _ALL:
        trace = dataclasses.replace(trace, concurrency=None)
    return trace
