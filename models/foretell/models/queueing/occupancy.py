"""How many requests an engine holds: a birth–death chain whose death rate comes from the step time.

n decoding requests each get a token in every step, so that one of them ends n/(D·s(n)) times a second, D
being the mean number of decode steps. That is processor sharing whose total speed depends on n: the chain's
stationary law holds for every law of the lengths with this mean (insensitivity). From n = N on the rest wait.

Sources: Cohen, The multiple phase service network with generalized processor sharing (1979), for the
insensitivity; bursts as linear birth rates, the Bernoulli–Poisson–Pascal model: Delbrouck (1981).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def occupancy(
    rate_per_s: float, decode_steps: float, step_s: Array, limit: int, peakedness: float = 1.0
) -> tuple[Array, float]:
    """Stationary law of the requests in an engine.

    Args:
        rate_per_s: λ.
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
    n = np.arange(1, limit + 1)
    death = n / (decode_steps * step_s[1:])
    birth = np.full(limit + 1, rate_per_s)
    if peakedness != 1:
        centre = float(np.interp(rate_per_s, death, n))
        slope = (1 - 1 / peakedness) * float(np.interp(centre, n, death)) / max(centre, 1e-9)
        birth = np.maximum(rate_per_s + slope * (np.arange(limit + 1) - centre), 1e-3 * rate_per_s)
    log = np.concatenate([[0.0], np.cumsum(np.log(birth[:-1] / death))])
    weights = np.exp(log - log.max())
    rho = rate_per_s / death[-1]
    if rho >= 1:
        return np.eye(limit + 1)[-1], float("inf")
    full = weights[-1] / (1 - rho)
    weights[-1] = full
    total = weights.sum()
    return weights / total, float(full / total * rho / (1 - rho))
