"""All that `foretell validate kinetics` says, as one table of plain figures and the curves for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretell.models.kinetics import PAPER, query_cost
from foretell.models.kinetics_curves import Kept, Pricing, best_of_n_curve, law_curve, long_cot_curve
from foretell.models.kinetics_frontier import Frontier, frontier
from foretell.models.kinetics_paper import paper_kept, paper_models, prompt_tokens
from foretell.validate.kinetics import (
    B200_FLOPS,
    COSTS,
    Check,
    Curves,
    Found,
    block_checks,
    flops_choice_times,
    frontiers,
    grid,
    growth_checks,
    law_curves,
    on_frontier,
    profile_curves,
    reported,
    shape_checks,
    sparse_checks,
    switch_checks,
)
from foretell.validate.kinetics_fit import (
    SparseFit,
    Truncation,
    ceiling,
    fit_budget,
    fit_truncation,
    resampled,
    tokens_of,
    unit_curve,
)
from foretell.validate.kinetics_points import PaperCurves, paper_curves

RESAMPLES = 40
POOLED = ("1.7B", "4B", "8B", "32B")
"""Sizes whose top-k curves the law of the KV budget is fitted to. 0.6B solves too little to tell; 14B lies
below its smaller and its larger neighbour at equal cost, which no law in the model's size can do, and fits
this law when budgets of 128 and 256 are left out: they seem not to be in its runs."""
LARGER = (512, 1024, 2048)


@dataclass(frozen=True, slots=True)
class Fits:
    """Laws fitted to the paper's points.

    Attributes:
        truncation: by size.
        budget: shared by `POOLED`.
        left_out: by size, root mean square error of its top-k curve by the law of the other pooled sizes,
            only A∞ being its own; 14B with budgets from 512 on.

    """

    truncation: Mapping[str, Truncation]
    budget: SparseFit
    left_out: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """What was found.

    Attributes:
        checks: the paper's figures beside ours.
        fits, points: of the paper's curves; None where these are not at hand.
        law, profile: long-CoT curves over `grid` by kind of cost, from truncation laws and outcome profiles.
        tops: frontiers of "long CoT" and "best-of-N" by eFLOPs from profiles: dense, top-k, block top-k.
        eight_on_frontier: whether the 8B model is ever the best by eFLOPs, by law and by profile.

    """

    checks: list[Check]
    fits: Fits | None
    points: PaperCurves | None
    law: Mapping[str, Curves]
    profile: Mapping[str, Curves]
    tops: Mapping[str, Mapping[str, Frontier]]
    eight_on_frontier: Mapping[str, bool]


def kinetics(folder: Path | None) -> Result:
    """Do all of it; with the folder of recordings the paper's own points too.

    Raises:
        ValueError: the folder is given and has no such points.

    """
    points = paper_curves(folder) if folder is not None else None
    law = {cost: law_curves(cost) for cost in COSTS}
    profile = {cost: profile_curves(long_cot_curve, cost) for cost in COSTS}
    tops = {"long CoT": frontiers(long_cot_curve), "best-of-N": frontiers(best_of_n_curve)}
    fits = fit_all(points) if points is not None else None
    spreads = _drawn(points, fits) if points is not None and fits is not None else None
    times, where = flops_choice_times(profile)
    told = reported()["claims"]
    checks = [
        *shape_checks(),
        *switch_checks(_over_grid(law), "law", spreads),
        *switch_checks(_over_grid(profile), "profile"),
        Check(
            f"FLOPs-optimal over eFLOPs-optimal cost, at {where:.2f}",
            told["flops_choice_times"],
            times,
            "profile",
        ),
        *sparse_checks(tops["long CoT"], tops["best-of-N"], "profile"),
        *block_checks(tops["long CoT"]),
        *growth_checks(),
    ]
    if points is not None:
        both = {
            "dense": frontier(points.costs, dict(points.dense)),
            "top-k": frontier(points.costs, dict(points.sparse)),
        }
        checks += switch_checks(_found_in(points), "points") + sparse_checks(both, {}, "points")
    eight = {by: on_frontier("eFLOPs", c["eFLOPs"], "8B") for by, c in (("law", law), ("profile", profile))}
    return Result(checks, fits, points, law, profile, tops, eight)


def fit_all(points: PaperCurves) -> Fits:
    """The laws of length and of the KV budget from the paper's points."""
    models, prompt = paper_models(), prompt_tokens()
    shapes = {size: m.shape() for size, m in models.items()}
    truncation = {
        size: fit_truncation(shapes[size], points.costs, points.dense[size], m.pass_at_1["aime24"], prompt)
        for size, m in models.items()
    }

    def fit(sizes: tuple[str, ...]) -> SparseFit:
        return fit_budget(shapes, truncation, points.costs, points.sparse, prompt, sizes)

    pooled = fit(POOLED)
    left_out = {}
    for size in (*POOLED, "14B"):
        others = fit(tuple(s for s in POOLED if s != size)) if size in POOLED else pooled
        kept = Kept(others.scale, others.shape, LARGER) if size == "14B" else Kept(others.scale, others.shape)
        made = unit_curve(shapes[size], truncation[size], points.costs, prompt, kept)
        off = ceiling(made, points.sparse[size]) * made - points.sparse[size]
        left_out[size] = float(np.sqrt(np.mean(off**2)))
    return Fits(truncation, pooled, left_out)


