"""What a strategy comes to on an outcome profile, in closed form: accuracy and tokens of a query, unloaded.

One function for a program, with the program's own name and parameters. Means are over the profile's problems;
deadlines, queueing and what else depends on load are the simulator's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import inf

import numpy as np

from foretell.models.accuracy.first_finish import first_finish as _first
from foretell.models.accuracy.lengths import Traces
from foretell.models.accuracy.revision import revised
from foretell.models.accuracy.selection import best_of_n as _best
from foretell.models.accuracy.selection import first_accepted
from foretell.models.accuracy.truncation import forced_answer
from foretell.models.accuracy.verifier import accepted_within, by_rates, samples_until_accepted
from foretell.models.accuracy.voting import MOST_VOTES, gaussian_vote, majority_vote
from foretell.models.accuracy.weighted import weighted_vote as _weighted
from foretell.models.outcomes import Difficulty, FloatArray, Lengths, Outcomes
from foretell.models.verifiers import Verifier

_EASES, _VERBOSITIES = 100, 5
ORACLE = Verifier(auc=1.0)


@dataclass(frozen=True, slots=True)
class Expected:
    """Means of a query.

    Attributes:
        accuracy: chance that the returned answer is right.
        tokens: written in all its samples; verdicts' are not counted.
        critical_tokens: written one after the other: the longest of samples at once, the sum of others.
        samples: drawn.
        judged: samples that a verifier reads.
        by_model: tokens by model, for strategies with several.

    """

    accuracy: float
    tokens: float
    critical_tokens: float
    samples: float = 1.0
    judged: float = 0.0
    by_model: tuple[float, ...] = field(default=())


def single(profile: Outcomes, *, max_tokens: float = inf) -> Expected:
    """One sample, cut at `max_tokens`: E[p·F(T)/F(cap)]."""
    weight, traces = problems(profile)
    tokens = float(weight @ traces.mean(max_tokens))
    return Expected(float(weight @ traces.right(max_tokens)), tokens, tokens)


def best_of_n(
    profile: Outcomes, *, n: int = 8, verifier: Verifier = ORACLE, max_tokens: float = inf
) -> Expected:
    """The best of n samples by a verifier's score or verdict; see `selection`. An AUC of 1 is pass@n."""
    weight, traces = problems(profile)
    right, wrong = traces.right(max_tokens), traces.wrong(max_tokens)
    if verifier.completeness is None:
        chosen = _best(right, n, verifier.separation, wrong, verifier.common)
    else:
        rates = verifier.completeness, verifier.soundness
        chosen = first_accepted(right, n, *rates, wrong, verifier.common)
    return _parallel(
        float(weight @ chosen), weight, traces, n, max_tokens, n * float(weight @ (right + wrong))
    )


def self_consistency(profile: Outcomes, *, n: int = 16, max_tokens: float = inf) -> Expected:
    """A plurality vote of n samples: exact up to `MOST_VOTES`, a normal lead beyond."""
    weight, traces = problems(profile)
    part, right, wrong = _distinct(weight, traces, max_tokens)
    if n <= MOST_VOTES:
        won = majority_vote(right, n, profile.answers, wrong)
    else:
        won = gaussian_vote(right, profile.answers.top_wrong_share * wrong, n)
    return _parallel(float(part @ won), weight, traces, n, max_tokens)


def weighted_vote(
    profile: Outcomes,
    *,
    n: int = 16,
    verifier: Verifier | None = None,
    temperature: float = 1.0,
    max_tokens: float = inf,
) -> Expected:
    """A vote weighed by exp(score/temperature), of the sample's confidence or a verifier's score.

    Raises:
        ValueError: for a verifier that gives verdicts, and what `weighted.weighted_vote` refuses.

    """
    if verifier is not None and verifier.completeness is not None:
        raise ValueError("verifier: a vote weighed by verdicts has no closed form; give an auc, or simulate")
    if verifier is not None and verifier.common:
        raise ValueError("verifier.common: a vote weighed by scores has no closed form above 0; simulate")
    weight, traces = problems(profile)
    part, right, wrong = _distinct(weight, traces, max_tokens)
    auc = profile.confidence_auc if verifier is None else verifier.auc
    won = _weighted(right, n, profile.answers, auc, temperature, wrong)
    judged = 0.0 if verifier is None else n * float(part @ (right + wrong))
    return _parallel(float(part @ won), weight, traces, n, max_tokens, judged)


def first_finish(profile: Outcomes, *, n: int = 4, max_tokens: float = inf) -> Expected:
    """The first of n samples to end; the others write as many tokens until they are given up."""
    weight, traces = problems(profile)
    accuracy, tokens = (float(weight @ x) for x in _first(traces, n, max_tokens))
    return Expected(accuracy, n * tokens, tokens, n)


