"""The skeleton of HTML pages: one file, nothing that a browser loads."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files


def document(title: str, body: str) -> str:
    """A whole page with its style inside; `body` is HTML, `title` text."""
    style = (files("foretell.sim.report") / "page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{body}</main></body></html>\n"
    )


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
