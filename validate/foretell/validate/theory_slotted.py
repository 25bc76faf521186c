"""M/M/c as an engine plays it: a request that finds a free slot starts with the next step.

An engine of constant step time s and c slots, with geometric answers, is a Markov chain at the starts of its
steps. Arrivals wait for the step that runs; an idle engine starts at once. With s → 0 this is M/M/c.
"""

from __future__ import annotations

import math

import numpy as np


def slotted_mmc(rate_per_s: float, tokens: float, step_s: float, slots: int) -> float:
    """Mean wait before the first step [s], exactly.

    With N in the engine at a step's start and b = min(N, c), N' = N − Bin(b, 1/tokens) + Poisson(λ·s), and
    from N' = 0 on to 1 after a gap of mean 1/λ. Time in the engine by Little's law over these cycles: while
    a step runs there are N + λ·s/2 on average.

    Args:
        rate_per_s: λ, Poisson.
        tokens: mean of the geometric answers, one token a step.
        step_s: s.
        slots: c.

    Raises:
        ValueError: more comes than c slots serve.

    """
    from scipy.stats import binom, poisson

    rho = rate_per_s * tokens * step_s / slots
    if not 0 < rho < 1:
        raise ValueError(f"rate_per_s: load {rho:.3g} is not between 0 and 1")
    most = slots + 50 + math.ceil(30 / (1 - rho))
    come = poisson.pmf(np.arange(most + 1), rate_per_s * step_s)
    states = most + 1
    move = np.zeros((states, states))
    for n in range(1, states):
        ends = binom.pmf(np.arange(min(n, slots) + 1), min(n, slots), 1 / tokens)
        law = np.convolve(ends[::-1], come)[: states - n + min(n, slots)]
        left = n - min(n, slots)
        move[n, left : left + len(law)] = law
        move[n, -1] += 1 - move[n].sum()
    move[0, 1] = 1.0
    balance = move.T - np.eye(states)
    balance[-1] = 1.0
    share = np.linalg.solve(balance, np.eye(states)[-1])
    held_by = np.arange(states)
    lasts = np.where(held_by > 0, step_s, 1 / rate_per_s)
    held = np.where(held_by > 0, (held_by + rate_per_s * step_s / 2) * step_s, 0.0)
    return float(share @ held / (share @ lasts)) / rate_per_s - tokens * step_s
