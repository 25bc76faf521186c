"""Programs against closed forms at 100,000 queries: within half a point, as the product promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scipy.special import binom

from foretell.models.accuracy.revision import revised
from foretell.models.accuracy.verifier import accepted_within
from foretell.models.accuracy.voting import majority_vote
from foretell.models.outcomes import Answers, Outcomes, Revision
from foretell.models.verifiers import Verifier
from foretell.sim.programs.adaptive_votes import adaptive_consistency, self_evaluated
from foretell.sim.programs.allocation import compute_optimal, timed_vote
from foretell.sim.programs.llm import Judge, Program
from foretell.sim.programs.revision import revision
from unloaded import beta_mean, profile, run

MIXED = profile(100, answers=Answers(0.5), revision=Revision((0.08, 0.39, 0.02), (0.3, 0.1, 0.006)))
VERDICTS = Judge(None, Verifier(completeness=0.8, soundness=0.9))


def first_accepted(p: Any) -> Any:
    good, bad = 0.8 * p, 0.1 * (1 - p)
    right, _ = accepted_within(good, bad, 4)
    none = (1 - good - bad) ** 4
    return right + none * 0.2 * p / (1 - good - bad)  # none accepted: the first, if it is right


CASES: list[tuple[Program, Callable[[Any], Any], Outcomes]] = [
    (revision(rounds=4), lambda p: revised(p, MIXED.revision, 4)[-1], MIXED),
    (adaptive_consistency(n=5, stop="decided"), lambda p: majority_vote(p, 5, MIXED.answers), MIXED),
    (timed_vote(n=4, within_s=1e6), lambda p: majority_vote(p, 4, MIXED.answers), MIXED),
    (self_evaluated(n=4, verifier=VERDICTS), first_accepted, MIXED),
    (
        compute_optimal(easier=(0.3,), chains=(3, 1), rounds=(0, 0)),
        lambda p: 1 - (1 - p) ** (3 - 2 * (p >= 0.3)),
        MIXED,
    ),
    (
        adaptive_consistency(n=3, threshold=0.85),  # two alike of two are sure enough, or three are drawn
        lambda p: sum(binom(3, k) * p**k * (1 - p) ** (3 - k) for k in (2, 3)),
        profile(100, answers=Answers(1.0)),
    ),
]


@pytest.mark.slow
@pytest.mark.systems(12, 37, 202, 310)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_half_a_point_at_a_hundred_thousand_queries(case: int) -> None:
    program, chance, outcomes = CASES[case]
    took = run(program, outcomes, 100_000, seed=case + 10)
    assert took.accuracy == pytest.approx(beta_mean(chance), abs=0.005)
    assert 0.1 < took.accuracy < 0.99
