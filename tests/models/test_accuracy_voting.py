"""Votes: every outcome of a few samples enumerated, many simulated, and the limits."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from foretell.models.accuracy.adaptive_vote import adaptive_vote, lead_chance
from foretell.models.accuracy.voting import gaussian_vote, majority_vote, vote_limit, win_table
from foretell.models.accuracy.weighted import gaussian_weighted_vote, weight_moments, weighted_vote
from foretell.models.outcomes import Answers

chances = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda x: (x[0], (1 - x[0]) * x[1]))


def enumerated(p: float, w: float, k: int, s: float, ranks: int = 60) -> float:
    """Chance of the right answer over all sequences of k samples; ranks beyond k merge into distinct ones."""
    shares = [w * s * (1 - s) ** j for j in range(ranks)] if s else []
    kinds: list[tuple[object, float]] = [(0, p), (None, 1 - p - w)]
    kinds += [(j + 1, share) for j, share in enumerate(shares[:3])]
    kinds.append(("rare", w - sum(shares[:3])))  # each its own: right for s = 0, and nearly for s near 1
    total = 0.0
    for sequence in product(kinds, repeat=k):
        chance = float(np.prod([x[1] for x in sequence]))
        counts = Counter(
            (answer, i) if answer == "rare" else answer
            for i, (answer, _) in enumerate(sequence)
            if answer is not None
        )
        most = max(counts.values(), default=0)
        if most and counts[0] == most:
            total += chance / sum(count == most for count in counts.values())
    return total


@pytest.mark.parametrize("s", [0.0, 0.97, 1.0])
@pytest.mark.parametrize(("p", "w"), [(0.3, 0.7), (0.5, 0.3), (0.1, 0.2)])
def test_votes_are_exact(p: float, w: float, s: float) -> None:
    for k in range(1, 6):
        assert majority_vote(p, k, Answers(s), w) == pytest.approx(
            enumerated(p, w, k, s), abs=2e-5 if s else 1e-12
        )


def test_three_votes_by_hand() -> None:
    p, w, s = 0.4, 0.6, 0.6
    two = 3 * p**2 * w  # two right ones win whatever the third is
    distinct = 1 - sum((s * (1 - s) ** j) ** 2 for j in range(200))  # one right among three different answers
    assert majority_vote(p, 3, Answers(s)) == pytest.approx(p**3 + two + 3 * p * w**2 * distinct / 3)


def simulated(
    rng: np.random.Generator, p: float, w: float, k: int, s: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, float]:
    """Mean and standard error of winning, by drawing every sample."""
    n = len(s)
    kind = np.searchsorted([p, p + w], rng.random((n, k)), side="right")
    rank = rng.geometric(s[:, None], (n, k))
    rank = np.where(rank < 80, rank, 82 + np.arange(k))  # rare ones agree with nobody
    answer = np.choose(kind, [0, rank, 81])
    mass = np.zeros((n, 82 + k))
    for j in range(k):
        np.add.at(
            mass,
            (np.arange(n), answer[:, j]),
            1.0 if weights is None else weights[kind[:, j], np.arange(n), j],
        )
    mass[:, 81] = 0
    most = mass.max(axis=1)
    won = np.where((mass[:, 0] == most) & (most > 0), 1 / (mass == most[:, None]).sum(axis=1), 0.0)
    return float(won.mean()), float(won.std() / np.sqrt(n))


@pytest.mark.parametrize("spread", [np.inf, 3.0])
@pytest.mark.parametrize(
    ("p", "w", "k", "share"), [(0.3, 0.7, 5, 0.6), (0.2, 0.7, 16, 0.3), (0.4, 0.5, 33, 0.6)]
)
def test_votes_agree_with_drawn_ones(p: float, w: float, k: int, share: float, spread: float) -> None:
    rng = np.random.default_rng(7)
    n = 40_000
    s = np.full(n, share) if np.isinf(spread) else rng.beta(share * spread, (1 - share) * spread, n)
    won, error = simulated(rng, p, w, k, np.maximum(s, 1e-4))
    assert majority_vote(p, k, Answers(share, spread), w) == pytest.approx(won, abs=4 * error)


@pytest.mark.parametrize(
    ("p", "w", "k", "share", "auc", "temperature"),
    [(0.3, 0.7, 4, 0.6, 0.7, 1.0), (0.2, 0.8, 16, 0.3, 0.75, 1.0), (0.4, 0.5, 32, 0.6, 0.6, 2.0)],
)
def test_weighted_votes_agree_with_drawn_ones(
    p: float, w: float, k: int, share: float, auc: float, temperature: float
) -> None:
    rng = np.random.default_rng(8)
    n = 40_000
    half = np.sqrt(2) * ndtri(auc) / 2
    noise = rng.standard_normal((n, k))
    weights = np.exp(np.stack([noise + half, noise - half, noise * 0]) / temperature)
    won, error = simulated(rng, p, w, k, np.full(n, share), weights)
    answers = Answers(share)
    assert weighted_vote(p, k, answers, auc, temperature, w) == pytest.approx(won, abs=4 * error + 1e-3)
    assert won > majority_vote(p, k, answers, w)


@settings(deadline=None)
@given(chances, st.integers(1, 24), st.floats(0, 1))
def test_votes_rise_with_p_and_are_chances(chance: tuple[float, float], k: int, s: float) -> None:
    p, w = chance
    answers = Answers(s)
    won = float(majority_vote(p, k, answers, w))
    assert -1e-12 <= won <= 1 - (1 - p) ** k + 1e-9
    assert won >= p**k - 1e-12
    better = majority_vote(p + 0.1 * (1 - p), k, answers, 0.9 * min(w, 1 - p))
    assert better >= won - 1e-9


def test_one_or_two_votes_are_one_sample() -> None:
    """Two samples that differ are a tie, which is split."""
    p = np.linspace(0, 1, 11)
    assert majority_vote(p, 1, Answers(0.6)) == pytest.approx(p)
    assert majority_vote(p, 2, Answers(0.6)) == pytest.approx(p)


def test_many_votes_come_to_the_limit() -> None:
    answers = Answers(0.6)
    p = np.array([0.25, 0.36, 0.39, 0.5])  # even at p = .6 (1 − p), that is .375
    assert vote_limit(p, answers).tolist() == [0, 0, 1, 1]
    assert np.abs(majority_vote(p, 256, answers) - vote_limit(p, answers))[[0, 3]].max() < 0.001
    assert vote_limit(0.375, answers) == 0.5
    spread = Answers(0.6, 4.0)
    s = np.random.default_rng(3).beta(2.4, 1.6, 200_000)
    assert vote_limit(0.3, spread) == pytest.approx(np.mean(s * 0.7 < 0.3), abs=0.005)
    assert vote_limit(np.array([0.0, 0.01]), Answers(0.0)).tolist() == [0, 1]


def test_the_gaussian_margin_is_near_for_two_answers() -> None:
    p = np.array([0.4, 0.5, 0.55])
    assert gaussian_vote(p, 1 - p, 101) == pytest.approx(majority_vote(p, 101, Answers(1.0)), abs=0.005)
    p = np.array([0.3, 0.4, 0.5])
    exact = weighted_vote(p, 64, Answers(0.9), 0.7, 4.0)
    normal = gaussian_weighted_vote(p, 0.9 * (1 - p), 64, *weight_moments(0.7, 4.0))
    assert normal == pytest.approx(exact, abs=0.02)


def test_tables_are_chances() -> None:
    table = win_table(12, Answers(0.5))
    assert np.all(table[0] == 0) and table[1:, 0] == pytest.approx(1.0)
    assert np.all(np.diff(table, axis=0) > -1e-12) and table.max() <= 1 + 1e-12


def test_bad_votes_are_named() -> None:
    with pytest.raises(ValueError, match="k: 0"):
        majority_vote(0.5, 0, Answers())
    with pytest.raises(ValueError, match="p: "):
        majority_vote(0.7, 3, Answers(), 0.5)
    with pytest.raises(ValueError, match="temperature: "):
        weighted_vote(0.5, 4, Answers(), 0.7, 0.1)


@pytest.mark.parametrize("threshold", [0.95, None])
def test_adaptive_votes_agree_with_drawn_ones(threshold: float | None) -> None:
    rng = np.random.default_rng(4)
    k, p, runs = 15, 0.62, 4000
    right, drawn = [], []
    for votes in rng.random((runs, k)) < p:
        for t in range(1, k + 1):
            m = int(votes[:t].sum())
            lead, second = max(m, t - m), min(m, t - m)
            if t == k or (
                lead > second + k - t if threshold is None else lead_chance(lead, second) >= threshold
            ):
                right.append((m * 2 > t) + 0.5 * (m * 2 == t))
                drawn.append(t)
                break
    won, samples = adaptive_vote(p, k, threshold=threshold)
    assert won == pytest.approx(np.mean(right), abs=4 * np.std(right) / np.sqrt(runs))
    assert samples == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(runs))


def test_a_decided_vote_loses_nothing() -> None:
    p = np.linspace(0.05, 0.95, 10)
    won, samples = adaptive_vote(p, 11, threshold=None)
    assert won == pytest.approx(majority_vote(p, 11, Answers(1.0)))
    assert np.all((samples >= 6) & (samples < 11))
    assert lead_chance(1, 0) == 0.75 and lead_chance(4, 0) == pytest.approx(1 - 1 / 32)
