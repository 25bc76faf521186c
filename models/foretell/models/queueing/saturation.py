"""The most that an engine with continuous batching carries: what it does when a line always waits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from foretell.models.queueing.backlog import prompt_backlog, step_seconds
from foretell.models.queueing.lengths import Lengths
from foretell.models.stepcost import StepCost


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What bounds the batch of an engine.

    Attributes:
        max_num_seqs: requests that may run at once.
        max_num_batched_tokens: tokens that a step may schedule, prompts in chunks.
        kv_tokens: of the KV cache.
        block_size: tokens of a KV block.
        async_scheduling: whether a step is planned while the one before it runs.
        enable_prefix_caching: whether what preempted requests held may be found again.

    """

    max_num_seqs: int
    max_num_batched_tokens: int
    kv_tokens: float = math.inf
    block_size: int = 16
    async_scheduling: bool = False
    enable_prefix_caching: bool = False

    def __post_init__(self) -> None:
        for name in ("max_num_seqs", "max_num_batched_tokens", "block_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: {value!r} is not a whole number >= 1")
        if not self.kv_tokens > 0:
            raise ValueError(f"kv_tokens: {self.kv_tokens!r} is not > 0")


@dataclass(frozen=True, slots=True)
class Saturated:
    """An engine with a line that never ends.

    Attributes:
        rate_per_s: requests a second: the capacity.
        limit: requests that run at once, prompts being computed among them.
        decoding: of these, those that decode.
        step_s: mean step.
        bound_by: "max_num_seqs", "kv_cache" or "max_num_batched_tokens".

    """

    rate_per_s: float
    limit: float
    decoding: float
    step_s: float
    bound_by: str


def saturated(cost: StepCost, law: Lengths, limits: EngineLimits) -> Saturated:
    """Find the highest stable rate of an engine.

    Every slot is taken; a request holds one for k + D steps, k of them for its prompt (and one more for the
    release with asynchronous scheduling), so that n = N·D/(k + D) decode; n/D requests a step end and as many
    start. Where their prompts do not fit the token budget B, n falls until n + n/D·E[P] = B.

    Where the KV cache binds, preempted requests are computed again, with all that they held.

    Validity: vLLM's first-come scheduler; where the KV cache binds, few ends a step.

    """
    budget = limits.max_num_batched_tokens
    steps = max(law.decode_steps, 1e-6)
    chunks = 1.0 + max(law.mean_prompt / budget - 1, 0.0)
    held = law.held_tokens(chunks, limits.block_size)
    # What is left free is too little for the next prompt: the residual of one, in the mean.
    free = float((law.prompt**2).mean()) / (2 * law.mean_prompt)
    slots, by_kv = float(limits.max_num_seqs), max(limits.kv_tokens - free, held) / held
    limit, bound = (slots, "max_num_seqs") if slots <= by_kv else (max(by_kv, 1.0), "kv_cache")
    stay = steps + chunks + limits.async_scheduling
    decoding = limit * steps / stay
    by_tokens = budget / (1 + law.mean_prompt / steps)
    if by_tokens < decoding:
        decoding = by_tokens
        step_s = float(
            step_seconds(cost, law, *(np.array([x]) for x in (decoding, budget - decoding, budget)))[0]
        )
        return Saturated(decoding / steps / step_s, limit, decoding, step_s, "max_num_batched_tokens")
    again, coming = 0.0, law
    if bound == "kv_cache":
        lost = _recomputed(law, decoding, limits.enable_prefix_caching)
        again = lost / float((law.prompt + law.cached).mean())
        coming = _with_recomputed(law, again)
    come = decoding / steps * (1 + again)
    n, tokens = np.array([decoding]), np.array([min(come * coming.mean_prompt, budget - decoding)])
    about_s = float(step_seconds(cost, coming, n, tokens, budget - n)[0])
    backlog = prompt_backlog(cost, coming, n, come / about_s, budget, come)
    step_s = float(backlog.mean_s[0])
    return Saturated(decoding / steps / step_s, limit, decoding, step_s, bound)


def with_in_flight(solve: Callable[[int], Saturated], inside: float) -> Saturated:
    """An engine with a number of requests in flight that need not be whole: cycles mixed between whole ones.

    Args:
        solve: what `saturated` gives for so many slots.
        inside: requests in flight in the mean, > 0; below 1 the engine idles meanwhile.

    """
    low = max(math.floor(inside), 1)
    one, part = solve(low), inside - low
    if part <= 0:
        return replace(one, rate_per_s=one.rate_per_s * min(inside / low, 1.0), limit=min(one.limit, inside))
    two = solve(low + 1)
    cycle_s = (1 - part) * low / one.rate_per_s + part * (low + 1) / two.rate_per_s
    limit, decoding, step_s = (
        (1 - part) * getattr(one, name) + part * getattr(two, name)
        for name in ("limit", "decoding", "step_s")
    )
    return Saturated(inside / cycle_s, limit, decoding, step_s, two.bound_by)


def _with_recomputed(law: Lengths, again: float) -> Lengths:
    """Law of what comes to be computed where so many of the prompts, for every one that is new, come again.

    Those that come again are computed whole: what was handed over with them, or cached, is gone.
    """
    if not np.any(law.cached):
        return law
    share = again / (1 + again)
    rows = np.arange(len(law.prompt))
    back = np.floor((rows + 1) * share) > np.floor(rows * share)  # evenly, as rows are in order of length
    prompt = np.where(back, law.prompt + law.cached, law.prompt)
    return Lengths(prompt, law.output, np.where(back, 0.0, law.cached))


def _recomputed(law: Lengths, decoding: float, found_again: bool) -> float:
    """Tokens computed again because of preemptions, for every request that ends, with a full KV cache.

    Lay the requests in the order of their arrival end to end, each as long as what it holds: those run that
    lie below X, the sum that fits. Every step takes the n tokens that the others grow by from X, every end
    (n/D a step, about Poisson) adds what it held. A request is preempted when X falls below its own end:
    the last one first, and the first one to come back, as vLLM does. X falls by n in the steps without
    an end, by D·e^{−n/D} tokens for every request that ends, and so many tokens lose their place.

    With a prefix cache the preempted find again what was not overwritten: of what lost its place only that
    which lies further below the preempted than X falls. X has gone half a step below its end and goes one
    more, as nobody starts in a step that preempts; and n more, with a chance of e^{−n/D} each time. Answers
    of the same length end in groups, between which all is overwritten.
    """
    steps = max(law.decode_steps, 1e-6)
    quiet = math.exp(-decoding / steps)  # chance of a step without an end
    lost = steps * quiet
    if not found_again or quiet == 0:
        return lost
    more = decoding * quiet / (1 - quiet)
    held = law.prompt + law.cached
    beyond = np.maximum(held - 1.5 * decoding, 0.0)
    gone = np.minimum(held, 1.5 * decoding) - more * np.expm1(-beyond / more)
    share = float(gone.mean()) / float(held.mean())
    return lost * (share + (1 - share) * law.equal)
