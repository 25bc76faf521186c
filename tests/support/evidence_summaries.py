"""Small made-up summaries, as the commands of `foretell validate` print them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
_FIGURES = ("tpot_mean", "e2e_mean", "ttft_mean", "tpot_p99", "e2e_p99", "ttft_p99")

SCHEDULER: Json = {
    "vllm_version": "0.32.0",
    "settings_unknown_to_it": ["a_setting"],
    "seed": 3,
    "scenarios": 10,
    "scenarios_equal": 10,
    "steps": 100,
    "steps_equal": 100,
    "engines": {"default": {"scenarios": 10, "steps": 100, "steps_equal": 100}},
    "errors": [],
    "features": {"preemption <twice>": 4},
    "controls": {
        "block_size": {"tried": 5, "binding": 4, "caught": 3},
        "watermark": {"tried": 5, "binding": 0, "caught": 0},
    },
    "mismatches": [{"file": "m.json", "requests": 2, "told": ["step 3: vLLM runs r1, foretell r2"]}],
    "scale": [{"name": "overload", "requests": 1500, "times": 214.5, "identical": True}],
    "all_equal": True,
}

CORPUS: list[Json] = [
    {**SCHEDULER, "controls": {}, "mismatches": [], "scale": [], "date": "2026-11-21"},
    {**SCHEDULER, "vllm_version": "0.31.0", "controls": {}, "mismatches": [], "scale": []}
    | {"date": "2026-11-20", "steps_equal": 99, "scenarios_equal": 9, "all_equal": False},
]


def _run(off: float | None, **more: Any) -> Json:
    real = {name: 0.5 + 0.1 * n for n, name in enumerate(_FIGURES)}
    told = None if off is None else {name: value * (1 + off / 100) for name, value in real.items()}
    counts = {
        "steps_compared": 50,
        "steps_equal": 50,
        "tokens": 400,
        "tokens_in_step": 400,
        "tokens_in_time": 400,
    }
    errors = {} if off is None else {f"{name}_error": off for name in _FIGURES}
    return (
        {"model": "llama", "difference": None, "not_predicted": None}
        | counts
        | errors
        | {
            "measured_s": real,
            "predicted_s": told,
        }
        | more
    )


RUNS: Json = {
    "runs": 4,
    "runs_predicted": 3,
    "steps_compared": 200,
    "steps_equal": 200,
    "tokens": 1600,
    "tokens_in_step": 1597,
    "tokens_in_time": 1597,
    "tpot_mean_ape": 4.5,
    "e2e_mean_ape": 4.6,
    "ttft_mean_ape": 4.7,
    "boundary": "in the engine's <process>",
    "by_run": {
        "quick": _run(4.5, tpot_mean_error_90=[-1.5, 9.5]),
        "slow": _run(40.0),
        "other": _run(-3.0, tokens_in_step=397, difference="step 7 differs"),
        "lonely": _run(None, not_predicted="alone with its model"),
    },
    "targets": [
        {
            "name": "tpot, mean: median error",
            "asked": {"at_least": None, "at_most": 10.0, "unit": "%"},
            "reached": 4.5,
            "met": True,
        }
    ],
}


def _figure(measured_s: float, off: float, inside: bool) -> Json:
    told = measured_s * (1 + off)
    return {
        "measured_s": measured_s,
        "forecast_s": told,
        "interval_s": [0.9 * told, 1.1 * told],
        "error": 0.0,
        "inside": inside,
    }


SERVED: Json = {
    "tpot_mean_ape": 0.0,
    "runs": {
        "server": {
            "requests": 300,
            "figures": {
                "tpot_mean": _figure(0.03, -0.04, True),
                "tpot_p99": _figure(0.04, 0.01, True),
                "e2e_mean": _figure(20.0, 0.06, True),
                "e2e_p99": _figure(30.0, 0.01, False),
                "ttft_mean": _figure(1.0, 0.2, False),
                "ttft_p99": _figure(2.0, 0.2, False),
            },
            "notes": ["a note & more"],
        }
    },
}
_CLIENT_ROW: Json = {
    "requests": 30,
    **{f"{m}_mean_client_s": 0.2 for m in ("tpot", "ttft", "e2e")},
    **{f"{m}_mean_engine_error": -0.1 for m in ("tpot", "ttft", "e2e")},
    **{f"{m}_mean_predicted_error": 0.01 for m in ("tpot", "ttft", "e2e")},
    **{f"{m}_noise": None for m in ("tpot", "ttft", "e2e")},
}
CLIENT: Json = {
    "boundary": "from sending to reading",
    "client": {"source": "bench", "date": "2026-11-21", "machine": "2 cores"},
    "summary": {
        "loads": 2,
        "requests": 60,
        **{f"{m}_mean_ape_engine": 0.1 for m in ("tpot", "ttft", "e2e")},
        **{f"{m}_mean_ape_predicted": 0.02 for m in ("tpot", "e2e")},
        "ttft_mean_ape_predicted": 0.3,
    },
    "rows": [
        _CLIENT_ROW | {"load": "mid", "recording": "first"},
        _CLIENT_ROW | {"load": "burst", "recording": "first", "ttft_mean_predicted_error": -0.3},
    ],
}
_ERRORS: Json = {
    "rows": 5,
    "rows_predicted": 5,
    "tpot_median_ape": 7.0,
    "tpot_mean_ape": 8.0,
    "ttft_median_ape": 9.0,
    "ttft_mean_ape": 10.0,
    "interval_coverage_90": 0.9,
}
SILICON: Json = _ERRORS | {
    "source": "runs.csv",
    "tpot_interval_coverage_90": 0.9,
    "ttft_interval_coverage_90": 0.6,
    "by_group": {"a, h200": _ERRORS | {"tpot_median_ape": 22.0}},
    "variants": {"untuned": _ERRORS},
    "other_backends": {"sglang agg": _ERRORS | {"ttft_median_ape": 60.0}},
    "set_aside": [{"id": "row 9", "reason": "contradicts itself"}],
    "not_predicted": {"does not fit": 2},
    "left_out": {},
    "targets": [
        {
            "name": "TPOT median error",
            "asked": {"at_least": None, "at_most": 5.0, "unit": "%"},
            "reached": 7.0,
            "met": True,
        }
    ],
    "points": {
        "id": ["r1", "r<2>"],
        "model": ["a", "b"],
        "accelerator": ["h200", "h200"],
        "concurrency": [4, 64],
        "tpot_s": [0.01, 0.03],
        "tpot_predicted_s": [0.011, 0.03],
        "ttft_s": [0.1, 0.3],
        "ttft_predicted_s": [0.12, 0.2],
    },
}


def _operator(family: str, test: str, median: float) -> Json:
    errors = {"median_error": median, "p90_error": 2 * median, "coverage_90": 0.9, "published": None}
    return {"accelerator": "h200", "family": family, "test": test, "points": 100} | errors


OPERATORS: list[Json] = [_operator("gemm", "point", 0.02), _operator("NCCL", "shape", 0.5)]
_APE: Json = {"runs": 2, "median_ape": 0.11, "mean_ape": 0.13, "p90_ape": 0.37, "bias": 0.01}
_PAIRS = ("power_left_model_out", "power_left_gpu_out", "joules_given_time", "joules_end_to_end")


def _joules(model: str, off: float) -> Json:
    power = {"power_W": 500.0, "power_left_model_W": 550.0}
    joules = {"joules_per_token": 0.5, "joules_per_token_estimate": 0.5 * (1 + off)}
    return {"model": model, "gpu": "H100", "task": "gpqa", "batch": 16.0, "fitted": True} | power | joules


ENERGY: Json = {
    "summary": dict.fromkeys(_PAIRS, _APE)
    | {"by_batch": {}, "by_gpu": {}, "set_aside": dict.fromkeys(_PAIRS, _APE)},
    "rows": [_joules("small", 0.1), _joules("big", -0.4)],
}
KV: Json = {
    "summary": {"runs": 1.0, "median_ape": 0.5, "mean_ape": 0.5, "p90_ape": 0.5, "coverage": 0.0},
    "rows": [
        {
            "model": "org/m",
            "accelerator": "h200",
            "engine_version": "0.11.0",
            "tensor_parallel_size": 1,
            "actual_gib": 40.0,
            "estimate_gib": 60.0,
            "error": 0.5,
            "low": 55.0,
            "high": 65.0,
            "inside": False,
        }
    ],
}


PAPERS: dict[str, Any] = {
    "rules": {"ratio": "the same side of 1; within a factor 1.25"},
    "rows": 2,
    "papers": 2,
    "direction": {"agree": 1, "of": 2},
    "size": {"agree": 1, "of": 2},
    "findings": [
        {
            "paper": "A <b>paper</b>",
            "claim": "faster",
            "published": "1.5x",
            "kind": "ratio",
            "paper_low": 1.5,
            "paper_high": 1.5,
            "unit": "x",
            "ours": 1.6,
            "interval": [1.5, 1.7],
            "beside": {},
            "setting": "one engine",
            "direction_agrees": True,
            "size_agrees": True,
            "why": "",
            "source": "2025",
        },
        {
            "paper": "Another",
            "claim": "cheaper",
            "published": "2x",
            "kind": "ratio",
            "paper_low": 2.0,
            "paper_high": 2.0,
            "unit": "x",
            "ours": 0.9,
            "interval": None,
            "beside": {},
            "setting": "one engine",
            "direction_agrees": False,
            "size_agrees": False,
            "why": "no room",
            "source": "2024",
        },
    ],
}
