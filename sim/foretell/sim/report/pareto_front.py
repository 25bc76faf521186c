"""A picture of choices in two respects: the frontier joined and named, what is beaten dim.

Which points lie on the frontier is told by `pareto.frontier` in the two respects of the picture. Names are
written where they touch neither each other nor a mark; where there is no such place, the pointer tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from foretell.sim.pareto import frontier
from foretell.sim.report.axes import CHARACTER_PX, Axis, Scale, scale
from foretell.sim.report.frame import BELOW_PX, frame, key, level_boxes, levels, stacked, uprights
from foretell.sim.report.names import Box, placed_names
from foretell.sim.report.svg import COLOURS, marker, svg

_RIGHT = 14
_TOLD = 200
"""Beaten points up to which each tells the pointer its name; of more, those that hide each other are one."""
_NAMED = 14
_AIR = 0.06
"""Room beside the outermost figures, as a share of their span."""
_FROM_ZERO = 0.25
"""An axis begins at 0 where its low end is below so much of its high end."""
_LARGE = 1.55


@dataclass(frozen=True, slots=True)
class Point:
    """A choice.

    Attributes:
        x, y: its figures; one that is not finite keeps it out of the picture.
        name: written at it if it lies on the frontier.
        told: what the pointer is told; the name where empty.
        group: points of a group share colour and mark.
        x_range, y_range: intervals, drawn as whiskers.
        chosen: ringed.
        kept: on a frontier of more respects than the picture has.

    """

    x: float
    y: float
    name: str = ""
    told: str = ""
    group: str = ""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    chosen: bool = False
    kept: bool = False

    @property
    def drawn(self) -> bool:
        """Whether it has a place."""
        return math.isfinite(self.x) and math.isfinite(self.y)


def on_front(points: Sequence[Point], better: tuple[str, str], *, apart: bool = False) -> list[bool]:
    """Which points no other one beats in the two respects; with `apart`, no other one of its group."""
    groups = list(dict.fromkeys(point.group for point in points)) if apart else [None]
    found = [False] * len(points)
    for group in groups:
        places = [i for i, point in enumerate(points) if group is None or point.group == group]
        figures = [[points[i].x, points[i].y] if points[i].drawn else [math.nan] * 2 for i in places]
        for i, on in zip(places, frontier(figures, better) if places else (), strict=True):
            found[i] = bool(on)
    return found


def front(
    points: Sequence[Point],
    x: Axis,
    y: Axis,
    title: str,
    about: str,
    *,
    better: tuple[str, str] = ("min", "max"),
    apart: bool = False,
    stairs: bool = True,
    upright: Mapping[str, float] | None = None,
    level: Mapping[str, float] | None = None,
    width: int = 460,
    height: int = 320,
) -> str:
    """Plot choices and their frontier.

    Args:
        points: the choices; large marks lie on the frontier, hollow ones are `kept`, small ones are beaten.
        x, y: the axes.
        title: of the picture, for those who cannot see it.
        about: what it shows in words.
        better: "min" or "max", of x and of y.
        apart: a frontier of each group's own, in its colour, instead of one of all.
        stairs: join the frontier in steps, as one must choose a point; else by straight lines, as of curves.
        upright, level: limits of x and of y by what is written at them.
        width, height: [px] of the plot with its axes; a legend comes below.

    """
    drawn = [point for point in points if point.drawn and _has_place(point, x, y)]
    on = on_front(drawn, better, apart=apart)
    across, up, top = _scales(drawn, on, x, y, dict(upright or {}), dict(level or {}), width, height)
    groups = list(dict.fromkeys(point.group for point in drawn))
    corner, wished = _better(better, across, up)
    parts = [*frame(across, up, height, top), wished]
    places = [(across.at(point.x), up.at(point.y)) for point in drawn]
    parts += _beaten(
        drawn, places, [not (o or p.kept or p.chosen) for o, p in zip(on, drawn, strict=True)], groups
    )
    paths = []
    for index, group in enumerate(groups if apart else [None]):
        chain = [at for at, o, p in zip(places, on, drawn, strict=True) if o and group in (None, p.group)]
        colour = f"var(--c{index % COLOURS})" if apart else "var(--text)"
        path = sorted(set(chain))
        paths.append(path)
        parts += _joined(path, colour, better[0], stairs=stairs)
    seen = [i for i, point in enumerate(drawn) if on[i] or point.kept or point.chosen]
    for i in seen:
        parts += _mark(drawn[i], *places[i], groups.index(drawn[i].group), across, up, on=on[i])
    named = sorted(
        (i for i in seen if on[i] or drawn[i].chosen), key=lambda i: (not drawn[i].chosen, places[i])
    )
    taken = [Box(at[0] - 6, at[1] - 6, at[0] + 6, at[1] + 6) for at in (places[i] for i in named)]
    taken.append(corner)
    taken += level_boxes(dict(level or {}), up, across)
    room = Box(across.start_px + 2, top + 2, across.end_px - 1, height - BELOW_PX - 2)
    wanted = [(places[i], drawn[i].name) for i in named[:_NAMED] if drawn[i].name]
    weak = [at for path in paths for at in _along(path, better[0], stairs=stairs)] + places
    weak += [places[i] for i in seen] * 3
    parts += placed_names(wanted, taken, weak, room)
    rows = stacked(dict(upright or {}), across)
    parts += [*levels(dict(level or {}), up, across), *uprights(dict(upright or {}), rows, across, height)]
    marks, full = key(_legend(drawn, on, groups, apart=apart), width, height)
    return svg(width, full, title, about, [*parts, *marks])


def _has_place(point: Point, x: Axis, y: Axis) -> bool:
    return not (x.log and point.x <= 0) and not (y.log and point.y <= 0)


def _scales(
    points: Sequence[Point],
    on: Sequence[bool],
    x: Axis,
    y: Axis,
    upright: Mapping[str, float],
    level: Mapping[str, float],
    width: float,
    height: float,
) -> tuple[Scale, Scale, float]:
    """Both axes, and where the plot begins below the limits' names."""
    shown = [point for point, is_on in zip(points, on, strict=True) if is_on or point.kept or point.chosen]
    x, xs = _ends(x, [p.x for p in points], [p.x_range for p in shown], upright)
    y, ys = _ends(y, [p.y for p in points], [p.y_range for p in shown], level)
    up = scale(y, ys, height - BELOW_PX, 22, across=False)
    left = 10 + CHARACTER_PX * max((len(text) for _, text in up.ticks), default=1)
    across = scale(x, xs, left, width - _RIGHT, across=True)
    rows = stacked(upright, across)
    top = 22 + 14 * len(set(rows.values()))
    return across, scale(y, ys, height - BELOW_PX, top, across=False), top


