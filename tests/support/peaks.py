"""What no step can beat: the peaks, on grids of loads, for any layout."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np

from foretell.models.architecture import load_architecture
from foretell.models.efficiency import PERFECT
from foretell.models.hardware import load_hardware
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.pricing import step_cost
from foretell.models.tabulate import tabulate
from foretell.models.tabulated import OPERATORS, OVERHEADS, TabulatedCost

Layout = tuple[str, str, Parallelism, Precision]
SKEW = 1.01
"""Of the experts' routing in measured tables: it reaches fewer of them than balanced routing."""
TINY = dict.fromkeys(OPERATORS, 1e-6) | dict.fromkeys(OVERHEADS, 0.0)

"""Scales by which everything would be a million times faster."""


@cache
def shipped(layout: Layout, source: str) -> TabulatedCost:
    model, accelerator, plan, precision = layout
    cost = step_cost(
        load_architecture(model), load_hardware(accelerator), plan, precision, operator_times=source
    )
    assert isinstance(cost, TabulatedCost)
    return cost


@cache
def _perfect(layout: Layout) -> TabulatedCost:
    model, accelerator, plan, precision = layout
    return tabulate(
        load_architecture(model),
        load_hardware(accelerator),
        plan,
        precision,
        efficiency=PERFECT,
        expert_skew=SKEW,
        transfer_timer=lambda transfer, x: 0.0 * x,
    )


def peaks(layout: Layout, *load: Any) -> Any:
    """Seconds of operators at all of the peaks; messages and overheads take none."""
    terms = _perfect(layout).terms(*load)
    return sum(terms[name] for name in OPERATORS)


def floors(cost: TabulatedCost) -> TabulatedCost:
    """The least by its own account, links included."""
    return dataclasses.replace(
        cost, tables=cost.floors, scales=dict.fromkeys(OVERHEADS, 0.0), factors=(1.0, 1.0), eager_s=0.0
    )


def loads() -> tuple[np.ndarray[Any, Any], ...]:
    """Steps of decoding, of prompts, of chunks after a past, and of both, as columns."""
    rows: list[tuple[float, ...]] = [
        (0, 0, 0, 0, n, n * context, n)
        for n in (1, 3, 8, 50, 64, 200, 512, 1024)
        for context in (1, 100, 1024, 5000, 9216, 32_768, 131_072)
    ]
    for seqs in (1, 2, 7):
        for tokens in (1, 16, 100, 1024, 3000, 8192):
            for past in (0, 500, 16_384):
                pairs = seqs * (tokens * past + tokens * (tokens + 1) / 2)
                at = (seqs * tokens, pairs, seqs * (tokens + past), seqs)
                rows += [(*at, n, n * 3000, n + seqs) for n in (0, 60)]
    return tuple(np.array(column, dtype=float) for column in zip(*rows, strict=True))


def never_beaten(layout: Layout, source: str) -> None:
    cost, grid = shipped(layout, source), loads()
    least = np.maximum(peaks(layout, *grid), floors(cost)(*grid))
    drawn = cost.perturbed(np.random.default_rng(0))
    for fast in (cost, cost.scaled(TINY), drawn):
        assert (fast(*grid) >= least * (1 - 1e-9)).all(), layout
    assert (cost(*grid) > least).all(), layout
