"""Habits of the repository that nobody should have to remember."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from docs_blocks import anchors, blocks, links
from places import ROOT

pytestmark = pytest.mark.skipif(
    not (ROOT / "README.md").is_file(), reason="the tests are on their own, without the repository"
)

PARTS = ("models", "traces", "sim", "validate")
BELOW = {"models": (), "traces": (), "sim": ("models", "traces"), "validate": ("models", "traces", "sim")}
LONGEST = 400


def modules() -> list[Path]:
    return sorted(chain.from_iterable((ROOT / part).rglob("*.py") for part in PARTS))


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_namespace_stays_open() -> None:
    """An __init__.py there would hide the three other parts."""
    assert not list(ROOT.glob("*/foretell/__init__.py"))


@pytest.mark.parametrize("part", PARTS)
def test_a_folder_holds_exactly_its_package(part: str) -> None:
    inside = {p.name for p in (ROOT / part / "foretell").iterdir() if p.name != "__pycache__"}
    assert inside == {part}
    package = ROOT / part / "foretell" / part
    assert (package / "py.typed").is_file()
    assert (package / "__init__.py").is_file()


def test_imports_only_go_down() -> None:
    wrong = []
    for file in modules():
        part = file.relative_to(ROOT).parts[0]
        for name in imported(ast.parse(file.read_text(encoding="utf-8"))):
            package, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if package == "foretell" and other and other not in (part, *BELOW[part]):
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert not wrong


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_says_what_it_is_and_is_short(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text)), "no docstring"


def test_the_sources_name_no_machine() -> None:
    """Neither paths of somebody's machine nor, outside of tests, the folder of recordings beside ours."""
    private = re.compile(r"/(?:root|tmp|work|opt|home)/\w|\.\./shared")
    outside = [f for f in (*modules(), *ROOT.glob("docs/*"), *ROOT.glob("examples/*")) if f.is_file()]
    assert not [str(f) for f in outside if private.search(f.read_text(encoding="utf-8"))]


def test_the_changelog_starts_with_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert next(v for v in versions if v != "Unreleased") == project["version"]


def test_ci_runs_the_commands_that_the_readme_prints() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [
        line
        for block in blocks(ROOT / "README.md", "sh")
        for line in block.text.splitlines()
        if line.startswith("python3 -m venv")
    ]
    assert len(commands) == 2
    assert [line for line in lines if line in commands]
    assert not set(commands) - set(lines)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_help_is_quick() -> None:
    """At most half a CPU-second by measurement; here with room for a busy machine, and by what is loaded."""
    heavy = ("numpy", "pandas", "scipy", "pydantic", "rich", "yaml", "pyarrow")
    code = (
        "import sys, time\n"
        "from foretell.sim.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        f"assert not set({heavy!r}) & set(sys.modules), sorted(set({heavy!r}) & set(sys.modules))\n"
        "assert time.process_time() < 1.0, time.process_time()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "forecast" in done.stdout
