"""The picture of a roofline: attainable rate over arithmetic intensity, and the run's steps under it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np

from foretell.sim.operating import Spent
from foretell.sim.quantities import show_number
from foretell.sim.report.axes import CHARACTER_PX, Axis, Scale, scale
from foretell.sim.report.names import Box, placed_names
from foretell.sim.report.svg import marker, svg
from foretell.sim.steps import KINDS, Floats

SERIES = {KINDS[0]: 1, KINDS[1]: 2, KINDS[2]: 0}
"""Colour and marker of each kind of step."""
_OTHER = 3
_CELL = 0.05
"""Side of a cell in which points are drawn as one, in decades."""
_LARGEST_PX, _LEAST_PX = 13.0, 1.3
_BELOW = 38
_NAMED = 0.01
"""Share of the time from which on a mean point is named."""


def roofline_chart(
    points: Sequence[Spent],
    peaks: Mapping[str, float],
    memory_Bps: float,
    title: str,
    about: str,
    *,
    width: int = 520,
    height: int = 360,
) -> str:
    """Draw a roof and the points under it.

    Args:
        points: with FLOPs and bytes, each kind of step once or more.
        peaks: FLOP/s by format, highest first.
        memory_Bps: bandwidth.
        title, about: as for `plots.lines`.
        width, height: [px] without the legend.

    """
    top = max(peaks.values())
    ridge = top / memory_Bps
    cells = {kind: _cells([one for one in points if one.kind == kind]) for kind in _kinds(points)}
    means = [(one, mean) for one in points if (mean := one.mean) is not None and mean[0] > 0]
    xs = np.concatenate([*(cloud[0] for cloud in cells.values()), [ridge / 3, ridge * 8]])
    ys = np.concatenate([*(cloud[1] for cloud in cells.values()), [top]])
    x_axis = Axis(
        "arithmetic intensity", "FLOP/byte", log=True, low=float(xs.min()) / 1.5, high=float(xs.max()) * 1.3
    )
    y_axis = Axis("rate of one accelerator", "FLOP/s", log=True, low=float(ys.min()) / 1.6, high=top * 3)
    left, right, ceiling, floor = 52, width - 14, 24, height - _BELOW
    across = scale(x_axis, xs, left, right, across=True)
    up = scale(y_axis, ys, floor, ceiling, across=False)
    parts = [*_frame(across, up, height), *_roof(peaks, memory_Bps, across, up)]
    heaviest = max((float(cloud[2].max()) for cloud in cells.values() if len(cloud[2])), default=1.0)
    for kind, cloud in cells.items():
        if kind in SERIES:
            parts += _cloud(kind, cloud, heaviest, across, up)
    room = Box(left + 2, ceiling, right, floor - 2)
    taken = [
        Box(right - CHARACTER_PX * 20, up.at(flops) - 16, right, up.at(flops) + 2) for flops in peaks.values()
    ]
    parts += _means(means, across, up, room, taken)
    return svg(width, height + 22, title, about, [*parts, *_key(list(cells), height + 14)])


def _kinds(points: Sequence[Spent]) -> list[str]:
    return list(dict.fromkeys(one.kind for one in points))


def series_of(kind: str) -> int:
    """Colour and marker of a kind of step."""
    return SERIES.get(kind, _OTHER)


def _cells(points: Sequence[Spent]) -> tuple[Floats, Floats, Floats]:
    """Intensities, rates and seconds of points that lie in one cell taken together."""
    flops, num_bytes, seconds = (
        np.concatenate([getattr(one, name) for one in points]) for name in ("flops", "num_bytes", "seconds")
    )
    shown = (flops > 0) & (num_bytes > 0)
    flops, num_bytes, seconds = flops[shown], num_bytes[shown], seconds[shown]
    places = np.column_stack([np.log10(flops / num_bytes), np.log10(flops / seconds)]) // _CELL
    _, cell = np.unique(places, axis=0, return_inverse=True)
    sums: list[Floats] = [
        np.bincount(cell.ravel(), values).astype(float) for values in (flops, num_bytes, seconds)
    ]
    return sums[0] / sums[1], sums[0] / sums[2], sums[2]


def _frame(across: Scale, up: Scale, height: int) -> Iterator[str]:
    left, right, floor, ceiling = across.start_px, across.end_px, up.start_px, up.end_px
    free = -1e9
    for value, text in across.ticks:
        at, half = across.at(value), CHARACTER_PX * len(text) / 2
        yield f'<path class="grid" d="M{at:.1f} {ceiling:.0f}V{floor:.0f}"/>'
        if at - half > free:
            yield f'<text x="{at:.1f}" y="{floor + 15:.0f}" text-anchor="middle">{text}</text>'
            free = at + half + 5
    for value, text in up.ticks:
        at = up.at(value)
        yield (
            f'<path class="grid" d="M{left:.1f} {at:.1f}H{right:.0f}"/>'
            f'<text x="{left - 5:.1f}" y="{at + 4:.1f}" text-anchor="end">{text}</text>'
        )
    yield f'<text class="dim" x="2" y="12">{escape(up.title)}</text>'
    middle = (left + right) / 2
    words = escape(across.title)
    yield f'<text class="dim" x="{middle:.0f}" y="{height - 6}" text-anchor="middle">{words}</text>'


def _roof(peaks: Mapping[str, float], memory_Bps: float, across: Scale, up: Scale) -> Iterator[str]:
    top = max(peaks.values())
    foot = max(across.low, up.low / memory_Bps)
    for place, (name, flops) in enumerate(peaks.items()):
        ridge = flops / memory_Bps
        dashed = ' stroke-dasharray="5 3"' if place else ""
        yield (
            f'<path fill="none" stroke="var(--text)" stroke-width="1.6"{dashed} '
            f'd="M{across.at(ridge):.1f} {up.at(flops):.1f}H{across.end_px:.1f}"/>'
            f'<text x="{across.end_px - 2:.0f}" y="{up.at(flops) - 5:.1f}" text-anchor="end">'
            f"{escape(name)}: {show_number(flops / 1e12)} TFLOP/s</text>"
        )
    x0, y0 = across.at(foot), up.at(memory_Bps * foot)
    x1, y1 = across.at(top / memory_Bps), up.at(top)
    yield (
        f'<path fill="none" stroke="var(--text)" stroke-width="1.6" '
        f'd="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"/>'
    )
    angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
    x, y = x0 + 0.5 * (x1 - x0), y0 + 0.5 * (y1 - y0)
    yield (
        f'<text transform="translate({x - 4:.1f} {y - 5:.1f}) rotate({angle:.1f})" text-anchor="middle">'
        f"memory: {show_number(memory_Bps / 1e12)} TB/s</text>"
    )


def _cloud(
    kind: str, cloud: tuple[Floats, Floats, Floats], heaviest: float, across: Scale, up: Scale
) -> Iterator[str]:
    """Cells as marks whose area goes with the time spent there."""
    series = series_of(kind)
    x, y = across.place(cloud[0]), up.place(cloud[1])
    radius = np.maximum(_LARGEST_PX * np.sqrt(cloud[2] / heaviest), _LEAST_PX)
    order = np.argsort(-radius)
    marks = "".join(
        f'<path transform="translate({x[i]:.1f} {y[i]:.1f}) scale({radius[i] / 2.9:.2f})" '
        f'd="{marker(series, 0, 0)}"/>'
        for i in order
    )
    yield (
        f'<g fill="var(--c{series})" fill-opacity=".3" stroke="var(--c{series})" stroke-opacity=".5" '
        f'stroke-width=".15">{marks}</g>'
    )


def _means(
    means: Sequence[tuple[Spent, tuple[float, float]]], across: Scale, up: Scale, room: Box, taken: list[Box]
) -> Iterator[str]:
    """The mean points, each with its name unless hardly any time is spent there."""
    wanted = []
    pools = {one.pool for one, _ in means}
    busy = sum(one.busy_s for one, _ in means)
    for one, (intensity, rate) in sorted(means, key=lambda item: -item[0].busy_s):
        x, y, series = across.at(intensity), up.at(rate), series_of(one.kind)
        yield (
            f'<path transform="translate({x:.1f} {y:.1f}) scale(2)" fill="var(--c{series})" '
            f'stroke="var(--page)" stroke-width=".6" d="{marker(series, 0, 0)}">'
            f"<title>mean of {escape(one.pool)}, {one.kind}: "
            f"{show_number(intensity)} FLOP/byte, {show_number(rate / 1e12)} TFLOP/s</title></path>"
        )
        if one.busy_s >= _NAMED * busy:
            wanted.append(((x, y), f"{one.pool}: {one.kind}" if len(pools) > 1 else one.kind))
        taken.append(Box(x - 6, y - 6, x + 6, y + 6))
    yield from placed_names(wanted, taken, [], room)


def _key(kinds: Sequence[str], y: float) -> Iterator[str]:
    x = 6.0
    for kind in kinds:
        series = series_of(kind)
        yield (
            f'<path fill="var(--c{series})" transform="translate({x + 5:.0f} {y - 4:.0f}) scale(1.4)" '
            f'd="{marker(series, 0, 0)}"/><text x="{x + 14:.0f}" y="{y:.0f}">{escape(kind)}</text>'
        )
        x += 26 + CHARACTER_PX * len(kind)
    if any(kind in SERIES for kind in kinds):
        yield f'<text class="dim" x="{x:.0f}" y="{y:.0f}">area: time spent · bold: mean</text>'
