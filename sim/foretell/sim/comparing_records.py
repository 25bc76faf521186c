"""A comparison as JSON and as CSV, one row a cell."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import Any

from foretell.sim.comparing import Compared, Comparison, difference
from foretell.sim.forecast_json import finite, tool_version
from foretell.sim.intervals import LEVEL, Estimate

SCHEMA_VERSION = 1
AGAINST_BEST = ("accuracy", "e2e_p99_s", "usd_per_query")
"""Figures whose difference to the first cell is told."""


def comparison_dict(comparison: Comparison) -> dict[str, Any]:
    """Lay a comparison out as plain values: None where there is no figure."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": "foretell",
        "tool_version": tool_version(),
        "method": comparison.method,
        "by": comparison.by,
        "scenario": comparison.scenario.to_dict(),
        "seed": comparison.scenario.seed,
        "replications": comparison.scenario.replications,
        "level": LEVEL,
        "frontier_of": dict(comparison.respects),
        "met": comparison.met,
        "cells": list(_cells(comparison)),
    }


def _cells(comparison: Comparison) -> Iterator[dict[str, Any]]:
    first = comparison.cells[0]
    for place, cell in enumerate(comparison.cells):
        against = {
            figure: _interval(difference(cell.summary[figure], first.summary[figure]))
            for figure in AGAINST_BEST
            if place and figure in cell.summary and figure in first.summary
        }
        told = outcome_dict(cell)
        yield {
            "rank": place + 1,
            "changes": dict(cell.cell.changes),
            "labels": cell.labels,
            "reason": told["reason"],
            "met": told["met"],
            "frontier": comparison.frontier[place],
            "frontier_share": comparison.frontier_share[place],
            "figures": told["figures"],
            "against_first": against,
            "objectives": told["objectives"],
            "notes": told["notes"],
        }


def outcome_dict(cell: Compared) -> dict[str, Any]:
    """Lay out what came of one cell as plain values."""
    return {
        "reason": cell.reason or None,
        "met": cell.met,
        "figures": {name: _interval(found) for name, found in cell.summary.items()},
        "objectives": [
            {
                "name": v.objective.name,
                "direction": v.objective.direction,
                "limit": v.objective.limit,
                "value": finite(v.value),
                "met": v.met,
                "probability": finite(v.probability),
            }
            for v in cell.verdicts
        ],
        "notes": list(cell.notes),
    }


def comparison_csv(comparison: Comparison) -> str:
    """One row a cell in ranked order: its values, and every figure with its interval."""
    paths = list(dict.fromkeys(path for cell in comparison.cells for path in cell.labels))
    figures = list(dict.fromkeys(name for cell in comparison.cells for name in cell.summary))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bounds = [column for name in figures for column in (name, f"{name}_low", f"{name}_high")]
    writer.writerow(["rank", *paths, "met", "frontier", "frontier_share", "reason", *bounds])
    for place, cell in enumerate(comparison.cells):
        row: list[Any] = [place + 1, *(cell.labels.get(path, "") for path in paths)]
        row += [int(cell.met), int(comparison.frontier[place]), comparison.frontier_share[place], cell.reason]
        for name in figures:
            found = cell.summary.get(name, Estimate(math.nan, math.nan, math.nan))
            row += [_shown(x) for x in (found.value, found.low, found.high)]
        writer.writerow(row)
    return text.getvalue()


def _shown(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""


def _interval(found: Estimate) -> dict[str, float | None]:
    return {"value": finite(found.value), "low": finite(found.low), "high": finite(found.high)}
