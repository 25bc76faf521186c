"""Accuracy, tokens and judge calls of search over reasoning steps, where a Markov chain gives them.

The step model. A solution takes D steps, D = a right sample's median length (at most the cap) over
`step_tokens`, at least 1. A partial solution is on track or not; a step from an on-track one stays on track
with q = p^(1/D), p the problem's chance, and one that has left the track does not come back; a whole
solution is right if it is on track. So one sample is right with p, whatever D. A judge scores every step,
right meaning on track: independently, or, with `common` of its noise shared by the right and by the wrong
steps of one depth, independently from depth to depth. In a search that holds N candidates a level, how many
of them are on track is a Markov chain: m of N lead, by the judge's scores, to J of the next N being written
after on-track ones, of which Bin(J, q) stay on track. Methods differ in the law of J given m only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.accuracy.common import apart
from foretell.models.accuracy.search_scores import binomial, chosen, kept, log_odds
from foretell.models.outcomes import FloatArray, Outcomes
from foretell.models.verifiers import Verifier

EASES, SINGLE, COARSER = 100, 20, 1.12
"""Grid of problems: so many eases; numbers of steps one by one up to SINGLE, then in bins of 12 %."""


@dataclass(frozen=True, slots=True)
class SearchForecast:
    """What a search comes to, as means over the task's problems.

    Attributes:
        accuracy: chance that the chosen answer is right.
        tokens: written by the solver for a query.
        judge_calls: for a query.

    """

    accuracy: float
    tokens: float
    judge_calls: float


def steps_of(profile: Outcomes, log_median: npt.ArrayLike, step_tokens: float = 0.0) -> FloatArray:
    """Steps D of problems whose right samples have this log median length; whole numbers >= 1.

    Args:
        profile: of the solver.
        log_median: any shape.
        step_tokens: tokens of a step; 0: the profile's.

    """
    length = np.exp(np.minimum(log_median, np.log(profile.lengths.cap_tokens)))
    steps = np.floor(length / (step_tokens or profile.step_tokens) + 0.5)
    return np.asarray(np.maximum(steps, 1.0), dtype=np.float64)


def best_of_n(profile: Outcomes, verifier: Verifier, n: int) -> SearchForecast:
    """N whole solutions, the best-scored one chosen: E over m ~ Bin(N, p) of P(the best is right | m)."""
    weight, chance, _ = _problems(profile, profile.lengths.cap_tokens)
    accuracy = binomial(n, chance, n) @ chosen(verifier, n)
    return SearchForecast(float(weight @ accuracy), n * _mean_tokens(profile), float(n))


def beam_search(
    profile: Outcomes, verifier: Verifier, width: int, branching: int, step_tokens: float = 0.0
) -> SearchForecast:
    """Beam search (Snell et al. 2024, arXiv:2408.03314): N candidates a level, the best N/M get M children.

    Exact for the step model: J = M·j, j of the kept N/M being on track by the order statistics of the
    scores. `width` N is a multiple of `branching` M.
    """
    groups = _groups(width, branching)
    law = np.zeros((width + 1, width + 1))
    law[:, ::branching] = kept(verifier, width, groups)
    return _by_levels(profile, verifier, width, law, step_tokens)


def dvts(
    profile: Outcomes, verifier: Verifier, width: int, branching: int, step_tokens: float = 0.0
) -> SearchForecast:
    """Diverse verifier tree search (Beeching et al. 2024): N/M trees apart, each a beam that keeps 1 of M.

    Exact: a tree's kept node stays on track through a level with g = E over m ~ Bin(M, q) of
    P(the best of M is on track | m); the trees do so independently, given what a depth's errors share.
    """
    groups = _groups(width, branching)
    weight, chance, steps = _problems(profile, step_tokens)
    q = chance ** (1 / steps)
    alive = _trees(verifier, branching, groups, q, steps)
    final = chosen(verifier, width)
    accuracy = sum(alive[:, k] * (binomial(k * branching, q, width) @ final) for k in range(groups + 1))
    return _forecast(profile, weight, steps, np.asarray(accuracy), width)


def _trees(verifier: Verifier, branching: int, groups: int, q: FloatArray, steps: FloatArray) -> FloatArray:
    """P(k of the `groups` trees are on track before the last step), shape (problems, groups + 1)."""
    stays = [
        (weight, np.clip(binomial(branching, q, branching) @ chosen(given, branching), 0.0, 1.0))
        for weight, given in apart(verifier)
    ]
    if len(stays) == 1:
        return binomial(groups, stays[0][1] ** (steps - 1), groups)
    live = np.arange(groups + 1)
    level = sum(weight * binomial(live[None, :], stay[:, None], groups) for weight, stay in stays)
    state = np.tile((live == groups).astype(float), (len(q), 1))
    for depth in range(1, int(steps.max())):
        state = np.where((depth < steps)[:, None], np.einsum("pk,pkm->pm", state, level), state)
    return state


def particle_filtering(
    profile: Outcomes, verifier: Verifier, n: int, temperature: float = 1.0, step_tokens: float = 0.0
) -> SearchForecast:
    """Particle filtering (Puri et al. 2025, arXiv:2502.01618): n particles, resampled after every step.

    A particle's weight is e^(log odds/temperature); resampling is multinomial, so that J given the scores
    is Bin(n, share of the weight that is on track). Exact but for the integral over the scores (`_levels`).
    """
    law = np.stack(
        [
            binomial(n, _share(np.exp(odds / temperature), m), n).mean(axis=0)
            for m, odds in _levels(verifier, n)
        ]
    )
    return _by_levels(profile, verifier, n, law, step_tokens)


def rebase(
    profile: Outcomes, verifier: Verifier, width: int, temperature: float = 0.2, step_tokens: float = 0.0
) -> SearchForecast:
    """REBASE (Wu et al. 2024, arXiv:2408.00724): from the best down, a node gets ⌈W·e^(R/T)/Σ⌉ children.

    Until the W are spent. R is the judge's reward. Exact but for the integral over the scores (`_levels`).
    """
    rows = []
    for m, odds in _levels(verifier, width):
        weights = np.exp(1 / (1 + np.exp(-odds)) / temperature)
        order = np.argsort(-odds, axis=1)
        share = np.take_along_axis(weights, order, axis=1) / weights.sum(axis=1, keepdims=True)
        spent = np.minimum(np.cumsum(np.ceil(width * share - 1e-9), axis=1), width)
        given = np.diff(spent, axis=1, prepend=0.0)
        on_track = np.sum(given * (order < m), axis=1).astype(int)
        rows.append(np.bincount(on_track, minlength=width + 1) / len(odds))
    return _by_levels(profile, verifier, width, np.stack(rows), step_tokens)


def reachable(profile: Outcomes, branching: int, step_tokens: float = 0.0) -> float:
    """Share of queries where the full tree of `branching` children a node holds a right leaf at all.

    No search of that tree can do better; one with an oracle and no budget reaches it. It is the survival
    of a Galton–Watson process with Bin(branching, q) children through D generations.
    """
    weight, chance, steps = _problems(profile, step_tokens)
    q = chance ** (1 / steps)
    dies = np.zeros_like(q)
    for level in range(int(steps.max())):
        dies = np.where(level < steps, (1 - q + q * dies) ** branching, dies)
    return float(weight @ (1 - dies))


def _by_levels(
    profile: Outcomes, verifier: Verifier, width: int, law: FloatArray, step_tokens: float
) -> SearchForecast:
    """The chain: law[m, J] = P(J of the next `width` are written after on-track nodes | m of them are)."""
    weight, chance, steps = _problems(profile, step_tokens)
    final = chosen(verifier, width)
    accuracy = np.empty_like(chance)
    for rows in np.array_split(np.arange(len(chance)), 1 + len(chance) * (width + 1) ** 2 // 4_000_000):
        q = chance[rows] ** (1 / steps[rows])
        stay = binomial(np.arange(width + 1)[None, :], q[:, None], width)  # (problems, J, m)
        state = stay[:, width]
        for level in range(1, int(steps[rows].max())):
            after = np.einsum("pj,pjm->pm", state @ law, stay)
            state = np.where((level < steps[rows])[:, None], after, state)
        accuracy[rows] = state @ final
    return _forecast(profile, weight, steps, accuracy, width)


def _forecast(
    profile: Outcomes, weight: FloatArray, steps: FloatArray, accuracy: FloatArray, width: int
) -> SearchForecast:
    tokens = width * _mean_tokens(profile)
    return SearchForecast(float(weight @ accuracy), tokens, float(width * weight @ steps))


def _problems(profile: Outcomes, step_tokens: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(weight, chance, steps) of a grid of problems, shape (problems,); weights add up to 1.

    Midpoints of the ease; given it the log median is normal, so that each number of steps has its exact
    chance. Great numbers, whose neighbours differ little, are taken together.
    """
    from scipy.special import ndtr, ndtri

    ease = ndtri((np.arange(EASES) + 0.5) / EASES)
    middle = profile.log_median(ease, 0.0)
    spread = np.maximum(profile.log_median(ease, 1.0) - middle, 1e-9)
    most = int(steps_of(profile, np.inf, step_tokens))
    least = list(range(1, min(most, SINGLE) + 1))  # of each bin
    while round(least[-1] * COARSER) < most and most > SINGLE:
        least.append(round(least[-1] * COARSER))
    if least[-1] < most:
        least.append(most)
    edges = np.log((np.array(least[1:]) - 0.5) * (step_tokens or profile.step_tokens))
    below = ndtr((edges - middle[:, None]) / spread[:, None])
    weight = np.diff(below, axis=1, prepend=0.0, append=1.0).ravel() / EASES
    last = np.array([*(n - 1 for n in least[1:]), most])
    steps = np.tile(np.round(np.sqrt(np.array(least) * last)), EASES)
    chance = np.repeat(profile.chance(ease), len(least))
    likely = np.flatnonzero(weight > 1e-7)
    likely = likely[np.argsort(steps[likely], kind="stable")]  # alike ones side by side
    return weight[likely] / weight[likely].sum(), chance[likely], steps[likely]


