"""Make the tables of the paper's figures in docs/kinetics.md: python docs/kinetics.py (a test compares them).

The paper's own points are looked for as `foretell validate` looks for them. What is simulated under load
comes from docs/measure_kinetics.py by way of docs/figures.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from foretell.models.kinetics_curves import best_of_n_curve, long_cot_curve
from foretell.validate.cli import data_folder
from foretell.validate.kinetics import COSTS, models_along, profile_curves
from foretell.validate.kinetics_summary import Result, kinetics

PAGE = Path(__file__).resolve().parent / "kinetics.md"
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
    tables = {
        "figures": figures(kinetics(data_folder(None))),
        "trials": trials(),
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        text = rendered(text, name, table)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
