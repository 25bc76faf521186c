"""Results of load generators, read back as traces: vllm bench serve, guidellm, inference-perf.

They are replayed open loop, at the times at which the requests were sent. Failed requests are dropped and
counted in the notes; times are put in order and start at 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foretell.traces.table import Trace
from foretell.traces.textfile import BadFileError, checked
from foretell.traces.textjson import json_document, number, whole


def read_vllm_bench(path: Path) -> Trace:
    """Read the JSON of `vllm bench serve --save-result --save-detailed`.

    Without start_times (older versions) the arrivals are known only at request_rate inf: all at 0, with
    max_concurrency as the bound of a closed loop.

    Raises:
        ValueError: not detailed, or paced without start_times.

    """
    result = _mapping(json_document(path))
    for key in ("input_lens", "output_lens"):
        if not isinstance(result.get(key), list):
            message = "missing; save the result with --save-result --save-detailed"
            raise BadFileError(path, None, key, message)
    prompts, outputs, starts = result["input_lens"], result["output_lens"], result.get("start_times")
    bound, rate = result.get("max_concurrency"), result.get("request_rate", "inf")
    notes: tuple[str, ...] = ()
    if not isinstance(starts, list | None):
        raise BadFileError(path, None, "start_times", "not a list of times")
    if starts is None:
        if not (rate in ("inf", "Infinity") or rate == math.inf):
            message = f"missing, and request_rate is {rate}: arrivals are unknown; save with a newer vLLM"
            raise BadFileError(path, None, "start_times", message)
        starts = [0.0] * len(prompts)
        notes = ("no start_times: every request is asked at 0",)
    else:
        if bound is not None:
            notes = (f"recorded with max_concurrency {bound}: replayed at its recorded times",)
        bound = None
    for key, values in (("output_lens", outputs), ("start_times", starts)):
        if len(values) != len(prompts):
            raise BadFileError(path, None, key, f"{len(values)} values; input_lens has {len(prompts)}")
    rows = [
        {"start_times": s, "input_lens": p, "output_lens": o}
        for s, p, o in zip(starts, prompts, outputs, strict=True)
    ]
    return _from_rows(path, rows, ("start_times", "input_lens", "output_lens"), notes, concurrency=bound)


def read_guidellm(path: Path) -> Trace:
    """Read the benchmarks.json of guidellm, when it holds one benchmark.

    Raises:
        ValueError: several benchmarks (a sweep): which one is meant is for the user to say.

    """
    benchmarks = _mapping(json_document(path)).get("benchmarks")
    if not isinstance(benchmarks, list) or len(benchmarks) != 1:
        count = len(benchmarks) if isinstance(benchmarks, list) else "no"
        message = f"{count} benchmarks; keep the one to replay"
        raise BadFileError(path, None, "benchmarks", message)
    requests = _mapping(_mapping(benchmarks[0]).get("requests"))
    done = requests.get("successful")
    if not isinstance(done, list):
        raise BadFileError(path, None, "requests.successful", "missing; save the requests with the report")
    others = (requests.get(kind) for kind in ("errored", "incomplete"))
    failed = sum(len(items) for items in others if isinstance(items, list))
    rows = [_guidellm_row(_mapping(item)) for item in done]
    notes = (f"dropped {failed} requests that did not succeed",) if failed else ()
    return _from_rows(path, rows, ("request_start_time", "prompt_tokens", "output_tokens"), notes)


def _guidellm_row(item: Mapping[str, Any]) -> dict[str, Any]:
    timings = _path(item, "info", "timings")
    start = _first(item.get("request_start_time"), item.get("start_time"), timings.get("request_start"))
    return {
        "request_start_time": start,
        "prompt_tokens": _first(item.get("prompt_tokens"), _usage(item, "input_metrics")),
        "output_tokens": _first(item.get("output_tokens"), _usage(item, "output_metrics")),
        "request_id": item.get("request_id"),
    }


def _usage(item: Mapping[str, Any], key: str) -> Any:
    metrics = _path(item, key)
    return _first(metrics.get("total_tokens"), metrics.get("text_tokens"))


def read_inference_perf(path: Path) -> Trace:
    """Read inference-perf's per_request_lifecycle_metrics.json.

    Output lengths are the server's where it reported them, else the tool's own recount, which may differ.
    """
    items = json_document(path)
    if not isinstance(items, list):
        raise BadFileError(path, None, None, "not a list of requests; inference-perf writes one")
    rows, failed, recounted = [], 0, 0
    for item in map(_mapping, items):
        info = _mapping(item.get("info"))
        if item.get("error") or not info:
            failed += 1
            continue
        usage = _path(info, "response_metrics", "server_usage")
        recounted += "completion_tokens" not in usage
        prompt = _first(
            usage.get("prompt_tokens"),
            _path(info, "request_metrics", "text").get("input_tokens"),
            info.get("input_tokens"),
        )
        output = _first(
            usage.get("completion_tokens"),
            _path(info, "response_metrics").get("output_tokens"),
            info.get("output_tokens"),
        )
        rows.append({"start_time": item.get("start_time"), "input_tokens": prompt, "output_tokens": output})
    notes: tuple[str, ...] = (f"dropped {failed} requests that failed",) if failed else ()
    if recounted:
        notes += (f"{recounted} output lengths are the client's recount, not the server's",)
    return _from_rows(path, rows, ("start_time", "input_tokens", "output_tokens"), notes)


def _from_rows(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    names: tuple[str, str, str],
    notes: tuple[str, ...],
    concurrency: int | None = None,
) -> Trace:
    if not rows:
        raise BadFileError(path, None, None, "no successful requests; a trace needs at least one")
    table = []
    for index, row in enumerate(rows):
        try:
            table.append((number(path, None, names[0], row), *(whole(path, None, n, row) for n in names[1:])))
        except BadFileError as error:
            raise ValueError(f"{error} (request {index})") from None
    arrival, prompt, output = (np.array(column) for column in zip(*table, strict=True))
    kept = np.flatnonzero((prompt != 0) & (output != 0))
    if len(kept) < len(rows):
        notes += (f"dropped {len(rows) - len(kept)} requests with 0 {names[1]} or 0 {names[2]} (failures)",)
    if len(kept) == 0:
        raise BadFileError(path, None, names[2], "0 in every request; a trace needs requests with an answer")
    kept = kept[np.argsort(arrival[kept], kind="stable")]
    ids = [row.get("request_id") for row in rows]
    columns = {
        "arrival_s": arrival[kept] - arrival[kept[0]],
        "prompt_tokens": prompt[kept],
        "output_tokens": output[kept],
        "request_id": [str(ids[i]) for i in kept.tolist()] if None not in ids else None,
        "concurrency": concurrency,
        "name": path.name,
        "notes": notes,
    }
    return checked(path, lambda row: None, dict(zip(columns, names, strict=False)), columns)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _path(item: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        item = _mapping(item.get(key))
    return item


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return an object as it is, and anything else as one without keys."""
    return value if isinstance(value, dict) else {}
