"""Made-up traces: arrivals, lengths, shared prefixes and conversations, from one seed.

Each ingredient has a random stream of its own, spawned from the seed in a fixed order: changing one of them
(twice the rate, longer prompts) leaves the draws of the others as they were.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from foretell.traces.arrivals import Arrivals, ClosedLoop
from foretell.traces.lengths import Lengths, PairLengths
from foretell.traces.table import Chain, FloatArray, IntArray, Trace

_STREAMS = ("arrivals", "lengths", "prefixes", "turns", "thinking", "priorities")


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Shared prompt prefixes, such as system prompts, put before what the lengths draw.

    Group k of 1..groups is drawn with chance ∝ 1/k^zipf; a request has one with chance `share`.

    Attributes:
        groups: number of different prefixes, at least 1.
        tokens: length of each, at least 1.
        zipf: exponent of popularity, 0 or more; 0 is even.
        share: part of the requests (of the conversations, with sessions) that have a prefix, 0 to 1.

    """

    groups: int
    tokens: int
    zipf: float = 0.0
    share: float = 1.0

    def __post_init__(self) -> None:
        for field in ("groups", "tokens"):
            if getattr(self, field) < 1:
                raise ValueError(f"prefixes: {field} is {getattr(self, field)}; it must be at least 1")
        if not (math.isfinite(self.zipf) and self.zipf >= 0):
            raise ValueError(f"prefixes: zipf is {self.zipf}; it must be 0 or more")
        if not 0 <= self.share <= 1:
            raise ValueError(f"prefixes: share is {self.share}; it must lie between 0 and 1")

    def popularity(self) -> FloatArray:
        """Chance of each group."""
        weights = np.arange(1, self.groups + 1, dtype=np.float64) ** -self.zipf
        return np.asarray(weights / weights.sum())

    def sample(self, rng: np.random.Generator, size: int) -> IntArray:
        """Draw the group (from 0) of each request, -1 for none."""
        picks, has = rng.spawn(2)
        # By inversion, so that a change of zipf moves only as many picks as it must.
        groups = np.searchsorted(np.cumsum(self.popularity()), picks.random(size), side="right")
        groups = np.minimum(groups, self.groups - 1).astype(np.int64)
        return np.where(has.random(size) < self.share, groups, -1)


class Durations(Protocol):
    """A distribution of times [s]."""

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        """Draw times [s]."""


@dataclass(frozen=True, slots=True)
class FixedTime:
    """Always the same time.

    Attributes:
        seconds: the time, 0 or more [s].

    """

    seconds: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ValueError(f"think_s is {self.seconds}; it must be 0 or more")

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        """Return times; nothing is drawn."""
        return np.full(size, float(self.seconds))


@dataclass(frozen=True, slots=True)
class ExponentialTime:
    """Exponential times.

    Attributes:
        mean_s: mean, 0 or more [s].

    """

    mean_s: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean_s) and self.mean_s >= 0):
            raise ValueError(f"think_s: exponential mean is {self.mean_s}; it must be 0 or more")

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        """Draw times."""
        return rng.standard_exponential(size) * self.mean_s


@dataclass(frozen=True, slots=True)
class LogNormalTime:
    """Log-normal times.

    Attributes:
        median_s: median, positive [s].
        sigma: standard deviation of the logarithm, 0 or more.

    """

    median_s: float
    sigma: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.median_s) and self.median_s > 0 and math.isfinite(self.sigma)):
            raise ValueError(f"think_s: lognormal median_s is {self.median_s}; it must be positive")
        if self.sigma < 0:
            raise ValueError(f"think_s: lognormal sigma is {self.sigma}; it must be 0 or more")

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        """Draw times."""
        return self.median_s * np.exp(self.sigma * rng.standard_normal(size))


@dataclass(frozen=True, slots=True)
class Geometric:
    """A geometric number of turns: after each, the conversation goes on with chance 1 − 1/average.

    Attributes:
        average: mean number of turns, at least 1.

    """

    average: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.average) and self.average >= 1):
            raise ValueError(f"turns: geometric mean is {self.average}; it must be at least 1")

    def sample(self, rng: np.random.Generator, size: int) -> IntArray:
        """Draw numbers of turns."""
        return rng.geometric(1 / self.average, size).astype(np.int64)

    def mean(self) -> float:
        """Mean."""
        return self.average

    def variance(self) -> float:
        """Variance."""
        return self.average * (self.average - 1)


@dataclass(frozen=True, slots=True)
class Sessions:
    """Conversations: the arrivals are those of their first turns, and each turn's prompt holds the history.

    Attributes:
        turns: distribution of the number of turns.
        think: pause between an answer and the next question.
        max_tokens: a turn that would make prompt + answer longer ends the conversation; None sets no bound.

    """

    turns: Lengths
    think: Durations
    max_tokens: int | None = None


