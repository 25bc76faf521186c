"""Frontiers: the best accuracy that a cost buys, which model reaches it, and where that changes.

As in Kinetics (arXiv 2506.05333, cost_model/long_CoT/frontier_genlen.ipynb): for every model and query the
best coverage among the configurations within a cost; the mean over queries; the best over models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def log_costs(low: float, high: float, count: int = 100) -> FloatArray:
    """Costs evenly spaced on a logarithmic axis, both ends included."""
    if not 0 < low < high:
        raise ValueError(f"costs: {low!r} to {high!r} is not a range of positive numbers")
    return np.asarray(np.geomspace(low, high, count))


def best_within(
    costs: npt.ArrayLike, config_costs: npt.ArrayLike, coverage: npt.ArrayLike, weights: npt.ArrayLike = 1.0
) -> FloatArray:
    """Mean over queries of the best coverage among the configurations of a query within a cost.

    Args:
        costs: (n,) budgets.
        config_costs, coverage: (queries, configurations); they broadcast. A query without a configuration
            within a cost counts as missed.
        weights: (queries,) of the mean; they need not add up to 1.

    Returns:
        (n,) accuracies, never falling in `costs`.

    """
    spent, right = np.broadcast_arrays(np.atleast_2d(config_costs), np.atleast_2d(coverage))
    weight = np.broadcast_to(np.asarray(weights, dtype=np.float64), spent.shape[:1])
    order = np.argsort(spent, axis=1)
    spent = np.take_along_axis(spent, order, axis=1)
    best = np.maximum.accumulate(np.take_along_axis(right, order, axis=1), axis=1)
    budgets = np.asarray(costs, dtype=np.float64)
    total = np.zeros(budgets.shape)
    for one_spent, one_best, share in zip(spent, best, weight, strict=True):
        within = np.searchsorted(one_spent, budgets, side="right")
        total += share * np.where(within > 0, one_best[within - 1], 0.0)
    return np.asarray(total / weight.sum())


@dataclass(frozen=True, slots=True)
class Frontier:
    """The best over models at every cost.

    Attributes:
        costs: (n,) rising.
        accuracy: (n,) of the best model.
        model: (n,) its name.

    """

    costs: FloatArray
    accuracy: FloatArray
    model: tuple[str, ...]

    def cost_at(self, accuracy: npt.ArrayLike) -> FloatArray:
        """Least cost that reaches an accuracy, between points by its logarithm; NaN where none does."""
        return cost_at(self.costs, self.accuracy, accuracy)


def frontier(costs: npt.ArrayLike, curves: Mapping[str, npt.ArrayLike]) -> Frontier:
    """The upper envelope of models' curves over the same costs; the earlier model wins a tie."""
    names = list(curves)
    table = np.array([np.asarray(curves[name], dtype=np.float64) for name in names])
    best = table.argmax(axis=0)
    spent = np.asarray(costs, dtype=np.float64)
    return Frontier(spent, table.max(axis=0), tuple(names[i] for i in best))


@dataclass(frozen=True, slots=True)
class Switch:
    """Where the frontier changes its model: names, and the accuracy and cost of the crossing."""

    before: str
    after: str
    accuracy: float
    cost: float


def switches(costs: npt.ArrayLike, curves: Mapping[str, npt.ArrayLike], floor: float = 0.0) -> list[Switch]:
    """Crossings of curves on the frontier, in order of cost.

    Between two costs both curves are taken to be straight in the logarithm of the cost. Changes below the
    accuracy `floor` are left out, as are those between models that are both at zero.
    """
    top = frontier(costs, curves)
    logs = np.log(top.costs)
    found = []
    for i in range(1, len(logs)):
        old, new = top.model[i - 1], top.model[i]
        if old == new:
            continue
        (a0, a1), (b0, b1) = (
            np.asarray(curves[name], dtype=np.float64)[i - 1 : i + 1] for name in (old, new)
        )
        gap = (a0 - b0) - (a1 - b1)
        share = (a0 - b0) / gap if gap > 0 else 1.0
        accuracy = float(a0 + share * (a1 - a0))
        if accuracy > floor:
            cost = float(np.exp(logs[i - 1] + share * (logs[i] - logs[i - 1])))
            found.append(Switch(old, new, accuracy, cost))
    return found


def cost_at(costs: npt.ArrayLike, curve: npt.ArrayLike, accuracy: npt.ArrayLike) -> FloatArray:
    """Least cost at which a curve that never falls reaches an accuracy; NaN above its end or below its start.

    Between two points it is straight in the logarithm of the cost.
    """
    heights = np.maximum.accumulate(np.asarray(curve, dtype=np.float64))
    logs = np.log(np.asarray(costs, dtype=np.float64))
    wanted = np.asarray(accuracy, dtype=np.float64)
    i = np.clip(np.searchsorted(heights, wanted, side="left"), 1, len(heights) - 1)
    rise = heights[i] - heights[i - 1]
    share = np.divide(wanted - heights[i - 1], rise, out=np.ones_like(wanted), where=rise > 0)
    reached = np.exp(logs[i - 1] + share * (logs[i] - logs[i - 1]))
    return np.asarray(np.where((wanted <= heights[-1]) & (wanted >= heights[0]), reached, np.nan))


def saving(dense: Frontier, sparse: Frontier, accuracy: npt.ArrayLike) -> FloatArray:
    """How many times less the second frontier costs at an accuracy; NaN where one of them is not there."""
    return dense.cost_at(accuracy) / sparse.cost_at(accuracy)


def truncated_accuracy(
    generated: npt.ArrayLike, ceiling: npt.ArrayLike, half_tokens: npt.ArrayLike, spread: npt.ArrayLike
) -> FloatArray:
    """Accuracy of answers cut after g tokens: A/(1 + exp(−(ln g − ln g50)/s)).

    An empirical law of truncate-then-extract on AIME with Qwen3 (s ≈ 0.4, g50 5 to 7 thousand tokens): the
    log-logistic law of answers' lengths times the accuracy A of whole answers. Valid to about 32 thousand
    tokens, where those answers were cut.
    """
    g, a, half, s = (np.asarray(x, dtype=np.float64) for x in (generated, ceiling, half_tokens, spread))
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(a / (1 + np.exp(-(np.log(g) - np.log(half)) / s)))


def budget_factor(budget: npt.ArrayLike, scale: npt.ArrayLike, shape: npt.ArrayLike) -> FloatArray:
    """Share of the accuracy that attention to B KV tokens keeps: A(B)/A∞ = 1 − exp(−(B/B₀)^κ).

    B₀ = `scale` tokens, κ = `shape`. No law is published; `foretell validate kinetics` fits this one to
    the oracle top-k frontiers of Qwen3 on AIME24, budgets of 128 to 2048 tokens: outside it is a guess.
    """
    b, b0, kappa = (np.asarray(x, dtype=np.float64) for x in (budget, scale, shape))
    with np.errstate(over="ignore"):
        return np.asarray(-np.expm1(-((b / b0) ** kappa)))
