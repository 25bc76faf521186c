"""The `plan` section of a scenario: what may be chosen, and what the choice must hold out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from foretell.sim.comparing_grid import LOADED, fault_of
from foretell.sim.objectives import FIGURES
from foretell.sim.planning_rent import pool_rent
from foretell.sim.presets import EngineSettings
from foretell.sim.quantities import parse_quantity
from foretell.sim.scenario import Pool, Scenario

MOST_REPLICAS = 1024
"""As many replicas of a pool are tried where the section does not say."""
MOST_ASKED = 16_384
"""So many may be asked for."""
MOST_LAYOUTS = 1_000_000
"""Layouts of a pool that are gone through; of more, a sample is."""
MOST_CHASSIS = 10_000
"""Likewise those that differ in what the time of a step depends on: each takes some 20 CPU-ms."""
SETTINGS = ("max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization")
"""Fields of an engine that bound its batch and leave the time of a given step alone."""
_OF_TASKS = (
    "accuracy",
    "answered",
    "query_throughput",
    "tokens_per_query",
    "calls_per_query",
    "cost_per_correct",
    "energy_per_correct",
)
_MOST = 2**31 - 1
_KEYS = ("fields", "headroom", "spare", "probability")
_MOST_HEADROOM = 10.0


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """What a plan may choose from, and what it must hold out.

    Attributes:
        fields: values by field path, the pools' replicas among them (rising) unless those are in groups.
        headroom: so much more traffic every objective must hold at, as a share of the traffic.
        spare: so many replicas of any pool may be lost, and every objective still holds.
        probability: least chance that a run meets every objective, as simulated.

    """

    fields: Mapping[str, Sequence[Any]]
    headroom: float = 0.0
    spare: int = 0
    probability: float = 0.5


def plan_spec(scenario: Scenario) -> PlanSpec:
    """Read a scenario's `plan` section.

    Raises:
        ValueError: one line that names the key and what would be right; also where there is no objective.

    """
    asked = scenario.plan
    if not asked:
        raise ValueError(
            "plan: missing; say what may be chosen, as in {fields: {pools.main.hardware: [...]}}"
        )
    for key in asked:
        if key not in _KEYS:
            raise ValueError(f"plan.{key}: unknown field; {_near(str(key), _KEYS)}")
    if not scenario.objectives:
        raise ValueError("objectives: missing; say what the plan must reach, as in {ttft_p99: <= 1 s}")
    alone = [name for name in _OF_TASKS if name in scenario.objectives]
    if alone and scenario.workload.task is None:
        raise ValueError(
            f"objectives.{alone[0]}: only queries of a task have it; give workload.task, or drop it"
        )
    given = asked.get("fields", {})
    if not isinstance(given, Mapping):
        raise ValueError(f"plan.fields: {given!r} is not a table of values by field")
    chosen = {str(path): _values(scenario, str(path), values) for path, values in given.items()}
    for name, pool in scenario.pools.items():
        if isinstance(pool.replicas, int):
            chosen.setdefault(f"pools.{name}.replicas", range(1, MOST_REPLICAS + 1))
    _check_prices(scenario, chosen)
    return PlanSpec(
        chosen,
        headroom_share(asked.get("headroom", 0)),
        _whole(asked.get("spare", 0), "plan.spare", 0),
        parse_quantity(str(asked.get("probability", 0.5)), "share", "plan.probability"),
    )


def headroom_share(value: Any, where: str = "plan.headroom") -> float:
    """Read more traffic as a share, which may well be above 100 %.

    Raises:
        ValueError: one line that begins with `where`.

    """
    text = str(value).strip()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{where}: {value!r} is not a share; write 20 % or 0.2")
    try:
        share = parse_quantity(text.removesuffix("%"), "count", where) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"{where}: {text!r} is not a share >= 0; write 20 % or 0.2") from None
    if share > _MOST_HEADROOM:
        raise ValueError(f"{where}: {text!r} is {share:g} times the traffic; did you mean {share:g} %?")
    return share


def is_replicas(path: str) -> bool:
    """Whether a field is the number of a pool's replicas."""
    parts = path.split(".")
    return len(parts) == 3 and parts[0] == "pools" and parts[2] == "replicas"


def is_settings(path: str) -> bool:
    """Whether a field is one of a pool's `SETTINGS`."""
    parts = path.split(".")
    return len(parts) == 4 and parts[2] == "engine" and parts[3] in SETTINGS


def is_large(spec: PlanSpec) -> bool:
    """Whether a pool has too many layouts, or there are too many strategies, to go through them all."""
    layouts: dict[str, int] = {}
    chassis: dict[str, int] = {}
    for path, values in spec.fields.items():
        part = ".".join(path.split(".")[:2]) if path.startswith("pools.") else "strategy"
        if not is_replicas(path):
            layouts[part] = layouts.get(part, 1) * len(values)
            chassis[part] = chassis.get(part, 1) * (1 if is_settings(path) else len(values))
    return max(layouts.values(), default=1) > MOST_LAYOUTS or max(chassis.values(), default=1) > MOST_CHASSIS


