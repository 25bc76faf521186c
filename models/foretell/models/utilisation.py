"""Interpolation of utilisation: how much of the roofline a kernel reached, between and beside measurements.

u = (roofline at 100 % of the peaks + LAUNCH_S) / measured seconds. It moves slowly where time moves by orders
of magnitude, and it carries over to a shape, a format or an accelerator that nobody measured; the roofline
there gives the time back. All coordinates are log2. A point that was measured comes out as it was measured;
between points log u is linear; outside the boundary holds.

Every value comes with a log-standard-error that grows with the distance in octaves to what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
LAUNCH_S = 2e-6
"""Added to every roofline, so that the utilisation of tiny kernels does not vanish."""
REPEAT_ERROR = 0.02
"""Log-error of a measured point: what repeating it gives."""
NEIGHBOURS = 4
"""Measured shapes that lend to one nobody measured."""


class Estimate(NamedTuple):
    """Seconds and the standard error of their logarithm."""

    seconds: Any
    log_error: Any


@dataclass(frozen=True, slots=True)
class Rule:
    """How the shapes of a family lend to each other.

    Attributes:
        scale: (P,) how far apart an octave of each coordinate of the shape is.
        carry: (P,) exponents: a lender is asked at the first figure of the load times
            Π (wanted / lender)^carry, so that both do as much work.
        per_octave: log-error that an octave of the load to the nearest measured point adds; the variance goes
            with the distance, as a random walk's does.
        per_shape: log-error that an octave between shapes adds.

    """

    scale: tuple[float, ...]
    carry: tuple[float, ...]
    per_octave: float
    per_shape: float


@dataclass(frozen=True, slots=True)
class Curves:
    """Log-utilisation of a family of kernels.

    Attributes:
        shapes: (S, P) log2 coordinates of the shapes; P = 0 where the shape is among the axes.
        axes: log2 coordinates of each axis of the load, ascending.
        log_u: (S, *axes), without gaps.
        gaps: (S, *axes) octaves to the nearest points that were measured, 0 where it was.
        rule: how shapes lend.

    """

    shapes: Array
    axes: tuple[Array, ...]
    log_u: Array
    gaps: Array
    rule: Rule


def make_curves(
    shapes: Array, axes: tuple[Array, ...], seconds: Array, roofline_s: Array, rule: Rule
) -> Curves:
    """Curves of measured `seconds` (S, *axes), NaN where none were, and the roofline there."""
    log_u = np.log((roofline_s + LAUNCH_S) / seconds.astype(np.float64))
    logs = tuple(np.log2(axis) for axis in axes)
    places = np.log2(np.maximum(shapes, 0.5))
    gaps = np.zeros_like(log_u)
    # what is missing comes from what was measured beside it, then from that, until nothing is missing
    while (missing := np.isnan(log_u)).any():
        guess, gap = left_out(places, logs, log_u, rule)
        if not np.isfinite(guess[missing]).any():
            guess, gap = np.full_like(log_u, np.nanmean(log_u)), np.full_like(log_u, 10.0)
        gaps = np.where(missing & np.isfinite(guess), gaps.max() + gap, gaps)
        log_u = np.where(missing, guess, log_u)
    return Curves(places, logs, log_u, gaps, rule)


def left_out(shapes: Array, axes: tuple[Array, ...], log_u: Array, rule: Rule) -> tuple[Array, Array]:
    """Each point as all the others tell it, never itself.

    That is the mean of like shapes at the same load, and how far this shape was off them at loads nearby.

    Returns:
        The estimates (NaN where nothing tells) and the gaps they bridge, in octaves.

    """
    if shapes.shape[1]:
        like = _siblings(shapes, log_u, rule)
    else:
        # the shape is among the axes: all but the last
        like, _ = from_neighbours(np.moveaxis(log_u, -1, 1), axes[:-1])
        like = np.moveaxis(like, 1, -1)
        axes = axes[-1:]
    off, gap = from_neighbours(log_u - like, axes)
    alone, own_gap = from_neighbours(log_u, axes)
    known = np.isfinite(like + off)
    # without any load of its own, a shape is as its like
    alone = np.where(np.isfinite(alone), alone, like)
    own_gap = np.where(np.isfinite(own_gap), own_gap, 1.0)
    return np.where(known, like + off, alone), np.where(known, gap, own_gap)


def _siblings(shapes: Array, log_u: Array, rule: Rule) -> Array:
    """The mean of the nearest other shapes at each load, weighed by the inverse square of the distance."""
    apart = (shapes[:, None, :] - shapes[None, :, :]) * np.array(rule.scale)
    distance = np.sqrt((apart**2).sum(axis=2))
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(shapes) - 1)]
    total, weights = np.zeros_like(log_u), np.zeros_like(log_u)
    for place in range(nearest.shape[1]):
        other = log_u[nearest[:, place]]
        near = np.maximum(distance[np.arange(len(shapes)), nearest[:, place]], 1e-3)
        weight = np.where(np.isfinite(other), 1.0, 0.0) / near.reshape(-1, *(1,) * (log_u.ndim - 1)) ** 2
        total += weight * np.where(np.isfinite(other), other, 0.0)
        weights += weight
    with np.errstate(divide="ignore", invalid="ignore"):
        return total / weights


def from_neighbours(log_u: Array, axes: tuple[Array, ...]) -> tuple[Array, Array]:
    """Each point as its nearest measured neighbours along every axis tell it, never itself; NaN if none do.

    Between two neighbours it is linear, beyond the last it holds; axes are weighed by the inverse square of
    the gap they bridge, one-sided ones as three times as wide.

    Returns:
        The estimates and the gaps they bridge, in octaves (inf without any neighbour).

    """
    total, weight = np.zeros_like(log_u), np.zeros_like(log_u)
    for place, axis in enumerate(axes, start=log_u.ndim - len(axes)):
        moved = np.moveaxis(log_u, place, -1)
        low_value, low = _last_before(moved, axis)
        high_value, high = _last_before(moved[..., ::-1], -axis[::-1])
        high_value, high = high_value[..., ::-1], high[..., ::-1]
        both = np.isfinite(low) & np.isfinite(high)
        near, value = np.minimum(low, high), np.where(low <= high, low_value, high_value)
        with np.errstate(invalid="ignore"):
            value = np.where(both, (low_value * high + high_value * low) / (low + high), value)
            gap = np.where(both, low * high / (low + high), 3.0 * near)
        part = np.where(np.isfinite(gap), 1.0 / np.maximum(gap, 1e-6) ** 2, 0.0)
        total += np.moveaxis(np.where(part > 0, value, 0.0) * part, -1, place)
        weight += np.moveaxis(part, -1, place)
    with np.errstate(divide="ignore", invalid="ignore"):
        return total / weight, 1.0 / np.sqrt(weight)


def _last_before(values: Array, axis: Array) -> tuple[Array, Array]:
    """Last finite value strictly before each place of the last axis, and how far back it is (inf: none)."""
    places = np.where(np.isfinite(values), np.arange(values.shape[-1]), -1)
    last = np.maximum.accumulate(places, axis=-1)
    last = np.concatenate([np.full_like(last[..., :1], -1), last[..., :-1]], axis=-1)
    found = last >= 0
    at = np.maximum(last, 0)
    back = np.where(found, axis - axis[at], np.inf)
    return np.where(found, np.take_along_axis(values, at, axis=-1), 0.0), back


def at(curves: Curves, shape: tuple[float, ...], load: tuple[Any, ...]) -> tuple[Array, Array, float]:
    """Log u of a shape at loads (one array an axis), the gap in the load, and the distance to the lenders.

    A shape that was measured speaks for itself, others lend by the inverse square of their distance.
    """
    wanted = np.log2(np.maximum(np.array(shape, dtype=float), 0.5))
    apart = (curves.shapes - wanted) * np.array(curves.rule.scale)
    distance = np.sqrt((apart**2).sum(axis=1))
    nearest = np.argsort(distance, kind="stable")[:NEIGHBOURS]
    least = float(distance[nearest[0]])
    if least < 1e-9:
        return (*interpolate(curves, int(nearest[0]), load), 0.0)
    weights = 1.0 / distance[nearest] ** 2
    log_u: Any = 0.0
    gap: Any = 0.0
    for place, weight in zip(nearest, weights / weights.sum(), strict=True):
        times = 2.0 ** float((wanted - curves.shapes[place]) @ np.array(curves.rule.carry))
        part_u, part_gap = interpolate(curves, int(place), (load[0] * times, *load[1:]))
        log_u, gap = log_u + weight * part_u, gap + weight * part_gap
    return log_u, gap, least


def interpolate(curves: Curves, place: int, load: tuple[Any, ...]) -> tuple[Array, Array]:
    """Interpolate log u of the shape at `place`, and the gap in octaves, at loads (one array an axis).

    Multilinear in log2; outside the axes the boundary holds, and the gap is the distance to it.
    """
    logs = np.broadcast_arrays(*(np.log2(np.maximum(values, 1e-9)) for values in load))
    corners, beside = [], np.zeros(logs[0].shape)
    for axis, values in zip(curves.axes, logs, strict=True):
        inside = np.clip(values, axis[0], axis[-1])
        low = np.clip(np.searchsorted(axis, inside, side="right") - 1, 0, max(len(axis) - 2, 0))
        high = np.minimum(low + 1, len(axis) - 1)
        span = np.maximum(axis[high] - axis[low], 1e-12)
        share = (inside - axis[low]) / span
        corners.append(((low, 1.0 - share), (high, share)))
        beside = beside + (np.minimum(share, 1.0 - share) * span) ** 2 + (values - inside) ** 2
    log_u, gaps = np.zeros(logs[0].shape), np.zeros(logs[0].shape)
    for choice in np.ndindex(*(2,) * len(corners)):
        at, weight = [], np.ones(logs[0].shape)
        for side, corner in zip(choice, corners, strict=True):
            at.append(corner[side][0])
            weight = weight * corner[side][1]
        log_u += weight * curves.log_u[(place, *at)]
        gaps += weight * curves.gaps[(place, *at)]
    return log_u, np.hypot(gaps, np.sqrt(beside))


def log_error(curves: Curves, gap: Any, distance: float, borrowed: float = 0.0) -> Any:
    """Log-standard-error over a gap in the load, a distance between shapes, and what borrowing adds."""
    rule = curves.rule
    return np.sqrt(REPEAT_ERROR**2 + rule.per_octave**2 * gap + rule.per_shape**2 * distance + borrowed**2)


def seconds_at(roofline_s: Any, log_u: Any) -> Any:
    """Seconds of a roofline at a utilisation, never less than the roofline itself; 0 where that is 0."""
    return np.where(roofline_s > 0, np.maximum((roofline_s + LAUNCH_S) * np.exp(-log_u), roofline_s), 0.0)
