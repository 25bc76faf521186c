"""Queries answered by programs, by the queueing models: calls as batch arrivals, answers by fork and join.

Each pool is an engine with continuous batching under its share of the calls, which come a query's siblings at
a time (`analytic_calls`). A query then goes through its stages over a grid of problems and luck
(`estimate_plans`): it waits for the first token of a stage and for the longest (or shortest) of its answers,
at the pace of the batch that it finds. Siblings share their problem and their engine, so that their times are
associated: the bounds on the mean that follow from that alone are given too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from foretell.models.queueing import mmpp_scv
from foretell.models.queueing.networks import join_bounds
from foretell.sim.analytic import remarks
from foretell.sim.analytic_calls import Calls, StageTimes, calls_of, solve_calls, stage_times
from foretell.sim.analytic_engines import Array, Solved, mean_of, overloaded, shuffled
from foretell.sim.analytic_figures import Analysis, Wanted, busy_engines, busy_figures
from foretell.sim.analytic_load import variability_of
from foretell.sim.deployment import EnginePart
from foretell.sim.estimate_cell import planned, rate_per_s
from foretell.sim.estimate_lengths import LengthGrid, length_grid
from foretell.sim.estimate_plans import Plan, Stage, quantiles
from foretell.sim.programs.catalogue import Chosen
from foretell.sim.programs.deployed import ProgramDeployment, deploy_programs
from foretell.sim.scenario import Scenario

METHOD = "closed form: a program's calls as batch arrivals, its answers by fork and join"


def analyse_program(
    scenario: Scenario, chosen: Chosen, deployment: ProgramDeployment | None = None
) -> Analysis:
    """Forecast a scenario with a task.

    Raises:
        ValueError: a strategy without a closed form, a workload without a rate, a pool of several kinds of
            engines, or what `deploy_programs` raises.

    Validity: as `continuous_batching`; like engines in each pool; stages one after the other, which meet the
    engine independently; docs/queueing.md has the errors.

    """
    rate = rate_per_s(scenario)
    deployment = deploy_programs(scenario, chosen) if deployment is None else deployment
    grids = {pool: length_grid(profile) for pool, profile in deployment.profiles.items()}
    plan, accuracy = planned(chosen, deployment.profiles, grids)
    parts = _parts(deployment)
    _check(plan, parts)
    scv = _bursts(scenario)
    cut = float(chosen.given.get("max_tokens") or math.inf)
    asked = {
        name: calls
        for name, (part, _) in parts.items()
        if (calls := _asked(plan, name, grids.get(name), cut, part))
    }
    solved = {}
    for name, calls in asked.items():
        part, router = parts[name]
        solved[name] = solve_calls(part, calls, rate, scv, part.count, router)
    engines = list(solved.values())
    rho = max(one.rho for one in engines)
    figures = {"load": rho, "capacity_rps": rate / rho, "accuracy": accuracy}
    figures |= {
        "tokens_per_query": plan.tokens_per_query,
        "prompt_tokens_per_query": plan.prompt_tokens_per_query,
        "calls_per_query": plan.calls_per_query,
        "query_throughput_rps": rate / max(rho, 1.0),
        "output_throughput_tps": rate / max(rho, 1.0) * plan.tokens_per_query,
    }
    figures |= busy_figures(engines, figures["query_throughput_rps"], plan.tokens_per_query)
    figures |= _dear(figures, deployment, accuracy)
    wanted = Wanted.of(scenario)
    if overloaded(engines):
        names = ("mean", "std", *(f"p{q:g}" for q in wanted.percentiles))
        figures |= {f"{metric}_{name}_s": math.inf for metric in ("ttft", "tpot", "e2e") for name in names}
    else:
        times = _times(plan, solved, asked, parts)
        figures |= _calls(plan, times, wanted)
        figures |= _queries(plan, times, grids, cut, wanted, rate)
        figures |= _bounds(plan, times)
        counts = [one.part.count for one in engines]
        figures["mean_batch"] = mean_of([one.queue.decoding for one in engines if one.queue], counts)
        figures["mean_waiting"] = mean_of([one.queue.waiting for one in engines if one.queue], counts)
    notes = (*deployment.notes, *remarks(engines, rho), *_remarks(plan, figures))
    return Analysis(scenario, deployment, figures, METHOD, tuple(dict.fromkeys(notes)), busy_engines(engines))


def _bursts(scenario: Scenario) -> Callable[[float], float]:
    """Variance over mean of the queries that come in so many seconds."""
    workload = scenario.workload
    assert workload.arrivals is not None
    scv, modulation = variability_of(workload.arrivals)
    if modulation is None:
        return lambda _: scv
    rates, stays = modulation
    rates = tuple(rate * workload.rate_scale for rate in rates)
    stays = tuple(stay / workload.rate_scale for stay in stays)
    return lambda over_s: mmpp_scv(rates, stays, over_s) if over_s > 0 else scv


def _parts(deployment: ProgramDeployment) -> dict[str, tuple[EnginePart, str]]:
    """The engines of each pool, and its router."""
    found, start = {}, 0
    for name, count, router in deployment.pools:
        if count != 1:
            raise ValueError(
                f"pools.{name}.replicas: the closed form takes engines of one kind, not {count}; simulate it"
            )
        found[name] = deployment.parts[start], router
        start += count
    return found


def _check(plan: Plan, parts: Mapping[str, tuple[EnginePart, str]]) -> None:
    for stage in plan.stages:
        longest, tokens = parts[stage.pool][0].config.max_model_len, stage.prompt_tokens + stage.tokens
        if tokens > longest:
            raise ValueError(
                f"pools.{stage.pool}: calls of {tokens:,.0f} tokens on average do not fit max_model_len "
                f"{longest:,}; take a model with a longer context"
            )


def _asked(
    plan: Plan, pool: str, grid: LengthGrid | None, max_tokens: float, part: EnginePart
) -> Calls | None:
    """What a pool is asked for."""
    stages, weights = [], []
    for i, stage in enumerate(plan.stages):
        if stage.pool == pool and stage.share * stage.calls > 0:
            stages.append(stage)
            weights.append(np.asarray(sum(weight for weight, places in plan.branches if i in places)))
    return calls_of(stages, weights, grid, max_tokens, part.config, part.count) if stages else None


def _times(
    plan: Plan,
    solved: Mapping[str, Solved],
    asked: Mapping[str, Calls],
    parts: Mapping[str, tuple[EnginePart, str]],
) -> list[StageTimes | None]:
    """Times of every stage; None of one that nobody comes to."""
    found: list[StageTimes | None] = []
    seen = dict.fromkeys(parts, 0)
    for stage in plan.stages:
        if stage.share * stage.calls <= 0:
            found.append(None)
            continue
        place, pool = seen[stage.pool], stage.pool
        found.append(stage_times(solved[pool], asked[pool], place, parts[pool][0].count))
        seen[pool] += 1
    return found


def _calls(plan: Plan, times: Sequence[StageTimes | None], wanted: Wanted) -> dict[str, float]:
    """TTFT and TPOT of calls."""
    figures: dict[str, float] = {}
    stages = [(s.share * s.calls, at) for s, at in zip(plan.stages, times, strict=True) if at is not None]
    for metric in ("ttft", "tpot"):
        values = [getattr(at, f"{metric}_s") for _, at in stages]
        weights = [np.full(len(v), rate / len(v)) for (rate, _), v in zip(stages, values, strict=True)]
        whole, weight = np.concatenate(values), np.concatenate(weights)
        kept = np.isfinite(whole)
        figures |= _described(metric, whole[kept], weight[kept], wanted)
    return figures


def _queries(
    plan: Plan,
    times: Sequence[StageTimes | None],
    grids: Mapping[str, LengthGrid],
    cut: float,
    wanted: Wanted,
    rate_per_s: float,
) -> dict[str, float]:
    """Time from a query's arrival to its answer, over problems, luck and what its calls meet."""
    beside = [_beside(stage, plan.branches[0][0].shape, grids.get(stage.pool), cut) for stage in plan.stages]
    seconds, weights = [], []
    for weight, places in plan.branches:
        total = np.zeros(weight.size)
        for i in places:
            at, stage = times[i], plan.stages[i]
            if at is None:
                continue
            serial = np.broadcast_to(np.asarray(stage.serial_tokens, dtype=np.float64), weight.shape)
            drawn = at.ttft_s[shuffled(weight.size) % len(at.ttft_s)]
            total += drawn + at.waited_s(serial.ravel(), beside[i].ravel())
        seconds.append(total)
        weights.append(weight.ravel())
    values, weight = np.concatenate(seconds), np.concatenate(weights)
    figures = _described("e2e", values, weight, wanted)
    if wanted.limits:
        good = values <= wanted.limits.get("e2e", math.inf)
        figures["attainment"] = float(np.average(good, weights=weight))
        figures["goodput_rps"] = figures["attainment"] * rate_per_s
    return figures


