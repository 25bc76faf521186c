"""Kinetics done again: the paper's figures beside ours, with what we cannot reproduce and why."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models.kinetics import PAPER, PAPER_INTENSITY, attention_over_parameters
from foretell.models.kinetics_curves import Kept, Pricing, best_of_n_curve, law_curve
from foretell.models.kinetics_frontier import Frontier, frontier, log_costs, switches
from foretell.models.kinetics_paper import PaperModel, paper_kept, paper_models, prompt_tokens
from foretell.models.kinetics_settings import best_chain, best_trials
from foretell.models.profiles import load_outcomes

FloatArray = npt.NDArray[np.float64]
B200_FLOPS = 4.5e15
"""eFLOPs that the paper calls a second of a B200."""
COSTS = {"FLOPs": 0.0, "eFLOPs": PAPER_INTENSITY}
Curves = dict[str, FloatArray]
_GROWTH = "budget_per_doubling", "tokens_per_doubling"


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of the paper beside ours.

    Attributes:
        name: what it is of.
        paper, ours: the figures; ours is None where there is none.
        by: what ours comes from: "formula", "law" (truncation law), "profile" (outcome profiles) or "points"
            (the paper's own curves, read by our tools).
        interval: 90 % of ours over resampled curves, where that was done.
        crossings: of a switch, every accuracy at which the same two curves change places that way.

    """

    name: str
    paper: float
    ours: float | None
    by: str
    interval: tuple[float, float] | None = None
    crossings: tuple[float, ...] = ()


@cache
def reported() -> dict[str, Any]:
    """The paper's figures as data/kinetics.toml quotes them."""
    return tomllib.loads((files("foretell.validate") / "data" / "kinetics.toml").read_text(encoding="utf-8"))


def grid(cost: str) -> FloatArray:
    """100 log-spaced costs, from what nothing is solved with to where every curve is flat."""
    return log_costs(1e13, 1e17) if cost == "FLOPs" else log_costs(1e14, 1e18)


def law_curves(cost: str, kept: Kept | None = None, costs: FloatArray | None = None) -> Curves:
    """Long-CoT curves of all models by their truncation laws."""
    pricing, spent = Pricing(COSTS[cost]), grid(cost) if costs is None else costs
    return {
        size: law_curve(
            spent, m.shape(), m.truncation(sparse=kept is not None), prompt_tokens(), pricing, kept
        )
        for size, m in paper_models().items()
    }


def profile_curves(
    strategy: Callable[..., FloatArray],
    cost: str,
    kept: Kept | None = None,
    costs: FloatArray | None = None,
    task: str = "aime24",
) -> Curves:
    """Curves of all models from their outcome profiles, by `long_cot_curve` or `best_of_n_curve`."""
    pricing, spent = Pricing(COSTS[cost]), grid(cost) if costs is None else costs

    def made(size: str, m: PaperModel) -> FloatArray:
        fewer = {"trials": (1, 2, 4, 8)} if strategy is best_of_n_curve and size == "32B" else {}
        return strategy(spent, m.shape(), load_outcomes(task, m.architecture), pricing, kept, **fewer)

    return {size: made(size, m) for size, m in paper_models().items()}


def shape_checks() -> list[Check]:
    """KV at 32K tokens and Φ of every size."""
    told, models = reported(), paper_models()
    kv = {size: float(m.shape().kv_bytes_of(32_768)) / 2**30 for size, m in models.items()}
    phi = {size: float(attention_over_parameters(m.shape(), 4096, 256)) for size, m in models.items()}
    return [
        *(Check(f"KV at 32K tokens, {s} [GiB]", told["kv_gib"][s], kv[s], "formula") for s in models),
        *(Check(f"Φ at 4096 tokens, {s}", told["phi"][s], phi[s], "formula") for s in models),
    ]


@dataclass(frozen=True, slots=True)
class Found:
    """Curves of all models over costs of one kind."""

    costs: FloatArray
    curves: Curves

    def crossings(self, pair: tuple[str, str]) -> list[float]:
        """Accuracies above 0.2 at which the frontier goes from one model to another, in order of cost."""
        top = switches(self.costs, self.curves, 0.2)
        return [s.accuracy for s in top if (s.before, s.after) == pair]


def switch_checks(
    found: Mapping[str, Found], by: str, spreads: Mapping[str, list[Found]] | None = None
) -> list[Check]:
    """Accuracies at which frontiers last change from model to model, by kind of cost."""
    checks = []
    for one in reported()["switches"]:
        pair = one["before"], one["after"]
        crossed = found[one["cost"]].crossings(pair)
        drawn = [c[-1] for f in (spreads or {}).get(one["cost"], []) if (c := f.crossings(pair))]
        ends = np.quantile(drawn, (0.05, 0.95)) if len(drawn) >= 20 else None
        checks.append(
            Check(
                f"{one['cost']}: {pair[0]} → {pair[1]}",
                one["accuracy"],
                crossed[-1] if crossed else None,
                by,
                None if ends is None else (float(ends[0]), float(ends[1])),
                tuple(crossed),
            )
        )
    return checks


def models_along(cost: str, curves: Curves, step: float = 0.1) -> str:
    """Which model is the cheapest at each tenth of accuracy: "1.7B 0.3–0.5, 4B 0.6–0.9"."""
    top = frontier(grid(cost), curves)
    parts: list[tuple[str, float, float]] = []
    for accuracy in np.arange(step, float(top.accuracy[-1]), step):
        model = top.model[int(np.searchsorted(top.accuracy, accuracy))]
        first = parts.pop()[1] if parts and parts[-1][0] == model else accuracy
        parts.append((model, float(first), float(accuracy)))
    return ", ".join(f"{m} {a:.1f}" if a == b else f"{m} {a:.1f} to {b:.1f}" for m, a, b in parts)


