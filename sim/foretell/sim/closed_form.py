"""A forecast in closed form: figures of an endless run in milliseconds, by the queueing models.

The interval of a figure is where 90 % of its draws land: of the step cost's own error (`perturbed`), the
estimated KV cache and, for tasks, the outcome profiles. What one run of finite length adds by chance, and how
far the method itself is off (docs/queueing.md), are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foretell.sim.analytic import analyse
from foretell.sim.analytic_load import load_of
from foretell.sim.closed_form_verdict import verdict
from foretell.sim.deployment import Deployment
from foretell.sim.forecasting import SHARES, Verdict, deployed, seeds
from foretell.sim.intervals import Estimate, estimate
from foretell.sim.objectives import limits_for, objectives_from_mapping
from foretell.sim.scenario import Scenario
from foretell.sim.uncertain import drawn_part, is_uncertain

_NOTHING = 1e-9
TASK_METHOD = "closed form: programs by Little's law"


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

    """

    scenario: Scenario
    deployment: Deployment
    summary: dict[str, Estimate]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
    method: str
    rate_per_s: float
    mean_tokens: tuple[float, float] | None

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


def forecast_closed_form(scenario: Scenario, *, draws: int | None = None) -> ClosedForm:
    """Forecast a scenario without a clock, in a fraction of a second.

    Args:
        scenario: what to forecast: single calls at a rate, two pools, or a program that has a closed form.
        draws: of what is not known for sure, for the intervals; as many as the scenario has replications.

    Raises:
        ValueError: it has no closed form, or is impossible; one line.

    """
    if draws is not None:
        scenario = replace(scenario, replications=draws)
    found = _requests(scenario) if scenario.workload.task is None else _queries(scenario)
    remarks = []
    if scenario.client is not None:
        remarks.append("client: left out; times are the engine's")
    return replace(found, notes=(_covered(found), *remarks, *found.notes))


def _requests(scenario: Scenario) -> ClosedForm:
    objectives = objectives_from_mapping(scenario.objectives)
    limits_for(objectives, scenario.goodput)
    load = load_of(scenario.workload)
    tokens = load.law.mean_prompt, float(load.law.output.mean())
    deployment = deployed(scenario, tokens[0] + tokens[1] / 2)
    nominal = analyse(scenario, load, deployment)
    drawn = []
    if scenario.replications > 1 and is_uncertain(deployment):
        for index in range(scenario.replications):
            rng = np.random.default_rng(seeds(scenario, index)[1])  # as the simulated replication draws them
            parts = tuple(drawn_part(part, rng) for part in deployment.parts)
            drawn.append(_told(analyse(scenario, load, replace(deployment, parts=parts)).figures))
    summary = {
        name: estimate(
            [figures.get(name, math.nan) for figures in drawn] or [value],
            nominal=[value],
            share=name in SHARES,
        )
        for name, value in _told(nominal.figures).items()
    }
    verdicts = tuple(verdict(objective, summary) for objective in objectives)
    method, rate = nominal.method, load.rate_per_s
    return ClosedForm(scenario, deployment, summary, verdicts, nominal.notes, method, rate, tokens)


def _queries(scenario: Scenario) -> ClosedForm:
    from foretell.sim.estimate_cell import estimate_scenario, rate_per_s

    summary, verdicts, notes = estimate_scenario(scenario)
    deployment = deployed(scenario, math.nan)  # a task's profile has its own lengths
    notes = tuple(dict.fromkeys((*deployment.notes, *notes)))
    rate = rate_per_s(scenario)
    return ClosedForm(scenario, deployment, summary, verdicts, notes, TASK_METHOD, rate, None)


def _covered(found: ClosedForm) -> str:
    """Say what the intervals are of."""
    draws = max((len(figure.values) for figure in found.summary.values()), default=0)
    if draws < 2:
        return "figures of an endless run, without intervals: nothing was drawn"
    what = "step times and KV caches" if found.mean_tokens else "step times, KV caches and outcome profiles"
    return (
        f"figures of an endless run; an interval holds 9 of 10 draws ({draws}) of the errors of {what}: "
        "neither the chance of a finite run nor the method's own error is in it"
    )


def _told(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures as people need them: NaN where a line grows for ever, 0 where only arithmetic is left."""
    return {
        name: (value if abs(value) > _NOTHING else 0.0) if math.isfinite(value) else math.nan
        for name, value in figures.items()
    }
