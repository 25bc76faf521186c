"""Other traces out of a trace: slices, faster and slower, longer and shorter, merged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foretell.traces.table import Chain, FloatArray, Trace, concat, openers


def head(trace: Trace, rows: int) -> Trace:
    """Keep the first rows; sessions may lose their last turns."""
    return trace.take(np.arange(min(max(rows, 0), len(trace))))


def between(trace: Trace, start_s: float, end_s: float) -> Trace:
    """Keep what is asked from start_s to before end_s; whole sessions that begin there. Times stay."""
    if not start_s <= end_s:
        raise ValueError(f"between: start_s {start_s} is after end_s {end_s}; give them in order")
    first = _opening_s(trace)
    return trace.take((first >= start_s) & (first < end_s))


def from_zero(trace: Trace) -> Trace:
    """Shift the times so that the first request is asked at 0."""
    if len(trace) == 0:
        return trace
    return _moved(trace, np.maximum(trace.arrival_s - _opening_s(trace).min(), 0.0))


def scaled_rate(trace: Trace, factor: float) -> Trace:
    """Make requests arrive `factor` times as fast; think times and patience are people's own and stay."""
    _positive("factor", factor)
    return _moved(trace, trace.arrival_s / factor)


def at_rate(trace: Trace, rate_per_s: float) -> Trace:
    """Stretch or compress time so that the mean rate of the arrivals is `rate_per_s`."""
    _positive("rate_per_s", rate_per_s)
    first = openers(trace.session, len(trace))
    times = trace.arrival_s[first]
    span = float(times[-1] - times[0]) if len(times) > 1 else 0.0
    if span <= 0:
        raise ValueError(
            "at_rate: the trace has no time span to stretch; it needs arrivals at different times"
        )
    return scaled_rate(trace, rate_per_s * span / (len(times) - 1))


def scaled_lengths(trace: Trace, prompt: float = 1.0, output: float = 1.0) -> Trace:
    """Multiply lengths, rounded, at least 1. Chains keep the share of the request that they covered."""
    _positive("prompt", prompt)
    _positive("output", output)
    prompts = np.maximum(np.rint(trace.prompt_tokens * prompt), 1).astype(np.int64)
    outputs = np.maximum(np.rint(trace.output_tokens * output), 1).astype(np.int64)
    changed = replace(trace, prompt_tokens=prompts, output_tokens=outputs, segments=None)
    if trace.segments is None:
        return changed
    if trace.session is not None and prompt != output:
        raise ValueError(
            "scaled_lengths: a session's prompts hold its answers; scale prompt and output by the same factor"
        )
    chains: list[Chain] = []
    for row, chain in enumerate(trace.segments):
        held = int(trace.prompt_tokens[row])
        chains.append(_stretched(chain, held, prompt, output, int(prompts[row]), int(outputs[row])))
    return replace(changed, segments=chains)


def _stretched(chain: Chain, prompt: int, by: float, by_output: float, room: int, more: int) -> Chain:
    """Scale the boundaries of a chain, so that equal chains stay equal."""
    stretched = []
    at = before = 0
    for name, tokens in chain:
        at += tokens
        scaled = round(min(at, prompt) * by) + round(max(at - prompt, 0) * by_output)
        end = min(scaled, room + more)
        if end > before:
            stretched.append((name, end - before))
            before = end
    return tuple(stretched)


def merge(*traces: Trace) -> Trace:
    """Overlay traces on one clock.

    Ids, sessions and streams of trace i are renamed "i/...": the traces share no prefix.

    Raises:
        ValueError: a closed loop (which has no clock of its own), or no trace at all.

    """
    if any(trace.concurrency is not None for trace in traces):
        raise ValueError("merge: a trace with a concurrency bound has no arrival times to merge by")
    parts = [_renamed(trace, f"{i}/") for i, trace in enumerate(traces)]
    begins = np.concatenate([_opening_s(part) for part in parts]) if parts else np.empty(0)
    return concat(parts, order=np.argsort(begins, kind="stable"))


def _renamed(trace: Trace, prefix: str) -> Trace:
    return replace(
        trace,
        request_id=[prefix + name for name in trace.ids()],
        session=None if trace.session is None else [name and prefix + name for name in trace.session],
        segments=None
        if trace.segments is None
        else [tuple([(f"{prefix}{name}", n) for name, n in chain]) for chain in trace.segments],
    )


def _moved(trace: Trace, arrival_s: FloatArray) -> Trace:
    """Shift arrivals; clients give up as long after them as before."""
    cancel_s = None
    if trace.cancel_s is not None:
        cancel_s = np.maximum(arrival_s + (trace.cancel_s - trace.arrival_s), 0.0)
    return replace(trace, arrival_s=arrival_s, cancel_s=cancel_s)


def _opening_s(trace: Trace) -> FloatArray:
    """For each row, when its session (or the row itself) begins."""
    if trace.session is None:
        return trace.arrival_s
    begins: dict[str, float] = {}
    return np.array(
        [
            begins.setdefault(name, at) if name else at
            for name, at in zip(trace.session, trace.arrival_s.tolist(), strict=True)
        ],
        dtype=np.float64,
    )


def _positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value}; it must be a positive number")
