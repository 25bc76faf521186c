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
    rate_per_s: float | Array,
    decode_steps: float,
    step_s: Array,
    limit: int,
    peakedness: float = 1.0,
    in_line: float | None = None,
) -> tuple[Array, float]:
    """Stationary law of the requests in an engine.

    Args:
        rate_per_s: λ, or one for each n, shape (limit + 1,).
        decode_steps: D.
        step_s: s(n) for n = 0..limit, shape (limit + 1,).
        limit: N, requests that may run at once.
        peakedness: variance over mean of the occupancy that an engine of constant step time would have:
            1 for Poisson arrivals, more for bursts.
        in_line: the same of those in line, from N on; as `peakedness` when None.

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
    weights = (
        _batches(birth, death, 1 - 1 / peakedness) if peakedness > 1 else _births(birth, death, peakedness)
    )
    ratio = 1 - (1 - rho) / max(peakedness if in_line is None else in_line, 1.0)
    over = float(weights[-1]) * ratio
    weights[-1] += over / (1 - ratio)
    total = float(weights.sum())
    return weights / total, over / (1 - ratio) ** 2 / total


def entered(law: Array, decode_steps: float, step_s: Array) -> Array:
    """Law of n that those meet who make it n + 1, from that of n at any time; both of shape (limit + 1,).

    As many make it n + 1 as end out of it, P(n + 1)·(n + 1)/(D·s(n + 1)) a second. It is P(n) itself for
    Poisson arrivals; in bursts one meets more than there are at other times.
    """
    met = np.zeros_like(law)
    met[:-1] = law[1:] * np.arange(1, len(law)) / (decode_steps * step_s[1:])
    total = float(met.sum())
    return met / total if total > 0 else law


def _births(birth: Array, death: Array, peakedness: float) -> Array:
    """Weights of n = 0..N where births fall with n, so that the occupancy varies less."""
    if peakedness < 1:
        n = np.arange(1, len(death) + 1)
        centre = float(np.interp(birth[0], death, n))
        slope = (1 - 1 / peakedness) * float(np.interp(centre, n, death)) / centre
        birth = np.maximum(birth + slope * (np.arange(len(birth)) - centre), 1e-3 * birth)
    log = np.concatenate([[0.0], np.cumsum(np.log(birth[:-1] / death))])
    weights: Array = np.exp(log - log.max())
    return weights


def _batches(birth: Array, death: Array, more: float) -> Array:
    """Weights of n = 0..N with geometric batches: one more comes with a chance of `more`.

    By the balance over the cut between n and n + 1: π(n + 1)·μ(n + 1) = C(n) = λ_b·π(n) + more·C(n − 1).
    """
    batches = (birth * (1 - more)).tolist()
    weights, cut = [1.0], 0.0
    for come, go in zip(batches[:-1], death.tolist(), strict=True):
        cut = come * weights[-1] + more * cut
        weights.append(cut / go)
        if weights[-1] > 1e200:
            weights, cut = [w * 1e-200 for w in weights], cut * 1e-200
    return np.array(weights)