def on_frontier(cost: str, curves: Curves, size: str, floor: float = 0.1) -> bool:
    """Whether a model is the best at any cost where the accuracy is above `floor`."""
    top = frontier(grid(cost), curves)
    return any(name == size for name, a in zip(top.model, top.accuracy, strict=True) if a > floor)


def flops_choice_times(law: Mapping[str, Curves]) -> tuple[float, float]:
    """How many times the eFLOPs of the best choice the FLOPs-optimal one costs at equal accuracy, and where.

    The model that is cheapest by FLOP is priced by eFLOPs; the greatest ratio from an accuracy of 0.3 on.
    """
    by_flops = frontier(grid("FLOPs"), law["FLOPs"])
    best = frontier(grid("eFLOPs"), law["eFLOPs"])
    single = {s: Frontier(best.costs, c, ()) for s, c in law["eFLOPs"].items()}
    wanted = np.arange(0.3, 0.8, 0.005)
    at = np.searchsorted(by_flops.accuracy, wanted)
    chosen = [by_flops.model[min(i, len(by_flops.model) - 1)] for i in at]
    times = np.array([float(single[s].cost_at(a)) for s, a in zip(chosen, wanted, strict=True)])
    ratio = times / best.cost_at(wanted)
    i = int(np.nanargmax(ratio))
    return float(ratio[i]), float(wanted[i])


def gain_at(dense: Frontier, sparse: Frontier, cost: float) -> float:
    """Points of accuracy that the second frontier is above the first at a cost."""
    high, low = (float(np.interp(np.log(cost), np.log(f.costs), f.accuracy)) for f in (sparse, dense))
    return 100 * (high - low)


def frontiers(strategy: Callable[..., FloatArray]) -> dict[str, Frontier]:
    """Dense, top-k and block top-k frontiers by eFLOPs of one strategy, from outcome profiles."""
    kinds = {"dense": None, "top-k": paper_kept(), "block top-k": paper_kept(blocks=True)}
    costs = log_costs(1e13, 1e18, 200)
    return {
        name: frontier(costs, profile_curves(strategy, "eFLOPs", kept, costs)) for name, kept in kinds.items()
    }


def sparse_checks(cot: Mapping[str, Frontier], best: Mapping[str, Frontier], by: str) -> list[Check]:
    """Savings and gains of sparse attention that the paper claims, from frontiers of both strategies."""
    told = reported()["claims"]
    checks = []
    for strategy, name, tops in (("long_cot", "long CoT", cot), ("best_of_n", "best-of-N", best)):
        if not tops:
            continue
        dense, sparse = tops["dense"], tops["top-k"]
        accuracy = told[f"topk_saving_{strategy}_accuracy"]
        less = float(dense.cost_at(accuracy) / sparse.cost_at(accuracy))
        at = told[f"gain_{strategy}_b200_s"]
        checks += [
            Check(
                f"top-k, {name}: times less cost at {accuracy:g}", told[f"topk_saving_{strategy}"], less, by
            ),
            Check(
                f"top-k, {name}: points gained at {at:g} B200-s",
                told[f"gain_{strategy}_points"],
                gain_at(dense, sparse, at * B200_FLOPS),
                by,
            ),
            Check(
                f"top-k, {name}: points gained at {told['gain_high_b200_s']:g} B200-s",
                told["gain_high_points"],
                gain_at(dense, sparse, told["gain_high_b200_s"] * B200_FLOPS),
                by,
            ),
        ]
    return checks


def block_checks(cot: Mapping[str, Frontier]) -> list[Check]:
    """Block top-k with the oracle's accuracy, hence upper bounds: nobody published its curves as figures."""
    told, dense, block = reported()["claims"], cot["dense"], cot["block top-k"]
    accuracy = told["topk_saving_long_cot_accuracy"]
    less = float(dense.cost_at(accuracy) / block.cost_at(accuracy))
    gain = 100 * float(np.max(block.accuracy - dense.accuracy))
    return [
        Check(
            f"block top-k, long CoT: times less cost at {accuracy:g}", told["block_saving"], less, "profile"
        ),
        Check("block top-k, long CoT: most points gained", told["block_gain_points"], gain, "profile"),
    ]


def growth_checks() -> list[Check]:
    """What twice the cost does to the best KV budget and to the tokens, one setting for all problems, 14B.

    Sums are exact here: the published ones make small budgets cheaper and large ones dearer than they are.
    """
    told, model, kept = reported()["claims"], paper_models()["14B"], paper_kept()
    costs, pricing = log_costs(1e13, 1e18, 400), Pricing(law=replace(PAPER, exact_sums=True))
    chain = best_chain(costs, model.shape(), model.truncation(), prompt_tokens(), kept, pricing)
    outcomes = load_outcomes("aime24", model.architecture)
    trials = best_trials(costs, model.shape(), outcomes, kept, pricing)
    checks = []
    for name, found in (
        ("long CoT", chain.per_doubling(0.1, 0.75)),
        ("best-of-N", trials.per_doubling(0.8, 0.95)),
    ):
        for what, paper, ours in zip(("budget", "tokens"), _GROWTH, found, strict=True):
            checks.append(Check(f"{name}: {what} for twice the cost, times", told[paper], ours, "law"))
    return checks
