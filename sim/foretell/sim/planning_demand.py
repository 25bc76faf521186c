"""What a plan must hold out, as its bounds take it: lengths, a rate, and limits of time, money and power."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from foretell.models.queueing import Lengths
from foretell.sim.objectives import Objective, limits_of, objectives_from_mapping, request_limits
from foretell.sim.planning_known import Known
from foretell.sim.planning_spec import PlanSpec
from foretell.sim.scenario import Scenario

Array = npt.NDArray[np.float64]
ROWS = 1024


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on the mean or a percentile of a latency.

    Attributes:
        name: of the objective that it comes from.
        metric: "ttft", "tpot" or "e2e".
        percentile: NaN for the mean.
        seconds: the limit.

    """

    name: str
    metric: str
    percentile: float
    seconds: float

    @property
    def mean(self) -> bool:
        """Whether it is on the mean."""
        return math.isnan(self.percentile)

    def of(self, values: Array) -> float:
        """The figure of a sample that it limits."""
        return float(values.mean()) if self.mean else float(np.quantile(values, self.percentile / 100))


@dataclass(frozen=True, slots=True)
class Demand:
    """What every candidate must hold out.

    Attributes:
        law: lengths of the requests; None where queries are answered by a program.
        context_tokens: mean context that KV caches are sized for.
        rate_per_s: of requests.
        headroom, spare: as in `PlanSpec`.
        limits: of latencies.
        most_usd_per_h, money: the rent that the objectives allow, and which of them does.
        most_W, energy: the power, likewise.
        hopeless: the objective that no deployment can meet, if there is one.
        computed: prompts come with their KV cache.

    """

    law: Lengths | None
    context_tokens: float | None
    rate_per_s: float
    headroom: float
    spare: int
    limits: tuple[Limit, ...]
    most_usd_per_h: float
    money: str
    most_W: float
    energy: str
    hopeless: str
    computed: bool = False

    def of(self, role: str) -> Demand:
        """What is asked of a pool: "whole" requests, their "prefill" or their "decode" alone."""
        if role == "whole" or self.law is None:
            return self
        if role == "decode":
            limits = tuple(limit for limit in self.limits if limit.metric != "ttft")
            return replace(self, limits=limits, computed=True)
        law = Lengths(self.law.prompt, np.ones_like(self.law.prompt))
        limits = tuple(limit for limit in self.limits if limit.metric == "ttft")
        return replace(self, law=law, limits=limits)

    @property
    def prompt(self) -> Array:
        """Prompts of a sample of the law, evenly thinned."""
        assert self.law is not None
        return self.law.prompt[_rows(self.law)]

    @property
    def gaps(self) -> Array:
        """Tokens after the first, of the same requests."""
        assert self.law is not None
        gaps: Array = self.law.output[_rows(self.law)] - 1
        return gaps


def _rows(law: Lengths) -> npt.NDArray[np.int64]:
    size = len(law.prompt)
    few = min(ROWS, size)
    return np.asarray((np.arange(few) + 0.5) * size / few, dtype=np.int64)


def demand_of(scenario: Scenario, spec: PlanSpec, known: Known) -> Demand:
    """Read what a scenario asks of its deployment.

    Raises:
        ValueError: a workload that has no rate.

    """
    objectives = objectives_from_mapping(scenario.objectives)
    law, context, rate = None, None, math.nan
    scales: dict[str, float] = {}
    if scenario.workload.task is None:
        load = known.load(scenario.workload)
        law, rate = load.law, load.rate_per_s
        context = known.context_tokens(scenario.workload)
        output = law.decode_steps + 1
        scales = {
            "cost_per_query": rate,
            "cost_per_million_output_tokens": rate * output / 1e6,
            "cost_per_million_tokens": rate * (output + law.mean_prompt) / 1e6,
            "energy_per_query": rate,
            "energy_per_output_token": rate * output,
        }
    rents = {o.limit: o.name for o in objectives if o.kind == "rent"}
    powers = {o.limit: o.name for o in objectives if o.kind == "power"}
    for objective in objectives:
        if objective.name in scales and objective.kind == "money":
            rents.setdefault(objective.limit * 3600 * scales[objective.name], objective.name)
        elif objective.name in scales:
            powers.setdefault(objective.limit * scales[objective.name], objective.name)
    rent, power = min(rents, default=math.inf), min(powers, default=math.inf)
    return Demand(
        law,
        context,
        rate,
        spec.headroom,
        spec.spare,
        () if law is None else tuple(_limits(scenario, objectives, rate)),
        rent * (1 + 1e-9),
        rents.get(rent, ""),
        power * (1 + 1e-9),
        powers.get(power, ""),
        "" if law is None else _hopeless(objectives, law, rate),
    )


def _limits(scenario: Scenario, objectives: Sequence[Objective], rate: float) -> Iterator[Limit]:
    """Limits of latencies; a share of the requests within limits is a percentile of each."""
    for objective in objectives:
        metric, _, statistic = objective.name.partition("_")
        if metric in ("ttft", "tpot", "e2e") and objective.percentile is not None:
            yield Limit(objective.name, metric, objective.percentile, objective.limit)
        elif metric in ("ttft", "tpot", "e2e") and statistic == "mean":
            yield Limit(objective.name, metric, math.nan, objective.limit)
    each = request_limits(f"{k}:{v}" for k, v in scenario.goodput.items()) or limits_of(objectives)
    for objective in objectives:
        share = {"attainment": objective.limit, "goodput": objective.limit / rate}.get(objective.name)
        if share is not None:
            for metric, seconds in each.items():
                yield Limit(objective.name, metric, 100 * min(share, 1.0), seconds)


def _hopeless(objectives: Sequence[Objective], law: Lengths, rate: float) -> str:
    """An objective on what comes, which no deployment changes."""
    output = law.decode_steps + 1
    most = {
        "goodput": rate,
        "request_throughput": rate,
        "output_throughput": rate * output,
        "total_throughput": rate * (output + law.mean_prompt),
    }
    for objective in objectives:
        if objective.limit > most.get(objective.name, math.inf) * (1 + 1e-9):
            return objective.name
    return ""
