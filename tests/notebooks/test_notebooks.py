"""Every notebook: its form, as a script, its widgets' answers, as a page and in Jupyter."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from places import ROOT

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
ANSWER_S = 0.5
"""What a widget's answer may take."""

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="the tests are on their own, without the notebooks")
every = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def texts(file: Path) -> Iterator[tuple[str, bool]]:
    """What its cells say by mo.md: the text, and whether figures are computed into it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "mo.md" and node.args:
            given = node.args[0]
            if isinstance(given, ast.Constant):
                yield str(given.value), False
            elif isinstance(given, ast.JoinedStr):
                parts = (p.value for p in given.values if isinstance(p, ast.Constant))
                yield "\N{REPLACEMENT CHARACTER}".join(str(part) for part in parts), True


@every
def test_the_form(file: Path) -> None:
    """A title, a question, how long it takes, one cell of imports, and a script at the end."""
    source = file.read_text(encoding="utf-8")
    first, computed = next(texts(file))
    assert not computed
    assert first.lstrip().startswith("# ")
    assert re.search(r"\*\*[^*]+\?\*\*", first), "the first lines ask no question in bold"
    assert "minutes" in first
    assert "with app.setup:" in source
    assert source.rstrip().endswith('if __name__ == "__main__":\n    app.run()')
    assert re.search(r'app_title="[^"]+"', source)


@every
def test_no_figure_is_typed_into_the_text(file: Path) -> None:
    """Plain text holds no measured figure, which would go stale; percentages of f-strings are computed."""
    typed = re.compile(r"\d[\d,.]*\s?(%|ms\b|s\b|USD|usd|\$|GB|TB|tokens\b|kW\b|W\b|J\b|/s\b|requests\b)")
    found = [match[0] for text, _ in texts(file) for match in typed.finditer(text)]
    assert not found


def test_what_marimo_says_of_them() -> None:
    command = [sys.executable, "-m", "marimo", "check", "--strict", *map(str, NOTEBOOKS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tour_is_a_script() -> None:
    command = [sys.executable, "-W", "error", str(FOLDER / "01_tour.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_export_names_what_there_is(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "export.py"), str(tmp_path / "out"), "--only", "99"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no notebook begins with '99'; there are 01_tour" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@every
def test_it_runs_and_its_widgets_answer_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as a script; then each widget goes to its ends and its middle, and what depends on it runs."""
    import marimo

    results: list[Any] = []
    run = marimo.App.run
    monkeypatch.setattr(marimo.App, "run", lambda app: results.append((app, *run(app))))
    runpy.run_path(str(file), run_name="__main__")
    (app, _, defs), *_ = results
    cells = list(app._cell_manager.cells())
    widgets = {name: value for name, value in defs.items() if isinstance(value, _kinds())}
    assert widgets, "nothing to move"
    slow = []
    for name, widget in widgets.items():
        for position in _positions(widget):
            spent = min(_answer_s(cells, dict(defs), name, widget, position) for _ in range(2))
            if spent > ANSWER_S:
                slow.append(f"{name} at {position}: {spent:.2f} s")
    assert not slow


@pytest.mark.slow
@every
def test_its_page_and_its_jupyter_notebook(file: Path, tmp_path: Path) -> None:
    import nbformat

    command = [sys.executable, str(FOLDER / "export.py"), str(tmp_path), "--only", file.stem]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    book = nbformat.read(tmp_path / f"{file.stem}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(book)
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    images = sum(str(output).count("data:image/svg+xml;base64,") for output in outputs)
    page = (tmp_path / f"{file.stem}.html").read_text(encoding="utf-8")
    seen = _Page()
    seen.feed(page)
    assert seen.loads == []
    assert seen.charts == images >= 1
    assert "marimo-" not in re.sub(r"<code>[^<]*</code>", "", page)
    assert "nan" not in re.findall(r"\w+", seen.text.lower())
    assert len(page) < 2_000_000


class _Page(HTMLParser):
    """What a page loads, how many charts have a name, and its text outside of code."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.charts, self.text, self._inside = 0, "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in ("script", "link", "iframe", "object", "embed") or "src" in given:
            self.loads.append(f"{tag} {given}")
        if tag == "svg" and given.get("role") == "img":
            assert given["aria-label"]
            self.charts += 1
        if tag in ("pre", "code", "style"):
            self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            assert "@import" not in data
            assert "url(" not in data
        elif not self._inside:
            self.text += data


def _kinds() -> tuple[type, ...]:
    from marimo import ui

    return (ui.slider, ui.number, ui.dropdown, ui.radio, ui.switch, ui.checkbox)


def _positions(widget: Any) -> list[Any]:
    """Where to put it, as its front end would say it."""
    from marimo import ui

    if isinstance(widget, ui.slider) and widget.steps:
        return sorted({0, len(widget.steps) // 2, len(widget.steps) - 1})
    if isinstance(widget, ui.slider | ui.number):
        assert widget.start is not None
        assert widget.stop is not None
        start, stop, step = float(widget.start), float(widget.stop), float(widget.step or 1)
        return [start, start + round((stop - start) / 2 / step) * step, stop]
    if isinstance(widget, ui.dropdown):
        return [[name] for name in widget.options]
    if isinstance(widget, ui.radio):
        return list(widget.options)
    return [True, False]


def _answer_s(cells: list[Any], known: dict[str, Any], name: str, widget: Any, position: Any) -> float:
    """CPU time of everything that depends on a widget, with the widget moved."""
    moved = widget._clone()
    moved._update(position)
    known[name] = moved
    changed, begin = {name}, time.thread_time()
    for cell in cells:
        if cell.refs & changed and name not in cell.defs:
            _, made = cell.run(**{ref: known[ref] for ref in cell.refs if ref in known})
            known.update(made)
            changed |= set(made)
    return time.thread_time() - begin
