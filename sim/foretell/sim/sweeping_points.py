"""The points of a sweep: every combination of the values of some fields, or a sample of their ranges."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from foretell.sim.client import Client
from foretell.sim.comparing_grid import Cell, cell_of, placed
from foretell.sim.presets import EngineSettings
from foretell.sim.scenario import Pool, Scenario, Workload
from foretell.sim.workload import description
from foretell.traces import trace_from_spec

SAMPLERS = ("latin_hypercube", "sobol")
MOST = 10_000
_PARTS = tuple(f.name for f in fields(Scenario) if f.name not in ("compare", "sweep"))
_RANGE = ("low", "high", "log", "whole")


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers between two bounds, to be drawn from.

    Attributes:
        low, high: the bounds, inclusive.
        log: equal ratios are equally likely, instead of equal differences.
        whole: whole numbers only.

    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> float:
        """Return the number below which this share of the draws lies, 0 <= share < 1."""
        low, high = (self.low, self.high + 1) if self.whole else (self.low, self.high)
        value = low * (high / low) ** share if self.log else low + (high - low) * share
        if self.whole:
            return min(max(math.floor(value), int(self.low)), int(self.high))
        return min(max(value, low), high)


def sweep_points(
    scenario: Scenario, *, sample: int | None = None, sampler: str = "latin_hypercube"
) -> tuple[Cell, ...]:
    """Make every point of a scenario's `sweep`; all keep its seed, and so meet the same randomness.

    Without a sample, the points are the product of the lists, the first one varying slowest. A sample draws
    so many points at once from all ranges and lists, by Latin hypercube or Sobol's sequence (scrambled)
    with the scenario's seed. Points that come out alike are one.

    Raises:
        ValueError: nothing to sweep, an unknown field or a wrong value (named with its place), a range
            without a sample, or more than 10,000 points.

    """
    asked = scenario.sweep
    if not asked:
        raise ValueError("sweep: missing; give values by field, as in {pools.main.replicas: [1, 2, 3]}")
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler: {sampler!r} is not {' or '.join(SAMPLERS)}")
    axes = {path: _axis(scenario, path, values) for path, values in asked.items()}
    count = sample if sample is not None else _size(axes)
    if not 1 <= count <= MOST:
        raise ValueError(f"sweep: {count:,} points are not 1 to {MOST:,}; sweep fewer values, or --sample N")
    chosen = _grid(axes) if sample is None else _sampled(axes, sample, sampler, scenario.seed)
    cells: dict[str, Cell] = {}
    checked: set[str] = set()
    for changes, where in chosen:
        try:
            cell = cell_of(scenario, changes)
            _check_workload(cell, checked)
        except ValueError as error:
            raise ValueError(placed(str(error), where, "sweep")) from None
        cells.setdefault(repr(sorted(cell.changes.items())), cell)
    return tuple(cells.values())


def _axis(scenario: Scenario, path: str, values: Any) -> list[Any] | Range:
    head = str(path).split(".")[0]
    if head not in _PARTS:
        raise ValueError(f"sweep.{path}: {head!r} is no part of a scenario; those are {', '.join(_PARTS)}")
    if path == "pools":
        raise ValueError("sweep.pools: name a field of a pool, as in pools.main.replicas")
    if isinstance(values, Mapping) and {"low", "high"} & set(values):
        return _range(values, f"sweep.{path}", _takes_whole(scenario, path, values))
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(
            f"sweep.{path}: {values!r} is neither a list of values nor a range; "
            "write [1, 2, 4] or {low: 1, high: 4}"
        )
    return list(values)


def _range(values: Mapping[str, Any], where: str, whole: bool) -> Range:
    for key in values:
        if key not in _RANGE:
            raise ValueError(f"{where}.{key}: unknown field; known: {', '.join(_RANGE)}")
    bounds = []
    for key in ("low", "high"):
        try:
            bounds.append(float(values[key]) if not isinstance(values[key], bool) else math.nan)
        except KeyError:
            raise ValueError(f"{where}.{key}: missing; a range has low and high") from None
        except (TypeError, ValueError):
            bounds.append(math.nan)
        if not math.isfinite(bounds[-1]):
            raise ValueError(f"{where}.{key}: {values[key]!r} is not a finite number")
    for key in ("log", "whole"):
        if not isinstance(values.get(key, False), bool):
            raise ValueError(f"{where}.{key}: {values[key]!r} is not true or false")
    low, high = bounds
    whole, log = bool(values.get("whole", whole)), bool(values.get("log", False))
    if high < low:
        raise ValueError(f"{where}.high: {high:g} is below low {low:g}")
    if log and low <= 0:
        raise ValueError(f"{where}.low: {low:g} has no logarithm; give a number > 0, or drop log")
    if whole and not (low.is_integer() and high.is_integer()):
        raise ValueError(f"{where}: {low:g} to {high:g} are not whole numbers, and the field takes only such")
    return Range(low, high, log, whole)


def _takes_whole(scenario: Scenario, path: str, values: Mapping[str, Any]) -> bool:
    """Whether a field takes whole numbers only, by its type; a strategy's, by how its bounds are written."""
    parts = path.split(".")
    if parts[0] == "strategy":
        return all(isinstance(values.get(key), int) for key in ("low", "high"))
    spec: type[Any] = Scenario
    if parts[0] in ("workload", "client") and len(parts) == 2:
        spec = Workload if parts[0] == "workload" else Client
    elif parts[0] == "pools" and len(parts) > 2:
        spec = EngineSettings if parts[2] == "engine" and len(parts) == 4 else Pool
    elif len(parts) > 1:
        return False
    hint = typing.get_type_hints(spec).get(parts[-1])
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return int in kinds and float not in kinds


