"""Step logs: what every engine step carried and how long it took, from a user's file or a recorded run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models import StepLoad

Floats = npt.NDArray[np.float64]

COLUMNS = (*StepLoad._fields, "dt_s")
"""Columns of a step log: the figures of `StepLoad`, and the step's seconds."""
_DERIVED = ("prefill_context", "sampled")
"""Columns that may be left out: whole prompts are assumed, and that every entry samples a token."""
_RECORDED = ("steps.csv", "batch.csv.gz")


@dataclass(frozen=True, slots=True)
class StepLog:
    """Steps of one or more runs.

    Attributes:
        load: seven arrays of n.
        seconds: (n,), > 0.
        run: (n,), the run of each step, from 0.
        names: of the runs.

    """

    load: StepLoad
    seconds: Floats
    run: npt.NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.seconds)

    def only(self, runs: list[int]) -> StepLog:
        """The steps of some runs."""
        keep = np.isin(self.run, runs)
        return self.where(keep)

    def where(self, keep: npt.NDArray[np.bool_]) -> StepLog:
        """The steps that are marked."""
        return StepLog(
            StepLoad(*(np.asarray(f)[keep] for f in self.load)),
            self.seconds[keep],
            self.run[keep],
            self.names,
        )


def read_step_logs(paths: list[Path]) -> StepLog:
    """Read step logs, a run each.

    A log is a CSV file (gzip or not) or JSON lines with `COLUMNS`, or a folder that holds steps.csv
    (step, dur_s) and batch.csv.gz (step, num_scheduled_tokens, num_computed_before, phase: d decodes).

    Raises:
        ValueError: a file that cannot be read, lacks a column, or holds what no step can; with its line.

    """
    logs = [_recorded(path) if path.is_dir() else _plain(path) for path in paths]
    if not logs:
        raise ValueError("step logs: none given")
    load = StepLoad(*(np.concatenate([log[0][i] for log in logs]) for i in range(7)))
    seconds = np.concatenate([log[1] for log in logs])
    run = np.repeat(np.arange(len(logs)), [len(log[1]) for log in logs])
    return StepLog(load, seconds, run, tuple(path.stem if path.is_file() else path.name for path in paths))


def _plain(path: Path) -> tuple[StepLoad, Floats]:
    frame = _frame(path)
    missing = [c for c in COLUMNS if c not in frame and c not in _DERIVED]
    if missing:
        raise ValueError(f"{path}: column {missing[0]} is missing; a step log has {', '.join(COLUMNS)}")
    values = {name: _numbers(path, frame, name) for name in COLUMNS if name in frame}
    values.setdefault("prefill_context", values["prefill_tokens"])
    values.setdefault("sampled", values["prefill_seqs"] + values["decode_seqs"])
    load = StepLoad(*(values[name] for name in StepLoad._fields))
    _possible(path, load, values["dt_s"])
    return load, values["dt_s"]


def _recorded(folder: Path) -> tuple[StepLoad, Floats]:
    """Sum a recorded run's batches to step loads."""
    for name in _RECORDED:
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: no {name} in this folder; give a step log, or a folder with both")
    steps, batch = _frame(folder / _RECORDED[0]), _frame(folder / _RECORDED[1])
    for frame, name, columns in (
        (steps, _RECORDED[0], ("step", "dur_s")),
        (batch, _RECORDED[1], ("step", "num_scheduled_tokens", "num_computed_before", "phase")),
    ):
        absent = [c for c in columns if c not in frame]
        if absent:
            raise ValueError(f"{folder / name}: column {absent[0]} is missing")
    at = _numbers(folder / _RECORDED[0], steps, "step").astype(np.int64)
    seconds = _numbers(folder / _RECORDED[0], steps, "dur_s")
    n = _numbers(folder / _RECORDED[1], batch, "num_scheduled_tokens")
    c = _numbers(folder / _RECORDED[1], batch, "num_computed_before")
    step = _numbers(folder / _RECORDED[1], batch, "step").astype(np.int64)
    order = np.argsort(at, kind="stable")
    place = np.searchsorted(at[order], step)
    if not np.isin(step, at).all():
        raise ValueError(f"{folder / _RECORDED[1]}: step {step[~np.isin(step, at)][0]} is not in steps.csv")
    row = order[place]
    decodes = (batch["phase"] == "d").to_numpy()
    samples = batch["samples_token"].to_numpy(dtype=float) if "samples_token" in batch else np.ones(len(n))

    def total(values: Any, entries: npt.NDArray[np.bool_]) -> Floats:
        weights = np.broadcast_to(values, n.shape)[entries]
        return np.asarray(np.bincount(row[entries], weights=weights, minlength=len(at)), dtype=np.float64)

    load = StepLoad(
        total(n, ~decodes),
        total(n * (c + (n + 1) / 2), ~decodes),
        total(c + n, ~decodes),
        total(1.0, ~decodes),
        total(1.0, decodes),
        total(c + 1, decodes),
        total(samples, np.ones(len(n), dtype=bool)),
    )
    _possible(folder / _RECORDED[0], load, seconds)
    return load, seconds


def _frame(path: Path) -> Any:
    import pandas as pd

    try:
        if ".jsonl" in path.suffixes or path.suffix == ".ndjson":
            frame = pd.DataFrame([json.loads(line) for line in path.read_text("utf-8").splitlines() if line])
        else:
            frame = pd.read_csv(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, AttributeError) as error:  # pandas' and json's own, and bytes that are no text
        raise ValueError(f"{path}: not a step log: {' '.join(str(error).split())}") from None
    if not len(frame):
        raise ValueError(f"{path}: no steps in it")
    return frame


def _numbers(path: Path, frame: Any, name: str) -> Floats:
    import pandas as pd

    values = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64)
    good = np.isfinite(values) & (values >= 0)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(
            f"{path}: line {row + 2}, column {name}: {frame[name].iloc[row]!r} is not a finite number >= 0"
        )
    return np.asarray(values)


def _possible(path: Path, load: StepLoad, seconds: Floats) -> None:
    entries = np.asarray(load.prefill_seqs + load.decode_seqs)
    for wrong, message in (
        (seconds <= 0, "the step takes no time; leave out what is not a step"),
        (entries <= 0, "the step has no entries (prefill_seqs and decode_seqs are 0); leave it out"),
        (
            np.asarray(load.prefill_tokens) < np.asarray(load.prefill_seqs),
            "prefill_tokens is less than prefill_seqs; every entry schedules a token",
        ),
        (
            np.asarray(load.decode_context) < np.asarray(load.decode_seqs),
            "decode_context is less than decode_seqs; every decode reads its own token at least",
        ),
    ):
        if wrong.any():
            raise ValueError(f"{path}: line {int(np.argmax(wrong)) + 2}: {message}")
