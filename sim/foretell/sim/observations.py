"""What a server was seen to do at an operating point: benchmark results and Prometheus scrapes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LATENCIES = ("ttft", "tpot", "itl", "e2e")

_HISTOGRAMS = {  # latency → vLLM's names, newest first; sums are in seconds
    "ttft": ("vllm:time_to_first_token_seconds",),
    "tpot": ("vllm:request_time_per_output_token_seconds",),
    "itl": ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
    "e2e": ("vllm:e2e_request_latency_seconds",),
}
_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{.*\})?\s+(\S+)(?:\s+-?\d+)?$")


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Mean latencies under a load, and what is known of the load.

    Attributes:
        name: of the file.
        seconds: mean latency by name of LATENCIES.
        num_requests: that were finished; None if unknown.
        mean_prompt, mean_output: tokens a request; None if unknown.
        concurrency: bound on the requests in flight; None without.
        rate_per_s: of Poisson arrivals, inf for all at once; None if the file does not say.
        burstiness: of the arrivals, 1 for Poisson.
        lengths: (prompt tokens, output tokens) of every request, where the file lists them.

    """

    name: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    num_requests: int | None = None
    mean_prompt: float | None = None
    mean_output: float | None = None
    concurrency: int | None = None
    rate_per_s: float | None = None
    burstiness: float = 1.0
    lengths: tuple[tuple[int, ...], tuple[int, ...]] | None = field(default=None, repr=False)


def read_bench(path: Path) -> OperatingPoint:
    """Read a result of `vllm bench serve --save-result`.

    Raises:
        ValueError: not such a file, with the key that is missing or out of range.

    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or "mean_ttft_ms" not in values:
        raise ValueError(f"{path}: mean_ttft_ms is missing; give a result of vllm bench serve --save-result")

    def number(key: str, *, least: float = 0.0) -> float:
        value = values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{path}: {key}: {value!r} is not a number")
        if not (math.isfinite(value) and value > least):
            raise ValueError(f"{path}: {key}: {value!r} is not a finite number > {least:g}")
        return float(value)

    completed = int(number("completed"))
    output = number("total_output_tokens") / completed
    seconds = {"ttft": number("mean_ttft_ms") / 1e3}
    if output > 1:
        seconds["tpot"] = number("mean_tpot_ms") / 1e3
    limit = values.get("max_concurrency")
    rate = values.get("request_rate")
    if rate is not None:
        rate = math.inf if rate in ("inf", math.inf) else number("request_rate")
    if limit is None and rate is None:
        raise ValueError(f"{path}: neither max_concurrency nor request_rate says what the load was")
    return OperatingPoint(
        path.name,
        seconds,
        completed,
        number("total_input_tokens") / completed,
        output,
        None if limit is None else int(number("max_concurrency")),
        rate,
        1.0 if values.get("burstiness") is None else number("burstiness"),
        _lengths(path, values),
    )


def _lengths(path: Path, values: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The lengths that --save-detailed lists; failed requests have none of their answer."""
    lists = [values.get(name) for name in ("input_lens", "output_lens")]
    if any(each is None for each in lists):
        return None
    prompts, outputs = lists
    if not (isinstance(prompts, list) and isinstance(outputs, list) and len(prompts) == len(outputs)):
        raise ValueError(f"{path}: input_lens and output_lens are not lists of one length")
    if not all(type(each) is int for each in (*prompts, *outputs)):
        raise ValueError(f"{path}: input_lens and output_lens must hold whole numbers")
    kept = [(p, o) for p, o in zip(prompts, outputs, strict=True) if p > 0 and o > 0]
    return (tuple(p for p, _ in kept), tuple(o for _, o in kept)) if kept else None


def read_metrics(after: Path, before: Path | None = None) -> OperatingPoint:
    """Read a scrape of vLLM's /metrics, or what happened between two.

    Raises:
        ValueError: not a scrape of vLLM, nothing happened, or the server was started anew between.

    """
    now = _scrape(after)
    then = {} if before is None else _scrape(before)
    counts = {name: value - then.get(name, 0.0) for name, value in now.items()}
    back = [n for n, v in counts.items() if v < 0 and n.endswith(("_sum", "_count", "_total"))]
    if back:
        raise ValueError(f"{after}: {back[0]} is less than in {before}; the server was started between them")

    def mean(names: tuple[str, ...]) -> float | None:
        for name in names:
            count = counts.get(f"{name}_count", 0.0)
            if count > 0:
                return counts.get(f"{name}_sum", 0.0) / count
        return None

    found = {latency: mean(names) for latency, names in _HISTOGRAMS.items()}
    seconds = {latency: value for latency, value in found.items() if value is not None and value > 0}
    if "ttft" not in seconds or not {"tpot", "itl"} & set(seconds):
        raise ValueError(
            f"{after}: no {_HISTOGRAMS['ttft'][0]} and {_HISTOGRAMS['itl'][0]} with any count; "
            "give the text of vLLM's /metrics after some requests"
        )
    if "tpot" in seconds:
        seconds.pop("itl", None)
    seconds.pop("e2e", None)  # it is the sum of the others, and would count them twice
    finished = counts.get(f"{_HISTOGRAMS['e2e'][0]}_count", 0.0)
    prompt = mean(("vllm:request_prompt_tokens",))
    output = mean(("vllm:request_generation_tokens",))
    return OperatingPoint(after.name, seconds, int(finished) or None, prompt, output)


def _scrape(path: Path) -> dict[str, float]:
    """Sums of a scrape's samples by name, over their labels; buckets are left aside."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a UTF-8 text file") from None
    totals: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line.strip())
        try:
            name, value = (match[1], float(match[2])) if match else ("", math.nan)
        except ValueError:
            name, value = "", math.nan
        if not name:
            raise ValueError(f"{path}: line {number} is not a sample of Prometheus' text format")
        if name.startswith("vllm:") and not name.endswith("_bucket"):
            totals[name] = totals.get(name, 0.0) + value
    return totals
