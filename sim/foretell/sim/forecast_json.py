"""A forecast as JSON: `vllm bench serve`'s keys, so that scripts made for those work, and ours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from foretell.sim import metrics
from foretell.sim.intervals import LEVEL

if TYPE_CHECKING:
    from foretell.sim.closed_form import ClosedForm
    from foretell.sim.forecasting import Forecast

SCHEMA_VERSION = 1

_THEIRS = {  # vLLM's key → ours; whole numbers stay whole
    "duration": "duration_s",
    "completed": "completed",
    "failed": "rejected",
    "total_input_tokens": "prompt_tokens",
    "total_output_tokens": "output_tokens",
    "request_throughput": "request_throughput_rps",
    "request_goodput": "goodput_rps",
    "output_throughput": "output_throughput_tps",
    "total_token_throughput": "total_throughput_tps",
    "max_concurrent_requests": "peak_concurrency",
}


def tool_version() -> str:
    """Return the installed version, "unknown" when foretell runs from its sources."""
    try:
        return version("foretell")
    except PackageNotFoundError:
        return "unknown"


def forecast_dict(forecast: Forecast, *, detailed: bool = False) -> dict[str, Any]:
    """Lay a forecast out as plain values: None where there is no figure.

    vLLM's keys hold the mean over the replications; `intervals` holds every figure in SI units with its
    interval. With `detailed`, the per-request lists are those of replication 0, in seconds, without
    rejected requests.
    """
    whole = {
        key: _clean(forecast.summary[own].value) for key, own in _THEIRS.items() if own in forecast.summary
    }
    result = _told(forecast, whole, client=forecast.scenario.client is not None)
    return result | _lists(forecast) if detailed else result


def closed_form_dict(found: ClosedForm) -> dict[str, Any]:
    """The same of a forecast in closed form; None under keys that only a run has a figure for."""
    summary = found.summary
    whole = {key: _clean(summary[own].value) if own in summary else None for key, own in _THEIRS.items()}
    statistics = ("mean", "std", "median", "p50", "p90", "p99")
    missing = {f"{s}_{metric}_ms": None for metric in ("ttft", "tpot", "itl", "e2el") for s in statistics}
    return _told(found, whole | missing, client=False)


def _told(forecast: Forecast | ClosedForm, whole: dict[str, Any], *, client: bool) -> dict[str, Any]:
    scenario = forecast.scenario
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": "foretell",
        "tool_version": tool_version(),
        "method": forecast.method,
        "boundary": "client" if client else "engine",
        "boundaries": dict(_boundaries(client)),
        "scenario": scenario.to_dict(),
        "seed": scenario.seed,
        "replications": scenario.replications,
        "deployment": {
            "engines": len(forecast.deployment.engines),
            "accelerators": forecast.deployment.accelerators,
            "router": forecast.deployment.router,
            "settings": [settings(part) for part in forecast.deployment.parts],
        },
        **whole,
        **dict(_milliseconds(forecast)),
        "level": LEVEL,
        "intervals": {
            name: {"value": _clean(e.value), "low": _clean(e.low), "high": _clean(e.high)}
            for name, e in forecast.summary.items()
        },
        "objectives": [
            {
                "name": v.objective.name,
                "direction": v.objective.direction,
                "limit": v.objective.limit,
                "value": _clean(v.value),
                "met": v.met,
                "probability": _clean(v.probability),
            }
            for v in forecast.verdicts
        ],
        "met": forecast.met,
        "notes": list(forecast.notes),
    }


def _boundaries(client: bool) -> Iterator[tuple[str, str]]:
    """On which side each kind of figure lies; gaps and what is said of the engines stay the engine's."""
    for name in ("ttft", "tpot", "e2e", "throughput", "goodput"):
        yield name, "client" if client else "engine"
    yield from (("itl", "engine"), ("engines", "engine"))


def settings(part: Any) -> dict[str, Any]:
    """Every setting of like engines, resolved, with how many there are."""
    import dataclasses

    found: dict[str, Any] = {"engines": part.count, "accelerators_each": part.accelerators}
    if part.hardware is not None:
        found["hardware"] = part.hardware.name
    return found | dataclasses.asdict(part.config)


def _milliseconds(forecast: Forecast | ClosedForm) -> Iterator[tuple[str, float | int | None]]:
    for name, found in forecast.summary.items():
        metric, _, rest = name.partition("_")
        statistic = rest.removesuffix("_s")
        if metric not in ("ttft", "tpot", "itl", "e2e") or rest == statistic:
            continue
        theirs = "e2el" if metric == "e2e" else metric
        value = _clean(found.value)
        scaled = None if value is None else value * 1e3
        yield f"{statistic}_{theirs}_ms", scaled
        if statistic == "p50":
            yield f"median_{theirs}_ms", scaled


def _lists(forecast: Forecast) -> dict[str, Any]:
    run = forecast.client_run
    served = run.status == metrics.FINISHED
    return {
        "input_lens": run.prompt_tokens[served].tolist(),
        "output_lens": run.output_tokens[served].tolist(),
        "ttfts": metrics.ttft_s(run)[served].tolist(),
        "latencies": metrics.e2e_s(run)[served].tolist(),
        "start_times": run.arrival_s[served].tolist(),
    }


def finite(value: float) -> float | None:
    """A figure as JSON knows it: None for what is not finite."""
    return value if math.isfinite(value) else None


def _clean(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 2**53 else value
