"""Bring the generated blocks of the Markdown pages up to date: python docs/regenerate.py [--check].

A block is generated when a comment above it says from what:

    <!-- foretell show h100-sxm -->       what the command prints
    <!-- foretell ... | head -3 -->       the first lines of it
    <!-- fields Workload -->              a table of a scenario's part: fields, defaults, meaning
    <!-- processes -->                    a table of the arrival processes
    <!-- programs -->                     a table of the strategies that a scenario may name

A test compares every page with what this makes of it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import re
import shlex
import subprocess
import sys
import typing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_OUTPUT = re.compile(r"(?m)^<!-- foretell (.+) -->\n```text\n(?:.*\n)*?```$")
_FIELDS = re.compile(r"(?m)^<!-- fields (\w+) -->\n(?:\|.*\n)*")
_PROCESSES = re.compile(r"(?m)^<!-- processes -->\n(?:\|.*\n)*")
_PROGRAMS = re.compile(r"(?m)^<!-- programs -->\n(?:\|.*\n)*")
_GENERATED = (_OUTPUT, _FIELDS, _PROCESSES, _PROGRAMS)
_WIDTH = 100
_ALONE = (
    "import runpy, sys; sys.modules['aiconfigurator_core'] = None; "
    "runpy.run_module('foretell.sim', run_name='__main__', alter_sys=True)"
)
"""What pages show is what foretell says without the extra `silicon`, on any machine."""


def pages() -> list[Path]:
    """The pages with generated blocks."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in found if any(p.search(page.read_text(encoding="utf-8")) for p in _GENERATED)]


def rendered(page: Path) -> str:
    """The page with its generated blocks made anew."""
    text = page.read_text(encoding="utf-8")
    text = _OUTPUT.sub(lambda m: f"<!-- foretell {m[1]} -->\n```text\n{_printed(m[1])}```", text)
    text = _PROCESSES.sub(lambda m: f"<!-- processes -->\n{_processes()}", text)
    text = _PROGRAMS.sub(lambda m: f"<!-- programs -->\n{_programs()}", text)
    return _FIELDS.sub(lambda m: f"<!-- fields {m[1]} -->\n{_table(m[1])}", text)


def _printed(command: str) -> str:
    whole, _, lines = command.partition(" | head -")
    text = _whole(whole)
    return "".join(text.splitlines(keepends=True)[: int(lines)]) if lines else text


@functools.cache  # two pages may show the same
def _whole(command: str) -> str:
    environment = {**os.environ, "COLUMNS": str(_WIDTH), "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, *shlex.split(command)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode > 1:  # 1 is a missed objective
        raise RuntimeError(f"foretell {command}: {done.stderr}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def _table(name: str) -> str:
    from foretell.sim import config, presets, scenario

    spec = getattr(scenario, name, None) or getattr(presets, name)
    meanings = described(spec)
    if name == "EngineSettings":
        meanings = described(config.EngineConfig) | meanings
    hints = typing.get_type_hints(spec)
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(spec):
        kind = _kind(hints[field.name]).replace("|", "or")
        rows.append(f"| `{field.name}` | {kind} | {_default(field)} | {meanings[field.name]} |")
    return "".join(f"{row}\n" for row in rows)


def _processes() -> str:
    from foretell.traces.spec import PROCESSES

    rows = ["| process | parameters | |", "|---|---|---|"]
    for name, process in PROCESSES.items():
        required: list[str] = []
        optional: list[str] = []
        for field in dataclasses.fields(process):
            bare = field.default is dataclasses.MISSING
            (required if bare else optional).append(f"`{field.name}`")
        also = f"; optionally {', '.join(optional)}" if optional else ""
        about = inspect.cleandoc(process.__doc__ or "").split("\n\n")[0].replace("\n", " ").rstrip(".")
        rows.append(f"| `{name}` | {', '.join(required)}{also} | {about} |")
    return "".join(f"{row}\n" for row in rows)


def _programs() -> str:
    from foretell.sim.programs.catalogue import PROGRAMS, load_program

    rows = ["| strategy | what it does | parameters | after |", "|---|---|---|---|"]
    for name in PROGRAMS:
        factory = load_program(name)
        doc = inspect.cleandoc(factory.__doc__ or "").replace("|", "or")
        about = doc.split("\n\n")[0].replace("\n", " ").rstrip(".")
        source = " ".join(re.findall(r"(?ms)^Source: (.*?)(?:\n\n|\Z)", doc)).replace("\n", " ").rstrip(".")
        given = [
            f"`{key}`" if plain is None else f"`{key}` {plain}"
            for key, parameter in inspect.signature(factory).parameters.items()
            for plain in [_plain(parameter.default)]
        ]
        rows.append(f"| `{name}` | {about} | {', '.join(given)} | {source} |")
    return "".join(f"{row}\n" for row in rows)


def _plain(default: object) -> str | None:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, int | float) else None


def described(spec: type) -> dict[str, str]:
    """What a class's docstring says of its attributes."""
    doc = inspect.cleandoc(spec.__doc__ or "")
    meanings: dict[str, str] = {}
    for section in re.findall(r"(?m)^Attributes:\n((?:    .*\n|\n)*)", doc + "\n"):
        # A new entry starts at the section's own indent, unless the names before it ran over the line.
        for entry in re.split(r"(?m)(?<!,\n)^    (?=\w)", section):
            names, _, meaning = " ".join(entry.split()).partition(": ")
            if meaning and re.fullmatch(r"\w+(, \w+)*", names):
                meanings |= dict.fromkeys(names.split(", "), meaning.rstrip("."))
    return meanings


def _kind(hint: object) -> str:
    text = str(hint) if typing.get_args(hint) or not isinstance(hint, type) else hint.__name__
    text = re.sub(r"\b(?:\w+\.)+", "", text).replace(" | None", "")
    text = re.sub(r"Literal\[(.*)\]", lambda m: m[1].replace(", ", " or ").replace("'", "`"), text)
    text = re.sub(r"tuple\[(\w+), \.\.\.\]", r"list of \1", text)
    text = re.sub(r"Mapping\[str, (\w+)\]", r"table", text)
    text = re.sub(r"Optional\[(.*)\]", r"\1", text)
    for name, plain in (("int", "whole number"), ("float", "number"), ("str", "text"), ("bool", "yes or no")):
        text = re.sub(rf"\b{name}\b", plain, text)
    return text


def _default(field: dataclasses.Field[object]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        made = field.default_factory()
        return f"`{made}`" if isinstance(made, dict) and made else ""
    if field.default is dataclasses.MISSING:
        return "required"
    return "" if field.default is None else f"`{str(field.default).lower()}`"


def main() -> int:
    """Rewrite the pages, or with --check only tell which are out of date."""
    stale = []
    for page in pages():
        text = rendered(page)
        if text != page.read_text(encoding="utf-8"):
            stale.append(page)
            if "--check" not in sys.argv:
                page.write_text(text, encoding="utf-8")
    for page in stale:
        print(f"{page.relative_to(ROOT)}: {'out of date' if '--check' in sys.argv else 'rewritten'}")
    return int("--check" in sys.argv and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
