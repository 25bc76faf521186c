"""A sweep of queueing models as it could have come out, with something of every kind in it."""

from __future__ import annotations

import math

from foretell.validate.theory import Theory
from foretell.validate.theory_batching import Point, Truths
from foretell.validate.theory_replications import Row
from foretell.validate.theory_truth import FIGURES, Truth

MADE = {"date": "2026-11-22", "effort": "full", "seed": 0, "cpu_s": 12.5}


def row(
    model: str = "M/M/1", kind: str = "exact", load: float = 0.5, theory: float = 1.0, mean: float = 1.02
) -> Row:
    return Row(model, kind, "engine", "mean wait", load, theory, mean, 0.02, 10, math.nan)


def point(figure: str = "tpot_mean", load: float = 0.5, closed: float = 1.0, error: float = 0.01) -> Point:
    return Point("fixed", figure, load, closed, 1.0, error, 8, load > 0.9)


def sample() -> Theory:
    truth = Truth(25.0, dict.fromkeys(FIGURES, 0.05), dict.fromkeys(FIGURES, 0.001), 8)
    truths = {"fixed": Truths(Truth(50.0, {"capacity": 50.0}, {"capacity": 0.5}, 4), {0.5: truth})}
    rows = (row(), row("M/D/1", load=0.9, theory=2.0), row("M/G/8, Kimura", "approximation", theory=1.5))
    points = (
        point("capacity", math.nan, 1.01),
        point(),
        point("ttft_mean", 0.8, 1.9),
        point("ttft_mean", 0.95, 3.0),
        point("ttft_p99", 0.8, math.inf),
        point("e2e_mean", 0.8, 1.11, 0.02),
        *(point(figure) for figure in ("e2e_p99", "tpot_p99")),
    )
    return Theory(MADE, rows, truths, points, ("ciw is not installed",))
