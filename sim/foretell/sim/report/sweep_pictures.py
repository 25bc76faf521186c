"""Pictures of a sweep: a figure over one field, over two, or over each of several by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from foretell.sim.intervals import Estimate
from foretell.sim.objectives import Objective, objectives_from_mapping
from foretell.sim.report.axes import Axis
from foretell.sim.report.choices import field_titles, grouping, titled, varied
from foretell.sim.report.dots import dots
from foretell.sim.report.heat_map import MOST, heat_map, spread
from foretell.sim.report.page import figure
from foretell.sim.report.pareto_front import Point, front
from foretell.sim.report.plots import Line, lines
from foretell.sim.report.sweep_words import told_rows
from foretell.sim.report.words import axis, limit_text, more_is_better, wide, words_of
from foretell.sim.sweeping import Row, Sweep

_SERIES = 8
"""Values of a field that are told apart as lines."""
_BANDED = 4
"""Lines up to which each has its band."""
_AIR, _FROM_ZERO = 0.03, 0.25
"""Room beside the outermost points; an axis begins at 0 where its low end is near that."""
_SAME = 1e-3
"""Change of a figure, as a share of it, that is none."""
_FIGURES = 3
"""Figures that are drawn over each of several fields."""


def pictures(sweep: Sweep, figures: Sequence[str]) -> str:
    """A picture a figure, as fits the number of fields that vary."""
    paths = varied([row.labels for row in sweep.rows])
    numeric = [path for path in paths if _numeric(sweep, path)]
    moving = [each for each in figures if _moves(sweep, each)]
    if len(paths) == 1:
        draw = _over_one if numeric else _over_names
        charts = [draw(sweep, paths[0], each) for each in moving]
    elif len(paths) == 2:
        charts = [_over_two(sweep, paths, numeric, each) for each in moving]
    else:
        charts = [chart for chart in [_frontier(sweep, moving)] if chart]
        charts += [_scattered(sweep, path, each) for each in moving[:_FIGURES] for path in numeric]
    still = ", ".join(words_of(each) for each in figures if each not in moving)
    words = f'<p class="dim">The same at every point, and not drawn: {escape(still)}.</p>' if still else ""
    return f'{words}<div class="pair">{"".join(charts)}</div>'


def _moves(sweep: Sweep, name: str) -> bool:
    """Whether a figure changes by what can be seen."""
    found = [row.figure(name).value for row in told_rows(sweep)]
    values = [value for value in found if math.isfinite(value)]
    return bool(values) and max(values) - min(values) > _SAME * abs(max(values))


def thinned(sweep: Sweep) -> bool:
    """Whether a heat map leaves values of a field out."""
    paths = varied([row.labels for row in sweep.rows])
    return len(paths) == 2 and any(len({row.labels.get(path) for row in sweep.rows}) > MOST for path in paths)


def _numeric(sweep: Sweep, path: str) -> bool:
    values = [row.changes.get(path) for row in sweep.rows]
    return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)


def _title(sweep: Sweep, path: str) -> str:
    titles = dict(zip(sweep.paths, field_titles(sweep.paths), strict=True))
    return titles[path].replace("_", " ")


def _field_axis(sweep: Sweep, path: str) -> Axis:
    values = [float(row.changes[path]) for row in sweep.rows]
    in_seconds = path.endswith("_s") and not path.endswith("_per_s")
    title = _title(sweep, path)
    words, unit, log = (
        title.removesuffix(" s") if in_seconds else title,
        "s" if in_seconds else "",
        wide(values),
    )
    low, high = min(values), max(values)
    if log:
        air = (high / low) ** _AIR
        return Axis(words, unit, True, low / air, high * air)
    air = _AIR * (high - low) or 0.1 * abs(high) or 1.0
    return Axis(words, unit, False, low - air if not 0 <= low <= _FROM_ZERO * high else 0.0, high + air)


def _limit(sweep: Sweep, name: str) -> Objective | None:
    found = objectives_from_mapping(sweep.scenario.objectives)
    return next((objective for objective in found if objective.key == name), None)


def _limits(sweep: Sweep, name: str) -> Mapping[str, float]:
    objective = _limit(sweep, name)
    return {} if objective is None else {limit_text(objective): objective.limit}


def _log(rows: Sequence[Row], name: str) -> bool:
    """Whether a figure spreads over so much that its axis is logarithmic; shares never are."""
    return axis(name).unit != "share" and wide([row.figure(name).value for row in rows])


def _line(rows: Sequence[Row], path: str, name: str, *, band: bool) -> Line:
    ordered = sorted(rows, key=lambda row: float(row.changes[path]))
    found = [row.figure(name) for row in ordered]
    has_band = band and any(math.isfinite(one.low) for one in found)
    return Line(
        [float(row.changes[path]) for row in ordered],
        [one.value for one in found],
        low=[one.low for one in found] if has_band else None,
        high=[one.high for one in found] if has_band else None,
        marks=True,
    )


def _over_one(sweep: Sweep, path: str, name: str) -> str:
    rows = told_rows(sweep)
    series = {words_of(name): _line(rows, path, name, band=True)}
    return _lines(sweep, series, rows, path, name)


def _lines(sweep: Sweep, series: Mapping[str, Line], rows: Sequence[Row], path: str, name: str) -> str:
    title = f"{words_of(name)} over {_title(sweep, path)}"
    up = axis(name, log=_log(rows, name))
    about = f"{len(rows)} points."
    return figure(
        lines(series, _field_axis(sweep, path), up, title, about, level=_limits(sweep, name)), title
    )


def _over_names(sweep: Sweep, path: str, name: str) -> str:
    rows: dict[str, Estimate] = {row.labels.get(path, "–"): row.figure(name) for row in told_rows(sweep)}
    title = f"{words_of(name)} by {_title(sweep, path)}"
    across = axis(name, log=_log(told_rows(sweep), name))
    return figure(dots(rows, across, title, f"{len(rows)} points.", upright=_limits(sweep, name)), title)


def _over_two(sweep: Sweep, paths: Sequence[str], numeric: Sequence[str], name: str) -> str:
    """Lines by the field with fewer values where those are few, else a heat map."""
    counts = {path: len({row.labels.get(path) for row in sweep.rows}) for path in paths}
    across = max(numeric, key=lambda path: counts[path], default="")
    other = next((path for path in paths if path != across), "")
    if across and counts[across] > 2 and counts[other] <= _SERIES and _repeats(sweep, other):
        rows = told_rows(sweep)
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(f"{_title(sweep, other)} {row.labels.get(other, '–')}", []).append(row)
        band = len(groups) <= _BANDED
        series = {text: _line(group, across, name, band=band) for text, group in groups.items()}
        return _lines(sweep, series, rows, across, name)
    if len(sweep.rows) < 0.5 * counts[paths[0]] * counts[paths[1]]:
        return "".join(_scattered(sweep, path, name) for path in numeric)
    return _map(sweep, paths, name)


def _repeats(sweep: Sweep, path: str) -> bool:
    """Whether several points share each value of a field."""
    return len({row.labels.get(path) for row in sweep.rows}) * 2 <= len(sweep.rows)


def _map(sweep: Sweep, paths: Sequence[str], name: str) -> str:
    x, y = paths
    rows = told_rows(sweep)
    cells = {(row.labels.get(x, "–"), row.labels.get(y, "–")): row.figure(name).value for row in rows}
    objective = _limit(sweep, name)
    missed = frozenset(
        place for place, value in cells.items() if objective is not None and not objective.met(value)
    )
    values = [_ordered(sweep, path) for path in paths]
    title = f"{words_of(name)} over {_title(sweep, x)} and {_title(sweep, y)}"
    chart = heat_map(
        cells,
        spread(values[0]),
        spread(values[1]),
        (_title(sweep, x), _title(sweep, y)),
        name,
        title,
        missed=missed,
        log=_log(rows, name),
    )
    return figure(chart, title)


def _ordered(sweep: Sweep, path: str) -> list[str]:
    """The texts of a field's values, numbers by size."""
    rows = list(sweep.rows)
    if _numeric(sweep, path):
        rows.sort(key=lambda row: float(row.changes[path]))
    return list(dict.fromkeys(row.labels.get(path, "–") for row in rows))


