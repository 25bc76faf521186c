"""Interpolation of utilisation, on tables small enough to follow by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foretell.models.utilisation import (
    LAUNCH_S,
    REPEAT_ERROR,
    Curves,
    Rule,
    at,
    from_neighbours,
    left_out,
    log_error,
    make_curves,
    seconds_at,
)

RULE = Rule(scale=(1.0,), carry=(0.0,), per_octave=0.1, per_shape=0.2)
TIMES = arrays(np.float64, (3, 4), elements=st.floats(1e-5, 1e-2))


def curves_of(seconds: npt.NDArray[Any], rule: Rule = RULE) -> Curves:
    """Shapes 8, 16, 32 over loads 1, 2, 4, 16 with a roofline of 1 µs a unit of load."""
    axis = np.array([1.0, 2.0, 4.0, 16.0])
    return make_curves(np.array([[8.0], [16.0], [32.0]]), (axis,), seconds, roof(axis)[None, :], rule)


def roof(load: Any) -> Any:
    return 1e-6 * load


@given(TIMES)
def test_measured_points_come_out_as_measured(seconds: npt.NDArray[Any]) -> None:
    curves = curves_of(seconds)
    for place, shape in enumerate((8.0, 16.0, 32.0)):
        axis = np.array([1.0, 2.0, 4.0, 16.0])
        log_u, gap, distance = at(curves, (shape,), (axis,))
        told = (roof(axis) + LAUNCH_S) * np.exp(-log_u)
        np.testing.assert_allclose(told, seconds[place], rtol=1e-9)
        assert not gap.any() and distance == 0.0


def test_between_two_points_log_utilisation_is_linear_in_log_load() -> None:
    seconds = np.full((3, 4), 1e-4)
    seconds[0] = [1e-4, 1e-4, 2e-4, 4e-4]
    # u(4) = 6/200, u(16) = 18/400; at 8, halfway in log2, their geometric mean
    log_u, gap, _ = at(curves_of(seconds), (8.0,), (np.array([8.0]),))
    assert np.exp(log_u[0]) == pytest.approx(np.sqrt(6 / 200 * 18 / 400))
    assert gap[0] == pytest.approx(1.0)


def test_outside_the_boundary_holds_and_the_error_grows() -> None:
    curves = curves_of(np.full((3, 4), 1e-4))
    log_u, gap, distance = at(curves, (8.0,), (np.array([16.0, 64.0, 1024.0]),))
    assert log_u[0] == log_u[1] == log_u[2]
    np.testing.assert_allclose(gap, [0.0, 2.0, 6.0])
    errors = log_error(curves, gap, distance)
    assert errors[0] == REPEAT_ERROR
    # the variance of a random walk of 0.1 an octave
    np.testing.assert_allclose(errors[1:] ** 2 - REPEAT_ERROR**2, [0.02, 0.06])


def test_an_unknown_shape_borrows_by_inverse_square_of_the_distance() -> None:
    seconds = np.stack([np.full(4, time) for time in (1e-4, 2e-4, 4e-4)])
    curves = curves_of(seconds)
    log_u, _, distance = at(curves, (2.0**3.5,), (np.array([1.0]),))
    # half an octave to 8 and to 16, one and a half to 32: weights 4, 4, 4/9
    own = curves.log_u[:, 0]
    assert log_u[0] == pytest.approx((4 * own[0] + 4 * own[1] + own[2] * 4 / 9) / (8 + 4 / 9))
    assert distance == pytest.approx(0.5)
    assert log_error(curves, 0.0, distance) == pytest.approx(np.sqrt(REPEAT_ERROR**2 + 0.04 * 0.5))


def test_a_lender_is_asked_at_as_much_work() -> None:
    carried = Rule(scale=(1.0,), carry=(1.0,), per_octave=0.1, per_shape=0.2)
    seconds = np.full((3, 4), 1e-4)
    curves = make_curves(
        np.array([[8.0], [16.0], [32.0]]),
        (np.array([1.0, 2.0, 4.0, 16.0]),),
        seconds,
        roof(np.array([[1.0, 2.0, 4.0, 16.0]])),
        carried,
    )
    # a shape of 64 at load 1 is one of 32 at 2, of 16 at 4, of 8 at 8
    log_u, _, _ = at(curves, (64.0,), (np.array([1.0]),))
    told = [at(curves, (shape,), (np.array([load]),))[0][0] for shape, load in ((32, 2), (16, 4), (8, 8))]
    weights = np.array([1.0, 1 / 4, 1 / 9])
    assert log_u[0] == pytest.approx(float(weights @ told / weights.sum()))


@given(st.floats(1e-9, 1.0), st.floats(-5.0, 5.0))
def test_no_time_is_shorter_than_the_roofline(roofline: float, log_u: float) -> None:
    assert seconds_at(roofline, log_u) >= roofline
    assert seconds_at(0.0, log_u) == 0.0


@settings(max_examples=50)
@given(TIMES, st.integers(0, 2), st.integers(0, 3))
def test_a_point_left_out_says_nothing_of_itself(seconds: npt.NDArray[Any], row: int, column: int) -> None:
    curves = curves_of(seconds)
    changed = curves.log_u.copy()
    changed[row, column] += 1.0
    told, _ = left_out(curves.shapes, curves.axes, curves.log_u, RULE)
    again, _ = left_out(curves.shapes, curves.axes, changed, RULE)
    assert again[row, column] == pytest.approx(told[row, column])


def test_a_shape_that_is_always_so_much_slower_is_told_exactly() -> None:
    axis = np.array([1.0, 2.0, 4.0, 16.0])
    wavy = np.array([3e-4, 1e-4, 9e-4, 2e-4])
    curves = make_curves(
        np.array([[8.0], [16.0], [32.0]]), (axis,), np.stack([wavy, 2 * wavy, wavy]), roof(axis)[None], RULE
    )
    told, _ = left_out(curves.shapes, curves.axes, curves.log_u, RULE)
    np.testing.assert_allclose(told[1], curves.log_u[1])


def test_neighbours_are_weighed_by_the_gap_they_bridge() -> None:
    values = np.array([[0.0, np.nan, 1.0], [np.nan, np.nan, np.nan]])
    told, gap = from_neighbours(values, (np.array([0.0, 1.0, 3.0]),))
    # two octaves to the left's one: a third of the way
    assert told[0, 1] == pytest.approx(1 / 3)
    assert gap[0, 1] == pytest.approx(2 / 3)
    assert told[0, 0] == 1.0 and gap[0, 0] == pytest.approx(9.0)
    assert np.isnan(told[1]).all()


def test_what_was_not_measured_is_filled_and_known_to_be() -> None:
    seconds = np.full((3, 4), 1e-4)
    seconds[1, 1:] = np.nan
    curves = curves_of(seconds)
    assert np.isfinite(curves.log_u).all()
    assert (curves.gaps[1, 1:] > 0).all() and curves.gaps[0].max() == 0.0
    # all shapes take as long, so the missing ones do
    np.testing.assert_allclose(curves.log_u[1], curves.log_u[0])
