"""The cells of a comparison: a scenario's grid of fields and values, as one scenario each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.sim.scenario import Scenario

CELLS = "cells"
"""The key of `compare` under which cells are given one by one."""
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Cell:
    """One scenario of a comparison.

    Attributes:
        changes: its values by field path, those that the comparison varies and the cell's strategy uses.
        scenario: the whole of it, without pools that its strategy does not call.

    """

    changes: Mapping[str, Any]
    scenario: Scenario


def grid(scenario: Scenario) -> tuple[Cell, ...]:
    """Make every cell of a scenario's `compare`.

    The grid is the product of the lists, the first one varying slowest; mappings under `cells` are cells
    given one by one, each multiplied by that product. Cells that come out alike, because they differ only in
    pools that their strategy does not call, are one.

    Raises:
        ValueError: nothing to compare, an unknown field or a wrong value (named with its place), or more than
            10,000 cells.

    """
    asked = scenario.compare
    if not asked:
        raise ValueError("compare: missing; give a list of values by field, as in {strategy: [...]}")
    lists = {path: _values(path, values) for path, values in asked.items() if path != CELLS}
    given = _values(CELLS, asked[CELLS]) if CELLS in asked else [{}]
    count = len(given)
    for values in lists.values():
        count *= len(values)
    if count > _MOST:
        raise ValueError(f"compare: {count:,} cells are more than {_MOST:,}; compare fewer values")
    cells: dict[str, Cell] = {}
    for cell in _cells(scenario, given, lists):
        cells.setdefault(repr(sorted(cell.changes.items())), cell)
    return tuple(cells.values())


def _values(path: str, values: Any) -> list[Any]:
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"compare.{path}: {values!r} is not a list of values; write [...]")
    if path != CELLS:
        _check_path(path, f"compare.{path}")
        return list(values)
    for i, each in enumerate(values):
        if not isinstance(each, Mapping):
            raise ValueError(f"compare.{CELLS}[{i}]: {each!r} is not a table of values by field")
        for inner in each:
            _check_path(str(inner), f"compare.{CELLS}[{i}].{inner}")
    return list(values)


def _check_path(path: str, where: str) -> None:
    if path.split(".")[0] not in ("workload", "pools", "strategy", "client"):
        raise ValueError(f"{where}: all cells have the same; vary workload, pools, strategy or client")


def _cells(scenario: Scenario, given: list[Any], lists: Mapping[str, list[Any]]) -> Iterator[Cell]:
    for i, single in enumerate(given):
        for places in product(*(range(len(values)) for values in lists.values())):
            chosen = {path: lists[path][place] for path, place in zip(lists, places, strict=True)}
            where = {path: f"compare.{path}[{place}]" for path, place in zip(lists, places, strict=True)}
            where |= {path: f"compare.{CELLS}[{i}].{path}" for path in single}
            both = sorted(set(chosen) & set(single))
            if both:
                raise ValueError(
                    f"compare.{CELLS}[{i}].{both[0]}: the grid varies it too; drop one of the two"
                )
            try:
                yield cell_of(scenario, {**single, **chosen})
            except ValueError as error:
                raise ValueError(placed(str(error), where)) from None


def cell_of(scenario: Scenario, changes: Mapping[str, Any]) -> Cell:
    """Make the scenario with these values by field path, without pools that its strategy does not call.

    Raises:
        ValueError: an unknown field, pool, model or hardware, or a wrong value; it begins with the path.

    """
    for path in changes:
        head, *rest = path.split(".")
        if head == "pools" and not rest:
            raise ValueError(
                f"{path}: name a pool and its field, as in pools.{next(iter(scenario.pools))}.model"
            )
        if head == "pools" and rest[0] not in scenario.pools:
            raise ValueError(f"{path}: {rest[0]!r} is no pool; the pools are {', '.join(scenario.pools)}")
    strategy = dict(scenario.strategy)
    for path, value in changes.items():
        if path == "strategy":
            strategy = dict(value) if isinstance(value, Mapping) else {"name": value}
        elif path.startswith("strategy."):
            strategy[path.removeprefix("strategy.")] = value
    task = changes.get("workload.task", scenario.workload.task)
    called = called_pools(strategy, list(scenario.pools), task)
    used = {
        path: value
        for path, value in changes.items()
        if not path.startswith("pools.") or path.split(".")[1] in called
    }
    pools = {name: scenario.pools[name] for name in called}
    spelled = {path: value for path, value in used.items() if path.partition(".")[0] != "strategy"}
    made = scenario.replace(compare={}, sweep={}, pools=pools, strategy=strategy, **spelled)
    for name, pool in made.pools.items():
        for field in LOADED:
            named = getattr(pool, field)
            fault = "" if named is None else fault_of(field, named)
            if fault:
                raise ValueError(f"pools.{name}.{field}: {fault}")
    return Cell(used, made)


LOADED: Mapping[str, Callable[[str], object]] = {"model": load_architecture, "hardware": load_hardware}
"""Fields of a pool that name something to load."""


@cache
def fault_of(field: str, name: str) -> str:
    """What is wrong with a name: unlike a model that does not fit, one that is not known is a slip."""
    try:
        LOADED[field](name)
    except ValueError as error:
        return str(error)
    return ""


def called_pools(strategy: Mapping[str, Any], pools: list[str], task: str | None) -> list[str]:
    """The pools that a strategy calls, in the scenario's order.

    Raises:
        ValueError: what is wrong with the strategy.

    """
    if task is not None:
        from foretell.sim.programs.catalogue import choose

        called = set(choose(strategy, pools).pools)
    elif strategy.get("name") == "disaggregated":
        called = {strategy.get("prefill", "prefill"), strategy.get("decode", "decode")}
    else:
        called = set(pools[:1])
    return [name for name in pools if name in called]


def placed(message: str, where: Mapping[str, str], section: str = "compare") -> str:
    """The message with its field named as the section's."""
    for path in sorted(where, key=len, reverse=True):
        if message.startswith(path) and message[len(path) : len(path) + 1] in (".", ":", " ", ""):
            return where[path] + message[len(path) :]
    return f"{section} ({', '.join(where.values())}): {message}"


def label(changes: Mapping[str, Any]) -> dict[str, str]:
    """Short texts for a cell's values: a strategy's name and parameters, the other values as they are."""
    return {path: _text(value) for path, value in changes.items()}


def _text(value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"{value:g}" if isinstance(value, float) else str(value)
    name = str(value.get("name", ""))
    rest = [f"{key}={_inner(each)}" for key, each in value.items() if key != "name"]
    return " ".join([name, *rest]).strip()


def _inner(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return "/".join(str(each) for each in value.values())
