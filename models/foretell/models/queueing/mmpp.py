"""Bursts: Markov-modulated Poisson arrivals, exactly at one exponential server or by a variability."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foretell.models.queueing.steady import Steady, check, check_stable

Array = npt.NDArray[np.float64]


def _modulation(rates_per_s: npt.ArrayLike, stays_s: npt.ArrayLike) -> tuple[Array, Array, Array]:
    """Rates, generator of the modulation, which jumps to any other state alike, and its stationary law."""
    rates, stays = np.asarray(rates_per_s, dtype=np.float64), np.asarray(stays_s, dtype=np.float64)
    if rates.ndim != 1 or rates.shape != stays.shape or len(rates) < 2:
        raise ValueError("stays_s: give one mean stay for each of two rates or more")
    if not ((rates >= 0).all() and (stays > 0).all() and rates.sum() > 0):
        raise ValueError("rates_per_s: give rates >= 0, not all of them 0, and stays > 0")
    size = len(rates)
    generator = np.repeat(1 / stays[:, None] / (size - 1), size, axis=1)
    np.fill_diagonal(generator, -1 / stays)
    return rates, generator, stays / stays.sum()


def mmpp_scv(rates_per_s: npt.ArrayLike, stays_s: npt.ArrayLike, over_s: float = np.inf) -> float:
    r"""Variance over mean of the arrivals in a long time: an MMPP's effective c_a² for `ggc`.

    I(∞) = 1 + (2/λ)·(π·Λ)·D·(Λ·1), D = ∫(e^{Qt} − 1π)dt the deviation matrix of the modulation.
    Over a time t it is I(t) = 1 + (2/(λ·t))·∫₀^t(t − u)·cov(u)du, cov(u) that of the rate.

    Args:
        rates_per_s: in each state, shape (m,); a state is followed by any other with equal chance.
        stays_s: mean stays, exponential, shape (m,).
        over_s: the time t, such as the time in which a queue forgets; infinite: the limit.

    Validity: exact index of dispersion; as c_a² of a queue it is right in heavy traffic, where the queue
    remembers longer than the bursts last, and far too high for bursts that outlast it.

    Source: Fischer and Meier-Hellstern, The Markov-modulated Poisson process cookbook (1993); Whitt,
    Approximating a point process by a renewal process (1982).

    >>> round(mmpp_scv([2.0, 0.0], [1.0, 1.0]), 6)  # 1 + 2·σ₁σ₂(λ₁ − λ₂)²/((σ₁ + σ₂)²(λ₁σ₂ + λ₂σ₁))
    2.0
    """
    rates, generator, law = _modulation(rates_per_s, stays_s)
    mean = float(law @ rates)
    ones = np.outer(np.ones(len(law)), law)
    deviation = np.linalg.inv(ones - generator) - ones
    whole = 2 * float((law * rates) @ deviation @ rates) / mean
    if np.isinf(over_s):
        return 1 + whole
    check(over_s=over_s)
    from scipy.linalg import expm

    rest = deviation @ deviation @ (np.eye(len(law)) - expm(generator * over_s))
    return 1 + whole - 2 * float((law * rates) @ rest @ rates) / mean / over_s


def mmpp_m1(rates_per_s: npt.ArrayLike, stays_s: npt.ArrayLike, service_s: float) -> Steady:
    r"""MMPP/M/1 by the matrix-geometric method: π(n + 1) = π(n)·R, A₀ + R·A₁ + R²·A₂ = 0.

    A₀ = Λ (up), A₁ = Q − Λ − μ, A₂ = μ (down); E[N] = π₀·R·(1 − R)^{−2}·1, and the wait by Little's law.

    Args:
        rates_per_s, stays_s: as in `mmpp_scv`.
        service_s: mean of the exponential service.

    Validity: exact; R to 1e−13.

    Source: Neuts, Matrix-Geometric Solutions in Stochastic Models (1981), chapter 6.

    >>> round(mmpp_m1([0.5, 0.5], [1.0, 3.0], 1.0).wait_s, 6)  # equal rates: M/M/1
    1.0
    """
    check(service_s=service_s)
    rates, generator, law = _modulation(rates_per_s, stays_s)
    mean = float(law @ rates)
    rho = mean * service_s
    check_stable(rho)
    size, mu = len(law), 1 / service_s
    up, same, down = np.diag(rates), generator - np.diag(rates) - mu * np.eye(size), mu * np.eye(size)
    # Latouche and Ramaswami's logarithmic reduction gives G, the law of the state one level down.
    inverse = np.linalg.inv(-same)
    high, low = inverse @ up, inverse @ down
    first, product = low.copy(), high.copy()
    for _ in range(60):
        both = high @ low + low @ high
        back = np.linalg.inv(np.eye(size) - both)
        high, low = back @ high @ high, back @ low @ low
        first += product @ low
        product = product @ high
        if np.abs(1 - first.sum(1)).max() < 1e-13:
            break
    ratio = up @ np.linalg.inv(-(same + up @ first))
    rest = np.linalg.inv(np.eye(size) - ratio)
    boundary = generator - np.diag(rates) + ratio @ down
    system = np.vstack([boundary.T, (rest @ np.ones(size))[None, :]])
    empty = np.linalg.lstsq(system, np.concatenate([np.zeros(size), [1.0]]), rcond=None)[0]
    number = float(empty @ ratio @ rest @ rest @ np.ones(size))
    busy = 1 - float((empty * rates).sum()) / mean
    return Steady(mean, rho, busy, number / mean - service_s, service_s)
