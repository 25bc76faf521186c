"""The frontier under load: what Kinetics prices by a formula, from simulated servers.

One strategy (think for at most so many tokens, then answer), five sizes of Qwen3, one accelerator. Accuracy
at a cap does not depend on the load and is the closed form; seconds come from simulation: of a query that is
alone, of the accelerator per query when it is never without work, and of a query at a rate in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from foretell.models.accuracy.profile import budget_forcing
from foretell.models.hardware import load_hardware
from foretell.models.kinetics import PAPER_INTENSITY, WHOLE, intensity
from foretell.models.kinetics_curves import Pricing, chain_costs
from foretell.models.kinetics_frontier import cost_at
from foretell.models.kinetics_paper import paper_models
from foretell.models.profiles import load_outcomes
from foretell.sim import Forecast, Scenario, forecast

FloatArray = npt.NDArray[np.float64]
SIZES = ("1.7B", "4B", "8B", "14B", "32B")
CAPS = (1024, 2048, 3072, 4096, 6144, 8192, 12_288, 16_384, 24_576, 32_768)
KINDS = ("FLOPs", "eFLOPs", "whole", "alone", "full")
"""Of costs: as published, without and with KV reads; by the whole law with the accelerator's own 16-bit
intensity and parameters read for a full batch; simulated seconds alone; accelerator-seconds when full."""
FULL_BATCH = 256
"""Sequences that a step holds at most, vLLM's default for a server."""
OVERLOAD_RPS = 1000.0
ALONE_RPS = 2e-4
FILLED = 0.9
"""Share of an accelerator's highest rate up to which a rate is called served."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is simulated: an accelerator by name, queries a run, and the seed."""

    hardware: str = "b200"
    alone_queries: int = 150
    full_queries: int = 768
    queries: int = 600
    seed: int = 1


def simulated(setting: Setting, size: str, cap: int, rate_per_s: float, queries: int) -> Forecast:
    """One run of one server; operators by the shipped curves, so that any machine says the same."""
    model = paper_models()[size].architecture
    return forecast(
        Scenario.from_dict(
            {
                "workload": {
                    "task": "aime24",
                    "arrivals": {"process": "poisson", "rate_per_s": rate_per_s},
                    "num_requests": queries,
                },
                "pools": {
                    "solver": {"model": model, "hardware": setting.hardware, "operator_times": "curves"}
                },
                "strategy": {"name": "budget_forcing", "max_tokens": cap},
                "seed": setting.seed,
                "replications": 1,
            }
        )
    )


def accuracies(size: str, caps: Sequence[int] = CAPS) -> FloatArray:
    """Accuracy at each cap, in closed form."""
    profile = load_outcomes("aime24", paper_models()[size].architecture)
    return np.array([budget_forcing(profile, max_tokens=cap).accuracy for cap in caps])


def alone_s(setting: Setting, size: str, cap: int) -> float:
    """Mean seconds of a query that has the accelerator to itself."""
    return simulated(setting, size, cap, ALONE_RPS, setting.alone_queries).summary["e2e_mean_s"].value


def full_s(setting: Setting, size: str, cap: int) -> float:
    """Accelerator-seconds per query when there is always more to do.

    All queries come at once; what twice as many take longer is without the start and the end, when the
    batch is not full. Their number is a multiple of the largest batch, since queries cut at one cap end in
    waves.
    """
    few, many = (
        float(simulated(setting, size, cap, OVERLOAD_RPS, count).queries["finish_s"].max())
        for count in (setting.full_queries, 2 * setting.full_queries)
    )
    return (many - few) / setting.full_queries


def law_costs(setting: Setting, size: str, kind: str, caps: Sequence[int] = CAPS) -> FloatArray:
    """FLOPs or eFLOPs per query at each cap by one of the laws: "FLOPs", "eFLOPs" or "whole"."""
    model = paper_models()[size]
    pricing = Pricing(PAPER_INTENSITY if kind == "eFLOPs" else 0.0)
    if kind == "whole":
        pricing = Pricing(intensity(load_hardware(setting.hardware).accelerator), WHOLE, FULL_BATCH)
    shape = model.shape(as_published=kind != "whole")
    return chain_costs(shape, load_outcomes("aime24", model.architecture), pricing, tuple(caps))


@dataclass(frozen=True, slots=True)
class Frontiers:
    """Costs of every size at every cap, by kind of cost, beside the accuracies.

    Attributes:
        caps: (n,) tokens.
        accuracy: by size, (n,).
        costs: by kind and size, (n,): FLOP, eFLOPs, or seconds.

    """

    caps: tuple[int, ...]
    accuracy: Mapping[str, FloatArray]
    costs: Mapping[str, Mapping[str, FloatArray]]

    def cost_at(self, kind: str, accuracy: float) -> dict[str, float]:
        """What each size costs at an accuracy, between caps; only sizes that reach it."""
        found = {
            s: float(cost_at(np.maximum.accumulate(c), self.accuracy[s], accuracy))
            for s, c in self.costs[kind].items()
        }
        return {s: c for s, c in found.items() if np.isfinite(c)}

    def best(self, kind: str, accuracy: float) -> str | None:
        """The cheapest size at an accuracy."""
        found = self.cost_at(kind, accuracy)
        return min(found, key=lambda size: found[size]) if found else None


@cache
def frontiers(
    setting: Setting = Setting(), sizes: tuple[str, ...] = SIZES, caps: tuple[int, ...] = CAPS
) -> Frontiers:
    """All kinds of cost; 3 × sizes × caps simulations."""
    seconds = {"alone": alone_s, "full": full_s}
    costs = {
        kind: {s: law_costs(setting, s, kind, caps) for s in sizes} for kind in ("FLOPs", "eFLOPs", "whole")
    }
    costs |= {
        kind: {s: np.array([of(setting, s, cap) for cap in caps]) for s in sizes}
        for kind, of in seconds.items()
    }
    return Frontiers(caps, {s: accuracies(s, caps) for s in sizes}, costs)


@dataclass(frozen=True, slots=True)
class Choice:
    """The most accurate configuration within a latency at a rate; None where none is served."""

    size: str | None
    cap: int | None
    accuracy: float
    latency_s: float


def choices(
    found: Frontiers, setting: Setting, rate_per_s: float, limits_s: Sequence[float]
) -> dict[float, Choice]:
    """For each limit on the median latency the most accurate size and cap at a rate per accelerator.

    Configurations that the rate would fill to more than `FILLED` are left out: their queues grow.
    """
    served = [
        (float(found.accuracy[size][i]), size, cap, float(found.costs["alone"][size][i]))
        for size in found.accuracy
        for i, cap in enumerate(found.caps)
        if rate_per_s * found.costs["full"][size][i] <= FILLED
    ]
    chosen = {limit: Choice(None, None, 0.0, float("nan")) for limit in limits_s}
    for accuracy, size, cap, alone in sorted(served, reverse=True):
        open_limits = [limit for limit, choice in chosen.items() if choice.size is None]
        if alone / 2 > max(open_limits, default=0.0):  # the median is no less than half the mean, idle or not
            continue
        run = simulated(setting, size, cap, rate_per_s, setting.queries)
        latency = run.summary["e2e_p50_s"].value
        for limit in open_limits:
            if latency <= limit:
                chosen[limit] = Choice(size, cap, accuracy, latency)
    return chosen
