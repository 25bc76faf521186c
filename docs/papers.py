"""Rewrite the table of docs/papers.md: what `foretell validate papers` finds (a minute or two).

    python docs/papers.py [papers.json]

With a file it takes what the command printed with --json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foretell.validate.papers import papers_summary
from foretell.validate.papers_page import headline, marked, ours

PAGE = Path(__file__).with_name("papers.md")
START, END = "<!-- findings -->\n", "<!-- end of findings -->\n"


def table(summary: Mapping[str, Any]) -> str:
    """The findings as a table of Markdown."""
    lines = [
        f"On {datetime.now(UTC):%Y-%m-%d}: {headline(summary)}.",
        "",
        "| paper | claim | published | ours | direction | size | why it differs, or what is left out |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in summary["findings"]:
        cells = (
            one["paper"],
            one["claim"],
            one["published"],
            ours(one),
            marked(one["direction_agrees"]),
            marked(one["size_agrees"]),
            one["why"],
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Rewrite the page."""
    given = sys.argv[1:]
    summary = json.loads(Path(given[0]).read_text(encoding="utf-8")) if given else papers_summary()
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(before + START + table(summary) + END + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
