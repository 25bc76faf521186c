"""What every report must be: one well-formed file that loads nothing; and its tables, as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "path", "rect", "circle", "line", "stop", "use"}
LIMIT = 2_000_000
LOADING = re.compile(
    r"""(?i)<(?:script|link|img|iframe|object|embed|audio|video|source)\b|@import|url\(|\bsrc="""
)


class Page(HTMLParser):
    """A page's text, and the rows of its tables by the id of their section."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.sections: dict[str, list[list[str]]] = {"": []}
        self.links: list[str] = []
        self._section = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "section":
            self._section = given["id"]
            self.sections[self._section] = []
        if tag == "tr":
            self.sections[self._section].append([])
        if tag in ("td", "th"):
            self.sections[self._section][-1].append("")
        if tag == "a":
            self.links.append(given["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.sections[self._section][-1][-1] += f" {data}"

    @property
    def text(self) -> str:
        return spaced(" ".join(self.words))

    def rows(self, section: str) -> list[list[str]]:
        """The rows of a section's tables below their heads."""
        return [[spaced(cell) for cell in row] for row in self.sections[section][1:]]


def spaced(text: str) -> str:
    return " ".join(text.replace("\u00a0", " ").split())


def checked(page: str) -> Page:
    """The page, if it is whole, loads nothing, links only within itself and is not too large."""
    assert len(page.encode()) <= LIMIT
    assert not LOADING.search(page)
    assert "nan" not in re.sub(r"<[^>]*>", " ", page).lower().split()
    found = Page(page)
    assert all(link.startswith("#") and f'id="{link[1:]}"' in page for link in found.links)
    return found