def _size(axes: Mapping[str, list[Any] | Range]) -> int:
    count = 1
    for path, axis in axes.items():
        if isinstance(axis, Range):
            raise ValueError(f"sweep.{path}: a range needs a sample; give --sample N, or a list of values")
        count *= len(axis)
    return count


_Chosen = Iterator[tuple[dict[str, Any], dict[str, str]]]
"""Values by field path, and the place of each in the `sweep` section."""


def _grid(axes: Mapping[str, Any]) -> _Chosen:
    for places in product(*(range(len(axis)) for axis in axes.values())):
        at = dict(zip(axes, places, strict=True))
        yield (
            {path: axes[path][place] for path, place in at.items()},
            {path: f"sweep.{path}[{place}]" for path, place in at.items()},
        )


def _sampled(axes: Mapping[str, list[Any] | Range], count: int, sampler: str, seed: int) -> _Chosen:
    for shares in _shares(len(axes), count, sampler, seed):
        changes, where = {}, {}
        for (path, axis), share in zip(axes.items(), shares, strict=True):
            if isinstance(axis, Range):
                changes[path], where[path] = axis.at(share), f"sweep.{path}"
            else:
                place = min(int(share * len(axis)), len(axis) - 1)
                changes[path], where[path] = axis[place], f"sweep.{path}[{place}]"
        yield changes, where


def _shares(dimensions: int, count: int, sampler: str, seed: int) -> Sequence[Sequence[float]]:
    """Points of the unit cube; McKay, Beckman, Conover 1979, and Sobol 1967 with Owen's scrambling."""
    import warnings

    import numpy as np
    from scipy.stats import qmc

    kinds: Mapping[str, Callable[..., Any]] = {"latin_hypercube": qmc.LatinHypercube, "sobol": qmc.Sobol}
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM,)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of counts that are no power of two
        drawn: list[list[float]] = kinds[sampler](dimensions, rng=rng).random(count).tolist()
    return drawn


_STREAM = 2**31
"""The sampler's own stream, beyond those of the replications."""


def _check_workload(cell: Cell, checked: set[str]) -> None:
    """Try what a scenario leaves to the drawing of its first request: arrivals, lengths and the like."""
    workload = cell.scenario.workload
    if workload.trace is not None or repr(workload) in checked:
        return
    checked.add(repr(workload))
    spec = {name: value for name, value in description(workload).items() if name != "duration_s"}
    try:
        trace_from_spec({**spec, "num_requests": 1})
    except ValueError as error:
        mine = [path for path in cell.changes if path.startswith("workload.")]
        named = [path for path in mine if path.split(".")[-1] in str(error)]
        raise ValueError(f"{(named or mine or ['workload'])[0]}: {error}") from None
