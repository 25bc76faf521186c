"""What the page asks, checked: the one place that decides which files and code a question may name.

A scenario in a file may name files and modules. One that comes over HTTP may not: only what is bundled, what
was uploaded ("upload:ID"), and what the file on the command line of `foretell ui` itself names (`Handed`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from foretell.sim.scenario import Scenario

MOST_VALUES = 5_000
"""Fields and list items of a scenario; aliases of YAML count as often as they occur."""
MOST_DEEP = 20
MOST_TEXT = 2_000
MOST_ENGINES = 20_000
MOST_REPLICATIONS = 64
MOST_REQUESTS = 500_000
"""Of a run of a simulation that the page may ask for."""
MOST_SIMULATED = 8 * MOST_REQUESTS
"""Of all its runs."""
_MOST = 1e15
_UPLOAD = "upload:"
SECTIONS_ASIDE = ("compare", "sweep", "plan")
"""Sections that ask something else; the page answers for the scenario itself."""
_FREE = ("objectives", "goodput", "client")
"""Sections whose texts name nothing: limits, and where figures come from."""
_LOOKS_LIKE_FILE = re.compile(r"[/\\:~]|\.(?:toml|json|jsonl|ya?ml|csv|gz|parquet|txt|py)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Handed:
    """What the user gave to this server.

    Attributes:
        texts: what the file on the command line says in fields that name files or code.
        uploads: paths of uploaded traces by their ids.

    """

    texts: frozenset[str] = frozenset()
    uploads: Mapping[str, Path] = field(default_factory=dict)


def handed_by(values: Mapping[str, Any]) -> frozenset[str]:
    """The texts of a handed-over file's scenario that no question may bring up by itself."""
    return frozenset(text for path, text in _texts(values) if _refusal(path, text) is not None)


def asked(values: object, handed: Handed) -> Scenario:
    """The scenario that a question is about.

    Raises:
        ValueError: it is none, it names a file or code that was not handed over, or its figures are absurd;
            one line that names the field.

    """
    found = Scenario.from_dict(plain(values, handed))
    check_scale(found)
    return found


def plain(values: object, handed: Handed) -> dict[str, Any]:
    """The same as plain fields, with the paths of uploaded traces; without what the page does not ask.

    Raises:
        ValueError: see `asked`.

    """
    if not isinstance(values, dict):
        raise ValueError("scenario: not a table of fields such as workload and pools")
    check_size(values)
    kept = {name: value for name, value in values.items() if name not in SECTIONS_ASIDE}
    for path, text in _texts(kept):
        why = None if text in handed.texts else _refusal(path, text)
        if why is not None and not (path[-1] == "trace" and text.startswith(_UPLOAD)):
            raise ValueError(f"{'.'.join(path)}: {why}")
    for section in ("workload", "pools", "replications", "seed"):
        if section in kept:
            _check_numbers(kept[section], (section,))
    return _single(_with_uploads(kept, handed), dropped=len(kept) < len(values))


