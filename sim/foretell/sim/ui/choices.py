"""What the page offers: everything bundled, with a line on each, and scenarios to start from."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from foretell.sim.cli.programs import profiled
from foretell.sim.report.words import words_of
from foretell.sim.ui.jobs import MOST
from foretell.sim.ui.starts import STARTS
from foretell.sim.ui.uploads import BODY_BYTES, TRACE_BYTES

PROMISE = "Only this machine can reach it; it reads no file but those you hand to it"


def choices(scenario: Mapping[str, Any] | None, file: str | None) -> dict[str, Any]:
    """Everything that the page needs to be drawn.

    Args:
        scenario: to start with; the first of the examples when None.
        file: what it was read from.

    """
    from foretell.sim.cli.catalogue import KINDS
    from foretell.sim.deployment import DTYPES, KV_DTYPES, QUANTIZATION
    from foretell.sim.forecast_json import tool_version

    return {
        "version": tool_version(),
        "scenario": dict(STARTS[0].scenario if scenario is None else scenario),
        "file": file,
        "promise": PROMISE,
        "examples": [dataclasses.asdict(start) for start in STARTS],
        "models": list(_models(KINDS["models"]())),
        "hardware": list(_hardware(KINDS["hardware"]())),
        "presets": _named(KINDS["presets"]()),
        "routers": _named(KINDS["routers"]()),
        "links": list(_links()),
        "lengths": list(_lengths()),
        "arrivals": list(_arrivals()),
        "tasks": list(_tasks()),
        "strategies": list(_strategies()),
        "objectives": list(_objectives()),
        "dtypes": list(DTYPES),
        "quantizations": list(QUANTIZATION),
        "kv_cache_dtypes": ["auto", *KV_DTYPES],
        "limits": {"trace_bytes": TRACE_BYTES, "body_bytes": BODY_BYTES, "simulations": MOST},
    }


def _named(found: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "about": about} for name, about in found.items()]


def _models(found: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    from foretell.models.architecture import load_architecture
    from foretell.sim.vllm_command import model_id

    for name, about in found.items():
        known = model_id(name)
        yield {
            "name": name,
            "about": about,
            "id": known if "/" in known else None,
            "moe": load_architecture(name).is_moe,
        }


def _hardware(found: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    from foretell.models.hardware import load_hardware

    for name, about in found.items():
        hardware = load_hardware(name)
        price = hardware.accelerator.price_usd_per_h
        yield {"name": name, "about": about, "usd_per_h": price, "node": hardware.node.accelerators}


def _links() -> Iterator[dict[str, Any]]:
    from foretell.models.catalogue import list_records
    from foretell.models.hardware import load_link

    for name in list_records("links"):
        link = load_link(name)
        about = f"{link.bandwidth_Bps / 1e9:.4g} GB/s each way, {link.latency_s * 1e6:.3g} µs"
        yield {"name": name, "about": about}


def _lengths() -> Iterator[dict[str, Any]]:
    from foretell.traces import preset, presets

    for name, record in presets().items():
        prompt, output = preset(name).means()
        yield {"name": name, "about": record["about"], "prompt_tokens": prompt, "output_tokens": output}


def _arrivals() -> Iterator[dict[str, Any]]:
    from foretell.traces.spec import PROCESSES

    for name, process in PROCESSES.items():
        if name == "closed_loop":
            continue  # a scenario says it by workload.concurrency
        about = (process.__doc__ or "").strip().split("\n")[0]
        yield {"name": name, "about": about, "parameters": [_parameter(p) for p in _fields(process)]}


def _fields(kind: type[Any]) -> Iterator[tuple[str, Any, Any]]:
    hints = typing.get_type_hints(kind)
    for each in dataclasses.fields(kind):
        default = inspect.Parameter.empty if each.default is dataclasses.MISSING else each.default
        yield each.name, hints[each.name], default


def _tasks() -> Iterator[dict[str, Any]]:
    from foretell.models.profiles import list_outcomes, list_tasks

    for task in list_tasks():
        models = [model for other, model in list_outcomes() if other == task]
        yield {"name": task, "about": profiled(len(models)), "models": models}


def _strategies() -> Iterator[dict[str, Any]]:
    from foretell.sim.estimate_plans import PLANS
    from foretell.sim.programs.catalogue import PROGRAMS, load_program

    yield {
        "name": "single",
        "about": "One call a query.",
        "task": False,
        "closed_form": True,
        "parameters": [],
    }
    yield {
        "name": "disaggregated",
        "about": "Prompts are computed in one pool and answers in another.",
        "task": False,
        "closed_form": True,
        "parameters": [
            {"name": "prefill", "kind": "pool", "default": "prefill", "required": False},
            {"name": "decode", "kind": "pool", "default": "decode", "required": False},
            {"name": "kv_transfer", "kind": "table", "default": None, "required": False},
            {"name": "first_token", "kind": "text", "default": "prefill", "required": False},
        ],
    }
    for name in PROGRAMS:
        factory = load_program(name)
        hints = typing.get_type_hints(factory)
        given = inspect.signature(factory).parameters.values()
        yield {
            "name": name,
            "about": (inspect.getdoc(factory) or "").split("\n\n")[0].replace("\n", " "),
            "task": True,
            "closed_form": name in PLANS,
            "parameters": [_parameter((p.name, hints.get(p.name, Any), p.default)) for p in given],
        }


def _parameter(given: tuple[str, Any, Any]) -> dict[str, Any]:
    name, hint, default = given
    required = default is inspect.Parameter.empty
    shown = (
        default if isinstance(default, str | int | float | bool) and not required and default != "" else None
    )
    return {"name": name, "kind": _kind(hint), "default": shown, "required": required}


def _kind(hint: Any) -> str:
    """What the page shows for a parameter of this type."""
    from foretell.sim.programs.llm import Judge, PoolName

    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    members = typing.get_args(hint) if union else (hint,)
    if Judge in members:
        return "judge"
    if PoolName in members:
        return "pool"
    if any(PoolName in typing.get_args(member) for member in members):
        return "pools"
    for kind, name in ((bool, "boolean"), (float, "number"), (int, "integer"), (str, "text")):
        if kind in members:
            return name
    if any(typing.get_origin(member) in (tuple, list) for member in members):
        return "list"
    return "table"


def _lowered(words: str) -> str:
    """Words within a sentence; abbreviations stay."""
    return words if words[:2].isupper() else words[:1].lower() + words[1:]


_STATISTICS = {"mean": "mean", "p50": "median", "p90": "90th percentile", "p99": "99th percentile"}
_LATENCIES = {
    "ttft": ("time to first token", "1 s"),
    "tpot": ("time per token after the first", "50 ms"),
    "e2e": ("time to the last token", "30 s"),
    "itl": ("gaps between tokens, simulated only", "100 ms"),
}
_UNITS = {"time": "s", "money": "usd", "rent": "usd/h", "rate": "/s", "energy": "J", "power": "W"}
_EXAMPLES = {"share": "90 %", "money": "0.5 usd", "rent": "10 usd/h", "rate": "5/s", "count": "1000"}
_EXAMPLES |= {"energy": "5 J", "power": "2 kW"}
_TASK_ONLY = ("accuracy", "answered", "query_throughput", "tokens_per_query", "calls_per_query")


def _objectives() -> Iterator[dict[str, Any]]:
    from foretell.sim.objectives import FIGURES

    for metric, (about, example) in _LATENCIES.items():
        for statistic, word in _STATISTICS.items():
            yield {
                "name": f"{metric}_{statistic}",
                "about": f"{about}, {word}",
                "unit": "s",
                "direction": "<=",
                "example": example,
                "task": False,
            }
    for name, (key, kind, direction) in FIGURES.items():
        yield {
            "name": name,
            "about": _lowered(words_of(key)),
            "unit": _UNITS.get(kind, kind),
            "direction": direction,
            "example": _EXAMPLES[kind],
            "task": name in _TASK_ONLY or name.endswith("correct"),
        }
