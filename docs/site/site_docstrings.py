"""Docstrings on their way to the site: plain text with `names`, where Sphinx wants reStructuredText."""

from __future__ import annotations

import re
from typing import Any

PLAIN = re.compile(r"(``.+?``|`[^`\n]+`|(?<![\w*])\*\w+\*(?![\w*]))")
"""What is markup in a docstring: `names`, and one *word* that is stressed."""
_SEVERAL = re.compile(r"^:(ivar|param) (\w+(?:, \w+)+):")
_SPECIAL = re.compile(r"([*|\\]|_(?!\w))")


def escaped(line: str) -> str:
    """A line whose characters mean themselves, outside of `names`."""
    parts = PLAIN.split(line)
    return "".join(part if at % 2 else _SPECIAL.sub(r"\\\1", part) for at, part in enumerate(parts))


def prepared(lines: list[str]) -> list[str]:
    """A docstring's lines with every sign meaning itself, but for what stands indented below a `::`."""
    done, literal = [], False
    for line in lines:
        literal = literal and (not line.strip() or line.startswith(" "))
        done.append(line if literal else escaped(line))
        literal = literal or line.endswith("::")
    return done


def _process(app: Any, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    lines[:] = prepared(lines)


def _several(app: Any, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    """Sphinx takes the first of several names that are described together for the type of the last."""
    lines[:] = [_SEVERAL.sub(lambda m: f":{m[1]} {m[2].replace(', ', ',')}:", line) for line in lines]


def _resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """A name that is documented in one place only leads there, by whatever path it was reached."""
    from sphinx.util.nodes import make_refnode

    if node.get("refdomain") != "py":
        return None
    last = node["reftarget"].rpartition(".")[2]
    objects = env.get_domain("py").objects
    found = [(name, entry) for name, entry in objects.items() if name.rpartition(".")[2] == last]
    if len(found) != 1:
        return content  # other packages, parameters, or names that say too little: code without a link
    name, entry = found[0]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)


def _dashes(app: Any, doctree: Any, docname: str) -> None:
    """Between an argument and its meaning Sphinx writes two hyphens."""
    from docutils import nodes

    for text in [node for node in doctree.findall(nodes.Text) if node == " -- "]:
        text.parent.replace(text, nodes.Text(": "))


def connect(app: Any) -> None:
    """Let Sphinx ask here."""
    app.connect("autodoc-process-docstring", _process, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", _several, priority=900)  # after it
    app.connect("missing-reference", _resolve)
    app.connect("doctree-resolved", _dashes)
