"""Prefill and decode apart, by the queueing models: a tandem of two kinds of engines with links between.

Prompts: engines whose answers have one token. Then the transfer, which waits for the links of both sides.
Then engines whose prompts are computed already; what comes to them are the departures of the first.

Source: Whitt, The Queueing Network Analyzer (1983), for the departures (`departure_scv`); Allen and Cunneen
for the wait at the links (`ggc`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from foretell.models.queueing import Lengths, ggc
from foretell.models.queueing.networks import departure_scv
from foretell.models.transfer import KVTransfer
from foretell.sim.analytic import remarks
from foretell.sim.analytic_engines import (
    Array,
    Solved,
    alike,
    exponential,
    mean_of,
    overloaded,
    shared,
    shuffled,
    solve,
)
from foretell.sim.analytic_figures import (
    Analysis,
    Wanted,
    busy_engines,
    busy_figures,
    latency_figures,
    rate_figures,
)
from foretell.sim.analytic_load import Load, lengths_of
from foretell.sim.apart import DisaggregatedDeployment
from foretell.sim.deployment import EnginePart
from foretell.sim.metrics import describe
from foretell.sim.scenario import Scenario

METHOD = "closed form: prefill, transfer and decode as queues in a row"


@dataclass(frozen=True, slots=True)
class _Decode:
    """An engine that answers, and what it receives.

    Attributes:
        solved: the engine.
        ended: share of the requests whose one token the prefill engine has made.
        transfer: of a KV cache to it.
        link_rho: of the busiest of the two links, its share of the time.
        link_wait_s: mean wait for both.

    """

    solved: Solved
    ended: float
    transfer: KVTransfer
    link_rho: float
    link_wait_s: float


def analyse_apart(scenario: Scenario, load: Load, deployment: DisaggregatedDeployment) -> Analysis:
    """Forecast a scenario whose strategy is "disaggregated".

    Validity: as `continuous_batching` for both pools; the prefill pool never waits for a decode pool that is
    full; every engine gets an even share. A request's way through one pool depends on that through the other
    by its prompt alone.

    """
    first = _prefill(load, deployment)
    second = _decode(load, deployment, _departures(load, first))
    solved = [*first, *(one.solved for one in second)]
    link = max(one.link_rho for one in second)
    rho = max(link, *(one.rho for one in solved))
    served = load.rate_per_s * (1 - max(one.rejected for one in solved))
    prompt, output = float(load.law.prompt.mean()), load.law.decode_steps + 1
    figures = {"load": rho, "capacity_rps": load.rate_per_s / rho}
    figures |= rate_figures(served, prompt, output, rho, deployment)
    figures |= busy_figures(solved, figures["request_throughput_rps"], output)
    for name, side in (("prefill", first), ("decode", [one.solved for one in second])):
        counts = [one.part.count for one in side]
        found = [one.busy() for one in side]
        figures[f"{name}_utilisation"] = mean_of([at.utilisation for at in found], counts)
        figures[f"{name}_kv_use"] = mean_of([at.kv_use for at in found], counts)
        figures[f"{name}_load"] = max(one.rho for one in side)
    figures["kv_transfer_utilisation"] = min(link, 1.0)
    wanted = Wanted.of(scenario)
    if overloaded(solved) or rho >= 1:
        figures |= latency_figures(None, wanted, served)
    else:
        early = deployment.strategy.first_token == "prefill"
        firsts = _first_tokens(load, first, deployment.routers[0])
        ways = [_way(firsts, one, first[0].part, early=early) for one in second]
        weights = np.repeat([one.solved.part.count for one in second], len(ways[0]["e2e"]))
        samples = {name: np.concatenate([way[name] for way in ways]) for name in ways[0]}
        told = describe(samples.pop("kv_transfer"), (50, 90, 99), weights)
        figures |= {f"kv_transfer_{name}_s": value for name, value in told.items()}
        figures |= latency_figures(samples, wanted, served, weights)
    notes = (*deployment.notes, *load.notes, *remarks(solved, rho), *_remarks(deployment, second))
    return Analysis(scenario, deployment, figures, METHOD, tuple(dict.fromkeys(notes)), busy_engines(solved))


def _prefill(load: Load, deployment: DisaggregatedDeployment) -> list[Solved]:
    """Engines of the prefill pool: answers of one token."""
    parts = deployment.parts[: deployment.split]
    engines = sum(part.count for part in parts)
    prompts = replace(load, law=Lengths(load.law.prompt, np.ones_like(load.law.prompt)))
    found = []
    for part in parts:
        law, rejected = lengths_of(prompts, part.config)
        found.append(solve(part, law, load.rate_per_s * (1 - rejected) / engines, rejected=rejected))
    return found


def _alone_s(part: EnginePart, prompt: Array) -> Array:
    """Seconds of prompts that an engine computes one by one."""
    nothing = np.zeros_like(prompt)
    alone = (prompt, prompt**2 / 2, prompt, nothing + 1, nothing, nothing, nothing + 1)
    return np.asarray(part.cost(*alone), dtype=np.float64)


def _less_wait(load: Load, one: Solved, engines: int, router: str) -> float:
    """Wait at one of several prefill engines, over that of an engine with Poisson arrivals of its own.

    In turn: its gaps are sums of so many, a G/G/1 by Kraemer and Langenbach-Belz (1976). To the one with the
    fewest requests: between that and one line for all engines, a G/G/c; their geometric mean, ours.
    """
    service = _alone_s(one.part, one.law.prompt)
    mean, spread = float(service.mean()), float(service.var() / service.mean() ** 2)
    rho = min(max(one.busy().utilisation, 1e-3), 0.99)
    scv = shared(load.scv, engines, router)
    turns = (scv + spread) / (1 + spread)
    if scv < 1:
        turns *= math.exp(-2 * (1 - rho) / (3 * rho) * (1 - scv) ** 2 / max(scv + spread, 1e-9))
    if engines == 1 or router != "least_outstanding":
        return turns
    line = ggc(rho * engines / mean, load.scv, mean, spread, engines).wait_s
    return math.sqrt(turns * line / ggc(rho / mean, 1.0, mean, spread).wait_s)


def _departures(load: Load, first: Sequence[Solved]) -> float:
    """Variability of what leaves the prefill pool: engines as servers whose service is a prompt's step."""
    seconds = _alone_s(first[0].part, first[0].law.prompt)
    spread = float(seconds.var() / seconds.mean() ** 2)
    engines = [each.part.count for each in first]
    rho = mean_of([min(each.rho, 1.0) for each in first], engines)
    return departure_scv(load.scv, rho, spread, sum(engines))


