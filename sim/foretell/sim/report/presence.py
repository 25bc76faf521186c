"""Who runs and waits at engines over time, and how fast work comes and goes: from a run's records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.sim.steps import EngineSteps

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Presence:
    """How many requests are with an engine, from each moment to the next.

    Attributes:
        time_s: (n,), ascending, every moment once.
        count: (n,).

    """

    time_s: Floats
    count: Floats


def presence(stays: Floats) -> Presence:
    """Count who is there, from (n, 3): came, first scheduled, left [s]."""
    times = np.concatenate([stays[:, 0], stays[:, 2]])
    change = np.repeat([1.0, -1.0], len(stays))
    order = np.argsort(times, kind="stable")
    times = times[order]
    last = np.flatnonzero(np.diff(times, append=np.inf) > 0)
    return Presence(times[last], np.cumsum(change[order])[last])


def running_and_waiting(steps: EngineSteps, there: Presence, edges: Floats) -> tuple[Floats, Floats]:
    """Means between successive edges: requests in a step, and requests with the engine but in none.

    Who was preempted waits, and so does whose KV cache is on its way.
    """
    running = np.zeros(len(edges) - 1)
    if len(steps):
        batch = np.asarray(steps.load.prefill_seqs) + np.asarray(steps.load.decode_seqs)
        running = _spread(steps, batch * steps.seconds, edges) / np.diff(edges)
    present = _means(there.time_s, there.count, edges)
    return running, np.maximum(present - running, 0.0)


def _means(time_s: Floats, values: Floats, edges: Floats) -> Floats:
    """Means of a step function between edges; 0 before its first moment."""
    if not len(time_s):
        return np.zeros(len(edges) - 1)
    area = np.concatenate([[0.0], np.cumsum(values[:-1] * np.diff(time_s))])
    held = np.searchsorted(time_s, edges, side="right") - 1
    there = np.where(held >= 0, area[held] + values[held] * (edges - time_s[held]), 0.0)
    return np.diff(there) / np.diff(edges)


def rates(times: Floats, edges: Floats) -> Floats:
    """Events a second between successive edges."""
    return np.histogram(times[~np.isnan(times)], edges)[0] / np.diff(edges)


def output_rate(engines: Sequence[EngineSteps], edges: Floats) -> Floats:
    """Output tokens a second between successive edges, from the steps: each row's spread evenly over it."""
    total = np.zeros(len(edges) - 1)
    for steps in engines:
        if len(steps):
            total += _spread(steps, np.asarray(steps.load.sampled) * steps.count, edges)
    return total / np.diff(edges)


def kv_share(steps: EngineSteps, edges: Floats) -> Floats:
    """The share of an engine's KV blocks in use, mean between successive edges; none between steps."""
    if not len(steps):
        return np.zeros(len(edges) - 1)
    held = _spread(steps, steps.kv_blocks * steps.seconds, edges)
    return held / np.diff(edges) / max(steps.part.config.num_gpu_blocks - 1, 1)


def _spread(steps: EngineSteps, amounts: Floats, edges: Floats) -> Floats:
    """How much of each row's amount lies between successive edges."""
    times = np.column_stack([steps.start_s, steps.end_s]).ravel()
    done = np.cumsum(amounts)
    level = np.column_stack([done - amounts, done]).ravel()
    return np.diff(np.interp(edges, times, level))
