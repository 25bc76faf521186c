"""Early stops within a trace: probe it every so many tokens, and stop when the last few answers agree.

A trace of L tokens settles on its final answer at L·u^(1/settling), u uniform; probes from then on say it,
and before, each is a fresh guess: right with guess_ratio·p, else wrong by the law of wrong answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.accuracy.lengths import Traces
from foretell.models.accuracy.voting import top_shares
from foretell.models.outcomes import Answers, FloatArray

_LENGTHS, _SETTLED = 12, 12
_RANKS = 12  # of wrong answers that may agree by chance; the rarer ones never do, often enough to matter


@dataclass(frozen=True, slots=True)
class Stopped:
    """What stopping early comes to, by problem.

    Attributes:
        accuracy: chance that the answer given is right.
        tokens: of the trace until it stops; probes' are not counted.
        whole_tokens: of the trace to its own end.
        probes: asked.

    """

    accuracy: FloatArray
    tokens: FloatArray
    whole_tokens: FloatArray
    probes: FloatArray


def run_chance(shares: FloatArray, window: int, probes: npt.ArrayLike) -> FloatArray:
    """Chance that `window` successive ones of so many independent guesses agree.

    1 − (1 − Σq^w)·exp(−h·(n − w)) with h = Σ q^w·(1 − q)/(1 − Σq^w) the rate at which runs reach w: they
    come about as a Poisson process (the declumping heuristic; Arratia, Goldstein and Gordon 1990), exact
    for n = w. Guesses whose share is missing from `shares` agree with none.

    Args:
        shares: of answers among guesses, along the last axis.
        window: w >= 1.
        probes: n, broadcast against the other axes of shares.

    """
    n = np.asarray(probes, dtype=np.float64)
    at_once, rate = _run_law(shares, window)
    late = (1 - at_once) * np.exp(-rate * np.maximum(n - window, 0.0))
    return np.asarray(np.where(n >= window, 1 - late, 0.0))


def _probes_until(shares: FloatArray, window: int, probes: FloatArray) -> FloatArray:
    """Mean number of guesses until that, or until so many: Σ_{j<n} of the chance that none came by j."""
    at_once, rate = _run_law(shares, window)
    later = (1 - at_once) * np.expm1(-rate * np.maximum(probes - window, 0.0)) / np.expm1(-rate)
    return np.asarray(np.where(probes > window, window + later, probes))


def _run_law(shares: FloatArray, window: int) -> tuple[FloatArray, FloatArray]:
    full = np.minimum(np.sum(shares**window, axis=-1), 1 - 1e-12)
    if window == 1:
        return full, np.maximum(-np.log1p(-full), 1e-12)
    return full, np.maximum(np.sum(shares**window * (1 - shares), axis=-1) / (1 - full), 1e-12)


def stop_on_agreement(
    traces: Traces,
    answers: Answers,
    *,
    agree: int,
    chunk_tokens: int,
    settling: float,
    guess_ratio: float,
) -> Stopped:
    """Dynasor's rule: stop when the last `agree` probes agree, a probe coming after every `chunk_tokens`.

    Guesses that agree stop it too soon, with the answer that they agree on; else it stops at the `agree`-th
    probe after it settled (an agreeing guess just before would make it sooner, which is left out), or at its
    end. Source: Fu et al. 2024, arXiv:2412.20993; presets (agree, chunk_tokens) (8, 64), (5, 64), (3, 64),
    (2, 64), (2, 32).

    Args:
        traces: samples by problem.
        answers: the law of wrong answers.
        agree, chunk_tokens: the rule.
        settling, guess_ratio: see `Outcomes`.

    """
    shares = _guesses(traces.p, answers, guess_ratio)
    right_first = shares[:, 0] ** agree / np.maximum(np.sum(shares**agree, axis=-1), 1e-300)
    u = ((np.arange(_SETTLED) + 0.5) / _SETTLED) ** (1 / settling)
    total = [np.zeros_like(traces.p) for _ in range(4)]
    for right, length, has_answer in _samples(traces):
        settled = np.ceil(length[..., None] * u / chunk_tokens)  # the first probe that says the final answer
        final = np.floor((length[..., None] - 1e-9) / chunk_tokens)  # the last probe before the end
        before = np.minimum(settled - 1, final)
        soon = run_chance(shares[:, None, None, :], agree, before)
        meant = np.where(has_answer[..., None], settled + agree - 1, np.inf)
        stop = np.where(meant <= final, meant * chunk_tokens, length[..., None])
        wasted = _probes_until(shares[:, None, None, :], agree, before) * chunk_tokens
        tokens = wasted + (1 - soon) * (stop - before * chunk_tokens)
        chance = traces.p if right else 1 - traces.p
        kept = (1 - soon) if right else np.zeros_like(soon)
        total[0] += chance * (kept + soon * right_first[:, None, None]).mean(axis=(1, 2))
        total[1] += chance * tokens.mean(axis=(1, 2))
        total[2] += chance * length.mean(axis=1)
        total[3] += chance * np.minimum(np.floor(tokens / chunk_tokens), final).mean(axis=(1, 2))
    return Stopped(*total)


def _samples(traces: Traces) -> list[tuple[bool, FloatArray, npt.NDArray[np.bool_]]]:
    """Lengths of right and of wrong samples at equal steps of their rank, and whether they have an answer."""
    from scipy.special import ndtr, ndtri

    law, rank = traces.law, (np.arange(_LENGTHS) + 0.5) / _LENGTHS
    within = ndtr(traces.z(law.cap_tokens, 0.0)).clip(1e-12)[:, None]
    right = np.exp(traces.log_median[:, None] + law.sd_within * ndtri(rank * within))
    wrong = np.exp(traces.log_median[:, None] + traces.slower + law.sd_within * ndtri(rank))
    capped = np.minimum(wrong, law.cap_tokens)
    return [
        (True, np.minimum(right, law.cap_tokens), np.ones(right.shape, bool)),
        (False, capped, wrong < law.cap_tokens),
    ]


def _guesses(p: FloatArray, answers: Answers, guess_ratio: float) -> FloatArray:
    """Shares of the right and of the most frequent wrong answers among guesses: [problem, answer]."""
    right = guess_ratio * p
    nodes, weight = top_shares(answers)
    s = float(nodes @ weight)
    wrong = (1 - right)[:, None] * s * (1 - s) ** np.arange(_RANKS)
    return np.concatenate([right[:, None], wrong], axis=1)
