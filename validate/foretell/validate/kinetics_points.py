"""The paper's own points, from a folder of recordings: accuracy against cost, curve by curve."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
CURVES = "aime24_longcot_acc_vs_cost_from_vector_pdf.csv"
ATTENTION = {"dense": "dense", "topk_sparse": "top-k"}


@dataclass(frozen=True, slots=True)
class PaperCurves:
    """Long-CoT accuracy on AIME24, smoothed over three points by the authors.

    Attributes:
        costs: (n,) eFLOPs per query.
        dense, sparse: (n,) accuracies by size of the model; sparse with oracle top-k attention.

    """

    costs: FloatArray
    dense: Mapping[str, FloatArray]
    sparse: Mapping[str, FloatArray]


def paper_curves(folder: Path) -> PaperCurves:
    """Read the curves in kinetics/ below a folder of recordings.

    Raises:
        ValueError: the file is missing, or its curves are not over the same costs.

    """
    path = folder / "kinetics" / CURVES
    if not path.is_file():
        raise ValueError(f"--data: {folder} has no kinetics/{CURVES}")
    found: dict[str, dict[str, list[tuple[float, float]]]] = {name: {} for name in ATTENTION}
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            point = float(row["cost_tera_eflops"]) * 1e12, float(row["accuracy_smoothed3"])
            found[row["attention"]].setdefault(row["model"], []).append(point)
    tables = {kind: {size: np.array(points) for size, points in of.items()} for kind, of in found.items()}
    every = [table for of in tables.values() for table in of.values()]
    if any(table.shape != every[0].shape or not np.allclose(table[:, 0], every[0][:, 0]) for table in every):
        raise ValueError(f"{CURVES}: its curves are not over the same costs")
    dense, sparse = ({s: t[:, 1] for s, t in tables[kind].items()} for kind in ATTENTION)
    return PaperCurves(every[0][:, 0], dense, sparse)
