"""Blocks of Markdown files that are kept true: examples to run, outputs and tables to regenerate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, text, and the line it starts on."""

    language: str
    text: str
    line: int


def blocks(file: Path, language: str) -> Iterator[Block]:
    """The fenced blocks of a language."""
    text = file.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        if match[1] == language:
            yield Block(language, match[2], text[: match.start()].count("\n") + 1)


def links(file: Path) -> list[str]:
    """Targets of the links outside of code."""
    text = _FENCE.sub("", file.read_text(encoding="utf-8"))
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", text))


def anchors(file: Path) -> set[str]:
    """The anchors that GitHub gives to a file's headings."""
    text = _FENCE.sub("", file.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}