def _decode(load: Load, deployment: DisaggregatedDeployment, departures: float) -> list[_Decode]:
    """Engines of the decode pool; a step of one token stands for the prompt, which needs no computing."""
    strategy = deployment.strategy
    early = strategy.first_token == "prefill"
    parts = deployment.parts[deployment.split :]
    senders = sum(part.count for part in deployment.parts[: deployment.split])
    engines, router = sum(part.count for part in parts), deployment.routers[1]

    def bursts(stay_s: float) -> float:
        own = load.variability(stay_s)
        return shared(departures if own == load.scv else own, engines, router)

    found = []
    for part, transfer in zip(parts, deployment.transfers[0], strict=True):
        law, ended, rejected = _answers(load, part, early=early)
        coming = load.rate_per_s * (1 - rejected) * (1 - ended)
        gaps = shared(departures, engines, router)
        solved = solve(part, law, coming / engines, gaps, bursts, rejected)
        sent = np.asarray(law.cached) * transfer.token_s
        wait_s = rho = 0.0
        if strategy.kv_transfer.shared and sent.mean() > 0:
            mean, spread = float(sent.mean()), float(sent.var() / sent.mean() ** 2)
            rho = coming * mean / min(senders, engines)
            for links in (senders, engines):
                if coming * mean < links:
                    wait_s += ggc(coming / links, gaps, mean, spread).wait_s
        found.append(_Decode(solved, ended, transfer, rho, wait_s))
    return found


