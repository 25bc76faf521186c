"""A fleet over time: towards its fixed point, through overload, and as simulated."""

from __future__ import annotations

import heapq
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.models.queueing import power_of_d
from foretell.models.queueing.mean_field_course import Change, course

Array = npt.NDArray[np.float64]


def simulated(servers: int, times: list[float], rates: list[tuple[float, float]], seed: int) -> list[float]:
    """Mean number held at each of the times: M/M/1 servers at μ = 1, two choices, empty at first."""
    rng = np.random.default_rng(seed)
    held, seen, now = [0] * servers, list[float](), 0.0
    ends: list[tuple[float, int]] = []
    schedule = [*rates, (math.inf, 1.0)]
    rate, schedule = schedule[0][1], schedule[1:]
    come = rng.exponential(1 / (rate * servers))
    while len(seen) < len(times):
        now = min(come, ends[0][0] if ends else math.inf, schedule[0][0])
        while len(seen) < len(times) and times[len(seen)] <= now:
            seen.append(sum(held) / servers)
        if now == schedule[0][0]:  # exponential gaps forget
            rate, schedule = schedule[0][1], schedule[1:]
            come = now + rng.exponential(1 / (rate * servers))
        elif now == come:
            i, j = (int(x * servers) for x in rng.random(2))
            i = j if held[j] < held[i] else i
            held[i] += 1
            if held[i] == 1:
                heapq.heappush(ends, (now + rng.exponential(), i))
            come = now + rng.exponential(1 / (rate * servers))
        else:
            _, i = heapq.heappop(ends)
            held[i] -= 1
            if held[i]:
                heapq.heappush(ends, (now + rng.exponential(), i))
    return seen


def test_a_large_fleet_follows_the_equations() -> None:
    """1,000 servers, filled, overloaded for 6 s and relieved: within four standard errors at every time."""
    times = [1.0, 5.0, 12.0, 15.0, 18.0, 21.0, 30.0]
    rates = [(0.0, 0.7), (12.0, 1.3), (18.0, 0.5)]
    runs = np.array([simulated(1000, times, rates, seed) for seed in range(5)])
    found = course(times, [Change(at, rate) for at, rate in rates], [1.0]).mean
    near = 4 * runs.std(0, ddof=1) / len(runs) ** 0.5 + 0.005
    assert (np.abs(runs.mean(0) - found) < near).all(), (runs.mean(0), found, near)


@settings(max_examples=10)
@given(st.sampled_from([1, 2, 3]), st.floats(0.1, 0.85))
def test_it_ends_in_the_fixed_point(choices: int, rho: float) -> None:
    ends = np.arange(1.0, 9.0)
    fleet = power_of_d(8 * rho, ends, choices)
    at = course([0.0, 2000.0], [Change(0.0, 8 * rho)], ends, choices)
    assert at.mean[0] == 0
    assert at.mean[1] == pytest.approx(fleet.mean, rel=1e-3)
    stays = course([0.0, 5.0], [Change(0.0, 8 * rho)], ends, choices, fleet.tail)
    assert stays.mean[1] == pytest.approx(fleet.mean, rel=1e-3)


def test_overload_grows_by_what_is_too_much() -> None:
    """λ − μ(N) a second, once every place is taken; those who come wait for all before them."""
    ends = np.full(4, 2.0)
    at = course([50.0, 60.0], [Change(0.0, 3.0)], ends)
    assert at.mean[1] - at.mean[0] == pytest.approx(10 * (3.0 - 2.0), rel=1e-3)
    assert at.waiting == pytest.approx([1.0, 1.0], abs=1e-6)
    assert at.wait_s[1] == pytest.approx((at.mean[1] - 3) / 2.0, rel=0.05)


def test_lost_servers_hand_over_what_they_held() -> None:
    """A fifth fails: the others hold 5/4 of what they held, at once; fresh ones hold nothing."""
    start = power_of_d(4.0, np.arange(1.0, 9.0)).tail
    held = float(start[1:].sum())
    at = course([0.0, 1.0], [Change(0.0, 4.0), Change(1.0, 5.0, lost=0.2)], np.arange(1.0, 9.0), 2, start)
    assert at.mean[1] == pytest.approx(held * 1.25, rel=1e-4)
    joined = course(
        [0.0, 1.0], [Change(0.0, 4.0), Change(1.0, 3.2, fresh=0.2)], np.arange(1.0, 9.0), 2, start
    )
    assert joined.mean[1] == pytest.approx(held * 0.8, rel=1e-4)
    burst = course([0.0, 1.0], [Change(0.0, 4.0), Change(1.0, 4.0, burst=2.5)], np.arange(1.0, 9.0), 2, start)
    assert burst.mean[1] == pytest.approx(held + 2.5, rel=1e-4)


def test_the_least_loaded_of_all_evens_out_a_burst() -> None:
    at = course([0.0, 1.0], [Change(0.0, 1e-6), Change(1.0, 0.0, burst=3.0)], [1.0], math.inf)
    assert at.tail[1, 3] == pytest.approx(1.0, abs=0.05)
    assert at.tail[1, 5] == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(
    ("times", "changes", "says"),
    [
        ([0.0], [], "changes"),
        ([0.0], [Change(1.0, 1.0)], "changes"),
        ([2.0, 1.0], [Change(0.0, 1.0)], "changes"),
    ],
)
def test_what_is_wrong_is_told(times: list[float], changes: list[Change], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        course(times, changes, [1.0])


def test_a_change_has_its_ranges() -> None:
    with pytest.raises(ValueError, match="lost"):
        Change(0.0, 1.0, lost=1.0)
    with pytest.raises(ValueError, match="rate_per_s"):
        Change(0.0, -1.0)


def test_what_is_seen_does_not_depend_on_when_one_looks() -> None:
    """Most replicas go: a line grows far between two looks."""
    changes = [Change(0, 0.95), Change(100, 0.95, lost=0.97)]
    seldom, often = (course(times, changes, [1.0]).mean[-1] for times in ([0, 2000], [0, 101, 500, 2000]))
    assert seldom == pytest.approx(often, rel=1e-3)
    assert seldom > 10
