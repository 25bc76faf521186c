"""Forecasts: replicated runs of a scenario, and an interval on every figure.

Each replication is run twice: nominally, and with what is not known for sure drawn once: the step
cost's own error (`perturbed`, where the cost has one) and the estimated KV cache. The value of a figure
is its mean over the nominal runs; the drawn ones give the interval (`foretell.sim.intervals`). Where
nominal runs cannot differ, as with a recorded trace, there is one. Each replication has seeds of its own
for workload, draws and routing, spawned from the scenario's: two scenarios with the same seed meet the
same randomness.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from foretell.sim import apart, metrics
from foretell.sim.apart import deploy_disaggregated
from foretell.sim.bounds import FIGURES as BOUND_FIGURES
from foretell.sim.bounds import bound_shares
from foretell.sim.client import at_client, at_engine
from foretell.sim.deployment import Deployment, EnginePart, deploy
from foretell.sim.intervals import Estimate, chance_below, estimate
from foretell.sim.objectives import Objective, limits_for, objectives_from_mapping
from foretell.sim.power import energy_J
from foretell.sim.scenario import Scenario
from foretell.sim.simulation import Run
from foretell.sim.strategies import Disaggregated, Single
from foretell.sim.uncertain import drawn_part, is_uncertain
from foretell.sim.workload import drawn_trace, fixed_trace
from foretell.traces import Trace

SHARES = frozenset(
    {"utilisation", "kv_use", "cache_hit_rate", "attainment", "accuracy", "answered", "late"}
    | {*BOUND_FIGURES, *apart.SHARES}
)
"""Figures that lie between 0 and 1."""

METHOD = "simulated: vLLM's scheduling decisions, step by step"
Progress = Callable[[int, int], None]
"""Called now and then with (requests done, requests in all)."""

_CERTAIN_ROUTERS = ("round_robin", "least_outstanding", "prefix_affinity", "session_affinity")
_POOL_PAYS = 50_000  # requests from which on several processes are worth their start
_BUSY = ("utilisation", "prefill_utilisation", "decode_utilisation")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an objective is met.

    Attributes:
        objective: the objective.
        value: the figure's mean over the replications, in SI units.
        met: whether that is within the limit.
        probability: chance that one run is, by Student's t over the replications; NaN if unknown.

    """

    objective: Objective
    value: float
    met: bool
    probability: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to expect of a scenario.

    Attributes:
        scenario: what was asked.
        deployment: what its pools came to.
        summary: figures by name, in SI units; see `foretell.sim.metrics` for their definitions.
        verdicts: on the objectives, in their order.
        notes: what is estimated, assumed or outside a model's validity.
        run: the records of replication 0.
        trace: what it was given.

    """

    scenario: Scenario
    deployment: Deployment
    summary: dict[str, Estimate]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
    run: Run
    trace: Trace

    @property
    def met(self) -> bool:
        """Whether every objective is met (true without objectives)."""
        return all(verdict.met for verdict in self.verdicts)

    @property
    def method(self) -> str:
        """How its figures were found."""
        return METHOD

    @property
    def client_run(self) -> Run:
        """The records of replication 0 as the scenario's client sees them; `run` if it has none."""
        client = self.scenario.client
        return self.run if client is None else at_client(self.run, client, self.trace)

    @property
    def calls(self) -> Any:
        """The calls of replication 0: a pandas DataFrame, one row each."""
        from foretell.sim.records import calls_frame

        return calls_frame(self.run)

    @property
    def queries(self) -> Any:
        """The queries of replication 0, one row each; without a task, a query is a call."""
        return self.calls if self.run.queries is None else self.run.queries.to_frame()

    def to_dict(self, *, detailed: bool = False) -> dict[str, Any]:
        """Plain values under `vllm bench serve`'s keys and ours; `detailed` adds its per-request lists."""
        from foretell.sim.forecast_json import forecast_dict

        return forecast_dict(self, detailed=detailed)

    def to_json(self, *, detailed: bool = False) -> str:
        """Return `to_dict` as JSON text; figures that do not exist are null."""
        import json

        return json.dumps(self.to_dict(detailed=detailed), indent=2, allow_nan=False) + "\n"

    def to_html(self, path: str | None = None) -> str:
        """Return the report, one page; with a path it is written there too."""
        from foretell.sim.report.forecast_page import to_html

        return to_html(self, path)


