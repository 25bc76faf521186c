"""Who was preempted, and when it went on: engines keep a log of it where they record what steps carry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PREEMPTED, BACK, AGAIN = range(3)
"""What happened to a request: it lost its blocks; a step carries it again; all that it knew is computed."""
Pause = tuple[int, int, float]
"""An entry of an engine's log: (the request's row, what happened, when [s])."""


def paused(log: Sequence[Pause], numbers: npt.NDArray[np.int64] | None = None) -> Floats:
    """One engine's preemptions in the order in which they happened.

    Args:
        log: in order of time for each request.
        numbers: by row, what the log calls a request, where that is not its row.

    Returns:
        (n, 4): the request's row; since when it was in no step [s], the end of the last step before; until
        when, NaN where it never ran again; when its next token came, NaN where it was preempted once more or
        cancelled before.

    """
    place = {} if numbers is None else {number: row for row, number in enumerate(numbers.tolist())}
    found: list[list[float]] = []
    last: dict[int, list[float]] = {}
    for number, what, when in log:
        if what == PREEMPTED:
            last[number] = [place.get(number, number), when, np.nan, np.nan]
            found.append(last[number])
        else:
            last[number][1 + what] = when
    return np.array(found, dtype=np.float64).reshape(-1, 4)
