"""What comes together: bursts of arrivals as prompts see them, and of starts as decoding requests do."""

from __future__ import annotations

import numpy as np

from foretell.models.queueing.drawing import chance
from foretell.models.queueing.lengths import Lengths


def together_of(
    law: Lengths, rate_per_s: float, step_s: float, full_s: float, budget: int, arrival_scv: float
) -> float:
    """Mean size of the bursts that prompts come in, as those see it that wait to be computed.

    Everybody finds as many more after itself, within the time t that a backlog of prompts lasts, as arrivals
    are bursty: M(t) − λ·t, with M the renewal function of the gaps. In geometric bursts that is their mean
    size less one. A backlog lasts about a step over the share of the budget that is left free.
    """
    if arrival_scv <= 1:
        return 1.0
    busy = min(rate_per_s * law.mean_prompt * full_s / budget, 0.9)
    mean = np.array([rate_per_s * step_s / (1 - busy)])
    if mean[0] > 50 + 5 * arrival_scv:  # where the sum below is too short, its asymptote
        return 1 + (arrival_scv - 1) / 2
    after = sum(float(chance(mean, k, arrival_scv)[0]) for k in range(1, 200))
    return 1 + max(after - float(mean[0]), 0.0)


def clusters_of(law: Lengths, rho: float) -> float:
    """E[X²]/E[X] of the X requests that start to decode at once, as decoding ones see it.

    These make no progress while prompts are computed, a share ρ of the time, and in a busy period of prompts
    requests come together: (1 + ρ²·c²)/(1 − ρ)², with c² the variability of a prompt's work.
    """
    rho = min(max(rho, 0.0), 0.95)
    scv = float(law.prompt.var()) / law.mean_prompt**2
    return (1 + rho**2 * scv) / (1 - rho) ** 2
