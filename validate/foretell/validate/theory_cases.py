"""What continuous batching by closed form is compared on: scenarios whose rate is still to be set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foretell.sim import Scenario
from foretell.sim.analytic_load import Load, load_of
from foretell.sim.deployment import Deployment, deploy


@dataclass(frozen=True, slots=True)
class Case:
    """A system and its workload, but for the rate.

    Attributes:
        name: short and unique.
        pool: as in a scenario's `pools`.
        lengths: as in a workload.
        arrivals: of mean rate 1, as in a workload.
        quick: whether a quick look has it.

    """

    name: str
    pool: Mapping[str, Any]
    lengths: Mapping[str, Any]
    arrivals: Mapping[str, Any]
    quick: bool = False

    def scenario(self, rate_per_s: float, requests: int = 1000) -> Scenario:
        """The case at a mean rate."""
        workload = {
            "arrivals": at_rate(self.arrivals, rate_per_s),
            "lengths": dict(self.lengths),
            "num_requests": requests,
        }
        return Scenario.from_dict({"workload": workload, "pools": {"main": dict(self.pool)}})

    def load(self, rate_per_s: float) -> Load:
        """What its workload is to a queueing model."""
        return load_of(self.scenario(rate_per_s).workload)

    def deployment(self) -> Deployment:
        """What its pool comes to, at the workload's mean context."""
        return deploy(self.scenario(1.0).pool, self.load(1.0).mean_context)


def at_rate(arrivals: Mapping[str, Any], rate_per_s: float) -> dict[str, Any]:
    """A process of mean rate 1 at another rate; stays of an MMPP keep their seconds."""
    if arrivals["process"] == "mmpp":
        return {**arrivals, "rates_per_s": [rate_per_s * r for r in arrivals["rates_per_s"]]}
    return {**arrivals, "rate_per_s": rate_per_s}


def lognormal(mean: float, sigma: float) -> dict[str, Any]:
    """A length law."""
    return {"lognormal": {"mean": mean, "sigma": sigma}}


def pair(prompt: Any, output: Any) -> dict[str, Any]:
    """Independent lengths."""
    return {"prompt": prompt, "output": output}


POISSON = {"process": "poisson"}


def gamma(cv: float) -> dict[str, Any]:
    """Gamma gaps with a coefficient of variation."""
    return {"process": "gamma", "burstiness": 1 / cv**2}


def mmpp(high: float, stay_s: float) -> dict[str, Any]:
    """Two states of equal shares, of rates `high` and 2 − `high`."""
    return {"process": "mmpp", "rates_per_s": [high, 2 - high], "sojourns_s": [stay_s, stay_s]}


_ENGINE = {
    "num_gpu_blocks": 200_000,
    "max_num_seqs": 256,
    "max_num_batched_tokens": 2048,
    "async_scheduling": False,
}
FAST = "affine:6e-3,2e-5,2e-5,2e-8,1e-10"
SLOW = "affine:2e-2,1e-4,1e-5,1e-7"


def _affine(cost: str, **engine: Any) -> dict[str, Any]:
    return {"step_cost": cost, "engine": {**_ENGINE, **engine}}


def _gpu(model: str, hardware: str, accelerators: int = 1, **more: Any) -> dict[str, Any]:
    # Shipped curves, so that a record does not depend on whether measured operators are installed.
    base = {"model": model, "hardware": hardware, "operator_times": "curves"}
    return {**base, "tensor_parallel_size": accelerators, **more}


_LARGE = {"async_scheduling": True, "max_num_batched_tokens": 8192}
_CHAT = pair(lognormal(500, 0.8), lognormal(150, 0.7))
_8B = _gpu("llama-3.1-8b", "h100-sxm", engine={"max_num_seqs": 256})
SHAREGPT, SUMMARIES, REASONING = ({"preset": name} for name in ("sharegpt", "summarization", "reasoning"))

