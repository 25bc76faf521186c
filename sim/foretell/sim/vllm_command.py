"""The `vllm serve` lines of a scenario's pools: the least flags that come to the settings it ran with."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.sim.deployment import Deployment, EnginePart
from foretell.sim.presets import (
    DEFAULT_PRESET,
    EngineSettings,
    engine_config,
    list_presets,
    load_preset,
    resolve_settings,
)
from foretell.sim.scenario import Pool, ReplicaGroup, Scenario
from foretell.sim.strategies import Disaggregated

_HUB = re.compile(r"https://huggingface\.co/([\w.-]+/[\w.-]+)")
_WITHOUT_FLAG = ("preset", "empty_step_s", "performance_mode")
_FLAG = {"num_gpu_blocks": "num_gpu_blocks_override"}
_QUANTIZATION = {"nvfp4": "modelopt_fp4", "int8": "compressed-tensors"}
"""Formats that vLLM knows under another name."""
_AS_STORED = ("modelopt_fp4", "compressed-tensors", "mxfp4", "awq", "awq_marlin", "gptq", "gptq_marlin")
"""Formats that vLLM reads and does not make: the checkpoint must be stored so."""


@dataclass(frozen=True, slots=True)
class ServeCommand:
    """How to start one replica.

    Attributes:
        pool: name of its pool.
        replicas: how many such there are.
        hardware: of one replica, None with a step cost of the user's own.
        accelerators: of one replica.
        line: what to run.
        notes: what the line takes for granted.

    """

    pool: str
    replicas: int
    hardware: str | None
    accelerators: int
    line: str
    notes: tuple[str, ...] = ()


def serve_commands(scenario: Scenario, deployment: Deployment) -> tuple[ServeCommand, ...]:
    """One command a group of like replicas, in the order of the pools.

    Args:
        scenario: what was asked.
        deployment: what its pools came to (`forecasting.deployed`).

    """
    parts = iter(deployment.parts)
    strategy = scenario.parsed_strategy
    roles: Mapping[str, str] = {}
    names = list(scenario.pools)
    if isinstance(strategy, Disaggregated):
        names = [strategy.prefill, strategy.decode]
        roles = {strategy.prefill: "kv_producer", strategy.decode: "kv_consumer"}
    return tuple(
        serve_command(name, scenario.pools[name], group, next(parts), roles.get(name))
        for name in names
        for group in scenario.pools[name].groups
    )


def serve_command(
    name: str, pool: Pool, group: ReplicaGroup, part: EnginePart, kv_role: str | None = None
) -> ServeCommand:
    """Say how to start a replica of a group.

    Args:
        name: of the pool.
        pool, group: as asked.
        part: what the group came to.
        kv_role: with prefill and decode apart, "kv_producer" or "kv_consumer".

    Source: vLLM 0.32, `vllm serve --help=all` and its connector for NIXL (read 2026-11).

    """
    words = ["vllm", "serve", model_id(pool.model)]
    for size in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
        if (getattr(group, size) or 1) > 1:
            words += _flag(size, getattr(group, size))
    if group.enable_expert_parallel:
        words += _flag("enable_expert_parallel", True)
    if pool.dtype != "auto":
        words += _flag("dtype", pool.dtype)
    stored = _QUANTIZATION.get(pool.quantization or "", pool.quantization)
    if stored is not None:
        words += _flag("quantization", stored)
    if pool.kv_cache_dtype != "auto":
        words += _flag("kv_cache_dtype", pool.kv_cache_dtype)
    for setting, value in least_settings(group, part).items():
        words += _flag(setting, value)
    notes = list(_notes(pool, group, part, stored))
    if kv_role is not None:
        config = {"kv_connector": "NixlConnector", "kv_role": kv_role}
        words += ["--kv-transfer-config", json.dumps(config)]
        notes.append("needs the package nixl, and a proxy that asks prefill first and then decode")
    accelerators = part.accelerators * (group.data_parallel_size or 1)
    replicas = part.count // (group.data_parallel_size or 1)
    return ServeCommand(name, replicas, group.hardware, accelerators, shlex.join(words), tuple(notes))


def model_id(model: str | None) -> str:
    """The model as vLLM is told of it: its name on Hugging Face where its record has one, else as given."""
    if model is None:
        return "MODEL"
    found = _HUB.search(load_architecture(model).sources.get("config", ""))
    return found[1] if found else model


def least_settings(group: ReplicaGroup, part: EnginePart) -> dict[str, Any]:
    """Settings that differ from what `vllm serve` of the preset's version runs with by itself.

    A setting is left out when the engine comes to the same configuration without it. Where max_model_len
    was cut to what the KV cache holds, it is "auto": vLLM then does the same with the memory that it finds.
    """
    assert group.engine is not None
    accelerator = None if group.hardware is None else load_hardware(group.hardware).accelerator
    world = (group.tensor_parallel_size or 1) * (group.pipeline_parallel_size or 1)

    def comes_to(settings: EngineSettings) -> tuple[Any, ...]:
        resolved = resolve_settings(settings, accelerator, world)
        config = engine_config(
            resolved,
            num_gpu_blocks=part.config.num_gpu_blocks,
            max_model_len=settings.max_model_len or part.config.max_model_len,
        )
        kept = {name: resolved.get(name) or None for name in _ASIDE}
        if settings.num_gpu_blocks is not None:
            kept |= {"gpu_memory_utilization": None, "num_gpu_blocks": settings.num_gpu_blocks}
        return config, kept

    given = _all_settings(group.engine, accelerator, world)
    settings = EngineSettings(_server_of(group.engine.preset), **given)
    wanted = comes_to(settings)
    for name in given:
        without: dict[str, Any] = {name: None}
        fewer = replace(settings, **without)
        try:
            settings = fewer if comes_to(fewer) == wanted else settings
        except ValueError:
            continue
    least = settings.given()
    if group.engine.max_model_len is not None:
        least["max_model_len"] = group.engine.max_model_len
    elif _cut(part):
        least["max_model_len"] = "auto"
    return {f.name: least[f.name] for f in fields(EngineSettings) if f.name in least}


_ASIDE = ("gpu_memory_utilization", "enforce_eager")
"""Settings that decide about memory and speed, not about the schedule."""


def _all_settings(engine: EngineSettings, accelerator: Any, world: int) -> dict[str, Any]:
    """Every setting that has a flag, after the preset."""
    resolved = resolve_settings(engine, accelerator, world)
    names = [f.name for f in fields(EngineSettings) if f.name not in _WITHOUT_FLAG]
    values = {name: resolved[name] for name in names if resolved.get(name) is not None}
    if engine.num_gpu_blocks is not None:
        del values["gpu_memory_utilization"]
    return values


def _server_of(preset: str) -> str:
    """The server's preset of a preset's version."""
    name = f"vllm-{load_preset(preset)['engine_version']}-server"
    return name if name in list_presets() else DEFAULT_PRESET


def _cut(part: EnginePart) -> bool:
    """Whether the model's own length was cut to what the KV cache holds."""
    config = part.config
    return config.max_model_len == (config.num_gpu_blocks - 1) * config.block_size


def _flag(name: str, value: Any) -> list[str]:
    flag = _FLAG.get(name, name).replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", f"{value:g}" if isinstance(value, float) else str(value)]


def _notes(pool: Pool, group: ReplicaGroup, part: EnginePart, stored: str | None) -> Iterator[str]:
    assert group.engine is not None
    if pool.model is None:
        yield "MODEL: the scenario gives a step cost and names no model"
    elif stored in _AS_STORED and load_architecture(pool.model).weight_dtype in ("bf16", "fp16", "fp32"):
        yield f"--quantization {stored}: takes a checkpoint that is stored so; name it in place of the model"
    version = load_preset(group.engine.preset)["engine_version"]
    if _server_of(group.engine.preset) != f"vllm-{version}-server":
        yield f"preset of vLLM {version}: defaults are taken as those of {DEFAULT_PRESET}"
