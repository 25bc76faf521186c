"""Chains of revisions: the programs against the recursions of repair and corruption."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from foretell.models.accuracy.revision import ever_right, revised
from foretell.models.outcomes import Answers, Revision
from foretell.models.verifiers import Verifier
from foretell.sim.programs.llm import Judge
from foretell.sim.programs.repairing import iterative_decoding
from foretell.sim.programs.revision import hint_marginalisation, revision, self_refine
from foretell.sim.programs.sampling import ORACLE
from unloaded import A, B, agrees, profile, run

P0 = A / (A + B)
MEASURED = Revision((0.08, 0.39, 0.2, 0.02), (0.3, 0.1, 0.02, 0.006), tokens_ratio=0.5)
OUTCOMES = profile(1000, answers=Answers(1.0), revision=MEASURED)


def verdicts(completeness: float, soundness: float) -> Judge:
    return Judge(None, Verifier(completeness=completeness, soundness=soundness))


@pytest.mark.parametrize("rounds", [0, 1, 3, 6])
def test_the_last_of_a_chain_and_the_best(rounds: int) -> None:
    last = run(revision(rounds=rounds), OUTCOMES)
    agrees(last.right, float(revised(P0, MEASURED, rounds)[-1]))
    best = run(revision(rounds=rounds, select="best"), OUTCOMES)
    agrees(best.right, float(ever_right(P0, MEASURED, rounds)[-1]))
    assert (last.tokens == 1000 + rounds * 500).all()


def test_the_vote_of_a_chain_is_that_of_all_its_paths() -> None:
    """Every path of right and wrong links, enumerated; paths are linear in the first one's chance."""
    expected = 0.0
    for path in product((True, False), repeat=5):
        chance = P0 if path[0] else 1 - P0
        for step in range(4):
            alpha, beta = MEASURED.repair[step], MEASURED.corruption[step]
            move = alpha if not path[step] else beta
            chance *= move if path[step] != path[step + 1] else 1 - move
        expected += chance * (sum(path) >= 3)
    agrees(run(revision(rounds=4, select="vote"), OUTCOMES).right, expected)


@pytest.mark.parametrize(("completeness", "soundness"), [(1.0, 1.0), (0.9, 0.7), (0.5, 0.5)])
def test_self_refine_is_a_stopped_chain(completeness: float, soundness: float) -> None:
    rounds = 4
    took = run(self_refine(rounds=rounds, verifier=verdicts(completeness, soundness)), OUTCOMES)
    going = np.array([P0, 1 - P0])  # right, wrong, and not yet accepted
    right = revisions = 0.0
    for step in range(rounds):
        accepted = going * [completeness, 1 - soundness]
        right += accepted[0]
        going = going - accepted
        revisions += going.sum()
        alpha, beta = MEASURED.repair[min(step, 3)], MEASURED.corruption[min(step, 3)]
        going = np.array([going[0] * (1 - beta) + going[1] * alpha, going[0] * beta + going[1] * (1 - alpha)])
    agrees(took.right, right + going[0])
    agrees(took.tokens, 1000 + 500 * revisions)


@pytest.mark.systems(17)
def test_iterative_decoding_never_loses_what_an_oracle_recognises() -> None:
    took = run(iterative_decoding(rounds=3, width=1, verifier=ORACLE), OUTCOMES)
    agrees(took.right, float(ever_right(P0, MEASURED, 3)[-1]))
    wide = run(iterative_decoding(rounds=1, width=2, verifier=ORACLE), OUTCOMES)
    both_wrong = B * (B + 1) / ((A + B) * (A + B + 1))
    agrees(wide.right, 1 - both_wrong * (1 - MEASURED.repair[0]) ** 2)
    assert (wide.tokens == 2 * 1000 + 2 * 500).all()


@pytest.mark.systems(17)
def test_a_verifier_that_tells_nothing_keeps_first_answers_or_walks() -> None:
    blind = run(iterative_decoding(rounds=3, width=1, verifier=verdicts(1.0, 0.0)), OUTCOMES)
    agrees(blind.right, P0)  # all accepted alike: the first one stays
    noisy = run(iterative_decoding(rounds=3, width=1, verifier=Judge(None, Verifier(auc=0.7))), OUTCOMES)
    oracle = run(iterative_decoding(rounds=3, width=1, verifier=ORACLE), OUTCOMES)
    assert noisy.accuracy < oracle.accuracy


@pytest.mark.systems(189)
def test_one_hint_a_round_is_a_chain_and_many_vote() -> None:
    one = run(hint_marginalisation(rounds=4, width=1), OUTCOMES)
    agrees(one.right, float(revised(P0, MEASURED, 3)[-1]))
    helpful = profile(1000, answers=Answers(1.0), revision=Revision((0.4,), (0.05,)))
    shares = [run(hint_marginalisation(rounds=t, width=7), helpful, 500).accuracy for t in (1, 2, 4)]
    assert shares == sorted(shares)
    took = run(hint_marginalisation(rounds=3, width=4), OUTCOMES, 20)
    assert np.allclose(took.latency_s, (1000 + 2 * 500) * 0.01)  # a barrier between rounds
    assert (took.calls == 12).all()


def test_a_deadline_answers_with_the_last_whole_answer() -> None:
    for program in (
        revision(rounds=5),
        self_refine(rounds=5, verifier=verdicts(0.0, 1.0)),
        hint_marginalisation(rounds=6, width=1),
        iterative_decoding(rounds=5, width=1, verifier=verdicts(1.0, 0.0)),
    ):
        late = run(program, OUTCOMES, 200, deadline_s=12.0)
        assert late.late.all() and (late.answers == run(revision(rounds=0), OUTCOMES, 200).answers).all()


@pytest.mark.parametrize(
    ("factory", "settings"),
    [(revision, {"rounds": -1}), (revision, {"select": "first"}), (hint_marginalisation, {"width": 0})],
)
def test_bad_settings_are_refused(factory: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        factory(**settings)
