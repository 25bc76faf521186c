"""The page of `foretell validate kinetics`: our curves beside the paper's points."""

from __future__ import annotations

from html import escape

import numpy as np

from foretell.models.kinetics_frontier import frontier
from foretell.models.kinetics_paper import SIZES
from foretell.sim.report.page import document, figure, table
from foretell.sim.report.svg import legend
from foretell.validate.kinetics import B200_FLOPS, Check, grid, reported
from foretell.validate.kinetics_charts import Line, line, over_costs
from foretell.validate.kinetics_summary import Result, law_over_points

BY = {
    "formula": "a formula alone",
    "law": "truncation and budget laws fitted to the paper's curves",
    "profile": "outcome profiles, problem by problem",
    "points": "the paper's own curves, read by our tools",
}


def render(result: Result) -> str:
    """One offline page."""
    body = [
        "<h1>Kinetics: what accuracy costs once memory counts</h1>",
        f"<p>The paper's figures ({escape(_PAPER)}) and ours. {escape(_SETTING)}</p>",
        "<h2>The paper's figures beside ours</h2>",
        _checks(result.checks),
        f"<p>{_eight(result)}</p>",
        *_fitted(result),
        "<h2>Frontiers by kind of cost</h2>",
        f"<p>{escape(_LINES)}</p>",
        '<div class="pair">',
        *(_models(result, cost) for cost in ("FLOPs", "eFLOPs")),
        "</div>",
        legend(SIZES),
        "<h2>Sparse attention</h2>",
        f"<p>{escape(_SPARSE)}</p>",
        '<div class="pair">',
        *(_tops(result, name) for name in result.tops),
        "</div>",
        legend(list(next(iter(result.tops.values())))),
        "<h2>Sources</h2>",
        table(["figure", "source"], _rows(reported()["sources"].items()), "", "text"),
    ]
    return document("Kinetics", "".join(body))


_PAPER = "Sadhukhan et al., arXiv 2506.05333, 2025"
_SETTING = (
    "AIME24, Qwen3 from 0.6B to 32B, chains cut at up to 32,768 tokens, bf16 KV; a cost is of one query, in "
    "floating-point operations (FLOPs) or with 562.5 more for every byte of KV read (eFLOPs)."
)
_LINES = (
    "Full lines: outcome profiles, where every problem has the best of 16 lengths within the cost, as in the "
    "paper. Dashed: the truncation law of the mean, one length for all. The switch points above are where "
    "the highest curve changes."
)
_SPARSE = (
    "The accuracy that a KV budget keeps is a law fitted to the top-k curves of long CoT, alike for all "
    "problems. Best-of-N and block top-k are forecasts by it and too good: a small budget costs hard "
    "problems more than easy ones, and blocks are chosen here as well as by an oracle."
)


def _checks(checks: list[Check]) -> str:
    rows = ((c.name, _number(c.paper), _number(c.ours), _spread(c), BY[c.by]) for c in checks)
    return table(
        ["figure", "paper", "ours", "90 % of resamples, or all crossings", "ours from"], _rows(rows), ""
    )


def _spread(check: Check) -> str:
    if len(check.crossings) > 1:
        return f"all crossings: {', '.join(_number(x) for x in check.crossings)}"
    return "" if check.interval is None else " to ".join(_number(x) for x in check.interval)


def _eight(result: Result) -> str:
    ever = [BY[by] for by, yes in result.eight_on_frontier.items() if yes]
    here = f"is so here by {' and '.join(ever)}" if ever else "is not here either"
    return f"The 8B model, never the best by eFLOPs in the paper, {here}."


def _fitted(result: Result) -> list[str]:
    if result.fits is None or result.points is None:
        return ["<p>The paper's curves are not at hand: --data names a folder with kinetics/.</p>"]
    points, ours = result.points, law_over_points(result.points)
    charts = []
    for name, theirs in (("dense", points.dense), ("top-k", points.sparse)):
        series = {s: (Line(points.costs, ours[name][s], points.costs, theirs[s]),) for s in SIZES}
        chart = over_costs(series, f"{name}: curves by model", "eFLOPs per query", 2e13, 2e16)
        charts.append(figure(chart, f"{name}: the paper's points, our laws as lines"))
    series = {
        s: (Line(grid("eFLOPs"), result.profile["eFLOPs"][s], points.costs, points.dense[s]),) for s in SIZES
    }
    chart = over_costs(series, "dense: outcome profiles by model", "eFLOPs per query", 2e13, 2e16)
    charts.append(figure(chart, "dense: the paper's points, outcome profiles as lines"))
    fits = result.fits
    rows = (
        (
            size,
            f"{t.half_tokens:,.0f}",
            f"{t.spread:.3f}",
            f"{100 * t.rmse:.1f}",
            f"{100 * fits.left_out[size]:.1f}" if size in fits.left_out else "",
        )
        for size, t in fits.truncation.items()
    )
    heads = [
        "model",
        "g50 [tokens]",
        "s",
        "dense, off by [points]",
        "top-k by the others' law, off by [points]",
    ]
    about = (
        f"KV budget: A(B) = A∞·(1 − exp(−(B/{fits.budget.scale:.0f})^{fits.budget.shape:.2f})), fitted to "
        "four models together. The last column leaves the model out of that fit; 14B, set aside throughout, "
        "fits with budgets from 512 tokens on only, and seems to have had no smaller ones."
    )
    return [
        "<h2>Long chains of thought: the paper's points and the laws</h2>",
        '<div class="pair">',
        *charts,
        "</div>",
        legend(SIZES),
        table(heads, _rows(rows), "Root mean square errors over the 100 points of each curve"),
        f"<p>{escape(about)}</p>",
    ]


def _models(result: Result, cost: str) -> str:
    costs = grid(cost)
    series = {
        s: (line(costs, result.profile[cost][s]), line(costs, result.law[cost][s], dashed=True))
        for s in SIZES
    }
    chart = over_costs(series, f"Accuracy by {cost}", f"{cost} per query", costs[0], costs[-1])
    top = frontier(costs, result.profile[cost])
    held = [s for s in SIZES if s in top.model]
    return figure(chart, f"By {cost}: {', '.join(held)} are the best somewhere")


def _tops(result: Result, name: str) -> str:
    series = {kind: (line(top.costs, top.accuracy),) for kind, top in result.tops[name].items()}
    chart = over_costs(series, f"{name}: frontiers by attention", "eFLOPs per query", 1e13, 3e17)
    end = max(float(top.accuracy[-1]) for top in result.tops[name].values())
    return figure(chart, f"{name}: up to {100 * end:.0f} %, 10¹⁶ eFLOPs are {1e16 / B200_FLOPS:.1f} B200-s")


def _rows(rows: object) -> str:
    assert hasattr(rows, "__iter__")
    made = []
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in rest)
        made.append(f"<tr><th scope=row>{escape(str(first))}</th>{cells}</tr>")
    return "".join(made)


def _number(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return "never"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
