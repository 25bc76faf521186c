"""Queues after one another and side by side: prefill then decode, and programs that fork and join."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.queueing.multiserver import ggc
from foretell.models.queueing.steady import Steady, check, check_scv, check_servers, check_stable


def departure_scv(arrival_scv: float, rho: float, service_scv: float, servers: int = 1) -> float:
    r"""Squared coefficient of variation of the gaps between departures.

    c_d² = 1 + (1 − ρ²)·(c_a² − 1) + ρ²/√c·(max(c_s², 0.2) − 1); with one server Marshall's form
    c_d² = (1 − ρ²)·c_a² + ρ²·c_s².

    Validity: exact for M/M/c (Burke: 1); a two-moment approximation otherwise.

    Source: Whitt, The Queueing Network Analyzer (1983), equations 38 and 39; Marshall (1968).

    >>> departure_scv(1.0, 0.7, 1.0, 3)
    1.0
    """
    check_scv(arrival_scv=arrival_scv, service_scv=service_scv)
    check_servers(servers)
    if servers == 1:
        return (1 - rho**2) * arrival_scv + rho**2 * service_scv
    return 1 + (1 - rho**2) * (arrival_scv - 1) + rho**2 / math.sqrt(servers) * (max(service_scv, 0.2) - 1)


@dataclass(frozen=True, slots=True)
class Station:
    """A station of a tandem: servers, mean service [s] and its squared coefficient of variation."""

    servers: int
    service_s: float
    service_scv: float


def tandem(rate_per_s: float, stations: tuple[Station, ...], arrival_scv: float = 1.0) -> tuple[Steady, ...]:
    r"""Stations one after the other, such as prefill engines and the decode slots behind them.

    Each is a G/G/c by Allen–Cunneen with the departures of the one before as its arrivals.

    Args:
        rate_per_s: λ.
        stations: in order.
        arrival_scv: c_a² at the first.

    Validity: exact for Poisson arrivals and exponential services (Jackson); else an approximation whose
    error grows with ρ and with c_s² far from 1.

    Source: Jackson (1957); Whitt, The Queueing Network Analyzer (1983).

    >>> [round(q.wait_s, 6) for q in tandem(0.5, (Station(1, 1.0, 1.0), Station(1, 1.0, 1.0)))]
    [1.0, 1.0]
    """
    if not stations:
        raise ValueError("stations: empty; give one at least")
    found = []
    for station in stations:
        at = ggc(rate_per_s, arrival_scv, station.service_s, station.service_scv, station.servers)
        found.append(at)
        arrival_scv = departure_scv(arrival_scv, at.rho, station.service_scv, station.servers)
    return tuple(found)


def harmonic(n: int) -> float:
    """H_n = 1 + 1/2 + ... + 1/n."""
    return math.fsum(1 / k for k in range(1, n + 1))


def fork_join(rate_per_s: float, service_s: float, branches: int) -> float:
    r"""Mean time of a query that forks into n calls, one on each of n M/M/1 queues, and joins [s].

    T_n ≈ [H_n/H_2 + 4/11·(1 − H_n/H_2)·ρ]·(12 − ρ)/8·T_1, T_1 = E[S]/(1 − ρ).

    Validity: exact for n = 1 and 2; within 5 % for n <= 32 by simulation in the source.

    Source: Nelson and Tantawi, Approximate analysis of fork/join synchronization in parallel queues (IEEE
    Transactions on Computers 37, 1988).

    >>> round(fork_join(0.5, 1.0, 2), 6)  # (12 − ρ)/8·T_1
    2.875
    """
    check(rate_per_s=rate_per_s, service_s=service_s)
    check_servers(branches)
    rho = rate_per_s * service_s
    check_stable(rho)
    alone = service_s / (1 - rho)
    if branches == 1:
        return alone
    share = harmonic(branches) / harmonic(2)
    return (share + 4 / 11 * (1 - share) * rho) * (12 - rho) / 8 * alone


def fork_join_bounds(rate_per_s: float, service_s: float, branches: int) -> tuple[float, float]:
    r"""Bounds on the mean time of `fork_join` [s]: H_n·E[S] and one queue alone below, H_n·T_1 above.

    Above: the branches' times are associated, so that their greatest is at most that of independent ones,
    H_n·T_1 for exponential times. Below: the calls' own services, or any one branch.

    Validity: exact bounds for M/M/1 branches.

    Source: Nelson and Tantawi (1988); Baccelli, Makowski and Shwartz (1989).

    >>> low, high = fork_join_bounds(0.5, 1.0, 2)
    >>> low, high
    (2.0, 3.0)
    """
    check(rate_per_s=rate_per_s, service_s=service_s)
    check_servers(branches)
    rho = rate_per_s * service_s
    check_stable(rho)
    alone = service_s / (1 - rho)
    return max(harmonic(branches) * service_s, alone), harmonic(branches) * alone


def join_bounds(seconds: npt.ArrayLike, branches: int, *, first: bool = False) -> tuple[float, float]:
    r"""Bounds on the mean of the longest (or shortest) of n associated times, from the law of one alone.

    E[T] <= E[max_j T_j] <= ∫ 1 − F(t)ⁿ dt; and ∫ (1 − F(t))ⁿ dt <= E[min_j T_j] <= E[T].

    Args:
        seconds: a sample of the time T of one branch, equal weights, law F.
        branches: n.
        first: whether the shortest is asked for.

    Validity: whatever makes branches alike, such as a common problem, arrival, engine or load: times that are
    associated, or independent given something that they have in common. Exponential times T_1 give the upper
    bound H_n·T_1 of `fork_join_bounds`.

    Source: Esary, Proschan and Walkup, Association of random variables (1967); Baccelli, Makowski and
    Shwartz, The fork-join queue and related systems with synchronization constraints (1989).

    >>> join_bounds([1.0, 3.0], 2)
    (2.0, 2.5)
    """
    check_servers(branches)
    times = np.sort(np.asarray(seconds, dtype=np.float64))
    if times.ndim != 1 or not times.size:
        raise ValueError(f"seconds: shape {times.shape} is not that of a sample, (k,)")
    if first:
        times = times[::-1]
    share = np.arange(times.size + 1) / times.size
    independent, alone = float(times @ np.diff(share**branches)), float(times.mean())
    return (independent, alone) if first else (alone, independent)
