"""Engine presets: the settings that a version of vLLM comes to on an accelerator when nobody gives them.

A preset also says what its version does otherwise than the newest (`OLD_WAYS` among its settings), and
which settings of foretell it does not have ("unsupported").
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from foretell.models.catalogue import check_keys, read_file, unknown_name
from foretell.models.engine_memory import version_tuple
from foretell.models.hardware import Accelerator
from foretell.sim.config import OLD_WAYS, EngineConfig

DEFAULT_PRESET = "vllm-0.32-server"
_GIB = 2**30
_DEVICE_KEYS = ("name_has", "name_has_not", "memory_GiB", "times_world_size")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What a user says about an engine; None leaves it to the preset.

    Names and meaning are those of `EngineConfig`, and besides:

    Attributes:
        preset: name of the preset, or a path to a .toml file of one.
        gpu_memory_utilization: share of the accelerator's memory that the engine may use.
        num_gpu_blocks: KV blocks as the server logs them; estimated from the memory when None.
        max_model_len: the model's own when None, or less where the KV cache cannot hold it.
        enforce_eager: launch every kernel by itself instead of by CUDA graphs: small steps take longer.
        performance_mode: "balanced", or "throughput", which doubles the preset's batch limits.

    Raises:
        ValueError: a figure out of range.

    """

    preset: str = DEFAULT_PRESET
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    max_model_len: int | None = None
    num_gpu_blocks: int | None = None
    block_size: int | None = None
    gpu_memory_utilization: float | None = None
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    async_scheduling: bool | None = None
    enforce_eager: bool | None = None
    scheduling_policy: Literal["fcfs", "priority"] | None = None
    long_prefill_token_threshold: int | None = None
    long_prefill_token_threshold_adaptive: bool | None = None
    scheduler_reserve_full_isl: bool | None = None
    watermark: float | None = None
    empty_step_s: float | None = None
    performance_mode: Literal["balanced", "throughput"] = "balanced"

    def __post_init__(self) -> None:
        for name, least in (
            ("max_num_seqs", 1),
            ("max_num_batched_tokens", 1),
            ("max_model_len", 2),
            ("num_gpu_blocks", 2),
            ("block_size", 1),
            ("long_prefill_token_threshold", 0),
        ):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ValueError(f"{name}: {value!r} is not a whole number >= {least}")
        share = self.gpu_memory_utilization
        if share is not None and not (math.isfinite(share) and 0 < share <= 1):
            raise ValueError(f"gpu_memory_utilization: {share!r} is not a share in (0, 1]")
        for name, below in (("watermark", 1.0), ("empty_step_s", math.inf)):
            value = getattr(self, name)
            if value is not None and not 0 <= value < below:
                upper = f" and < {below:g}" if below < math.inf else ""
                raise ValueError(f"{name}: {value!r} is not a finite number >= 0{upper}")
        if self.num_gpu_blocks is not None and self.gpu_memory_utilization is not None:
            raise ValueError(
                "num_gpu_blocks: contradicts gpu_memory_utilization, which only serves to estimate it; "
                "drop one"
            )

    def given(self) -> dict[str, Any]:
        """Return what was given, without the preset's name and the performance mode."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["preset"], values["performance_mode"]
        return {name: value for name, value in values.items() if value is not None}


@cache
def list_presets() -> tuple[str, ...]:
    """Names of the bundled presets."""
    folder = files("foretell.sim") / "data" / "presets"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


@cache
def _bundled(name: str) -> dict[str, Any]:
    text = (files("foretell.sim") / "data" / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def load_preset(name: str) -> dict[str, Any]:
    """Load a preset by name, or from a path to a .toml file.

    Raises:
        ValueError: unknown name (the nearest are suggested), or a malformed record.

    """
    if name.endswith(".toml"):
        from pathlib import Path

        record = read_file(Path(name))
    elif name in list_presets():
        record = deepcopy(_bundled(name))
    else:
        raise ValueError(unknown_name("preset", name, list_presets()))
    required = ["name", "engine_version", "settings", "devices"]
    check_keys(record, required, ["description", "sources", "unsupported"], f"preset {name}")
    if not isinstance(record["engine_version"], str):
        version = record["engine_version"]
        raise ValueError(f'preset {name}, engine_version: {version!r} is not text such as "0.32"')
    settings = [field.name for field in fields(EngineSettings)]
    check_keys(record["settings"], [], [*settings, *OLD_WAYS], f"preset {name}, settings")
    for device in record["devices"]:
        check_keys(device, [], [*_DEVICE_KEYS, *settings], f"preset {name}, devices")
    unknown = set(record.get("unsupported", ())) - {field.name for field in fields(EngineConfig)}
    if unknown:
        raise ValueError(f"preset {name}, unsupported: {sorted(unknown)[0]!r} is no setting of an engine")
    return record


def resolve_settings(
    engine: EngineSettings, accelerator: Accelerator | None, world_size: int = 1
) -> dict[str, Any]:
    """Settings by name after the preset, the device's defaults and the user's own, in rising precedence.

    max_model_len and num_gpu_blocks are there only if given: they depend on the model and its memory.
    As in vLLM, a derived max_num_seqs never exceeds max_num_batched_tokens, and without chunked prefill
    a token budget that nobody gave is left out here: it depends on max_model_len (`engine_config`).
    What `engine_config` needs for that stands under "derived": the batch limits that nobody gave.

    Args:
        engine: what the user said.
        accelerator: where it runs; None (a step cost of the user's own) takes the preset's last device.
        world_size: tensor × pipeline parallel ranks of an engine.

    Raises:
        ValueError: unknown or malformed preset, no device of it fits, or a setting that its version of
            vLLM does not have.

    """
    preset = load_preset(engine.preset)
    device = _device(preset, accelerator)
    given = engine.given()
    for name in preset.get("unsupported", ()):
        if name in given:
            raise ValueError(
                f"{name}: foretell has no such setting for vLLM {preset['engine_version']} "
                f"(preset {preset['name']}); drop it, or take a newer preset"
            )
    resolved: dict[str, Any] = dict(preset["settings"])
    resolved |= {key: value for key, value in device.items() if key not in _DEVICE_KEYS}
    factor = world_size if device.get("times_world_size") else 1
    if engine.performance_mode == "throughput":
        factor *= 2
    derived = {}
    for name in ("max_num_seqs", "max_num_batched_tokens"):
        if name in resolved and name not in given:
            derived[name] = resolved[name] * factor
    resolved |= derived | given
    if "max_num_seqs" in derived and "max_num_batched_tokens" in resolved:
        resolved["max_num_seqs"] = min(resolved["max_num_seqs"], resolved["max_num_batched_tokens"])
    if not resolved.get("enable_chunked_prefill", True) and "max_num_batched_tokens" in derived:
        del resolved["max_num_batched_tokens"]
    return resolved | {"derived": derived}


def engine_config(resolved: Mapping[str, Any], *, num_gpu_blocks: int, max_model_len: int) -> EngineConfig:
    """Make the engine's configuration of resolved settings.

    Batch limits that nobody gave follow max_model_len as in vLLM: the token budget is at least that long
    without chunked prefill, at most as long as max_num_seqs requests of that length, and max_num_seqs is
    at most the budget.

    Raises:
        ValueError: see `EngineConfig`.

    """
    known = {field.name for field in fields(EngineConfig)}
    values = {name: value for name, value in resolved.items() if name in known}
    derived = resolved.get("derived", {})
    values |= derived
    budget = values.setdefault("max_num_batched_tokens", max_model_len)
    if "max_num_batched_tokens" in derived:
        if not values.get("enable_chunked_prefill", True):
            budget = max(budget, max_model_len)
        if "max_num_seqs" in values:
            budget = min(budget, values["max_num_seqs"] * max_model_len)
        values["max_num_batched_tokens"] = budget
    if "max_num_seqs" in derived:
        values["max_num_seqs"] = min(derived["max_num_seqs"], budget)
    return EngineConfig(**values | {"num_gpu_blocks": num_gpu_blocks, "max_model_len": max_model_len})


def version_ways(version: str) -> tuple[tuple[str, ...], dict[str, bool]]:
    """Settings that foretell does not have for a version, and what it does otherwise than the newest.

    Args:
        version: of vLLM, such as "0.30" or "0.30.0"; one that is newer than all presets is taken as
            the newest of them.

    Returns:
        Names of fields of `EngineConfig`; all of `OLD_WAYS`, and whether this version has them.

    Raises:
        ValueError: not a version, or none of a preset.

    """
    presets = {version_tuple(r["engine_version"]): r for r in map(load_preset, list_presets())}
    preset = presets.get(min(version_tuple(version), max(presets)))
    if preset is None:
        known = ", ".join(f"{major}.{minor}" for major, minor in sorted(presets))
        raise ValueError(f"vLLM {version}: no preset says what it does otherwise; there are {known}")
    ways = {name: bool(preset["settings"].get(name)) for name in OLD_WAYS}
    return tuple(preset.get("unsupported", ())), ways


def as_version(config: EngineConfig, version: str) -> EngineConfig:
    """Return the same settings under a version's ways (`version_ways`), with what it lacks off."""
    unsupported, ways = version_ways(version)
    changed: dict[str, Any] = {f.name: f.default for f in fields(EngineConfig) if f.name in unsupported}
    return replace(config, **changed | ways)


def _device(preset: Mapping[str, Any], accelerator: Accelerator | None) -> Mapping[str, Any]:
    devices: list[Mapping[str, Any]] = preset["devices"]
    if accelerator is None:
        return devices[-1]
    name, memory = accelerator.name.lower(), accelerator.memory_bytes / _GIB
    for device in devices:
        if (
            device.get("name_has", "") in name
            and not ("name_has_not" in device and device["name_has_not"] in name)
            and memory >= device.get("memory_GiB", 0)
        ):
            return device
    raise ValueError(f"preset {preset['name']}: no entry of its devices fits {accelerator.name}")