def _beside(stage: Stage, shape: tuple[int, ...], grid: LengthGrid | None, cut: float) -> Array:
    """Mean tokens of the siblings of what a query waits for, by problem and luck."""
    if grid is None or not np.ndim(stage.serial_tokens) or stage.overlap >= 1:
        return np.broadcast_to(np.asarray(stage.serial_tokens, dtype=np.float64), shape)
    return np.broadcast_to(grid.moments(cut)[0][:, None], shape)


def _bounds(plan: Plan, times: Sequence[StageTimes | None]) -> dict[str, float]:
    """Bounds on the mean latency from the calls' own times alone, where stages fork; else nothing."""
    forks = [stage for stage in plan.stages if stage.calls > 1]
    if not forks or any(stage.overlap >= 1 for stage in forks):  # cut short with the first: all are alike
        return {}
    least = most = 0.0
    for stage, at in zip(plan.stages, times, strict=True):
        if at is None:
            continue
        own = at.ttft_s + np.nan_to_num(at.tpot_s) * np.maximum(at.tokens - 1, 0.0)
        low, high = join_bounds(own, max(round(stage.calls), 1))
        least += stage.share * low
        most += stage.share * high
    return {"e2e_mean_least_s": least, "e2e_mean_most_s": most}


def _dear(figures: Mapping[str, float], deployment: ProgramDeployment, accuracy: float) -> dict[str, float]:
    """Price and energy of a query, and of a right answer."""
    found = {}
    right = 1 / accuracy if accuracy > 0 else math.inf
    if deployment.usd_per_h is not None:
        found["usd_per_h"] = deployment.usd_per_h
        found["usd_per_query"] = deployment.usd_per_h / 3600 / figures["query_throughput_rps"]
        found["usd_per_correct"] = found["usd_per_query"] * right
    if "energy_per_query_J" in figures:
        found["energy_per_correct_J"] = figures["energy_per_query_J"] * right
    return found


def _described(metric: str, values: Array, weights: Array, wanted: Wanted) -> dict[str, float]:
    """Mean, deviation and percentiles of weighted values."""
    mean = float(np.average(values, weights=weights))
    std = math.sqrt(float(np.average((values - mean) ** 2, weights=weights)))
    told = quantiles(values, weights, wanted.percentiles)
    found = {f"{metric}_p{q:g}_s": value for q, value in zip(wanted.percentiles, told, strict=True)}
    return {f"{metric}_mean_s": mean, f"{metric}_std_s": std, **found}


def _remarks(plan: Plan, figures: Mapping[str, float]) -> Iterator[str]:
    if "e2e_mean_least_s" in figures:
        least, most = figures["e2e_mean_least_s"], figures["e2e_mean_most_s"]
        yield (
            f"fork and join: from a call's own time alone a query's mean lies between {least:.3g} and "
            f"{most:.3g} s; that siblings share a problem brings it to {figures['e2e_mean_s']:.3g} s"
        )
    if len(plan.stages) > 1:
        yield "stages meet the engines independently of each other"
