"""Two models on the same problems: how often both are right, and what cascades can gain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foretell.models.accuracy.cascade import Joint, oracle_cascade
from foretell.models.accuracy.coverage import fit_difficulty
from foretell.models.accuracy.profile_cascade import joint
from foretell.models.outcomes import Difficulty, Lengths, Outcomes
from foretell.models.profiles import load_outcomes

if TYPE_CHECKING:
    import pandas as pd

TABLE = Path("routellm") / "correctness_mixtral_vs_gpt4.csv"
TASKS = {"gsm8k": "gsm8k", "mmlu": "mmlu"}
"""Benchmarks of the joint table, and the task whose profiles stand for them."""
SHARED = {"GPQA Diamond": 0.7, "OTIS Mock AIME 2024-2025": 0.9}
"""`shared` of the bundled profiles of these tasks."""


def cascade_errors(folder: Path, splits: int = 20, seed: int = 0) -> pd.DataFrame:
    """Mixtral-8x7B before GPT-4: both accuracies and `shared` from one half of the questions, for the other.

    Returns:
        A row a benchmark and figure (both right, either right, which an oracle's cascade reaches, share that
        it defers): measured (all questions), bundled (the shipped profiles), predicted, error (predicted less
        measured, held-out halves: mean of the splits), low, high (2.5 and 97.5 % of the splits), independent
        (error if the models erred independently) and shared (mean fitted).

    Raises:
        ValueError: the file is missing.

    """
    import pandas as pd

    path = folder / TABLE
    if not path.is_file():
        raise ValueError(f"--data: {folder} has no {TABLE}")
    table = pd.read_csv(path)
    rng = np.random.default_rng(seed)
    rows = []
    for benchmark, task in TASKS.items():
        of = table[table["benchmark"] == benchmark]
        pairs = of[["mixtral_8x7b_correct", "gpt4_1106_correct"]].to_numpy(dtype=np.float64)
        weak, strong = load_outcomes(task, "mixtral-8x7b"), load_outcomes(task, "gpt-4")
        off, alone, fitted = [], [], []
        for _ in range(splits):
            order = rng.permutation(len(pairs))
            first, second = measured_joint(pairs[order[::2]]), measured_joint(pairs[order[1::2]])
            share, told = fit_shared(first, weak, strong)
            fitted.append(share)
            off.append(np.subtract(figures(told), figures(second)))
            apart = Joint(first.weak * first.strong, first.weak, first.strong)
            alone.append(np.subtract(figures(apart), figures(second)))
        low, high = np.quantile(off, (0.025, 0.975), axis=0)
        whole = measured_joint(pairs)
        shown = zip(_FIGURES, figures(whole), figures(joint(weak, strong)), strict=True)
        for i, (name, measured, bundled) in enumerate(shown):
            error = float(np.mean(off, axis=0)[i])
            rows.append(
                {
                    "benchmark": benchmark,
                    "figure": name,
                    "measured": measured,
                    "bundled": bundled,
                    "error": error,
                    "low": float(low[i]),
                    "high": float(high[i]),
                    "independent": float(np.mean(alone, axis=0)[i]),
                    "shared": float(np.mean(fitted)),
                }
            )
    return pd.DataFrame(rows)


_FIGURES = ("both right", "either right (oracle)", "deferred by the oracle")


def figures(found: Joint) -> tuple[float, float, float]:
    """Both right; accuracy and share deferred of an oracle's cascade."""
    accuracy, deferred = oracle_cascade(found)
    return found.both, accuracy, deferred


def measured_joint(pairs: np.ndarray) -> Joint:
    """How often both, the weak and the strong model are right; [question, model] of 0 and 1."""
    return Joint(float(np.mean(pairs[:, 0] * pairs[:, 1])), *(float(x) for x in pairs.mean(axis=0)))


def fit_shared(of: Joint, weak: Outcomes, strong: Outcomes) -> tuple[float, Joint]:
    """`shared` under which both are right as often as here, each as accurate as here; and what follows."""
    from scipy.optimize import brentq

    def at(share: float) -> Joint:
        return joint(_with(weak, of.weak, share), _with(strong, of.strong, share))

    low, high = at(0.0).both, at(1.0).both
    if not low < of.both < high:
        share = 0.0 if of.both <= low else 1.0
    else:
        share = float(brentq(lambda x: at(x).both - of.both, 0.0, 1.0, xtol=1e-4))
    return share, at(share)


def _with(profile: Outcomes, mean: float, shared: float) -> Outcomes:
    law = profile.difficulty
    whole = law.a + law.b
    changed = Difficulty(mean * whole, (1 - mean) * whole, 0.0, shared)
    return replace(profile, difficulty=changed)


def pair_errors(runs: dict[str, pd.DataFrame], pairs: int = 200, seed: int = 0) -> pd.DataFrame:
    """Random pairs of models: how often a sample of each is right together, from each model's own law.

    `shared` is the shipped profiles', which was estimated on such pairs: the median error is in sample, the
    spread over pairs is what one figure for all pairs leaves.

    Returns:
        A row a pair: task, measured (unbiased), predicted, error, independent (error for shared = 0).

    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    rows = []
    for task, shared in SHARED.items():
        mine = [run for run in runs.values() if run["task"].iloc[0] == task]
        mine = [run for run in mine if 0.15 < run["correct"].sum() / run["n"].sum() < 0.93]
        laws = [fit_difficulty(run["n"].to_numpy(), run["correct"].to_numpy()) for run in mine]
        for _ in range(pairs):
            i, j = rng.choice(len(mine), 2, replace=False)
            if mine[i]["model"].iloc[0] == mine[j]["model"].iloc[0]:
                continue
            both = mine[i].merge(mine[j], on="problem_id")
            first, second = both["correct_x"] / both["n_x"], both["correct_y"] / both["n_y"]
            told = joint(_profile(laws[i], shared), _profile(laws[j], shared))
            measured = float((first * second).mean())
            rows.append(
                {
                    "task": task,
                    "measured": measured,
                    "predicted": told.both,
                    "error": told.both - measured,
                    "independent": told.weak * told.strong - measured,
                }
            )
    return pd.DataFrame(rows)


def _profile(law: Difficulty, shared: float) -> Outcomes:
    return Outcomes("", "", replace(law, shared=shared), Lengths(1, 0, 0))
