"""How many requests an engine holds: a birth–death chain whose death rate comes from the step time.

n decoding requests each get a token in every step, so that one of them ends n/(D·s(n)) times a second, D
being the mean number of decode steps. That is processor sharing whose total speed depends on n: the chain's
stationary law holds for every law of the lengths with this mean (insensitivity). From n = N on the rest wait.

Sources: Cohen, The multiple phase service network with generalized processor sharing (1979), for the
insensitivity; bursts as geometric batches, whose cuts balance: Gross et al., Fundamentals of Queueing
Theory (4th ed.), 3.1; what is smoother than Poisson as births that fall with n: Delbrouck (1981).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def occupancy(
    rate_per_s: float | Array, decode_steps: float, step_s: Array, limit: int, peakedness: float = 1.0
) -> tuple[Array, float]:
    """Stationary law of the requests in an engine.

    Args:
        rate_per_s: λ, or one for each n, shape (limit + 1,).
        decode_steps: D.
        step_s: s(n) for n = 0..limit, shape (limit + 1,).
        limit: N, requests that may run at once.
        peakedness: variance over mean of the occupancy that an engine of constant step time would have:
            1 for Poisson arrivals, more for bursts.

    Returns:
        P(n) for n = 0..limit, where the last is that of n >= limit, and the mean number beyond it (those
        in line); infinite where the queue is not stable.

    Raises:
        ValueError: `step_s` is not of that shape.

    Validity: exact for exponential decode steps and Poisson arrivals, below the limit for any law.

    >>> law, line = occupancy(0.5, 1.0, np.ones(2), 1)  # M/M/1 at load 1/2
    >>> [round(float(p), 6) for p in law], round(line, 6)
    ([0.5, 0.5], 0.5)
    """
    if step_s.shape != (limit + 1,):
        raise ValueError(
            f"step_s: shape {step_s.shape} is not ({limit + 1},), one for each n from 0 to limit"
        )
    death = np.arange(1, limit + 1) / (decode_steps * step_s[1:])
    birth = np.broadcast_to(np.asarray(rate_per_s, dtype=np.float64), step_s.shape)
    rho = float(birth[-1] / death[-1])
    if rho >= 1:
        return np.eye(limit + 1)[-1], float("inf")
    if peakedness > 1:
        weights, over = _batches(birth, death, 1 - 1 / peakedness)
        ratio = 1 - (1 - rho) / peakedness
    else:
        weights, over = _births(birth, death, peakedness)
        ratio = rho
    weights[-1] += over / (1 - ratio)
    total = float(weights.sum())
    return weights / total, over / (1 - ratio) ** 2 / total


def _births(birth: Array, death: Array, peakedness: float) -> tuple[Array, float]:
    """Weights of n = 0..N and of N + 1 where births fall with n, so that the occupancy varies less."""
    if peakedness < 1:
        n = np.arange(1, len(death) + 1)
        centre = float(np.interp(birth[0], death, n))
        slope = (1 - 1 / peakedness) * float(np.interp(centre, n, death)) / centre
        birth = np.maximum(birth + slope * (np.arange(len(birth)) - centre), 1e-3 * birth)
    log = np.concatenate([[0.0], np.cumsum(np.log(birth[:-1] / death))])
    weights = np.exp(log - log.max())
    return weights, float(weights[-1] * birth[-1] / death[-1])


def _batches(birth: Array, death: Array, more: float) -> tuple[Array, float]:
    """Weights of n = 0..N and of N + 1 with geometric batches: one more comes with a chance of `more`.

    By the balance over the cut between n and n + 1: π(n + 1)·μ(n + 1) = C(n) = λ_b·π(n) + more·C(n − 1).
    """
    batches = (birth * (1 - more)).tolist()
    weights, cut = [1.0], 0.0
    for come, go in zip(batches, (*death.tolist(), float(death[-1])), strict=True):
        cut = come * weights[-1] + more * cut
        weights.append(cut / go)
        if weights[-1] > 1e200:
            weights, cut = [w * 1e-200 for w in weights], cut * 1e-200
    return np.array(weights[:-1]), weights[-1]
