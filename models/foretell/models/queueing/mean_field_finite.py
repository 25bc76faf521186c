"""Fleets of N servers behind a router that asks d of them: what the limit of many servers leaves out.

Sources: order 1/N: Gast and Van Houdt, A refined mean field approximation, POMACS 1(2) (2017), theorem 1,
with the drift of `foretell.models.queueing.mean_field`; what is not a law any more, and the even fleet: ours.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
LEAST = 1e-13
"""Shares of servers below this are left out."""
_NEVER_IDLE = 0.99
"""Share of servers that hold something."""


def up_to(ends: Array, top: int) -> Array:
    """Rates μ(1..top); from the last given one on it stays as it is."""
    rates: Array = ends[np.minimum(np.arange(top), len(ends) - 1)]
    return rates


def first_order(rate: float, ends: Array, choices: float, tail: Array) -> Array:
    """V, where E[s] is the limit's s + V/N: by the curvature of the drift and the variance of the noise.

    A·W + W·Aᵀ + Q = 0 and A·V + B:W/2 + g = 0, where A and B are the drift's first and second derivatives,
    Q the noise (what enters k and what leaves it), and g that the d servers differ: of N·s servers, all d are
    with a chance of s^d − d(d − 1)/2·s^(d−1)·(1 − s)/N.
    """
    from scipy.linalg import solve_continuous_lyapunov

    d = choices
    low = int(np.argmax(tail < 1 - 1e-12))  # below, every server is full
    s, before = tail[low:], tail[low - 1 : -1]
    enter = rate * d * before ** (d - 1)
    leave = up_to(ends, len(tail) - 1)[low - 1 :]
    drift = np.diag(-rate * d * s ** (d - 1) - leave)
    drift += np.diag(enter[1:], -1) + np.diag(leave[:-1], 1)
    flow = rate * (before**d - s**d)
    spread = np.diag(solve_continuous_lyapunov(drift, -np.diag(2 * flow)))
    bend = rate * d * (d - 1) / 2 * (s ** (d - 2) * spread - s ** (d - 1) * (1 - s))
    push = np.concatenate([[0.0], bend[:-1]]) - bend
    change: Array = np.concatenate([np.zeros(low), np.linalg.solve(drift, -push)])
    return change


def corrected(tail: Array, change: Array) -> Array:
    """Tail of a finite fleet, from the change of its expectation.

    Its mean and variance are right. With no server idle, what all of them hold together wanders by more than
    the law is wide, and tail + change need be no law any more: the law then wanders by a normal shift.
    """
    found = tail + change
    k = np.arange(1, len(tail))
    shift = float(change[1:].sum())
    variance = float(((2 * k - 1) * change[1:]).sum() - shift * (2 * tail[1:].sum() + shift))
    if (np.diff(found) <= 1e-12).all() and (tail[1] < _NEVER_IDLE or variance < 1 / 6):
        return np.maximum(found, 0.0)
    at, weights = np.polynomial.hermite_e.hermegauss(31)
    moves = shift + math.sqrt(max(variance - 1 / 6, 0.0)) * at  # reading between levels adds 1/6
    grid = np.arange(len(tail) + math.ceil(moves[-1]))
    moved = np.interp(grid[:, None] - moves, np.arange(len(tail)), tail, right=0.0) @ weights / weights.sum()
    moved[0] = 1.0
    kept: Array = moved[moved > LEAST]
    return kept


def even(rate: float, ends: Array, servers: int, mean: float) -> Array:
    """Tail where each holds as many requests as the others or one more: a birth–death chain of the whole.

    `mean` is about how many each holds.
    """
    centre = int(mean * servers)
    span = 64 + 8 * math.isqrt(centre)

    def log_ratios(start: int, stop: int) -> Array:
        """Of the weights of m and m − 1, m = start + 1..stop."""
        each, some = np.divmod(np.arange(start + 1, stop + 1), servers)
        padded = np.concatenate([[0.0], up_to(ends, int(each[-1]) + 1)])
        ratios: Array = np.log(rate * servers / ((servers - some) * padded[each] + some * padded[each + 1]))
        return ratios

    while True:
        low, high = max(centre - span, 0), centre + span
        log = np.concatenate([[0.0], np.cumsum(log_ratios(low, high))])
        weights = np.exp(log - log.max())
        if (low == 0 or weights[0] < LEAST) and weights[-1] < LEAST:
            break
        span *= 2
    weights /= weights.sum()
    each, some = np.divmod(np.arange(low, high + 1), servers)
    at_most = np.bincount(each, weights * (servers - some), int(each[-1]) + 2)
    law = at_most + np.bincount(each + 1, weights * some, int(each[-1]) + 2)
    tail: Array = np.cumsum(law[::-1])[::-1]
    tail /= tail[0]
    return tail
