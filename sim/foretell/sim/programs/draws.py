"""What happens by chance: the problems of the queries, and the outcome of every sample of every model.

Each sample has a number within its query and model, and is the same whatever asked for it: strategies that
are compared under one seed meet the same problems and the same samples (common random numbers). Everything
is drawn in blocks of `BLOCK` samples for all queries at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from foretell.models.outcomes import FloatArray, Outcomes

RIGHT = 0
"""The right answer to every query; wrong ones are 1, 2, ..., the most frequent first; None is no answer."""
BLOCK = 16
_DISTINCT = 1 << 32
_PROBLEMS, _QUERIES, _MODELS, _JUDGES = range(4)
_INVERSE = NormalDist().inv_cdf


class Outcome(NamedTuple):
    """One sample: its whole length, the answer at its end, how sure it is, and where it settled on it."""

    tokens: int
    answer: int | None
    confidence: float
    settled_at: int


class Samples:
    """The samples of one model to all queries.

    Args:
        profile: the model's.
        ease, verbosity: of the queries' problems, shape (queries,).
        seed: of this model's samples.

    """

    def __init__(
        self, profile: Outcomes, ease: FloatArray, verbosity: FloatArray, seed: np.random.SeedSequence
    ) -> None:
        self.profile = profile
        self.seed = seed
        self.chance = profile.chance(ease)
        self.log_median = profile.log_median(ease, verbosity)
        self.top_wrong = _top_wrong(profile, np.random.default_rng(seed), len(ease))
        self._blocks: list[tuple[list[int], list[int], list[float], list[int]]] = []

    def outcome(self, query: int, number: int) -> Outcome:
        """Sample `number` of a query."""
        block, place = divmod(number, BLOCK)
        while block >= len(self._blocks):
            self._blocks.append(self._draw(len(self._blocks)))
        tokens, answers, confidences, settled = self._blocks[block]
        at = query * BLOCK + place
        answer = answers[at]
        return Outcome(tokens[at], answer if answer >= 0 else None, confidences[at], settled[at])

    def wrong(self, query: int, u: float) -> int:
        """A wrong answer to a query, by a uniform draw."""
        return int(
            _wrong_answer(self.top_wrong[query : query + 1], np.array([u]), _DISTINCT + int(u * 2**52))[0]
        )

    def _draw(self, block: int) -> tuple[list[int], list[int], list[float], list[int]]:
        from scipy.special import ndtr, ndtri

        profile, lengths = self.profile, self.profile.lengths
        rng = np.random.default_rng(
            np.random.SeedSequence(self.seed.entropy, spawn_key=(*self.seed.spawn_key, block))
        )
        shape = (len(self.chance), BLOCK)
        right = rng.random(shape) < self.chance[:, None]
        u, v, w = rng.random(shape), rng.random(shape), rng.random(shape)
        sure = rng.standard_normal(shape)
        median = self.log_median[:, None]
        cap, sd = lengths.cap_tokens, max(lengths.sd_within, 1e-9)
        # Right samples end below the cap; wrong ones may reach it, and then have no answer.
        below = np.where(right, ndtr((np.log(cap) - median) / sd), 1.0)
        log_length = median + np.where(right, 0.0, np.log(lengths.wrong_ratio)) + sd * ndtri(u * below)
        tokens = np.ceil(np.exp(np.minimum(log_length, np.log(cap)))).clip(1, cap).astype(np.int64)
        number = _DISTINCT + block * BLOCK + np.arange(BLOCK)[None, :]
        answer = np.where(right, RIGHT, _wrong_answer(self.top_wrong[:, None], v, number))
        answer[~right & (log_length >= np.log(cap))] = -1
        separation = np.sqrt(2) * ndtri(np.clip(profile.confidence_auc, 1e-12, 1 - 1e-12))
        confidence = sure + separation * np.where(right, 0.5, -0.5)
        settled = np.ceil(tokens * w ** (1 / profile.settling)).astype(np.int64)
        return (
            tokens.ravel().tolist(),
            answer.ravel().tolist(),
            confidence.ravel().tolist(),
            settled.ravel().tolist(),
        )


@dataclass(slots=True)
class Draws:
    """All that is drawn for a run.

    Attributes:
        samples: of each model, by pool.
        eases: of the problems, by pool.
        verbosity: of the problems.

    """

    n_queries: int
    seed: np.random.SeedSequence
    samples: dict[str, Samples]
    _uniforms: list[list[float]] = field(default_factory=list)
    _shared: dict[tuple[int, ...], FloatArray] = field(default_factory=dict)

    @classmethod
    def make(cls, profiles: Mapping[str, Outcomes], n_queries: int, seed: np.random.SeedSequence) -> Draws:
        """Draw the problems; samples follow when they are asked for.

        Args:
            profiles: by pool; pools with one model share its samples.
            n_queries: how many.
            seed: of everything.

        """
        rng = np.random.default_rng(_child(seed, _PROBLEMS))
        common, verbosity = rng.standard_normal(n_queries), rng.standard_normal(n_queries)
        by_profile: dict[int, Samples] = {}
        for profile in profiles.values():
            if id(profile) not in by_profile:
                own = _child(seed, _MODELS, crc32(profile.model.encode()))
                shared = profile.difficulty.shared
                mine = np.random.default_rng(_child(own, 0)).standard_normal(n_queries)
                ease = np.sqrt(shared) * common + np.sqrt(1 - shared) * mine
                by_profile[id(profile)] = Samples(profile, ease, verbosity, _child(own, 1))
        return cls(n_queries, seed, {pool: by_profile[id(p)] for pool, p in profiles.items()})

    def uniform(self, query: int, number: int) -> float:
        """Uniform draw `number` of a query, in (0, 1)."""
        block, place = divmod(number, BLOCK)
        while block >= len(self._uniforms):
            rng = np.random.default_rng(_child(self.seed, _QUERIES, len(self._uniforms)))
            self._uniforms.append((1 - rng.random(self.n_queries * BLOCK)).tolist())
        return min(self._uniforms[block][query * BLOCK + place], 1 - 2**-53)

    def normal(self, query: int, number: int) -> float:
        """Standard normal draw `number` of a query (it and the uniform one of this number are one draw)."""
        return _INVERSE(self.uniform(query, number))

    def shared(self, query: int, *key: int) -> float:
        """Standard normal draw of a query by a key, always the same: what a judge's errors share."""
        if key not in self._shared:
            rng = np.random.default_rng(_child(self.seed, _JUDGES, *key))
            self._shared[key] = rng.standard_normal(self.n_queries)
        return float(self._shared[key][query])


def _child(seed: np.random.SeedSequence, *key: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *key))


def _top_wrong(profile: Outcomes, rng: np.random.Generator, n: int) -> FloatArray:
    law = profile.answers
    if law.top_wrong_share in (0.0, 1.0) or np.isinf(law.spread):
        return np.full(n, law.top_wrong_share)
    a, b = law.top_wrong_share * law.spread, (1 - law.top_wrong_share) * law.spread
    return rng.beta(a, b, n)


def _wrong_answer(
    top_share: FloatArray, u: FloatArray, distinct: npt.NDArray[np.int64] | int
) -> npt.NDArray[np.int64]:
    """The wrong answer at a uniform draw: geometric in its rank; `distinct` where no two agree."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rank = 1 + np.floor(np.log1p(-u) / np.log1p(-top_share))
    alike = np.where(np.isfinite(rank), rank, 1).clip(1, _DISTINCT).astype(np.int64)
    return np.where(top_share > 0, np.where(top_share < 1, alike, 1), distinct)