def _mean_tokens(profile: Outcomes) -> float:
    """Mean length of a solution in steps: those of its steps are log-normal around their share of it."""
    weight, _, log_median = profile.problem_grid(200, 31)
    law = profile.lengths
    return float(weight @ np.exp(np.minimum(log_median, np.log(law.cap_tokens)) + law.sd_within**2 / 2))


def _groups(width: int, branching: int) -> int:
    if branching < 1 or width < 1 or width % branching:
        raise ValueError(f"width: {width} is not a multiple of branching, {branching}")
    return width // branching


def _levels(verifier: Verifier, n: int, points: int = 4096) -> list[tuple[int, FloatArray]]:
    """For m = 0 ... n: the log odds of n scored nodes, the first m on track, at quasi-random points.

    Scores at a scrambled Sobol sequence of fixed seed, shape (points, n): means over it are integrals over
    the scores, to some 1e-3. Equal verdicts are told apart by chance, as the programs do.
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    common = verifier.common
    u = qmc.Sobol(n + 2 * bool(common), seed=0).random(points).clip(1e-9, 1 - 1e-9)
    u, shared = u[:, :n], u[:, n:]
    noise = ndtri(u)
    levels = []
    for m in range(n + 1):
        right = np.arange(n) < m
        alike = noise
        if common:
            alike = np.sqrt(1 - common) * noise + np.sqrt(common) * ndtri(shared[:, (~right).astype(int)])
        if verifier.completeness is None:
            score = alike + np.where(right, verifier.separation / 2, -verifier.separation / 2)
        else:
            rate = np.where(right, verifier.completeness, 1 - verifier.soundness)
            score = np.where(alike < ndtri(rate), 1.0, -1.0)
        levels.append((m, log_odds(verifier, score) + 1e-9 * np.random.default_rng(m).random(u.shape)))
    return levels


def _share(weights: FloatArray, m: int) -> FloatArray:
    share = weights[:, :m].sum(axis=1) / weights.sum(axis=1)
    return np.asarray(np.minimum(share, 1.0), dtype=np.float64)