def _answers(load: Load, part: EnginePart, *, early: bool) -> tuple[Lengths, float, float]:
    """Law of what a decode engine serves; shares of one-token answers, which end before it, and rejected."""
    law, rejected = lengths_of(load, part.config)
    if not early:
        return Lengths(np.ones_like(law.prompt), law.output, law.prompt - 1), 0.0, rejected
    more = law.output > 1
    if not more.any():
        raise ValueError("lengths: every answer has one token; there is nothing for a decode pool to do")
    prompt, output = law.prompt[more], law.output[more] - 1
    return Lengths(np.ones_like(prompt), output, prompt), 1 - float(more.mean()), rejected


def _way(first: tuple[Array, Array], second: _Decode, sender: EnginePart, *, early: bool) -> dict[str, Array]:
    """Seconds of requests through both pools, and of their transfers."""
    queue, law = second.solved.queue, second.solved.law
    assert queue is not None
    prompt = np.broadcast_to(law.cached, law.prompt.shape)[queue.row] + (not early)
    size = len(prompt)
    prompts, firsts = first
    start = firsts[alike(prompts, prompt)]
    transfer = second.transfer
    seconds = prompt * transfer.token_s
    if transfer.layerwise_share:
        hidden = seconds - _alone_s(sender, prompt)
        seconds = np.maximum(hidden, seconds * transfer.layerwise_share)
    # Blocks are given at the end of a step. A line for them, or for a slot, is in the engine's one wait.
    step_s = np.nan_to_num(queue.tpot_s, nan=queue.step_s) * (1 - np.exp(-queue.decoding))
    seconds = seconds + step_s * (shuffled(size) + 0.5) / size + transfer.latency_s * (prompt > 0)
    seconds = seconds + exponential(second.link_rho, second.link_wait_s, size)
    if not early:
        return {
            "ttft": start + seconds + queue.ttft_s,
            "tpot": queue.tpot_s,
            "e2e": start + seconds + queue.e2e_s,
            "kv_transfer": seconds,
        }
    rest = seconds + queue.e2e_s
    tpot = rest / law.output[queue.row]
    ended = shuffled(size) < second.ended * size
    return {
        "ttft": start,
        "tpot": np.where(ended, np.nan, tpot),
        "e2e": np.where(ended, start, start + rest),
        "kv_transfer": np.where(ended, np.nan, seconds),
    }


def _first_tokens(load: Load, first: Sequence[Solved], router: str) -> tuple[Array, Array]:
    """Prompts of the prefill pool's requests and when their first token is there, engines in proportion."""
    whole = sum(one.part.count for one in first)
    prompts, seconds = [], []
    for one in first:
        assert one.queue is not None
        size = len(one.queue.row)
        some = shuffled(size)[: max(size * one.part.count // whole, 1)]
        prompt = one.law.prompt[one.queue.row[some]]
        alone = _alone_s(one.part, prompt)
        wait = one.queue.ttft_s[some] - alone
        prompts.append(prompt)
        seconds.append(alone + np.where(wait > 0, wait * _less_wait(load, one, whole, router), wait))
    return np.concatenate(prompts), np.concatenate(seconds)


def _remarks(deployment: DisaggregatedDeployment, second: Sequence[_Decode]) -> Iterator[str]:
    if max(one.solved.rho for one in second) > 0.8:
        yield "decode pool nearly full: that it holds up the prefill pool is left out; simulate it"
    if not set(deployment.routers) <= {"round_robin", "random"}:
        yield "routers: taken as an even share for every engine, as by round_robin"
