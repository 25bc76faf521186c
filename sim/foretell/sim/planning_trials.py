"""Simulations of a plan's candidates: each made once, and none longer than it takes to see that it fails."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from foretell.sim.bounds import BOUNDS
from foretell.sim.forecasting import Forecast, Verdict, forecast
from foretell.sim.intervals import Estimate
from foretell.sim.objectives import objectives_from_mapping, room_of
from foretell.sim.planning import figures_of
from foretell.sim.planning_known import Known
from foretell.sim.planning_rent import rent
from foretell.sim.scenario import Scenario

HOPELESS_LOAD = 1.05
"""Share of the closed form's capacity from which on nothing is simulated: that capacity is good to 5 %, and a
run of finite length would not show how long a line grows that never ends."""
_FAR = -0.5
"""Room to a limit below which one run is enough to say that it is missed."""
_FIRST_PAYS = 4
"""Replications from which on a single one is run first."""

Told = Callable[[str], None]
"""Called with what is simulated next."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One deployment under one load, simulated.

    Attributes:
        scenario: the whole of it.
        met: whether every objective holds, as surely as the plan asks.
        probability: chance that a run meets an objective, of the least certain one; NaN from a single run.
        room: least room to a limit as a share of it; below 0 where one is missed.
        missed: objectives that do not hold, with what was found.
        summary, verdicts, notes: as a forecast's; empty without a simulation.
        use: shares of what bounds an engine: "kv_cache", "max_num_seqs", "max_num_batched_tokens"; and
            "load", the traffic as a share of the closed form's capacity, where there is one.
        runs: replications behind it; 0 if none was needed, or none possible.

    """

    scenario: Scenario
    met: bool
    probability: float
    room: float
    missed: tuple[str, ...]
    summary: Mapping[str, Estimate] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    use: Mapping[str, float] = field(default_factory=dict)
    runs: int = 0

    @property
    def bound_by(self) -> str:
        """What bounds most of the steps' time: "compute", "memory", ...; empty if it is not known."""
        shares = {name: self.summary.get(f"time_bound_by_{name}") for name in BOUNDS}
        told = {n: e.value for n, e in shares.items() if e is not None and math.isfinite(e.value)}
        return max(told, key=lambda name: told[name]) if told else ""


class Trials:
    """Simulates scenarios, each once.

    Args:
        probability: least chance that a run meets every objective.
        processes: as of `forecast`.
        told: called before each simulation.

    """

    def __init__(self, probability: float, processes: int | None = None, told: Told | None = None) -> None:
        self.count = 0
        self._probability, self._processes, self._told = probability, processes, told
        self._known: dict[str, Trial] = {}
        self._lately = Known()

    def __call__(self, scenario: Scenario, what: str = "") -> Trial:
        """Simulate a scenario, or recall what came of it; `what` is told."""
        key = json.dumps(scenario.to_dict(), sort_keys=True, default=str)
        if key not in self._known:
            self._known[key] = self._made(scenario, what)
        return self._known[key]

    def closed_form(self, scenario: Scenario) -> Mapping[str, float]:
        """Figures by the queueing models.

        Raises:
            ValueError: it cannot be deployed, or has no closed form.

        """
        return figures_of(scenario, self._lately)[0]

    def _load(self, scenario: Scenario) -> float:
        """Traffic as a share of the capacity by closed form; NaN where there is none."""
        try:
            return self.closed_form(scenario).get("load", math.nan)
        except ValueError:  # no closed form, or not to be deployed: the simulation tells
            return math.nan

    def _made(self, scenario: Scenario, what: str) -> Trial:
        dearer = _dearer(scenario)
        if dearer is not None:
            return dearer
        load = self._load(scenario)
        if load >= HOPELESS_LOAD:
            fault = f"overloaded: {load:.0%} of the capacity".replace("%", " %")
            return Trial(scenario, False, 0.0, 1 - load, (fault,), use={"load": load})
        if self._told is not None:
            self._told(what)
        self.count += 1
        try:
            if scenario.replications >= _FIRST_PAYS:
                first = self._judged(forecast(replace(scenario, replications=1), processes=1), load)
                if first.room < _FAR:
                    return replace(first, notes=tuple(n for n in first.notes if "replication" not in n))
            return self._judged(forecast(scenario, processes=self._processes), load)
        except ValueError as error:
            return Trial(scenario, False, 0.0, -1.0, (str(error),))

    def _judged(self, found: Forecast, load: float) -> Trial:
        chances = [v.probability for v in found.verdicts if not math.isnan(v.probability)]
        return Trial(
            found.scenario,
            found.met and all(chance >= self._probability for chance in chances),
            min(chances, default=math.nan),
            min((room_of(v.objective, v.value) for v in found.verdicts), default=math.inf),
            tuple(_fault(v) for v in found.verdicts if not v.met or v.probability < self._probability),
            found.summary,
            found.verdicts,
            found.notes,
            {**_use(found), "load": load},
            found.scenario.replications,
        )


def _dearer(scenario: Scenario) -> Trial | None:
    """What a budget refuses without a simulation."""
    for objective in objectives_from_mapping(scenario.objectives):
        if objective.key == "usd_per_h" and not objective.met(rent(scenario)):
            fault = f"{objective}: {objective.show(rent(scenario))}"
            return Trial(scenario, False, 0.0, room_of(objective, rent(scenario)), (fault,))
    return None


def _fault(verdict: Verdict) -> str:
    found = f"{verdict.objective}: {verdict.objective.show(verdict.value)}"
    sure = f"{verdict.probability:.0%}".replace("%", " %")
    return found if not verdict.met else f"{found}, with a chance of only {sure}"


def _use(found: Forecast) -> dict[str, float]:
    """Shares of the limits of an engine that a run used in the mean."""
    configs = [part.config for part in found.deployment.engines]
    batch = found.summary["mean_batch"].value / (sum(c.max_num_seqs for c in configs) / len(configs))
    stats = found.run.engines
    steps = [one.steps * config.max_num_batched_tokens for one, config in zip(stats, configs, strict=True)]
    tokens = sum(one.prefill_tokens + one.decode_seqs for one in stats)
    return {
        "kv_cache": found.summary["kv_use"].value,
        "max_num_seqs": batch,
        "max_num_batched_tokens": tokens / sum(steps) if sum(steps) else math.nan,
    }
