"""The reference of Python modules from their docstrings: a table of what is in one, then all it says."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

import site_docstrings

MODULES: Mapping[str, tuple[str, str]] = {
    "sim": ("Forecasts and simulation", "foretell.sim"),
    "traces": ("Traces and workloads", "foretell.traces"),
    "hardware": ("Hardware", "foretell.models.hardware"),
    "architecture": ("LLM architectures", "foretell.models.architecture"),
    "profiles": ("Outcome profiles", "foretell.models.profiles"),
    "routers": ("Routers", "foretell.sim.routers"),
    "programs": ("What programs are written with", "foretell.sim.programs.llm"),
}


def pages() -> dict[str, str]:
    """Markdown pages by name: one for each module that users import from, and an index."""
    rows = "\n".join(f"| [{title}]({name}.md) | `{module}` |" for name, (title, module) in MODULES.items())
    texts = {
        f"api/{name}": f"# {title}\n\n{reference(importlib.import_module(module))}\n"
        for name, (title, module) in MODULES.items()
    }
    texts["api/index"] = (
        "# Python\n\nWhat scripts and notebooks import. The analytical models have [pages of their own]"
        f"(../equations/index.md).\n\n| | module |\n|---|---|\n{rows}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{chr(10).join(MODULES)}\n```\n"
    )
    return texts


def public(module: ModuleType) -> list[str]:
    """The functions and classes that a module offers: its `__all__`, else what it defines, in its order."""
    named: Sequence[str] | None = getattr(module, "__all__", None)
    if named is None:
        kinds = (ast.FunctionDef, ast.ClassDef)
        tree = ast.parse(inspect.getsource(module))
        named = [node.name for node in tree.body if isinstance(node, kinds)]
    things = ((name, getattr(module, name)) for name in named if not name.startswith("_"))
    return [name for name, thing in things if inspect.isclass(thing) or inspect.isfunction(thing)]


def reference(module: ModuleType, source: Callable[[object], str] | None = None) -> str:
    """What a module's docstring says, a table of its names, then each with all that it says.

    Args:
        module: the module.
        source: what the table says of a thing's source; None: there is no such column.

    """
    names = public(module)
    parts = [_rst(inspect.cleandoc(module.__doc__).splitlines())] if module.__doc__ else []
    head = "| | what it is | source |\n|---|---|---|" if source else "| | what it is |\n|---|---|"
    if names:
        parts.append("\n".join([head, *(_row(module, name, source) for name in names)]))
    directives = [f".. currentmodule:: {module.__name__}"]
    for name in names:
        if inspect.isclass(getattr(module, name)):
            directives.append(f".. autoclass:: {name}\n   :members:")
        else:
            directives.append(f".. autofunction:: {name}")
    parts.append("```{eval-rst}\n" + "\n\n".join(directives) + "\n```")
    return "\n\n".join(parts)


def _row(module: ModuleType, name: str, source: Callable[[object], str] | None) -> str:
    thing = getattr(module, name)
    first = inspect.cleandoc(thing.__doc__ or "").split("\n\n")[0]
    last = f" {cell(source(thing))} |" if source else ""
    return f"| [`{name}`](#{module.__name__}.{name}) | {cell(first)} |{last}"


def _rst(lines: list[str]) -> str:
    return "```{eval-rst}\n" + "\n".join(site_docstrings.prepared(lines)) + "\n```"


def cell(text: str) -> str:
    """Docstring text in a cell of a Markdown table: `names` are code, other signs mean themselves."""
    parts = site_docstrings.PLAIN.split(" ".join(text.split()))
    escape = re.compile(r"([\\*_\[\]<>])")
    done = "".join(part if at % 2 else escape.sub(r"\\\1", part) for at, part in enumerate(parts))
    return done.replace("|", "\\|")
