"""How the best KV budget and the best number of tokens grow with what may be spent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.kinetics import DecoderShape, FloatArray, Sparse, query_cost
from foretell.models.kinetics_curves import AS_PUBLISHED, Kept, Pricing
from foretell.models.kinetics_frontier import budget_factor, truncated_accuracy
from foretell.models.outcomes import Outcomes

_BUDGETS = np.geomspace(32, 16_384, 300)


@dataclass(frozen=True, slots=True)
class Settings:
    """The best of one setting for all problems at every cost.

    Attributes:
        costs: (n,) eFLOPs per query.
        budget: (n,) KV tokens.
        tokens: (n,) generated per query, all trials together.
        accuracy: (n,) reached.

    """

    costs: FloatArray
    budget: FloatArray
    tokens: FloatArray
    accuracy: FloatArray

    def per_doubling(self, low: float, high: float) -> tuple[float, float]:
        """Factors on the budget and on the tokens when the cost doubles, between two accuracies.

        2 to the slope of the logarithms, by least squares.

        Raises:
            ValueError: fewer than three costs lie between them.

        """
        inside = (self.accuracy > low) & (self.accuracy < high)
        if inside.sum() < 3:
            raise ValueError(f"accuracy: fewer than three costs reach between {low:g} and {high:g}")
        logs = np.log(self.costs[inside])
        slopes = [np.polyfit(logs, np.log(values[inside]), 1)[0] for values in (self.budget, self.tokens)]
        return float(2 ** slopes[0]), float(2 ** slopes[1])


def best_chain(
    costs: npt.ArrayLike,
    shape: DecoderShape,
    truncation: tuple[float, float, float],
    prompt: float,
    kept: Kept,
    pricing: Pricing = AS_PUBLISHED,
) -> Settings:
    """Budget and length of one chain, by the truncation law and the law of the KV budget."""
    spent = np.asarray(costs, dtype=np.float64)
    grid = np.geomspace(16, 65_536, 600)
    bought = np.empty((len(_BUDGETS), len(spent)))
    for row, budget in enumerate(_BUDGETS):
        price = query_cost(
            shape, prompt, grid, attention=Sparse(budget), law=pricing.law, batch=pricing.batch
        )
        logs = np.log(price.eflops(pricing.intensity))
        bought[row] = np.exp(np.interp(np.log(spent), logs, np.log(grid)))
    kept_share = budget_factor(_BUDGETS, kept.scale, kept.shape)[:, None]
    return _best(spent, kept_share * truncated_accuracy(bought, *truncation), bought)


def best_trials(
    costs: npt.ArrayLike,
    shape: DecoderShape,
    outcomes: Outcomes,
    kept: Kept,
    pricing: Pricing = AS_PUBLISHED,
) -> Settings:
    """Budget and number of whole answers of which an oracle picks one; fractions of trials are allowed."""
    spent = np.asarray(costs, dtype=np.float64)
    weight, chance, log_median = outcomes.problem_grid(100, 5)
    lengths = np.minimum(np.exp(log_median), outcomes.lengths.cap_tokens)
    column = _BUDGETS[:, None]
    price = query_cost(
        shape,
        outcomes.prompt_tokens,
        lengths,
        attention=Sparse(column),
        law=pricing.law,
        batch=pricing.batch,
    )
    one = (price.eflops(pricing.intensity) * weight).sum(axis=-1)
    trials = spent / one[:, None]
    share = budget_factor(column, kept.scale, kept.shape)
    with np.errstate(divide="ignore"):
        misses = np.log1p(-share * chance)  # (budgets, problems)
    covered = np.stack([1 - (np.exp(n[:, None] * misses) * weight).sum(axis=-1) for n in trials.T], axis=1)
    return _best(spent, np.where(trials >= 1, covered, 0.0), trials * float((lengths * weight).sum()))


def _best(costs: FloatArray, accuracy: FloatArray, tokens: FloatArray) -> Settings:
    best = accuracy.argmax(axis=0)
    column = np.arange(len(costs))
    return Settings(costs, _BUDGETS[best], tokens[best, column], accuracy[best, column])
