"""Accuracy against the cost of thinking: Kinetics' long-CoT curves, from profiles cut as its script cuts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foretell.models.accuracy.lengths import Traces
from foretell.models.accuracy.profile import single
from foretell.models.accuracy.truncation import forced_answer
from foretell.models.kinetics import PAPER, PAPER_INTENSITY, DecoderShape, query_cost
from foretell.models.kinetics_paper import paper_models
from foretell.models.outcomes import FloatArray, Outcomes
from foretell.models.profiles import load_outcomes
from foretell.validate.kinetics_points import paper_curves

if TYPE_CHECKING:
    import pandas as pd

BUDGETS = 2048.0 * np.arange(1, 17)
"""max_tokens that the paper tries."""
PROMPT = 159
_QUANTILES = 60

AT_16K = {"qwen3-14b": (10_859.0, 0.700)}
"""Mean tokens and accuracy on AIME 2024 at a budget of 16,000: BugSmith/DEER README.md, edition of
2025-05-20, read 2026-11-21. The Qwen3 profiles' `settling` lies between what it and
Kinetics' curve of Qwen3-1.7B ask for: the check is not wholly held out."""


def curve(profile: Outcomes, shape: DecoderShape, eflops: FloatArray, settling: bool = True) -> FloatArray:
    """Accuracy at costs of a query, as Kinetics' script defines it (cost_model_genlen.py@c1eafe3).

    The accuracy of a problem at a budget of tokens is that of its truncated traces, in which an answer that
    was already written counts: `settling` of the profile (without: only ended traces count). Its cost is the
    mean over its traces. At a given cost every problem has the largest budget that it can afford, so an easy
    one has its whole traces where a hard one is still cut: the curve lies far left of one over budgets.
    """
    from scipy.special import ndtri

    weight, chance, log_median = profile.problem_grid(120, 7)
    traces = Traces(chance, log_median, profile.lengths)
    deviates = ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    length = np.exp(log_median[:, None] + profile.lengths.sd_within * deviates)
    length = np.minimum(length, profile.lengths.cap_tokens)
    priced = np.geomspace(1, profile.lengths.cap_tokens, 500)
    price = query_cost(shape, PROMPT, priced, law=PAPER).eflops(PAPER_INTENSITY)
    costs, right = [], []
    for budget in BUDGETS:
        cut = np.minimum(length, budget)
        costs.append(np.exp(np.interp(np.log(cut), np.log(priced), np.log(price))).mean(axis=1))
        early = forced_answer(traces, budget, profile.settling, 0.0) if settling else traces.right(budget)
        right.append(early)
    spent, scores = np.stack(costs, axis=1), np.stack(right, axis=1)
    afforded = np.array([(spent <= cost).sum(axis=1) for cost in eflops])
    chosen = np.take_along_axis(scores, np.maximum(afforded - 1, 0).T, axis=1)
    return np.asarray(weight @ np.where(afforded.T > 0, chosen, 0.0))


def truncation_errors(folder: Path) -> pd.DataFrame:
    """Kinetics' dense long-CoT curves on AIME 2024 against the bundled profiles' [points].

    Fitted to them: the median length of each size but 1.7B (whose lengths were measured elsewhere), and
    `settling` on 1.7B; of the other sizes it is 1.75, a compromise with `AT_16K`.

    Returns:
        A row a model: rms, mean and worst error of the curve, rms without answers that were already written
        (`cut_rms`) and rms if cost were one budget for all problems (`budget_rms`).

    Raises:
        ValueError: the recordings are missing.

    """
    import pandas as pd

    points = paper_curves(folder)
    rows = []
    for size, measured in points.dense.items():
        model = f"qwen3-{size.lower()}"
        profile, shape = load_outcomes("aime24", model), paper_models()[size].shape()
        error = curve(profile, shape, points.costs) - measured
        cut = curve(profile, shape, points.costs, settling=False) - measured
        grid = np.geomspace(1, 60_000, 500)
        price = query_cost(shape, PROMPT, grid, law=PAPER).eflops(PAPER_INTENSITY)
        budget = np.interp(np.log(points.costs), np.log(price), grid)
        plain = np.array([single(profile, max_tokens=float(tokens)).accuracy for tokens in budget]) - measured
        rows.append(
            {
                "model": model,
                "rms": 100 * float(np.sqrt(np.mean(error**2))),
                "mean": 100 * float(error.mean()),
                "worst": 100 * float(np.abs(error).max()),
                "cut_rms": 100 * float(np.sqrt(np.mean(cut**2))),
                "budget_rms": 100 * float(np.sqrt(np.mean(plain**2))),
            }
        )
    return pd.DataFrame(rows)


def length_errors() -> pd.DataFrame:
    """Mean tokens and accuracy at a budget that others measured, against profiles (see `AT_16K`)."""
    import pandas as pd

    rows = []
    for model, (tokens, accuracy) in AT_16K.items():
        told = single(load_outcomes("aime24", model), max_tokens=16_000)
        rows.append(
            {
                "model": model,
                "tokens": tokens,
                "tokens_predicted": told.tokens,
                "accuracy": accuracy,
                "accuracy_predicted": told.accuracy,
                "noise": float(np.sqrt(accuracy * (1 - accuracy) / 30)),
            }
        )
    return pd.DataFrame(rows)
