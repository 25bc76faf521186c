"""Sweeps: many points of a scenario forecast with the same seeds, in one table, wherever they run.

A point's result depends on its key alone (`sweeping_key`), so that executors, processes and interruptions
change nothing in the table.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from foretell.sim.comparing_grid import Cell, label
from foretell.sim.comparing_records import outcome_dict
from foretell.sim.intervals import Estimate
from foretell.sim.journal import Record, open_journal
from foretell.sim.scenario import Scenario
from foretell.sim.sweeping_key import point_key
from foretell.sim.sweeping_methods import METHOD
from foretell.sim.sweeping_points import sweep_points
from foretell.sim.sweeping_workers import in_processes, on_executor

Progress = Callable[[int, int], None]
"""Called with (points done, points in all)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One point and what came of it.

    Attributes:
        changes: its values by field path.
        record: "figures" with value, low and high of each, "objectives", "met", "notes", and "reason": why
            there is no forecast, or None; see `comparing_records.outcome_dict`.

    """

    changes: Mapping[str, Any]
    record: Record

    @property
    def labels(self) -> dict[str, str]:
        """Short texts for its values."""
        return label(self.changes)

    @property
    def reason(self) -> str:
        """Why there is no forecast; empty if there is one."""
        return self.record["reason"] or ""

    def figure(self, name: str) -> Estimate:
        """A figure with its 90 % interval; NaN where there is none."""
        found = self.record["figures"].get(name, {})
        value, low, high = (_number(found.get(key)) for key in ("value", "low", "high"))
        return Estimate(value, low, high)


@dataclass(frozen=True)
class Sweep:
    """All points of a sweep.

    Attributes:
        scenario: what was asked.
        method: "simulate" or "closed_form".
        rows: in the order of the grid or sample.
        resumed: points that a journal had already.

    """

    scenario: Scenario
    method: str
    rows: tuple[Row, ...]
    resumed: int = 0

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The fields that were swept."""
        return tuple(dict.fromkeys(path for row in self.rows for path in row.changes))

    @cached_property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures that some point has."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.record["figures"]))

    @property
    def frame(self) -> Any:
        """A pandas DataFrame, one row a point, with each figure as NAME, NAME_low and NAME_high."""
        from foretell.sim.sweeping_records import sweep_frame

        return sweep_frame(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; see `docs/sweep.md`."""
        from foretell.sim.sweeping_records import sweep_dict

        return sweep_dict(self)

    def to_html(self, path: str | os.PathLike[str] | None = None, figures: Sequence[str] = ()) -> str:
        """The report as one HTML page that needs no network; written to `path` too, whole or not at all.

        Args:
            path: of the file.
            figures: names of those to show; those of the objectives and the usual ones by default.

        Raises:
            ValueError: it cannot be written.

        """
        from foretell.sim.records import write_page
        from foretell.sim.report.sweep_page import sweep_page

        return write_page(sweep_page(self, figures), path)


def sweep(
    scenario: Scenario,
    *,
    method: str = "simulate",
    sample: int | None = None,
    sampler: str = "latin_hypercube",
    figures: Sequence[str] = (),
    executor: Executor | None = None,
    processes: int | None = None,
    journal: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Forecast every point of a scenario's `sweep`. Where and how often it is taken up changes nothing.

    Args:
        scenario: with a `sweep` section.
        method: "simulate" runs each point, "closed_form" computes it (`sweeping_methods`).
        sample: draw so many points instead of taking every combination.
        sampler: "latin_hypercube" or "sobol".
        figures: names that points must have; the first forecast without one of them ends the sweep.
        executor: any `concurrent.futures` executor for the points.
        processes: of a pool made for them; one for each core by default.
        journal: a file that keeps each point's result as soon as it is there; points that it has are not
            run again.
        progress: called after each point.

    Raises:
        ValueError: nothing to sweep, a wrong value, a figure that there is not, a journal that cannot be
            used, or a worker that has another foretell or other files than we; one line.

    """
    if method not in METHOD:
        raise ValueError(f"method: {method!r} is not {' or '.join(METHOD)}")
    cells = sweep_points(scenario, sample=sample, sampler=sampler)
    tasks = [_Task(point_key(cell.scenario, method), method, cell) for cell in cells]
    with contextlib.ExitStack() as stack:
        kept = None if journal is None else stack.enter_context(open_journal(Path(journal)))
        known = {} if kept is None else kept.records
        done = {i: known[task.key] for i, task in enumerate(tasks) if task.key in known}
        resumed = len(done)
        for record in done.values():
            _check_figures(record, figures)
        left = {i: task for i, task in enumerate(tasks) if i not in done}
        if progress is not None:
            progress(len(done), len(tasks))
        results = stack.enter_context(contextlib.closing(_results(left, executor, processes)))
        for place, record in results:
            _check_figures(record, figures)
            if kept is not None:
                kept.append(tasks[place].key, record)
            done[place] = record
            if progress is not None:
                progress(len(done), len(tasks))
    rows = (Row(task.cell.changes, done[place]) for place, task in enumerate(tasks))
    return Sweep(scenario, method, tuple(rows), resumed)


@dataclass(frozen=True, slots=True)
class _Task:
    """All that a point needs; it travels to other processes and machines."""

    key: str
    method: str
    cell: Cell


def _run(task: _Task) -> Record:
    if point_key(task.cell.scenario, task.method) != task.key:
        raise ValueError(
            "sweep: a worker has another version of foretell, of its packages or of the scenario's files "
            "than this machine; install the same, and give files by paths that lead to the same content"
        )
    return outcome_dict(METHOD[task.method](task.cell))


def _results(
    tasks: Mapping[int, _Task], executor: Executor | None, processes: int | None
) -> Generator[tuple[int, Record], None, None]:
    if executor is not None:
        return on_executor(executor, _run, tasks)
    return in_processes(_run, tasks, processes or os.cpu_count() or 1)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _check_figures(record: Record, figures: Sequence[str]) -> None:
    known = record["figures"]
    for name in figures if known else ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ValueError(f"figure: {name!r} is not one here; {hint}")
