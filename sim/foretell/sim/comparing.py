"""Comparisons: the cells of a scenario's grid, forecast with the same seeds and set beside each other.

Cells with equal seeds meet the same arrivals, problems and samples (common random numbers), so that their
differences are surer than each by itself; a difference is therefore taken run by run.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from foretell.sim.comparing_grid import Cell, grid, label
from foretell.sim.forecasting import Verdict, end_on_interrupt, forecast
from foretell.sim.intervals import LEVEL, Estimate, t_quantile
from foretell.sim.pareto import frontier
from foretell.sim.scenario import Scenario

METHODS = ("simulate", "closed_form")
RESPECTS: tuple[tuple[str, str], ...] = (
    ("accuracy", "max"),
    ("e2e_p99_s", "min"),
    ("usd_per_query", "min"),
)
"""What the frontier is of; a figure that no cell has is left out."""
THRIFT = (
    "usd_per_query",
    "usd_per_correct",
    "energy_per_query_J",
    "energy_per_correct_J",
    "tokens_per_query",
    "e2e_mean_s",
)
"""Figures that may decide among cells that meet the objectives, the least first."""
Progress = Callable[[int, int], None]
"""Called with (cells done, cells in all)."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One cell and what came of it.

    Attributes:
        cell: what was asked.
        summary: figures, as a forecast's; empty where it failed.
        verdicts: on the objectives.
        notes: as a forecast's.
        reason: why there is no forecast; empty if there is one.

    """

    cell: Cell
    summary: Mapping[str, Estimate]
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""

    @property
    def labels(self) -> dict[str, str]:
        """Short texts for its values, by field path."""
        return label(self.cell.changes)

    @property
    def met(self) -> bool:
        """Whether every objective is."""
        return not self.reason and all(verdict.met for verdict in self.verdicts)

    def value(self, figure: str) -> float:
        """A figure; NaN where there is none."""
        found = self.summary.get(figure)
        return math.nan if found is None else found.value


@dataclass(frozen=True)
class Comparison:
    """All cells, the best first.

    Attributes:
        scenario: what was asked.
        method: "simulate" or "closed_form".
        by: the figure that decides among cells that meet the objectives; the least is best.
        cells: ranked: those that meet every objective, then those that miss fewest; failed ones last.

    """

    scenario: Scenario
    method: str
    by: str
    cells: tuple[Compared, ...]

    @property
    def best(self) -> Compared | None:
        """The winner; None if no cell meets the objectives."""
        return self.cells[0] if self.cells and self.cells[0].met else None

    @property
    def met(self) -> bool:
        """Whether any cell meets every objective."""
        return self.best is not None

    @cached_property
    def respects(self) -> tuple[tuple[str, str], ...]:
        """The figures of the frontier and whether more or less of each is better."""
        return tuple(
            (figure, way)
            for figure, way in RESPECTS
            if any(not math.isnan(cell.value(figure)) for cell in self.cells)
        )

    @cached_property
    def frontier(self) -> tuple[bool, ...]:
        """Whether each cell is on the Pareto frontier."""
        return self._frontier(lambda cell, figure: cell.value(figure))

    @cached_property
    def frontier_share(self) -> tuple[float, ...]:
        """In which share of the replications each cell is on the frontier."""
        runs = self.scenario.replications
        counts = [0] * len(self.cells)
        for run in range(runs):
            on = self._frontier(lambda cell, figure, run=run: _drawn(cell, figure, run))
            counts = [count + each for count, each in zip(counts, on, strict=True)]
        return tuple(count / runs for count in counts)

    def _frontier(self, value: Callable[..., float]) -> tuple[bool, ...]:
        if not self.respects:
            return (False,) * len(self.cells)
        points = [[value(cell, figure) for figure, _ in self.respects] for cell in self.cells]
        return tuple(bool(on) for on in frontier(points, [way for _, way in self.respects]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values; see `docs/compare.md`."""
        from foretell.sim.comparing_records import comparison_dict

        return comparison_dict(self)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as one HTML page that needs no network; written to `path` too, whole or not at all.

        Raises:
            ValueError: it cannot be written.

        """
        from foretell.sim.records import write_page
        from foretell.sim.report.comparison_page import comparison_page

        return write_page(comparison_page(self), path)


def compare(
    scenario: Scenario,
    *,
    method: str = "simulate",
    by: str | None = None,
    executor: Executor | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Forecast every cell of a scenario's `compare`. The number of processes changes nothing in the result.

    Args:
        scenario: with a `compare` section.
        method: "simulate" runs each cell; "closed_form" estimates it, in milliseconds (`estimate`).
        by: what decides among cells that meet the objectives, one of `THRIFT`; price a query by default,
            or price a right answer without objectives; energy or tokens where there is no price.
        executor: any `concurrent.futures` executor for the cells.
        processes: of a pool made for them; one for each core by default, in closed form a single one.
        progress: called after each cell.

    Raises:
        ValueError: nothing to compare, a wrong value, or no cell that can be forecast; one line.

    """
    if method not in METHODS:
        raise ValueError(f"method: {method!r} is not {' or '.join(METHODS)}")
    if by is not None and by not in THRIFT:
        raise ValueError(f"by: {by!r} is not one of {', '.join(THRIFT)}")
    cells = grid(scenario)
    done: list[Compared] = []
    if processes is None:
        processes = 1 if method == "closed_form" else os.cpu_count()
    for result in _results(cells, _METHOD[method], executor, processes):
        done.append(result)
        if progress is not None:
            progress(len(done), len(cells))
    if all(cell.reason for cell in done):
        raise ValueError(f"compare: no cell can be forecast; the first: {done[0].reason}")
    chosen = by or _thrift(done, bool(scenario.objectives))
    ranked = sorted(done, key=lambda cell: _rank(cell, chosen))
    return Comparison(scenario, method, chosen, tuple(ranked))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """One figure less the other, run by run, with the interval of one more pair of runs."""
    value = one.value - other.value
    pairs = [a - b for a, b in zip(one.values, other.values, strict=False) if math.isfinite(a - b)]
    n = len(pairs)
    if n < 2 or not math.isfinite(value):
        return Estimate(value, math.nan, math.nan, tuple(pairs))
    if n < 4:  # as `intervals.estimate`: Student's t would be wider than anything
        return Estimate(value, min(value, *pairs), max(value, *pairs), tuple(pairs))
    mean = math.fsum(pairs) / n
    spread = math.sqrt(math.fsum((pair - mean) ** 2 for pair in pairs) / (n - 1) * (1 + 1 / n))
    reach = t_quantile((1 + LEVEL) / 2, n - 1) * spread
    return Estimate(value, min(mean - reach, value), max(mean + reach, value), tuple(pairs))


