"""Lines and surfaces: exact where the function is linear, and one answer however they are asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.models.grids import CONTEXTS, POINTS, SEQS, Line, Surface

loads = st.floats(0.0, 5e6)
positive = st.floats(1e-3, 1e8)
COEFFICIENTS = st.tuples(*[st.floats(0.0, 10.0)] * 4)
ROUGH = Line(POINTS, np.random.default_rng(1).random(POINTS.size))
BUMPS = Surface(np.random.default_rng(2).random((SEQS.size, CONTEXTS.size)))


def test_points_are_dense_first_and_rise() -> None:
    assert POINTS[:65].tolist() == list(range(65))
    assert (np.diff(POINTS) > 0).all()
    assert (POINTS[65:] / POINTS[64:-1] < 2 ** (1 / 8) + 0.02).all()
    assert POINTS[-1] == 2**21


@given(loads, st.floats(0, 10), st.floats(0, 10))
def test_a_line_is_exact_for_linear_functions_beyond_its_end_too(x: float, a: float, b: float) -> None:
    assert Line(POINTS, a + b * POINTS).at(x) == pytest.approx(a + b * x, rel=1e-9)


def test_a_line_by_hand() -> None:
    line = Line(np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 3.0]))
    assert [line.at(x) for x in (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)] == [0.0, 1.0, 2.0, 2.5, 3.0, 4.0]


@given(st.lists(loads, min_size=1, max_size=20))
def test_a_line_says_the_same_of_scalars_and_arrays(xs: list[float]) -> None:
    assert ROUGH.over(np.array(xs)).tolist() == [ROUGH.at(x) for x in xs]


@given(COEFFICIENTS, positive, positive)
def test_a_surface_is_exact_for_bilinear_functions(
    coefficients: tuple[float, ...], x: float, y: float
) -> None:
    a, b, c, d = coefficients
    many, long = np.meshgrid(SEQS, CONTEXTS, indexing="ij")
    surface = Surface(a + b * many + c * long + d * many * long)
    assert surface.at(x, y) == pytest.approx(a + b * x + c * y + d * x * y, rel=1e-9, abs=1e-9)


def test_a_surface_by_hand() -> None:
    surface = Surface(np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [5.0, 6.0, 7.0]]))
    # at 1, 2, 4 both ways: half-way between 2 and 4 lies 3
    assert surface.at(1, 1) == 1.0
    assert surface.at(3, 1) == 4.0
    assert surface.at(3, 3) == 5.5
    assert surface.at(8, 1) == 9.0  # the last cell goes on


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=20))
def test_a_surface_says_the_same_of_scalars_and_arrays(at: list[tuple[float, float]]) -> None:
    xs, ys = np.array(at).T
    assert BUMPS.over(xs, ys).tolist() == [BUMPS.at(x, y) for x, y in at]


@given(positive, st.lists(positive, max_size=20))
def test_a_surface_says_the_same_along_a_row(x: float, ys: list[float]) -> None:
    assert list(BUMPS.along(x, ys)) == [BUMPS.at(x, y) for y in ys]


def test_entries_of_arrays_that_carry_nothing_count_as_one() -> None:
    assert BUMPS.over(np.array([0.0, 2.0]), np.array([5.0, 0.0])).tolist() == [
        BUMPS.at(1.0, 5.0),
        BUMPS.at(2.0, 1.0),
    ]
