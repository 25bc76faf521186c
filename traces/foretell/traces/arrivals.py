"""
When requests are asked: arrival processes, as pure functions of a numpy Generator.

Every process draws from unit exponentials (or gammas) and stretches time, so that two runs with the same
seed and different rates share their randomness.
"""

from __future__ import annotations

import numpy as np

from foretell.traces.table import FloatArray


def poisson(
    rng: np.random.Generator,
    rate_per_s: float,
    *,
    num_requests: int | None = None,
    duration_s: float | None = None,
) -> FloatArray:
    """Arrival times of a Poisson process [s]."""
    assert num_requests is not None
    return np.cumsum(rng.standard_exponential(num_requests)) / rate_per_s
