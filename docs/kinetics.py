"""Make the tables of docs/kinetics.md: python docs/kinetics.py (minutes; tests compare parts of them).

The paper's own points are looked for as `foretell validate` looks for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from foretell.models.kinetics_curves import best_of_n_curve, long_cot_curve
from foretell.validate.cli import data_folder
from foretell.validate.kinetics import COSTS, models_along, profile_curves
from foretell.validate.kinetics_load import (
    KINDS,
    SIZES,
    Frontiers,
    Setting,
    choices,
    frontiers,
)
from foretell.validate.kinetics_summary import Result, kinetics

PAGE = Path(__file__).resolve().parent / "kinetics.md"
ACCURACIES = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.78, 0.8)
RATES = (0.02, 0.1, 0.2, 0.5, 1.0, 2.0)
LIMITS_S = (15.0, 30.0, 60.0, 120.0, 300.0)
_BLOCK = r"(?m)^<!-- kinetics {} -->\n(?:\|.*\n)*"


def figures(result: Result) -> str:
    """The paper's figures beside ours."""
    found: dict[str, dict[str, str]] = {}
    for check in result.checks:
        row = found.setdefault(check.name, {"paper": f"{check.paper:g}"})
        ours = "never" if check.ours is None else f"{check.ours:.3g}"
        if check.interval is not None:
            ours += f" ({check.interval[0]:.2f} to {check.interval[1]:.2f})"
        if len(check.crossings) > 1:
            ours = ", ".join(f"{x:.2f}" for x in check.crossings)
        row[check.by] = ours
    kinds = ("paper", "formula", "law", "profile", "points")
    rows = ((name, *(row.get(kind, "") for kind in kinds)) for name, row in found.items())
    return _table(["figure", "paper", "formula", "laws", "profiles", "the paper's points, by us"], rows)


def trials() -> str:
    """Which size is the cheapest by trials and by length, on two tasks and by two costs."""
    rows = []
    for task in ("aime24", "livecodebench"):
        for name, strategy in (("best-of-N", best_of_n_curve), ("long CoT", long_cot_curve)):
            along = (models_along(cost, profile_curves(strategy, cost, task=task)) for cost in COSTS)
            rows.append((task, name, *along))
    return _table(["task", "strategy", *(f"by {cost}" for cost in COSTS)], rows)


def cheapest(found: Frontiers, accuracies: Sequence[float] = ACCURACIES) -> str:
    """Which size is the cheapest at an accuracy by each kind of cost, and what 4B and 14B cost beside it."""
    rows = []
    for accuracy in accuracies:
        cells = []
        for kind in KINDS:
            costs = found.cost_at(kind, accuracy)
            ranked = sorted(costs, key=lambda size: costs[size])
            least = costs[ranked[0]] if ranked else 1.0
            others = ", ".join(f"{s} {costs[s] / least:.2f}×" for s in ranked[1:3])
            cells.append(f"**{ranked[0]}**{f' ({others})' if others else ''}" if ranked else "none")
        rows.append((f"{accuracy:.2f}", *cells))
    heads = ["accuracy", "FLOPs", "eFLOPs", "whole law", "seconds alone", "accelerator-seconds when full"]
    return _table(heads, rows)


def within(found: Frontiers, setting: Setting, rates: Sequence[float] = RATES) -> str:
    """The most accurate size and cap within a median latency at a rate."""
    rows = []
    for rate in rates:
        chosen = choices(found, setting, rate, LIMITS_S).values()
        shown = (f"{c.size}, {c.cap:,}: {100 * c.accuracy:.0f} %" if c.size else "none" for c in chosen)
        rows.append((f"{rate:g}", *shown))
    return _table(["queries/s", *(f"≤ {limit:g} s" for limit in LIMITS_S)], rows)


def highest_rates(found: Frontiers) -> str:
    """Queries a second that one accelerator serves, by size and accuracy."""
    rows = []
    for size in SIZES:
        cells = []
        for accuracy in ACCURACIES:
            cost = found.cost_at("full", accuracy).get(size)
            cells.append("" if cost is None else f"{1 / cost:.2g}")
        rows.append((size, *cells))
    return _table(["size", *(f"{a:.2f}" for a in ACCURACIES)], rows)


def rendered(text: str, name: str, table: str) -> str:
    """The page with one of its tables made anew."""
    made, count = re.subn(_BLOCK.format(name), lambda _: f"<!-- kinetics {name} -->\n{table}", text)
    assert count == 1, name
    return made


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Rewrite the page's tables."""
    setting = Setting()
    found = frontiers(setting)
    tables = {
        "figures": figures(kinetics(data_folder(None))),
        "trials": trials(),
        "cheapest": cheapest(found),
        "rates": highest_rates(found),
        "within": within(found, setting),
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        text = rendered(text, name, table)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
