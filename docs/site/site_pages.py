"""The pages of the site: the repository's Markdown, staged so that links made for GitHub lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import site_commands
import site_equations
import site_python

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Start": ("quickstart", "concepts", "how_to", "notebooks", "ui", "numbers"),
    "Ask": ("scenario", "compare", "plan", "sweep", "sensitivity", "report", "timeline"),
    "Bring your own": ("traces", "calibrate", "client", "profiles", "programs"),
    "How it works": (
        "engine", "versions", "disaggregated", "cost_model", "silicon", "curves", "energy", "queueing",
        "mean_field", "tree_search",
    ),
    "Validation": (
        "evidence", "validation", "theory", "frontier", "papers", "kinetics", "conflicts", "systems",
    ),
    "Reference": ("commands/index", "equations/index", "api/index"),
    "Project": ("comparison", "contributing", "changes"),
}  # fmt: skip
_README = {  # page → its title, and the sections of the README that it takes
    "quickstart": ("Quick start", ("Two commands", "Five minutes")),
    "numbers": ("What the numbers mean", ("What the numbers mean", "What is not modelled yet")),
    "evidence": ("Evidence", ("Evidence so far",)),
}
_LEFT_OUT = ("More",)  # the site's own navigation says it
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)`[^`\n]+`(?!`)")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".json": "json", ".css": "css", ".js": "js"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its text, and the file of the repository whose links it has, None where it is generated."""

    text: str
    origin: PurePosixPath | None = None


def stage(root: Path, into: Path, *, notebooks: bool) -> None:
    """Write the source of the site: pages, pictures, and whatever files the pages link.

    Raises:
        ValueError: a page has no place in `SECTIONS`, or a link leads nowhere.

    """
    pages = dict(_written(root)) | {name: Page(text) for name, text in _generated().items()}
    pages["index"] = _index(pages["index"], set(pages))
    linked: dict[PurePosixPath, None] = {}
    for name, page in pages.items():
        text = page.text if page.origin is None else _relinked(page, name, root, linked)
        _write(into / f"{name}.md", text)
    for file in linked:
        _stage_file(root, into, file, notebooks=notebooks)


def _written(root: Path) -> Iterator[tuple[str, Page]]:
    readme = PurePosixPath("README.md")
    head, sections = split((root / readme).read_text(encoding="utf-8"))
    yield "index", Page(head, readme)
    taken: set[str] = set(_LEFT_OUT)
    for name, (title, parts) in _README.items():
        missing = [part for part in parts if part not in sections]
        if missing:
            raise ValueError(f"README.md: no section {missing[0]!r}, which the page {name} takes")
        taken.update(parts)
        body = "\n\n".join(sections[p] if p == title else f"## {p}\n\n{sections[p]}" for p in parts)
        yield name, Page(f"# {title}\n\n{body}\n", readme)
    if set(sections) - taken:
        raise ValueError(f"README.md: no page of the site takes {sorted(set(sections) - taken)}")
    yield "contributing", _page(root, "CONTRIBUTING.md")
    yield "changes", _page(root, "CHANGELOG.md")
    for file in sorted((root / "docs").glob("*.md")):
        yield file.stem, _page(root, f"docs/{file.name}")


def _page(root: Path, origin: str) -> Page:
    return Page((root / origin).read_text(encoding="utf-8"), PurePosixPath(origin))


def split(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the sections of a page, and its sections by title, with code left alone."""
    fences = [match.span() for match in _FENCE.finditer(text)]
    heads = [
        match
        for match in re.finditer(r"(?m)^## (.+)$", text)
        if not any(a <= match.start() < b for a, b in fences)
    ]
    ends = [*(match.start() for match in heads[1:]), len(text)]
    sections = {m[1]: text[m.end() : end].strip() for m, end in zip(heads, ends, strict=True)}
    return text[: heads[0].start()] if heads else text, sections


def _generated() -> dict[str, str]:
    return {**site_commands.pages(), **site_equations.pages(), **site_python.pages()}


def _index(head: Page, pages: set[str]) -> Page:
    trees = []
    placed = {"index"}
    for caption, names in SECTIONS.items():
        there = [name for name in names if name in pages]
        placed.update(there)
        trees.append(f"```{{toctree}}\n:caption: {caption}\n:hidden:\n\n{chr(10).join(there)}\n```")
    lost = sorted(name for name in pages - placed if "/" not in name)
    if lost:
        raise ValueError(f"docs/{lost[0]}.md: say in SECTIONS of docs/site/site_pages.py where it stands")
    return Page(f"{head.text}\n" + "\n\n".join(trees) + "\n", head.origin)


def home(target: PurePosixPath, anchor: str) -> str | None:
    """The page that has a file's text, None for files without one: source, examples, pictures."""
    if target == PurePosixPath("README.md"):
        slugs = {
            re.sub(r"[^\w\- ]", "", p.lower()).replace(" ", "-"): n
            for n, (_, ps) in _README.items()
            for p in ps
        }
        return slugs.get(anchor, "index")
    known = {"CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changes"}
    if str(target) in known:
        return known[str(target)]
    return target.stem if target.parent == PurePosixPath("docs") and target.suffix == ".md" else None


def _relinked(page: Page, name: str, root: Path, linked: dict[PurePosixPath, None]) -> str:
    """A page's text with links for the site; the other files that it names are added to `linked`."""
    assert page.origin is not None
    folder = page.origin.parent
    here = PurePosixPath(name).parent

    def replaced(match: re.Match[str]) -> str:
        path, _, anchor = match[3].partition("#")
        if re.match(r"[a-z]+:", match[3]) or not path:
            return match[0]
        target = PurePosixPath(os.path.normpath(folder / path))
        if not (root / target).is_file():
            raise ValueError(f"{page.origin}: {match[3]} is no file")
        to = home(target, anchor)
        if to is None:
            linked[target] = None
            to = _place(target)
        else:
            to = f"{to}.md" + (f"#{anchor}" if anchor else "")
        return f"{match[1]}[{match[2]}]({os.path.relpath(to, here)})"

    # Code is put aside first: nothing in it is a link.
    aside: list[str] = []

    def put(match: re.Match[str]) -> str:
        aside.append(match[0])
        return f"\0{len(aside) - 1}\0"

    text = _CODE.sub(put, _FENCE.sub(put, page.text))
    text = _LINK.sub(replaced, text)
    while "\0" in text:
        text = re.sub(r"\0(\d+)\0", lambda match: aside[int(match[1])], text)
    return text


def _place(file: PurePosixPath) -> str:
    if file.suffix in (".svg", ".png", ".csv"):
        return f"files/{file}"  # Sphinx copies them beside the pages
    return f"files/{file}.md"


def _stage_file(root: Path, into: Path, file: PurePosixPath, *, notebooks: bool) -> None:
    copy = into / "files" / file
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(root / file, copy)
    if _place(file).endswith(".md"):
        language = _LANGUAGES.get(file.suffix, "text")
        run = ""
        if notebooks and file.parts[0] == "notebooks":
            up = "../" * len(file.parts)
            run = (
                f'<p><a href="{up}notebooks/{file.stem}.html">The notebook as it ran</a>. Its source:</p>\n\n'
            )
        fence = f"```{{literalinclude}} {file.name}\n:language: {language}\n```"
        _write(
            copy.parent / f"{file.name}.md",
            f"---\norphan: true\nnosearch: true\n---\n\n# {file}\n\n{run}{fence}\n",
        )


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
