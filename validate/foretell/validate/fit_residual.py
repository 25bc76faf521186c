"""Fit the shipped scales to the measured closed loops: python -m foretell.validate.fit_residual DATA [FILE]

DATA is the folder that inferencex/vllm_closed_loop_runs.csv is in; the extra `silicon` must be installed.
Errors are half the span of the middle nine tenths of ln(measured / predicted), in standard deviations of a
normal law, every pair of model and accelerator weighing alike.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

from foretell.models.residual import Residual
from foretell.models.silicon_source import PACKAGE
from foretell.validate.folds import interval_factors, pair_of
from foretell.validate.mixed import Array, Mixed
from foretell.validate.silicon import fit_all, layout
from foretell.validate.silicon_rows import MeasuredRow, measured_rows

_HEAD = """\
# Scales of a step's terms, and factors on them by key, fitted to closed-loop runs of vLLM servers
# (InferenceX, SemiAnalysis, Apache-2.0) by `python -m foretell.validate.fit_residual`.
# docs/validation.md has the model, what was chosen while looking at which figures, and the errors.
# Units: foretell.models.tabulated.TERMS, foretell.models.residual.CLIENT.
# A key without factors was part of the fit, and nothing moved it.
"""
RELATED: Mapping[str, Callable[[MeasuredRow, MeasuredRow], bool]] = {
    "sample": lambda one, other: False,
    "pair": lambda one, other: one.run.group == other.run.group,
    "model": lambda one, other: one.run.model == other.run.model,
    "accelerator": lambda one, other: one.run.accelerator == other.run.accelerator,
    "both": lambda one, other: (
        one.run.model == other.run.model or one.run.accelerator == other.run.accelerator
    ),
}
"""What may not help to forecast a pair, for each of `Residual.errors`."""
_NEGLIGIBLE = 0.005
_NINE_TENTHS = 2 * 1.6449


def fitted(rows: Sequence[MeasuredRow], operator_times: str, source: str = "") -> Residual:
    """Scales, factors and errors for one source of operator times."""
    _, model, known = layout(rows, operator_times, lambda done: None)
    whole = fit_all(model, known)
    errors = _widening({name: log_errors(model, known, related) for name, related in RELATED.items()})
    return dataclasses.replace(whole, errors=errors, source=source)


def log_errors(
    model: Mixed, rows: Sequence[MeasuredRow], related: Callable[[MeasuredRow, MeasuredRow], bool]
) -> dict[str, float]:
    """Standard errors of the logarithms of both times, each pair forecast without the rows related to it.

    Schedules are taken as first simulated.
    """
    trusted = [i for i, row in enumerate(rows) if not row.run.set_aside]
    ttft, tpot = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    start = model.fit(np.array(trusted))
    pairs = [pair_of(row) for row in rows]
    for pair in sorted({pairs[i] for i in trusted}):
        here = np.array([i for i in trusted if pairs[i] == pair])
        rest = np.array([i for i in trusted if not related(rows[here[0]], rows[i])])
        z = start if len(rest) == len(trusted) else model.fit(rest, start)
        ttft[here], tpot[here] = model.predict(z, here)
    runs = model.runs
    return {
        "ttft": _spread(np.log(runs.ttft_s / ttft), pairs),
        "tpot": _spread(np.log(runs.tpot_s / tpot), pairs),
    }


def _widening(errors: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Whoever knows less is not surer: where chance has it otherwise, the wider error holds for both."""
    below = {
        "pair": ("sample",),
        "model": ("pair",),
        "accelerator": ("pair",),
        "both": ("model", "accelerator"),
    }
    for name, others in below.items():
        errors[name] = {
            metric: max(value, *(errors[other][metric] for other in others))
            for metric, value in errors[name].items()
        }
    return errors


def to_toml(residuals: dict[str, Residual]) -> str:
    """The file of the shipped residuals; factors next to 1 are left out, their keys are not."""
    parts = [_HEAD]
    for name, residual in residuals.items():
        parts.append(f'[{name}]\nsource = "{residual.source}"\n')
        parts.append(_table(f"{name}.scales", residual.scales))
        parts += [_table(f"{name}.errors.{key}", values) for key, values in residual.errors.items()]
        for key, factors in sorted(residual.effects.items()):
            told = {term: value for term, value in factors.items() if abs(np.log(value)) > _NEGLIGIBLE}
            parts.append(_table(f'{name}.effects."{key}"', told))
    return "\n".join(parts)


def _table(name: str, values: dict[str, float] | object) -> str:
    assert isinstance(values, dict)
    return f"[{name}]\n" + "".join(f"{key} = {value:.4g}\n" for key, value in values.items())


def _spread(errors: Array, groups: Sequence[str]) -> float:
    low, high = interval_factors(errors, groups)[""]
    return float(np.log(high / low) / _NINE_TENTHS)


def main() -> None:
    """Write the file."""
    data = Path(sys.argv[1])
    shipped = Path(__file__).parents[3] / "models" / "foretell" / "models" / "data" / "residual.toml"
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else shipped
    rows = [row for row in measured_rows(data).rows if row.judged]
    tables = f"{PACKAGE} {version(PACKAGE)}"
    trusted = sum(not row.run.set_aside for row in rows)
    made = f"{trusted} InferenceX runs of 2025-10 to 2026-04, {tables}; fitted {date.today()}"
    target.write_text(
        to_toml({name: fitted(rows, name, made) for name in ("silicon", "curves")}), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
