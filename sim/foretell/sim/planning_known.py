"""What the candidates of a plan have in common, made once: lengths drawn, step costs, engines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from foretell.sim.scenario import Pool, Scenario, Workload

if TYPE_CHECKING:
    from foretell.sim.analytic_load import Load
    from foretell.sim.deployment import Deployment

_MOST = 4096


@dataclass(slots=True)
class Known:
    """Filled as candidates that share a workload but for its rate are asked for.

    Attributes:
        loads: by how many times as fast requests come.
        deployments: of pools with one replica.
        shared: as `deploy` keeps it.

    """

    loads: dict[float, Load] = field(default_factory=dict)
    deployments: dict[Pool, Deployment] = field(default_factory=dict)
    shared: dict[Any, Any] = field(default_factory=dict)

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
        law = self.load(workload).law
        return float((law.prompt + law.output / 2).mean())

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
