"""A scenario by the queueing models: the figures of a forecast in milliseconds, without a clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from foretell.sim import mean_field
from foretell.sim.analytic_engines import Array, Solved, limits_of_engine, overloaded, shared, solve
from foretell.sim.analytic_figures import (
    Analysis,
    Wanted,
    busy_engines,
    busy_figures,
    latency_figures,
    rate_figures,
)
from foretell.sim.analytic_load import Load, lengths_of, load_of
from foretell.sim.deployment import Deployment, EnginePart, deploy
from foretell.sim.mean_field import covers, solve_fleet
from foretell.sim.scenario import Scenario
from foretell.sim.strategies import Disaggregated, Single

__all__ = ["METHOD", "TRUSTED_LOAD", "Analysis", "analyse", "limits_of_engine"]

METHOD = "closed form: continuous batching as a state-dependent queue"
TRUSTED_LOAD = 0.9
"""Up to this share of the capacity the models agree with the simulator (docs/queueing.md)."""


def analyse(scenario: Scenario, load: Load | None = None, deployment: Deployment | None = None) -> Analysis:
    """Forecast a scenario by the queueing models.

    Args:
        scenario: with a strategy "single" or "disaggregated", or with a task, see `analytic_programs`.
        load: what `load_of` makes of its workload, where it is known already; not used with a task.
        deployment: what `forecasting.deployed` makes of its pools, likewise.

    Raises:
        ValueError: a strategy or a workload that this method does not cover, or an impossible scenario.

    Validity: see `foretell.models.queueing.continuous_batching`; every engine gets an even share. Like ones
    behind a router that compares what they hold are a mean field (`foretell.sim.mean_field`).

    """
    found = _analysed(scenario, load, deployment)
    if scenario.client is None:
        return found
    return replace(found, notes=(*found.notes, "client: its way is left out; figures are the engine's"))


def _analysed(scenario: Scenario, load: Load | None, deployment: Deployment | None) -> Analysis:
    strategy = scenario.parsed_strategy
    if not isinstance(strategy, Single | Disaggregated):
        from foretell.sim.analytic_programs import analyse_program
        from foretell.sim.programs.deployed import ProgramDeployment

        known = deployment if isinstance(deployment, ProgramDeployment) else None
        return analyse_program(scenario, strategy, known)
    if scenario.workload.concurrency is not None and isinstance(strategy, Single):
        from foretell.sim.analytic_closed import analyse_closed

        return analyse_closed(scenario, deployment)
    load = load_of(scenario.workload) if load is None else load
    context = load.mean_context
    if isinstance(strategy, Disaggregated):
        from foretell.sim.analytic_apart import analyse_apart
        from foretell.sim.apart import DisaggregatedDeployment, deploy_disaggregated

        if not isinstance(deployment, DisaggregatedDeployment):
            deployment = deploy_disaggregated(scenario.pools, strategy, context)
        return analyse_apart(scenario, load, deployment)
    deployment = deploy(scenario.pool, context) if deployment is None else deployment
    engines = len(deployment.engines)
    fleet = covers(deployment, load)
    solved = (
        [solve_fleet(deployment, load)]
        if fleet
        else [_engine(part, load, engines, deployment.router) for part in deployment.parts]
    )
    counts = [part.count for part in deployment.parts]
    rho = max(one.rho for one in solved)
    rates = np.array([c * one.rate_per_s for c, one in zip(counts, solved, strict=True)])
    served = float(rates.sum())
    prompt, output = (
        float(rates @ np.array(tokens)) / served
        for tokens in ([one.law.mean_prompt for one in solved], [one.law.decode_steps + 1 for one in solved])
    )
    figures = {"load": rho, "capacity_rps": load.rate_per_s / rho}
    figures |= rate_figures(served, prompt, output, rho, deployment)
    figures |= _latencies(solved, counts, Wanted.of(scenario), load.rate_per_s)
    figures |= busy_figures(solved, figures["request_throughput_rps"], output)
    routed = mean_field.remarks(deployment, load) if fleet else _routed(deployment, load)
    notes = (*deployment.notes, *load.notes, *remarks(solved, rho), *routed)
    method = mean_field.METHOD if fleet else METHOD
    return Analysis(scenario, deployment, figures, method, tuple(dict.fromkeys(notes)), busy_engines(solved))


def _engine(part: EnginePart, load: Load, engines: int, router: str) -> Solved:
    law, rejected = lengths_of(load, part.config)
    rate = load.rate_per_s * (1 - rejected) / engines

    def long(stay_s: float) -> float:
        return shared(load.variability(stay_s), engines, router)

    return solve(part, law, rate, shared(load.scv, engines, router), long, rejected)


def _latencies(
    solved: list[Solved], counts: list[int], wanted: Wanted, rate_per_s: float
) -> dict[str, float]:
    """Latencies of all requests, those of every kind of engine counted as often as there are engines."""
    queues = [one.queue for one in solved if one.queue is not None]
    if overloaded(solved):
        return latency_figures(None, wanted, rate_per_s)
    samples: dict[str, Array] = {
        metric: np.concatenate([getattr(queue, f"{metric}_s") for queue in queues])
        for metric in ("ttft", "tpot", "e2e")
    }
    weights = np.repeat(counts, len(samples["e2e"]) // len(queues)) if len(queues) > 1 else None
    kept = [1 - one.rejected for one in solved]
    figures = latency_figures(samples, wanted, rate_per_s * float(np.average(kept, weights=counts)), weights)
    if "attainment" in figures:
        figures["attainment"] *= float(np.average(kept, weights=counts))
    figures["mean_batch"] = float(np.average([q.decoding for q in queues], weights=counts))
    figures["mean_waiting"] = float(np.average([q.waiting for q in queues], weights=counts))
    return figures


def remarks(solved: list[Solved], rho: float) -> Iterator[str]:
    """Where engines under such a load are outside the method's validity."""
    if rho >= 1:
        yield f"overloaded: {rho:.0%} of the capacity; the line grows for ever"
    elif rho > TRUSTED_LOAD:
        yield f"load {rho:.0%} of the capacity: above {TRUSTED_LOAD:.0%} waits are rough; simulate it"
    for one in solved:
        config = one.part.config
        if one.rejected:
            yield f"{one.rejected:.2%} of the requests can never fit; latencies are of the others"
        if one.most.bound_by == "kv_cache" and rho > 0.6:
            yield "the KV cache binds: waits and preemptions are approximate; simulate it"
        if one.most.bound_by == "max_num_seqs" and rho > 0.85:
            yield "max_num_seqs binds: waits in line are approximate; simulate it"
        if one.most.bound_by == "max_num_batched_tokens" and rho > 0.6 and one.law.decode_steps >= 1:
            yield "prompts fill the steps: errors of TPOT and waits are larger; simulate it"
        if rho > 0.4 and float((one.law.prompt > config.max_num_batched_tokens).mean()) > 0.01:
            yield "prompts longer than a step's tokens: the p99 of TTFT can come out up to 40 % too low"
        if 1 <= one.law.decode_steps < 16:
            yield "answers of few tokens: the method takes the batch to change slowly against steps"
        if config.stepwise:
            yield "speculation or sliding windows: left out; every step makes one token"
        if config.long_prefill_token_threshold or not config.enable_chunked_prefill:
            yield "prompts are taken as cut to the step's budget and in no other way"


def _routed(deployment: Deployment, load: Load) -> Iterator[str]:
    if len(deployment.engines) > 1 and deployment.router not in ("round_robin", "random"):
        yield f"router {deployment.router}: taken as an even share for every engine, as by round_robin"
    if load.modulation is not None or load.scv > 1:
        yield "bursty arrivals enter by their variability alone"
