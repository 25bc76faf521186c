"""What a scenario's workload is to a queueing model: lengths, a rate, and how bursty it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from foretell.models.queueing import Lengths, mmpp_scv
from foretell.sim.config import EngineConfig
from foretell.sim.scenario import Workload
from foretell.sim.workload import description, fixed_trace

SAMPLE = 16_384
"""Pairs of lengths that a described workload is taken for."""


@dataclass(frozen=True, slots=True)
class Load:
    """A workload in steady state.

    Attributes:
        law: a sample of the lengths.
        rate_per_s: mean rate of requests.
        scv: squared coefficient of variation of the gaps between arrivals.
        modulation: (rates_per_s, sojourns_s) of an MMPP, whose variability depends on the time looked at.
        notes: what of the workload is left out.

    """

    law: Lengths
    rate_per_s: float
    scv: float
    modulation: tuple[tuple[float, ...], tuple[float, ...]] | None
    notes: tuple[str, ...]

    @property
    def mean_context(self) -> float:
        """Tokens of a request while it is answered, mean: what KV caches are sized for."""
        return self.law.mean_context

    def variability(self, over_s: float) -> float:
        """Squared coefficient of variation as a queue sees it that forgets in so many seconds."""
        return self.scv if self.modulation is None else mmpp_scv(*self.modulation, over_s)


def load_of(workload: Workload) -> Load:
    """Read a workload, or draw its lengths once with a fixed seed.

    Raises:
        ValueError: it has no rate: a closed loop, or everything at once; or it is malformed.

    """
    if workload.task is not None:
        raise ValueError(f"task: {workload.task} is answered by programs; simulate it, or see its estimate")
    if workload.concurrency is not None:
        raise ValueError("concurrency: a closed loop has no rate of its own; give arrivals, or simulate it")
    trace = fixed_trace(workload)
    notes = []
    if trace is not None:
        gaps = np.diff(trace.arrival_s)
        if trace.concurrency is not None or len(gaps) < 2 or not gaps.sum() > 0:
            raise ValueError(
                f"trace: {workload.trace} has no rate (a closed loop, or all at once); simulate it"
            )
        rate = len(gaps) / float(gaps.sum())
        scv = float(gaps.var() / gaps.mean() ** 2)
        notes.append("arrivals of the trace: taken as steady, at their mean rate and variability of the gaps")
        prompt, output = trace.prompt_tokens, trace.output_tokens
        for name, field in _COLUMNS.items():
            if getattr(trace, field) is not None:
                notes.append(_LEFT_OUT[name])
        return Load(Lengths(prompt.astype(float), output.astype(float)), rate, scv, None, tuple(notes))
    from foretell.traces.spec import arrivals_from_spec, lengths_from_spec

    spec = description(workload)
    process = arrivals_from_spec(spec["arrivals"])
    rate = getattr(process, "mean_rate_per_s", math.inf)
    if not math.isfinite(rate):
        raise ValueError(
            "arrivals: everything at once has no rate; give arrivals with rate_per_s, or simulate it"
        )
    prompt, output = lengths_from_spec(spec["lengths"]).sample(np.random.default_rng(0), SAMPLE)
    scv, modulation = variability_of(spec["arrivals"])
    for name, remark in _LEFT_OUT.items():
        if getattr(workload, name) is not None:
            notes.append(remark)
    if spec["arrivals"]["process"] == "diurnal":
        notes.append("arrivals: taken as steady at the mean of the day; at its peak latencies are higher")
    rate *= workload.rate_scale
    if modulation is not None and workload.rate_scale != 1:
        rates, stays = modulation
        modulation = (
            tuple(r * workload.rate_scale for r in rates),
            tuple(s / workload.rate_scale for s in stays),
        )
    return Load(Lengths(prompt.astype(float), output.astype(float)), rate, scv, modulation, tuple(notes))


def closed_lengths(workload: Workload) -> Lengths:
    """Lengths of a closed loop's requests, of its trace or drawn once with a fixed seed.

    Raises:
        ValueError: it has arrivals too.

    """
    if workload.arrivals is not None:
        raise ValueError(
            "concurrency: the closed form takes it or arrivals, not both; drop one, or simulate it"
        )
    trace = fixed_trace(workload)
    if trace is not None:
        return Lengths(trace.prompt_tokens.astype(float), trace.output_tokens.astype(float))
    from foretell.traces.spec import lengths_from_spec

    prompt, output = lengths_from_spec(description(workload)["lengths"]).sample(
        np.random.default_rng(0), SAMPLE
    )
    return Lengths(prompt.astype(float), output.astype(float))


_COLUMNS = {"prefixes": "segments", "sessions": "session", "priorities": "priority"}
"""What of a trace stands for these parts of a description."""
_LEFT_OUT = {
    "prefixes": "prefixes: hits of a prefix cache are left out; prompts are computed whole",
    "sessions": "sessions: turns are taken as requests of their own, without the history in their prompts",
    "priorities": "priorities: all requests are taken as alike",
}


def variability_of(
    arrivals: Mapping[str, Any],
) -> tuple[float, tuple[tuple[float, ...], tuple[float, ...]] | None]:
    """Squared coefficient of variation of the gaps, and the modulation of an MMPP."""
    process = arrivals["process"]
    if process == "constant":
        return 0.0, None
    if process == "gamma":
        return 1 / float(arrivals.get("burstiness", 1.0)), None
    if process == "mmpp":
        return 1.0, (tuple(arrivals["rates_per_s"]), tuple(arrivals["sojourns_s"]))
    return 1.0, None


def lengths_of(load: Load, config: EngineConfig) -> tuple[Lengths, float]:
    """Lengths that an engine with these settings serves, and the share of the requests that it rejects.

    Raises:
        ValueError: it rejects all of them.

    """
    law = load.law
    total = np.minimum(law.prompt + law.output, config.max_model_len)
    served = (law.prompt < config.max_model_len) & (total <= config.most_tokens)
    if served.all() and np.array_equal(total, law.prompt + law.output):
        return law, 0.0
    if not served.any():
        raise ValueError(
            "no request can be served: all need more than max_model_len or the KV cache allows; raise "
            "max_model_len or num_gpu_blocks"
        )
    cut = Lengths(law.prompt[served], (total - law.prompt)[served])
    return cut, 1 - float(served.mean())
