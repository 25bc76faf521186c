"""What accuracy a cost buys one model: longer chains of thought, or more trials with an oracle that picks.

Two sources of accuracy: the truncation law of a task's mean (`law_curve`), and an outcome profile, problem by
problem (`long_cot_curve`, `best_of_n_curve`). The latter chooses the best configuration of every problem as
the paper does, which nobody can who does not know the answers: a bound on one setting for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.kinetics import (
    DENSE,
    PAPER,
    PAPER_INTENSITY,
    DecoderShape,
    FloatArray,
    Law,
    Sparse,
    query_cost,
)
from foretell.models.kinetics_frontier import best_within, budget_factor, truncated_accuracy
from foretell.models.outcomes import Outcomes

CAPS = tuple(range(2048, 32_769, 2048))
"""Lengths at which the paper cuts chains."""
BUDGETS = (128, 256, 512, 1024, 2048)
"""KV tokens that its sparse attention reads; blocks have 16,384/B tokens."""
TRIALS = (1, 2, 4, 8, 16, 32)
"""Trials of its best-of-N (up to 8 for the 32B model)."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """How a configuration is priced.

    Attributes:
        intensity: FLOP a byte of memory; 0 for FLOP alone.
        law: terms of the cost law.
        batch: queries decoded together, which share reads of the parameters.

    """

    intensity: float = PAPER_INTENSITY
    law: Law = PAPER
    batch: float = 1


AS_PUBLISHED = Pricing()


@dataclass(frozen=True, slots=True)
class Kept:
    """Sparse attention to choose from, and what it leaves of the accuracy.

    Attributes:
        scale, shape: B₀ and κ of `budget_factor`.
        budgets: B to choose from.
        blocks: whole blocks of 16,384/B tokens are chosen, instead of the best tokens by an oracle.

    """

    scale: float
    shape: float
    budgets: tuple[int, ...] = BUDGETS
    blocks: bool = False


def law_curve(
    costs: npt.ArrayLike,
    shape: DecoderShape,
    truncation: tuple[float, float, float],
    prompt: float,
    pricing: Pricing = AS_PUBLISHED,
    kept: Kept | None = None,
    longest: float = 32_768,
) -> FloatArray:
    """Accuracy within each cost (FLOP or eFLOPs) of one model by the truncation law.

    Args:
        costs: (n,) per query.
        shape: the model.
        truncation: A, g50 [tokens] and s of `truncated_accuracy`; g counts tokens that were really written.
        prompt: tokens of the prompt.
        pricing: the cost law.
        kept: sparse attention to choose from; dense without.
        longest: tokens of the longest chain.

    """
    generated = np.geomspace(16, longest, 1200)
    attention, factor = _attention(kept, 1)
    spent = _price(shape, prompt, generated, 1, attention, pricing)
    reached = factor * truncated_accuracy(generated, *truncation)
    return best_within(costs, spent.reshape(1, -1), np.broadcast_to(reached, spent.shape).reshape(1, -1))


def long_cot_curve(
    costs: npt.ArrayLike,
    shape: DecoderShape,
    outcomes: Outcomes,
    pricing: Pricing = AS_PUBLISHED,
    kept: Kept | None = None,
    caps: tuple[int, ...] = CAPS,
) -> FloatArray:
    """Accuracy within each cost when every problem has its best cap (and KV budget), from an outcome profile.

    A configuration's cost is the mean over samples of what min(length, cap) tokens cost. As in the paper the
    answer is looked for in the text so far: a right trace of L tokens shows it at a cap of T with chance
    min(1, (T/L)^settling).
    """
    problems = _Problems.of(outcomes)
    cap = np.asarray(caps, dtype=np.float64).reshape(-1, 1, 1)
    attention, factor = _attention(kept, 3)
    p = problems.chance[:, None]
    spent = [
        _price(shape, outcomes.prompt_tokens, np.minimum(tokens, cap), 1, attention, pricing)
        for tokens in (problems.right_tokens, problems.wrong_tokens)
    ]
    cost = (p * spent[0] + (1 - p) * spent[1]).mean(axis=-1)  # (..., caps, problems)
    within = np.mean(np.minimum(1.0, cap / problems.right_tokens) ** outcomes.settling, axis=-1)
    right = np.broadcast_to(factor[..., 0], (*cost.shape[:-1], 1)) * problems.chance * within
    return _per_problem(costs, cost, right, problems.weight)


def chain_costs(
    shape: DecoderShape,
    outcomes: Outcomes,
    pricing: Pricing = AS_PUBLISHED,
    caps: tuple[int, ...] = CAPS,
) -> FloatArray:
    """Mean cost of a query (FLOP or eFLOPs) at each cap, one cap for all problems; dense attention."""
    problems = _Problems.of(outcomes)
    cap = np.asarray(caps, dtype=np.float64).reshape(-1, 1, 1)
    right, wrong = (
        _price(shape, outcomes.prompt_tokens, np.minimum(tokens, cap), 1, DENSE, pricing).mean(axis=-1)
        for tokens in (problems.right_tokens, problems.wrong_tokens)
    )
    mean = problems.chance * right + (1 - problems.chance) * wrong
    return np.asarray(mean @ problems.weight / problems.weight.sum())


def best_of_n_curve(
    costs: npt.ArrayLike,
    shape: DecoderShape,
    outcomes: Outcomes,
    pricing: Pricing = AS_PUBLISHED,
    kept: Kept | None = None,
    trials: tuple[int, ...] = TRIALS,
) -> FloatArray:
    """Coverage within each cost when every problem has its best number of trials, and an oracle picks.

    pass@N = 1 − (1 − p)^N; as published, a configuration costs the mean over samples of N times that length.
    """
    problems = _Problems.of(outcomes)
    n = np.asarray(trials, dtype=np.float64).reshape(-1, 1, 1)
    attention, factor = _attention(kept, 3)
    p = problems.chance[:, None]
    spent = [
        _price(shape, outcomes.prompt_tokens, tokens, n, attention, pricing)
        for tokens in (problems.right_tokens, problems.wrong_tokens)
    ]
    cost = (p * spent[0] + (1 - p) * spent[1]).mean(axis=-1)
    one = np.broadcast_to(factor[..., 0], (*cost.shape[:-1], 1)) * problems.chance
    return _per_problem(costs, cost, 1 - (1 - one) ** n[..., 0], problems.weight)


@dataclass(frozen=True, slots=True)
class _Problems:
    """Problems of a profile: (q,) weights and chances, (q, u) lengths of right and wrong samples."""

    weight: FloatArray
    chance: FloatArray
    right_tokens: FloatArray
    wrong_tokens: FloatArray

    @classmethod
    def of(cls, outcomes: Outcomes, nodes: int = 48) -> _Problems:
        from scipy.special import ndtr, ndtri

        weight, chance, log_median = outcomes.problem_grid(60, 5)
        law = outcomes.lengths
        u = (np.arange(nodes) + 0.5) / nodes
        sd = max(law.sd_within, 1e-9)
        log_cap = np.log(law.cap_tokens)
        below = ndtr((log_cap - log_median) / sd)[:, None]
        right = np.exp(np.minimum(log_median[:, None] + sd * ndtri(u * below), log_cap))
        wrong = np.exp(np.minimum(log_median[:, None] + np.log(law.wrong_ratio) + sd * ndtri(u), log_cap))
        return cls(weight, chance, right, wrong)


def _attention(kept: Kept | None, axes: int) -> tuple[Sparse, FloatArray]:
    """The budgets along a first axis before `axes` others, and the accuracy that each keeps."""
    if kept is None:
        return DENSE, np.ones([1] * axes)
    column = np.asarray(kept.budgets, dtype=np.float64).reshape(-1, *[1] * axes)
    block = np.floor(16_384 / column) if kept.blocks else None
    return Sparse(column, block), budget_factor(column, kept.scale, kept.shape)


def _price(
    shape: DecoderShape,
    prompt: float,
    generated: FloatArray,
    trials: npt.ArrayLike,
    attention: Sparse,
    pricing: Pricing,
) -> FloatArray:
    cost = query_cost(
        shape, prompt, generated, trials, attention=attention, law=pricing.law, batch=pricing.batch
    )
    return np.asarray(cost.eflops(pricing.intensity), dtype=np.float64)


def _per_problem(
    costs: npt.ArrayLike, spent: FloatArray, right: FloatArray, weight: FloatArray
) -> FloatArray:
    """Put configurations, the axes before the problems', last, and take the best of every problem."""
    price, coverage = (
        np.moveaxis(np.broadcast_to(x, spent.shape), -1, 0).reshape(len(weight), -1) for x in (spent, right)
    )
    return best_within(costs, price, coverage, weight)
