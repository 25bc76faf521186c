"""The pages tell the truth: their examples run, and what they quote is what comes out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from docs_blocks import blocks
from places import ROOT, docs_script

pytestmark = pytest.mark.skipif(
    not (ROOT / "README.md").is_file(), reason="the tests are on their own, without the repository"
)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def regenerate() -> ModuleType:
    return docs_script("regenerate")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place to run examples in, with the examples of the repository."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    tools = tmp_path / "bin"
    tools.mkdir()
    script = tools / "foretell"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m foretell.sim "$@"\n')
    script.chmod(0o755)
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )


_LONG = ("README.md", "conflicts.md", "plan.md", "sensitivity.md", "sweep.md", "compare.md")


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=[pytest.mark.slow] * (p.name in _LONG)) for p in PAGES],
    ids=lambda page: page.name,
)
def test_generated_blocks_are_up_to_date(page: Path) -> None:
    """If this fails: python docs/regenerate.py, and look at what changed."""
    assert regenerate().rendered(page) == page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_run(page: Path, folder: Path) -> None:
    for block in blocks(page, "console"):
        for line in block.text.splitlines():
            if not line.startswith("$ "):
                continue
            command, _, remark = line[2:].partition("   #")
            expected = int(remark.split()[-1]) if "exits with" in remark else 0
            done = run(["bash", "-c", command], folder)
            assert done.returncode == expected, f"{page.name}:{block.line}: {command}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs(page: Path, folder: Path) -> None:
    """All blocks of a page, one after another in one program, with warnings as errors."""
    program = "\n".join(block.text for block in blocks(page, "python"))
    if not program:
        pytest.skip("no Python on this page")
    (folder / "program.py").write_text(program)
    done = run([sys.executable, "-W", "error", "program.py"], folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.stem)
def test_examples_run(example: Path) -> None:
    from foretell.sim import Scenario, forecast

    scenario = Scenario.load(example)
    if scenario.compare:
        pytest.skip("test_compare runs it")
    small = scenario.replace(**{"workload.num_requests": 60}, replications=2)
    result = forecast(small)
    assert len(result.run) >= 60
    finished = result.run.status == 0
    assert finished.mean() > 0.9
    assert (result.run.finish_s[finished] > result.run.first_token_s[finished]).mean() > 0.9
    assert result.summary["ttft_p99_s"].value > 0
    assert len(result.verdicts) == len(scenario.objectives) > 0


def test_every_field_of_a_scenario_is_described() -> None:
    text = (ROOT / "docs" / "scenario.md").read_text(encoding="utf-8")
    from foretell.sim.objectives import FIGURES, LATENCIES

    for name in (*FIGURES, *LATENCIES):
        assert f"`{name}`" in text, name


def test_the_traces_page_lists_every_format() -> None:
    text = (ROOT / "docs" / "traces.md").read_text(encoding="utf-8")
    from foretell.traces import FORMATS

    for name in FORMATS:
        assert f"| `{name}` |" in text, name


def test_tests_that_pages_name_exist() -> None:
    tests = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    for page in PAGES:
        for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8")):
            assert f"def {name}(" in tests, f"{page.name}: {name}"