def simulated(cell: Cell) -> Compared:
    """Forecast a cell by simulation, or say why not."""
    try:
        result = forecast(cell.scenario, processes=1)
    except ValueError as error:
        return Compared(cell, {}, reason=str(error))
    return Compared(cell, result.summary, result.verdicts, result.notes)


def estimated(cell: Cell) -> Compared:
    """Forecast a cell in closed form, or say why not."""
    from foretell.sim.estimate_cell import estimate_scenario

    try:
        summary, verdicts, notes = estimate_scenario(cell.scenario)
    except ValueError as error:
        return Compared(cell, {}, reason=str(error))
    return Compared(cell, summary, verdicts, notes)


_METHOD: Mapping[str, Callable[[Cell], Compared]] = {"simulate": simulated, "closed_form": estimated}


def _results(
    cells: Sequence[Cell],
    work: Callable[[Cell], Compared],
    executor: Executor | None,
    processes: int | None,
) -> Any:
    workers = min(processes or 1, len(cells))
    if executor is None and workers > 1:
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(workers, initializer=end_on_interrupt) as pool:
            try:
                yield from _results(cells, work, pool, None)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    elif executor is not None:
        futures = [executor.submit(work, cell) for cell in cells]
        for future in futures:
            yield future.result()
    else:
        yield from map(work, cells)


def _thrift(cells: Sequence[Compared], objectives: bool) -> str:
    """What decides by default: the first of these that every cell with a forecast has."""
    order = ["usd_per_query", "energy_per_query_J", "tokens_per_query"]
    if not objectives:
        order = ["usd_per_correct", "energy_per_correct_J", *order]
    told = [cell for cell in cells if not cell.reason]
    return next((f for f in order if all(f in cell.summary for cell in told)), THRIFT[0])


def _rank(cell: Compared, by: str) -> tuple[Any, ...]:
    value = cell.value(by)
    missed = sum(not verdict.met for verdict in cell.verdicts)
    return bool(cell.reason), missed, math.isnan(value), 0.0 if math.isnan(value) else value


def _drawn(cell: Compared, figure: str, run: int) -> float:
    found = cell.summary.get(figure)
    return found.values[run] if found is not None and run < len(found.values) else math.nan
