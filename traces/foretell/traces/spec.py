"""Traces from the mappings of a scenario file.

arrivals: {process: poisson, rate_per_s: 2}
lengths: {preset: sharegpt}            # or {prompt: 512, output: {lognormal: {mean: 200, sigma: 0.7}}}
num_requests: 1000                     # or duration_s: 3600
prefixes: {groups: 20, tokens: 1024, zipf: 1.1}
sessions: {turns: {geometric: 4}, think_s: {exponential: 30}}
priorities: {0: 9, 1: 1}
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from importlib.resources import files
from typing import Any

import numpy as np

from foretell.traces import arrivals as arr
from foretell.traces import lengths as law
from foretell.traces.generate import (
    Durations,
    ExponentialTime,
    FixedTime,
    Geometric,
    LogNormalTime,
    Prefixes,
    Sessions,
    generate,
)
from foretell.traces.readers import read_trace
from foretell.traces.table import Trace

PROCESSES: Mapping[str, type[Any]] = {
    "poisson": arr.Poisson,
    "gamma": arr.Gamma,
    "mmpp": arr.Mmpp,
    "diurnal": arr.Diurnal,
    "constant": arr.Constant,
    "closed_loop": arr.ClosedLoop,
}
"""Arrival processes by name."""

_FIELDS = ("arrivals", "lengths", "num_requests", "duration_s", "prefixes", "sessions", "priorities")
_WHOLE = {"concurrency", "groups", "tokens"}


def trace_from_spec(spec: Mapping[str, Any], seed: int | np.random.SeedSequence = 0) -> Trace:
    """Make the trace that a scenario's workload describes; see the module for its fields.

    Args:
        spec: the mapping, as YAML or TOML gives it.
        seed: a number or a SeedSequence.

    Raises:
        ValueError: one line that names the field, what is wrong and what would be right.

    """
    _known(spec, "workload", _FIELDS, required=("arrivals", "lengths"))
    count, duration = spec.get("num_requests"), spec.get("duration_s")
    if count is None and duration is None:
        raise ValueError("workload: give num_requests or duration_s")
    sessions, prefixes, weights = spec.get("sessions"), spec.get("prefixes"), spec.get("priorities")
    return generate(
        arrivals_from_spec(spec["arrivals"]),
        lengths_from_spec(spec["lengths"]),
        num_requests=None if count is None else _whole(count, "num_requests", least=1),
        duration_s=None if duration is None else _number(duration, "duration_s"),
        seed=seed,
        prefixes=None if prefixes is None else _built(Prefixes, prefixes, "prefixes"),
        sessions=None if sessions is None else _sessions(sessions),
        priorities=None if weights is None else _weights(weights),
    )


def arrivals_from_spec(spec: Mapping[str, Any]) -> arr.Arrivals | arr.ClosedLoop:
    """Return the process of a mapping such as {process: gamma, rate_per_s: 2, burstiness: 0.5}."""
    _mapping(spec, "arrivals")
    if "process" not in spec:
        raise ValueError(f"arrivals.process is missing; give one of {', '.join(PROCESSES)}")
    name = spec["process"]
    if name not in PROCESSES:
        raise ValueError(f"arrivals.process {name!r} is unknown{_nearest(name, PROCESSES)}")
    rest = {key: value for key, value in spec.items() if key != "process"}
    process: arr.Arrivals | arr.ClosedLoop = _built(PROCESSES[name], rest, "arrivals")
    return process


def lengths_from_spec(spec: Mapping[str, Any]) -> law.PairLengths:
    """Return the lengths of a mapping: {preset: NAME}, {trace: FILE}, or {prompt: ..., output: ...}."""
    _mapping(spec, "lengths")
    if "preset" in spec:
        _known(spec, "lengths", ("preset",))
        return preset(spec["preset"])
    if "trace" in spec:
        _known(spec, "lengths", ("trace",))
        return law.Empirical.of(read_trace(spec["trace"]))
    _known(spec, "lengths", ("prompt", "output"), required=("prompt", "output"))
    return law.Independent(
        _length(spec["prompt"], "lengths.prompt"), _length(spec["output"], "lengths.output")
    )


def presets() -> dict[str, dict[str, Any]]:
    """Return the bundled length presets as they stand in the data, with about, source and note."""
    return tomllib.loads((files("foretell.traces") / "data" / "lengths.toml").read_text(encoding="utf-8"))


def preset(name: str) -> law.Independent:
    """Return a bundled pair of length laws.

    Raises:
        ValueError: no preset of that name.

    """
    known = presets()
    if name not in known:
        raise ValueError(f"lengths.preset {name!r} is unknown{_nearest(name, known)}")
    record = known[name]
    return law.Independent(
        _length(record["prompt"], f"{name}.prompt"), _length(record["output"], f"{name}.output")
    )


def _length(spec: Any, where: str) -> law.Lengths:
    if not isinstance(spec, Mapping):
        return law.Fixed(_whole(spec, where, least=1))
    name, given = _only(spec, where, ("fixed", "uniform", "lognormal", "geometric"))
    where = f"{where}.{name}"
    if name == "fixed":
        return law.Fixed(_whole(given, where, least=1))
    if name == "geometric":
        return Geometric(_number(given, where))
    makers = _UNIFORM if name == "uniform" else _LOGNORMAL
    bounds = ("minimum", "maximum") if name == "lognormal" else ()
    _mapping(given, where)
    figures = frozenset(given) - set(bounds)
    if figures not in makers:
        allowed = "; ".join(" and ".join(sorted(keys)) for keys in makers)
        raise ValueError(f"{where} has {', '.join(sorted(given)) or 'nothing'}; give {allowed}")
    values: dict[str, Any] = {key: _number(given[key], f"{where}.{key}") for key in figures}
    for key in set(given) - figures | ({"low", "high", "tokens"} & figures):
        values[key] = _whole(given[key], f"{where}.{key}", least=1)
    return makers[figures](**values)


_UNIFORM: Mapping[frozenset[str], Callable[..., law.Lengths]] = {
    frozenset({"low", "high"}): law.Uniform,
    frozenset({"tokens", "range_ratio"}): law.Uniform.around,
    frozenset({"tokens", "least_share"}): law.Uniform.below,
}
_LOGNORMAL: Mapping[frozenset[str], Callable[..., law.Lengths]] = {
    frozenset({"median", "sigma"}): law.LogNormal,
    frozenset({"mean", "sigma"}): law.LogNormal.from_mean,
    frozenset({"mean", "p50"}): law.LogNormal.from_mean_and_median,
    frozenset({"p50", "p90"}): law.LogNormal.from_percentiles,
    frozenset({"p50", "p99"}): law.LogNormal.from_percentiles,
}


def _sessions(spec: Any) -> Sessions:
    _known(spec, "sessions", ("turns", "think_s", "max_tokens"), required=("turns",))
    limit = spec.get("max_tokens")
    return Sessions(
        _length(spec["turns"], "sessions.turns"),
        _duration(spec.get("think_s", 0.0), "sessions.think_s"),
        None if limit is None else _whole(limit, "sessions.max_tokens", least=1),
    )


def _duration(spec: Any, where: str) -> Durations:
    if not isinstance(spec, Mapping):
        return FixedTime(_number(spec, where))
    name, given = _only(spec, where, ("fixed", "exponential", "lognormal"))
    if name == "lognormal":
        law_of: LogNormalTime = _built(LogNormalTime, given, f"{where}.lognormal")
        return law_of
    value = _number(given, f"{where}.{name}")
    return FixedTime(value) if name == "fixed" else ExponentialTime(value)


def _weights(spec: Any) -> dict[int, float]:
    _mapping(spec, "priorities")
    return {_whole(key, "priorities"): _number(value, f"priorities.{key}") for key, value in spec.items()}


def _built(cls: type[Any], given: Any, where: str) -> Any:
    """Make a flat dataclass of numbers out of a mapping."""
    known = {field.name: field for field in fields(cls)}
    required = [name for name, field in known.items() if field.default is MISSING]
    _known(given, where, tuple(known), required=required)
    values: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, (list, tuple)):
            values[name] = tuple(_number(item, f"{where}.{name}") for item in value)
        elif name in _WHOLE:
            values[name] = _whole(value, f"{where}.{name}")
        else:
            values[name] = _number(value, f"{where}.{name}")
    try:
        return cls(**values)
    except TypeError:
        raise ValueError(f"{where}: lists and numbers are mixed up; see {cls.__name__}") from None


def _only(spec: Mapping[str, Any], where: str, names: Sequence[str]) -> tuple[str, Any]:
    if len(spec) != 1:
        raise ValueError(f"{where} has {len(spec)} entries; give exactly one of {', '.join(names)}")
    ((name, given),) = spec.items()
    if name not in names:
        raise ValueError(f"{where}.{name} is unknown{_nearest(name, names)}")
    return name, given


def _known(spec: Any, where: str, names: Sequence[str], required: Sequence[str] = ()) -> None:
    _mapping(spec, where)
    for name in spec:
        if name not in names:
            raise ValueError(f"{where}.{name} is unknown{_nearest(name, names)}")
    for name in required:
        if name not in spec:
            raise ValueError(f"{where}.{name} is missing")


def _mapping(spec: Any, where: str) -> None:
    if not isinstance(spec, Mapping):
        raise ValueError(f"{where} is {spec!r}; it must be a mapping of fields")


def _number(value: Any, where: str) -> float:
    try:  # YAML reads 1e9 as a string
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where} is {value!r}; it must be a finite number")
    return number


def _whole(value: Any, where: str, least: int | None = None) -> int:
    number = _number(value, where)
    if number != int(number) or (least is not None and number < least):
        bound = "" if least is None else f", at least {least}"
        raise ValueError(f"{where} is {value!r}; it must be a whole number{bound}")
    return int(number)


def _nearest(name: Any, names: Any) -> str:
    close = difflib.get_close_matches(str(name), list(names), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"; {hint}known: {', '.join(names)}"
