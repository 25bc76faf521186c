"""What load does to one engine: the fixed point of Little's law, without a clock.

Calls that arrive a times a second and take S steps each keep L = a·S·t of them in the engine, where a step
takes t(L): the batch sets the step time, the step time the batch. Where the batch may not grow further
(max_num_seqs, the KV cache, the token budget of a step) calls wait, as in a queue with so many servers.

Validity: steady state and means. A call sees the time average of the others (Poisson arrivals) and its
siblings while they overlap; preemptions, chunked prompts and what a router does about imbalance are left
out. docs/compare.md has the errors against the simulator.

Sources: Little (1961); Sakasegawa, An approximation formula L_q = α·ρ^β/(1−ρ) (1977), with Allen and
Cunneen's variability (C_a² + C_s²)/2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from foretell.models import StepCost, StepLoad
from foretell.sim.config import EngineConfig


@dataclass(frozen=True, slots=True)
class Demand:
    """Like calls that queries make of one engine.

    Attributes:
        rate_per_s: calls a second.
        siblings: calls of one query that start together here, this one among them, >= 1.
        overlap: share of a call's tokens during which a sibling is still writing, in [0, 1].
        prompt_tokens: to be computed, what a cache holds left out.
        output_tokens: mean.
        context_tokens: mean KV tokens that a decode step reads for a call.
        held_tokens: mean KV tokens that a call holds for itself.
        variability: squared coefficient of variation of the tokens of a call.

    """

    rate_per_s: float
    siblings: float
    overlap: float
    prompt_tokens: float
    output_tokens: float
    context_tokens: float
    held_tokens: float
    variability: float = 0.0

    def steps(self, budget: int) -> float:
        """Steps that a call takes part in when a step may compute `budget` prompt tokens."""
        return self.prefills(budget) + max(self.output_tokens - 1, 0.0)

    def prefills(self, budget: int) -> float:
        """Steps that compute its prompt."""
        return max(1.0, self.prompt_tokens / budget)


@dataclass(frozen=True, slots=True)
class Loaded:
    """One engine under load.

    Attributes:
        rho: load over capacity; from 1 on nothing else holds.
        calls: in the engine, mean over time.
        limit: calls that can run at once.
        utilisation: share of the time in which it runs a step.
        kv_use: share of the KV cache in use.
        wait_s: mean time until a call may start.
        step: load of the mean step while it is busy.

    """

    rho: float
    calls: float
    limit: float
    utilisation: float
    kv_use: float
    wait_s: float
    step: StepLoad


@dataclass(frozen=True, slots=True)
class Mix:
    """The mean call in an engine, each kind counted as long as it stays.

    Attributes:
        rate_per_s: calls a second, of all kinds.
        steps_per_s: steps that these take part in.
        siblings, overlap, context_tokens, held_tokens, variability: means of `Demand`.
        prompt_tokens, prompt_pairs, prefills: of a step, for every call in the engine.
        budget: prompt tokens that a step may compute.

    """

    rate_per_s: float
    steps_per_s: float
    siblings: float
    overlap: float
    context_tokens: float
    held_tokens: float
    variability: float
    prompt_tokens: float
    prompt_pairs: float
    prefills: float
    budget: int

    @classmethod
    def of(cls, demands: Sequence[Demand], budget: int) -> Mix:
        """Average what is asked of an engine, at least one call a query."""
        stays = [d.rate_per_s * d.steps(budget) for d in demands]
        whole = math.fsum(stays)

        def mean(figures: Iterable[float]) -> float:
            return math.fsum(s * x for s, x in zip(stays, figures, strict=True)) / whole

        def each(figures: Iterable[float]) -> float:
            return math.fsum(d.rate_per_s * x for d, x in zip(demands, figures, strict=True)) / whole

        return cls(
            math.fsum(d.rate_per_s for d in demands),
            whole,
            mean(d.siblings for d in demands),
            mean(d.overlap for d in demands),
            mean(d.context_tokens for d in demands),
            mean(d.held_tokens for d in demands),
            mean(d.variability for d in demands),
            each(d.prompt_tokens for d in demands),
            each(d.prompt_tokens**2 / 2 for d in demands),
            each(d.prefills(budget) for d in demands),
            budget,
        )

    def load(self, calls: float, decoding: float = 0.0, context: float | None = None) -> StepLoad:
        """Figures of a step with so many calls in the engine, and as many more that decode for sure."""
        tokens, prefills = calls * self.prompt_tokens, calls * self.prefills
        read = (calls - prefills) * self.context_tokens
        read += decoding * (self.context_tokens if context is None else context)
        writing = calls - prefills + decoding
        return StepLoad(
            tokens, calls * self.prompt_pairs, tokens, prefills, writing, read, writing + prefills
        )


def loaded(cost: StepCost, config: EngineConfig, mix: Mix, demands: Sequence[Demand]) -> Loaded:
    """Find the steady state of one engine.

    Args:
        cost: seconds of a step.
        config: the engine's settings.
        mix: the mean of the demands.
        demands: what is asked of it.

    """
    kv_tokens = (config.num_gpu_blocks - 1) * config.block_size
    held, prompts = mix.held_tokens, mix.prompt_tokens
    limit = min(
        float(config.max_num_seqs),
        max(kv_tokens / held, 1.0),
        config.max_num_batched_tokens / prompts if prompts > 0 else math.inf,
    )
    siblings = max(mix.siblings - 1, 0.0) * mix.overlap

    def step_s(calls: float) -> float:
        return float(cost(*mix.load(min(calls, max(limit - 1 - siblings, 0.0)), 1 + siblings)))

    full_s = float(cost(*mix.load(limit)))
    rho = mix.steps_per_s * full_s / limit
    if rho >= 1:
        return Loaded(rho, limit, limit, 1.0, min(limit * held / kv_tokens, 1.0), math.inf, mix.load(limit))
    calls = _fixed_point(lambda n: mix.steps_per_s * step_s(n), limit)
    busy = -math.expm1(-math.fsum(_presence(d, mix.budget, step_s(calls)) for d in demands))
    busy = min(max(busy, calls / limit), 1.0)
    variability = (mix.siblings + mix.variability) / 2
    full = min(calls / limit, 1 - 1e-9)
    service_s = mix.steps_per_s / mix.rate_per_s * step_s(calls)
    wait_s = variability * full ** (math.sqrt(2 * (limit + 1)) - 1) / (limit * (1 - full)) * service_s
    kv_use = min(calls * held / kv_tokens, 1.0)
    return Loaded(rho, calls, limit, busy, kv_use, wait_s, mix.load(calls / busy))


def token_s(cost: StepCost, mix: Mix, at: Loaded, own: Demand) -> float:
    """Mean time between tokens of a call of `own`, which sees the others and its siblings."""
    beside = min(1 + (own.siblings - 1) * own.overlap, at.limit)
    others = min(at.calls, at.limit - beside)
    return float(cost(*mix.load(others, beside, own.context_tokens)))


def first_token_s(
    cost: StepCost, config: EngineConfig, mix: Mix, at: Loaded, own: Demand
) -> tuple[float, float]:
    """Mean time to the first token of a call of `own`: what it waits for, and its and its siblings' prompts.

    It waits for the running step and the queue; asynchronous scheduling has planned one more step already.
    """
    running = mix.load(min(at.calls, at.limit))
    running_s = float(cost(*running))
    rest_s = at.utilisation * running_s * (1.5 if config.async_scheduling else 0.5)
    tokens = own.siblings * own.prompt_tokens
    steps = max(math.ceil(tokens / mix.budget), 1)
    each = tokens / steps
    step = StepLoad(
        each, each * own.prompt_tokens / 2, each, own.siblings / steps, running[4], running[5], running[6] + 1
    )
    return rest_s + at.wait_s, steps * float(cost(*step))


def _presence(demand: Demand, budget: int, step_s: float) -> float:
    """Mean number of queries that have a call here; it leaves once its last sibling has."""
    longest = 1 + (1 - demand.overlap) * math.log(max(demand.siblings, 1.0))
    return demand.rate_per_s / demand.siblings * demand.steps(budget) * longest * step_s


def _fixed_point(image: Callable[[float], float], limit: float) -> float:
    """The n in [0, limit] with image(n) = n, by regula falsi (Illinois); image(limit) <= limit."""
    low, high = 0.0, limit
    below, above = image(low), min(image(high) - high, 0.0)
    for _ in range(60):
        if below <= 0:
            return low
        n = high - above * (high - low) / (above - below)
        miss = image(n) - n
        if abs(miss) <= 1e-6 * n or high - low <= 1e-9 * limit:
            return n
        if miss > 0:
            low, below, above = n, miss, above / 2
        else:
            high, above, below = n, miss, below / 2
    return (low + high) / 2
