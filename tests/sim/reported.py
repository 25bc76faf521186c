"""Forecasts of every kind of deployment, each simulated once for the tests of what is drawn of them."""

import html
import re
from functools import cache
from xml.etree import ElementTree

from foretell.sim import Scenario, forecast
from foretell.sim.forecasting import Forecast
from foretell.sim.steps import with_loads

_LENGTHS = {
    "prompt": {"lognormal": {"median": 800, "sigma": 0.8, "maximum": 6000}},
    "output": {"lognormal": {"median": 60, "sigma": 0.6, "minimum": 1, "maximum": 400}},
}
_LONG = {"median": 200, "sigma": 0.6, "minimum": 1, "maximum": 400}
_WORKLOAD = {
    "arrivals": {"process": "poisson", "rate_per_s": 6},
    "lengths": _LENGTHS,
    "num_requests": 120,
}
_CALLS = {"workload": _WORKLOAD, "seed": 3, "replications": 1}
_POOL = {"model": "llama-3.1-8b", "hardware": "h100-sxm"}
_TASK = {"task": "aime24", "arrivals": {"process": "poisson", "rate_per_s": 0.05}, "num_requests": 6}
SCENARIOS = {
    "one engine": {**_CALLS, "pools": {"chat": _POOL}},
    "some rejected": {**_CALLS, "pools": {"chat": {**_POOL, "engine": {"max_model_len": 1500}}}},
    "replicas": {**_CALLS, "pools": {"chat": {**_POOL, "replicas": 3, "router": "least_outstanding"}}},
    "full cache": {
        **_CALLS,
        "workload": {**_WORKLOAD, "lengths": {**_LENGTHS, "output": {"lognormal": _LONG}}},
        "pools": {"chat": {**_POOL, "engine": {"num_gpu_blocks": 420, "watermark": 0.0}}},
    },
    "two kinds of hardware": {
        **_CALLS,
        "pools": {
            "chat": {"model": "llama-3.1-8b", "replicas": [{"hardware": "h100-sxm"}, {"hardware": "l40s"}]}
        },
    },
    "disaggregated": {
        **_CALLS,
        "pools": {"front": {**_POOL, "replicas": 2}, "back": {**_POOL, "tensor_parallel_size": 2}},
        "strategy": {"name": "disaggregated", "prefill": "front", "decode": "back"},
    },
    "program": {
        "workload": _TASK,
        "pools": {"solver": {"model": "qwen3-8b", "hardware": "h100-sxm", "replicas": 2}},
        "strategy": {"name": "self_consistency", "n": 3},
        "seed": 1,
        "replications": 1,
    },
    "program, full cache": {
        "workload": _TASK,
        "pools": {
            "solver": {"model": "qwen3-8b", "hardware": "h100-sxm", "engine": {"num_gpu_blocks": 3000}}
        },
        "strategy": {"name": "first_finish", "n": 4},
        "seed": 1,
        "replications": 1,
    },
    "two pools of a program": {
        "workload": _TASK,
        "pools": {
            "solver": {"model": "qwen3-8b", "hardware": "h100-sxm"},
            "judge": {"model": "qwen2.5-7b", "hardware": "l40s"},
        },
        "strategy": {"name": "best_of_n", "n": 2, "verifier": {"pool": "judge", "auc": 0.8}},
        "seed": 1,
        "replications": 1,
    },
    "step cost of its own": {
        **_CALLS,
        "pools": {"chat": {"replicas": [{"count": 2, "step_cost": "affine:0.004,2e-5,1e-5,2e-8"}]}},
    },
}
"""By name, as in a file."""


@cache
def forecasted(name: str) -> Forecast:
    """A scenario's forecast, with its steps recorded."""
    return with_loads(forecast(Scenario.from_dict(SCENARIOS[name])))


def parsed(body: str) -> ElementTree.Element:
    """HTML as a tree; fails where tags do not match or text is not escaped."""
    return ElementTree.fromstring(f"<div>{re.sub('scope=(col|row)', '', body)}</div>")


def plain(body: str) -> str:
    """The text of HTML."""
    return html.unescape(" ".join(re.sub("<[^>]+>", " ", body).split()))
