"""Majority vote: the chance that the right answer is the most frequent one of k samples, ties drawn.

A sample is right with chance p, says one of a problem's wrong answers with chance w, and nothing with
chance 1 − p − w; nothing does not vote. Of wrong votes the j-th most frequent answer holds s·(1−s)^(j−1)
(`Answers`). Given m right and v wrong votes, who wins does not depend on p: one table by (m, v), for each
law of wrong answers, serves all problems.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from foretell.models.outcomes import Answers, FloatArray

_SPREAD_NODES = 12  # of the Beta law of s over problems: exact for polynomials of degree 23 in s
MOST_VOTES = 256
"""Most samples of an exact vote: the work grows with their cube, and with more the limit is near."""


def majority_vote(
    p: npt.ArrayLike, k: int, answers: Answers, wrong: npt.ArrayLike | None = None
) -> FloatArray:
    """Exact multinomial chance that the right answer wins a plurality vote of k samples, ties split evenly.

    Source of the strategy: Wang et al. 2022, arXiv:2203.11171. Without any vote there is no right answer.

    Args:
        p: chance of a right sample, by problem.
        k: samples, 1 to `MOST_VOTES`.
        answers: the law of wrong answers.
        wrong: chance of a sample with a wrong answer, by problem; 1 − p where None.

    Raises:
        ValueError: k or chances out of range.

    """
    return vote(p, win_table(k, answers), wrong)


def vote(p: npt.ArrayLike, won: FloatArray, wrong: npt.ArrayLike | None = None) -> FloatArray:
    """Σ_{m,v} k!/(m! v! (k−m−v)!)·p^m·w^v·(1−p−w)^(k−m−v) · won[m, v], exact for a table of k + 1 rows.

    Args:
        p, wrong: as in `majority_vote`.
        won: chance that m right votes win against v wrong ones, [m, v].

    """
    from scipy.special import gammaln

    k = len(won) - 1
    right, missed, none = _chances(p, wrong)
    shape, right, missed, none = right.shape, right.ravel(), missed.ravel(), none.ravel()
    log_factorial = gammaln(np.arange(k + 1) + 1.0)
    powers = [np.vander(x, k + 1, increasing=True) for x in (right, missed, none)]
    if not none.any():
        v = np.arange(k, -1, -1)
        ways = np.exp(log_factorial[k] - log_factorial - log_factorial[::-1])
        return np.asarray((powers[0] * powers[1][:, v]) @ (ways * won[k - v, v])).reshape(shape)
    total = np.zeros(right.shape)
    for m in range(1, k + 1):
        left = k - m
        shares = log_factorial[: left + 1] + log_factorial[left::-1]
        ways = np.exp(log_factorial[k] - log_factorial[m] - shares)
        others = powers[1][:, : left + 1] * powers[2][:, left::-1]
        total += powers[0][:, m] * (others @ (ways * won[m, : left + 1]))
    return total.reshape(shape)


@lru_cache(maxsize=64)
def win_table(k: int, answers: Answers) -> FloatArray:
    """Chance that m right votes win against v wrong ones, [m, v], each 0 to k (where m + v <= k).

    E[1/(1+t); no wrong answer has more than m], t of them having m: ∫₀¹ E[u^t; ...] du.
    """
    if not 1 <= k <= MOST_VOTES:
        raise ValueError(f"k: {k} samples are not within 1 and {MOST_VOTES}, where votes are counted exactly")
    rows = [(m, *node) for m in range(1, k + 1) for node in _tie_nodes(k // m)]
    m, u, weight = (np.array(x) for x in zip(*rows, strict=True))
    i = np.arange(k + 1)
    held = np.where(i < m[:, None], 1.0, np.where(i == m[:, None], u[:, None], 0.0))
    table = np.zeros((k + 1, k + 1))
    starts = np.flatnonzero(np.diff(m, prepend=0))
    for s, share in zip(*top_shares(answers), strict=True):
        table[1:] += share * np.add.reduceat(weight[:, None] * all_held(held, float(s)), starts)
    table.setflags(write=False)
    return table


def all_held(held: FloatArray, s: float) -> FloatArray:
    """E[Π_j held[:, c_j]] over the counts c_j of all wrong answers, by their total v: [row, v].

    The v votes fall on the most frequent answer binomially with s, and the others follow the same law among
    themselves: G[v] = Σ_i Bin(i; v, s)·held(i)·G[v−i], with no answer left out. For s = 0 none agree.
    """
    from scipy.special import gammaln

    rows, width = held.shape
    if s == 0:
        return np.asarray(held[:, 1:2] ** np.arange(width))
    good = np.ones((rows, width))
    log_s, log_rest = np.log(s), np.log1p(-s) if s < 1 else -1e300
    for v in range(1, width):
        i = np.arange(1, v + 1)
        ways = gammaln(v + 1) - gammaln(i + 1) - gammaln(v - i + 1)
        chance = np.exp(ways + i * log_s + (v - i) * log_rest)
        good[:, v] = (held[:, 1 : v + 1] * good[:, v - 1 :: -1]) @ (chance / chance.sum())
    return good


def top_shares(answers: Answers) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of the law of s over problems; weights add up to 1."""
    from scipy.special import roots_jacobi

    mean, spread = answers.top_wrong_share, answers.spread
    if np.isinf(spread) or mean in (0.0, 1.0):
        return np.array([mean]), np.ones(1)
    x, weight = roots_jacobi(_SPREAD_NODES, (1 - mean) * spread - 1, mean * spread - 1)
    return (1 + x) / 2, weight / weight.sum()


