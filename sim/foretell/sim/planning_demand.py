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
from foretell.sim.planning_rent import most_usd_per_h
from foretell.sim.planning_spec import PlanSpec
from foretell.sim.scenario import Scenario

Array = npt.NDArray[np.float64]
ROWS = 1024
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
"""Shares of the requests, in order of their tokens, for engines that cannot hold the longest."""


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
class Served:
    """The requests that have so many tokens at most, prompt and answer.

    Attributes:
        tokens: at most.
        law: of their lengths.
        kept: their share of all.
        prompt, gaps: prompts, and tokens after the first, of an evenly thinned sample.

    """

    tokens: float
    law: Lengths
    kept: float
    prompt: Array
    gaps: Array

    @classmethod
    def of(cls, law: Lengths, tokens: float) -> Served:
        """Those of a law."""
        served = law.prompt + law.output <= tokens
        mine = law if served.all() else Lengths(law.prompt[served], law.output[served])
        size = len(mine.prompt)
        few = min(ROWS, size)
        rows = np.asarray((np.arange(few) + 0.5) * size / few, dtype=np.int64)
        return cls(tokens, mine, float(served.mean()), mine.prompt[rows], mine.output[rows] - 1)


@dataclass(frozen=True, slots=True)
class Demand:
    """What every candidate must hold out.

    Attributes:
        served: by the tokens that an engine can hold of a request, rising, the last being all of them; empty
            where queries are answered by a program. Who holds more has no less to do.
        context_tokens: mean context that KV caches are sized for.
        rate_per_s: of requests.
        headroom, spare: as in `PlanSpec`.
        limits: of latencies.
        most_usd_per_h, money: the rent that the objectives allow, and which of them does.
        most_W, energy: the power, likewise.
        hopeless: the objective that no deployment can meet, if there is one.
        computed: prompts come with their KV cache.

    """

    served: tuple[Served, ...]
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
        if role == "whole" or not self.served:
            return self
        if role == "decode":
            limits = tuple(limit for limit in self.limits if limit.metric != "ttft")
            return replace(self, limits=limits, computed=True)
        prompts = self.served[-1].law.prompt
        law = Lengths(prompts, np.ones_like(prompts))
        limits = tuple(limit for limit in self.limits if limit.metric == "ttft")
        return replace(self, served=_levels(law), limits=limits)


def _levels(law: Lengths) -> tuple[Served, ...]:
    tokens = np.unique(np.quantile(law.prompt + law.output, LEVELS))
    return tuple(Served.of(law, float(each)) for each in tokens)


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
    rents = {most_usd_per_h(scenario): "budget"} if "budget" in scenario.objectives else {}
    powers = {o.limit: o.name for o in objectives if o.kind == "power"}
    for objective in objectives:
        if objective.name in scales and objective.kind == "money":
            rents.setdefault(objective.limit * 3600 * scales[objective.name], objective.name)
        elif objective.name in scales:
            powers.setdefault(objective.limit * scales[objective.name], objective.name)
    rent, power = min(rents, default=math.inf), min(powers, default=math.inf)
    return Demand(
        () if law is None else _levels(law),
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
