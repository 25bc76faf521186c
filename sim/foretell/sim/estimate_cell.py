"""A scenario with a task, in closed form: accuracy from its profiles, the rest from plan and load.

The intervals are those of the errors of step costs, KV caches and profiles (`Outcomes.perturbed`), one draw a
replication, the same for all cells that have the pool in common. What one run of finite length adds by chance
is left out: figures are of an endless one.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np

from foretell.models.accuracy import profile as accuracies
from foretell.models.accuracy.profile_cascade import cascade
from foretell.models.outcomes import Outcomes
from foretell.models.profiles import load_outcomes
from foretell.models.verifiers import Verifier
from foretell.sim.closed_form_verdict import verdict
from foretell.sim.deployment import Deployment, deploy
from foretell.sim.estimate import estimate as figures_of
from foretell.sim.estimate_lengths import LengthGrid, length_grid
from foretell.sim.estimate_plans import PLANS, Asked, Plan
from foretell.sim.forecasting import SHARES, Verdict
from foretell.sim.intervals import Estimate, estimate
from foretell.sim.objectives import objectives_from_mapping
from foretell.sim.programs.catalogue import Chosen, load_program
from foretell.sim.programs.deployed import profile_of
from foretell.sim.scenario import Pool, Scenario
from foretell.sim.uncertain import drawn_part
from foretell.traces.spec import arrivals_from_spec

_NOMINAL = -1
_BUSY = "busy_W of "
_OF_ACCURACY = ("temperature",)
"""Parameters that change what is answered, but no call."""
Draw = tuple[int, int]
"""Seed and replication of a draw of the errors; replication −1 draws nothing."""


def estimate_scenario(scenario: Scenario) -> tuple[dict[str, Estimate], tuple[Verdict, ...], tuple[str, ...]]:
    """Estimate a scenario: its figures, whether they meet its objectives, and notes.

    Raises:
        ValueError: a strategy, a workload or an objective that has no closed form, or what `deploy` raises.

    """
    chosen = scenario.parsed_strategy
    rate = rate_per_s(scenario)
    if not isinstance(chosen, Chosen):
        raise ValueError("strategy: has no closed form; use --method simulate")
    objectives = objectives_from_mapping(scenario.objectives)
    percentiles = {50.0, 90.0, 99.0} | {o.percentile for o in objectives if o.percentile is not None}
    asked_percentiles = tuple(sorted(percentiles))
    nominal = _figures(scenario, chosen, rate, (0, _NOMINAL), asked_percentiles)
    runs = range(scenario.replications if scenario.replications > 1 else 0)
    known = {name: nominal.pop(name) for name in list(nominal) if name.startswith(_BUSY)}
    busy_W = {name.removeprefix(_BUSY): watts for name, watts in known.items()}
    drawn = [
        _figures(scenario, chosen, rate, (scenario.seed, run), asked_percentiles, busy_W) for run in runs
    ]
    summary = {
        name: estimate(
            [each.get(name, math.nan) for each in drawn] or [value], nominal=[value], share=name in SHARES
        )
        for name, value in nominal.items()
    }
    verdicts = tuple(verdict(objective, summary) for objective in objectives)
    return summary, verdicts, tuple(_notes(scenario, chosen, summary))


def _figures(
    scenario: Scenario,
    chosen: Chosen,
    rate: float,
    draw: Draw,
    percentiles: tuple[float, ...],
    busy_W: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Figures of one draw of the errors; latencies of an overloaded deployment do not exist (NaN)."""
    task = str(scenario.workload.task)
    names = {
        pool: str(scenario.pools[pool].outcomes or scenario.pools[pool].model) for pool in chosen.solvers
    }
    plan, accuracy = _planned(_Same(chosen), task, tuple(names.items()), draw)
    context = _context_tokens(task, names[chosen.solvers[0]])
    deployments = {pool: _deployment(scenario.pools[pool], pool, context, draw) for pool in chosen.pools}
    figures = figures_of(deployments, plan, rate, accuracy, percentiles, busy_W)
    for stage in plan.stages:
        longest = deployments[stage.pool].parts[0].config.max_model_len
        tokens = stage.prompt_tokens + stage.tokens
        if tokens > longest:
            raise ValueError(
                f"pools.{stage.pool}: calls of {tokens:,.0f} tokens on average do not fit max_model_len "
                f"{longest:,}; take a model with a longer context"
            )
    return {name: value if math.isfinite(value) else math.nan for name, value in figures.items()}


class _Same:
    """A strategy, alike if its name and parameters are."""

    def __init__(self, chosen: Chosen) -> None:
        self.chosen = chosen
        self.text = f"{chosen.name} {sorted(chosen.given.items(), key=str)!r} {chosen.pools}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


@lru_cache(maxsize=4096)
def _planned(same: _Same, task: str, names: tuple[tuple[str, str], ...], draw: Draw) -> tuple[Plan, float]:
    """A strategy's plan and accuracy on these profiles, whatever they run on."""
    profiles = {pool: _profile(task, name, draw) for pool, name in names}
    return planned(same.chosen, profiles, {pool: _grid(task, name, draw) for pool, name in names})


