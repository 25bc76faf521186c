"""A scenario by the queueing models: the figures of a forecast in milliseconds, without a clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foretell.models.queueing import (
    ContinuousBatching,
    EngineLimits,
    Lengths,
    Saturated,
    continuous_batching,
    saturated,
)
from foretell.sim.analytic_load import Load, lengths_of, load_of
from foretell.sim.analytic_power import Busy, busy, power_W
from foretell.sim.config import EngineConfig
from foretell.sim.deployment import Deployment, EnginePart, deploy
from foretell.sim.metrics import describe
from foretell.sim.objectives import limits_of, objectives_from_mapping, request_limits
from foretell.sim.scenario import Scenario
from foretell.sim.strategies import Single

METHOD = "closed form: continuous batching as a state-dependent queue"
TRUSTED_LOAD = 0.9
"""Up to this share of the capacity the models agree with the simulator (docs/queueing.md)."""
_IN_TURN = ("round_robin", "least_outstanding", "prefix_affinity", "session_affinity")


@dataclass(frozen=True, slots=True)
class Analysis:
    """What to expect of a scenario in steady state, by closed form.

    Attributes:
        scenario: what was asked.
        deployment: what its pool came to.
        figures: by name, in SI units, those of `foretell.sim.metrics` that a steady state has; and load (rate
            over capacity) and capacity_rps (highest stable rate). Beyond the capacity latencies are infinite.
        method: how they were found.
        notes: what is left out, and where the scenario is outside the method's validity.

    """

    scenario: Scenario
    deployment: Deployment
    figures: dict[str, float]
    method: str
    notes: tuple[str, ...]


def analyse(scenario: Scenario, load: Load | None = None, deployment: Deployment | None = None) -> Analysis:
    """Forecast a scenario without a task by the queueing models.

    Args:
        scenario: with a strategy "single", one call a query.
        load: what `load_of` makes of its workload, where it is known already.
        deployment: what `deploy` makes of its pool, likewise.

    Raises:
        ValueError: a strategy or a workload that this method does not cover, or an impossible scenario.

    Validity: see `foretell.models.queueing.continuous_batching`; every engine gets an even share.

    """
    if scenario.workload.task is not None or not isinstance(scenario.parsed_strategy, Single):
        raise ValueError("strategy: the queueing models cover single calls without a task; simulate this one")
    load = load_of(scenario.workload) if load is None else load
    context = float((load.law.prompt + load.law.output / 2).mean())
    deployment = deploy(scenario.pool, context) if deployment is None else deployment
    engines = len(deployment.engines)
    solved = [_engine(part, load, engines, deployment.router) for part in deployment.parts]
    counts = [part.count for part in deployment.parts]
    rho = max(one.rate_per_s / one.most.rate_per_s for one in solved)
    objectives = objectives_from_mapping(scenario.objectives)
    limits = request_limits(f"{k}:{v}" for k, v in scenario.goodput.items()) or limits_of(objectives)
    asked = {50.0, 90.0, 99.0} | {o.percentile for o in objectives if o.percentile is not None}
    served = sum(c * one.rate_per_s for c, one in zip(counts, solved, strict=True))
    figures = {
        "load": rho,
        "capacity_rps": load.rate_per_s / rho,
        "request_throughput_rps": served if rho < 1 else math.nan,
    }
    tokens = (
        np.array([one.law.mean_prompt for one in solved]),
        np.array([one.law.decode_steps + 1 for one in solved]),
    )
    rates = np.array([c * one.rate_per_s for c, one in zip(counts, solved, strict=True)])
    figures |= _rates(rates, *tokens, rho, deployment)
    figures |= _latencies([one.queue for one in solved], counts, sorted(asked))
    figures |= _busy(deployment, [_busy_at(p, one) for p, one in zip(deployment.parts, solved, strict=True)])
    if rho < 1 and "power_W" in figures:
        figures["energy_per_query_J"] = figures["power_W"] / served
        figures["energy_per_output_token_J"] = figures["power_W"] / figures["output_throughput_tps"]
    if limits:
        shares = [math.nan if one.queue is None else one.queue.attainment(limits) for one in solved]
        figures["attainment"] = float(rates @ shares / load.rate_per_s)
        figures["goodput_rps"] = float(rates @ shares)
    notes = (*deployment.notes, *load.notes, *_remarks(deployment, load, solved, rho))
    return Analysis(scenario, deployment, figures, METHOD, tuple(dict.fromkeys(notes)))


@dataclass(frozen=True, slots=True)
class _Solved:
    """One engine: its share of the load, what it can carry, and its queue if that is stable."""

    rate_per_s: float
    law: Lengths
    rejected: float
    most: Saturated
    queue: ContinuousBatching | None


def limits_of_engine(config: EngineConfig) -> EngineLimits:
    """What bounds the batch of an engine with these settings."""
    return EngineLimits(
        config.max_num_seqs,
        config.max_num_batched_tokens,
        float((config.num_gpu_blocks - 1) * config.block_size),
        config.block_size,
        config.async_scheduling,
    )


def _engine(part: EnginePart, load: Load, engines: int, router: str) -> _Solved:
    law, rejected = lengths_of(load, part.config)
    limits = limits_of_engine(part.config)
    most = saturated(part.cost, law, limits)
    rate = load.rate_per_s * (1 - rejected) / engines
    if rate >= most.rate_per_s:
        return _Solved(rate, law, rejected, most, None)
    stay_s = law.decode_steps * most.step_s
    gaps, long = (_shared(scv, engines, router) for scv in (load.scv, load.variability(stay_s)))
    queue = continuous_batching(part.cost, law, limits, rate, gaps, long, most)
    return _Solved(rate, law, rejected, most, queue)


def _busy_at(part: EnginePart, one: _Solved) -> Busy:
    """How busy it is; an overloaded one serves what it can."""
    if one.queue is None:
        stay_s = one.most.limit / one.most.rate_per_s
        return busy(part, one.law, one.most.rate_per_s, stay_s, one.most.step_s)
    stay_s = float(one.queue.e2e_s.mean()) - one.queue.waiting / one.rate_per_s
    return busy(part, one.law, one.rate_per_s, stay_s, one.queue.step_s)


def _busy(deployment: Deployment, found: list[Busy]) -> dict[str, float]:
    """Means over the engines, and the power of all of them where it is known."""
    counts = [part.count for part in deployment.parts]
    figures = {
        "utilisation": float(np.average([at.utilisation for at in found], weights=counts)),
        "kv_use": float(np.average([at.kv_use for at in found], weights=counts)),
    }
    powers = [power_W(part, at) for part, at in zip(deployment.parts, found, strict=True)]
    known = [count * power for count, power in zip(counts, powers, strict=True) if power is not None]
    return figures | ({"power_W": math.fsum(known)} if len(known) == len(powers) else {})


def _shared(scv: float, engines: int, router: str) -> float:
    """Variability of the arrivals at one of so many engines.

    In turn, an engine sees sums of gaps, exactly for independent gaps; at random, a thinned process.
    """
    return scv / engines if router in _IN_TURN else 1 + (scv - 1) / engines


def _latencies(
    queues: list[ContinuousBatching | None], counts: list[int], percentiles: list[float]
) -> dict[str, float]:
    """Latencies of all requests, those of every kind of engine counted as often as there are engines."""
    figures: dict[str, float] = {}
    stable = [queue for queue in queues if queue is not None]
    for metric in ("ttft", "tpot", "e2e"):
        if len(stable) < len(queues):
            names = ("mean", "std", *(f"p{q:g}" for q in percentiles))
            figures |= {f"{metric}_{name}_s": math.inf for name in names}
            continue
        values: npt.NDArray[np.float64] = np.concatenate([getattr(q, f"{metric}_s") for q in stable])
        weights = None
        if len(stable) > 1:
            weights = np.repeat(counts, len(values) // len(stable))
        figures |= {f"{metric}_{k}_s": v for k, v in describe(values, percentiles, weights).items()}
    if len(stable) == len(queues):
        figures["mean_batch"] = float(np.average([q.decoding for q in stable], weights=counts))
        figures["mean_waiting"] = float(np.average([q.waiting for q in stable], weights=counts))
    return figures


def _rates(
    rates: npt.NDArray[np.float64],
    prompt: npt.NDArray[np.float64],
    output: npt.NDArray[np.float64],
    rho: float,
    deployment: Deployment,
) -> dict[str, float]:
    """Tokens a second and their price, of a system that keeps up."""
    written = float(rates @ output) if rho < 1 else math.nan
    whole = float(rates @ (prompt + output)) if rho < 1 else math.nan
    figures = {
        "output_throughput_tps": written,
        "total_throughput_tps": whole,
        "output_throughput_per_accelerator_tps": written / deployment.accelerators,
        "total_throughput_per_accelerator_tps": whole / deployment.accelerators,
    }
    usd = deployment.usd_per_h
    if usd is not None:
        figures |= {
            "usd_per_h": usd,
            "usd_per_query": usd / 3600 / float(rates.sum()) if rho < 1 else math.nan,
            "usd_per_million_output_tokens": usd / 3600 / written * 1e6,
            "usd_per_million_tokens": usd / 3600 / whole * 1e6,
        }
    return figures


def _remarks(deployment: Deployment, load: Load, solved: list[_Solved], rho: float) -> Iterator[str]:
    if rho >= 1:
        yield f"overloaded: {rho:.0%} of the capacity; the line grows for ever"
    elif rho > TRUSTED_LOAD:
        yield f"load {rho:.0%} of the capacity: above {TRUSTED_LOAD:.0%} waits are rough; simulate it"
    for part, one in zip(deployment.parts, solved, strict=True):
        config = part.config
        if one.rejected:
            yield f"{one.rejected:.2%} of the requests can never fit; latencies are of the others"
        if one.most.bound_by == "kv_cache" and rho > 0.7:
            yield "the KV cache binds: waits and preemptions are approximate; simulate it"
        if one.most.bound_by == "max_num_batched_tokens" and rho > 0.7:
            yield "prompts fill the steps: errors of TPOT and waits are larger; simulate it"
        if one.law.decode_steps < 16:
            yield "answers of few tokens: the method takes the batch to change slowly against steps"
        if config.stepwise:
            yield "speculation or sliding windows: left out; every step makes one token"
        if config.long_prefill_token_threshold or not config.enable_chunked_prefill:
            yield "prompts are taken as cut to the step's budget and in no other way"
    if len(deployment.engines) > 1 and deployment.router not in ("round_robin", "random"):
        yield f"router {deployment.router}: taken as an even share for every engine, as by round_robin"
    if load.modulation is not None or load.scv > 1:
        yield "bursty arrivals enter by their variability alone"
