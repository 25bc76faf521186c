"""Findings on papers' claims as text and as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from foretell.sim.report.page import document, table

_MARKS = {True: "agrees", False: "differs", None: "–"}


def headline(summary: Mapping[str, Any]) -> str:
    """How many of the rows agree, in one sentence."""
    direction, size = summary["direction"], summary["size"]
    return (
        f"{summary['rows']} claims of {summary['papers']} papers: direction agrees in {direction['agree']} "
        "of "
        f"{direction['of']}, size in {size['agree']} of {size['of']}"
    )


def marked(agrees: bool | None) -> str:
    """A verdict in a word."""
    return _MARKS[agrees]


def ours(one: Mapping[str, Any]) -> str:
    """Our figure with its unit and interval."""
    unit = {"x": "x", "%": "%", "points": " points"}.get(one["unit"], "")
    sign = "+" if one["kind"] in ("points", "direction") else ""
    text = f"{one['ours']:{sign}.3g}{unit}"
    if one["interval"]:
        text += f" ({one['interval'][0]:{sign}.3g} to {one['interval'][1]:{sign}.3g})"
    return text


def render(summary: Mapping[str, Any]) -> str:
    """Make the page: HTML with its style inside, no script, and nothing that a browser would load."""
    rules = "".join(f"<li><b>{escape(k)}</b>: {escape(rule)}</li>" for k, rule in summary["rules"].items())
    rows = "".join(_row(one) for one in summary["findings"])
    heads = (
        "paper",
        "claim",
        "published",
        "ours",
        "direction",
        "size",
        "setting",
        "why it differs, or what it leaves out",
    )
    parts = [
        f"<h1>{escape(headline(summary))}</h1>",
        "<p>Most settings were put down before results were seen (docs/papers.md names the others), and "
        "nothing was fitted to a claim. A row that differs stays.</p>",
        "<h2>Rules</h2>",
        f"<ul>{rules}</ul>",
        "<h2>Claims</h2>",
        table(heads, rows, "Claims of papers and what foretell says", "text"),
    ]
    return document("foretell beside papers", "".join(parts))


def _row(one: Mapping[str, Any]) -> str:
    cells = (
        one["claim"],
        one["published"],
        ours(one),
        marked(one["direction_agrees"]),
        marked(one["size_agrees"]),
        one["setting"],
        one["why"],
    )
    about = escape(one["source"], quote=True)
    rest = "".join(f"<td>{escape(text)}</td>" for text in cells)
    return f'<tr><th scope=row title="{about}">{escape(one["paper"])}</th>{rest}</tr>'