def _frontier(sweep: Sweep, figures: Sequence[str]) -> str:
    """The points between the first two figures that pull against each other: quality or speed, and price."""
    rows = told_rows(sweep)
    dear = [f for f in figures if f.startswith(("usd", "energy"))] or [
        f for f in figures if f.endswith("_tps")
    ]
    good = [f for f in figures if f not in dear]
    if not dear or not good:
        return ""
    x, y = dear[0], good[0]
    labels = [row.labels for row in rows]
    by = grouping(labels)
    rest = [path for path in varied(labels) if path != by]
    points = [
        Point(
            row.figure(x).value,
            row.figure(y).value,
            name=titled(row.labels, rest),
            told=titled(row.labels, varied(labels)),
            group=titled({by: row.labels.get(by, "–")}, [by]) if by else "",
        )
        for row in rows
    ]
    title = f"{words_of(y)} against {words_of(x).lower()}"
    better = tuple("max" if more_is_better(each) else "min" for each in (x, y))
    chart = front(
        points,
        axis(x, log=_log(rows, x)),
        axis(y, log=_log(rows, y)),
        title,
        f"{len(points)} points; those that no other beats in both respects are joined.",
        better=(better[0], better[1]),
        upright=_limits(sweep, x),
        level=_limits(sweep, y),
    )
    return figure(chart, title)


def _scattered(sweep: Sweep, path: str, name: str) -> str:
    """All points over one field, whatever the others are."""
    rows = [row for row in told_rows(sweep) if path in row.changes]
    labels = [row.labels for row in rows]
    others = [{key: text for key, text in each.items() if key != path} for each in labels]
    by = grouping(others) if others and others[0] else ""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        text = titled({by: row.labels.get(by, "–")}, [by]) if by else words_of(name)
        groups.setdefault(text, []).append(row)
    series = {text: _marks(group, path, name, varied(labels)) for text, group in groups.items()}
    return _lines(sweep, series, rows, path, name)


def _marks(rows: Sequence[Row], path: str, name: str, paths: Sequence[str]) -> Line:
    return Line(
        [float(row.changes[path]) for row in rows],
        [row.figure(name).value for row in rows],
        joined=False,
        labels=[titled(row.labels, paths) for row in rows],
    )
