"""A deployment whose queries are answered by programs: its pools, profiles and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foretell.models.outcomes import Outcomes
from foretell.models.profiles import load_outcomes
from foretell.sim import metrics
from foretell.sim.deployment import Deployment, EnginePart, deploy
from foretell.sim.disaggregated import EnginePool
from foretell.sim.programs.calls import Judge
from foretell.sim.programs.catalogue import PROGRAMS, Chosen, choose
from foretell.sim.programs.run import NO_ANSWER, ProgramRun, run_programs
from foretell.sim.scenario import Scenario
from foretell.sim.simulation import Run
from foretell.sim.uncertain import drawn_profiles
from foretell.traces import Trace


@dataclass(frozen=True, slots=True)
class ProgramDeployment(Deployment):
    """All engines of the pools that a program calls.

    Attributes:
        strategy: the program's name and parameters.
        pools: (name, how many parts, router) of each pool, in the order of the parts.
        profiles: outcomes by pool, of those that are asked for answers.
        deadline_s: after its arrival a query answers with what it has.

    """

    strategy: Mapping[str, Any]
    pools: tuple[tuple[str, int, str], ...]
    profiles: Mapping[str, Outcomes]
    deadline_s: float

    @property
    def routers(self) -> tuple[str, ...]:
        """Of every pool."""
        return tuple(router for _, _, router in self.pools)

    def simulate(
        self,
        trace: Trace,
        parts: Mapping[int, EnginePart],
        seed: np.random.SeedSequence,
        progress: Callable[[int], None] | None,
        rng: np.random.Generator | None = None,
        loads: bool = False,
    ) -> Run:
        """Run the program for every query of the trace, of which only the arrivals count."""
        pools, start = {}, 0
        for name, count, router in self.pools:
            own = [parts[id(p)] for p in self.parts[start : start + count] for _ in range(p.count)]
            pools[name] = EnginePool([p.cost for p in own], [p.config for p in own], len(own), router)
            start += count
        profiles = dict(self.profiles)
        if rng is not None:
            profiles = drawn_profiles(profiles, rng)
        try:
            done = run_programs(
                choose(self.strategy, list(pools)).program,
                pools,
                profiles,
                arrival_s=trace.arrival_s,
                concurrency=trace.concurrency,
                deadline_s=self.deadline_s,
                seed=seed,
                loads=loads,
                progress=progress,
            )
        except OverflowError as error:
            raise ValueError(f"strategy: a parameter is too large ({error})") from None
        if not len(done.run):
            raise ValueError("strategy: its program calls no pool; there is nothing to forecast")
        return replace(done.run, queries=done)

    def figures(
        self, run: Run, figures: Mapping[str, float], limits: Mapping[str, float], warmup_s: float
    ) -> dict[str, float]:
        """Give the figures of the queries."""
        assert run.queries is not None
        return query_figures(run.queries, figures, limits, warmup_s)


def deploy_programs(scenario: Scenario, chosen: Chosen) -> ProgramDeployment:
    """Make the pools of a scenario with a task concrete.

    Raises:
        ValueError: what `deploy` raises, with the pool; a pool that is asked for answers and has no profile.

    """
    task = scenario.workload.task
    assert task is not None
    profiles = _profiles(scenario, chosen)
    first = next(iter(profiles.values()))
    context = first.prompt_tokens + mean_tokens(first) / 2
    parts: list[EnginePart] = []
    notes: list[str] = []
    pools = []
    for name in chosen.pools:
        try:
            made = deploy(scenario.pools[name], context)
        except ValueError as error:
            raise ValueError(f"pools.{name}: {error}") from None
        parts += made.parts
        notes += [f"{name}: {note}" if len(chosen.pools) > 1 else note for note in made.notes]
        pools.append((name, len(made.parts), made.router))
    for profile in {id(profile): profile for profile in profiles.values()}.values():
        if profile.gaps:
            notes.append(f"{profile.model} on {task}: assumed, not measured: {', '.join(profile.gaps)}")
    if flattered(chosen):
        notes.append(
            "strategy.verifier: errors taken as independent (common 0), which flatters search; real judges "
            "are fooled by like steps alike"
        )
    return ProgramDeployment(
        tuple(parts),
        ", ".join(router for _, _, router in pools),
        tuple(dict.fromkeys(notes)),
        dict(scenario.strategy),
        tuple(pools),
        profiles,
        math.inf if scenario.workload.deadline_s is None else scenario.workload.deadline_s,
    )


def flattered(chosen: Chosen) -> bool:
    """Whether it is a search by a judge's scores whose errors have nothing in common."""
    judge = chosen.given.get("verifier")
    if not isinstance(judge, Judge) or not PROGRAMS.get(chosen.name, "").startswith(("search", "best_first")):
        return False
    verifier = judge.verifier
    return verifier.completeness is None and 0 < verifier.auc < 1 and not verifier.common


