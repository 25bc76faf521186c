"""Several like servers behind one line: M/M/c, M/G/c and G/G/c."""

from __future__ import annotations

import math

from foretell.models.queueing.steady import Steady, check, check_scv, check_servers, check_stable


def erlang_b(servers: int, offered: float) -> float:
    r"""Blocking probability of M/G/c/c (Erlang B).

    B(c, a) = (a^c/c!) / Σ_{k<=c} a^k/k!, by the recursion B(k) = a·B(k−1)/(k + a·B(k−1)).

    Args:
        servers: c >= 1.
        offered: a = λ·E[S], load offered [servers].

    Validity: exact for Poisson arrivals and any service law.

    Source: Erlang (1917); recursion: Cooper, Introduction to Queueing Theory (1981), 3.3.

    >>> round(erlang_b(2, 1.0), 6)
    0.2
    """
    check_servers(servers)
    check(offered=offered)
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked


def erlang_c(servers: int, offered: float) -> float:
    r"""Probability of waiting in M/M/c (Erlang C).

    C = B/(1 − ρ·(1 − B)), B = Erlang B, ρ = a/c < 1.

    Args:
        servers: c >= 1.
        offered: a = λ·E[S] < c.

    Validity: exact for Poisson arrivals and exponential service.

    Source: Erlang (1917); Gross et al., Fundamentals of Queueing Theory (4th ed.), 2.3.

    >>> round(erlang_c(1, 0.7), 6)
    0.7
    >>> round(erlang_c(2, 1.0), 6)
    0.333333
    """
    blocked = erlang_b(servers, offered)
    rho = offered / servers
    check_stable(rho)
    return blocked / (1 - rho * (1 - blocked))


def mmc(rate_per_s: float, service_s: float, servers: int = 1) -> Steady:
    r"""M/M/c: Poisson arrivals, exponential service, first come first served.

    W = C(c, a)·E[S]/(c·(1 − ρ)).

    Validity: exact.

    Source: Gross et al., Fundamentals of Queueing Theory (4th ed.), 2.3.

    >>> round(mmc(2.0, 0.5, 2).wait_s, 6)  # a = 1, c = 2: C = 1/3
    0.166667
    """
    check(rate_per_s=rate_per_s, service_s=service_s)
    offered = rate_per_s * service_s
    waits = erlang_c(servers, offered)
    rho = offered / servers
    return Steady(rate_per_s, rho, waits, waits * service_s / (servers * (1 - rho)), service_s)


def mmc_wait_tail(rate_per_s: float, service_s: float, servers: int, wait_s: float) -> float:
    r"""P(W > t) in M/M/c: C·e^{−(c·μ − λ)·t}, exact.

    >>> round(mmc_wait_tail(0.8, 1.0, 1, 5.0), 6)  # 0.8·e^(−1)
    0.294304
    """
    at = mmc(rate_per_s, service_s, servers)
    return at.wait_probability * math.exp(-(servers / service_s - rate_per_s) * wait_s)


def mmc_wait_percentile(rate_per_s: float, service_s: float, servers: int, percentile: float) -> float:
    r"""Percentile of the wait in M/M/c [s]: max(0, ln(C/(1 − q))/(c·μ − λ)), exact.

    >>> round(mmc_wait_percentile(0.8, 1.0, 1, 99), 3)  # ln(80)/0.2
    21.91
    """
    at = mmc(rate_per_s, service_s, servers)
    if not 0 <= percentile < 100:
        raise ValueError(f"percentile: {percentile!r} is not in [0, 100)")
    over = at.wait_probability / (1 - percentile / 100)
    return max(0.0, math.log(over) / (servers / service_s - rate_per_s))


def mgc(rate_per_s: float, service_s: float, service_scv: float, servers: int = 1) -> Steady:
    r"""M/G/c by Kimura's interpolation between M/D/c and M/M/c.

    W = (1 + c_s²) / (2·c_s²/W_M + (1 − c_s²)/W_D), where W_M is of M/M/c and W_D of M/D/c by Cosmetatos:
    W_D = W_M/2 · [1 + (1 − ρ)·(c − 1)·(√(4 + 5c) − 2)/(16·ρ·c)].

    Args:
        rate_per_s: λ.
        service_s: E[S].
        service_scv: c_s², squared coefficient of variation of the service.
        servers: c.

    Validity: exact for c = 1 and for c_s² = 1; within a few per cent for c_s² <= 1 and ρ >= 0.3, rougher
    for c_s² > 1, where the wait depends on more than two moments (Gupta et al. 2010).

    Source: Kimura, A two-moment approximation for the mean waiting time in the GI/G/s queue (Management
    Science 32, 1986); Cosmetatos (Operational Research Quarterly 27, 1976).

    >>> round(mgc(0.8, 1.0, 0.0, 1).wait_s, 6)  # M/D/1: ρ/(2(1 − ρ))
    2.0
    """
    check_scv(service_scv=service_scv)
    at = mmc(rate_per_s, service_s, servers)
    spread = (1 - at.rho) * (servers - 1) * (math.sqrt(4 + 5 * servers) - 2) / (16 * at.rho * servers)
    # Cosmetatos' term grows without bound as the load goes; W_D never passes W_M.
    fixed_s = at.wait_s * min((1 + spread) / 2, 1.0)
    wait_s = (1 + service_scv) / (2 * service_scv / at.wait_s + (1 - service_scv) / fixed_s)
    return Steady(rate_per_s, at.rho, at.wait_probability, wait_s, service_s)


def ggc(
    rate_per_s: float, arrival_scv: float, service_s: float, service_scv: float, servers: int = 1
) -> Steady:
    r"""G/G/c by Allen and Cunneen's formula; with c = 1 it is Kingman's approximation.

    W = (c_a² + c_s²)/2 · W_M, W_M of M/M/c.

    Args:
        rate_per_s: λ.
        arrival_scv: c_a², squared coefficient of variation of the gaps between arrivals.
        service_s: E[S].
        service_scv: c_s².
        servers: c.

    Validity: exact for M/M/c and M/G/1; right in heavy traffic; too high at light load with c_a² < 1.

    Source: Allen, Probability, Statistics and Queueing Theory (2nd ed., 1990), 5.5; Kingman, The single
    server queue in heavy traffic (1961).

    >>> round(ggc(0.8, 1.0, 1.0, 0.0).wait_s, 6)
    2.0
    """
    check_scv(arrival_scv=arrival_scv, service_scv=service_scv)
    at = mmc(rate_per_s, service_s, servers)
    wait_s = (arrival_scv + service_scv) / 2 * at.wait_s
    return Steady(rate_per_s, at.rho, at.wait_probability, wait_s, service_s)


def kingman_bound_s(rate_per_s: float, arrival_scv: float, service_s: float, service_scv: float) -> float:
    r"""Upper bound on the mean wait of G/G/1 [s]: λ·(σ_a² + σ_s²)/(2·(1 − ρ)).

    Validity: a bound for every G/G/1 with independent gaps and services.

    Source: Kingman, Some inequalities for the queue GI/G/1 (Biometrika 49, 1962).

    >>> round(kingman_bound_s(0.8, 1.0, 1.0, 1.0), 6)  # M/M/1 waits 4 s
    5.125
    """
    check(rate_per_s=rate_per_s, service_s=service_s)
    check_scv(arrival_scv=arrival_scv, service_scv=service_scv)
    rho = rate_per_s * service_s
    check_stable(rho)
    variances = arrival_scv / rate_per_s**2 + service_scv * service_s**2
    return rate_per_s * variances / (2 * (1 - rho))
