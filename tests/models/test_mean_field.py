"""Fleets of many servers: known limits, balance, and small simulations that know nothing of them."""

from __future__ import annotations

import heapq
import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.models.queueing import mmc, power_of_d

Array = npt.NDArray[np.float64]
SEATS = np.arange(1.0, 65) / (0.02 + 5e-4 * np.arange(1, 65))
"""Rates at which one of k ends, as of an engine with 64 seats."""


def simulated(servers: int, choices: int, rate: float, ends: Array, events: int, seed: int) -> Array:
    """Tail of a fleet with exponential service: an event after the other, the first fifth left out."""
    rng = np.random.default_rng(seed)
    held = [0] * servers
    count = np.zeros(400)
    due: list[tuple[float, int, int]] = []  # next departure of a server, by the version of its state
    version = [0] * servers
    now = arrival = 0.0
    level = np.zeros(400)
    level[0] = servers
    began = 0.0
    for event in range(events):
        arrival = arrival or now + rng.exponential(1 / (rate * servers))
        while due and due[0][2] != version[due[0][1]]:
            heapq.heappop(due)
        then = min(arrival, due[0][0] if due else math.inf)
        if event >= events // 5:
            count += level * (then - now)
        else:
            began = then
        now = then
        if then == arrival:
            some: dict[int, None] = {}  # in the order drawn, so that a tie falls to anyone
            while len(some) < choices:
                some[int(rng.random() * servers)] = None
            i, change, arrival = min(some, key=held.__getitem__), 1, 0.0
        else:
            i, change = due[0][1], -1
        level[held[i]] -= 1
        held[i] += change
        level[held[i]] += 1
        version[i] += 1
        if held[i]:
            speed = float(ends[min(held[i], len(ends)) - 1])
            heapq.heappush(due, (now + rng.exponential(1 / speed), i, version[i]))
    law = count / (now - began) / servers
    return np.cumsum(law[::-1])[::-1]


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and three standard errors of it."""
    return float(np.mean(values)), 3 * float(np.std(values, ddof=1)) / len(values) ** 0.5


@pytest.mark.parametrize("choices", [2, 3, 5])
@pytest.mark.parametrize("rho", [0.2, 0.7, 0.9, 0.99])
def test_the_tail_of_mm1_is_doubly_exponential(rho: float, choices: int) -> None:
    """Mitzenmacher 2001, lemma 2: s_k = ρ^((d^k − 1)/(d − 1))."""
    tail = power_of_d(3 * rho, [3.0], choices).tail
    k = np.arange(len(tail))
    assert tail == pytest.approx(rho ** ((choices**k - 1.0) / (choices - 1)), rel=1e-6)


@given(st.floats(0.05, 0.97), st.integers(1, 6))
def test_random_routing_gives_every_server_its_own_queue(rho: float, servers: int) -> None:
    fleet = power_of_d(rho * servers, np.arange(1.0, servers + 1), 1)
    assert fleet.system_s == pytest.approx(mmc(rho * servers, 1.0, servers).system_s, rel=1e-6)


@given(
    st.floats(0.05, 0.95),
    st.sampled_from([1, 2, 3, 7, 40, math.inf]),
    st.sampled_from([2, 10, 300, 100_000, math.inf]),
)
def test_as_many_end_as_come(rho: float, choices: float, servers: float) -> None:
    """Σ μ(k)·π(k) = λ, exactly in the limit and to the order 1/N² (0 where it is a chain) in a fleet."""
    fleet = power_of_d(rho * SEATS[-1], SEATS, choices, servers)
    ends = float(fleet.ends_per_s @ fleet.law[1:])
    exact = choices in (1, math.inf) or choices >= servers or servers == math.inf
    assert ends == pytest.approx(fleet.rate_per_s, rel=1e-9 if exact else 0.02)
    assert (np.diff(fleet.tail) <= 1e-12).all()
    assert fleet.tail[0] == 1
    assert fleet.found.sum() == pytest.approx(1)


@given(st.floats(0.05, 0.95))
def test_more_choices_hold_less(rho: float) -> None:
    means = [power_of_d(rho * SEATS[-1], SEATS, d).mean for d in (1, 2, 3, 10, math.inf)]
    assert all(a >= b - 1e-9 for a, b in pairwise(means))


def test_the_fixed_point_is_where_the_drift_vanishes() -> None:
    for choices in (2, 4):
        fleet = power_of_d(400.0, SEATS, choices)
        s = np.append(fleet.tail, 0.0)
        come = 400.0 * (s[:-2] ** choices - s[1:-1] ** choices)
        assert come == pytest.approx(fleet.ends_per_s * (s[1:-1] - s[2:]), rel=1e-6, abs=1e-9)


def test_the_least_loaded_of_all_is_the_end_of_many_choices() -> None:
    many, all_ = power_of_d(400.0, SEATS, 3000), power_of_d(400.0, SEATS, math.inf)
    assert many.mean == pytest.approx(all_.mean, rel=1e-3)
    assert power_of_d(400.0, SEATS, math.inf, 10**6).mean == pytest.approx(all_.mean, rel=1e-3)


def test_an_even_fleet_of_single_servers_is_mmc() -> None:
    """All requests of N servers with single seats, as if they could move, are an M/M/N queue."""
    fleet = power_of_d(0.9, [1.0], math.inf, 10)
    assert 10 * fleet.mean == pytest.approx(mmc(9.0, 1.0, 10).in_system, rel=1e-9)


def test_the_cost_does_not_grow_with_the_fleet() -> None:
    sizes = [len(power_of_d(400.0, SEATS, d, 10**5).tail) for d in (1, 2, 3, math.inf)]
    assert max(sizes) < 400


@pytest.mark.parametrize(("choices", "rho"), [(2, 0.7), (2, 0.9), (3, 0.7)])
def test_mm1_fleets_approach_the_limit_as_1_over_n(choices: int, rho: float) -> None:
    """At ten servers the limit is off, by what the correction says; at a hundred by a tenth of that."""
    for servers, reps in ((10, 6), (100, 4)):
        tails = [simulated(servers, choices, rho, np.ones(1), 40_000, seed) for seed in range(reps)]
        mean, near = interval([float(tail[1:].sum()) for tail in tails])
        limit, finite = (power_of_d(rho, [1.0], choices, n).mean for n in (math.inf, servers))
        # The correction's own error is of order 1/N²; Gast and Van Houdt find 2 % at ρ = 0.9, N = 10.
        assert abs(finite - mean) < near + 0.25 * (finite - limit)
        if servers == 10 and rho == 0.7:
            assert mean - limit > near


def test_engines_with_many_requests_wander_together() -> None:
    """Ten servers with 10 requests each: what they hold varies more than in the limit, by what is said."""
    finite, limit = (power_of_d(400.0, SEATS, 3, n) for n in (10, math.inf))
    tails = [simulated(10, 3, 400.0, SEATS, 40_000, seed) for seed in range(4)]

    def variance(tail: Array) -> float:
        k = np.arange(1, len(tail))
        return float(((2 * k - 1) * tail[1:]).sum() - tail[1:].sum() ** 2)

    mean, near = interval([variance(tail) for tail in tails])
    assert variance(limit.tail) < mean - near
    assert variance(finite.tail) == pytest.approx(mean, abs=near + 0.1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0.0, [1.0]), "rate_per_s"),
        ((1.0, [1.0]), "rate_per_s: load 1"),
        ((0.5, [1.0, -1.0]), "ends_per_s"),
        ((0.5, []), "ends_per_s"),
        ((0.5, [1.0], 0), "choices: 0"),
        ((0.5, [1.0], 1.5), "choices: 1.5"),
        ((0.5, [1.0], 2, 0), "servers: 0"),
    ],
)
def test_what_is_wrong_is_told(arguments: tuple[object, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        power_of_d(*arguments)  # type: ignore[arg-type]
