"""Print as JSON what docs/kinetics.md says of the frontier under load; takes minutes.

    python docs/measure_kinetics.py

`python docs/figures.py --run kinetics_load` records it and brings the page up to date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from foretell.validate.kinetics_load import KINDS, Frontiers, Setting, choices, frontiers

ACCURACIES = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.78, 0.8)
RATES = (0.02, 0.1, 0.2, 0.5, 1.0, 2.0)
LIMITS_S = (15.0, 30.0, 60.0, 120.0, 300.0)


def cheapest(found: Frontiers, accuracies: Sequence[float] = ACCURACIES) -> dict[str, dict[str, str]]:
    """Which size is the cheapest, by accuracy and kind of cost, and what the next two cost beside it."""
    return {f"{at:.2f}": {kind: _ranked(found.cost_at(kind, at)) for kind in KINDS} for at in accuracies}


def _ranked(costs: Mapping[str, float]) -> str:
    ranked = sorted(costs, key=lambda size: costs[size])
    others = ", ".join(f"{size} {costs[size] / costs[ranked[0]]:.2f}×" for size in ranked[1:3])
    return f"**{ranked[0]}**{f' ({others})' if others else ''}" if ranked else "none"


def highest_rates(found: Frontiers, accuracies: Sequence[float] = ACCURACIES) -> dict[str, dict[str, float]]:
    """Queries a second that one accelerator serves, by size and accuracy; only what a size reaches."""
    at = {f"{accuracy:.2f}": found.cost_at("full", accuracy) for accuracy in accuracies}
    return {
        size: {accuracy: 1 / costs[size] for accuracy, costs in at.items() if size in costs}
        for size in found.accuracy
    }


def within(
    found: Frontiers, setting: Setting, rates: Sequence[float] = RATES, limits_s: Sequence[float] = LIMITS_S
) -> dict[str, dict[str, str]]:
    """The most accurate size and cap, by rate and limit on the median latency."""
    return {
        f"{rate:g}": {
            f"{limit:g}": f"{c.size}, {c.cap:,}: {100 * c.accuracy:.0f} %" if c.size else "none"
            for limit, c in choices(found, setting, rate, limits_s).items()
        }
        for rate in rates
    }


def large_over_small(
    found: Frontiers, kind: str, accuracies: Sequence[float] = ACCURACIES
) -> dict[float, float]:
    """What 14B costs over 4B, by accuracy, where both reach it."""
    at = ((accuracy, found.cost_at(kind, accuracy)) for accuracy in accuracies)
    return {accuracy: costs["14B"] / costs["4B"] for accuracy, costs in at if {"4B", "14B"} <= set(costs)}


def other_seed(setting: Setting, caps: Sequence[int]) -> float:
    """By how much another seed moves seconds, alone or full, of 4B and 14B at most; relative."""
    ours, others = (
        frontiers(replace(setting, seed=setting.seed + more), ("4B", "14B"), tuple(caps)) for more in (0, 1)
    )
    return max(
        float(abs(others.costs[kind][size] / costs - 1).max())
        for kind in ("alone", "full")
        for size, costs in ours.costs[kind].items()
    )


def measured(setting: Setting, found: Frontiers) -> dict[str, Any]:
    """Everything that the page quotes."""
    full, whole = (large_over_small(found, kind) for kind in ("full", "whole"))
    return {
        "cheapest": cheapest(found),
        "rates": highest_rates(found),
        "within": within(found, setting),
        "full_14B_over_4B_most": max(full.values()) - 1,
        "full_14B_over_4B": {f"{accuracy:.2f}": ratio for accuracy, ratio in full.items()},
        "whole_law_off_most": max(abs(whole[accuracy] / ratio - 1) for accuracy, ratio in full.items()),
        "other_seed_off_most": other_seed(setting, (8192, 16_384)),
    }


def main() -> int:
    """Simulate and print."""
    setting = Setting()
    print(json.dumps(measured(setting, frontiers(setting)), indent=1, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