def _values(scenario: Scenario, path: str, values: Any) -> Sequence[Any]:
    where = f"plan.fields.{path}"
    _check_path(scenario, path, where)
    if isinstance(values, Mapping) and {"low", "high"} & set(values):
        return _range(scenario, path, values, where)
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(
            f"{where}: {values!r} is neither a list of values nor a range; "
            "write [1, 2, 4] or {low: 1, high: 4}"
        )
    if is_replicas(path):
        whole = [_replicas(value, f"{where}[{i}]") for i, value in enumerate(values)]
        return sorted(set(whole))
    for i, value in enumerate(values):
        if any(type(value) is type(before) and value == before for before in values[:i]):
            raise ValueError(f"{where}[{i}]: {value!r} stands there twice; drop one")
        _check_value(scenario, path, value, f"{where}[{i}]")
    return list(values)


def _check_path(scenario: Scenario, path: str, where: str) -> None:
    head, *rest = path.split(".")
    if head == "strategy":
        return
    if head != "pools":
        raise ValueError(f"{where}: a plan chooses pools' fields and the strategy; drop it")
    if len(rest) < 2:
        first = next(iter(scenario.pools))
        raise ValueError(f"{where}: name a pool and its field, as in pools.{first}.hardware")
    if rest[0] not in scenario.pools:
        raise ValueError(f"{where}: {rest[0]!r} is no pool; the pools are {', '.join(scenario.pools)}")
    inner = rest[1] == "engine" and len(rest) > 2
    known = [f.name for f in fields(EngineSettings if inner else Pool)]
    name = rest[2] if inner else rest[1]
    if name not in known or len(rest) > 2 + inner:
        raise ValueError(f"{where}: unknown field; {_near(rest[-1], known)}")
    if is_replicas(path) and not isinstance(scenario.pools[rest[0]].replicas, int):
        raise ValueError(
            f"{where}: the pool's replicas are groups, which stay as given; give it a number or drop this"
        )


def _check_prices(scenario: Scenario, chosen: Mapping[str, Sequence[Any]]) -> None:
    """A limit on money needs a price of something in every pool (in any, where the strategy is chosen)."""
    asked = [name for name in scenario.objectives if FIGURES.get(name, ("", ""))[1] in ("money", "rent")]
    unknown = [name for name in scenario.pools if not _has_price(scenario, name, chosen)]
    choice = any(path.split(".")[0] == "strategy" for path in chosen)
    if asked and unknown and (not choice or len(unknown) == len(scenario.pools)):
        raise ValueError(
            f"objectives.{asked[0]}: no hardware of pools.{unknown[0]} has a price; "
            f"give pools.{unknown[0]}.price_usd_per_h"
        )


def _has_price(scenario: Scenario, name: str, chosen: Mapping[str, Sequence[Any]]) -> bool:
    pool = scenario.pools[name]
    prices = chosen.get(f"pools.{name}.price_usd_per_h", (pool.price_usd_per_h,))
    if any(price is not None for price in prices):
        return True
    hardware = chosen.get(f"pools.{name}.hardware", (pool.hardware,))
    rents = (pool_rent(replace(pool, hardware=each, price_usd_per_h=None)) for each in hardware)
    return any(math.isfinite(usd) for usd in rents)


def _check_value(scenario: Scenario, path: str, value: Any, where: str) -> None:
    """Try a pool's value by itself: names that are not known and wrong types are slips."""
    parts = path.split(".")
    if parts[0] != "pools":
        return
    try:
        scenario.replace(**{path: value})
    except ValueError as error:
        raise ValueError(where + str(error).removeprefix(path)) from None
    if value is not None and parts[2] in LOADED and fault_of(parts[2], value):
        raise ValueError(f"{where}: {fault_of(parts[2], value)}")


def _range(scenario: Scenario, path: str, values: Mapping[str, Any], where: str) -> range:
    for key in values:
        if key not in ("low", "high"):
            raise ValueError(f"{where}.{key}: unknown field; known: low, high")
    for key in ("low", "high"):
        if key not in values:
            raise ValueError(f"{where}.{key}: missing; a range has low and high")
    low, high = (_whole(values[key], f"{where}.{key}", 1) for key in ("low", "high"))
    if high < low:
        raise ValueError(f"{where}.high: {high} is below low {low}")
    for key, value in (("low", low), ("high", high)):
        if is_replicas(path):
            _replicas(value, f"{where}.{key}")
        elif value > _MOST:
            raise ValueError(f"{where}.{key}: {value} is more than {_MOST}")
        else:
            _check_value(scenario, path, value, f"{where}.{key}")
    return range(low, high + 1)


def _replicas(value: Any, where: str) -> int:
    count = _whole(value, where, 1)
    if count > MOST_ASKED:
        raise ValueError(
            f"{where}: {count} is more than {MOST_ASKED:,} replicas; past that see docs/mean_field.md"
        )
    return count


def _whole(value: Any, where: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{where}: {value!r} is not a whole number >= {least}")
    return value


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
