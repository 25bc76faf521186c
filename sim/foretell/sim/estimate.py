"""A query's latency, tokens, price and energy under load, from a plan and its pools, without a clock.

Each pool is one engine of its kind under its share of the calls (`estimate_load`); a query's latency is what
its stages take one after another, over a grid of problems and luck (`estimate_plans`). So the spread of
latencies is that of lengths: what comes of bursts and queues enters in the mean. Valid in a steady state
below capacity; a full account of queues is not attempted here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from foretell.models.energy import power_model
from foretell.sim.deployment import Deployment, EnginePart
from foretell.sim.estimate_load import Demand, Loaded, Mix, first_token_s, loaded, token_s
from foretell.sim.estimate_plans import Plan, Stage, latencies, quantiles


@dataclass(frozen=True, slots=True)
class Steady:
    """A pool in its steady state.

    Attributes:
        engine: one of its engines.
        first_s, prompt_s, token_s: of each of its stages: time to the first token without the prompt's, that
            of the prompts of all siblings, and between tokens, of the last to end.
        context_s: of each of its stages, what the time between tokens gains where calls are a token longer.
        context_tokens: of each of its stages, the mean length that `token_s` is of.
        tpot_s: of each of its stages, mean time between tokens.
        busy_W: power of an accelerator in the mean step; None where it is unknown.

    """

    engine: Loaded
    first_s: tuple[float, ...]
    prompt_s: tuple[float, ...]
    token_s: tuple[float, ...]
    context_s: tuple[float, ...]
    context_tokens: tuple[float, ...]
    tpot_s: tuple[float, ...]
    busy_W: float | None


def steady(
    part: EnginePart, stages: Sequence[Stage], rate_per_s: float, busy_W: float | None = None
) -> Steady:
    """Let the engines of a pool share the calls of these stages evenly.

    Args:
        part: the engines.
        stages: what a query asks of them.
        rate_per_s: queries a second.
        busy_W: power of an accelerator in a step; computed when None.

    """
    config, cost = part.config, part.cost
    demands = [_demand(part, stage, rate_per_s) for stage in stages]
    mix = Mix.of(demands, config.max_num_batched_tokens)
    at = loaded(cost, config, mix, demands)
    firsts, prompts, last, slopes, mean = [], [], [], [], []
    for stage, own in zip(stages, demands, strict=True):
        first_s, prompt_s = first_token_s(cost, config, mix, at, own)
        firsts.append(first_s)
        prompts.append(prompt_s)
        mean.append(token_s(cost, mix, at, own))
        longest = float(np.mean(stage.serial_tokens)) if np.ndim(stage.serial_tokens) else stage.tokens
        beside = max((own.siblings - 1) * min(stage.tokens / max(longest, 1.0), 1.0), 0.0)
        own = replace(own, siblings=1 + beside, overlap=1.0)
        last.append(token_s(cost, mix, at, own))
        double = replace(own, context_tokens=2 * own.context_tokens)
        slopes.append((token_s(cost, mix, at, double) - last[-1]) / own.context_tokens)
    return Steady(
        at,
        tuple(firsts),
        tuple(prompts),
        tuple(last),
        tuple(slopes),
        tuple(demand.context_tokens for demand in demands),
        tuple(mean),
        _busy_W(part, at) if busy_W is None else busy_W,
    )


def estimate(
    deployments: Mapping[str, Deployment],
    plan: Plan,
    rate_per_s: float,
    accuracy: float,
    percentiles: Sequence[float] = (50.0, 90.0, 99.0),
    busy_W: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Figures of queries that come at a rate, by the names of a forecast's summary.

    Args:
        deployments: by pool; the engines of each are alike.
        plan: what a query asks of them.
        rate_per_s: queries a second.
        accuracy: share of right answers, from a closed form.
        percentiles: of the latencies to give.
        busy_W: power of a pool's accelerators in a step, from its own `busy_W` figure; computed when None.

    Raises:
        ValueError: a pool of several kinds of engines.

    """
    pools = {name: [s for s in plan.stages if s.pool == name] for name in deployments}
    states = {
        name: steady(_one_kind(name, deployments[name]), stages, rate_per_s, (busy_W or {}).get(name))
        for name, stages in pools.items()
        if stages
    }
    places = [pools[stage.pool].index(stage) for stage in plan.stages]
    first, prompt, token, slope, context, tpot = (
        [getattr(states[s.pool], name)[i] for s, i in zip(plan.stages, places, strict=True)]
        for name in ("first_s", "prompt_s", "token_s", "context_s", "context_tokens", "tpot_s")
    )
    rho = max(state.engine.rho for state in states.values())
    served = rate_per_s / max(rho, 1.0)
    figures = {
        "accuracy": accuracy,
        "tokens_per_query": plan.tokens_per_query,
        "prompt_tokens_per_query": plan.prompt_tokens_per_query,
        "calls_per_query": plan.calls_per_query,
        "query_throughput_rps": served,
        "load": rho,
        "utilisation": _over(states, deployments, "utilisation"),
        "kv_use": _over(states, deployments, "kv_use"),
        "mean_batch": _over(states, deployments, "calls"),
    }
    late = math.inf if rho >= 1 else 0.0
    names = ["e2e_mean_s", *(f"e2e_p{percentile:g}_s" for percentile in percentiles)]
    if late:  # far beyond the capacity steps have no finite time to reckon with
        figures |= dict.fromkeys(names, late)
    else:
        seconds, weights = latencies(plan, first, prompt, token, slope, context)
        mean_s = float(weights @ seconds / weights.sum())
        figures |= zip(names, [mean_s, *quantiles(seconds, weights, percentiles)], strict=True)
    calls = [s.share * s.calls for s in plan.stages]
    ttft = [a + b for a, b in zip(first, prompt, strict=True)]
    figures["ttft_mean_s"] = _average(ttft, calls) + late
    writing = [c * max(s.tokens - 1, 0.0) for c, s in zip(calls, plan.stages, strict=True)]
    figures["tpot_mean_s"] = _average(tpot, writing)
    return figures | _dear(deployments, states, served, accuracy)


