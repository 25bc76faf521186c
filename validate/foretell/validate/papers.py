"""What papers claim of inference strategies, beside what foretell says: one rule for each kind of figure.

A claim is put down with the setting it is asked in; nothing is fitted to it. docs/papers.md names those
settings that were changed after a result. Rows are in the modules papers_*; this one judges them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from foretell.validate.papers_page import marked, ours

Kind = Literal["ratio", "points", "level", "count", "direction"]
FACTOR, POINTS, COUNT = 1.25, 5.0, 2.0
RULES: Mapping[Kind, str] = {
    "ratio": f"a speed-up or saving, as a ratio; direction: the same side of 1; size: within a factor "
    f"{FACTOR:g}",
    "points": f"a difference of accuracies or shares in points; direction: the same sign; size: within "
    f"{POINTS:g} points",
    "level": f"an accuracy or share by itself in per cent; direction: none; size: within {POINTS:g} points",
    "count": f"a number of samples, tokens or a size; direction: the same side of the neutral number named "
    f"in the row; size: within a factor {COUNT:g}",
    "direction": "a claim without a figure; direction: the sign of ours; size: none",
}
"""When ours agrees with the paper's, by kind of figure.

The paper's figure may be a range, or open at one end ("at least", "up to"); the tolerance is then that of its
ends. "Up to" is asked of the largest of ours over the settings tried, and from below too.
An interval of ours must lie wholly on the paper's side for the direction to agree; size looks at the figure.
"""
FAMILIES = (
    "papers_kinetics",
    "papers_sampling",
    "papers_verifiers",
    "papers_adaptive",
    "papers_search",
    "papers_threads",
    "papers_programs",
    "papers_speculation",
    "papers_hardware",
)


@dataclass(frozen=True, slots=True)
class Found:
    """What foretell says: a figure, its interval where it was simulated, and why it differs where it does.

    Attributes:
        value: ours, in the unit of the claim.
        interval: of 90 %, from replications; None for closed forms.
        why: why ours differs, or what the comparison leaves out.
        beside: other figures worth seeing, by name.

    """

    value: float
    interval: tuple[float, float] | None = None
    why: str = ""
    beside: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a paper says, and how it is asked here.

    Attributes:
        paper, claim: whose, and what in words.
        published: the paper's figure as it is printed.
        kind: of figure, see `RULES`.
        low, high: the paper's figure; equal for a point, None for an open end, both None for a direction.
        unit: of the figures.
        setting: what is run here; see docs/papers.md for those that changed.
        source: where the paper says it.
        run: gives ours; its argument scales the number of simulated queries.
        neutral: the figure of no effect: 1 for ratios, 0 for points, and to be given for counts.

    """

    paper: str
    claim: str
    published: str
    kind: Kind
    low: float | None
    high: float | None
    unit: str
    setting: str
    source: str
    run: Callable[[float], Found]
    neutral: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim with ours beside it, and whether they agree; None where there is nothing to agree on."""

    claim: Claim
    found: Found
    direction_agrees: bool | None
    size_agrees: bool | None

    def as_dict(self) -> dict[str, Any]:
        """What is printed as JSON."""
        claim, found = self.claim, self.found
        return {
            "paper": claim.paper,
            "claim": claim.claim,
            "published": claim.published,
            "kind": claim.kind,
            "paper_low": claim.low,
            "paper_high": claim.high,
            "unit": claim.unit,
            "ours": found.value,
            "interval": list(found.interval) if found.interval else None,
            "beside": dict(found.beside or {}),
            "setting": claim.setting,
            "direction_agrees": self.direction_agrees,
            "size_agrees": self.size_agrees,
            "why": found.why,
            "source": claim.source,
        }


def judge(claim: Claim, found: Found) -> Finding:
    """Whether direction and size agree, by `RULES`."""
    return Finding(claim, found, _direction(claim, found), _size(claim, found.value))


def claims(only: str | None = None) -> list[Claim]:
    """The rows, or those of papers whose name contains `only`, capitals aside.

    Raises:
        ValueError: no such paper; the names are listed.

    """
    rows = [row for family in FAMILIES for row in import_module(f"foretell.validate.{family}").ROWS]
    if only is None:
        return rows
    found = [row for row in rows if only.lower() in row.paper.lower()]
    if not found:
        names = ", ".join(dict.fromkeys(row.paper for row in rows))
        raise ValueError(f"--only: no paper is called {only!r}; there are {names}")
    return found


def findings(rows: Iterable[Claim], effort: float = 1.0) -> list[Finding]:
    """Run the rows; effort scales the number of simulated queries."""
    return [judge(row, row.run(effort)) for row in rows]


def papers_summary(only: str | None = None, effort: float = 1.0) -> dict[str, Any]:
    """What the command prints: the rules, how many rows agree, and the rows."""
    found = [_in_words(one.as_dict()) for one in findings(claims(only), effort)]
    directions = [one["direction_agrees"] for one in found if one["direction_agrees"] is not None]
    sizes = [one["size_agrees"] for one in found if one["size_agrees"] is not None]
    return {
        "rules": dict(RULES),
        "rows": len(found),
        "papers": len({one["paper"] for one in found}),
        "direction": {"agree": sum(directions), "of": len(directions)},
        "size": {"agree": sum(sizes), "of": len(sizes)},
        "findings": found,
    }


def _in_words(one: dict[str, Any]) -> dict[str, Any]:
    """A finding with our figure and both verdicts as tables show them."""
    verdicts = {name: marked(one[f"{name}_agrees"]) for name in ("direction", "size")}
    return one | {"shown": ours(one)} | verdicts


def _direction(claim: Claim, found: Found) -> bool | None:
    if claim.kind == "level" or not math.isfinite(found.value):
        return None if claim.kind == "level" else False
    neutral = claim.neutral
    if neutral is None:
        if claim.kind == "count":
            return None
        neutral = 1.0 if claim.kind == "ratio" else 0.0
    side = 1.0  # claims without a figure are put so that they hold above the neutral one
    if claim.kind != "direction":
        known = [end for end in (claim.low, claim.high) if end is not None]
        if not known:
            return None
        middle = sum(known) / len(known)
        side = math.copysign(1.0, middle - neutral) if middle != neutral else 0.0
    ends = (found.value, *(found.interval or ()))
    if side == 0.0:
        return None
    return all(side * (end - neutral) > 0 for end in ends)


def _size(claim: Claim, value: float) -> bool | None:
    if claim.kind == "direction" or (claim.low is None and claim.high is None):
        return None
    if not math.isfinite(value):
        return False
    low = -math.inf if claim.low is None else claim.low
    high = math.inf if claim.high is None else claim.high
    if claim.kind in ("ratio", "count"):
        factor = FACTOR if claim.kind == "ratio" else COUNT
        return low / factor <= value <= high * factor
    return low - POINTS <= value <= high + POINTS
