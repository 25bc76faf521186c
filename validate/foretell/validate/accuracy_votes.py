"""Majority votes: published ones of many models and, from one figure each, those of MATH-500."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foretell.models.accuracy.voting import majority_vote
from foretell.models.outcomes import Answers, Difficulty, FloatArray, Lengths, Outcomes
from foretell.models.profiles import load_outcomes

if TYPE_CHECKING:
    import pandas as pd

CONS_64 = {
    "deepseek-r1-distill-qwen-1.5b": (0.289, 0.527),
    "deepseek-r1-distill-qwen-7b": (0.555, 0.833),
    "deepseek-r1-distill-qwen-14b": (0.697, 0.800),
    "deepseek-r1-distill-qwen-32b": (0.726, 0.833),
    "deepseek-r1-distill-llama-8b": (0.504, 0.800),
    "deepseek-r1-distill-llama-70b": (0.700, 0.867),
}
"""pass@1 and cons@64 on AIME 2024, 64 samples of 30 problems: deepseek-ai/DeepSeek-R1@00f3296:README.md,
read 2026-11-21; of the models with a bundled profile."""

MATH_500 = {4: 0.855, 8: 0.886, 16: 0.890}
"""maj@k of 100 MATH-500 problems with 16 samples each, menik1126/Asynchronous-Test-Time-Scaling@bedf81d, as
the reference accuracy.md has it, 2026-11-20. The samples themselves are not at hand."""

_PROBLEMS_AIME, _PROBLEMS_MATH = 30, 100


def vote_of(profile: Outcomes, k: int) -> float:
    """maj@k over the profile's problems, every sample having an answer."""
    weight, chance, _ = profile.problem_grid(400, 1)
    return float(weight @ majority_vote(chance, k, profile.answers))


def published_votes() -> pd.DataFrame:
    """cons@64 on AIME 2024 from each model's pass@1, with the concentration fitted to the other models.

    The shape of the difficulty comes from other problems (OTIS mock AIME): only the concentration of wrong
    answers is fitted to votes, and never to the row's own.

    Returns:
        A row a model: pass_at_1, measured, predicted, shipped (the bundled profile's, which saw all of them),
        error (predicted less measured), off (without sign), noise (one standard error of 30 problems) and
        top_wrong_share.

    """
    import pandas as pd

    shares = np.linspace(0.02, 0.6, 30)
    profiles = {model: load_outcomes("aime24", model) for model in CONS_64}
    grid = {
        model: np.array([vote_of(replace(p, answers=Answers(float(s))), 64) for s in shares])
        for model, p in profiles.items()
    }
    rows = []
    for model, (single, measured) in CONS_64.items():
        others = [other for other in CONS_64 if other != model]
        bias = np.mean([grid[other] - CONS_64[other][1] for other in others], axis=0)
        share = float(np.interp(0.0, -bias, shares))  # the bias falls as wrong answers agree more
        predicted = vote_of(replace(profiles[model], answers=Answers(share)), 64)
        rows.append(
            {
                "model": model,
                "pass_at_1": single,
                "measured": measured,
                "predicted": predicted,
                "shipped": vote_of(profiles[model], 64),
                "error": predicted - measured,
                "off": abs(predicted - measured),
                "noise": _noise(profiles[model], 64, _PROBLEMS_AIME),
                "top_wrong_share": share,
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """MATH-500's votes when one figure of the profile is set so that maj@16 is as measured.

    Attributes:
        setting: what was assumed.
        mean: accuracy of one sample.
        votes: maj@k by k.
        noise: one standard error of 100 problems at k = 4.

    """

    setting: str
    mean: float
    votes: dict[int, float]
    noise: float


def math_votes() -> list[Calibrated]:
    """maj@4 and maj@8 of 100 MATH-500 problems told from maj@16 = .890 alone.

    The concentration (0.6) is the reference's, measured on these answers; a + b is the bundled profiles'
    assumption, or half and twice it. The one free figure, the accuracy of one sample, is set at k = 16: there
    the agreement says nothing, at 4 and 8 it is a prediction.
    """
    from scipy.optimize import brentq

    shipped = load_outcomes("math-500", "deepseek-r1-distill-llama-8b")
    whole = shipped.difficulty.a + shipped.difficulty.b
    found = []
    for factor, setting in ((1.0, "a + b as shipped"), (0.5, "half of it"), (2.0, "twice of it")):

        def at(mean: float, shape: float = whole * factor) -> Outcomes:
            law = Difficulty(mean * shape, (1 - mean) * shape)
            return Outcomes("math-500", "", law, Lengths(1, 0, 0), shipped.answers)

        mean = float(brentq(lambda m: vote_of(at(m), 16) - MATH_500[16], 0.3, 0.99))
        profile = at(mean)
        votes = {k: vote_of(profile, k) for k in MATH_500}
        found.append(Calibrated(setting, mean, votes, _noise(profile, 4, _PROBLEMS_MATH)))
    return found


def _noise(profile: Outcomes, k: int, problems: int) -> float:
    """Standard error of a mean vote over so few problems."""
    weight, chance, _ = profile.problem_grid(400, 1)
    won: FloatArray = majority_vote(chance, k, profile.answers)
    mean = weight @ won
    return float(np.sqrt(weight @ (won - mean) ** 2 / problems))
