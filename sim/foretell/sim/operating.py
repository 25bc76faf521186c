"""Operating points: the FLOPs and bytes of steps, the rate at which they are done, and the roof above them.

All figures are of one accelerator. FLOPs and bytes are those of `foretell.models.energy.PeakWork`, which
counts what operators must compute and move; the roof is the datasheet's.

Source: Williams, Waterman and Patterson, Roofline (CACM 2009): attainable = min(peak, bandwidth × intensity).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foretell.models import StepLoad
from foretell.models.operators import Experts, Operator, expert_popularity
from foretell.models.tabulate import LEAST_SKEW
from foretell.sim.bounds import BOUNDS
from foretell.sim.deployment import EnginePart
from foretell.sim.steps import KINDS, Floats, engine_names, engine_steps

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.forecasting import Forecast

MEAN_STEP = "mean step"
"""The kind of step that a forecast in closed form has."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What the steps of one kind did, on like engines of a pool; arrays of n: a row a run of like steps.

    Attributes:
        pool: name of the pool.
        part: what the engines are.
        kind: one of `KINDS`, or `MEAN_STEP`.
        seconds: engine time of each row.
        bound_s: the same by what bounds it, shape (5, n) in the order of `BOUNDS`.
        flops, num_bytes: of each row on one accelerator; None where the cost of a step is the user's own.

    """

    pool: str
    part: EnginePart
    kind: str
    seconds: Floats
    bound_s: Floats
    flops: Floats | None
    num_bytes: Floats | None

    @property
    def busy_s(self) -> float:
        """Engine time of all."""
        return float(self.seconds.sum())

    @property
    def shares(self) -> dict[str, float]:
        """Shares of its time by what bounds it."""
        found = self.bound_s.sum(axis=1) / max(self.busy_s, 1e-300)
        return dict(zip(BOUNDS, found.tolist(), strict=True))

    @property
    def mean(self) -> tuple[float, float] | None:
        """Arithmetic intensity [FLOP/byte] and rate [FLOP/s] of all of it together."""
        if self.flops is None or self.num_bytes is None or not self.busy_s:
            return None
        flops = float(self.flops.sum())
        return flops / float(self.num_bytes.sum()), flops / self.busy_s


def step_work(part: EnginePart, load: Sequence[Any]) -> tuple[Any, Any] | None:
    """FLOPs and bytes of a step on one accelerator; None where the cost of a step is the user's own.

    Experts' weights are those that skewed routing reaches (Zipf, LEAST_SKEW), as in the floors of `tabulate`:
    with fewer bytes no measured routing does.

    Args:
        part: the engine.
        load: the seven figures of a `StepLoad`, numbers or arrays.

    """
    if part.work is None:
        return None
    units = replace(
        part.work,
        operators=tuple(_least(op) for op in part.work.operators),
        peak_flops=dict.fromkeys(part.work.peak_flops, 1.0),
        memory_Bps=1.0,
    )
    flops, num_bytes = units(*load)
    return flops, num_bytes


def _least(operator: Operator) -> Operator:
    if not isinstance(operator, Experts) or operator.popularity:
        return operator
    return replace(operator, popularity=expert_popularity(operator.num_experts, LEAST_SKEW))


def peaks(part: EnginePart) -> dict[str, float]:
    """Datasheet FLOP/s of the formats in which the model computes here, highest first."""
    if part.work is None:
        return {}
    used = {op.precision for op in part.work.operators}
    found = {name: part.work.peak_flops[name] for name in used}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def attainable(part: EnginePart, intensity: Any) -> Any:
    """The roof [FLOP/s] at an arithmetic intensity [FLOP/byte]."""
    assert part.work is not None
    return np.minimum(max(peaks(part).values()), part.work.memory_Bps * np.asarray(intensity))


def spent(result: Forecast | ClosedForm) -> list[Spent]:
    """Where the time of a forecast's steps went, by pool, kind of engine and kind of step.

    A simulated forecast has its replication 0 step by step (`foretell.sim.steps.with_loads` records it, once
    more each time unless it was); one in closed form has the mean step of each kind of engine.
    """
    busy = getattr(result, "busy", None)
    if busy is not None:
        return list(_mean_steps(result, busy))
    found: dict[tuple[str, int, int], list[Spent]] = {}
    for steps in engine_steps(result):  # type: ignore[arg-type]
        for kind, name in enumerate(KINDS):
            rows = steps.where(steps.kind == kind)
            if not len(rows):
                continue
            work = step_work(steps.part, rows.middle)
            each = (None, None) if work is None else tuple(values * rows.count for values in work)
            one = Spent(steps.pool, steps.part, name, rows.seconds, rows.bound_s, *each)
            found.setdefault((steps.pool, id(steps.part), kind), []).append(one)
    return [_joined(parts) for _, parts in sorted(found.items(), key=lambda item: _place(item, found))]


def _place(item: tuple[tuple[str, int, int], Any], found: Mapping[tuple[str, int, int], Any]) -> Any:
    """Pools and engines in the order in which they come, kinds in theirs."""
    places = list(dict.fromkeys(key[:2] for key in found))
    return places.index(item[0][:2]), item[0][2]


def _joined(parts: Sequence[Spent]) -> Spent:
    first = parts[0]
    return replace(
        first,
        seconds=np.concatenate([one.seconds for one in parts]),
        bound_s=np.concatenate([one.bound_s for one in parts], axis=1),
        flops=None if first.flops is None else np.concatenate([one.flops for one in parts]),
        num_bytes=None if first.num_bytes is None else np.concatenate([one.num_bytes for one in parts]),
    )


def _mean_steps(result: Any, busy: Sequence[tuple[EnginePart, Any]]) -> Iterator[Spent]:
    names = dict(
        zip(map(id, result.deployment.engines), engine_names(result.scenario, result.deployment), strict=True)
    )
    for part, at in busy:
        load = StepLoad(*(np.array([figure], dtype=np.float64) for figure in at.load))
        parts = part.cost.breakdown(*load)
        seconds = np.array([np.broadcast_to(parts.get(bound, 0.0), 1) for bound in BOUNDS], dtype=float)
        work = step_work(part, load)
        yield Spent(
            names[id(part)][0],
            part,
            MEAN_STEP,
            seconds.sum(axis=0),
            seconds,
            *((None, None) if work is None else work),
        )
