"""What a trace asks for, in figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.traces.table import Chain, IntArray, Trace, openers

_WINDOW_S = 60.0


def summary(trace: Trace) -> dict[str, Any]:
    """Describe a trace.

    Returns:
        requests; duration_s (first to last arrival), request_rate_per_s and interarrival_cv, over the
        requests that do not wait for another one (None where undefined: too few, or a closed loop);
        peak_rate_per_s, in the busiest 60 s; prompt_tokens and output_tokens, each with mean, p50, p90,
        p99, max, total; prompt_tokens_per_s and output_tokens_per_s; shared_prefix_share, the part of all
        prompt tokens that an endless prefix cache would hold already (exact to the token, turns in row
        order; None without prefixes); sessions, turns_per_session; priorities; models; concurrency; notes.

    """
    first = openers(trace.session, len(trace))
    times = trace.arrival_s[first]
    gaps = np.diff(times)
    span = float(gaps.sum())
    timed = trace.concurrency is None and span > 0
    sessions = len(set(trace.session) - {""}) if trace.session is not None else 0
    in_sessions = sum(map(bool, trace.session)) if trace.session is not None else 0
    return {
        "name": trace.name,
        "requests": len(trace),
        "duration_s": span,
        "request_rate_per_s": (len(times) - 1) / span if timed else None,
        "interarrival_cv": float(gaps.std() / gaps.mean()) if timed and len(gaps) > 1 else None,
        "peak_rate_per_s": _peak(times) / _WINDOW_S if timed and span >= _WINDOW_S else None,
        "prompt_tokens": _lengths(trace.prompt_tokens),
        "output_tokens": _lengths(trace.output_tokens),
        "prompt_tokens_per_s": float(trace.prompt_tokens.sum()) / span if timed else None,
        "output_tokens_per_s": float(trace.output_tokens.sum()) / span if timed else None,
        "shared_prefix_share": shared_prefix_share(trace),
        "sessions": sessions,
        "turns_per_session": in_sessions / sessions if sessions else None,
        "priorities": np.unique(trace.priority).tolist() if trace.priority is not None else None,
        "models": sorted(set(trace.model) - {""}) if trace.model is not None else None,
        "concurrency": trace.concurrency,
        "notes": list(trace.notes),
    }


def shared_prefix_share(trace: Trace) -> float | None:
    """Part of all prompt tokens that rows before have had, from the front; None without chains."""
    if trace.segments is None or len(trace) == 0:
        return None
    return float(shared_prefix_tokens(trace.segments, trace.prompt_tokens).sum() / trace.prompt_tokens.sum())


def shared_prefix_tokens(segments: Sequence[Chain], prompt_tokens: IntArray) -> IntArray:
    """Tokens at the front of each prompt that some row before it had too."""
    longest: dict[tuple[int, str | int], int] = {}  # (node, stream) -> longest stretch of it seen there
    nodes: dict[tuple[int, str | int, int], int] = {}  # (node, stream, tokens) -> the node behind it
    shared = np.zeros(len(prompt_tokens), dtype=np.int64)
    for row, chain in enumerate(segments):
        shared[row] = _walk(chain, longest, nodes)
    return np.minimum(shared, prompt_tokens)


def _walk(
    chain: Chain, longest: dict[tuple[int, str | int], int], nodes: dict[tuple[int, str | int, int], int]
) -> int:
    node, shared, following = 0, 0, True
    for stream, tokens in chain:
        seen = longest.get((node, stream), 0)
        if following:
            shared += min(seen, tokens)
        if tokens > seen:
            longest[node, stream] = tokens
        step = (node, stream, tokens)
        behind = nodes.get(step)
        if behind is None:
            following = False
            behind = nodes[step] = len(nodes) + 1
        node = behind
    return shared


def _peak(times: npt.NDArray[np.float64]) -> int:
    """Most arrivals in any window of 60 s that begins with one."""
    ends = np.searchsorted(times, times + _WINDOW_S, side="left")
    return int((ends - np.arange(len(times))).max())


def _lengths(tokens: IntArray) -> dict[str, float]:
    if len(tokens) == 0:
        return {}
    p50, p90, p99 = np.percentile(tokens, [50, 90, 99]).tolist()
    largest, total = int(tokens.max()), int(tokens.sum())
    return {"mean": float(tokens.mean()), "p50": p50, "p90": p90, "p99": p99, "max": largest, "total": total}
