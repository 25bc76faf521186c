"""A scenario made concrete for closed forms: load, deployment and profiles, each of which can be changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from foretell.sim.analytic import Analysis, analyse
from foretell.sim.analytic_load import Load, load_of
from foretell.sim.deployment import Deployment, EnginePart
from foretell.sim.forecasting import deployed
from foretell.sim.scenario import Scenario
from foretell.sim.strategies import Disaggregated, Single


@dataclass(frozen=True, slots=True)
class Case:
    """What a closed form needs to know.

    Attributes:
        scenario: what was asked.
        deployment: what its pools came to.
        load: its requests; None for the queries of a task, which its profiles describe.
        parts: names of the deployment's parts: of their pools, or of groups in them.
        engines_each: engines of one replica, by part.

    """

    scenario: Scenario
    deployment: Deployment
    load: Load | None
    parts: tuple[str, ...]
    engines_each: tuple[int, ...]

    @property
    def replicas(self) -> tuple[int, ...]:
        """Replicas, by part."""
        return tuple(
            p.count // each for p, each in zip(self.deployment.parts, self.engines_each, strict=True)
        )

    @property
    def usd_per_h(self) -> float:
        """Rent of everything, NaN where a price is not known."""
        rent = self.deployment.usd_per_h
        return math.nan if rent is None else rent

    def with_replicas(self, replicas: Sequence[int]) -> Case:
        """The same with so many replicas, by part."""
        counted = zip(self.deployment.parts, self.engines_each, replicas, strict=True)
        return self.with_parts([replace(part, count=each * count) for part, each, count in counted])

    def with_parts(self, parts: Sequence[EnginePart]) -> Case:
        """The same with other engines."""
        return replace(self, deployment=replace(self.deployment, parts=tuple(parts)))

    def busier(self, factor: float) -> Case:
        """The same with so many times the traffic."""
        if self.load is None:
            workload = self.scenario.workload
            faster = replace(workload, rate_scale=workload.rate_scale * factor)
            return replace(self, scenario=replace(self.scenario, workload=faster))
        load = replace(self.load, rate_per_s=self.load.rate_per_s * factor)
        if load.modulation is not None:
            rates, stays = load.modulation
            load = replace(
                load, modulation=(tuple(r * factor for r in rates), tuple(s / factor for s in stays))
            )
        return replace(self, load=load)

    def analysed(self) -> Analysis:
        """Its figures in an endless run.

        Raises:
            ValueError: it has no closed form.

        """
        return analyse(self.scenario, self.load, self.deployment)


def case_of(scenario: Scenario) -> Case:
    """Make a scenario concrete.

    Raises:
        ValueError: it has no rate, or what `deploy` raises.

    """
    load, context = None, math.nan  # a task's profiles have their own lengths
    if scenario.workload.task is None:
        load = load_of(scenario.workload)
        context = load.mean_context
    each, parts = [], []
    for name in _pools(scenario):
        groups = scenario.pools[name].groups
        each += [group.data_parallel_size or 1 for group in groups]
        parts += [name if len(groups) == 1 else f"{name}[{i}]" for i in range(len(groups))]
    return Case(scenario, deployed(scenario, context), load, tuple(parts), tuple(each))


def _pools(scenario: Scenario) -> tuple[str, ...]:
    """The pools in the order of the deployment's parts."""
    strategy = scenario.parsed_strategy
    if isinstance(strategy, Single):
        return (strategy.pool,)
    if isinstance(strategy, Disaggregated):
        return strategy.prefill, strategy.decode
    return strategy.pools
