"""Scenarios to start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Start:
    """A scenario to start from.

    Attributes:
        name: as the page calls it.
        about: one line.
        scenario: its fields.

    """

    name: str
    about: str
    scenario: Mapping[str, Any]


STARTS = (
    Start(
        "Chat",
        "A chat service on one GPU: Llama 3.1 8B on an H100, conversations as in ShareGPT.",
        {
            "workload": {
                "arrivals": {"process": "poisson", "rate_per_s": 3.5},
                "lengths": "sharegpt",
                "num_requests": 1000,
            },
            "pools": {"chat": {"model": "llama-3.1-8b", "hardware": "h100-sxm"}},
            "objectives": {"ttft_p90": "<= 1 s", "tpot_p99": "<= 80 ms"},
            "seed": 1,
        },
    ),
    Start(
        "Mixture of experts",
        "Qwen3-235B-A22B in FP8 on a node of eight H200, questions that are thought about, in bursts.",
        {
            "workload": {
                "arrivals": {"process": "gamma", "rate_per_s": 2, "burstiness": 0.5},
                "lengths": "reasoning",
                "num_requests": 1000,
            },
            "pools": {
                "thinker": {
                    "model": "qwen3-235b-a22b",
                    "hardware": "h200",
                    "tensor_parallel_size": 8,
                    "enable_expert_parallel": True,
                    "quantization": "fp8",
                    "engine": {"max_num_seqs": 256},
                }
            },
            "objectives": {"ttft_p99": "<= 5 s", "tpot_p99": "<= 60 ms"},
            "seed": 1,
        },
    ),
    Start(
        "Prefill and decode apart",
        "Llama 3.1 70B on two nodes of eight H100: long prompts in one pool, answers in the other.",
        {
            "workload": {
                "arrivals": {"process": "poisson", "rate_per_s": 4},
                "lengths": {
                    "prompt": {"lognormal": {"median": 3000, "sigma": 0.6, "maximum": 16000}},
                    "output": {"lognormal": {"median": 250, "sigma": 0.7, "minimum": 2, "maximum": 2000}},
                },
                "num_requests": 1000,
            },
            "pools": {
                "prefill": {
                    "model": "llama-3.1-70b",
                    "hardware": "h100-sxm",
                    "tensor_parallel_size": 2,
                    "quantization": "fp8",
                    "replicas": 4,
                    "router": "least_outstanding",
                },
                "decode": {
                    "model": "llama-3.1-70b",
                    "hardware": "h100-sxm",
                    "tensor_parallel_size": 4,
                    "quantization": "fp8",
                    "replicas": 2,
                    "router": "least_outstanding",
                    "engine": {"max_num_seqs": 128},
                },
            },
            "strategy": {
                "name": "disaggregated",
                "prefill": "prefill",
                "decode": "decode",
                "kv_transfer": {"link": "infiniband-ndr"},
            },
            "objectives": {"ttft_p90": "<= 2 s", "tpot_p99": "<= 30 ms"},
            "seed": 1,
        },
    ),
    Start(
        "Reasoning, several answers",
        "Competition mathematics: Qwen3-8B votes over four answers to each question.",
        {
            "workload": {
                "task": "aime24",
                "arrivals": {"process": "poisson", "rate_per_s": 0.01},
                "num_requests": 60,
            },
            "pools": {"solver": {"model": "qwen3-8b", "hardware": "h100-sxm"}},
            "strategy": {"name": "self_consistency", "n": 4},
            "objectives": {"accuracy": ">= 0.7", "e2e_p99": "<= 10 min"},
            "seed": 1,
            "replications": 4,
        },
    ),
    Start(
        "A fleet",
        "Qwen3-32B for sixty requests a second: 16 replicas of two H100 behind a router.",
        {
            "workload": {
                "arrivals": {"process": "poisson", "rate_per_s": 60},
                "lengths": "sharegpt",
                "num_requests": 2000,
            },
            "pools": {
                "fleet": {
                    "model": "qwen3-32b",
                    "hardware": "h100-sxm",
                    "tensor_parallel_size": 2,
                    "quantization": "fp8",
                    "replicas": 16,
                    "router": "power_of_two",
                }
            },
            "objectives": {"ttft_p90": "<= 1.5 s", "tpot_p99": "<= 80 ms", "budget": "<= 100 usd/h"},
            "seed": 1,
        },
    ),
)
"""The first is what the page shows when no file is given."""