def budget_forcing(profile: Outcomes, *, max_tokens: float = 8192, probe_tokens: int = 16) -> Expected:
    """One sample, that is made to answer where it is cut; without waits, which depend on what is left."""
    weight, traces = problems(profile)
    forced = forced_answer(traces, max_tokens, profile.settling, profile.guess_ratio)
    cut = 1 - traces.right(max_tokens) - traces.wrong(max_tokens)
    tokens = float(weight @ (traces.mean(max_tokens) + cut * probe_tokens))
    return Expected(float(weight @ forced), tokens, tokens)


def rejection_by_length(profile: Outcomes, *, max_tokens: float = 8192, tries: int = 8) -> Expected:
    """Samples one after the other until one ends in time: r/(r+w)·(1 − (1−r−w)^tries)."""
    weight, traces = problems(profile)
    right, wrong = traces.right(max_tokens), traces.wrong(max_tokens)
    accuracy = weight @ accepted_within(right, wrong, tries)[0]
    drawn = samples_until_accepted(right, wrong, tries)
    tokens = float(weight @ (drawn * traces.mean(max_tokens)))
    return Expected(float(accuracy), tokens, tokens, float(weight @ drawn))


def sequential_until_accepted(profile: Outcomes, *, n: int = 8, verifier: Verifier = ORACLE) -> Expected:
    """Samples one after the other until a verifier accepts one (a score above 0), n at most; else none."""
    from foretell.models.accuracy.cascade import gate

    weight, traces = problems(profile)
    right = traces.right(inf)
    if verifier.completeness is not None:
        accepts = verifier.completeness, 1 - verifier.soundness
    else:
        accepts = gate(verifier.auc, 0.0)
    won, drawn = np.zeros_like(right), np.zeros_like(right)
    # One without an answer is judged as wrong, and as wrong as any if accepted: only the right share counts.
    for share, good, bad in by_rates(right, accepts[0], 1 - accepts[1], verifier.common):
        won += share * accepted_within(good, bad, n)[0]
        drawn += share * samples_until_accepted(good, bad, n)
    accuracy = float(weight @ won)
    tokens = float(weight @ (drawn * traces.mean(inf)))
    samples = float(weight @ drawn)
    return Expected(accuracy, tokens, tokens, samples, samples)


def dynasor(profile: Outcomes, *, agree: int = 3, chunk_tokens: int = 64, probe_tokens: int = 16) -> Expected:
    """One sample, probed after every chunk and stopped when the last probes agree; see `stopping`."""
    from foretell.models.accuracy.stopping import stop_on_agreement

    weight, traces = problems(profile)
    found = stop_on_agreement(
        traces,
        profile.answers,
        agree=agree,
        chunk_tokens=chunk_tokens,
        settling=profile.settling,
        guess_ratio=profile.guess_ratio,
    )
    tokens = float(weight @ (found.tokens + probe_tokens * found.probes))
    return Expected(float(weight @ found.accuracy), tokens, tokens)


def revision(profile: Outcomes, *, rounds: int = 4) -> Expected:
    """One sample and a chain of revisions, each `tokens_ratio` as long as a fresh sample."""
    weight, traces = problems(profile)
    accuracy = float(revised(weight @ traces.right(inf), profile.revision, rounds)[-1])
    tokens = float(weight @ traces.mean(inf)) * (1 + rounds * profile.revision.tokens_ratio)
    return Expected(accuracy, tokens, tokens, 1.0 + rounds)


def problems(profile: Outcomes) -> tuple[FloatArray, Traces]:
    """Weights, and the samples, of a grid of the profile's problems; weights add up to 1."""
    return _problems(profile.difficulty, profile.lengths)


@lru_cache(maxsize=256)
def _problems(difficulty: Difficulty, lengths: Lengths) -> tuple[FloatArray, Traces]:
    grid = Outcomes("", "", difficulty, lengths).problem_grid(_EASES, _VERBOSITIES)
    return grid[0], Traces(grid[1], grid[2], lengths)


def _distinct(
    weight: FloatArray, traces: Traces, max_tokens: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights and chances of right and wrong answers; one problem for each ease where nobody is cut."""
    right, wrong = traces.right(max_tokens), traces.wrong(max_tokens)
    if np.max(1 - right - wrong) > 1e-9:
        return weight, right, wrong
    chance = right[::_VERBOSITIES]
    return weight.reshape(-1, _VERBOSITIES).sum(axis=1), chance, 1 - chance


def _parallel(
    accuracy: float, weight: FloatArray, traces: Traces, n: int, max_tokens: float, judged: float = 0.0
) -> Expected:
    tokens = n * float(weight @ traces.mean(max_tokens))
    return Expected(accuracy, tokens, float(weight @ traces.longest(n, max_tokens)), n, judged)
