"""LLM as a judge: the best of k by a reward that may itself be off the mark, in a linear Gaussian model.

Answers are numbers: a model's samples are normal around 0 with standard deviation `spread`, the truth lies at
`truth`, and the judge likes best what is nearest to `target`. This is the best-of-k limit of reward-weighted
sampling from a Bayesian linear regression's predictive law (Halder and Pehlevan 2025, "Demystifying
LLM-as-a-Judge", arXiv:2512.19905), at one input: its mean is the origin here.
"""

from __future__ import annotations

import numpy as np

_NODE, _WEIGHT = np.polynomial.laguerre.laggauss(40)


def judged_error(k: float, truth: float, target: float, spread: float = 1.0) -> float:
    """Mean square error of the sample nearest to the judge's target, of k.

    The nearest of k is at a distance d with (1 − H(d))^k exponentially distributed in the logarithm, H(d)
    being a sample's chance to be within d of the target; there, it lies above or below as the density has it.
    """
    from scipy.special import ndtr

    reach = -np.expm1(-_NODE / k)  # H of the nearest, at the nodes
    low, high = np.zeros_like(reach), np.full_like(reach, abs(target) + 40 * spread)
    for _ in range(80):
        middle = (low + high) / 2
        short = ndtr((target + middle) / spread) - ndtr((target - middle) / spread) < reach
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    ends = target + high, target - high
    far = min(abs(target) / spread, 30.0)
    above, below = (np.exp(np.maximum(-((x / spread) ** 2) / 2 + far**2 / 2, -700.0)) for x in ends)
    error = (above * (ends[0] - truth) ** 2 + below * (ends[1] - truth) ** 2) / (above + below)
    return float(_WEIGHT @ error)


def faithful_error(k: float, truth: float, spread: float = 1.0) -> float:
    """1/(2·k²·f(truth)²): `judged_error` for target = truth and large k, f the samples' density.

    The error falls as 1/k²: the nearest of k points is about 1/(2·k·f) away.
    """
    density = np.exp(-((truth / spread) ** 2) / 2) / (spread * np.sqrt(2 * np.pi))
    return float(1 / (2 * k**2 * density**2))


def best_judged_k(truth: float, target: float, spread: float = 1.0, most: int = 4096) -> int:
    """The k from 1 to `most` with the least error: finite where the judge's target is off enough.

    With many samples the answer comes to the target, and keeps its error (target − truth)².
    """
    tried = np.unique(np.round(np.geomspace(1, most, 200))).astype(int)
    near = int(tried[np.argmin([judged_error(int(k), truth, target, spread) for k in tried])])
    around = range(max(1, int(near * 0.93) - 1), min(most, int(near * 1.08) + 1) + 1)
    step = max(1, len(around) // 40)
    return min(around[::step], key=lambda k: judged_error(k, truth, target, spread))
