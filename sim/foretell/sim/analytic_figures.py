"""What an analysis is, and its figures by the names of a forecast's summary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from foretell.sim.analytic_engines import Array, Solved, mean_of
from foretell.sim.analytic_power import Busy, power_W
from foretell.sim.deployment import Deployment, EnginePart
from foretell.sim.metrics import describe
from foretell.sim.objectives import limits_of, objectives_from_mapping, request_limits
from foretell.sim.scenario import Scenario

LATENCIES = ("ttft", "tpot", "e2e")


@dataclass(frozen=True, slots=True)
class Analysis:
    """What to expect of a scenario in steady state, by closed form.

    Attributes:
        scenario: what was asked.
        deployment: what its pools came to.
        figures: by name, in SI units, those of `foretell.sim.metrics` that a steady state has; and load (rate
            over capacity) and capacity_rps (highest stable rate). Beyond the capacity latencies are infinite.
        method: how they were found.
        notes: what is left out, and where the scenario is outside the method's validity.
        busy: every kind of engine, how busy it is and its mean step.

    """

    scenario: Scenario
    deployment: Deployment
    figures: dict[str, float]
    method: str
    notes: tuple[str, ...]
    busy: tuple[tuple[EnginePart, Busy], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a scenario asks of latencies: percentiles, and limits of a request."""

    percentiles: tuple[float, ...]
    limits: Mapping[str, float]

    @classmethod
    def of(cls, scenario: Scenario) -> Wanted:
        """Read the objectives, and goodput's own limits before theirs."""
        objectives = objectives_from_mapping(scenario.objectives)
        limits = request_limits(f"{k}:{v}" for k, v in scenario.goodput.items()) or limits_of(objectives)
        asked = {50.0, 90.0, 99.0} | {o.percentile for o in objectives if o.percentile is not None}
        return cls(tuple(sorted(asked)), limits)


def latency_figures(
    samples: Mapping[str, Array] | None, wanted: Wanted, rate_per_s: float, weights: Array | None = None
) -> dict[str, float]:
    """Latencies of requests, and those within the limits.

    Args:
        samples: seconds by metric, of the same requests; None where the queue is not stable.
        wanted: what to tell.
        rate_per_s: requests that are served a second.
        weights: whole numbers, how often each request counts.

    """
    figures: dict[str, float] = {}
    if samples is None:
        names = ("mean", "std", *(f"p{q:g}" for q in wanted.percentiles))
        figures = {f"{metric}_{name}_s": math.inf for metric in LATENCIES for name in names}
        return figures | ({"attainment": math.nan, "goodput_rps": math.nan} if wanted.limits else {})
    for metric, values in samples.items():
        told = describe(values, wanted.percentiles, weights)
        figures |= {f"{metric}_{name}_s": value for name, value in told.items()}
    if wanted.limits:
        good = np.ones(len(samples["e2e"]), dtype=bool)
        for metric in wanted.limits:
            if metric in samples:
                good &= ~(samples[metric] > wanted.limits[metric])
        figures["attainment"] = float(np.average(good, weights=weights))
        figures["goodput_rps"] = figures["attainment"] * rate_per_s
    return figures


def rate_figures(
    rate_per_s: float, prompt: float, output: float, rho: float, deployment: Deployment
) -> dict[str, float]:
    """Requests and tokens a second, and their price, of a system that keeps up."""
    rate_per_s = rate_per_s if rho < 1 else math.nan
    written, whole = rate_per_s * output, rate_per_s * (prompt + output)
    figures = {
        "request_throughput_rps": rate_per_s,
        "output_throughput_tps": written,
        "total_throughput_tps": whole,
        "output_throughput_per_accelerator_tps": written / deployment.accelerators,
        "total_throughput_per_accelerator_tps": whole / deployment.accelerators,
    }
    usd = deployment.usd_per_h
    if usd is not None:
        figures |= {
            "usd_per_h": usd,
            "usd_per_query": usd / 3600 / rate_per_s,
            "usd_per_million_output_tokens": usd / 3600 / written * 1e6,
            "usd_per_million_tokens": usd / 3600 / whole * 1e6,
        }
    return figures


def busy_engines(solved: Sequence[Solved]) -> tuple[tuple[EnginePart, Busy], ...]:
    """Of every kind of engine, how busy it is."""
    return tuple((one.part, one.busy()) for one in solved)


def busy_figures(solved: Sequence[Solved], rate_per_s: float, output: float) -> dict[str, float]:
    """Means over the engines, and the power of all of them where it is known."""
    counts = [one.part.count for one in solved]
    found = [one.busy() for one in solved]
    figures = {
        "utilisation": mean_of([at.utilisation for at in found], counts),
        "kv_use": mean_of([at.kv_use for at in found], counts),
    }
    powers = [power_W(one.part, at) for one, at in zip(solved, found, strict=True)]
    known = [count * power for count, power in zip(counts, powers, strict=True) if power is not None]
    if len(known) == len(powers):
        watts = math.fsum(known)
        figures |= {
            "power_W": watts,
            "energy_per_query_J": watts / rate_per_s,
            "energy_per_output_token_J": watts / rate_per_s / output,
        }
    return figures
