"""Small plans, and what is true of them: every candidate simulated, whatever the planner thinks."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from foretell.sim import Scenario, forecast
from foretell.sim.planning_verify import Plan

CHAT = {"model": "llama-3.1-8b", "hardware": "h100-sxm"}
SHORT = {
    "prompt": {"lognormal": {"median": 400, "sigma": 0.6}},
    "output": {"lognormal": {"median": 120, "sigma": 0.6}},
}
MEDIUM = {
    "prompt": {"lognormal": {"median": 900, "sigma": 0.8}},
    "output": {"lognormal": {"median": 400, "sigma": 0.7}},
}
LONG = {
    "prompt": {"lognormal": {"median": 3000, "sigma": 0.4}},
    "output": {"lognormal": {"median": 250, "sigma": 0.5}},
}


@dataclass(frozen=True, slots=True)
class Simulated:
    """A candidate of the space and whether it holds in simulation; `usd_per_h` is inf where it cannot run."""

    changes: Mapping[str, Any]
    usd_per_h: float
    met: bool


def chat(
    fields: Mapping[str, Any],
    objectives: Mapping[str, str],
    *,
    rate: float,
    requests: int,
    lengths: Mapping[str, Any] | None = None,
    arrivals: Mapping[str, Any] | None = None,
    pool: Mapping[str, Any] | None = None,
    **plan: Any,
) -> Scenario:
    """A chat service with one pool."""
    return Scenario.from_dict(
        {
            "workload": {
                "arrivals": {"process": "poisson", "rate_per_s": rate, **(arrivals or {})},
                "lengths": lengths or SHORT,
                "num_requests": requests,
            },
            "pools": {"chat": {**CHAT, **(pool or {})}},
            "objectives": dict(objectives),
            "plan": {"fields": {f"pools.chat.{k}": v for k, v in fields.items()}, **plan},
            "seed": 1,
            "replications": 3,
        }
    )


def upto(most: int) -> dict[str, int]:
    return {"low": 1, "high": most}


def spaces() -> dict[str, Scenario]:
    """Small spaces in which different things bind."""
    both = ["h100-sxm", "l40s"]
    e2e = {"ttft_p90": "<= 1 s", "e2e_p90": "<= 15 s"}
    bursts: dict[str, Any] = {"process": "gamma", "burstiness": 0.2}
    small_batch = {"engine.max_num_seqs": [16, 64], "engine.max_num_batched_tokens": [2048, 8192]}
    return {
        "tp": chat(
            {"hardware": both, "tensor_parallel_size": [1, 2], "replicas": upto(6)},
            {"tpot_p99": "<= 12 ms"},
            rate=24,
            requests=500,
        ),
        "capacity": chat({"hardware": both, "replicas": upto(6)}, e2e, rate=40, requests=1200),
        "kv cache": chat(
            {"hardware": ["l40s"], "kv_cache_dtype": ["auto", "fp8"], "replicas": upto(8)},
            {"ttft_p90": "<= 3 s"},
            rate=3,
            requests=400,
            lengths=LONG,
            pool={"model": "qwen3-14b"},
        ),
        "bursts": chat(
            {"hardware": ["h100-sxm", "a100-80gb-sxm"], "replicas": upto(6)},
            {"ttft_p99": "<= 1 s"},
            rate=20,
            requests=600,
            arrivals=bursts,
        ),
        **{
            name: chat(
                {"hardware": both, "replicas": upto(6)},
                {"tpot_p99": "<= 20 ms", "budget": budget},
                rate=20,
                requests=400,
            )
            for name, budget in (("budget", "3 usd/h"), ("too small a budget", "2 usd/h"))
        },
        "fp8": chat(
            {"hardware": both, "quantization": [None, "fp8"], "replicas": upto(5)},
            {"tpot_p99": "<= 25 ms", "ttft_p90": "<= 0.5 s"},
            rate=15,
            requests=400,
        ),
        "headroom and spare": chat(
            {"hardware": both, "replicas": upto(8)},
            {"tpot_p99": "<= 30 ms", "ttft_p99": "<= 1 s"},
            rate=15,
            requests=400,
            headroom="20 %",
            spare=1,
        ),
        "batch limits": chat(
            {**small_batch, "replicas": upto(6)},
            {"tpot_p99": "<= 15 ms", "ttft_p90": "<= 300 ms"},
            rate=30,
            requests=600,
        ),
    }


def drawn(seed: int, requests: int = 400) -> Scenario:
    """A small space at random: two kinds of GPU, something else to choose, objectives, what to hold out."""
    r = random.Random(seed)
    fields: dict[str, Any] = {"hardware": r.sample(["h100-sxm", "l40s", "a100-80gb-sxm", "h200"], 2)}
    more: dict[str, dict[str, Any]] = {
        "none": {},
        "fp8": {"quantization": [None, "fp8"]},
        "tp": {"tensor_parallel_size": [1, 2]},
        "seqs": {"engine.max_num_seqs": [24, 256]},
        "kv": {"kv_cache_dtype": ["auto", "fp8"]},
    }
    fields |= more[r.choice(list(more))]
    fields["replicas"] = {"low": 1, "high": 8}
    objectives = {f"ttft_{r.choice(['p90', 'p99'])}": f"<= {r.choice([0.5, 1, 2, 4])} s"}
    objectives[r.choice(["tpot_p90", "tpot_p99"])] = f"<= {r.choice([30, 45, 60, 90])} ms"
    if r.random() < 0.3:
        objectives = {"e2e_p90": f"<= {r.choice([10, 20, 30])} s"}
    if r.random() < 0.25:
        objectives["budget"] = f"{r.choice([4, 8, 12])} usd/h"
    arrivals: dict[str, Any] = {"process": "gamma", "burstiness": 0.3} if r.random() < 0.3 else {}
    held: dict[str, Any] = {"headroom": "20 %"} if r.random() < 0.3 else {}
    held |= {"spare": 1} if r.random() < 0.25 else {}
    return chat(
        fields,
        objectives,
        rate=r.choice([3, 4, 6, 8]),
        requests=requests,
        lengths=MEDIUM,
        arrivals=arrivals,
        pool={"model": r.choice(["qwen3-14b", "qwen3-32b", "llama-3.1-8b"])},
        **held,
    )


def candidates(asked: Scenario) -> Iterator[tuple[dict[str, Any], Scenario]]:
    """Every combination of the fields."""
    fields = asked.plan["fields"]
    lists = [
        list(range(v["low"], v["high"] + 1)) if isinstance(v, Mapping) else list(v) for v in fields.values()
    ]
    for values in itertools.product(*lists):
        changes = dict(zip(fields, values, strict=True))
        yield changes, asked.replace(plan={}, **changes)


def conditions(made: Scenario, plan: Mapping[str, Any]) -> Iterator[Scenario]:
    """As it is, with more traffic, with a replica of each pool lost."""
    yield made
    headroom = float(str(plan.get("headroom", "0")).removesuffix("%")) / 100
    if headroom:
        yield made.replace(**{"workload.rate_scale": 1 + headroom})
    for name in made.pools if plan.get("spare") else ():
        count = made.pools[name].replicas
        assert isinstance(count, int)
        left = count - plan["spare"]
        yield made.replace(**{f"pools.{name}.replicas": left})


def simulated(asked: Scenario) -> list[Simulated]:
    """Simulate every candidate, in the order of the fields."""
    found = []
    for changes, made in candidates(asked):
        usd, met = math.inf, True
        try:
            for scenario in conditions(made, asked.plan):
                result = forecast(scenario, processes=1)
                if scenario is made:
                    usd = result.deployment.usd_per_h or math.inf
                met = met and result.met and all(not v.probability < 0.5 for v in result.verdicts)
                if not met:
                    break
        except ValueError:
            met = False
        found.append(Simulated(changes, usd, met))
    return found


def cheapest(found: list[Simulated]) -> Simulated | None:
    """The true choice."""
    return min((each for each in found if each.met), key=lambda each: each.usd_per_h, default=None)


def replicas_off(plan: Plan, truth: Simulated | None) -> float:
    """How many replicas of its own the plan's choice is dearer than the true one; inf where one has none."""
    if (plan.best is None) != (truth is None):
        return math.inf
    if plan.best is None or truth is None:
        return 0.0
    counts: list[int] = [n for path, n in plan.best.candidate.changes.items() if path.endswith(".replicas")]
    return (plan.best.usd_per_h - truth.usd_per_h) / (plan.best.usd_per_h / sum(counts))
