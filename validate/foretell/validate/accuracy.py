"""Profiles and closed forms of accuracy against what was measured: tables and one summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foretell.validate.accuracy_coverage import (
    coverage_errors,
    curve_errors,
    held_out_coverage,
    published_coverage,
    read_counts,
)
from foretell.validate.accuracy_joint import cascade_errors, pair_errors
from foretell.validate.accuracy_shared import shared_ease
from foretell.validate.accuracy_truncation import length_errors, truncation_errors
from foretell.validate.accuracy_votes import MATH_500, math_votes, published_votes

if TYPE_CHECKING:
    import pandas as pd

TITLES = {
    "coverage": "pass@k of the held-out half of every run's samples, points",
    "pass_at_512": "pass@k on LiveCodeBench v5: bundled profiles, and told from pass@1 to pass@16",
    "pass_at_64": "pass@64 of Qwen3-8B on AIME, told from pass@1",
    "votes": "cons@64 on AIME 2024, the concentration fitted to the other models",
    "math_votes": "maj@k on MATH-500, told from maj@16",
    "cascade": "Mixtral-8x7B before GPT-4, told from the other half of the questions",
    "pairs": "two models right together, random pairs",
    "shared": "`shared` of pairs of models, by the likelihood of their counts",
    "truncation": "Kinetics' long-CoT accuracy against cost on AIME 2024, points",
    "lengths": "tokens and accuracy on AIME 2024 at a budget of 16,000",
}
TARGETS = {
    "coverage, mean over runs, worst k": 2.0,
    "coverage, median run, worst k": 2.0,
    "maj@4 on MATH-500": 3.0,
    "maj@8 on MATH-500": 1.0,
    "maj@16 on MATH-500 (set, not told)": 1.0,
}
"""Points that were asked for. Of a single run's pass@k the two halves of its samples differ by more than two
points by chance alone from k = 5 on (`halves_median`), which no prediction can undercut."""


def accuracy_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Every table by name (`TITLES`).

    Raises:
        ValueError: recordings are missing.

    """
    import pandas as pd

    runs = read_counts(folder)
    votes = [
        {
            "setting": found.setting,
            "pass_at_1": found.mean,
            "noise": found.noise,
            **{f"maj@{k}": found.votes[k] for k in MATH_500},
            **{f"error@{k}": found.votes[k] - measured for k, measured in MATH_500.items()},
        }
        for found in math_votes()
    ]
    pairs = pair_errors(runs)
    return {
        "coverage": coverage_errors(held_out_coverage(runs)),
        "pass_at_512": curve_errors(folder),
        "pass_at_64": published_coverage(),
        "votes": published_votes(),
        "math_votes": pd.DataFrame(votes),
        "cascade": cascade_errors(folder),
        "pairs": pairs_summary(pairs),
        "shared": shared_ease(runs),
        "truncation": truncation_errors(folder),
        "lengths": length_errors(),
    }


def pairs_summary(pairs: pd.DataFrame) -> pd.DataFrame:
    """By task: median, 10th and 90th percentile and worst of the errors, and the median for shared = 0."""
    import pandas as pd

    rows = [
        {
            "task": task,
            "pairs": len(of),
            "median": of["error"].median(),
            "p10": of["error"].quantile(0.1),
            "p90": of["error"].quantile(0.9),
            "worst": of["error"].abs().max(),
            "independent": of["independent"].median(),
        }
        for task, of in pairs.groupby("task")
    ]
    return pd.DataFrame(rows)


def accuracy_summary(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Errors against what was asked for, in points, and whether each is within it."""
    shipped = tables["math_votes"].iloc[0]
    found = {
        "coverage, mean over runs, worst k": float(tables["coverage"]["mean"].abs().max()),
        "coverage, median run, worst k": float(tables["coverage"]["median"].max()),
        "maj@4 on MATH-500": 100 * abs(float(shipped["error@4"])),
        "maj@8 on MATH-500": 100 * abs(float(shipped["error@8"])),
        "maj@16 on MATH-500 (set, not told)": 100 * abs(float(shipped["error@16"])),
    }
    return {
        name: {"error": error, "asked": TARGETS[name], "within": error <= TARGETS[name]}
        for name, error in found.items()
    }