def _check_numbers(value: object, path: tuple[str, ...]) -> None:
    """Refuse true and false where a number belongs: pydantic takes them for 1 and 0."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            _check_numbers(each, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            _check_numbers(each, (*path, str(index)))
    elif isinstance(value, bool) and path[-1] in _numbers():
        raise ValueError(f"{'.'.join(path)}: {str(value).lower()} is not a number")


@cache
def _numbers() -> frozenset[str]:
    """Fields that hold numbers."""
    from foretell.sim.presets import EngineSettings
    from foretell.sim.scenario import Pool, ReplicaGroup, Workload

    specs = (Scenario, Workload, Pool, ReplicaGroup, EngineSettings)
    kinds = {f.name: str(f.type) for spec in specs for f in fields(spec)}
    return frozenset(
        name for name, kind in kinds.items() if ("int" in kind or "float" in kind) and "bool" not in kind
    )


def _texts(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text among the values, with its place."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(each, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _texts(each, (*path, str(index)))


def _refusal(path: tuple[str, ...], text: str) -> str | None:
    """Why a question may not say this here; None where it may."""
    if path[0] in _FREE and len(path) > 1:
        return None
    name = path[-1]
    if name == "trace":
        return f"{_short(text)} is a file of this machine; load it into the page, or name it to foretell ui"
    if name == "calibration":
        return f"{_short(text)} is a file of this machine; hand the scenario that names it to foretell ui"
    if name == "step_cost":
        return None  # parsed, never looked up
    if name in _BUNDLED and path[0] != "strategy":
        known = _BUNDLED[name]()
        if text.lower() in known or (name == "router" and re.fullmatch(r"power_of_d:\d{1,6}", text)):
            return None
        if name == "outcomes" and text.lower().rpartition("/")[2] in known:
            return None
        if not _LOOKS_LIKE_FILE.search(text):
            from foretell.models.catalogue import unknown_name

            return unknown_name("preset" if name == "engine" else name, text[:60], known)
    if _LOOKS_LIKE_FILE.search(text):
        return f"{_short(text)} looks like a file or code; these are read from {_HANDED}"
    return None


_HANDED = "a file handed to foretell ui only"


def _records(kind: str) -> Callable[[], frozenset[str]]:
    def names() -> frozenset[str]:
        from foretell.models.catalogue import list_records

        return frozenset(list_records(kind))

    return names


def _presets() -> frozenset[str]:
    from foretell.sim.presets import list_presets

    return frozenset(list_presets())


def _clients() -> frozenset[str]:
    from foretell.sim.client import bundled_clients

    return frozenset(bundled_clients())


def _routers() -> frozenset[str]:
    from foretell.sim.routers import ROUTERS

    return frozenset(ROUTERS)


def _profiles() -> frozenset[str]:
    from foretell.models.profiles import list_outcomes

    return frozenset(model for _, model in list_outcomes())


_BUNDLED: Mapping[str, Callable[[], frozenset[str]]] = {
    "model": _records("architectures"),
    "hardware": _records("hardware"),
    "preset": _presets,
    "engine": _presets,
    "router": _routers,
    "outcomes": _profiles,
    "client": _clients,
}


def check_size(values: dict[str, Any]) -> None:
    """Refuse what no scenario is like, before anything walks through it."""
    left = MOST_VALUES
    waiting: list[tuple[tuple[str, ...], Any]] = [((), values)]
    while waiting:
        path, value = waiting.pop()
        left -= 1
        where = ".".join(path) or "scenario"
        if left < 0:
            raise ValueError(f"scenario: more than {MOST_VALUES:,} values")
        if len(path) > MOST_DEEP:
            raise ValueError(f"{where}: more than {MOST_DEEP} levels deep")
        if isinstance(value, dict):
            waiting += [((*path, str(key)[:80]), each) for key, each in value.items()]
        elif isinstance(value, list):
            waiting += [((*path, str(index)), each) for index, each in enumerate(value)]
        elif isinstance(value, str):
            if len(value) > MOST_TEXT:
                raise ValueError(f"{where}: a text of {len(value):,} characters; at most {MOST_TEXT:,}")
        elif isinstance(value, int | float):
            if not (abs(value) <= _MOST or value == math.inf):
                raise ValueError(f"{where}: not a number between ±1e15")
        elif value is not None:
            raise ValueError(f"{where}: {_short(str(value))} is neither text, number nor table")


def check_scale(scenario: Scenario) -> None:
    """Refuse a deployment that no closed form should be asked about.

    Raises:
        ValueError: it has too many engines, or too many draws; one line.

    """
    for name, pool in scenario.pools.items():
        engines = sum(group.count * (group.data_parallel_size or 1) for group in pool.groups)
        if engines > MOST_ENGINES:
            raise ValueError(
                f"pools.{name}.replicas: {engines:,} engines; the page takes up to {MOST_ENGINES:,}"
            )
    if scenario.replications > MOST_REPLICATIONS:
        raise ValueError(f"replications: {scenario.replications:,}; the page takes up to {MOST_REPLICATIONS}")


def check_work(scenario: Scenario) -> None:
    """Refuse a simulation that would not end.

    Raises:
        ValueError: as `check_scale`, too many requests, or the trace is none; one line.

    """
    from foretell.sim.workload import fixed_trace

    check_scale(scenario)
    workload = scenario.workload
    count = float(workload.num_requests or 0)
    name = "num_requests"
    if (trace := fixed_trace(workload)) is not None:  # read once: the simulation has it from the cache
        count, name = float(len(trace)), "trace"
    elif workload.duration_s is not None and workload.arrivals is not None:
        from foretell.traces.spec import arrivals_from_spec

        process = arrivals_from_spec(workload.arrivals)
        count, name = workload.duration_s * getattr(process, "mean_rate_per_s", 0.0), "duration_s"
    if count > MOST_REQUESTS:
        raise ValueError(
            f"workload.{name}: {count:,.0f} requests; the page simulates up to {MOST_REQUESTS:,}: "
            f"{'set workload.head, or ' if name == 'trace' else ''}use foretell forecast for more"
        )
    if count * scenario.replications > MOST_SIMULATED:
        raise ValueError(
            f"replications: {scenario.replications} of {count:,.0f} requests each; the page simulates up to "
            f"{MOST_SIMULATED:,} in all: use foretell forecast for more"
        )


def _with_uploads(values: dict[str, Any], handed: Handed) -> dict[str, Any]:
    """The same with the path of each trace that was uploaded."""
    workload = values.get("workload")
    if not isinstance(workload, dict):
        return values

    def replaced(table: dict[str, Any], where: str) -> dict[str, Any]:
        text = table.get("trace")
        if not (isinstance(text, str) and text.startswith(_UPLOAD)) or text in handed.texts:
            return table
        path = handed.uploads.get(text.removeprefix(_UPLOAD))
        if path is None:
            raise ValueError(f"{where}.trace: {_short(text)} is not there any more; load the file again")
        return table | {"trace": str(path)}

    workload = replaced(workload, "workload")
    if isinstance(workload.get("lengths"), dict):
        workload = workload | {"lengths": replaced(workload["lengths"], "workload.lengths")}
    return values | {"workload": workload}


def _single(values: dict[str, Any], *, dropped: bool) -> dict[str, Any]:
    """Drop pools that only the cells of a dropped comparison, sweep or plan use."""
    from foretell.sim.strategies import Single, strategy_from_mapping

    pools, workload = values.get("pools"), values.get("workload")
    if not (dropped and isinstance(pools, dict) and isinstance(workload, dict) and pools):
        return values
    strategy = values.get("strategy", {"name": "single"})
    for size in range(1, len(pools)):
        first = dict(list(pools.items())[:size])
        with suppress(ValueError, TypeError, AttributeError):
            found = strategy_from_mapping(strategy, first, workload.get("task"))
            if isinstance(found, Single) or workload.get("task") is not None:
                return values | {"pools": first}
    return values


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
