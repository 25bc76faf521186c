"""Fleets of many servers behind a router that asks d of them: the mean-field limit, and how fast it is met.

Every request is sent to the least loaded of d servers drawn at random. With many servers, those drawn are
independent, and the share s_k of the servers that hold k requests or more obeys

    ds_k/dt = λ·(s_{k−1}^d − s_k^d) − μ(k)·(s_k − s_{k+1}),    s_0 = 1,

λ being the rate per server and μ(k) that at which one of k requests ends. With μ = min(k, c)·μ it is M/M/c,
with a step cost it is continuous batching. d = 1 is random routing, d = ∞ join-the-shortest-queue.

Sources: Vvedenskaya, Dobrushin and Karpelevich, Problems Inform. Transmission 32 (1996); Mitzenmacher, IEEE
TPDS 12 (2001), 3.1; for service by processor sharing, where only the mean of the lengths matters: Bramson,
Lu and Prabhakar, SIGMETRICS 2010. A fleet of N servers: `mean_field_finite`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from foretell.models.queueing.mean_field_finite import LEAST, corrected, even, first_order, up_to
from foretell.models.queueing.steady import check, check_stable

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Servers in steady state.

    Attributes:
        rate_per_s: requests a second for each server.
        tail: s_k, share of the servers that hold k requests or more, k = 0..K.
        ends_per_s: μ(k), rate at which one of k requests ends, k = 1..K.

    """

    rate_per_s: float
    tail: Array = field(repr=False)
    ends_per_s: Array = field(repr=False)

    @property
    def law(self) -> Array:
        """Share of the servers that hold exactly k, k = 0..K."""
        share: Array = self.tail - np.append(self.tail[1:], 0.0)
        return share

    @property
    def found(self) -> Array:
        """Law of the requests at the server that a new one is sent to, k = 0..K − 1.

        As many enter state k + 1 as leave it downwards: λ·found(k) = μ(k + 1)·law(k + 1).
        """
        flow = self.ends_per_s * self.law[1:]
        share: Array = flow / flow.sum()
        return share

    @property
    def mean(self) -> float:
        """Requests that a server holds."""
        return float(self.tail[1:].sum())

    @property
    def system_s(self) -> float:
        """Mean time from arrival to departure [s] (Little)."""
        return self.mean / self.rate_per_s


def power_of_d(
    rate_per_s: float, ends_per_s: npt.ArrayLike, choices: float = 2, servers: float = math.inf
) -> Fleet:
    """Steady state of a fleet whose router sends to the least loaded of d servers.

    Args:
        rate_per_s: λ, Poisson arrivals for each server.
        ends_per_s: μ(1), μ(2), ...; from the last on it stays as it is.
        choices: d, different servers; 1 for random routing, infinity for the least loaded of all.
        servers: N; beyond the limit, corrections of order 1/N for d < N; for d >= N the fleet is one chain of
            all its requests, spread evenly (as if they could move: a bound from below).

    Raises:
        ValueError: a figure is out of range, or the load is not < 1.

    Validity: the limit errs by O(1/N), what is corrected for by O(1/N²) (Gast and Van Houdt, 2017); exact for
    any N with d = 1. Near saturation, N must be large against 1/(1 − ρ). Service is exponential, or processor
    sharing with lengths of any law.

    >>> fleet = power_of_d(0.9, [1.0])  # M/M/1: s_k = ρ^(2^k − 1)
    >>> [round(float(s), 6) for s in fleet.tail[1:4]]
    [0.9, 0.729, 0.478297]
    """
    check(rate_per_s=rate_per_s)
    ends = np.atleast_1d(np.asarray(ends_per_s, dtype=np.float64))
    if ends.ndim != 1 or not ends.size or not (np.isfinite(ends).all() and (ends > 0).all()):
        raise ValueError("ends_per_s: it takes one rate or more, each finite and > 0")
    check_stable(rate_per_s / float(ends[-1]))
    if not (choices == math.inf or (choices >= 1 and int(choices) == choices)):
        raise ValueError(f"choices: {choices!r} is not a whole number >= 1, or infinity")
    if not (servers == math.inf or (servers >= 1 and int(servers) == servers)):
        raise ValueError(f"servers: {servers!r} is not a whole number >= 1, or infinity")
    if min(choices, servers) == 1:
        return _fleet(rate_per_s, ends, _independent(rate_per_s, ends))
    if choices >= servers or choices == math.inf:
        tail = _shortest(rate_per_s, ends)
        if servers < math.inf:
            tail = even(rate_per_s, ends, int(servers), float(tail[1:].sum()))
        return _fleet(rate_per_s, ends, tail)
    tail = _fixed_point(rate_per_s, ends, choices)
    if servers < math.inf:
        tail = corrected(tail, first_order(rate_per_s, ends, choices, tail) / servers)
    return _fleet(rate_per_s, ends, tail)


def _fleet(rate: float, ends: Array, tail: Array) -> Fleet:
    return Fleet(rate, tail, up_to(ends, len(tail) - 1))


def _independent(rate: float, ends: Array) -> Array:
    """Random routing: birth and death in each server by itself, π(k) ∝ Π λ/μ(j)."""
    more = max(math.log(LEAST) / math.log(rate / ends[-1]), 1.0)
    steps = np.log(rate / up_to(ends, len(ends) + math.ceil(more)))
    log = np.concatenate([[0.0], np.cumsum(steps)])
    weights = np.exp(log - log.max())
    tail: Array = np.cumsum(weights[::-1])[::-1]
    tail /= tail[0]
    return tail


def _shortest(rate: float, ends: Array) -> Array:
    """Of all servers: each holds m or m + 1, μ(m) <= λ < μ(m + 1), in the shares that end λ a second."""
    low = int(np.argmax(ends > rate))  # m
    before = float(ends[low - 1]) if low else 0.0
    return np.append(np.ones(low + 1), (rate - before) / (float(ends[low]) - before))


def _fixed_point(rate: float, ends: Array, choices: float) -> Array:
    """The tail, from its top down: s_{k−1}^d = s_k^d + μ(k)·π(k)/λ, with the top so that s_0 = 1.

    In logarithms, since the tail falls doubly exponentially; π(k − 1) = s_{k−1} − s_k without cancellation.
    """
    log_ends = np.log(ends / rate).tolist()

    def log_tail(top: int, log_least: float) -> list[float]:
        tail, at = [log_least], log_least  # at: of π(k)
        for k in range(top, 0, -1):
            x = log_ends[min(k, len(log_ends)) - 1] + at - choices * tail[-1]  # of μ(k)·π(k)/(λ·s_k^d)
            up = (x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))) / choices
            if x < -30:  # log(e^up − 1) = log(up)
                at = tail[-1] + x - math.log(choices)
            else:
                at = tail[-1] + (up + math.log1p(-math.exp(-up)) if up > 1 else math.log(math.expm1(up)))
            tail.append(tail[-1] + up)
        return tail[::-1]

    least, below, top = math.log(LEAST), 0, 1
    while log_tail(top, least)[0] < 0:
        below, top = top, 2 * top
    while top - below > 1:
        middle = (below + top) // 2
        below, top = (middle, top) if log_tail(middle, least)[0] < 0 else (below, middle)
    from scipy.optimize import brentq

    low = 2 * least
    while log_tail(top, low)[0] > 0:
        low *= 2
    found = brentq(lambda x: log_tail(top, x)[0], low, least, xtol=1e-12)
    tail: Array = np.exp(log_tail(top, float(found)))
    tail[0] = 1.0
    return tail
