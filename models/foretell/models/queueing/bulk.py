"""Static batches: one server that takes several requests at once and lets go of them together, or one by one.

The queue at the ends of batches is a Markov chain; its means follow exactly by Markov-renewal rewards.
Batching is "dynamic" (all who wait, up to a limit), "fixed" (exactly so many, however long that takes), or
"elastic" (as dynamic, but a finished answer takes no further part in the batch's work).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from foretell.models.queueing.steady import check, check_stable

Array = npt.NDArray[np.float64]
Policy = Literal["dynamic", "fixed", "elastic"]


@dataclass(frozen=True, slots=True)
class BatchTime:
    """Seconds of a batch of b answers, the longest of l tokens: k1·b + k2 + (k3·b + k4)·l.

    With elastic batching k3 is paid only by answers that go on: k1·b + k2 + k3·Σ lengths + k4·l.

    Source: A Queueing Theoretic Perspective on Low-Latency LLM Inference with Variable Token Length
    (seed 212).
    """

    per_request_s: float = 0.0
    fixed_s: float = 0.0
    per_request_token_s: float = 0.0
    per_token_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("per_request_s", "fixed_s", "per_request_token_s", "per_token_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a number of seconds >= 0")


@dataclass(frozen=True, slots=True)
class BulkQueue:
    """A queue with static batches in steady state.

    Attributes:
        wait_s: mean wait until one's batch starts [s].
        batch: mean size of the batch that a request is in.
        rho: rate over the rate of full batches.
        capacity_per_s: requests a second that full batches carry.

    """

    wait_s: float
    batch: float
    rho: float
    capacity_per_s: float


def longest(output_tokens: npt.ArrayLike, batch: int) -> tuple[Array, Array]:
    """Law of the longest of `batch` answers: lengths in order, and their probabilities F(l)^b − F(l−)^b.

    Validity: exact for independent draws from the sample.

    >>> lengths, chances = longest([1, 2], 2)
    >>> lengths.tolist(), chances.tolist()
    ([1.0, 2.0], [0.25, 0.75])
    """
    lengths, counts = np.unique(np.asarray(output_tokens, dtype=np.float64), return_counts=True)
    upto = np.cumsum(counts) / counts.sum()
    return lengths, np.diff(upto**batch, prepend=0.0)


def bulk_queue(
    rate_per_s: float, output_tokens: npt.ArrayLike, time: BatchTime, batch: int, policy: Policy = "dynamic"
) -> BulkQueue:
    r"""Poisson requests served in batches by one server, M/G^{[b]}/1 with service that depends on the batch.

    With π the law of the queue q at the ends of batches, b(q) the next batch and H its time,

        E[in line] = Σ π(q)·R(q) / Σ π(q)·T(q),  R = (q − b)·E[H] + λ·E[H²]/2,

    T = E[H] and what it waits for before,

    and the wait by Little's law. Requests that come during H are mixed Poisson.

    Args:
        rate_per_s: λ.
        output_tokens: sample of the answers' lengths, shape (k,).
        time: of a batch.
        batch: most requests of one.
        policy: "dynamic", "fixed" or "elastic".

    Raises:
        ValueError: a figure out of range, or more comes than full batches carry.

    Validity: exact for dynamic and fixed batching with lengths drawn from the sample. For elastic batching
    the time of a batch has its exact mean and variance and is taken as gamma.

    Source: Bailey, On queueing processes with bulk service (1954); batch times that depend on the size and
    the longest answer: seed 212, whose closed forms bound what is solved here.

    >>> from foretell.models.queueing.singleserver import mg1
    >>> one = bulk_queue(0.5, [1], BatchTime(per_token_s=1.0), 1)  # M/D/1
    >>> round(one.wait_s, 6), mg1(0.5, 1.0, 0.0).wait_s
    (0.5, 0.5)
    """
    check(rate_per_s=rate_per_s)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch: {batch!r} is not a whole number >= 1")
    if policy not in ("dynamic", "fixed", "elastic"):
        raise ValueError(f"policy: {policy!r} is not one of dynamic, fixed, elastic")
    sizes = [batch] if policy == "fixed" else range(1, batch + 1)
    moments = {b: _moments(output_tokens, time, b, policy) for b in sizes}
    capacity = batch / moments[batch][0]
    rho = rate_per_s / capacity
    check_stable(rho)
    states = batch + int(_tail(rate_per_s, *moments[batch], batch)) + 8
    come = {b: _arrivals(rate_per_s, output_tokens, time, b, policy, states) for b in sizes}
    move = np.zeros((states, states))
    starts = np.empty(states, dtype=np.int64)  # in line when the next batch starts
    for q in range(states):
        starts[q] = max(q, batch if policy == "fixed" else 1)
        left = starts[q] - min(starts[q], batch)
        law = come[min(starts[q], batch)]
        move[q, left:] = law[: states - left]
        move[q, -1] += 1 - move[q].sum()
    balance = move.T - np.eye(states)
    balance[-1] = 1.0
    share = np.linalg.solve(balance, np.eye(states)[-1])
    taken = np.minimum(starts, batch)
    mean = np.array([moments[b][0] for b in taken])
    second = np.array([moments[b][1] for b in taken])
    before = np.arange(states)
    gathering = (
        (starts - before) * (starts + before - 1) / 2 / rate_per_s
    )  # Σ of q..starts − 1 in line, 1/λ each
    in_line = share @ (gathering + (starts - taken) * mean + rate_per_s * second / 2)
    cycle = share @ ((starts - before) / rate_per_s + mean)
    seen = float(share @ taken**2 / (share @ taken))
    return BulkQueue(float(in_line / cycle) / rate_per_s, seen, rho, capacity)


def _moments(tokens: npt.ArrayLike, time: BatchTime, b: int, policy: Policy) -> tuple[float, float]:
    """E[H] and E[H²] of a batch of b."""
    lengths, chances = longest(tokens, b)
    fixed = time.per_request_s * b + time.fixed_s
    if policy != "elastic":
        times = fixed + (time.per_request_token_s * b + time.per_token_s) * lengths
        return float(chances @ times), float(chances @ times**2)
    # Σ and max together: given the longest is l, the other b − 1 are draws of at most l (ties apart).
    one = np.diff(np.concatenate([[0.0], _upto(tokens)]))
    below = np.cumsum(one)
    mean = np.cumsum(one * lengths) / below
    spread = np.maximum(np.cumsum(one * lengths**2) / below - mean**2, 0.0)
    total = lengths + (b - 1) * mean
    times = fixed + time.per_request_token_s * total + time.per_token_s * lengths
    second = times**2 + time.per_request_token_s**2 * (b - 1) * spread
    return float(chances @ times), float(chances @ second)


def _upto(tokens: npt.ArrayLike) -> Array:
    _, counts = np.unique(np.asarray(tokens, dtype=np.float64), return_counts=True)
    return np.asarray(np.cumsum(counts) / counts.sum(), dtype=np.float64)


def _arrivals(
    rate_per_s: float, tokens: npt.ArrayLike, time: BatchTime, b: int, policy: Policy, states: int
) -> Array:
    """Law of the requests that come during a batch of b: mixed Poisson."""
    from scipy.stats import nbinom, poisson

    k = np.arange(states)
    if policy == "elastic":
        mean, second = _moments(tokens, time, b, policy)
        variance = second - mean**2
        if variance > 1e-12 * mean**2:
            shape = mean**2 / variance
            return np.asarray(nbinom.pmf(k, shape, 1 / (1 + rate_per_s * mean / shape)), dtype=np.float64)
        return np.asarray(poisson.pmf(k, rate_per_s * mean), dtype=np.float64)
    lengths, chances = longest(tokens, b)
    kept = chances > 1e-12
    token_s = time.per_request_token_s * b + time.per_token_s
    times = time.per_request_s * b + time.fixed_s + token_s * lengths[kept]
    return np.asarray(chances[kept] @ poisson.pmf(k, rate_per_s * times[:, None]), dtype=np.float64)


def _tail(rate_per_s: float, mean: float, second: float, batch: int) -> float:
    """Queue lengths to keep: the decay rate of a queue with these batches, in heavy traffic, to e^−25."""
    drift = batch - rate_per_s * mean
    variance = rate_per_s * mean + rate_per_s**2 * (second - mean**2)
    return min(12.5 * variance / drift + 6 * math.sqrt(variance) + rate_per_s * mean, 3000.0)
