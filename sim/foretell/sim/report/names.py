"""Where the names of points are written, so that they touch neither each other nor marks."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from foretell.sim.report.axes import CHARACTER_PX

_LINE_PX = 12.5
_ROOM = 28
"""Characters of a line at most."""
_LINES = 2
_RINGS = (9.0, 20.0, 34.0, 50.0, 68.0, 90.0, 115.0)
_WAYS = 16


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle [px], y growing downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def touches(self, other: Box) -> bool:
        """Whether they share a point."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def within(self, other: Box) -> bool:
        """Whether it lies inside another."""
        across = other.left <= self.left and self.right <= other.right
        return across and other.top <= self.top and self.bottom <= other.bottom

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies inside."""
        return self.left < x < self.right and self.top < y < self.bottom


def placed_names(
    wanted: Sequence[tuple[tuple[float, float], str]],
    taken: Sequence[Box],
    weak: Sequence[tuple[float, float]],
    room: Box,
) -> list[str]:
    """Write names near their points, one after the other, each where it hides least.

    Args:
        wanted: places and names, those that matter most first.
        taken: what must not be touched.
        weak: points that had better not be covered.
        room: where all must lie.

    Returns:
        SVG; a name without a place is left out.

    """
    taken = list(taken)
    parts = []
    for (x, y), name in wanted:
        rows = _rows(name)
        best = min(
            (
                (4 * sum(box.holds(*at) for at in weak) + far, far, box)
                for far, box in _boxes(x, y, rows)
                if box.within(room) and not any(box.touches(other) for other in taken)
            ),
            key=lambda found: found[0],
            default=None,
        )
        if best is None:
            continue
        _, far, box = best
        taken.append(box)
        if far > _RINGS[1]:
            end = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
            parts.append(
                f'<path stroke="var(--dim)" stroke-width=".9" stroke-dasharray="1.5 2" '
                f'd="M{x:.1f} {y:.1f}L{end[0]:.1f} {end[1]:.1f}"/>'
            )
        lines = "".join(
            f'<tspan x="{box.left + 2:.1f}" y="{box.top + 10.5 + _LINE_PX * i:.1f}">{escape(row)}</tspan>'
            for i, row in enumerate(rows)
        )
        parts.append(f'<text stroke="var(--page)" stroke-width="3" paint-order="stroke">{lines}</text>')
    return parts


def _rows(name: str) -> list[str]:
    return textwrap.wrap(name, _ROOM, max_lines=_LINES, placeholder=" …") or [name[:_ROOM]]


def _boxes(x: float, y: float, rows: Sequence[str]) -> Iterator[tuple[float, Box]]:
    """Boxes round a point, with their distances to it."""
    wide = CHARACTER_PX * max(map(len, rows)) + 4
    high = _LINE_PX * len(rows) + 2
    for far in _RINGS:
        for k in range(_WAYS):
            angle = 2 * math.pi * k / _WAYS
            to_x, to_y = math.cos(angle), -math.sin(angle)
            at_x, at_y = x + far * to_x, y + far * to_y
            left = at_x - wide * (1 - to_x) / 2
            top = at_y - high * (1 - to_y) / 2
            yield far, Box(left, top, left + wide, top + high)
