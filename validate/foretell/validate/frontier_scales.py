"""Scales of the cost terms that have not seen the servers they forecast, kept so that no fit has to be run.

For every pair (model, accelerator) of the judged runs data/left_out.toml has the scales that `folds.left_out`
fits without all runs of the pair, resolved for each period of vLLM's releases; "" stands for other back ends,
which have none. Pairs that no judged run has take the shipped scales, in which nothing of them is.

The file is made by `python -m foretell.validate.frontier_scales DATA [FILE]`, two minutes on one core.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from foretell.models.residual import load_residual, release
from foretell.models.silicon_source import PACKAGE
from foretell.validate.folds import left_out, pair_of
from foretell.validate.loops import keys_of
from foretell.validate.silicon import layout
from foretell.validate.silicon_rows import MeasuredRow, measured_rows

Scales = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By pair, then by period of releases, then by term."""
_HEAD = """\
# Scales of a step's terms, each pair (model, accelerator) left out of its own fit, to InferenceX's closed
# loops of vLLM (SemiAnalysis, Apache-2.0). Made by `python -m foretell.validate.frontier_scales`.
# Units: foretell.models.tabulated.TERMS, foretell.models.residual.CLIENT.
"""


def held_out(row: MeasuredRow, scales: Scales) -> dict[str, float]:
    """The scales that forecast a row: fitted without every run of its model on its accelerator."""
    found = scales.get(pair_of(row))
    return in_sample(row) if found is None else dict(found.get(_period(row), found[""]))


def in_sample(row: MeasuredRow) -> dict[str, float]:
    """The shipped scales, to which the row itself contributed if it is a judged one: no forecast."""
    return load_residual("silicon").at(keys_of(row))


@cache
def shipped() -> Scales:
    """What the file has."""
    text = (files("foretell.validate") / "data" / "left_out.toml").read_text(encoding="utf-8")
    found = tomllib.loads(text)
    found.pop("source")
    return found


def fitted(rows: Sequence[MeasuredRow]) -> Scales:
    """Simulate the judged rows twice and fit each pair's scales without it, for each of its periods."""
    judged = [row for row in rows if row.judged]
    _, model, known = layout(judged, "silicon", lambda done: None)
    folds = left_out(model, known, pair_of)
    return {
        pair: {
            period: folds[pair].at(keys)
            for period, keys in sorted(_keys(row for row in known if pair_of(row) == pair).items())
        }
        for pair in sorted(folds)
    }


def to_toml(scales: Scales, source: str) -> str:
    """The file: a table a pair, a line a period; five digits."""
    parts = [_HEAD, f'source = "{source}"\n']
    for pair, periods in scales.items():
        parts.append(f'["{pair}"]\n')
        for period, terms in periods.items():
            told = ", ".join(f"{name} = {float(f'{value:.5g}')!r}" for name, value in terms.items())
            parts.append(f'"{period}" = {{ {told} }}\n')
    return "".join(parts)


def _period(row: MeasuredRow) -> str:
    return release(row.run.version) if row.run.backend == "vllm" else ""


def _keys(rows: Any) -> dict[str, tuple[str, ...]]:
    """What the scales depend on, by period; "" is of an engine whose releases nobody numbered."""
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        keys = keys_of(row)
        found.setdefault(_period(row), keys)
        found.setdefault("", tuple(key for key in keys if not key.startswith("release:")))
    return found


def main() -> None:
    """Write the file."""
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "data" / "left_out.toml"
    source = f"InferenceX runs of 2025-10 to 2026-04, {PACKAGE} {version(PACKAGE)}; fitted {date.today()}"
    found = fitted(measured_rows(Path(sys.argv[1])).rows)
    target.write_text(to_toml(found, source), encoding="utf-8")


if __name__ == "__main__":
    main()