def _ends(
    axis: Axis,
    figures: Sequence[float],
    ranges: Sequence[tuple[float, float] | None],
    limits: Mapping[str, float],
) -> tuple[Axis, npt.NDArray[np.float64]]:
    """The axis with its ends: figures, limits, whiskers as far as they squeeze nothing, and some air."""
    if not figures:
        return axis, np.zeros(0)
    least, most = min(figures), max(figures)
    ends = [end for pair in ranges if pair is not None for end in pair if math.isfinite(end)]
    near = least / 2 if least > 0 else least, most * 2 if most > 0 else most
    told = np.array([*figures, *(min(max(end, near[0]), near[1]) for end in ends), *limits.values()])
    low, high = float(told.min()), float(told.max())
    if axis.log:
        air = (high / low) ** _AIR if high > low else 1.3
        low, high = low / air, high * air
    else:
        air = _AIR * (high - low) or 0.1 * abs(high) or 1.0
        low = low - air if low < 0 or low - air > _FROM_ZERO * high else 0.0
        high = min(high + air, 1.0) if axis.unit == "share" and high <= 1 else high + air
    low = low if axis.low is None else axis.low
    high = high if axis.high is None else axis.high
    return replace(axis, low=low, high=high), told


def _better(better: tuple[str, str], across: Scale, up: Scale) -> tuple[Box, str]:
    """The corner to wish for: where it is named, and how."""
    arrow = {("min", "max"): "↖", ("max", "max"): "↗", ("min", "min"): "↙", ("max", "min"): "↘"}[better]
    left, high = better[0] == "min", better[1] == "max"
    x = across.start_px + 6 if left else across.end_px - 6
    y = up.end_px + 13 if high else up.start_px - 6
    text = f"{arrow} better" if left else f"better {arrow}"
    anchor = "start" if left else "end"
    start = x if left else x - CHARACTER_PX * len(text)
    box = Box(start, y - 11, start + CHARACTER_PX * len(text), y + 3)
    return box, f'<text class="dim" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>'


