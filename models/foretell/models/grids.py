"""Functions of one or two figures on fixed grids, the same to the bit for scalars and arrays."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def _points(dense: int, last: int, per_octave: int) -> Array:
    """0 to `dense` one by one, then `per_octave` points a doubling."""
    doublings = math.log2(last / dense)
    beyond = dense * 2.0 ** (np.arange(1, round(doublings * per_octave) + 1) / per_octave)
    return np.concatenate([np.arange(dense + 1.0), np.round(beyond)])


POINTS = _points(64, 2**21, 8)
"""Tokens, sampled sequences, ...: every number up to 64, then steps of 9 %."""
SEQS = 2.0 ** np.arange(14)
"""Sequences of a step."""
CONTEXTS = 2.0 ** np.arange(21)
"""Mean context of a decoding entry."""
QUERIES = 2.0 ** np.arange(18)
"""Mean query tokens of any other entry."""


class Line:
    """A function that is linear between the points of a grid and beyond its last one; values[0] is at 0."""

    __slots__ = ("arrays", "points", "slopes", "values")

    def __init__(self, points: Array, values: Array) -> None:
        slopes = np.diff(values) / np.diff(points)
        self.arrays = (points, values, np.append(slopes, slopes[-1]))
        self.points: list[float] = points.tolist()
        self.values: list[float] = values.tolist()
        self.slopes: list[float] = self.arrays[2].tolist()

    def at(self, x: float) -> float:
        """The value at a scalar x >= 0."""
        i = bisect_right(self.points, x) - 1
        return self.values[i] + (x - self.points[i]) * self.slopes[i]

    def over(self, x: Any) -> Array:
        """The values at an array."""
        points, values, slopes = self.arrays
        i = np.searchsorted(points, x, side="right") - 1
        return np.asarray(values[i] + (x - points[i]) * slopes[i], dtype=float)


class Surface:
    """A function that is bilinear in (x, y) between powers of two from 1, and beyond the last ones.

    Such a function holds a + b·x + c·y + d·x·y exactly. Below 1 the cell from 1 to 2 goes on.
    """

    __slots__ = ("array", "columns", "rows", "values")

    def __init__(self, values: Array) -> None:
        self.array = values
        self.values: list[list[float]] = values.tolist()
        self.rows, self.columns = values.shape[0] - 2, values.shape[1] - 2  # the last cells

    def at(self, x: float, y: float) -> float:
        """The value at scalars x, y > 0."""
        i, w = _cell(x, self.rows)
        j, v = _cell(y, self.columns)
        low, high = self.values[i], self.values[i + 1]
        near = low[j] * (1.0 - w) + high[j] * w
        far = low[j + 1] * (1.0 - w) + high[j + 1] * w
        return near * (1.0 - v) + far * v

    def over(self, x: Any, y: Any) -> Array:
        """The values at arrays; entries that are not positive give that of 1."""
        i, w = _cells(x, self.rows)
        j, v = _cells(y, self.columns)
        near = self.array[i, j] * (1.0 - w) + self.array[i + 1, j] * w
        far = self.array[i, j + 1] * (1.0 - w) + self.array[i + 1, j + 1] * w
        return np.asarray(near * (1.0 - v) + far * v, dtype=float)

    def along(self, x: float, ys: Iterable[float]) -> Iterator[float]:
        """The values at (x, y) for every y, those of `at` to the bit."""
        i, w = _cell(x, self.rows)
        row = [a * (1.0 - w) + b * w for a, b in zip(self.values[i], self.values[i + 1], strict=True)]
        last = self.columns
        for y in ys:
            j, v = _cell(y, last)
            yield row[j] * (1.0 - v) + row[j + 1] * v


def _cell(x: float, last: int) -> tuple[int, float]:
    """The octave that x lies in, and how far: 0 at its start, 1 at its end."""
    mantissa, exponent = math.frexp(x)
    i = exponent - 1
    if 0 <= i <= last:
        return i, 2.0 * mantissa - 1.0
    i = 0 if i < 0 else last
    return i, x / 2.0**i - 1.0


def _cells(x: Any, last: int) -> tuple[Any, Any]:
    x = np.where(np.asarray(x) > 0, x, 1.0)
    i = np.clip(np.frexp(x)[1] - 1, 0, last)
    return i, x / 2.0**i - 1.0