def vote_limit(p: npt.ArrayLike, answers: Answers, wrong: npt.ArrayLike | None = None) -> FloatArray:
    """The vote of infinitely many samples: chance over the law of s that p > s·w, one half at a tie.

    Problems whose most frequent wrong answer is likelier than the right one are lost, however many vote.
    """
    from scipy.special import betainc

    right, missed, _ = _chances(p, wrong)
    mean, spread = answers.top_wrong_share, answers.spread
    if np.isinf(spread) or mean in (0.0, 1.0):
        return np.asarray(np.where(right > 0, (1 + np.sign(right - mean * missed)) / 2, 0.0))
    ratio = np.divide(right, missed, out=np.ones_like(right), where=missed > right)
    return np.asarray(betainc(mean * spread, (1 - mean) * spread, ratio), dtype=np.float64)


def gaussian_vote(p: npt.ArrayLike, top_wrong: npt.ArrayLike, k: npt.ArrayLike) -> FloatArray:
    """Φ(√k·Δ/σ), Δ = p − p_w, σ² = p + p_w − Δ²: the lead over the most frequent wrong answer, as normal.

    Valid for k·(p + p_w) of ten or more and one wrong answer ahead of the others; `majority_vote` is exact.
    """
    from foretell.models.accuracy.weighted import gaussian_weighted_vote

    return gaussian_weighted_vote(p, top_wrong, k, (1.0, 1.0), (1.0, 1.0))


def _tie_nodes(ties: int) -> list[tuple[float, float]]:
    x, weight = np.polynomial.legendre.leggauss(ties // 2 + 1)
    return [(float(a), float(b)) for a, b in zip((1 + x) / 2, weight / 2, strict=True)]


def _chances(p: npt.ArrayLike, wrong: npt.ArrayLike | None) -> tuple[FloatArray, FloatArray, FloatArray]:
    right = np.asarray(p, dtype=np.float64)
    missed = 1 - right if wrong is None else np.asarray(wrong, dtype=np.float64)
    right, missed = np.broadcast_arrays(right, missed)
    none = 1 - right - missed
    if np.any(right < 0) or np.any(missed < 0) or np.any(none < -1e-9):
        raise ValueError("p: chances of right and wrong samples are not >= 0 with a sum <= 1")
    return right, missed, np.where(none < 1e-12, 0.0, none)