def _beaten(
    points: Sequence[Point],
    places: Sequence[tuple[float, float]],
    beaten: Sequence[bool],
    groups: Sequence[str],
) -> Iterator[str]:
    dim = [i for i, is_beaten in enumerate(beaten) if is_beaten]
    told = len(dim) <= _TOLD
    seen: set[tuple[int, int, int]] = set()
    paths: dict[int, list[str]] = {}
    for i in dim:
        index, (x, y) = groups.index(points[i].group), places[i]
        place = (index, round(x / 2), round(y / 2))
        if place in seen and not told:
            continue
        seen.add(place)
        path = marker(index, x, y)
        if told:
            yield (
                f'<path fill="var(--c{index % COLOURS})" fill-opacity=".38" d="{path}">'
                f"<title>{escape(points[i].told or points[i].name)}</title></path>"
            )
        else:
            paths.setdefault(index, []).append(path)
    for index, found in paths.items():
        yield f'<path fill="var(--c{index % COLOURS})" fill-opacity=".38" d="{"".join(found)}"/>'


def _joined(path: Sequence[tuple[float, float]], colour: str, better: str, *, stairs: bool) -> Iterator[str]:
    if len(path) > 1:
        corners = _corners(path, better) if stairs else path
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
        yield f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="1.4" stroke-opacity=".75"/>'


def _corners(path: Sequence[tuple[float, float]], better: str) -> list[tuple[float, float]]:
    """The frontier as the best that can be had at each x: of the points before it, or of those after it."""
    found = [path[0]]
    for (x, y), (next_x, next_y) in pairwise(path):
        found += [(next_x, y) if better == "min" else (x, next_y), (next_x, next_y)]
    return found


def _along(
    path: Sequence[tuple[float, float]], better: str, *, stairs: bool
) -> Iterator[tuple[float, float]]:
    """Points along the joined frontier, which names had better not cover."""
    corners = _corners(path, better) if stairs and path else path
    for (x, y), (next_x, next_y) in pairwise(corners):
        steps = max(1, int(math.hypot(next_x - x, next_y - y) // 8))
        for k in range(1, steps):
            yield x + (next_x - x) * k / steps, y + (next_y - y) * k / steps


def _mark(
    point: Point, x: float, y: float, index: int, across: Scale, up: Scale, *, on: bool
) -> Iterator[str]:
    """A point that is not beaten, with its whiskers."""
    colour = f"var(--c{index % COLOURS})"
    ends = []
    if point.x_range is not None and all(map(math.isfinite, point.x_range)):
        low, high = (_inside(across, end) for end in point.x_range)
        ends.append(f"M{low:.1f} {y:.1f}H{high:.1f}")
    if point.y_range is not None and all(map(math.isfinite, point.y_range)):
        low, high = (_inside(up, end) for end in point.y_range)
        ends.append(f"M{x:.1f} {low:.1f}V{high:.1f}")
    if ends:
        yield f'<path d="{"".join(ends)}" fill="none" stroke="{colour}" stroke-opacity=".5"/>'
    if point.chosen:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" stroke="{colour}" stroke-width="1.6"/>'
    size = _LARGE if on else 1.2
    fill = colour if on else "var(--page)"
    yield (
        f'<g transform="translate({x:.1f} {y:.1f}) scale({size})"><path fill="{fill}" stroke="{colour}" '
        f'd="{marker(index, 0, 0)}"><title>{escape(point.told or point.name)}</title></path></g>'
    )


def _inside(axis: Scale, value: float) -> float:
    """The pixel of a value, or the end of the axis beyond it."""
    return axis.at(min(max(value, axis.low), axis.high))


def _legend(
    points: Sequence[Point], on: Sequence[bool], groups: Sequence[str], *, apart: bool
) -> Iterator[tuple[str, str]]:
    """Marks about their middle, and what they mean."""
    if len(groups) > 1:
        for index, group in enumerate(groups):
            yield f'<path fill="var(--c{index % COLOURS})" d="{marker(index, 0, 0)}"/>', group
    first = marker(0, 0, 0) if len(groups) == 1 else ""
    colour = "var(--c0)" if len(groups) == 1 else "var(--text)"
    first = first or marker(0, 0, 0)
    if not apart:
        yield f'<path transform="scale({_LARGE})" fill="{colour}" d="{first}"/>', "on the frontier"
    if any(point.kept and not is_on for point, is_on in zip(points, on, strict=True)):
        yield (
            f'<path transform="scale(1.2)" fill="var(--page)" stroke="{colour}" d="{first}"/>',
            "on it by another respect",
        )
    if not all(is_on or point.kept for point, is_on in zip(points, on, strict=True)):
        yield f'<path fill="{colour}" fill-opacity=".38" d="{first}"/>', "beaten"
    if any(point.chosen for point in points):
        yield f'<circle r="5.5" fill="none" stroke="{colour}" stroke-width="1.4"/>', "the answer"