def _dear(
    deployments: Mapping[str, Deployment], states: Mapping[str, Steady], served: float, accuracy: float
) -> dict[str, float]:
    """Price and energy, of all pools, idle time included."""
    figures = {}
    per_correct = 1 / accuracy if accuracy > 0 else math.inf
    rents = [deployment.usd_per_h for deployment in deployments.values()]
    if all(rent is not None for rent in rents):
        usd = math.fsum(rent or 0.0 for rent in rents)
        figures["usd_per_h"] = usd
        figures["usd_per_query"] = usd / 3600 / served
        figures["usd_per_correct"] = figures["usd_per_query"] * per_correct
    powers = [_power_W(deployments[name].parts[0], state) for name, state in states.items()]
    if all(power is not None for power in powers):
        figures["power_W"] = math.fsum(power or 0.0 for power in powers)
        for name, state in states.items():
            figures[f"busy_W of {name}"] = state.busy_W or 0.0
        figures["energy_per_query_J"] = figures["power_W"] / served
        figures["energy_per_correct_J"] = figures["energy_per_query_J"] * per_correct
    return figures


def _one_kind(name: str, deployment: Deployment) -> EnginePart:
    if len(deployment.parts) != 1:
        raise ValueError(
            f"pools.{name}.replicas: the closed form takes engines of one kind, found "
            f"{len(deployment.parts)}; use --method simulate"
        )
    return deployment.parts[0]


def _demand(part: EnginePart, stage: Stage, rate_per_s: float) -> Demand:
    """What a stage asks of one engine of its pool: a router spreads its calls as evenly as it can."""
    siblings = max(stage.calls / part.count, 1.0)
    prompt, private = stage.prompt_tokens, stage.prompt_tokens
    if part.config.enable_prefix_caching:
        size = part.config.block_size
        known = stage.known_tokens // size * size
        common = max(min(stage.common_tokens, prompt - 1) // size * size - known, 0.0)
        prompt = max(prompt - known - common * (1 - 1 / siblings), 1.0)
        private = max(private - stage.known_tokens - common * (1 - 1 / siblings), 0.0)
    written = stage.tokens * (1 + stage.variability) / 2
    return Demand(
        rate_per_s * stage.share * stage.calls / part.count,
        siblings,
        stage.overlap,
        prompt,
        stage.tokens,
        stage.prompt_tokens + written,
        private + written,
        stage.variability,
    )


def _busy_W(part: EnginePart, at: Loaded) -> float | None:
    """Power of one accelerator in the mean step; None where it is unknown."""
    if part.hardware is None or part.hardware.accelerator.tdp_W is None:
        return None
    work = None if part.work is None else part.work(*at.step)
    return float(power_model(part.hardware.accelerator).power_W(part.cost.breakdown(*at.step), work))


def _power_W(part: EnginePart, state: Steady) -> float | None:
    """Power of all accelerators of a pool, as `foretell.sim.power` has it: idle between steps."""
    if part.hardware is None or state.busy_W is None:
        return None
    idle_W = power_model(part.hardware.accelerator).idle_W
    busy = state.engine.utilisation
    return part.count * part.accelerators * (busy * state.busy_W + (1 - busy) * idle_W)


def _over(states: Mapping[str, Steady], deployments: Mapping[str, Deployment], figure: str) -> float:
    """Mean over all engines."""
    counts = [len(deployments[name].engines) for name in states]
    return _average([getattr(state.engine, figure) for state in states.values()], counts)


def _average(values: Sequence[float], weights: Sequence[float]) -> float:
    whole = math.fsum(weights)
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / whole if whole else math.nan
