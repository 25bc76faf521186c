"""A case: one engine's settings, a step cost and the calls, complete in themselves, as JSON can hold them.

It is what the differential test gives to vLLM's scheduler and to foretell's engine, and what a replay
file carries.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foretell.models.stepcost import AffineCost
from foretell.sim.config import EngineConfig
from foretell.sim.request import Request

COEFFICIENTS = tuple(field.name for field in dataclasses.fields(AffineCost))
_SETTINGS = {field.name: field for field in dataclasses.fields(EngineConfig)}


@dataclass(frozen=True, slots=True)
class Call:
    """What a client asks for; see `foretell.sim.request.Request` for the fields."""

    id: str
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    priority: int = 0
    segments: tuple[tuple[str | int, int], ...] = ()
    stop_token: bool = False
    cancel_s: float | None = None
    accepted: tuple[int, ...] = ()

    def request(self) -> Request:
        """Make the request that an engine takes."""
        return Request(
            self.id,
            self.arrival_s,
            self.prompt_tokens,
            self.output_tokens,
            priority=self.priority,
            segments=self.segments,
            stop_token=self.stop_token,
            accepted=self.accepted,
            cancel_s=math.inf if self.cancel_s is None else self.cancel_s,
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields, without those that say nothing."""
        given = {name: getattr(self, name) for name in _CALL}
        return {name: value for name, value in given.items() if name in _MUST or value != _CALL[name].default}


_CALL = {field.name: field for field in dataclasses.fields(Call)}
_MUST = ("id", "arrival_s", "prompt_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Case:
    """Calls in order of arrival, one engine's settings, seconds of a step."""

    config: EngineConfig
    cost: AffineCost
    calls: tuple[Call, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it, and as `case_from_dict` reads it."""
        return {
            "settings": dataclasses.asdict(self.config),
            "step_cost": dataclasses.asdict(self.cost),
            "requests": [call.as_dict() for call in self.calls],
        }


def case_from_dict(given: Mapping[str, Any]) -> Case:
    """Read a case from a mapping.

    Raises:
        ValueError: something is missing, unknown, or out of range.

    """
    for name in ("settings", "step_cost", "requests"):
        if name not in given:
            raise ValueError(f"{name}: missing; a case has settings, step_cost and requests")
    settings = _mapping(given["settings"], "settings", _SETTINGS)
    if "kv_cache_groups" in settings:
        settings["kv_cache_groups"] = tuple(settings["kv_cache_groups"])
    cost = _mapping(given["step_cost"], "step_cost", COEFFICIENTS)
    rows = given["requests"]
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise ValueError("requests: not a list of at least one request")
    try:
        config, step = EngineConfig(**settings), AffineCost(**cost)
    except TypeError as error:
        raise ValueError(f"settings, step_cost: {error}") from None
    calls = tuple(_call(row, f"requests[{i}]") for i, row in enumerate(rows))
    if len({call.id for call in calls}) < len(calls):
        raise ValueError("requests: two of them have the same id")
    return Case(config, step, tuple(sorted(calls, key=lambda call: call.arrival_s)))


def _mapping(value: Any, name: str, known: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: {value!r} is not a mapping of names to values")
    for key in value:
        if key not in known:
            raise ValueError(f"{name}: {key!r} is unknown; it has {', '.join(known)}")
    return dict(value)


def _call(value: Any, name: str) -> Call:
    row = _mapping(value, name, _CALL)
    for key in _MUST:
        if key not in row:
            raise ValueError(f"{name}: {key} is missing")
    row["id"] = str(row["id"])
    for key in ("arrival_s", "cancel_s"):
        at = row.get(key)
        if at is not None and not (_number(at) and math.isfinite(at) and at >= 0):
            raise ValueError(f"{name}.{key}: {at!r} is not a number of seconds >= 0")
    for key in ("prompt_tokens", "output_tokens"):
        if not _whole(row[key], 1):
            raise ValueError(f"{name}.{key}: {row[key]!r} is not a whole number >= 1")
    if not isinstance(row.get("priority", 0), int):
        raise ValueError(f"{name}.priority: {row['priority']!r} is not a whole number")
    accepted = row["accepted"] = _list(row.get("accepted", ()), f"{name}.accepted")
    if not all(_whole(n, 0) for n in accepted):
        raise ValueError(f"{name}.accepted: {accepted!r} are not whole numbers >= 0")
    links = _list(row.get("segments", ()), f"{name}.segments")
    if not all(isinstance(link, list | tuple) and len(link) == 2 and _whole(link[1], 1) for link in links):
        raise ValueError(f"{name}.segments: {links!r} are not pairs of a stream and its tokens >= 1")
    row["segments"] = tuple((stream, n) for stream, n in links)
    return Call(**row)


def _list(value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name}: {value!r} is not a list")
    return tuple(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