def planned(
    chosen: Chosen, profiles: Mapping[str, Outcomes], grids: Mapping[str, LengthGrid]
) -> tuple[Plan, float]:
    """A strategy's plan and its accuracy.

    Args:
        chosen: the strategy.
        profiles: outcomes of the pools that are asked for answers.
        grids: the lengths of each, by `length_grid`.

    Raises:
        ValueError: the strategy, or one of its parameters, has no closed form.

    """
    if chosen.name not in PLANS:
        raise ValueError(
            f"strategy.name: {chosen.name} has no closed form; use --method simulate, or one of "
            f"{', '.join(PLANS)}"
        )
    plan = PLANS[chosen.name]
    known = inspect.signature(plan).parameters
    usual = inspect.signature(load_program(chosen.name)).parameters
    for name, value in chosen.given.items():
        if name not in {*known, *_OF_ACCURACY} and value != usual[name].default:
            raise ValueError(f"strategy.{name}: has no closed form in {chosen.name}; use --method simulate")
    given = {name: value for name, value in chosen.given.items() if name in known}
    return plan(Asked(profiles, grids, chosen.pools[0]), **given), _accuracy(chosen, profiles)


def _accuracy(chosen: Chosen, profiles: Mapping[str, Outcomes]) -> float:
    given = dict(chosen.given)
    verifier: Verifier | None = None if given.get("verifier") is None else given["verifier"].verifier
    if chosen.name.endswith("cascade"):
        pair = profiles[given["weak"]], profiles[given["strong"]]
        return cascade(*pair, threshold=given["threshold"], verifier=verifier).accuracy
    closed = getattr(accuracies, chosen.name)
    known = inspect.signature(closed).parameters
    values: dict[str, Any] = {name: given[name] for name in known if given.get(name) is not None}
    if "verifier" in known and verifier is not None:
        values["verifier"] = verifier
    return float(closed(profiles[chosen.solvers[0]], **values).accuracy)


def rate_per_s(scenario: Scenario) -> float:
    """Queries a second.

    Raises:
        ValueError: no task, no rate, or a deadline.

    """
    workload = scenario.workload
    if workload.task is None:
        raise ValueError("workload.task: missing; the closed form needs one, --method simulate does not")
    if workload.deadline_s is not None:
        raise ValueError("workload.deadline_s: has no closed form; use --method simulate")
    process = None if workload.arrivals is None else arrivals_from_spec(workload.arrivals)
    rate = getattr(process, "mean_rate_per_s", None)
    if workload.concurrency is not None or rate is None or not math.isfinite(rate):
        raise ValueError("workload.arrivals: the closed form needs a rate; use --method simulate")
    return float(rate) * workload.rate_scale


@lru_cache(maxsize=4096)
def _profile(task: str, name: str, draw: Draw) -> Outcomes:
    profile = load_outcomes(task, name)
    return profile if draw[1] == _NOMINAL else profile.perturbed(_rng(draw, name))


@lru_cache(maxsize=512)
def _grid(task: str, name: str, draw: Draw) -> LengthGrid:
    return length_grid(_profile(task, name, draw))


@lru_cache(maxsize=512)
def _context_tokens(task: str, name: str) -> float:
    grid = _grid(task, name, (0, _NOMINAL))
    prompt = _profile(task, name, (0, _NOMINAL)).prompt_tokens
    return prompt + float(grid.weight @ grid.moments()[0]) / 2


@lru_cache(maxsize=4096)
def _deployment(pool: Pool, name: str, context_tokens: float, draw: Draw) -> Deployment:
    if isinstance(pool.replicas, int) and pool.replicas > 1:  # all alike
        one = _deployment(replace(pool, replicas=1), name, context_tokens, draw)
        parts = tuple(replace(part, count=part.count * pool.replicas) for part in one.parts)
        return Deployment(parts, one.router, one.notes)
    if draw[1] != _NOMINAL:
        made = _deployment(pool, name, context_tokens, (0, _NOMINAL))
        rng = _rng(draw, name)
        return Deployment(tuple(drawn_part(part, rng) for part in made.parts), made.router, made.notes)
    try:
        return deploy(pool, context_tokens)
    except ValueError as error:
        raise ValueError(f"pools.{name}: {error}") from None


def _rng(draw: Draw, name: str) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(draw[0], spawn_key=(draw[1], crc32(name.encode()))))


def _notes(scenario: Scenario, chosen: Chosen, summary: Mapping[str, Estimate]) -> list[str]:
    task = scenario.workload.task
    notes = []
    load = summary["load"].value
    if load >= 1:
        notes.append(f"overloaded: asked {load:.3g} times what it can do; latencies do not exist")
    elif load > 0.8:
        notes.append(f"at {load:.0%} of capacity, where latencies hang on bursts that a closed form misses")
    profiles = {profile.model: profile for profile in (profile_of(scenario, pool) for pool in chosen.solvers)}
    notes += [
        f"{profile.model} on {task}: assumed, not measured: {', '.join(profile.gaps)}"
        for profile in profiles.values()
        if profile.gaps
    ]
    return notes
