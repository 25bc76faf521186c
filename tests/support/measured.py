"""Rows as `measured_rows` gives them, of small loads that are simulated in a moment."""

from __future__ import annotations

from typing import Any

from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.validate.server_runs import ServerRun
from foretell.validate.silicon_rows import MeasuredRow


def server_run(**changes: Any) -> ServerRun:
    """Twenty short requests, four at a time, of Llama-3.1-8B on an H100."""
    figures: dict[str, Any] = {
        "id": "a",
        "backend": "vllm",
        "version": "0.19.0",
        "model": "llama-3.1-8b",
        "accelerator": "h100-sxm",
        "parallelism": Parallelism(),
        "precision": Precision(),
        "concurrency": 4,
        "num_requests": 20,
        "prompt_tokens": (80, 100),
        "output_tokens": (16, 20),
        "max_num_batched_tokens": 2048,
        "max_num_seqs": 64,
        "gpu_memory_utilization": 0.9,
        "ttft_s": 0.05,
        "tpot_s": 0.008,
    }
    return ServerRun(**{**figures, **changes})


def measured(**changes: Any) -> MeasuredRow:
    """A judged row of that run."""
    return MeasuredRow(server_run(**changes), True)
