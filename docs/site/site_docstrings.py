"""Docstrings on their way to the site: plain text with `names`, where Sphinx wants reStructuredText."""

from __future__ import annotations

import re
from typing import Any

_CODE = re.compile(r"(``.+?``|`[^`\n]+`)")
_SPECIAL = re.compile(r"([*|\\]|_(?!\w))")


def escaped(line: str) -> str:
    """A line whose characters mean themselves, outside of `names`."""
    parts = _CODE.split(line)
    return "".join(part if at % 2 else _SPECIAL.sub(r"\\\1", part) for at, part in enumerate(parts))


def _process(app: Any, what: str, name: str, thing: object, options: Any, lines: list[str]) -> None:
    literal = False
    for at, line in enumerate(lines):
        literal = literal and (not line.strip() or line.startswith(" "))
        if not literal:
            lines[at] = escaped(line)
        literal = literal or line.endswith("::")


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


def connect(app: Any) -> None:
    """Let Sphinx ask here."""
    app.connect("autodoc-process-docstring", _process, priority=100)  # before napoleon
    app.connect("missing-reference", _resolve)
