"""Recorded runs of real vLLM: a folder each, read into what a replay and a forecast take.

Files: config.json (`engine_args`, `scheduler_meta`, `model_config`), trace.csv (the requests), requests.csv
and itls.jsonl (when their tokens came), steps.csv (when steps ran), batch.csv.gz (what they carried).
Steps are numbered from 0, only those that were not empty. Times are seconds on the run's clock.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.sim.config import EngineConfig
from foretell.sim.schema import naming
from foretell.traces import Trace

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BatchRow = tuple[str, int, int]
"""Request id, tokens scheduled, tokens computed before."""
RUN_FILES = ("config.json", "trace.csv", "requests.csv", "itls.jsonl", "steps.csv", "batch.csv.gz")


@dataclass(frozen=True, slots=True, eq=False)
class RecordedRun:
    """One run. Arrays over requests have the trace's rows; all answers were finished.

    Attributes:
        folder, name: where it lies.
        model: what to call its model; `model_key`: equal for runs of equal models.
        config: the engine's settings.
        trace: the requests; arrivals are those that the client meant to keep.
        added_s: when the engine took each.
        token_s: by request, when each of its tokens was handed to the client, as summed from rounded gaps.
        token_steps: by request, the step that made each of its tokens.
        n_preemptions, cached_tokens: of each request.
        starts_s, ends_s: of the steps.
        batches: entries of each step, in scheduling order; `blocks_used` KV blocks after scheduling.
        about: config.json.

    """

    folder: Path
    name: str
    model: str
    model_key: str
    config: EngineConfig
    trace: Trace
    added_s: Floats
    token_s: tuple[Floats, ...] = field(repr=False)
    token_steps: tuple[Ints, ...] = field(repr=False)
    n_preemptions: Ints
    cached_tokens: Ints
    starts_s: Floats
    ends_s: Floats
    batches: list[list[BatchRow]] = field(repr=False)
    blocks_used: Ints
    about: Mapping[str, Any] = field(repr=False)

    @property
    def is_burst(self) -> bool:
        """Whether all requests came before the first step was over."""
        return bool(self.trace.arrival_s[-1] <= self.ends_s[0])

    def busy_s(self) -> Floats:
        """Seconds from each step's start to the next one's; to its own end where the engine then ran dry."""
        begin = np.append(self.starts_s[1:], np.inf)
        finish = np.sort([times[-1] for times in self.token_s])
        taken = np.searchsorted(np.sort(self.added_s), self.ends_s, side="right")
        left = taken - np.searchsorted(finish, begin, side="left")
        on = (left > 0) & np.isfinite(begin)
        return np.asarray(np.where(on, begin, self.ends_s) - self.starts_s)


def run_folders(folder: Path) -> list[Path]:
    """The runs in a folder, by name: itself, its own folders, those of its `runs` or of vllm-cpu/runs.

    Raises:
        ValueError: there is none.

    """
    if (folder / RUN_FILES[0]).is_file():
        return [folder]
    for place in (folder, folder / "runs", folder / "vllm-cpu" / "runs"):
        found = sorted(path.parent for path in place.glob(f"*/{RUN_FILES[0]}"))
        if found:
            return found
    raise ValueError(f"{folder}: no recorded runs here; a run is a folder with {', '.join(RUN_FILES)}")


def load_run(folder: Path) -> RecordedRun:
    """Read a run.

    Raises:
        ValueError: a file is missing or not what it should be, or files contradict each other; one line.

    """
    for name in RUN_FILES:
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: {name} is missing; a run has {', '.join(RUN_FILES)}")
    about = _object(folder / "config.json")
    trace = _trace(folder / "trace.csv")
    ids = list(trace.ids())
    requests = _Table(folder / "requests.csv", ids)
    steps = _Table(folder / "steps.csv")
    starts = steps.numbers("t_start_s")
    if (steps.numbers("step") != np.arange(len(starts))).any() or (np.diff(starts) < 0).any():
        raise ValueError(f"{folder / 'steps.csv'}: column step: steps must be 0, 1, 2, ... in order of time")
    batches, sampled = _batches(folder / "batch.csv.gz", len(starts), ids)
    tokens = _tokens(folder / "itls.jsonl", requests, ids)
    for name, times, made in zip(ids, tokens, sampled, strict=True):
        if len(times) != len(made):
            raise ValueError(
                f"{folder}: request {name} has {len(times)} tokens in itls.jsonl, {len(made)} in batch.csv.gz"
            )
    return RecordedRun(
        folder=folder,
        name=folder.name,
        model=_model_name(about),
        model_key=json.dumps(about.get("model_config") or about.get("model"), sort_keys=True),
        config=_settings(folder / "config.json", about),
        trace=trace,
        added_s=requests.numbers("added_s"),
        token_s=tokens,
        token_steps=sampled,
        n_preemptions=requests.whole("n_preemptions"),
        cached_tokens=requests.whole("cached_tokens"),
        starts_s=starts,
        ends_s=starts + steps.numbers("dur_s"),
        batches=batches,
        blocks_used=steps.whole("kv_blocks_used"),
        about=about,
    )


class _Table:
    """Columns of a CSV file; with `ids`, its rows are put in their order, a row each."""

    def __init__(self, path: Path, ids: list[str] | None = None) -> None:
        self.path = path
        self.rows = list(rows(path))
        if not self.rows:
            raise ValueError(f"{path}: no rows in it")
        self.lines = list(range(2, len(self.rows) + 2))
        if ids is not None:
            names = self.text("request_id")
            place = {name: i for i, name in enumerate(names)}
            missing = [name for name in ids if name not in place]
            if missing or len(names) != len(ids):
                wrong = missing[0] if missing else next(n for n in names if n not in set(ids))
                raise ValueError(
                    f"{path}: request {wrong} is not in both this and trace.csv; all must finish"
                )
            self.lines = [place[name] + 2 for name in ids]
            self.rows = [self.rows[place[name]] for name in ids]

    def text(self, column: str) -> list[str]:
        if column not in self.rows[0]:
            raise ValueError(f"{self.path}: column {column} is missing")
        return [row[column] for row in self.rows]

    def _values(self, column: str, kind: Callable[[str], Any], what: str) -> list[Any]:
        found = []
        for line, cell in zip(self.lines, self.text(column), strict=True):
            try:
                value = kind(cell)
            except (TypeError, ValueError):
                value = math.nan
            if not math.isfinite(value):
                raise ValueError(f"{self.path}: line {line}, column {column}: {cell!r} is not a {what}")
            found.append(value)
        return found

    def numbers(self, column: str) -> Floats:
        return np.asarray(self._values(column, float, "finite number"), dtype=np.float64)

    def whole(self, column: str) -> Ints:
        return np.asarray(self._values(column, int, "whole number"), dtype=np.int64)


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV file, gzip or not.

    Raises:
        ValueError: it cannot be read.

    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from None
    yield from csv.DictReader(io.StringIO(text))


def read_batches(path: Path) -> list[list[BatchRow]]:
    """The entries of every step of a batch.csv.gz, in scheduling order."""
    batches: list[list[BatchRow]] = []
    for row in rows(path):
        step = int(row["step"])
        while len(batches) <= step:
            batches.append([])
        entry = row["request_id"], int(row["num_scheduled_tokens"]), int(row["num_computed_before"])
        batches[step].append(entry)
    return batches


def segments_of(row: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """The shared prefix of a row of trace.csv: the first `prefix_tokens` of stream `prefix_group`."""
    shared = int(row.get("prefix_tokens") or 0) if int(row.get("prefix_group") or -1) >= 0 else 0
    return ((row["prefix_group"], shared),) if shared else ()


def _batches(path: Path, steps: int, ids: list[str]) -> tuple[list[list[BatchRow]], tuple[Ints, ...]]:
    made: dict[str, list[int]] = {name: [] for name in ids}
    try:
        batches = read_batches(path)
        for row in rows(path):
            if int(row["samples_token"]):
                made[row["request_id"]].append(int(row["step"]))
    except KeyError as error:
        raise ValueError(f"{path}: no column, or no request of trace.csv, is named {error}") from None
    except TypeError:
        raise ValueError(f"{path}: a line is cut short") from None
    if len(batches) != steps:
        raise ValueError(f"{path}: has {len(batches)} steps, steps.csv {steps}")
    return batches, tuple(np.asarray(made[name], dtype=np.int64) for name in ids)


def _tokens(path: Path, requests: _Table, ids: list[str]) -> tuple[Floats, ...]:
    first = requests.numbers("arrival_s") + requests.numbers("ttft_s")
    gaps: dict[str, Floats] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            values = json.loads(line)
            gaps[str(values["id"])] = np.asarray(values["itl"], dtype=np.float64)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not lines of {{id, itl: [seconds, ...]}} ({error})") from None
    missing = [name for name in ids if name not in gaps]
    if missing:
        raise ValueError(f"{path}: request {missing[0]} is missing")
    return tuple(
        np.cumsum(np.concatenate([[start], gaps[name]])) for name, start in zip(ids, first, strict=True)
    )


def _trace(path: Path) -> Trace:
    table = _Table(path)
    priority = table.whole("priority") if "priority" in table.rows[0] else None
    with naming(path):
        return Trace(
            table.numbers("arrival_s"),
            table.whole("prompt_tokens"),
            table.whole("output_tokens"),
            request_id=table.text("id"),
            priority=priority,
            segments=[segments_of(row) for row in table.rows],
        )


def _object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: not a JSON object")
    return values


def _settings(path: Path, about: Mapping[str, Any]) -> EngineConfig:
    args, scheduler = about.get("engine_args"), about.get("scheduler_meta")
    if not isinstance(args, dict) or not isinstance(scheduler, dict):
        raise ValueError(f"{path}: engine_args and scheduler_meta are missing; they hold the settings")
    for name in ("async_scheduling", "speculative_config"):
        if args.get(name):
            raise ValueError(f"{path}: engine_args.{name}: {args[name]!r} is not replayed; record without it")
    try:
        return EngineConfig(
            num_gpu_blocks=scheduler["num_gpu_blocks"],
            block_size=scheduler["block_size"],
            max_num_seqs=scheduler["max_num_running_reqs"],
            max_num_batched_tokens=scheduler["max_num_scheduled_tokens"],
            max_model_len=scheduler["max_model_len"],
            enable_chunked_prefill=scheduler["chunked"],
            long_prefill_token_threshold=args.get("long_prefill_token_threshold", 0),
            scheduler_reserve_full_isl=scheduler["reserve_full_isl"],
            watermark=scheduler["watermark"],
            scheduling_policy=args.get("scheduling_policy", "fcfs"),
            enable_prefix_caching=scheduler["prefix_caching"],
        )
    except KeyError as error:
        raise ValueError(f"{path}: scheduler_meta.{error.args[0]} is missing") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _model_name(about: Mapping[str, Any]) -> str:
    if isinstance(about.get("model"), str):
        return str(about["model"])
    config = about.get("model_config") or {}
    return (
        f"{config.get('model_type', 'model')}-{config.get('num_hidden_layers')}x{config.get('hidden_size')}"
    )
