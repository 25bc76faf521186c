"""The expected value of perfect information, by hand and by brute force."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.sim.sensitivity_value import TOLERANCE, worth_knowing

Rent = Callable[[float], float]
NORMAL = NormalDist()
ERRORS = st.floats(0.0, 0.5)
CHANCES = st.sampled_from([0.3, 0.5, 0.8, 0.9, 0.95])


def replicas(each: float, dear: float = 1.0, power: float = 1.0) -> Rent:
    """Rent of the whole replicas that a load takes, which falls with the input for a power below 0."""
    return lambda factor: dear * math.ceil(each * factor**power - 1e-12)


def brute_force(rent: Rent, log_error: float, probability: float) -> float:
    shares = (np.arange(4000) + 0.5) / 4000
    rents = np.array([rent(math.exp(log_error * NORMAL.inv_cdf(u))) for u in shares])
    today = np.sort(rents)[math.ceil(probability * 4000) - 1]
    return float(today - np.minimum(rents, today).mean())


def test_two_outcomes_by_hand() -> None:
    """Two replicas are needed in a quarter of the cases, one in the others."""
    edge = math.exp(0.2 * NORMAL.inv_cdf(0.75))

    def rent(factor: float) -> float:
        return 6.0 if factor > edge else 3.0

    sure = worth_knowing(rent, 0.2, 0.9)
    assert sure.today_usd_per_h == 6.0
    assert sure.usd_per_h == pytest.approx(0.75 * 3, abs=3 * TOLERANCE)
    assert sure.chance == pytest.approx(1.0)
    bold = worth_knowing(rent, 0.2, 0.7)  # who accepts to miss in a quarter rents one, and learns nothing
    assert bold.today_usd_per_h == bold.informed_usd_per_h == 3.0
    assert bold.chance == pytest.approx(0.75, abs=TOLERANCE)


@pytest.mark.parametrize("power", [1.0, -1.0, 2.0])
@pytest.mark.parametrize("probability", [0.5, 0.9])
def test_brute_force_agrees(power: float, probability: float) -> None:
    rent = replicas(7.4, 2.5, power)
    found = worth_knowing(rent, 0.15, probability).usd_per_h
    assert found == pytest.approx(brute_force(rent, 0.15, probability), abs=0.1)


def test_fine_steps_come_to_the_integral() -> None:
    """With rents in proportion and P = 50 %, E[(1 − θ)⁺] = ½ − e^{σ²/2}·Φ(−σ)."""
    error = 0.2
    exact = 0.5 - math.exp(error**2 / 2) * NORMAL.cdf(-error)
    found = worth_knowing(replicas(5000, 1 / 5000), error, 0.5, tolerance=1 / 1024)
    assert found.usd_per_h == pytest.approx(exact, rel=0.02)


@settings(deadline=None, max_examples=60)
@given(st.floats(0.3, 40.0), ERRORS, CHANCES, st.sampled_from([-1.0, 0.0, 0.5, 1.0]))
def test_it_is_never_negative_and_what_changes_nothing_is_worth_nothing(
    each: float, log_error: float, probability: float, power: float
) -> None:
    worth = worth_knowing(replicas(each, 2.0, power), log_error, probability)
    assert worth.usd_per_h >= 0
    assert worth.informed_usd_per_h <= worth.today_usd_per_h
    assert worth.chance >= probability - 1e-6
    if power == 0 or log_error == 0:
        assert worth.usd_per_h == 0


@settings(deadline=None, max_examples=40)
@given(st.floats(2.0, 30.0), st.floats(0.01, 0.3), st.floats(1.1, 2.0))
def test_the_less_is_known_the_more_it_is_worth(each: float, log_error: float, more: float) -> None:
    """At P = 50 % the rent of today stays that of the median, and the cases below it only go further down."""
    less_sure = worth_knowing(replicas(each), log_error * more, 0.5).usd_per_h
    jumps = each * (math.exp(3 * log_error) - math.exp(-3 * log_error)) + 1
    assert less_sure >= worth_knowing(replicas(each), log_error, 0.5).usd_per_h - jumps * TOLERANCE


def test_what_no_replicas_can_mend() -> None:
    def rent(factor: float) -> float:
        return 1.0 if factor < 1 else math.inf

    hopeless, half = (worth_knowing(rent, 0.1, probability) for probability in (0.9, 0.4))
    assert math.isnan(hopeless.usd_per_h)
    assert hopeless.today_usd_per_h == math.inf
    assert half.usd_per_h == 0.0
    assert half.chance == pytest.approx(0.5, abs=TOLERANCE)


def test_few_rents_are_asked_for() -> None:
    asked: list[float] = []

    def rent(factor: float) -> float:
        asked.append(factor)
        return 1.0

    worth_knowing(rent, 0.2, 0.9)
    assert len(asked) == 2


@pytest.mark.parametrize(("log_error", "probability"), [(-0.1, 0.9), (math.inf, 0.9), (0.1, 0.0), (0.1, 1.0)])
def test_bad_arguments(log_error: float, probability: float) -> None:
    with pytest.raises(ValueError, match=r"log_error|probability"):
        worth_knowing(lambda factor: 1.0, log_error, probability)


def test_a_large_fleet_takes_few_rents_as_well() -> None:
    asked: list[float] = []
    whole = replicas(1000.0)

    def rent(factor: float) -> float:
        asked.append(factor)
        return whole(factor)

    found = worth_knowing(rent, 0.15, 0.9).usd_per_h
    assert found == pytest.approx(brute_force(whole, 0.15, 0.9), rel=0.02)
    assert len(asked) < 40
