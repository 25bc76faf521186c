"""Run the notebooks and write each as .ipynb with its outputs and as an HTML page that loads nothing.

    python notebooks/export.py FOLDER [--only 01 --only 02 ...]

marimo runs a notebook and writes its .ipynb. Widgets become a line that says where they stand, and charts
images, so that Jupyter shows them before anything is run. The page is made from the same outputs: text,
charts, and the code folded away; marimo's own HTML would load its front end from elsewhere.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from html import escape, unescape
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

STYLE = """<style>
pre{overflow-x:auto;background:var(--band);padding:.7rem .9rem;font-size:.85rem;line-height:1.4}
pre code{background:none;padding:0;overflow-wrap:normal}
details{margin:.6rem 0}
summary{color:var(--dim);font-size:.85rem;cursor:pointer}
.control{border-left:3px solid var(--c0);background:var(--band);padding:.3rem .8rem;margin:.3rem 0}
.row{display:flex;flex-wrap:wrap;gap:1rem;align-items:start}
.row>*{flex:1 1 22rem!important;min-width:0}
.paragraph{display:block;max-width:46rem;margin:1rem 0}
main svg{max-width:100%}
table{width:auto}
</style>"""


def notebooks(only: Sequence[str] = ()) -> list[Path]:
    """The notebooks in their order; `only` names some by how their names begin.

    Raises:
        ValueError: no notebook begins so.

    """
    found = sorted(HERE.glob("[0-9][0-9]_*.py"))
    for start in only:
        if not any(file.name.startswith(start) for file in found):
            names = ", ".join(file.stem for file in found)
            raise ValueError(f"--only: no notebook begins with {start!r}; there are {names}")
    return [file for file in found if not only or file.name.startswith(tuple(only))]


def executed(file: Path) -> Any:
    """Run a notebook in a process of its own; its .ipynb (nbformat) with outputs.

    Raises:
        RuntimeError: a cell failed; what marimo says.

    """
    import nbformat

    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(file, folder)  # marimo keeps a cache beside what it runs
        target = Path(folder) / f"{file.stem}.ipynb"
        command = [sys.executable, "-m", "marimo", "-y", "export", "ipynb", "--include-outputs", copy]
        done = subprocess.run([*command, "-o", str(target)], capture_output=True, text=True, check=False)
        if done.returncode or not target.is_file():
            failed = _failures(target) if target.is_file() else ""
            raise RuntimeError(f"{file.name} failed: {failed or done.stderr.strip()}")
        book = nbformat.read(target, as_version=4)  # type: ignore[no-untyped-call]
    for cell in book.cells:
        for output in cell.get("outputs", []):
            _plainly(output, file.name)
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.validate(book)
    return book


def in_jupyter(book: Any) -> Any:
    """The same .ipynb with its charts as images: Jupyter shows no inline SVG of a file it does not trust."""
    from copy import deepcopy

    book = deepcopy(book)
    for cell in book.cells:
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output["data"]["text/html"] = _SVG.sub(_image, output["data"]["text/html"])
    return book


def page(book: Any, name: str) -> str:
    """The HTML page of an executed notebook; `name` is its file's."""
    from foretell.sim.report.page import document

    title = book.metadata.get("marimo", {}).get("app_config", {}).get("app_title", name)
    about = (
        f'<p class="dim">This page is <code>notebooks/{escape(name)}.py</code> as it ran. '
        f"Live, with its sliders: <code>marimo run notebooks/{escape(name)}.py</code></p>"
    )
    cells = list(book.cells)
    if len(cells) > 1 and cells[0].cell_type == "code" and cells[1].cell_type == "markdown":
        cells[:2] = cells[1::-1]  # imports come after the title
    body = "".join(part for cell in cells for part in _cell(cell))
    return document(title, f"{STYLE}{body}{about}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the notebooks that are asked for."""
    parser = argparse.ArgumentParser(description="Run the notebooks; write .ipynb and HTML.")
    parser.add_argument("folder", type=Path, help="where to write NAME.ipynb and NAME.html")
    parser.add_argument("--only", action="append", default=[], help="how names begin, such as 01")
    asked = parser.parse_args(arguments)
    try:
        files = notebooks(asked.only)
    except ValueError as error:
        parser.error(str(error))
    asked.folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        book = executed(file)
        text = json.dumps(in_jupyter(book), indent=1, ensure_ascii=False) + "\n"
        (asked.folder / f"{file.stem}.ipynb").write_text(text, encoding="utf-8")
        (asked.folder / f"{file.stem}.html").write_text(page(book, file.stem), encoding="utf-8")
        print(file.stem)
    return 0


_WIDGET = re.compile(r"<marimo-(slider|dropdown|number|switch|checkbox|radio|text)\b([^>]*)></marimo-\1>")
_WRAPPER = re.compile(r"</?marimo-ui-element[^>]*>")
_ATTRIBUTE = re.compile(r"data-([a-z-]+)='([^']*)'")
_SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_FLEX = re.compile(r"<div style='display: flex;[^']*flex-direction: (row|column);[^']*'>")


def _plainly(output: Any, name: str) -> None:
    """Replace marimo's elements, which only marimo shows, in an output."""
    data = output.get("data", {})
    for kind in ("text/markdown", "text/html"):
        if kind not in data:
            continue
        text = data[kind]
        if text.startswith("&lt;marimo-"):
            text = unescape(text)
        text = _WRAPPER.sub("", _WIDGET.sub(_standing, text))
        if "<marimo-" in text:
            raise RuntimeError(f"{name}: no static form of {text[text.index('<marimo-') :][:60]}")
        data[kind] = _FLEX.sub(lambda found: '<div class="row">' if found[1] == "row" else "<div>", text)


def _standing(found: re.Match[str]) -> str:
    """A line of HTML that says where a widget stands, and how far it goes."""
    given = {name: json.loads(unescape(value)) for name, value in _ATTRIBUTE.findall(found[2])}
    label = re.sub(r"<[^>]+>", "", given.get("label") or "").strip() or "value"
    value = given["initial-value"]
    choices = given.get("steps") or given.get("options")
    if found[1] == "slider" and choices:
        value = choices[int(value)]
    if isinstance(value, list) and found[1] == "dropdown":
        value = value[0] if value else "none"
    if isinstance(value, bool):
        value, where = ("on" if value else "off"), "on or off"
    elif found[1] == "text":
        value, where = value or "empty", "any text"
    elif choices:
        where = "one of " + ", ".join(str(choice) for choice in choices)
    else:
        where = f"{given.get('start')} to {given.get('stop')}"
    return f'<p class="control">{escape(label)}: <strong>{escape(str(value))}</strong> ({escape(where)})</p>'


def _image(found: re.Match[str]) -> str:
    chart = found[0]
    title = re.search(r'aria-label="([^"]*)"', chart)
    width = re.search(r'viewBox="0 0 ([0-9.]+)', chart)
    data = base64.b64encode(chart.encode()).decode()
    size = f' width="{width[1]}"' if width else ""
    return f'<img alt="{title[1] if title else "chart"}"{size} src="data:image/svg+xml;base64,{data}">'


def _cell(cell: Any) -> Iterator[str]:
    """The HTML of a cell: text, or folded code and what came out."""
    if cell.cell_type == "markdown":
        yield _markdown(cell.source)
        return
    if "remove-input" not in cell.metadata.get("tags", []):
        code = escape(cell.source)
        yield f"<details><summary>Code</summary><pre><code>{code}</code></pre></details>"
    for output in cell.outputs:
        data = output.get("data", {})
        if "text" in output:
            yield f"<pre>{escape(output.text)}</pre>"
        elif "text/html" in data:
            yield f'<div class="shown">{data["text/html"]}</div>'
        elif "text/markdown" in data:
            yield _markdown(data["text/markdown"])
        elif "text/plain" in data:
            yield f"<pre>{escape(data['text/plain'])}</pre>"


def _markdown(text: str) -> str:
    from markdown import markdown

    made = str(markdown(text, extensions=["tables", "fenced_code", "sane_lists"]))
    made = made.replace("<table>", '<div class="scroll" tabindex="0"><table>')
    return made.replace("</table>", "</table></div>")


def _failures(file: Path) -> str:
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    errors = [o for cell in cells for o in cell.get("outputs", []) if o["output_type"] == "error"]
    return "; ".join(f"{error['ename']}: {error['evalue']}" for error in errors)


if __name__ == "__main__":
    sys.exit(main())
