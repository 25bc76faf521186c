"""The reference of equations: every public function of the analytical models, from its docstring."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator, Mapping
from types import ModuleType

import site_python

AREAS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "step_time": (
        "Step time",
        "Seconds of one engine step from its load: operators as the larger of computing and reading memory, "
        "launches, communication, the host.",
        ("stepcost", "roofline", "operators", "operator_time", "layers", "kernels", "parallelism", "eager"),
    ),
    "communication": (
        "Communication",
        "Collective operations inside an engine, and the KV cache's way from prefill to decode.",
        ("collectives", "communication", "transfer"),
    ),
    "experts": ("Mixtures of experts", "How many experts a batch reaches, and so what is read.", ("moe",)),
    "memory": (
        "Memory",
        "What weights and tokens take, and how many KV blocks are left.",
        ("memory", "engine_memory"),
    ),
    "energy": ("Power and energy", "Watts of a step from what compute and memory do at once.", ("energy",)),
    "kinetics": (
        "Kinetics",
        "The Kinetics cost laws: what a query costs, with attention counted, and what to spend it on.",
        ("kinetics", "kinetics_frontier", "kinetics_curves"),
    ),
    "queueing": ("Queueing", "Textbook queues, and continuous batching as one.", ("queueing.*",)),
    "accuracy": (
        "Accuracy",
        "How often a strategy's answer is right, and what it spends: votes, verifiers, search, cascades.",
        ("outcomes", "accuracy.*"),
    ),
    "speculation": (
        "Speculation",
        "Accepted lengths and speed-ups of speculative decoding and reasoning.",
        ("accuracy.speculative",),
    ),
}
_ROOT = "foretell.models"
_SOURCE = re.compile(r"(?ms)^Sources?(?: of [^:\n]{1,60})?: (.+?)(?=\n\s*\n|\Z)")
_CITED = re.compile(
    r"\(([^()]*(?:\([^()]*\)[^()]*)*(?:\b(?:19|20)\d\d\b|arXiv|NCCL \d)[^()]*)\)|(arXiv:\d{4}\.\d{5}[^.;]*)"
)


def modules(names: tuple[str, ...]) -> Iterator[ModuleType]:
    """Modules of an area; `x.*` is a package, less those with an area of their own."""
    own = {name for _, _, given in AREAS.values() for name in given}
    for name in names:
        if not name.endswith(".*"):
            yield importlib.import_module(f"{_ROOT}.{name}")
            continue
        spec = importlib.util.find_spec(f"{_ROOT}.{name[:-2]}")
        assert spec is not None and spec.submodule_search_locations
        for file in sorted(importlib.resources.files(f"{_ROOT}.{name[:-2]}").iterdir(), key=lambda f: f.name):
            stem = file.name.removesuffix(".py")
            if file.name.endswith(".py") and not stem.startswith("_") and f"{name[:-2]}.{stem}" not in own:
                yield importlib.import_module(f"{_ROOT}.{name[:-2]}.{stem}")


def sources(doc: str) -> list[str]:
    """The sources that a docstring names: its line of sources, and what it cites in passing."""
    found = [" ".join(text.split()) for text in _SOURCE.findall(doc)]
    rest = _SOURCE.sub("", doc)
    cited = [" ".join((a or b).split()) for a, b in _CITED.findall(rest)]
    return list(dict.fromkeys([*found, *cited]))


def pages() -> dict[str, str]:
    """Markdown pages by name: one for each area, and an index."""
    texts = {f"equations/{name}": _area(*area) for name, area in AREAS.items()}
    rows = "\n".join(f"| [{title}]({name}.md) | {about} |" for name, (title, about, _) in AREAS.items())
    texts["equations/index"] = (
        "# Equations and their sources\n\n"
        "Generated from the docstrings of `foretell.models`, the code that forecasts call. Each page lists "
        "its functions with the formula and the source that the docstring names, then all that it says: "
        "arguments with units and shapes, where it is valid, and what is refused. Where no source stands, "
        "the derivation is ours, and [tests](../contributing.md#tests) are all that speaks for it.\n\n"
        f"| area | what it gives |\n|---|---|\n{rows}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{chr(10).join(AREAS)}\n```\n"
    )
    return texts


def _area(title: str, about: str, names: tuple[str, ...]) -> str:
    parts = [f"# {title}", about]
    for module in modules(names):
        general = bool(sources(inspect.getdoc(module) or ""))
        parts.append(f"## {module.__name__.removeprefix(f'{_ROOT}.')}")
        parts.append(site_python.reference(module, functools.partial(_source, general=general)))
    return "\n\n".join(parts) + "\n"


def _source(thing: object, *, general: bool) -> str:
    cited = "; ".join(sources(inspect.cleandoc(thing.__doc__ or "")))
    if cited or inspect.isclass(thing):
        return cited
    return "as above" if general else "ours"
