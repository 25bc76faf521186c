"""The Pareto frontier: what nothing else beats in one respect without being worse in another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def frontier(points: npt.ArrayLike, directions: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Tell which points no other point dominates.

    A point dominates another if it is at least as good in every respect and better in one. Equal points do
    not dominate each other. A point with a figure that does not exist (NaN) is neither on the frontier nor
    dominates. Exact, by comparing every pair: n² comparisons for n points.

    Args:
        points: shape (points, respects).
        directions: "min" or "max", one a respect.

    Returns:
        Shape (points,), true on the frontier.

    Raises:
        ValueError: shapes that do not agree, or another direction.

    """
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(directions):
        raise ValueError(f"points: shape {values.shape} is not (points, {len(directions)})")
    for direction in directions:
        if direction not in ("min", "max"):
            raise ValueError(f"directions: {direction!r} is not min or max")
    values = values * np.where(np.array(directions) == "max", -1.0, 1.0)
    others = values[~np.isnan(values).any(axis=1)]
    on = [
        not np.isnan(point).any() and not ((others <= point).all(axis=1) & (others < point).any(axis=1)).any()
        for point in values
    ]
    return np.array(on, dtype=np.bool_)
