"""Critical path of one answer written by parallel threads: fork, longest child, join.

Children are log-normal and independent. Lengths in tokens are times at a fixed TPOT; figures broadcast.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def longest_over_mean(threads: npt.ArrayLike, sd_log: npt.ArrayLike) -> FloatArray:
    """E[max of k]/E[one] of k independent log-normal lengths; 1 where all are alike.

    E[max] = ∫ k·φ(z)·Φ(z)^(k−1)·e^(σz) dz, by the trapezium rule, whose error is far below 1e-9 here.

    Args:
        threads: k, at least 1.
        sd_log: σ of the log length, at least 0.

    Raises:
        ValueError: threads below 1 or sd_log below 0.
    """
    from scipy.special import log_ndtr

    k, sd = np.broadcast_arrays(np.asarray(threads, np.float64), np.asarray(sd_log, np.float64))
    if not bool(np.all(k >= 1)) or not bool(np.all(sd >= 0)):
        raise ValueError(f"threads: {threads!r} below 1, or sd_log: {sd_log!r} below 0")
    low, high = -12.0, 12.0 + float(np.max(sd, initial=0.0))
    z = np.linspace(low, high, 4001)
    log_term = (k[..., None] - 1) * log_ndtr(z) - z**2 / 2 + sd[..., None] * z - sd[..., None] ** 2 / 2
    total = np.exp(log_term).sum(-1) * (z[1] - z[0])
    return np.asarray(k * total / np.sqrt(2 * np.pi))


def critical_share(
    parallel: npt.ArrayLike,
    threads: npt.ArrayLike,
    sd_log: npt.ArrayLike = 0.0,
    overhead: npt.ArrayLike = 0.0,
) -> FloatArray:
    """Critical path over the sequential trace: (1 − φ) + φ·E[max of k]/(k·E[one]) + overhead (Amdahl).

    Args:
        parallel: φ, share of the trace's tokens that can be written in parallel, in [0, 1].
        threads: k, children of a fork; each gets φ/k of the tokens on average.
        sd_log: of the children's lengths, which is their imbalance.
        overhead: tokens on the critical path that the sequential trace has not (outlines, summaries, prompts
            read again), over its tokens.

    Raises:
        ValueError: parallel outside [0, 1], threads below 1, or sd_log below 0.
    """
    phi = np.asarray(parallel, dtype=np.float64)
    if not bool(np.all((phi >= 0) & (phi <= 1))):
        raise ValueError(f"parallel: {parallel!r} is not in [0, 1]")
    longest = longest_over_mean(threads, sd_log) / np.asarray(threads, dtype=np.float64)
    return np.asarray((1 - phi) + phi * longest + np.asarray(overhead, dtype=np.float64))


def thread_speedup(
    parallel: npt.ArrayLike,
    threads: npt.ArrayLike,
    sd_log: npt.ArrayLike = 0.0,
    overhead: npt.ArrayLike = 0.0,
) -> FloatArray:
    """Sequential tokens over those of the critical path; arguments as in `critical_share`."""
    return np.asarray(1.0 / critical_share(parallel, threads, sd_log, overhead))


def overlapped(
    own: npt.ArrayLike, threads: npt.ArrayLike, sd_log: npt.ArrayLike, mean: npt.ArrayLike
) -> FloatArray:
    """E[max(own, longest of k)]: an organiser that goes on writing `own` tokens while its k workers write.

    E[max(x, M)] = x + ∫_x^∞ (1 − F(t)^k) dt with F log-normal of this mean. Scalars only in k, sd and mean.
    (AsyncThink, Chi et al. 2025.)

    Args:
        own: tokens that the organiser writes meanwhile, >= 0; any shape.
        threads, sd_log: as in `longest_over_mean`.
        mean: tokens of one worker, > 0.
    """
    from scipy.special import log_ndtr

    x = np.asarray(own, dtype=np.float64)
    k, sd, m = float(np.asarray(threads)), float(np.asarray(sd_log)), float(np.asarray(mean))
    if sd == 0:
        return np.asarray(np.maximum(x, m))
    z = np.linspace(-12.0, 12.0 + sd, 8001)
    length = m * np.exp(sd * z - sd**2 / 2)
    density = k * np.exp((k - 1) * log_ndtr(z) - z**2 / 2) / np.sqrt(2 * np.pi)
    return np.asarray((np.maximum(x[..., None], length) * density).sum(-1) * (z[1] - z[0]))
