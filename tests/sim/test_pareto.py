"""The Pareto frontier, against the definition itself and a sweep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.sim.pareto import frontier


def by_sweep(points: list[tuple[int, int]]) -> list[bool]:
    """Two respects, both less is better: a point is on it if nobody to its left, or level, is below."""
    best = {x: min(y for a, y in points if a <= x) for x, _ in points}
    before = {x: min((y for a, y in points if a < x), default=10**9) for x, _ in points}
    return [y == best[x] and y < before[x] for x, y in points]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_two_respects_as_by_a_sweep(points: list[tuple[int, int]]) -> None:
    assert frontier(points, ["min", "min"]).tolist() == by_sweep(points)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_nobody_on_it_is_dominated_and_everybody_off_it_is(seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 4, (25, 3)).astype(float)
    on = frontier(points, ["max", "min", "min"])
    good = points * np.array([-1, 1, 1])
    for point, there in zip(good, on, strict=True):
        beaten = any((other <= point).all() and (other < point).any() for other in good)
        assert there == (not beaten)
    assert on.any()


def test_figures_that_do_not_exist_and_wrong_input() -> None:
    on = frontier([[1.0, 1.0], [np.nan, 0.0], [1.0, 1.0], [2.0, 2.0]], ["min", "min"])
    assert on.tolist() == [True, False, True, False]
    assert frontier(np.empty((0, 2)), ["min", "max"]).tolist() == []
    with pytest.raises(ValueError, match="directions: 'up' is not min or max"):
        frontier([[1.0]], ["up"])
    with pytest.raises(ValueError, match="points"):
        frontier([1.0, 2.0], ["min"])
