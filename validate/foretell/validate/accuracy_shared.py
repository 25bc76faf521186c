"""How much of what makes a problem easy two models have in common, from how often each solved it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foretell.models.accuracy.coverage import fit_difficulty
from foretell.models.outcomes import Difficulty, FloatArray, Lengths, Outcomes

if TYPE_CHECKING:
    import pandas as pd

SHARES = np.linspace(0.0, 1.0, 51)
POINTS = 32
"""Equally likely points at which what problems have in common, and what they are to one model alone, are
integrated over; fewer would favour shares between none and all."""


@dataclass(frozen=True, slots=True)
class Solved:
    """One run: the model, and by problem the chance of its count.

    Attributes:
        model: its name.
        problems: (p,) ids.
        chance: (shares, p, points of what is common): of so many right samples, given what is common.

    """

    model: str
    problems: pd.Index
    chance: FloatArray


def shared_ease(runs: dict[str, pd.DataFrame], pairs: int = 300, seed: int = 0) -> pd.DataFrame:
    """`shared` of pairs of runs of a task, by the likelihood of both counts, each model's own law given.

    Returns:
        A row a task: pairs (of different models, at random), median, p25, p75, twice (runs of the same model:
        how many pairs) and twice_median, which would be 1 if the estimate had no bias.

    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    rows = []
    for task, mine in _by_task(runs).items():
        solved = [_solved(run) for run in mine]
        both = [(i, j) for i in range(len(solved)) for j in range(i)]
        same = [(i, j) for i, j in both if solved[i].model == solved[j].model]
        other = [(i, j) for i, j in both if solved[i].model != solved[j].model]
        chosen = rng.permutation(len(other))[:pairs]
        found = [likeliest(solved[other[k][0]], solved[other[k][1]]) for k in chosen]
        twice = [likeliest(solved[i], solved[j]) for i, j in same]
        low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
        rows.append(
            {
                "task": task,
                "pairs": len(found),
                "median": float(middle),
                "p25": float(low),
                "p75": float(high),
                "twice": len(twice),
                "twice_median": float(np.median(twice)) if twice else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def likeliest(first: Solved, second: Solved) -> float:
    """The share of `SHARES` under which the counts of two runs are likeliest."""
    problems = first.problems.intersection(second.problems)
    one = first.chance[:, first.problems.get_indexer(problems)]
    other = second.chance[:, second.problems.get_indexer(problems)]
    return float(SHARES[np.log((one * other).mean(axis=2)).sum(axis=1).argmax()])


def _by_task(runs: dict[str, pd.DataFrame]) -> dict[str, list[pd.DataFrame]]:
    """Runs in which neither nearly all nor nearly none is right."""
    found: dict[str, list[pd.DataFrame]] = {}
    for _, run in sorted(runs.items()):
        if 0.15 < run["correct"].sum() / run["n"].sum() < 0.93:
            found.setdefault(str(run["task"].iloc[0]), []).append(run)
    return found


def _solved(run: pd.DataFrame) -> Solved:
    import pandas as pd

    n, right = run["n"].to_numpy(np.int64), run["correct"].to_numpy(np.int64)
    counts, which = np.unique(np.stack([n, right]), axis=1, return_inverse=True)
    chance = count_chances(fit_difficulty(n, right), counts[0], counts[1])
    return Solved(str(run["model"].iloc[0]), pd.Index(run["problem_id"]), chance[:, which.ravel()])


def count_chances(law: Difficulty, n: np.ndarray, right: np.ndarray) -> FloatArray:
    """Chance of `right` of `n` samples, shape (shares, counts, points of what is common)."""
    from scipy.special import comb, ndtri

    points = ndtri((np.arange(POINTS) + 0.5) / POINTS)
    share = SHARES[:, None, None]
    ease = np.sqrt(share) * points[:, None] + np.sqrt(1 - share) * points
    solves = Outcomes("", "", law, Lengths(1, 0, 0)).chance(ease)  # (shares, common, own)
    each = (
        (comb(k, c) * solves**c * (1 - solves) ** (k - c)).mean(axis=2) for k, c in zip(n, right, strict=True)
    )
    return np.stack(list(each), axis=1)
