"""The steps of a forecast's run, engine by engine: recorded by running replication 0 once more.

A forecast keeps no record of its steps, which a long run has millions of; pages and timelines ask for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from foretell.models import StepLoad
from foretell.sim.apart import DisaggregatedDeployment
from foretell.sim.bounds import BOUNDS
from foretell.sim.client import at_engine
from foretell.sim.deployment import Deployment, EnginePart
from foretell.sim.forecasting import seeds

if TYPE_CHECKING:
    from foretell.sim.forecasting import Forecast
    from foretell.sim.scenario import Scenario
    from foretell.sim.simulation import Run

Floats = npt.NDArray[np.float64]
KINDS = ("prefill only", "mixed", "decode only")
"""Of steps: prompts alone, prompts beside decoding requests, decoding requests alone."""


@dataclass(frozen=True, slots=True)
class EngineSteps:
    """The steps of one engine; a row is a run of steps that decode alike, each after the other.

    Attributes:
        pool: name of its pool.
        place: which engine of its pool it is, from 0.
        part: what it is.
        start_s, end_s: of the row, shape (n,); rows are in order and do not overlap.
        count: steps in the row.
        load: of the row's first step, seven arrays of (n,).
        kv_blocks: in use, on average over the row.
        kind: place in `KINDS`.
        preempted_s: when requests were preempted, in order; all of the engine's, whatever rows are here.

    """

    pool: str
    place: int
    part: EnginePart
    start_s: Floats
    end_s: Floats
    count: Floats
    load: StepLoad
    kv_blocks: Floats
    kind: npt.NDArray[np.int64]
    preempted_s: Floats

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def name(self) -> str:
        """Pool and place."""
        return f"{self.pool} {self.place}"

    @property
    def seconds(self) -> Floats:
        """Of each row."""
        return self.end_s - self.start_s

    @property
    def middle(self) -> StepLoad:
        """Load of each row's middle step: contexts of those who decode grow by a token a step."""
        load = self.load
        return load._replace(decode_context=load.decode_context + load.decode_seqs * (self.count - 1) / 2)

    @property
    def bound_s(self) -> Floats:
        """Seconds of each row by what bounds them, shape (5, n) in the order of `BOUNDS`."""
        if not len(self):
            return np.zeros((len(BOUNDS), 0))
        parts = self.part.cost.breakdown(*self.middle)
        found = np.array([np.broadcast_to(parts.get(bound, 0.0), len(self)) for bound in BOUNDS], float)
        return np.asarray(found / found.sum(axis=0) * self.seconds)

    def where(self, keep: npt.NDArray[np.bool_]) -> EngineSteps:
        """Some of its rows."""
        return replace(
            self,
            start_s=self.start_s[keep],
            end_s=self.end_s[keep],
            count=self.count[keep],
            load=StepLoad(*(np.asarray(figure)[keep] for figure in self.load)),
            kv_blocks=self.kv_blocks[keep],
            kind=self.kind[keep],
        )


def with_loads(result: Forecast) -> Forecast:
    """The same forecast with its run's steps recorded: replication 0 is run again, to the same end."""
    if result.run.loads is not None:
        return result
    scenario, deployment = result.scenario, result.deployment
    trace = result.trace if scenario.client is None else at_engine(result.trace, scenario.client)
    parts = {id(part): part for part in deployment.parts}
    run = deployment.simulate(trace, parts, seeds(scenario, 0)[2], None, loads=True)
    return replace(result, run=run)


def engine_steps(result: Forecast) -> list[EngineSteps]:
    """The steps of every engine, in the order of the run's engines."""
    run: Run = with_loads(result).run
    assert run.loads is not None and run.kv_blocks is not None and run.pauses is not None
    names = engine_names(result.scenario, result.deployment)
    found = []
    for (pool, place), part, rows, blocks, pauses in zip(
        names, result.deployment.engines, run.loads, run.kv_blocks, run.pauses, strict=True
    ):
        load = StepLoad(*rows[:, 3:].T)
        prompts, decodes = np.asarray(load.prefill_seqs) > 0, np.asarray(load.decode_seqs) > 0
        kind = np.where(prompts, np.where(decodes, 1, 0), 2)
        start, end, count = rows[:, :3].T
        lost = pauses[:, 1]
        found.append(EngineSteps(pool, place, part, start, end, count, load, blocks, kind, lost))
    return found


def engine_names(scenario: Scenario, deployment: Deployment) -> list[tuple[str, int]]:
    """Pool and place of every engine of a deployment."""
    return [(pool, place) for pool, count in _pools(scenario, deployment) for place in range(count)]


def _pools(scenario: Scenario, deployment: Deployment) -> Iterator[tuple[str, int]]:
    """Pools by name, and how many engines each has."""
    engines = len(deployment.engines)
    if isinstance(deployment, DisaggregatedDeployment):
        yield deployment.strategy.prefill, deployment.prefill_engines
        yield deployment.strategy.decode, engines - deployment.prefill_engines
        return
    pools = getattr(deployment, "pools", None)  # of a ProgramDeployment, whose module loads simpy
    if pools is None:
        yield next(iter(scenario.pools)), engines
        return
    start = 0
    for name, parts, _ in pools:
        yield name, sum(part.count for part in deployment.parts[start : start + parts])
        start += parts
