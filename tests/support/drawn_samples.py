"""Samples drawn from a profile as its documentation says, without the simulator: for fits to recover."""

from __future__ import annotations

import numpy as np

from foretell.models.eval_log import Samples
from foretell.models.outcomes import Outcomes
from foretell.models.verifiers import Verifier


def draw_samples(profile: Outcomes, problems: int, each: int, seed: int) -> Samples:
    """`each` samples of every one of `problems` problems."""
    from scipy.special import ndtr, ndtri

    rng = np.random.default_rng(seed)
    ease, verbosity = rng.standard_normal((2, problems))
    chance, log_median = profile.chance(ease), profile.log_median(ease, verbosity)
    of = np.repeat(np.arange(problems), each)
    right = rng.random(len(of)) < chance[of]
    law = profile.lengths
    mean = log_median[of] + np.where(right, 0.0, np.log(law.wrong_ratio))
    below_cap = ndtr((np.log(law.cap_tokens) - mean) / law.sd_within)
    rank = rng.random(len(of)) * np.where(right, below_cap, 1.0)
    tokens = np.minimum(np.exp(mean + law.sd_within * ndtri(rank)), law.cap_tokens)
    share, spread = profile.answers.top_wrong_share, profile.answers.spread
    top = np.full(problems, share)
    if np.isfinite(spread):
        top = rng.beta(share * spread, (1 - share) * spread, problems)
    place = rng.geometric(np.clip(top[of], 1e-9, 1.0))
    said = ["right" if good else f"{i}:{k}" for good, i, k in zip(right, of, place, strict=True)]
    cut = ~right & (tokens >= law.cap_tokens)
    answers = tuple(None if gone else answer for gone, answer in zip(cut, said, strict=True))
    apart = Verifier(auc=profile.confidence_auc).separation
    return Samples(of, tokens, right, answers, rng.standard_normal(len(of)) + apart * (right - 0.5), cut)
