"""Links of a built site: every internal one leads somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADS = {  # attributes that make a browser fetch something
    ("script", "src"), ("img", "src"), ("img", "srcset"), ("source", "src"), ("source", "srcset"),
    ("iframe", "src"), ("embed", "src"), ("object", "data"), ("video", "src"), ("video", "poster"),
    ("audio", "src"), ("track", "src"), ("input", "src"), ("image", "href"), ("image", "xlink:href"),
    ("use", "href"), ("use", "xlink:href"), ("body", "background"), ("form", "action"),
}  # fmt: skip
_PASSIVE = {
    "search",
    "index",
    "next",
    "prev",
    "author",
    "license",
    "canonical",
    "alternate",
    "contents",
    "up",
}
_STYLE_URL = re.compile(r"""(?:url\(\s*|@import\s+(?=["']))["']?([^"')\s;]+)""")
_SCRIPT_LOAD = re.compile(
    r"""(?:\bfetch\(|\bimport\(|\bfrom\s*|\.src\s*=|\.href\s*=|\.open\([^)]{0,20}|new\s+\w*(?:Worker|Socket|EventSource)\()"""
    r"""\s*["'`]((?:https?:|wss?:)?//[^"'`]+)"""
)


@dataclass
class _Reader(HTMLParser):
    """Collects what a page offers and what it asks for."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    _inside: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._inside = tag
        self.ids.update(given[name] for name in ("id", "name") if given.get(name))
        if "style" in given:
            self.styles.append(given["style"])
        if tag in ("a", "area") and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and "href" in given:
            passive = set(given.get("rel", "").split()) <= _PASSIVE
            (self.links if passive else self.loads).append(given["href"])
        for name, value in given.items():
            if (tag, name) in _LOADS:
                several = name == "srcset"
                self.loads += [part.split()[0] for part in value.split(",")] if several else [value]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.styles.append(data)
        elif self._inside == "script":
            self.scripts.append(data)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        pages: HTML pages read.
        internal: links between them that were followed.
        broken: a line for each that leads nowhere.
        loads: a line for each thing that would be fetched from elsewhere.
        external: links that leave the site, by address, with the pages that have them.

    """

    pages: int
    internal: int
    broken: list[str]
    loads: list[str]
    external: dict[str, list[str]]


def check(site: Path) -> Checked:
    """Read every page, style and script of a built site."""
    pages = {file.resolve(): _read(file) for file in sorted(site.rglob("*.html"))}
    broken: list[str] = []
    loads: list[str] = []
    external: dict[str, list[str]] = {}
    internal = 0
    for file, page in pages.items():
        name = str(file.relative_to(site.resolve()))
        styles = [url for text in page.styles for url in _STYLE_URL.findall(text)]
        scripts = [url for text in page.scripts for url in _SCRIPT_LOAD.findall(text)]
        for load in [*page.loads, *styles, *scripts]:
            if _elsewhere(load):
                loads.append(f"{name}: {load}")
            elif not load.startswith(("data:", "#", "blob:")):
                broken += _missing(file, load, pages, name)
        for link in page.links:
            if _elsewhere(link):
                external.setdefault(link, []).append(name)
            elif not link.startswith(("mailto:", "data:", "javascript:")):
                internal += 1
                broken += _missing(file, link, pages, name)
    for file in sorted([*site.rglob("*.css"), *site.rglob("*.js"), *site.rglob("*.svg")]):
        text = file.read_text(encoding="utf-8", errors="replace")
        found = _SCRIPT_LOAD.findall(text) if file.suffix == ".js" else _STYLE_URL.findall(text)
        if file.suffix == ".svg":
            found += re.findall(r"""<(?:image|use|script)\b[^>]*href=["']([^"']+)""", text)
        loads += [f"{file.relative_to(site)}: {url}" for url in found if _elsewhere(url)]
    return Checked(len(pages), internal, broken, loads, external)


def badly_formed(external: dict[str, list[str]]) -> Iterator[str]:
    """Links that leave the site and cannot be right: no host, spaces, not encrypted where that is usual."""
    for link, where in external.items():
        parts = urlsplit(link)
        if parts.scheme not in ("http", "https") or "." not in parts.netloc or re.search(r"[\s<>\"]", link):
            yield f"{where[0]}: {link}"


def _read(file: Path) -> _Reader:
    reader = _Reader()
    reader.feed(file.read_text(encoding="utf-8"))
    return reader


def _elsewhere(link: str) -> bool:
    return bool(re.match(r"(?:[a-z][a-z0-9+.-]*:)?//", link, re.IGNORECASE))


def _missing(file: Path, link: str, pages: dict[Path, _Reader], name: str) -> list[str]:
    parts = urlsplit(link)
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file():
        return [f"{name}: {link}: no such file"]
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].ids:
        return [f"{name}: {link}: no such anchor"]
    return []
