"""A small table as `validate_silicon` makes it, with figures that can be worked out by hand."""

from __future__ import annotations

import pandas as pd

from foretell.validate.report import MAIN

NAN = float("nan")


def row(number: int, tpot: float, ttft: float, **others: object) -> dict[str, object]:
    """A run of 10 ms a token and 1 s to the first; forecasts in the same units, ±10 % as interval."""
    return {
        "id": f"run{number}",
        "variant": MAIN,
        "backend": "vllm",
        "version": "0.19.0",
        "mode": "agg",
        "model": "gpt-oss-120b",
        "accelerator": "h200",
        "weights": "mxfp4",
        "kv_cache": "bf16",
        "tensor_parallel_size": 4,
        "data_parallel_size": 1,
        "enable_expert_parallel": False,
        "prompt_tokens": 1024,
        "output_tokens": 1024,
        "concurrency": 8,
        "ttft_s": 1.0,
        "tpot_s": 0.010,
        "ttft_predicted_s": ttft,
        "tpot_predicted_s": tpot,
        "ttft_low_s": 0.9 * ttft,
        "ttft_high_s": 1.1 * ttft,
        "tpot_low_s": 0.9 * tpot,
        "tpot_high_s": 1.1 * tpot,
        "why": "",
        "fold": "without gpt-oss-120b on h200",
        "set_aside": "",
        "judged": True,
        **others,
    }


def table() -> pd.DataFrame:
    """Judged: errors of TPOT 4, 20, 6 % and of TTFT 5, 30, 10 %, one row set aside, one without a forecast.

    Of the three intervals each, that of the second run misses both times.
    """
    return pd.DataFrame(
        [
            row(1, 0.0104, 1.05),
            row(2, 0.0080, 1.30),
            row(3, 0.0106, 0.90, accelerator="b200", concurrency=64),
            row(4, 0.0300, 3.00, set_aside="a clock <stopped>"),
            row(5, NAN, NAN, why="it does not fit"),
            row(6, 0.0110, 1.00, judged=False, backend="sglang"),
            row(7, 0.0130, 1.00, judged=False, backend="trtllm", mode="disagg"),
            row(8, 0.0100, 1.00, judged=False),
            row(1, 0.0120, 1.00, variant="untuned"),
        ]
    )