def law_over_points(points: PaperCurves) -> dict[str, dict[str, Any]]:
    """Our curves by the shipped laws over the paper's own costs: {"dense" | "top-k": {size: accuracies}}."""
    models, prompt = paper_models(), prompt_tokens()
    return {
        name: {
            size: law_curve(points.costs, m.shape(), m.truncation(sparse=kept is not None), prompt, kept=kept)
            for size, m in models.items()
        }
        for name, kept in (("dense", None), ("top-k", paper_kept()))
    }


def _over_grid(curves: Mapping[str, Curves]) -> dict[str, Found]:
    return {cost: Found(grid(cost), of) for cost, of in curves.items()}


def _found_in(points: PaperCurves) -> dict[str, Found]:
    """The paper's dense curves by eFLOPs, and by FLOPs, each cost turned into tokens and these into FLOP."""
    by_flops = {}
    for size, model in paper_models().items():
        shape = model.shape()
        generated = tokens_of(shape, points.costs, prompt_tokens())
        flops = query_cost(shape, prompt_tokens(), generated, law=PAPER).flops
        by_flops[size] = np.interp(np.log(grid("FLOPs")), np.log(flops), points.dense[size])
    return {"FLOPs": Found(grid("FLOPs"), by_flops), "eFLOPs": Found(points.costs, dict(points.dense))}


def _drawn(points: PaperCurves, fits: Fits) -> dict[str, list[Found]]:
    """Law curves after resampling what the truncation laws leave of the paper's dense curves."""
    models, prompt = paper_models(), prompt_tokens()
    drawn: dict[str, list[Found]] = {cost: [] for cost in COSTS}
    for seed in range(RESAMPLES):
        laws = {
            size: resampled(m.shape(), points.costs, points.dense[size], fits.truncation[size], prompt, seed)
            for size, m in models.items()
        }
        for cost, intensity in COSTS.items():
            curves = {
                s: law_curve(grid(cost), m.shape(), laws[s].figures, prompt, Pricing(intensity))
                for s, m in models.items()
            }
            drawn[cost].append(Found(grid(cost), curves))
    return drawn


def plain_figures(result: Result) -> dict[str, Any]:
    """The result without its curves, for JSON."""
    fits = result.fits
    return {
        "checks": [
            {
                "name": c.name,
                "paper": c.paper,
                "ours": c.ours,
                "difference": None if c.ours is None else c.ours - c.paper,
                "by": c.by,
                "interval_90": c.interval,
                "crossings": c.crossings,
            }
            for c in result.checks
        ],
        "eight_on_eflops_frontier": dict(result.eight_on_frontier),
        "fits": None
        if fits is None
        else {
            "truncation": {
                s: {"half_tokens": t.half_tokens, "spread": t.spread, "rmse": t.rmse}
                for s, t in fits.truncation.items()
            },
            "budget": {
                "scale": fits.budget.scale,
                "shape": fits.budget.shape,
                "rmse": dict(fits.budget.rmse),
            },
            "budget_left_out_rmse": dict(fits.left_out),
        },
        "b200_flops": B200_FLOPS,
        "sources": reported()["sources"],
    }
