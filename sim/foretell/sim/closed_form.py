"""A forecast in closed form: figures of an endless run in milliseconds, by the queueing models.

The interval of a figure is where 90 % of its draws land: of the step cost's own error (`perturbed`), the
estimated KV cache and, for tasks, the outcome profiles. What one run of finite length adds by chance, and how
far the method itself is off (docs/queueing.md), are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from foretell.sim.analytic import analyse
from foretell.sim.analytic_load import closed_lengths, load_of
from foretell.sim.analytic_power import Busy
from foretell.sim.closed_form_verdict import verdict
from foretell.sim.deployment import Deployment, EnginePart
from foretell.sim.forecasting import SHARES, Verdict, deployed, seeds
from foretell.sim.intervals import Estimate, estimate
from foretell.sim.objectives import limits_for, objectives_from_mapping
from foretell.sim.scenario import Scenario
from foretell.sim.strategies import Single
from foretell.sim.uncertain import drawn_deployment, is_uncertain

_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """What to expect of a scenario in an endless run.

    Attributes:
        scenario: what was asked.
        deployment: what its pools came to.
        summary: figures by name, in SI units, those of a `Forecast` that a steady state has; besides load
            (share of the capacity) and capacity_rps. NaN where there is none: latencies beyond the capacity.
        verdicts: on the objectives, in their order; a probability is the share of what is not known for sure.
        notes: what the intervals cover, what is estimated or left out, what is outside a model's validity.
        method: how the figures were found.
        rate_per_s: requests, or queries, a second.
        mean_tokens: of a request's prompt and answer; None for the queries of a task.
        busy: every kind of engine, how busy it is and its mean step.

    """

    scenario: Scenario
    deployment: Deployment
    summary: dict[str, Estimate]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
    method: str
    rate_per_s: float
    mean_tokens: tuple[float, float] | None
    busy: tuple[tuple[EnginePart, Busy], ...] = field(default=(), repr=False)

    @property
    def met(self) -> bool:
        """Whether every objective is met (true without objectives)."""
        return all(verdict.met for verdict in self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the keys of a simulated forecast; None where an endless run has no figure."""
        from foretell.sim.forecast_json import closed_form_dict

        return closed_form_dict(self)

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        import json

        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def to_html(self, path: str | None = None) -> str:
        """Return the report, one page; with a path it is written there too."""
        from foretell.sim.report.forecast_page import to_html

        return to_html(self, path)


def forecast_closed_form(scenario: Scenario, *, draws: int | None = None) -> ClosedForm:
    """Forecast a scenario without a clock, in a fraction of a second.

    Args:
        scenario: what to forecast: single calls at a rate or in a closed loop, two pools, or a program
            that has a closed form.
        draws: of what is not known for sure, for the intervals; as many as the scenario has replications.

    Raises:
        ValueError: it has no closed form, or is impossible; one line.

    """
    if draws is not None:
        scenario = replace(scenario, replications=draws)
    objectives = objectives_from_mapping(scenario.objectives)
    limits_for(objectives, scenario.goodput)
    load, tokens, context = None, None, math.nan  # a task's profiles have their own lengths
    if scenario.workload.task is None:
        if scenario.workload.concurrency is not None and isinstance(scenario.parsed_strategy, Single):
            law = closed_lengths(scenario.workload)
        else:
            load = load_of(scenario.workload)
            law = load.law
        tokens = law.mean_prompt, float(law.output.mean())
        context = law.mean_context
    deployment = deployed(scenario, context)
    nominal = analyse(scenario, load, deployment)
    drawn = []
    if scenario.replications > 1 and is_uncertain(deployment):
        for index in range(scenario.replications):
            other = drawn_deployment(deployment, seeds(scenario, index)[1])
            drawn.append(_told(analyse(scenario, load, other).figures))
    summary = {
        name: estimate(
            [figures.get(name, math.nan) for figures in drawn] or [value],
            nominal=[value],
            share=name in SHARES,
        )
        for name, value in _told(nominal.figures).items()
    }
    verdicts = tuple(verdict(objective, summary) for objective in objectives)
    if load is not None:
        rate = load.rate_per_s
    else:  # a closed loop goes as fast as it is served
        rate = _rate_of_queries(scenario) if tokens is None else nominal.figures["request_throughput_rps"]
    notes = (*_remarks(scenario, len(drawn)), *nominal.notes)
    about = (notes, nominal.method, rate, tokens, nominal.busy)
    return ClosedForm(scenario, deployment, summary, verdicts, *about)


def _rate_of_queries(scenario: Scenario) -> float:
    from foretell.sim.estimate_cell import rate_per_s

    return rate_per_s(scenario)


def _remarks(scenario: Scenario, draws: int) -> Iterator[str]:
    """Say what the intervals are of, and what is left out."""
    if draws < 2:
        yield "figures of an endless run, without intervals: nothing was drawn"
    else:
        what = "step times and KV caches"
        if scenario.workload.task is not None:
            what = "step times, KV caches and outcome profiles"
        yield (
            f"figures of an endless run; an interval holds 9 of 10 draws ({draws}) of the errors of {what}: "
            "neither the chance of a finite run nor the method's own error is in it"
        )
    if scenario.client is not None:
        yield "client: left out; times are the engine's"


def _told(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures as people need them: NaN where a line grows for ever, 0 where only arithmetic is left."""
    return {
        name: (value if abs(value) > _NOTHING else 0.0) if math.isfinite(value) else math.nan
        for name, value in figures.items()
    }
