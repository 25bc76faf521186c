"""Claims of papers as a section of the page of evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foretell.validate.evidence import Grid, Section
from foretell.validate.papers_page import headline, marked, ours


def papers(found: Mapping[str, Any]) -> Section:
    """What `papers.papers_summary` returns; a ValueError where it is something else."""
    if not isinstance(found, Mapping) or not found.get("findings"):
        raise ValueError("a summary with findings is wanted")
    rows = found["findings"]
    differ = [one for one in rows if one["direction_agrees"] is False or one["size_agrees"] is False]
    return Section(
        key="papers",
        title="Papers",
        answer=headline(found),
        claim="What papers report of inference-time strategies, foretell finds in direction; how large it "
        "is, often not.",
        how=(
            "The rows are claims of papers that a simulation can speak to. Each is asked in the paper's "
            "setting, or with bundled profiles and defaults; most were put down before their results were "
            "seen, and docs/papers.md names those that changed. No figure is fitted to a claim.",
            *(f"{kind}: {rule}." for kind, rule in found["rules"].items()),
        ),
        would_fail=("directions that differ", "sizes that differ and have no reason"),
        command="foretell validate papers --json > papers.json",
        source="The papers' abstracts, figures and repositories, cited in each row.",
        misses=tuple(
            f"{one['paper']}, {one['claim']}: published {one['published']}, ours {ours(one)}"
            + (f" ({one['why']})" if one["why"] else "")
            for one in differ
        ),
        grids=(
            Grid(
                "Claims of papers and what foretell says",
                ("paper", "claim", "published", "ours", "direction", "size"),
                tuple(
                    (
                        one["paper"],
                        one["claim"],
                        one["published"],
                        ours(one),
                        marked(one["direction_agrees"]),
                        marked(one["size_agrees"]),
                    )
                    for one in rows
                ),
            ),
        ),
    )