def _profiles(scenario: Scenario, chosen: Chosen) -> dict[str, Outcomes]:
    """Profiles of the pools that may be asked for answers; the first must have one.

    Another may be there only to write drafts or plans: that it has none is told if it is asked.
    """
    profiles = {}
    for name in chosen.solvers:
        try:
            profiles[name] = profile_of(scenario, name)
        except ValueError:
            if not profiles or scenario.pools[name].outcomes is not None:
                raise
    return profiles


def profile_of(scenario: Scenario, pool: str) -> Outcomes:
    """The outcome profile of a pool's model on the scenario's task.

    Raises:
        ValueError: there is none; names the field, and what there is.

    """
    task, spec = scenario.workload.task, scenario.pools[pool]
    named = spec.outcomes or spec.model
    if named is None:
        raise ValueError(
            f"pools.{pool}.outcomes: missing; without a model nothing says how right answers are"
        )
    try:
        return load_outcomes(task or "", named)
    except ValueError as error:
        field = "workload.task" if "task" in str(error)[:14] else f"pools.{pool}.outcomes"
        raise ValueError(f"{field}: {error}") from None


def mean_tokens(profile: Outcomes) -> float:
    """Mean tokens of a sample [tokens], the cap counted by cutting medians at it."""
    weight, _, log_median = profile.problem_grid(100, 9)
    within = profile.lengths.sd_within**2 / 2
    return float((weight * np.minimum(np.exp(log_median + within), profile.lengths.cap_tokens)).sum())


def query_figures(
    queries: ProgramRun, figures: Mapping[str, float], limits: Mapping[str, float], warmup_s: float
) -> dict[str, float]:
    """Give the figures of queries; those with names that calls have too take their place.

    accuracy: share of right answers; answered: of any; late: cut short at their deadline; e2e_*: from
    arrival to answer; calls_per_query, prompt_tokens_per_query and tokens_per_query (written): means;
    query_throughput_rps; usd_per_query, usd_per_correct, energy_per_query_J, energy_per_correct_J: of the
    whole fleet from first arrival to last answer; goodput_rps and attainment: of queries within the limit
    on e2e. TTFT, TPOT and ITL stay those of calls.
    """
    kept = queries.arrival_s >= queries.arrival_s.min() + warmup_s
    n, latency = int(kept.sum()), queries.latency_s[kept]
    right = float(queries.right[kept].sum())
    span = float(queries.finish_s.max() - queries.arrival_s[kept].min())
    found = {
        "accuracy": right / n,
        "answered": float((queries.answers[kept] != NO_ANSWER).mean()),
        "late": float(queries.late[kept].mean()),
        "calls_per_query": float(queries.calls[kept].mean()),
        "prompt_tokens_per_query": float(queries.prompt_tokens[kept].mean()),
        "tokens_per_query": float(queries.tokens[kept].mean()),
        "query_throughput_rps": n / span if span > 0 else math.nan,
    }
    wanted = [name for name in figures if name.startswith("e2e_p")]
    percentiles = [float(name.removeprefix("e2e_p").removesuffix("_s")) for name in wanted]
    for statistic, value in metrics.describe(latency, percentiles).items():
        found[f"e2e_{statistic}_s"] = value
    if limits:
        good = float((latency <= limits.get("e2e", math.inf)).sum())
        found["attainment"] = good / n
        found["goodput_rps"] = good / span if span > 0 else math.nan
    whole = float(queries.finish_s.max() - queries.arrival_s.min())
    share_right = queries.accuracy
    for total, name in (("usd", "usd_per_{}"), ("energy_J", "energy_per_{}_J")):
        spent = figures["usd_per_h"] / 3600 * whole if total == "usd" and "usd_per_h" in figures else None
        spent = figures.get(total) if total == "energy_J" else spent
        if spent is not None:
            found[name.format("query")] = spent / len(queries)
            found[name.format("correct")] = spent / (len(queries) * share_right) if share_right else math.inf
    stats = queries.run.engines
    running = float((queries.left_s - queries.run.arrival_s).sum()) - sum(e.queue_s for e in stats)
    if whole > 0:
        found["mean_batch"] = running / (whole * len(stats))
    return found
