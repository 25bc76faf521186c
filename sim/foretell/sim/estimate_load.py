"""What load does to one engine: the fixed point of Little's law, without a clock.

Calls that arrive a times a second and take S steps each keep L = a·S·t of them in the engine, where a step
takes t(L): the batch sets the step time, the step time the batch. Where the batch may not grow further
(max_num_seqs, the KV cache, the token budget of a step) calls wait, as in a queue with so many servers.

Validity: steady state and means. A call sees the time average of the others (Poisson arrivals) and its
siblings while they overlap; preemptions, chunked prompts and what a router does about imbalance are left
out. Within about 15 % of the simulator for latencies below 80 % of capacity (`test_estimate_load`).

Sources: Little (1961); Sakasegawa, An approximation formula L_q = α·ρ^β/(1−ρ) (1977), with Allen and
Cunneen's variability (C_a² + C_s²)/2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
class _Mix:
    """The mean call in the engine."""

    demands: tuple[Demand, ...]
    budget: int

    @property
    def rate_per_s(self) -> float:
        return math.fsum(d.rate_per_s for d in self.demands)

    @property
    def steps(self) -> float:
        """Steps of all calls that arrive in a second."""
        return math.fsum(d.rate_per_s * d.steps(self.budget) for d in self.demands)

    def mean(self, figure: str) -> float:
        """Mean over calls in the engine, each counted as long as it stays."""
        return (
            math.fsum(d.rate_per_s * d.steps(self.budget) * getattr(d, figure) for d in self.demands)
            / self.steps
        )

    def load(self, calls: float, decoding: float = 0.0, context: float | None = None) -> StepLoad:
        """Figures of a step with so many calls in the engine, and as many more that decode for sure."""
        share = calls / self.steps
        prefills = share * math.fsum(d.rate_per_s * d.prefills(self.budget) for d in self.demands)
        tokens = share * math.fsum(d.rate_per_s * d.prompt_tokens for d in self.demands)
        pairs = share * math.fsum(d.rate_per_s * d.prompt_tokens**2 / 2 for d in self.demands)
        decodes = calls - prefills
        read = decodes * self.mean("context_tokens")
        read += decoding * (self.mean("context_tokens") if context is None else context)
        writing = decodes + decoding
        return StepLoad(tokens, pairs, tokens, prefills, writing, read, writing + prefills)


def loaded(cost: StepCost, config: EngineConfig, demands: Sequence[Demand]) -> Loaded:
    """Find the steady state of one engine.

    Args:
        cost: seconds of a step.
        config: the engine's settings.
        demands: what is asked of it, at least one call a query.

    """
    mix = _Mix(tuple(demands), config.max_num_batched_tokens)
    kv_tokens = (config.num_gpu_blocks - 1) * config.block_size
    held = mix.mean("held_tokens")
    prompts = float(mix.load(1.0).prefill_tokens)
    limit = min(
        float(config.max_num_seqs),
        max(kv_tokens / held, 1.0),
        config.max_num_batched_tokens / prompts if prompts > 0 else math.inf,
    )
    siblings = max(mix.mean("siblings") - 1, 0.0) * mix.mean("overlap")

    def step_s(calls: float) -> float:
        return float(cost(*mix.load(min(calls, max(limit - 1 - siblings, 0.0)), 1 + siblings)))

    full_s = float(cost(*mix.load(limit)))
    rho = mix.steps * full_s / limit
    if rho >= 1:
        return Loaded(rho, limit, limit, 1.0, min(limit * held / kv_tokens, 1.0), math.inf, mix.load(limit))
    calls = _fixed_point(lambda n: mix.steps * step_s(n), limit)
    busy = -math.expm1(-math.fsum(_presence(d, mix.budget, step_s(calls)) for d in demands))
    busy = min(max(busy, calls / limit), 1.0)
    variability = (mix.mean("siblings") + mix.mean("variability")) / 2
    full = min(calls / limit, 1 - 1e-9)
    service_s = mix.steps / mix.rate_per_s * step_s(calls)
    wait_s = variability * full ** (math.sqrt(2 * (limit + 1)) - 1) / (limit * (1 - full)) * service_s
    kv_use = min(calls * held / kv_tokens, 1.0)
    return Loaded(rho, calls, limit, busy, kv_use, wait_s, mix.load(calls / busy))


def token_s(
    cost: StepCost, demands: Sequence[Demand], config: EngineConfig, at: Loaded, own: Demand
) -> float:
    """Mean time between tokens of a call of `own`, which sees the others and its siblings."""
    mix = _Mix(tuple(demands), config.max_num_batched_tokens)
    beside = min(1 + (own.siblings - 1) * own.overlap, at.limit)
    others = min(at.calls, at.limit - beside)
    return float(cost(*mix.load(others, beside, own.context_tokens)))


def first_token_s(
    cost: StepCost, demands: Sequence[Demand], config: EngineConfig, at: Loaded, own: Demand
) -> float:
    """Mean time to the first token of a call of `own`: the running step, the queue, its prompt.

    Asynchronous scheduling has planned one more step already.
    """
    mix = _Mix(tuple(demands), config.max_num_batched_tokens)
    running = mix.load(min(at.calls, at.limit))
    rest_s = at.utilisation * float(cost(*running)) * (1.5 if config.async_scheduling else 0.5)
    tokens = own.siblings * own.prompt_tokens
    steps = max(math.ceil(tokens / config.max_num_batched_tokens), 1)
    each = tokens / steps
    step = StepLoad(
        each, each * own.prompt_tokens / 2, each, own.siblings / steps, running[4], running[5], running[6] + 1
    )
    prompt_s = steps * float(cost(*step))
    return rest_s + at.wait_s + prompt_s


def _presence(demand: Demand, budget: int, step_s: float) -> float:
    """Mean number of queries that have a call here; it leaves once its last sibling has."""
    longest = 1 + (1 - demand.overlap) * math.log(max(demand.siblings, 1.0))
    return demand.rate_per_s / demand.siblings * demand.steps(budget) * longest * step_s


def _fixed_point(image: Callable[[float], float], limit: float) -> float:
    """The least n in [0, limit] with image(n) <= n, by bisection: image grows with n."""
    low, high = 0.0, limit
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if image(middle) > middle else (low, middle)
    return (low + high) / 2
