"""Capacity frontiers as a section of the page of evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foretell.validate.charts import Points
from foretell.validate.evidence import Grid, Scatter, Section, beyond, checks, count, percent, signed
from foretell.validate.frontier import gaps
from foretell.validate.frontier_page import HEADS, METHOD, cells, headline, judged_parts, parts

Summary = Mapping[str, Any]


def frontier(found: Summary) -> Section:
    """What `frontier_summary.validate_frontier` returns; a ValueError where it is something else."""
    if not isinstance(found, Mapping) or "by_group" not in found or "judged" not in found:
        raise ValueError("a summary with groups is wanted")
    groups = found["by_group"]
    judged = {name: one for name, one in groups.items() if one["judged"]}
    errors = [(name, one["across"]) for name, one in judged.items()]
    return Section(
        key="frontier",
        title="Capacity frontiers of servers",
        answer=headline(found),
        claim="How many tokens a second an accelerator makes, at the speed that a user is given, can be told "
        "in milliseconds and without a run of that model on that accelerator.",
        how=(
            METHOD,
            "A frontier is steep where few requests are in flight: there an error of some per cent in the "
            "time of a step is one of many in tokens/s/accelerator at equal speed for a user. As a factor of "
            "speed, a model that is k times too slow is off by k at every point.",
        ),
        would_fail=("medians beyond 10 %", "errors that the figures of single servers do not explain"),
        command="foretell validate frontier --json > frontier.json",
        source="InferenceX (SemiAnalysis, Apache-2.0) and NVIDIA's runs, in aiconfigurator-core's "
        "silicon_sample.csv (Apache-2.0).",
        checks=checks(found["targets"]),
        misses=(
            *beyond("tokens/s/accelerator, median of a group", errors, 20.0, "judged groups", show=percent),
            f"{count(found['judged']['across']['beyond'])} of {count(found['judged']['points'])} points of "
            "measured frontiers are beyond the ends of ours, and in no error at equal speed for a user",
        ),
        grids=(
            Grid("By back end", ("part", *HEADS), [(name, *cells(one)) for name, one in parts(found)]),
            Grid(
                "The judged runs, by what they have in common",
                ("part", *HEADS),
                [(name, *cells(one)) for name, one in judged_parts(found)],
            ),
        ),
        charts=(
            Scatter("Tokens/s/accelerator of frontiers at equal speed of a user", _points(judged), "/s"),
        ),
        absent=tuple(f"{count(rows)} rows: {why}" for why, rows in found.get("left_out", {}).items()),
    )


def _points(groups: Mapping[str, Summary]) -> dict[str, Points]:
    """Measured points and our frontier above or below them, by model."""
    found: dict[str, list[tuple[float, float, str]]] = {}
    for name, one in groups.items():
        measured, predicted = (np.array(one[side], dtype=np.float64) for side in ("measured", "predicted"))
        for (user, rate), gap in zip(measured.tolist(), gaps(measured, predicted)["across"], strict=True):
            if np.isfinite(gap):
                label = f"{name}, {user:.0f} tokens/s/user: {signed(100 * np.expm1(gap))}"
                found.setdefault(name.partition(",")[0], []).append((rate, rate * np.exp(gap), label))
    return {
        model: Points(
            np.array([rate for rate, _, _ in every]),
            np.array([told for _, told, _ in every]),
            [label for _, _, label in every],
        )
        for model, every in found.items()
    }
