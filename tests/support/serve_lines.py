"""What `vllm serve` lines are tested with: settings of engines, and vLLM's own parser where there is one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

PYTHONS = [path for path in os.environ.get("FORETELL_VLLM_PYTHON", "").split(os.pathsep) if path]
"""Interpreters that have vLLM."""
MEMORY = st.sampled_from([{}, {"num_gpu_blocks": 4000}, {"gpu_memory_utilization": 0.85}])
"""Settings of an engine that say how many KV blocks there are."""


def engine_settings(*presets: str) -> st.SearchStrategy[dict[str, Any]]:
    """Settings of an engine, of these presets or the usual one; those of `MEMORY` are not among them."""
    return st.fixed_dictionaries(
        {},
        optional={
            "preset": st.sampled_from(presets),
            "max_num_seqs": st.sampled_from([8, 64, 256, 1024]),
            "max_num_batched_tokens": st.sampled_from([2048, 8192, 16384]),
            "max_model_len": st.sampled_from([2048, 16384]),
            "block_size": st.sampled_from([16, 32]),
            "enable_prefix_caching": st.booleans(),
            "async_scheduling": st.booleans(),
            "enforce_eager": st.booleans(),
            "scheduling_policy": st.sampled_from(["fcfs", "priority"]),
            "long_prefill_token_threshold": st.sampled_from([0, 1024]),
            "scheduler_reserve_full_isl": st.booleans(),
            "watermark": st.sampled_from([0.0, 0.05]),
            "performance_mode": st.sampled_from(["balanced", "throughput"]),
        },
    )


def ask_vllm(python: str, lines: Iterable[str] = (), names: Iterable[str] = ()) -> dict[str, Any]:
    """The flags of an interpreter's vLLM, and these lines as it reads them: see tests/sim/vllm_parses.py."""
    script = Path(__file__).parents[1] / "sim" / "vllm_parses.py"
    done = subprocess.run(
        [python, str(script)],
        input=json.dumps({"lines": list(lines), "names": list(names)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told
