"""The closed form of measured servers' closed loops against their simulation: same rows, same costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from foretell.models.residual import Residual
from foretell.validate.frontier_rows import Times, row_times
from foretell.validate.frontier_scales import Scales, held_out, shipped
from foretell.validate.loops import Loop, simulate_rows
from foretell.validate.silicon_rows import MeasuredRow, spread

Progress = Callable[[int, int], None]


def against_simulation(
    rows: Sequence[MeasuredRow], sample: int, scales: Scales | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """How far the closed form is from the simulation, by back end and mode.

    Args:
        rows: measured ones, whose times are not looked at; those set aside are left out.
        sample: rows of each kind, drawn evenly.
        scales: as `validate_frontier` takes them.
        progress: is told how many rows are simulated.

    Returns:
        By kind: rows, and of ttft, tpot and end_to_end (TTFT and the answer) the median_ape and the bias,
        both as fractions of what is simulated.

    Raises:
        ValueError: sample < 1.

    """
    if sample < 1:
        raise ValueError(f"sample {sample!r} is not a number of rows >= 1")
    known = shipped() if scales is None else scales
    kinds: dict[str, list[MeasuredRow]] = {}
    for row in rows:
        if not row.run.set_aside:
            kinds.setdefault(_kind(row), []).append(row)
    chosen = [row for name in sorted(kinds) for row in spread(kinds[name], sample)]
    simulated = simulate_rows([Loop(row, Residual(held_out(row, known))) for row in chosen], progress)
    found: dict[str, list[tuple[Times, Times, float]]] = {}
    for row, truth in zip(chosen, simulated, strict=True):
        told = row_times(row, held_out(row, known))
        if not isinstance(truth, str) and not isinstance(told, str):
            gaps = sum(row.run.output_tokens) / 2 - 1
            found.setdefault(_kind(row), []).append((told, (truth.ttft_s, truth.tpot_s), gaps))
    return {name: _errors(pairs) for name, pairs in found.items()}


def _kind(row: MeasuredRow) -> str:
    return f"{row.run.backend} {row.mode}" + (
        "" if row.judged or row.run.backend != "vllm" else ", not judged"
    )


def _errors(pairs: Sequence[tuple[Times, Times, float]]) -> dict[str, Any]:
    told, true, gaps = (np.array(column) for column in zip(*pairs, strict=True))
    columns = {
        "ttft": told[:, 0] / true[:, 0],
        "tpot": told[:, 1] / true[:, 1],
        "end_to_end": (told[:, 0] + gaps * told[:, 1]) / (true[:, 0] + gaps * true[:, 1]),
    }
    return {"rows": len(pairs)} | {
        name: {"median_ape": float(np.median(np.abs(ratio - 1))), "bias": float(np.median(ratio - 1))}
        for name, ratio in columns.items()
    }
