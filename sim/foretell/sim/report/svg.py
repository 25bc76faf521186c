"""What every chart as inline SVG shares: its frame, the marks and colours of series, ticks, a legend.

No library, no script, nothing loaded; colours are CSS variables, so that a page decides on light and dark. A
chart is an image to assistive technology (`role="img"` with a title and a description); series differ by
colour and by marker, so that colour alone never tells.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files

_MARKERS: tuple[Callable[[float, float], str], ...] = (  # paths round a point
    lambda x, y: f"M{x - 2.6:.1f} {y:.1f}a2.6 2.6 0 1 0 5.2 0a2.6 2.6 0 1 0-5.2 0",
    lambda x, y: f"M{x - 2.4:.1f} {y - 2.4:.1f}h4.8v4.8h-4.8z",
    lambda x, y: f"M{x:.1f} {y - 3.2:.1f}l3.2 5.6h-6.4z",
    lambda x, y: f"M{x:.1f} {y - 3.4:.1f}l3.4 3.4l-3.4 3.4l-3.4-3.4z",
    lambda x, y: f"M{x:.1f} {y + 3.2:.1f}l3.2-5.6h-6.4z",
    lambda x, y: f"M{x - 1:.1f} {y - 3.2:.1f}h2v2.2h2.2v2h-2.2v2.2h-2v-2.2h-2.2v-2h2.2z",
    lambda x, y: f"M{x - 3.6:.1f} {y - 1.6:.1f}h7.2v3.2h-7.2z",
    lambda x, y: f"M{x - 1.6:.1f} {y - 3.6:.1f}h3.2v7.2h-3.2z",
)
COLOURS = 8
"""CSS variables --c0, --c1, ... that a page must define."""


def svg(width: float, height: float, title: str, about: str, parts: Sequence[str]) -> str:
    """A whole chart; `about` says in words what it shows."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{1.15 * width:.0f}px" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><desc>{escape(about)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def standalone(chart: str) -> str:
    """The same chart as a file or a notebook's output of its own: its colours inside, light and dark.

    Its rules are scoped by a class, so that they change nothing else on a page.
    """
    folder = files("foretell.sim.report")
    colours, rules = ((folder / name).read_text(encoding="utf-8") for name in ("colours.css", "chart.css"))
    scope = ".foretell-chart"
    style = (
        colours.replace(":root", scope)
        + re.sub(r"^svg", scope, rules, flags=re.MULTILINE)
        + f"{scope}{{background:var(--page);color:var(--text);font:12px system-ui,sans-serif}}"
    )
    inside = chart.index(">") + 1
    head = chart[:inside].replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" class="foretell-chart" ', 1
    )
    return f"{head}<style>{style}</style>{chart[inside:]}"


def legend(names: Sequence[str]) -> str:
    """The marker and colour of every series, in their order."""
    items = "".join(
        f'<li><svg width="12" height="12" aria-hidden="true"><path fill="var(--c{index % COLOURS})" '
        f'd="{marker(index, 6, 6)}"/></svg> {escape(name)}</li>'
        for index, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def marker(series: int, x: float, y: float) -> str:
    """The path of a series' marker round a point."""
    return _MARKERS[series % len(_MARKERS)](x, y)


def decades(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis from 10**low to 10**high."""
    steps = (1.0, 2.0, 5.0) if high - low < 2.5 else (1.0,)
    ticks = (step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps)
    return [tick for tick in ticks if low <= math.log10(tick) <= high]
