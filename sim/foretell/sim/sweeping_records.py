"""A sweep as JSON, CSV and a DataFrame, one row a point."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from foretell.sim.forecast_json import tool_version
from foretell.sim.intervals import LEVEL
from foretell.sim.sweeping import Row, Sweep

SCHEMA_VERSION = 1


def sweep_dict(sweep: Sweep) -> dict[str, Any]:
    """Lay a sweep out as plain values: None where there is no figure."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": "foretell",
        "tool_version": tool_version(),
        "method": sweep.method,
        "scenario": sweep.scenario.to_dict(),
        "seed": sweep.scenario.seed,
        "replications": sweep.scenario.replications,
        "level": LEVEL,
        "fields": list(sweep.paths),
        "points": [{"changes": dict(row.changes), "labels": row.labels, **row.record} for row in sweep.rows],
    }


def sweep_csv(sweep: Sweep) -> str:
    """One row a point: its values, whether it meets the objectives, and every figure with its interval."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_columns(sweep))
    for values in _values(sweep):
        writer.writerow(["" if value is None else value for value in values])
    return text.getvalue()


def sweep_frame(sweep: Sweep) -> Any:
    """Return the rows as a pandas DataFrame; a field whose values are no plain ones is text."""
    import pandas as pd

    frame = pd.DataFrame(list(_values(sweep)), columns=_columns(sweep))
    for path in sweep.paths:
        if len({type(value) for value in frame[path] if value is not None}) > 1:
            numeric = all(isinstance(value, int | float) for value in frame[path])
            frame[path] = frame[path].astype(float if numeric else str)
    return frame


def _columns(sweep: Sweep) -> list[str]:
    bounds = [column for name in sweep.figures for column in (name, f"{name}_low", f"{name}_high")]
    return [*sweep.paths, "met", "reason", *bounds]


def _values(sweep: Sweep) -> Iterator[list[Any]]:
    for row in sweep.rows:
        values = [_plain(row, path) for path in sweep.paths]
        values += [row.record["met"], row.reason]
        for name in sweep.figures:
            found: Mapping[str, Any] = row.record["figures"].get(name, {})
            values += [found.get(key) for key in ("value", "low", "high")]
        yield values


def _plain(row: Row, path: str) -> Any:
    """A value as it is; as a short text where it is a table or a list."""
    value = row.changes.get(path)
    return value if value is None or isinstance(value, str | int | float) else row.labels[path]
