"""The capacity frontier of a server: tokens a second an accelerator against tokens a second a user.

Two frontiers are compared on logarithmic axes, straight between their points:

- across: the ratio of tokens/s/accelerator where both give a user as many tokens a second;
- along: the ratio of tokens/s/user where both give an accelerator as many;
- speed: the factor that all times of one frontier must shrink by to come to the other, that is the ratio
  along the diagonal. A model that is k times too slow everywhere has speed 1/k, at every point; across it has
  more, by the slope of the frontier, as few requests in flight gain a user little and cost much throughput.

Nothing is extrapolated: a point beyond the other's ends has NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from foretell.sim.pareto import frontier

Array = npt.NDArray[np.float64]
KINDS = ("across", "along", "speed")


def operating_point(
    concurrency: float, accelerators: int, output_tokens: float, ttft_s: float, tpot_s: float
) -> tuple[float, float]:
    """Tokens/s/user and tokens/s/accelerator of a closed loop, by Little's law.

    A request takes TTFT + (G − 1)·TPOT for G tokens, and `concurrency` of them are always in flight; a user
    reads a token every TPOT.

    Args:
        concurrency: requests in flight.
        accelerators: that serve them.
        output_tokens: G, mean of an answer.
        ttft_s, tpot_s: means over the requests.

    """
    cycle_s = ttft_s + (output_tokens - 1) * tpot_s
    return 1 / tpot_s, concurrency * output_tokens / cycle_s / accelerators


def on_frontier(points: Sequence[tuple[float, float]]) -> npt.NDArray[np.int64]:
    """Which of the points no other beats, the slowest for a user first; of equal ones the first."""
    values = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    index = np.flatnonzero(frontier(values, ("max", "max")))
    _, first = np.unique(values[index, 0], return_index=True)
    return index[first]


def gaps(ours: Array, theirs: Array) -> dict[str, Array]:
    """How far the frontier `theirs` is from each point of `ours`: ln(theirs / ours), by kind of KINDS.

    Args:
        ours: (tokens/s/user, tokens/s/accelerator) of a frontier's points, in the order of `on_frontier`,
            shape (n, 2).
        theirs: likewise.

    Returns:
        Shape (n,) each; NaN where `theirs` ends before.

    >>> slow = np.array([[10.0, 900.0], [40.0, 100.0]])
    >>> {kind: np.exp(gap).round(2).tolist() for kind, gap in gaps(slow, 1.1 * slow).items()}["speed"]
    [1.1, 1.1]
    """
    (x, y), (u, v) = (np.log(points.reshape(-1, 2)).T for points in (ours, theirs))
    return {
        "across": _at(x, u, v) - y,
        "along": _at(-y, -v, u) - x,
        "speed": (_at(x - y, u - v, u + v) - (x + y)) / 2,
    }


def _at(x: Array, known: Array, values: Array) -> Array:
    """Straight lines between known points, whose places ascend; NaN outside of them."""
    if len(known) < 2:
        return np.full(len(x), np.nan)
    slack = 1e-9
    inside = (x >= known[0] - slack) & (x <= known[-1] + slack)
    return np.where(inside, np.interp(x, known, values), np.nan)


def steepness(points: Array) -> Array:
    """By how much an error of speed is larger across: 1 − d ln(tokens/s/accelerator)/d ln(tokens/s/user).

    Shape (n,), of the points of a frontier of two or more.
    """
    x, y = np.log(points).T
    slope: Array = np.gradient(y, x)
    return 1 - slope


def resampled(
    groups: Mapping[str, Array], resamples: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """The 5th and 95th percentile of the median error [%] when whole groups are drawn anew.

    Args:
        groups: absolute errors [%] of the points of each group, or one figure a group.
        resamples: draws.
        seed: of them.

    """
    parts = [part[np.isfinite(part)] for part in groups.values()]
    parts = [part for part in parts if len(part)]
    if len(parts) < 2:
        return None
    drawn = np.random.default_rng(seed).integers(len(parts), size=(resamples, len(parts)))
    medians = [float(np.median(np.concatenate([parts[i] for i in draw]))) for draw in drawn]
    low, high = np.quantile(medians, [0.05, 0.95])
    return float(low), float(high)