def generate(
    arrivals: Arrivals | ClosedLoop,
    lengths: PairLengths,
    *,
    num_requests: int | None = None,
    duration_s: float | None = None,
    seed: int | np.random.SeedSequence = 0,
    prefixes: Prefixes | None = None,
    sessions: Sessions | None = None,
    priorities: Mapping[int, float] | None = None,
    name: str = "generated",
) -> Trace:
    """Make up a trace.

    Args:
        arrivals: when requests (with sessions: conversations) begin, or a closed loop.
        lengths: prompt and answer lengths; with sessions, a prompt is what a turn adds to the history.
        num_requests: number of requests, turns counted singly; the last conversation may be cut short.
        duration_s: length of the arrivals; may stand beside num_requests.
        seed: a number or a SeedSequence; equal seeds make equal traces, and the sequence is not used up.
        prefixes: shared prefixes, added to the prompts.
        sessions: conversations.
        priorities: priority → weight of being drawn.
        name: name of the trace.

    Raises:
        ValueError: neither bound, a closed loop without num_requests or with sessions.

    """
    streams = _streams(seed)
    if isinstance(arrivals, ClosedLoop):
        if num_requests is None or duration_s is not None:
            raise ValueError(
                "a closed loop needs num_requests, and no duration_s: it has no times of its own"
            )
        if sessions is not None:
            raise ValueError("closed_loop does not go with sessions: a conversation paces itself already")
        begins = np.zeros(num_requests)
    else:
        begins = arrivals.times(streams["arrivals"], num_requests, duration_s)
    if sessions is not None:
        return _conversations(begins, lengths, num_requests, streams, prefixes, sessions, priorities, name)
    prompt, output = lengths.sample(streams["lengths"], len(begins))
    segments: list[Chain] | None = None
    if prefixes is not None:
        groups = prefixes.sample(streams["prefixes"], len(begins))
        prompt = prompt + np.where(groups >= 0, prefixes.tokens, 0)
        chains: list[Chain] = [((f"g{k}", prefixes.tokens),) for k in range(prefixes.groups)]
        chains.append(())
        segments = [chains[k] for k in groups.tolist()]
    loop = arrivals if isinstance(arrivals, ClosedLoop) else None
    return Trace(
        begins,
        prompt,
        output,
        priority=_priority(streams["priorities"], len(begins), priorities),
        think_s=np.full(len(begins), loop.think_s) if loop is not None and loop.think_s else None,
        segments=segments,
        concurrency=loop.concurrency if loop is not None else None,
        name=name,
    )


def _conversations(
    begins: FloatArray,
    lengths: PairLengths,
    num_requests: int | None,
    streams: Mapping[str, np.random.Generator],
    prefixes: Prefixes | None,
    sessions: Sessions,
    priorities: Mapping[int, float] | None,
    name: str,
) -> Trace:
    turns = sessions.turns.sample(streams["turns"], len(begins))
    session = np.repeat(np.arange(len(begins)), turns)
    first = np.cumsum(turns) - turns  # row of each conversation's first turn
    text, output = lengths.sample(streams["lengths"], len(session))
    think = sessions.think.sample(streams["thinking"], len(session))
    groups = np.full(len(begins), -1)
    shared = np.zeros(len(begins), dtype=np.int64)
    if prefixes is not None:
        groups = prefixes.sample(streams["prefixes"], len(begins))
        shared = np.where(groups >= 0, prefixes.tokens, 0)
    total = np.cumsum(text + output)
    before = (total - text - output)[first]  # what earlier conversations hold
    held = total - before[session] + shared[session]  # tokens after each turn's answer
    turn = np.arange(len(session)) - first[session]
    keep = np.ones(len(session), dtype=bool)
    if sessions.max_tokens is not None:
        keep = held <= sessions.max_tokens
        if not keep[first].any() and len(keep):
            message = f"sessions: max_tokens is {sessions.max_tokens}; no first turn is so short"
            raise ValueError(message)
    rows = np.flatnonzero(keep)[:num_requests]
    priority = _priority(streams["priorities"], len(begins), priorities)
    names = [f"s{i}" for i in range(len(begins))]
    segments: list[Chain] = []
    for at, tokens in zip(session[rows].tolist(), held[rows].tolist(), strict=True):
        group, k = int(groups[at]), int(shared[at])
        stretch = (names[at], tokens - k)
        segments.append(((f"g{group}", k), stretch) if k else (stretch,))
    opening = turn[rows] == 0
    return Trace(
        np.where(opening, begins[session[rows]], 0.0),
        (held - output)[rows],
        output[rows],
        priority=None if priority is None else priority[session[rows]],
        session=[names[at] for at in session[rows].tolist()],
        think_s=np.where(opening, 0.0, think[rows]),
        segments=segments,
        name=name,
    )


def _priority(rng: np.random.Generator, size: int, priorities: Mapping[int, float] | None) -> IntArray | None:
    if priorities is None:
        return None
    weights = np.array(list(priorities.values()), dtype=np.float64)
    if len(weights) == 0 or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError(
            f"priorities: weights are {list(priorities.values())}; they must be 0 or more, not all 0"
        )
    return rng.choice(np.array(list(priorities), dtype=np.int64), size, p=weights / weights.sum())


def _streams(seed: int | np.random.SeedSequence) -> dict[str, np.random.Generator]:
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    # A copy: spawning counts up inside a sequence, and the same seed must give the same trace again.
    fresh = np.random.SeedSequence(root.entropy, spawn_key=root.spawn_key, pool_size=root.pool_size)
    children = fresh.spawn(len(_STREAMS))
    return {name: np.random.default_rng(child) for name, child in zip(_STREAMS, children, strict=True)}
