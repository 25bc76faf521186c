"""One server: M/G/1 (Pollaczek–Khinchine), batch arrivals, and the best limit on answers' length."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.queueing.steady import Steady, check, check_scv, check_stable


def mg1(rate_per_s: float, service_s: float, service_scv: float) -> Steady:
    r"""M/G/1: Poisson arrivals, any service, first come first served.

    W = λ·E[S²]/(2·(1 − ρ)) = ρ·E[S]·(1 + c_s²)/(2·(1 − ρ)).

    Validity: exact.

    Source: Pollaczek (1930), Khinchine (1932).

    >>> round(mg1(0.5, 1.0, 1.0).wait_s, 6)  # M/M/1: ρ/(μ − λ)
    1.0
    >>> round(mg1(0.5, 1.0, 0.0).wait_s, 6)  # M/D/1: half of that
    0.5
    """
    check(rate_per_s=rate_per_s, service_s=service_s)
    check_scv(service_scv=service_scv)
    rho = rate_per_s * service_s
    check_stable(rho)
    return Steady(rate_per_s, rho, rho, rho * service_s * (1 + service_scv) / (2 * (1 - rho)), service_s)


def mg1_wait_variance(rate_per_s: float, service_s: float, service_m2: float, service_m3: float) -> float:
    r"""Variance of the wait in M/G/1 [s²]: W² + λ·E[S³]/(3·(1 − ρ)).

    Args:
        rate_per_s: λ.
        service_s, service_m2, service_m3: E[S], E[S²], E[S³].

    Validity: exact.

    Source: Takács (1962); Kleinrock, Queueing Systems I, 5.7.

    >>> round(mg1_wait_variance(0.5, 1.0, 2.0, 6.0), 6)  # M/M/1: ρ(2 − ρ)/(μ − λ)²
    3.0
    """
    at = mg1(rate_per_s, service_s, service_m2 / service_s**2 - 1)
    return at.wait_s**2 + rate_per_s * service_m3 / (3 * (1 - at.rho))


def mxg1(
    batch_rate_per_s: float, batch: float, batch_m2: float, service_s: float, service_scv: float
) -> Steady:
    r"""M^[X]/G/1: batches of X requests arrive together and are served one by one.

    W = ν·E[S_B²]/(2·(1 − ρ)) + E[S]·(E[X²] − E[X])/(2·E[X]): the batch's wait, and that for those of the
    same batch ahead; S_B is a batch's work, E[S_B²] = E[X]·Var S + E[X²]·E[S]².

    Args:
        batch_rate_per_s: ν, batches a second.
        batch, batch_m2: E[X] and E[X²].
        service_s, service_scv: of one request.

    Validity: exact for Poisson batches of independent requests. A program of n parallel samples is a batch
    of n; its last one waits for the n − 1 others.

    Source: Gaver (1959); Gross et al., Fundamentals of Queueing Theory (4th ed.), 5.1.

    >>> mxg1(0.5, 1, 1, 1.0, 1.0).wait_s == mg1(0.5, 1.0, 1.0).wait_s
    True
    >>> round(mxg1(0.25, 2, 4, 1.0, 0.0).wait_s, 6)  # pairs: M/D/1 of 2 s, and half of them wait 1 s more
    1.5
    """
    check(batch_rate_per_s=batch_rate_per_s, batch=batch, service_s=service_s)
    check_scv(service_scv=service_scv)
    if batch_m2 < batch**2:
        raise ValueError(f"batch_m2: {batch_m2!r} is less than the square of batch {batch!r}")
    rate = batch_rate_per_s * batch
    rho = rate * service_s
    check_stable(rho)
    work_m2 = (batch * service_scv + batch_m2) * service_s**2
    wait_s = batch_rate_per_s * work_m2 / (2 * (1 - rho))
    wait_s += service_s * (batch_m2 - batch) / (2 * batch)
    return Steady(rate, rho, math.nan, wait_s, service_s)


@dataclass(frozen=True, slots=True)
class Clipped:
    """M/G/1 whose answers are cut at a limit.

    Attributes:
        limit: tokens of an answer at most.
        queue: the queue.
        clipped_share: share of requests that are cut.
        lost_share: share of the tokens that are cut off.

    """

    limit: float
    queue: Steady
    clipped_share: float
    lost_share: float


def clipped_mg1(
    rate_per_s: float, output_tokens: npt.ArrayLike, fixed_s: float, token_s: float, limit: float = math.inf
) -> Clipped:
    r"""M/G/1 with answers cut at a limit m: S = a + b·min(L, m), served one at a time.

    Args:
        rate_per_s: λ.
        output_tokens: sample of L, shape (k,), of equal weights.
        fixed_s: a, the prompt's time and what else does not depend on the answer.
        token_s: b.
        limit: m.

    Validity: exact for the law that puts equal weights on the sample; one request at a time.

    Source: A Queueing Theoretic Perspective on Low-Latency LLM Inference with Variable Token Length
    (seed 212), whose finding is that clipping a small fraction of requests cuts the wait a good deal.

    >>> full = clipped_mg1(0.1, [1, 1, 1, 37], 0.0, 0.5)
    >>> round(full.queue.wait_s, 6)
    8.575
    >>> round(clipped_mg1(0.1, [1, 1, 1, 37], 0.0, 0.5, limit=17).queue.wait_s, 6)
    1.216667
    """
    lengths = np.asarray(output_tokens, dtype=np.float64)
    if lengths.ndim != 1 or not lengths.size or not (lengths > 0).all():
        raise ValueError("output_tokens: not a row of numbers > 0")
    check_scv(fixed_s=fixed_s)
    check(token_s=token_s)
    if not limit > 0:
        raise ValueError(f"limit: {limit!r} is not a number of tokens > 0")
    kept = np.minimum(lengths, limit)
    service = fixed_s + token_s * kept
    mean = float(service.mean())
    queue = mg1(rate_per_s, mean, float(service.var()) / mean**2)
    lost = 1 - float(kept.sum() / lengths.sum())
    return Clipped(limit, queue, float((lengths > limit).mean()), lost)


def best_limit(
    rate_per_s: float,
    output_tokens: npt.ArrayLike,
    fixed_s: float,
    token_s: float,
    seconds_per_lost_share: float,
) -> Clipped:
    r"""Limit m that minimises W(m) + θ·(share of the tokens that are cut off).

    Args:
        rate_per_s, output_tokens, fixed_s, token_s: as in `clipped_mg1`.
        seconds_per_lost_share: θ, the seconds of waiting that losing all tokens would be worth [s].

    Returns:
        The best of the limits at which some answer of the sample ends, which holds the optimum to within
        the sample's gaps. With a load of 1 or more uncut, limits that do not make the queue stable are out.

    Raises:
        ValueError: no limit makes the queue stable.

    Validity: as `clipped_mg1`. The objective's form is ours; seed 212 weighs delay against lost utility.

    >>> lengths = [100] * 99 + [10000]
    >>> best_limit(0.9, lengths, 0.0, 0.005, seconds_per_lost_share=10.0).limit
    100.0
    >>> best_limit(0.9, lengths, 0.0, 0.005, seconds_per_lost_share=1e6).limit
    10000.0
    """
    check(rate_per_s=rate_per_s, token_s=token_s)
    check_scv(fixed_s=fixed_s, seconds_per_lost_share=seconds_per_lost_share)
    ordered = np.sort(np.asarray(output_tokens, dtype=np.float64))
    limits = np.unique(ordered)
    # Moments of min(L, m) for all m at once, from sums up to the limit and the count beyond.
    upto = np.searchsorted(ordered, limits, side="right")
    beyond = len(ordered) - upto
    sums, squares = np.cumsum(ordered)[upto - 1], np.cumsum(ordered**2)[upto - 1]
    first = (sums + beyond * limits) / len(ordered)
    second = (squares + beyond * limits**2) / len(ordered)
    service = fixed_s + token_s * first
    service_m2 = fixed_s**2 + 2 * fixed_s * token_s * first + token_s**2 * second
    slack = 1 - rate_per_s * service
    if not (slack > 0).any():
        raise ValueError(f"rate_per_s: {rate_per_s!r} is too high at any limit")
    with np.errstate(divide="ignore"):
        wait = np.where(slack > 0, rate_per_s * service_m2 / (2 * np.maximum(slack, 1e-300)), np.inf)
    objective = wait + seconds_per_lost_share * (1 - first / ordered.mean())
    best = float(limits[int(np.argmin(objective))])
    return clipped_mg1(rate_per_s, ordered, fixed_s, token_s, best)
