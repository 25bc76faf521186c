"""How a fleet of many servers behind a router goes over time: rates that change, bursts, servers that join.

The mean-field equations of `foretell.models.queueing.mean_field` as they stand, from any start. Service is
exponential here: the insensitivity to the law of the lengths is one of the steady state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from foretell.models.queueing.mean_field_finite import up_to

Array = npt.NDArray[np.float64]
_ALL = 64.0
"""Choices that stand for all servers, so that the drift stays smooth."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is different from a moment on.

    Attributes:
        at_s: the moment.
        rate_per_s: requests a second for each server from then on.
        burst: requests for each server that come at that moment.
        fresh: share of the servers that join then, empty.
        lost: share of the servers that fail then, whose requests are sent again at once, to the others.

    """

    at_s: float
    rate_per_s: float
    burst: float = 0.0
    fresh: float = 0.0
    lost: float = 0.0

    def __post_init__(self) -> None:
        for name in ("at_s", "rate_per_s", "burst"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a finite number >= 0")
        for name in ("fresh", "lost"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a share from 0 to below 1")


@dataclass(frozen=True, slots=True)
class Course:
    """A fleet over time.

    Attributes:
        times_s: shape (T,).
        tail: share of the servers that hold k requests or more at each time, shape (T, K + 1).
        choices: servers that the router asks.
        ends_per_s: μ(k), up to the number of requests that are served at once.

    """

    times_s: Array
    tail: Array = field(repr=False)
    choices: float
    ends_per_s: Array = field(repr=False)

    @property
    def mean(self) -> Array:
        """Requests that a server holds, shape (T,)."""
        held: Array = self.tail[:, 1:].sum(1)
        return held

    @property
    def found(self) -> Array:
        """Law of the requests at the server that one who comes then is sent to, shape (T, K + 1)."""
        least = self.tail**self.choices
        return least - np.column_stack([least[:, 1:], np.zeros(len(least))])

    @property
    def waiting(self) -> Array:
        """Share of those who come then that wait for a seat, shape (T,)."""
        full: Array = self.found[:, len(self.ends_per_s) :].sum(1)
        return full

    @property
    def wait_s(self) -> Array:
        """Mean wait for a seat of those who come then, first come first served, shape (T,)."""
        ahead = np.maximum(np.arange(self.tail.shape[1]) - len(self.ends_per_s) + 1.0, 0.0)
        wait: Array = self.found @ ahead / self.ends_per_s[-1]
        return wait


def course(
    times_s: npt.ArrayLike,
    changes: Sequence[Change],
    ends_per_s: npt.ArrayLike,
    choices: float = 2,
    start: npt.ArrayLike = (1.0,),
) -> Course:
    """Follow a fleet through changes.

    Args:
        times_s: when to look, rising, none before the first change.
        changes: in order of time; the first says what holds from the start.
        ends_per_s: μ(1), μ(2), ...; there are as many seats, and from the last on it stays as it is.
        choices: d; infinity, the least loaded of all, is taken as 64.
        start: tail of the law before the first change, as `Fleet.tail`; all empty unless given.

    Raises:
        ValueError: times or changes that are not in order, or no rate that is > 0.

    Validity: the limit of many servers: a fleet of N is off by O(1/√N) at any time, by O(1/N) in the mean;
    after overload, exponential lengths make waits die out as fast as the mean says, long answers more slowly.

    >>> at = course([0, 1e3], [Change(0.0, 0.5)], [1.0])
    >>> [round(float(m), 4) for m in at.mean]  # from empty to the fixed point, Σ 0.5^(2^k − 1)
    [0.0, 0.6328]
    """
    times = np.atleast_1d(np.asarray(times_s, dtype=np.float64))
    ends = np.atleast_1d(np.asarray(ends_per_s, dtype=np.float64))
    moments = [change.at_s for change in changes]
    if not moments or sorted(moments) != moments or (np.diff(times) < 0).any() or times[0] < moments[0]:
        raise ValueError("changes: one or more, in order of time, the first not after the first of times_s")
    if not ((ends > 0).all() and np.isfinite(ends).all() and ends.size):
        raise ValueError("ends_per_s: it takes one rate or more, each finite and > 0")
    d = min(choices, _ALL)
    first = np.asarray(start, dtype=np.float64)
    levels = len(ends) + 64
    stays = np.diff([*moments, max(float(times[-1]), moments[-1])])
    over = sum(max(c.rate_per_s - ends[-1], 0.0) * stay for c, stay in zip(changes, stays, strict=True))
    levels += len(first) + math.ceil(1.2 * over + 4 * sum(change.burst for change in changes))
    while True:
        tail = np.zeros(levels + 1)
        tail[: len(first)] = first
        seen, last = _followed(times, changes, [*moments[1:], math.inf], up_to(ends, levels), d, tail)
        if max(last, float(seen[:, -1].max())) < 1e-6:
            return Course(times, seen, d, ends)
        levels *= 2


def _followed(
    times: Array, changes: Sequence[Change], until: Sequence[float], ends: Array, d: float, tail: Array
) -> tuple[Array, float]:
    """Tails at the times, and the most that the last level held after a burst or at the end of a stay."""
    seen, last = np.empty((len(times), len(tail))), 0.0
    for change, end in zip(changes, until, strict=True):
        if change.fresh:
            tail = np.append(1.0, tail[1:] * (1 - change.fresh))
        burst = change.burst + float(tail[1:].sum()) * change.lost / (1 - change.lost)
        if burst:  # nothing ends meanwhile: one request a server for each second of another clock
            tail = _moved(tail, 1.0, 0 * ends, d, np.array([burst]))[-1]
            last = max(last, float(tail[-1]))
        here = (times >= change.at_s) & (times < end)
        stop = min(end, float(times[-1]))
        at = np.append(times[here], stop) - change.at_s
        if at[-1] < 0:
            break
        laws = _moved(tail, change.rate_per_s, ends, d, at)
        seen[here], tail = laws[:-1], laws[-1]
        last = max(last, float(tail[-1]))
    return seen, last


def _moved(tail: Array, rate: float, ends: Array, d: float, at: Array) -> Array:
    """Tails so many seconds on, one in a row."""
    from scipy.integrate import solve_ivp

    def drift(_: float, s: Array) -> Array:
        held = np.concatenate([[1.0], np.clip(s, 0.0, 1.0), [0.0]])
        least = held**d
        change: Array = rate * (least[:-2] - least[1:-1]) - ends * (held[1:-1] - held[2:])
        return change

    if at[-1] <= 0:
        return np.tile(tail, (len(at), 1))
    found = solve_ivp(
        drift,
        (0.0, float(at[-1])),
        tail[1:],
        "LSODA",
        t_eval=np.unique(at),
        lband=1,
        uband=1,
        rtol=1e-6,
        atol=1e-9,
    )
    rows = np.searchsorted(found.t, at)
    laws: Array = np.column_stack([np.ones(len(at)), np.clip(found.y.T[rows], 0.0, 1.0)])
    return laws
