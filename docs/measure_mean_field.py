"""Errors of the mean field against simulation, for docs/mean_field.md: JSON on stdout, three minutes of CPU.

    python docs/measure_mean_field.py [--share 0.1]

`servers`: fleets of M/M/1 servers, played as chains that share nothing with the mean field. `engines`: fleets
of engines, played by foretell's simulator. `spent`: what a forecast costs. An error is `off`, as a share of
what was simulated; `near` is twice the standard error of the simulation, as a share of the same.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models import AffineCost
from foretell.models.queueing import EngineLimits, Lengths, power_of_d, saturated
from foretell.models.queueing.mean_field_engines import fleet_batching
from foretell.sim import EngineConfig, Scenario, simulate
from foretell.sim.mean_field import mean_field
from foretell.sim.routers import choices_of
from foretell.traces import Trace

Array = npt.NDArray[np.float64]
FLEETS = {10: 3_000, 100: 600, 1000: 40}
"""Servers of a fleet, and how many such fleets are played."""
SIZES = tuple(FLEETS)
BATCHES = 8
ROWS = 16_384
TOKENS = 2048
"""Tokens of a step, in all cases."""


def servers(choices: float, load: float, count: int, fleets: int, seed: int = 0) -> dict[str, Any]:
    """Requests that an M/M/1 server of a fleet holds in the mean, and the errors of theory.

    So many fleets are played at once, an event in each at a time (uniformized: arrival or end, whichever is
    drawn), from empty on; the first 40 % of their time are left out.
    """
    drawn = math.isfinite(choices)
    time_units = (15 + 300 / count) / (1 - load) + 20  # few servers forget slowly what they all hold
    steps = int(time_units * count * (1 + load))
    rng = np.random.default_rng([seed, count, round(100 * load), int(choices) if drawn else 0])
    held = np.zeros((fleets, count), dtype=np.int32)
    each = np.arange(fleets)
    whole, total = np.zeros(fleets), np.zeros(fleets)
    for step in range(steps):
        come = rng.random(fleets) < load / (1 + load)
        to = _least(held, int(choices), rng) if drawn else held.argmin(1)
        at = np.where(come, to, rng.integers(count, size=fleets))
        change = np.where(come, 1, -np.minimum(held[each, at], 1))
        held[each, at] += change
        whole += change
        total += whole if step >= 0.4 * steps else 0.0
    means = total / (steps - math.ceil(0.4 * steps)) / count
    mean, near = float(means.mean()), 2 * float(means.std(ddof=1)) / fleets**0.5
    limit, fleet = (power_of_d(load, [1.0], choices, n).mean for n in (math.inf, count))
    return {"mean": mean, "near": near, "limit": limit / mean - 1, "fleet": fleet / mean - 1}


def _least(held: npt.NDArray[np.int32], choices: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Of so many different servers of each fleet, drawn at random, one that holds least."""
    fleets, count = held.shape
    some = rng.integers(count, size=(fleets, choices))
    if choices < count:
        while len(again := np.flatnonzero((np.diff(np.sort(some, 1), axis=1) == 0).any(1))):
            some[again] = rng.integers(count, size=(len(again), choices))
    best: npt.NDArray[np.int64] = some[np.arange(fleets), np.take_along_axis(held, some, 1).argmin(1)]
    return best


def case(name: str) -> tuple[AffineCost, Lengths, EngineLimits]:
    """Step cost, lengths and limits of the engines of a case, as docs/mean_field.md describes them."""
    rng = np.random.default_rng(0)
    if name == "chat":
        z = rng.standard_normal((2, ROWS))
        prompt, output = (
            np.maximum(np.round(mean * np.exp(sigma * x - sigma**2 / 2)), 1.0)
            for mean, sigma, x in ((512, 0.8, z[0]), (128, 0.7, z[1]))
        )
        cost = AffineCost(base_s=6e-3, per_token_s=2e-5, per_seq_s=2e-5, per_context_token_s=2e-8)
        return cost, Lengths(prompt, output), EngineLimits(256, TOKENS)
    output = np.asarray(1.0 + rng.geometric(1 / 32, ROWS), dtype=np.float64)
    if name == "seats":
        cost = AffineCost(base_s=10e-3, per_token_s=2e-5, per_seq_s=1e-4)
        return cost, Lengths(np.full(ROWS, 50.0), output), EngineLimits(16, TOKENS)
    cost = AffineCost(base_s=2e-3, per_token_s=1e-5, per_seq_s=1e-3)
    return cost, Lengths(np.full(ROWS, 20.0), output), EngineLimits(256, TOKENS)


