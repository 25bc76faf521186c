"""The skeleton of HTML pages: one file, nothing that a browser loads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files

_STYLES = ("colours.css", "page.css", "chart.css")
_SECTION = re.compile(r'<section id="([^"]+)" aria-labelledby="[^"]+"><h2[^>]*>(.*?)</h2>')


def document(title: str, body: str) -> str:
    """A whole page with its style inside; `body` is HTML, `title` text.

    Several sections get a list of contents before the first, and a link that skips it, unless `body` has one.
    """
    folder = files("foretell.sim.report")
    style = "".join((folder / name).read_text(encoding="utf-8") for name in _STYLES)
    sections = list(_SECTION.finditer(body))
    skip = ""
    if len(sections) > 1 and "<nav" not in body:
        items = "".join(f'<li><a href="#{one[1]}">{one[2]}</a></li>' for one in sections)
        start = sections[0].start()
        body = f'{body[:start]}<nav aria-label="Contents"><ul>{items}</ul></nav>{body[start:]}'
        skip = f'<a class="skip" href="#{sections[0][1]}">To: {sections[0][2]}</a>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body>{skip}<main>{body}</main></body></html>\n"
    )


def section(id: str, title: str, body: str) -> str:
    """A part of a page with its heading; `title` is text, `body` HTML."""
    return f'<section id="{id}" aria-labelledby="{id}-h"><h2 id="{id}-h">{escape(title)}</h2>{body}</section>'


def table(heads: Sequence[str], body: str, caption: str, style: str = "figures") -> str:
    """A table that scrolls by itself where it is too wide, by keyboard too; `body` is HTML of its rows."""
    head = "".join(f"<th scope=col>{escape(text)}</th>" for text in heads)
    about = f"<caption>{escape(caption)}</caption>" if caption else ""
    name = escape(caption or ", ".join(filter(None, heads)))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">'
        f'<table class="{style}">{about}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def figure(chart: str, caption: str) -> str:
    """A chart (SVG) below its caption."""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{chart}</figure>"
