"""What two models have in common, told from how often each solved a problem."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from foretell.models.outcomes import Difficulty, Lengths, Outcomes
from foretell.validate.accuracy_coverage import read_counts
from foretell.validate.accuracy_shared import SHARES, count_chances, shared_ease
from places import SHARED

DATA = SHARED / "data"
LAW = Difficulty(0.6, 0.5, 0.05)


def runs(shared: float, problems: int = 1500, samples: int = 8) -> dict[str, pd.DataFrame]:
    """Two models whose ease has this much in common."""
    rng = np.random.default_rng(4)
    common = rng.standard_normal(problems)
    made = {}
    for name in ("one", "other"):
        law = Outcomes("", "", LAW, Lengths(1, 0, 0))
        ease = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.standard_normal(problems)
        right = rng.binomial(samples, law.chance(ease))
        parts = {"task": "t", "model": name, "problem_id": range(problems), "n": samples, "correct": right}
        made[name] = pd.DataFrame(parts)
    return made


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9, 1.0])
def test_what_was_planted_comes_back(shared: float) -> None:
    (found,) = shared_ease(runs(shared)).to_dict("records")
    assert found["pairs"] == 1 and found["twice"] == 0
    assert found["median"] == pytest.approx(shared, abs=0.06)


def test_counts_have_the_chances_of_the_law_alone_whatever_is_shared() -> None:
    """Summed over what is common: a Beta-binomial, and all counts together are one."""
    n, right = np.full(5, 4), np.arange(5)
    chance = count_chances(replace(LAW, zero=0.0), n, right).mean(axis=2)
    assert chance.shape == (len(SHARES), 5)
    assert chance.sum(axis=1) == pytest.approx(1)
    from scipy.stats import betabinom

    assert chance == pytest.approx(np.tile(betabinom.pmf(right, 4, 0.6, 0.5), (len(SHARES), 1)), abs=0.02)


@pytest.mark.skipif(
    not (DATA / "epoch-logs").is_dir(), reason="the shared recordings epoch-logs are not here"
)
def test_bundled_profiles_have_what_runs_say() -> None:
    table = shared_ease(read_counts(DATA), pairs=60).set_index("task")
    for task, bundled in (("GPQA Diamond", 0.7), ("OTIS Mock AIME 2024-2025", 0.9)):
        assert table["median"][task] == pytest.approx(bundled, abs=0.06)
        assert table["p25"][task] < bundled < table["p75"][task]
        assert table["median"][task] + 0.03 < table["twice_median"][task] <= 1
