"""The space of a plan: strategies, the pools that each calls, and every layout of a pool.

A pool's *layout* is all of its fields but the replicas. It is a *chassis* (what runs on what, and how: all
that the time of a step depends on) with *settings* of the engine's batch, so that what is dear to find out is
found once a chassis and the settings are bounded all at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from foretell.sim.comparing_grid import called_pools
from foretell.sim.planning import Candidate
from foretell.sim.planning_spec import PlanSpec, is_replicas, is_settings
from foretell.sim.scenario import Pool, Scenario


@dataclass(frozen=True, slots=True)
class Chassis:
    """A pool without its batch settings.

    Attributes:
        changes: its values by field path.
        pool: with them, and one replica unless those are in groups; None where they contradict each other.
        fault: how they do.

    """

    changes: Mapping[str, Any]
    pool: Pool | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class PoolSpace:
    """Every layout of a pool.

    Attributes:
        name: of the pool.
        chassis: the first field of the section varying slowest.
        settings: values by name of the engine's batch settings, likewise.
        replicas: rising.
        free: whether they are chosen; groups of replicas stay as given, and count as one.

    """

    name: str
    chassis: tuple[Chassis, ...]
    settings: tuple[Mapping[str, Any], ...]
    replicas: Sequence[int]
    free: bool

    @property
    def layouts(self) -> int:
        """How many."""
        return len(self.chassis) * len(self.settings)

    def changes(self, layout: int, replicas: int) -> dict[str, Any]:
        """Values by field path of a layout with so many replicas."""
        frame, settings = divmod(layout, len(self.settings))
        own = {f"pools.{self.name}.engine.{key}": v for key, v in self.settings[settings].items()}
        count = {f"pools.{self.name}.replicas": replicas} if self.free else {}
        return {**self.chassis[frame].changes, **own, **count}

    def pool(self, layout: int, replicas: int = 1) -> Pool:
        """The pool with so many replicas (or its groups)."""
        frame, settings = divmod(layout, len(self.settings))
        pool = self.chassis[frame].pool
        assert pool is not None
        engine = replace(pool.engine, **self.settings[settings])
        return replace(pool, engine=engine, replicas=replicas if self.free else pool.replicas)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A strategy and the spaces of the pools that it calls.

    Attributes:
        changes: the strategy's values by field path.
        strategy: the whole of it.
        pools: in the scenario's order.

    """

    changes: Mapping[str, Any]
    strategy: Mapping[str, Any]
    pools: tuple[PoolSpace, ...]

    @property
    def roles(self) -> tuple[str, ...]:
        """What each pool does of a request: "whole", or its "prefill" or "decode"."""
        if self.strategy.get("name") != "disaggregated":
            return ("whole",) * len(self.pools)
        decode = self.strategy.get("decode", "decode")
        return tuple("decode" if space.name == decode else "prefill" for space in self.pools)

    def kind(self, layouts: Sequence[int]) -> tuple[Any, ...]:
        """What layouts that differ in settings alone share; all of it, where nothing else varies."""
        alike = all(len(space.chassis) == 1 for space in self.pools)
        frames = (
            layouts if alike else [n // len(s.settings) for n, s in zip(layouts, self.pools, strict=True)]
        )
        return (repr(sorted(self.strategy.items(), key=str)), *frames)

    def candidate(
        self, scenario: Scenario, spec: PlanSpec, layouts: Sequence[int], replicas: Sequence[int]
    ) -> Candidate:
        """The candidate with these layouts of its pools and so many replicas of each.

        Raises:
            ValueError: what a pool's or an engine's settings contradict.

        """
        chosen = list(zip(self.pools, layouts, replicas, strict=True))
        changes = dict(self.changes)
        for space, layout, count in chosen:
            changes |= space.changes(layout, count)
        pools = {space.name: space.pool(layout, count) for space, layout, count in chosen}
        made = replace(scenario, pools=pools, strategy=self.strategy, compare={}, sweep={}, plan={})
        return Candidate(changes, made, spec.headroom, spec.spare)

    @property
    def size(self) -> int:
        """Candidates."""
        return math.prod(space.layouts * len(space.replicas) for space in self.pools)

    @property
    def layouts(self) -> int:
        """Candidates that differ in more than replicas."""
        return math.prod(space.layouts for space in self.pools)


def arrangements(scenario: Scenario, spec: PlanSpec) -> tuple[Arrangement, ...]:
    """Make the space of a plan; strategies that come out alike are one.

    Raises:
        ValueError: a strategy that does not exist, or two fields of which one is part of the other.

    """
    _check_overlap(spec)
    lists = {path: values for path, values in spec.fields.items() if path.split(".")[0] == "strategy"}
    spaces = {name: _pool_space(scenario, name, spec) for name in scenario.pools}
    found: dict[str, Arrangement] = {}
    for chosen in _product(lists):
        strategy = dict(scenario.strategy)
        for path, value in chosen.items():
            if path == "strategy":
                strategy = dict(value) if isinstance(value, Mapping) else {"name": value}
        for path, value in chosen.items():
            if path != "strategy":
                strategy[path.removeprefix("strategy.")] = value
        where = ", ".join(f"plan.fields.{path}" for path in chosen)
        try:
            called = called_pools(strategy, list(scenario.pools), scenario.workload.task)
            pools = {name: scenario.pools[name] for name in called}
            replace(scenario, pools=pools, strategy=strategy, plan={}, compare={}, sweep={})
        except ValueError as error:
            raise ValueError(f"{where}: {error}" if where else str(error)) from None
        made = Arrangement(chosen, strategy, tuple(spaces[name] for name in called))
        found.setdefault(repr(sorted(strategy.items(), key=str)), made)
    return tuple(found.values())


def _check_overlap(spec: PlanSpec) -> None:
    for path in spec.fields:
        inner = [other for other in spec.fields if other.startswith(path + ".")]
        if inner and path != "strategy":
            raise ValueError(f"plan.fields.{path}: {inner[0]} is part of it; drop one of the two")


def _pool_space(scenario: Scenario, name: str, spec: PlanSpec) -> PoolSpace:
    base, prefix = scenario.pools[name], f"pools.{name}."
    own = {
        path: values
        for path, values in spec.fields.items()
        if path.startswith(prefix) and not is_replicas(path)
    }
    soft = {path for path in own if is_settings(path)}
    frames = []
    for chosen in _product({path: values for path, values in own.items() if path not in soft}):
        try:
            pool = scenario.replace(**chosen).pools[name]
            pool = replace(pool, replicas=1) if isinstance(base.replicas, int) else pool
            frames.append(Chassis(chosen, pool))
        except ValueError as error:
            frames.append(Chassis(chosen, None, str(error)))
    settings = [
        {path.rpartition(".")[2]: value for path, value in chosen.items()}
        for chosen in _product({path: values for path, values in own.items() if path in soft})
    ]
    free = isinstance(base.replicas, int)
    replicas = spec.fields[f"{prefix}replicas"] if free else (1,)
    return PoolSpace(name, tuple(frames), tuple(settings), replicas, free)


def _product(lists: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in product(*lists.values()):
        yield dict(zip(lists, values, strict=True))