def engines(name: str, load: float, router: str, count: int, requests: int, seed: int = 0) -> dict[str, Any]:
    """Errors of TTFT, TPOT and E2E in one run whose first fifth is left out; near is by batch means."""
    cost, law, limits = case(name)
    rate = load * saturated(cost, law, limits).rate_per_s
    rng = np.random.default_rng([seed, count, round(100 * load)])
    arrival = np.cumsum(rng.exponential(1 / (rate * count), requests))
    row = rng.integers(0, ROWS, requests)
    trace = Trace(arrival, law.prompt[row].astype(int), law.output[row].astype(int))
    config = EngineConfig(
        num_gpu_blocks=100_000, max_num_seqs=limits.max_num_seqs, max_num_batched_tokens=TOKENS
    )
    run = simulate(trace, cost, config, replicas=count, router=router, seed=seed)
    later = law.output[row] - 1
    decode = np.where(later > 0, (run.finish_s - run.first_token_s) / np.maximum(later, 1), np.nan)
    found = {
        "ttft": run.first_token_s - run.arrival_s,
        "tpot": decode,
        "e2e": run.finish_s - run.arrival_s,
    }
    choices = choices_of(router) or 1
    fleet, limit = (fleet_batching(cost, law, limits, rate, choices, n) for n in (count, math.inf))
    batches = np.array_split(np.arange(requests // 5, requests), BATCHES)
    told: dict[str, Any] = {"case": name, "load": load, "router": router, "replicas": count}
    for metric, values in found.items():
        ours, theirs = getattr(fleet, f"{metric}_s"), getattr(limit, f"{metric}_s")
        for statistic, of in (("mean", np.nanmean), ("p99", _p99)):
            parts = [float(of(values[batch])) for batch in batches]
            mean = float(of(values[requests // 5 :]))
            told[f"{metric}_{statistic}"] = {
                "off": float(of(ours)) / mean - 1,
                "near": 2 * float(np.std(parts, ddof=1)) / BATCHES**0.5 / mean,
                "limit": float(of(theirs)) / mean - 1,
            }
    return told


def _p99(values: Array) -> float:
    return float(np.nanpercentile(values, 99))


RUNS: tuple[tuple[str, float, str, int, int], ...] = (
    *(("seats", 0.7, router, 10, 120_000) for router in ("random", "power_of_two", "least_outstanding")),
    ("seats", 0.9, "random", 10, 400_000),
    *(("seats", 0.9, "power_of_two", n, 400_000) for n in (4, 10)),
    ("seats", 0.9, "power_of_two", 100, 120_000),
    ("seats", 0.9, "power_of_two", 1000, 300_000),
    ("seats", 0.9, "least_outstanding", 10, 400_000),
    ("seats", 0.9, "least_outstanding", 100, 120_000),
    *(("shared", 0.7, router, 10, 120_000) for router in ("power_of_two", "least_outstanding")),
    *(("shared", 0.9, r, 10, 400_000) for r in ("random", "power_of_two", "least_outstanding")),
    *(("shared", 0.9, r, 100, 120_000) for r in ("power_of_two", "least_outstanding")),
    ("chat", 0.7, "random", 10, 100_000),
    *(("chat", 0.7, r, 10, 100_000) for r in ("power_of_two", "least_outstanding")),
    *(("chat", 0.7, r, 100, 300_000) for r in ("power_of_two", "least_outstanding")),
    *(("chat", 0.9, r, 10, 120_000) for r in ("power_of_two", "least_outstanding")),
    *(("chat", 0.9, r, 100, 400_000) for r in ("power_of_two", "least_outstanding")),
)
"""Case, load, router, replicas and requests of every run."""


def spent() -> dict[str, float]:
    """CPU-seconds of a forecast of 10 and of 100,000 replicas: the least of five."""

    def asked(count: int) -> Scenario:
        lengths = {"prompt": 50, "output": {"geometric": 33}}
        arrivals = {"process": "poisson", "rate_per_s": 27.0 * count}
        pool = {
            "step_cost": "affine:0.01,2e-5,1e-4",
            "replicas": count,
            "router": "power_of_two",
            "engine": {"max_num_seqs": 16},
        }
        return Scenario.from_dict(
            {"workload": {"arrivals": arrivals, "lengths": lengths}, "pools": {"chat": pool}}
        )

    return {str(n): min(_cpu_s(asked(n)) for _ in range(5)) for n in (10, 100_000)}


def _cpu_s(scenario: Scenario) -> float:
    start = time.process_time()
    mean_field(scenario)
    return time.process_time() - start


def measured(share: float = 1.0) -> dict[str, Any]:
    """All of it, or with that share of the fleets and requests."""
    return {
        "servers": [
            {
                "choices": "all" if d == math.inf else d,
                "load": load,
                **{str(n): servers(d, load, n, math.ceil(share * fleets)) for n, fleets in FLEETS.items()},
            }
            for d in (2, math.inf)
            for load in (0.5, 0.7, 0.9)
        ],
        "engines": [engines(*run[:4], int(share * run[4])) for run in RUNS],
        "spent": spent(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Errors of the mean field against simulation, as JSON.")
    parser.add_argument("--share", type=float, default=1.0, help="of the fleets and requests")
    print(json.dumps(measured(parser.parse_args().share), indent=1))