def forecast(
    scenario: Scenario,
    *,
    executor: Executor | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Forecast:
    """Forecast a scenario. Equal scenarios give equal forecasts, however many processes work on them.

    Args:
        scenario: what to forecast.
        executor: any `concurrent.futures` executor for the replications.
        processes: of a pool made for them; by default one for each core if the work is worth it.
        progress: called now and then.

    Raises:
        ValueError: the scenario is impossible, or its trace malformed; one line.

    """
    objectives = objectives_from_mapping(scenario.objectives)
    limits = limits_for(objectives, scenario.goodput)
    percentiles = {50.0, 90.0, 99.0} | {o.percentile for o in objectives if o.percentile is not None}
    trace = fixed_trace(scenario.workload)
    first = trace if trace is not None else drawn_trace(scenario.workload, seeds(scenario, 0)[0])
    context = first.prompt_tokens + first.output_tokens / 2
    deployment = deployed(scenario, float(context.mean()))
    job = _Job(scenario, deployment, trace, tuple(sorted(percentiles)), limits)
    results = list(_results(job, len(first), executor, processes, progress))
    run = results[0].run
    assert run is not None and results[0].nominal is not None
    nominal = [r.nominal for r in results if r.nominal is not None]
    summary = {
        name: estimate(
            [r.drawn.get(name, np.nan) for r in results],
            nominal=[figures.get(name, np.nan) for figures in nominal],
            share=name in SHARES,
        )
        for name in results[0].nominal
    }
    verdicts = tuple(_verdict(objective, summary) for objective in objectives)
    notes = (*deployment.notes, *first.notes, *_remarks(run, summary, len(results)))
    return Forecast(scenario, deployment, summary, verdicts, notes, run, first)


def deployed(scenario: Scenario, mean_context_tokens: float) -> Deployment:
    """Make the pools of a scenario concrete, as its strategy uses them.

    Raises:
        ValueError: what is impossible about them, in one line.

    """
    plan = scenario.parsed_strategy
    if isinstance(plan, Single):
        return deploy(scenario.pool, mean_context_tokens)
    if isinstance(plan, Disaggregated):
        return deploy_disaggregated(scenario.pools, plan, mean_context_tokens)
    from foretell.sim.programs.deployed import deploy_programs

    return deploy_programs(scenario, plan)


@dataclass(frozen=True, slots=True)
class _Result:
    """Figures of a replication with nothing drawn, if they are news, and as drawn; records of the first."""

    nominal: dict[str, float] | None
    drawn: dict[str, float]
    run: Run | None


@dataclass(frozen=True, slots=True)
class _Job:
    """All that a replication needs; it travels to other processes."""

    scenario: Scenario
    deployment: Deployment
    trace: Trace | None
    percentiles: tuple[float, ...]
    limits: dict[str, float]

    def __call__(self, index: int, tick: Callable[[int], None] | None = None) -> _Result:
        """Run one replication: nominally where that says something new, and as drawn."""
        workload_seed, draw_seed, routing_seed = seeds(self.scenario, index)
        trace = self.trace
        if trace is None:
            trace = drawn_trace(self.scenario.workload, workload_seed)
        parts = self.deployment.parts
        nominal = run = None
        drawn: dict[str, float] | None = None
        uncertain = self.uncertain and self.scenario.replications > 1
        todo = 2 if uncertain and (index == 0 or self.varied) else 1
        if index == 0 or self.varied or not uncertain:
            run = self.simulate(
                trace, {id(p): p for p in parts}, routing_seed, _part_of(tick, 0, todo, len(trace))
            )
            nominal = drawn = self.figures(run, trace, {id(p): p for p in parts})
        if uncertain:
            rng = np.random.default_rng(draw_seed)
            changed = {id(p): drawn_part(p, rng) for p in parts}
            last = _part_of(tick, todo - 1, todo, len(trace))
            other = self.simulate(
                trace, changed, routing_seed, last, np.random.default_rng(draw_seed.spawn(1)[0])
            )
            drawn = self.figures(other, trace, changed)
        assert drawn is not None
        return _Result(nominal, drawn, run if index == 0 else None)

    @property
    def varied(self) -> bool:
        """Whether nominal replications can differ."""
        deployment = self.deployment
        routed = len(deployment.engines) > 1 and not set(deployment.routers) <= set(_CERTAIN_ROUTERS)
        return self.trace is None or routed

    @property
    def uncertain(self) -> bool:
        """Whether there is anything to draw."""
        return is_uncertain(self.deployment)

    def simulate(
        self,
        trace: Trace,
        parts: dict[int, EnginePart],
        seed: np.random.SeedSequence,
        tick: Callable[[int], None] | None,
        rng: np.random.Generator | None = None,
    ) -> Run:
        """Simulate with these in place of the deployment's parts."""
        if self.scenario.client is not None:
            trace = at_engine(trace, self.scenario.client)
        return self.deployment.simulate(trace, parts, seed, tick, rng)

    def figures(self, run: Run, trace: Trace, parts: dict[int, EnginePart]) -> dict[str, float]:
        """Give every figure of a run."""
        warmup = self.scenario.workload.warmup_s
        client = self.scenario.client
        seen = run if client is None else at_client(run, client, trace)
        engines = [parts[id(part)] for part in self.deployment.engines]
        energy = energy_J(run, engines, [part.cost for part in engines])
        figures = {
            **metrics.latencies(seen, self.percentiles, warmup),
            **metrics.throughput(seen, self.limits, warmup),
            **metrics.per_accelerator(seen, self.deployment.accelerators, warmup),
            **metrics.engines(run),
            **bound_shares(run, [part.cost for part in engines]),
            **metrics.costs(run, self.deployment.usd_per_h),
            **metrics.energies(run, energy),
        }
        return figures | self.deployment.figures(run, figures, self.limits, warmup)


def _results(
    job: _Job, requests: int, executor: Executor | None, processes: int | None, progress: Progress | None
) -> Iterator[_Result]:
    count = job.scenario.replications
    if not (job.varied or job.uncertain):
        yield from [job(0, _ticker(progress, 0, requests, requests))] * count
        return
    total = requests * count
    if executor is None and processes is None:
        processes = os.cpu_count() or 1 if total >= _POOL_PAYS else 1
    if executor is None and min(processes or 1, count) > 1:
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(min(processes or 1, count), initializer=end_on_interrupt) as pool:
            try:
                yield from _results(job, requests, pool, None, progress)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    elif executor is not None:
        # Not executor.map: it cancels what is left while a broken pool's own thread ends it.
        futures = [executor.submit(job, index) for index in range(count)]
        for index, future in enumerate(futures):
            result = future.result()
            if progress is not None:
                progress(requests * (index + 1), total)
            yield result
    else:
        for index in range(count):
            yield job(index, _ticker(progress, requests * index, total, requests))


def end_on_interrupt() -> None:
    """Let a signal end a worker without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _ticker(
    progress: Progress | None, before: int, total: int, requests: int
) -> Callable[[int], None] | None:
    if progress is None:
        return None
    return lambda done: progress(before + min(done, requests), total)


def _part_of(
    tick: Callable[[int], None] | None, index: int, count: int, rows: int
) -> Callable[[int], None] | None:
    """Progress of one of several simulations of as many requests, as a share of all."""
    return None if tick is None else lambda done: tick((index * rows + done) // count)


def seeds(scenario: Scenario, replication: int) -> list[np.random.SeedSequence]:
    """Seeds of a replication's workload, cost and routing, whatever was spawned before."""
    return np.random.SeedSequence(scenario.seed, spawn_key=(replication,)).spawn(3)


def chance(objective: Objective, values: Sequence[float]) -> float:
    """Chance that one more run meets an objective, from its figure in these; NaN where one has none.

    Runs that are all alike leave none: a figure at its limit meets it, whichever way it is bounded.
    """
    if len(values) > 1 and all(value == values[0] for value in values):
        return float(objective.met(values[0]))
    below = chance_below(values, objective.limit, share=objective.key in SHARES)
    return below if objective.direction == "<=" else 1 - below


def why_missing(key: str, summary: Mapping[str, Any]) -> str:
    """What is not known of an accelerator, so that its runs have no such figure; empty if it is not that."""
    if key.startswith("usd") and "usd_per_h" not in summary:
        return "the accelerator has no price; give price_usd_per_h"
    if (key.endswith("_J") or key == "power_W") and "power_W" not in summary:
        return "the accelerator's power is not known"
    return ""


def _verdict(objective: Objective, summary: Mapping[str, Estimate]) -> Verdict:
    found = summary.get(objective.key)
    if found is None:
        why = why_missing(objective.key, summary) or "no run has it"
        raise ValueError(f"objectives.{objective.name}: not known here ({why})")
    return Verdict(objective, found.value, objective.met(found.value), chance(objective, found.values))


def _remarks(run: Run, summary: dict[str, Estimate], replications: int) -> Iterator[str]:
    waiting, batch = summary["mean_waiting"].value, summary["mean_batch"].value
    shares = [summary[key].value for key in _BUSY if key in summary]
    if max(shares) > 0.95 and waiting > 0.5 * batch:
        yield (
            f"overloaded: on average {waiting * len(run.engines):,.0f} requests wait; latencies depend on "
            "how long the load lasts"
        )
    rejected = int((run.status == metrics.REJECTED).sum())
    if rejected == len(run.status):
        raise ValueError(
            f"no request can be served: all {rejected:,} need more than max_model_len or the KV cache "
            "allows; raise max_model_len or num_gpu_blocks"
        )
    if rejected:
        yield (
            f"{rejected:,} of {len(run.status):,} requests rejected: they can never fit max_model_len or "
            "the KV cache; latencies are of the others"
        )
    if replications == 1:
        yield "one replication: no intervals"
    elif replications < 4:
        yield f"{replications} replications: intervals are only their range; 4 give a prediction"
