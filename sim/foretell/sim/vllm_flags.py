"""The flags of `vllm serve` (0.32): which of them a pool has, and how a forecast stands to the others.

Source: the parser of vLLM 0.32.0 itself, see data/vllm_flags.toml.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from foretell.sim.presets import EngineSettings

_NOT_FLAGS = ("preset", "empty_step_s", "num_gpu_blocks")
ENGINE: Mapping[str, str] = {
    f.name.replace("_", "-"): f.name for f in fields(EngineSettings) if f.name not in _NOT_FLAGS
} | {"num-gpu-blocks-override": "num_gpu_blocks", "device-memory-utilization": "gpu_memory_utilization"}
"""Flags that are settings of the engine: flag → field; the last is an alias."""
POOL: Mapping[str, str] = {
    "model": "model",
    "tensor-parallel-size": "tensor_parallel_size",
    "pipeline-parallel-size": "pipeline_parallel_size",
    "data-parallel-size": "data_parallel_size",
    "enable-expert-parallel": "enable_expert_parallel",
    "dtype": "dtype",
    "quantization": "quantization",
    "kv-cache-dtype": "kv_cache_dtype",
}
"""Flags that are fields of a pool: flag → field."""
_TOKENS = ("max-model-len", "max-num-batched-tokens")
_KINDS = {"bool": "switch", "float": "number", "int": "whole"}


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag.

    Attributes:
        kind: what it takes: "on" nothing; "switch" nothing, and has a --no- form; "whole", a whole number;
            "tokens", one that may be written 8k; "number"; "list", several words; "maybe", a word or none;
            "text", anything else.
        stands: "read", "not_forecast", "harmless", or "older": 0.32 does not have it.
        about: what it is about.

    """

    kind: str
    stands: str
    about: str = ""


@cache
def _record() -> Mapping[str, Any]:
    text = (files("foretell.sim") / "data" / "vllm_flags.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def short_flags() -> Mapping[str, str]:
    """Short flags by what they stand for."""
    short: dict[str, str] = _record()["short"]
    return short


@cache
def flags() -> Mapping[str, Flag]:
    """Every flag that is known, by its long name without dashes."""
    return dict(_flags())


def _flags() -> Iterator[tuple[str, Flag]]:
    for name in POOL:
        kind = "switch" if name.startswith("enable-") else "whole" if name.endswith("-size") else "text"
        yield name, Flag(kind, "read")
    for name, field in ENGINE.items():
        declared = str(EngineSettings.__dataclass_fields__[field].type)
        kind = next((kind for word, kind in _KINDS.items() if word in declared), "text")
        yield name, Flag("tokens" if name in _TOKENS else kind, "read")
    for stands in ("not_forecast", "harmless"):
        for about, kinds in _record()[stands].items():
            for kind, names in kinds.items():
                yield from ((name, Flag(kind, stands, about)) for name in names.split())
    yield from ((name, Flag("text", "older")) for name in _record()["older"]["flags"].split())


@cache
def names() -> tuple[str, ...]:
    """Every name that vLLM takes after two dashes, those that turn a switch off too."""
    taken = [(name, flag.kind) for name, flag in flags().items() if flag.stands != "older"]
    return tuple(name for name, _ in taken) + tuple(f"no-{name}" for name, kind in taken if kind == "switch")


def whole_name(name: str) -> str:
    """The name that this one stands for: itself, or as with vLLM the only one that begins so."""
    if name in flags() or name in names():
        return name
    longer = [known for known in names() if known.startswith(name)]
    return longer[0] if len(longer) == 1 and name else name


def nearest(name: str) -> str | None:
    """The known name that this one is most like, if any is."""
    return next(iter(difflib.get_close_matches(name, names(), n=1, cutoff=0.7)), None)