CASES = (
    # A step cost of one's own: one bound of the engine each.
    Case("fixed", _affine(FAST), pair(512, 128), POISSON, quick=True),
    Case("slots", _affine(FAST, max_num_seqs=32), pair(lognormal(300, 0.8), lognormal(200, 0.8)), POISSON),
    Case("async", _affine(FAST, **_LARGE), pair(lognormal(800, 1.0), lognormal(250, 0.9)), POISSON),
    Case("chunks", _affine(SLOW), pair(lognormal(4000, 0.7), lognormal(60, 0.7)), POISSON, quick=True),
    Case(
        "kv",
        _affine(FAST, num_gpu_blocks=3000),
        pair(lognormal(500, 0.8), lognormal(400, 0.7)),
        POISSON,
        quick=True,
    ),
    Case(
        "long answers",
        _affine(FAST, **_LARGE, max_num_seqs=128),
        pair(lognormal(150, 0.5), lognormal(3000, 0.8)),
        POISSON,
    ),
    # Models on GPUs.
    Case("8B, H100, ShareGPT", _gpu("llama-3.1-8b", "h100-sxm"), SHAREGPT, POISSON, quick=True),
    Case("8B, A100, summaries", _gpu("llama-3.1-8b", "a100-80gb-sxm"), SUMMARIES, POISSON),
    Case("8B, L40S, chat", _gpu("llama-3.1-8b", "l40s"), _CHAT, POISSON),
    Case(
        "7B, L4, even", _gpu("mistral-7b", "l4"), pair({"uniform": {"low": 100, "high": 900}}, 200), POISSON
    ),
    Case(
        "14B, L40S, log-normal",
        _gpu("qwen3-14b", "l40s"),
        pair(lognormal(600, 0.8), lognormal(500, 0.9)),
        POISSON,
    ),
    Case("32B, H200, reasoning", _gpu("qwen3-32b", "h200"), REASONING, POISSON),
    Case(
        "70B, 4 H100, log-normal",
        _gpu("llama-3.1-70b", "h100-sxm", 4),
        pair(lognormal(1500, 1.0), lognormal(300, 0.7)),
        POISSON,
    ),
    Case("70B, 8 A100, ShareGPT", _gpu("llama-3.1-70b", "a100-80gb-sxm", 8), SHAREGPT, POISSON),
    Case("30B-A3B, H100, chat", _gpu("qwen3-30b-a3b", "h100-sxm"), _CHAT, POISSON),
    Case(
        "120B-A5B, 2 H100, heavy",
        _gpu("gpt-oss-120b", "h100-sxm", 2),
        pair(lognormal(800, 1.5), lognormal(400, 1.3)),
        POISSON,
    ),
    Case("235B-A22B, 8 H100, chat", _gpu("qwen3-235b-a22b", "h100-sxm", 8), _CHAT, POISSON),
    # One system, other arrivals.
    Case("8B, H100, chat", _8B, _CHAT, POISSON),
    Case("constant gaps", _8B, _CHAT, {"process": "constant"}),
    Case("gamma, CV 0.5", _8B, _CHAT, gamma(0.5)),
    Case("gamma, CV 2", _8B, _CHAT, gamma(2.0), quick=True),
    Case("gamma, CV 4", _8B, _CHAT, gamma(4.0)),
    Case("MMPP ±50 %, 0.2 s", _8B, _CHAT, mmpp(1.5, 0.2)),
    Case("MMPP ±50 %, 20 s", _8B, _CHAT, mmpp(1.5, 20.0)),
    # Several engines.
    Case("4 engines in turn", {**_8B, "replicas": 4}, _CHAT, POISSON),
    Case("4 in turn, CV 4", {**_8B, "replicas": 4}, _CHAT, gamma(4.0)),
    Case("4 at random", {**_8B, "replicas": 4, "router": "random"}, _CHAT, POISSON),
)
