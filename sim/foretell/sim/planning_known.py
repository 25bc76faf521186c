"""What the candidates of a plan have in common, made once: lengths drawn, step costs, engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from foretell.sim.scenario import Pool, Scenario, Workload

if TYPE_CHECKING:
    from foretell.sim.analytic_load import Load
    from foretell.sim.deployment import Deployment

_MOST = 4096
Forecast = tuple[Mapping[str, float], str, tuple[str, ...]]
"""Figures, method and notes."""


@dataclass(slots=True)
class Known:
    """Filled as candidates that share a workload but for its rate are asked for.

    Attributes:
        loads: by how many times as fast requests come.
        deployments: of pools with one replica.
        shared: as `deploy` keeps it.
        figures: of scenarios that were asked for lately.
        made: forecasts made.

    """

    loads: dict[float, Load] = field(default_factory=dict)
    deployments: dict[Pool, Deployment] = field(default_factory=dict)
    shared: dict[Any, Any] = field(default_factory=dict)
    figures: dict[Any, Forecast] = field(default_factory=dict)
    made: int = 0

    def forecast(self, scenario: Scenario, make: Callable[[], Forecast]) -> Forecast:
        """What was made of a scenario lately, or make it now."""
        key = (
            tuple(scenario.pools.items()),
            scenario.workload.rate_scale,
            repr(sorted(scenario.strategy.items(), key=str)),
        )
        if key not in self.figures:
            self.made += 1
            self.figures[key] = make()
        return self.figures[key]

    def load(self, workload: Workload) -> Load:
        """The workload as queueing models take it.

        Raises:
            ValueError: as `load_of`.

        """
        from foretell.sim.analytic_load import load_of

        if workload.rate_scale not in self.loads:
            self.loads[workload.rate_scale] = load_of(workload)
        return self.loads[workload.rate_scale]

    def context_tokens(self, workload: Workload) -> float:
        """Mean context of a request, as `analyse` deploys for."""
        return self.load(workload).mean_context

    def deployment(self, scenario: Scenario) -> Deployment | None:
        """The only pool's engines, or None where there are more pools.

        Raises:
            ValueError: as `deploy`.

        """
        if len(scenario.pools) > 1:
            return None
        pool, context = scenario.pool, self.context_tokens(scenario.workload)
        count = pool.replicas if isinstance(pool.replicas, int) else 1
        one = replace(pool, replicas=1) if isinstance(pool.replicas, int) else pool
        made = self.one(one, context)
        return replace(made, parts=tuple(replace(part, count=part.count * count) for part in made.parts))

    def one(self, pool: Pool, context_tokens: float | None) -> Deployment:
        """Engines of a pool as it is.

        Raises:
            ValueError: as `deploy`.

        """
        from foretell.sim.deployment import deploy

        if pool not in self.deployments:
            if len(self.deployments) >= _MOST:
                self.deployments.clear()
            self.deployments[pool] = deploy(pool, context_tokens, self.shared)
        return self.deployments[pool]
