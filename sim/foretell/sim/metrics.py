"""Metrics: pure functions of a run's records.

All of them are taken at the engine: from the moment a request reaches the engine's queue to the
moment a step that made a token ends. A client sees HTTP, tokenising and detokenising on top.
Rejected and cancelled requests have no latencies; they count in goodput's denominator.

With `warmup_s`, requests that arrive before it (from the first arrival) are left out of latencies,
throughput and goodput; the engines' own figures (busy share, batch, KV, energy) cover the whole run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from foretell.sim.simulation import Run

FloatArray = npt.NDArray[np.float64]
FINISHED, CANCELLED, REJECTED = 0, 1, 2
"""Values of `Run.status`."""


def counted(run: Run, warmup_s: float = 0.0) -> npt.NDArray[np.bool_]:
    """Mark the requests that arrived at or after `warmup_s` past the first arrival."""
    if not len(run.arrival_s):
        return np.zeros(0, dtype=bool)
    return np.asarray(run.arrival_s >= np.min(run.arrival_s) + warmup_s)


def ttft_s(run: Run) -> FloatArray:
    """Time to first token of each request [s]: from arrival to the end of the step that made it."""
    return np.asarray(run.first_token_s - run.arrival_s)


def e2e_s(run: Run) -> FloatArray:
    """Time from arrival to the last token of each request [s]."""
    return np.asarray(run.finish_s - run.arrival_s)


def tpot_s(run: Run) -> FloatArray:
    """Time per output token after the first [s]: (e2e − ttft)/(output − 1), NaN for a single token."""
    gaps = (run.output_tokens - 1).astype(np.float64)
    gaps[gaps <= 0] = np.nan
    return np.asarray((run.finish_s - run.first_token_s) / gaps)


def describe(
    values: npt.ArrayLike, percentiles: Iterable[float] = (50, 90, 99), weights: npt.ArrayLike | None = None
) -> dict[str, float]:
    """Mean, standard deviation (population) and percentiles of the values that are not NaN.

    Percentiles interpolate linearly between order statistics, as numpy's do by default; with
    `weights` (whole counts) they are those of the repeated values. NaN where there is no value.
    """
    array = np.asarray(values, dtype=np.float64)
    count = np.ones_like(array) if weights is None else np.asarray(weights, dtype=np.float64)
    keep = ~np.isnan(array) & (count > 0)
    array, count = array[keep], count[keep]
    wanted = list(percentiles)
    names = [f"p{q:g}" for q in wanted]
    if not len(array):
        return dict.fromkeys(("mean", "std", *names), math.nan)
    total = float(count.sum())
    mean = float((array * count).sum() / total)
    finite = math.isfinite(mean)
    std = math.sqrt(float((count * (array - mean) ** 2).sum()) / total) if finite else math.nan
    order = np.argsort(array, kind="stable")
    array, last = array[order], np.cumsum(count[order]) - 1  # rank of each value's last copy
    found = []
    for q in wanted:
        rank = (total - 1) * q / 100
        low = array[np.searchsorted(last, math.floor(rank))]
        high = array[min(int(np.searchsorted(last, math.ceil(rank))), len(array) - 1)]
        step = high - low if high > low else 0.0
        found.append(float(low + step * (rank - math.floor(rank))))
    return {"mean": mean, "std": std, **dict(zip(names, found, strict=True))}


def latencies(
    run: Run, percentiles: Iterable[float] = (50, 90, 99), warmup_s: float = 0.0
) -> dict[str, float]:
    """Latency figures, {ttft,tpot,itl,e2e}_{mean,std,p50,...}_s; ITL is over all gaps between tokens.

    ITL covers the whole run whatever the warm-up. It is NaN when the run did not collect it.
    """
    wanted = list(percentiles)
    kept = counted(run, warmup_s)
    figures: dict[str, float] = {}
    gaps: tuple[Any, Any] = run.itl if run.itl is not None else (np.zeros(0), np.zeros(0))
    for metric, values, weights in (
        ("ttft", ttft_s(run)[kept], None),
        ("tpot", tpot_s(run)[kept], None),
        ("itl", *gaps),
        ("e2e", e2e_s(run)[kept], None),
    ):
        for statistic, value in describe(values, wanted, weights).items():
            figures[f"{metric}_{statistic}_s"] = value
    return figures


def duration_s(run: Run, warmup_s: float = 0.0) -> float:
    """Time from the first counted arrival to the last finish [s]; NaN when nothing finished.

    The drain after the last arrival is in it, so that rates of a short run lie below a steady server's.
    """
    kept = counted(run, warmup_s)
    finished = run.finish_s[kept & (run.status == FINISHED)]
    if not len(finished):
        return math.nan
    return float(np.max(finished) - np.min(run.arrival_s[kept]))


def within(run: Run, limits: Mapping[str, float]) -> npt.NDArray[np.bool_]:
    """Mark the finished requests that keep every per-request limit, {"ttft" | "tpot" | "e2e": seconds}.

    A single-token answer has no TPOT and keeps any limit on it.
    """
    good = np.asarray(run.status == FINISHED)
    for metric, values in (("ttft", ttft_s(run)), ("tpot", tpot_s(run)), ("e2e", e2e_s(run))):
        if metric in limits:
            missing = np.isnan(values)
            good &= np.where(missing, True, values <= limits[metric])
    return good


def throughput(
    run: Run, limits: Mapping[str, float] | None = None, warmup_s: float = 0.0
) -> dict[str, float]:
    """Counts, rates and goodput; rates are over `duration_s`.

    request_throughput_rps, output_throughput_tps and total_throughput_tps count finished requests;
    goodput_rps those of them within `limits`, attainment their share of all requests.
    """
    kept = counted(run, warmup_s)
    finished = kept & (run.status == FINISHED)
    duration = duration_s(run, warmup_s)
    per_s = 1 / duration if duration > 0 else math.nan
    prompt = float(run.prompt_tokens[finished].sum())
    output = float(run.output_tokens[finished].sum())
    figures = {
        "duration_s": duration,
        "completed": float(finished.sum()),
        "rejected": float((kept & (run.status == REJECTED)).sum()),
        "prompt_tokens": prompt,
        "output_tokens": output,
        "request_throughput_rps": float(finished.sum()) * per_s,
        "output_throughput_tps": output * per_s,
        "total_throughput_tps": (prompt + output) * per_s,
    }
    if limits:
        good = float((kept & within(run, limits)).sum())
        figures["goodput_rps"] = good * per_s
        figures["attainment"] = good / float(kept.sum()) if kept.any() else math.nan
    return figures


def per_accelerator(run: Run, accelerators: int, warmup_s: float = 0.0) -> dict[str, float]:
    """Rates of tokens over all accelerators that serve, those of every pool."""
    rates = throughput(run, None, warmup_s)
    return {
        f"{kind}_throughput_per_accelerator_tps": rates[f"{kind}_throughput_tps"] / accelerators
        for kind in ("output", "total")
    }


def peak_concurrency(run: Run) -> int:
    """Most requests in the system at once (arrived, not finished)."""
    served = run.status == FINISHED
    times = np.concatenate([run.arrival_s[served], run.finish_s[served]])
    change = np.repeat([1, -1], served.sum())
    order = np.lexsort((change, times))  # at equal times a finish makes room first
    return int(np.max(np.cumsum(change[order]), initial=0))


def engines(run: Run) -> dict[str, float]:
    """Figures of the engines: averages over time and replicas, from the first arrival to the last finish.

    utilisation: share of the time in which an engine runs a step; mean_batch and mean_waiting: requests
    running and waiting, by Little's law; kv_use: share of the KV blocks held by requests;
    cache_hit_rate: prompt tokens found in the prefix cache at first admission; preemptions and steps:
    totals.
    """
    stats = run.engines
    span = span_s(run)
    whole = span * len(stats)
    queued = sum(engine.queue_s for engine in stats)
    prompt = float(run.prompt_tokens[run.status != REJECTED].sum())

    def share(total: float, of: float) -> float:
        return total / of if of > 0 else math.nan

    return {
        "utilisation": min(share(sum(engine.busy_s for engine in stats), whole), 1.0),  # sums round
        "mean_batch": share(float(np.nansum(e2e_s(run))) - queued, whole),
        "mean_waiting": share(queued, whole),
        "kv_use": share(
            sum(engine.kv_block_seconds for engine in stats), span * sum(engine.kv_blocks for engine in stats)
        ),
        "cache_hit_rate": share(float(run.cached_tokens.sum()), prompt),
        "preemptions": float(run.n_preemptions.sum()),
        "steps": float(sum(engine.steps for engine in stats)),
        "peak_concurrency": float(peak_concurrency(run)),
    }


def span_s(run: Run) -> float:
    """Time from the first arrival to the last finish [s], 0 when nothing finished."""
    finished = run.finish_s[run.status == FINISHED]
    return float(np.max(finished) - np.min(run.arrival_s)) if len(finished) else 0.0


def costs(run: Run, usd_per_h: float | None) -> dict[str, float]:
    """Price the run at a rent of `usd_per_h` for all accelerators, per query and per million tokens.

    The rent runs from the first arrival to the last finish. Empty when the price is unknown.
    """
    if usd_per_h is None:
        return {}
    finished = run.status == FINISHED
    output = float(run.output_tokens[finished].sum())
    total = output + float(run.prompt_tokens[finished].sum())
    usd = usd_per_h / 3600 * duration_s(run)
    return {
        "usd_per_h": usd_per_h,
        "usd_per_query": usd / float(finished.sum()) if finished.any() else math.nan,
        "usd_per_million_output_tokens": usd / output * 1e6 if output else math.nan,
        "usd_per_million_tokens": usd / total * 1e6 if total else math.nan,
    }


def energies(run: Run, energy_J: float | None) -> dict[str, float]:
    """Energy of all accelerators over the whole run, idle time included; empty when it is unknown."""
    if energy_J is None:
        return {}
    finished = run.status == FINISHED
    output = float(run.output_tokens[finished].sum())
    span = span_s(run)
    return {
        "energy_J": energy_J,
        "power_W": energy_J / span if span > 0 else math.nan,
        "energy_per_output_token_J": energy_J / output if output else math.nan,
        "energy_per_query_J": energy_J / float(finished.sum()) if finished.any() else math.nan,
    }
