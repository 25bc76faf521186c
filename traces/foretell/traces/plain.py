"""The canonical columns in a plain CSV or JSONL file, read and written.

id, arrival_s, prompt_tokens, output_tokens, and optionally prefix_group, prefix_tokens (the first
prefix_tokens tokens are those of stream prefix_group; empty or -1 is none), prefix_chain (several segments,
"id:tokens|id:tokens"), priority, session, think_s, model, cancel_s (empty: never), accepted (whole numbers,
spaces between).
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from foretell.traces.table import Chain, IntArray, Trace
from foretell.traces.textfile import (
    BadFileError,
    Parser,
    checked,
    csv_line,
    floats,
    integers,
    optional,
    read_columns,
    texts,
)
from foretell.traces.textjson import json_lines, number, whole

REQUIRED = ("arrival_s", "prompt_tokens", "output_tokens")
IDS = ("id", "request_id")
"""Either name of the column is understood; `id` is written."""
COLUMNS = (
    *IDS,
    *REQUIRED,
    "prefix_group",
    "prefix_tokens",
    "prefix_chain",
    "priority",
    "session",
    "think_s",
    "model",
    "cancel_s",
    "accepted",
)
_NUMBERS = (*REQUIRED, "prefix_tokens", "priority", "think_s", "cancel_s")
_NUMBER, _WHOLE = "a number", "a whole number"


def read_plain_csv(path: Path) -> Trace:
    """Read a CSV file in the canonical columns; others are left aside."""
    chains = _ChainParser()
    parsers: dict[str, Parser] = {
        "id": list,
        "request_id": list,
        "arrival_s": floats,
        "prompt_tokens": integers,
        "output_tokens": integers,
        "prefix_group": texts(),
        "prefix_tokens": optional(integers, "0"),
        "prefix_chain": chains,
        "priority": optional(integers, "0"),
        "session": texts(),
        "think_s": optional(floats, "0"),
        "model": texts(),
        "cancel_s": optional(floats, "nan"),
        "accepted": _counts,
    }
    wanted = dict.fromkeys(parsers, _WHOLE) | dict.fromkeys(("arrival_s", "think_s", "cancel_s"), _NUMBER)
    wanted["accepted"] = "whole numbers with spaces between, such as 2 0 1"
    wanted["prefix_chain"] = "a chain such as system:512|user7:64"
    return from_columns(path, lambda row: csv_line(path, row), read_columns(path, parsers, wanted))


def read_plain_jsonl(path: Path) -> Trace:
    """Read a JSONL file with the canonical columns as keys; others are left aside."""
    given: dict[str, list[Any]] = {}
    lines: list[int] = []
    for line, item in json_lines(path):
        if not lines:
            given = {name: [] for name in COLUMNS if name in item}
            for name in REQUIRED:
                number(path, line, name, item)
        for name in COLUMNS:
            if name in item and name not in given:  # an optional one that the rows before did without
                given[name] = [_cell(path, line, name, {}) for _ in lines]
        lines.append(line)
        for name, values in given.items():
            values.append(_cell(path, line, name, item))
    if not lines:
        raise BadFileError(path, None, None, "no requests; a trace needs at least one row")
    columns: dict[str, Any] = {
        name: np.array(values) if name in _NUMBERS else values for name, values in given.items()
    }
    return from_columns(path, lambda row: lines[row], columns)


def _cell(path: Path, line: int, name: str, item: dict[str, Any]) -> Any:
    if name in REQUIRED or (name in _NUMBERS and item.get(name) is not None):
        return (number if name.endswith("_s") else whole)(path, line, name, item)
    if name in _NUMBERS:
        return math.nan if name == "cancel_s" else 0
    value = item.get(name)
    if name == "accepted":
        return _accepted_of(path, line, value)
    if name == "prefix_chain":
        return _chain_of(path, line, value)
    return "" if value is None else str(value)


def _chain_of(path: Path, line: int, value: Any) -> Chain:
    try:
        if isinstance(value, str):
            return _ChainParser()([value])[0]
        return tuple([(str(name), int(tokens)) for name, tokens in value or ()])
    except (TypeError, ValueError):
        message = f'{value!r} is not a chain such as [["system", 512], ["user7", 64]]'
        raise BadFileError(path, line, "prefix_chain", message) from None


def _counts(cells: Sequence[str]) -> list[tuple[int, ...]]:
    """Parse cells of whole numbers with spaces or semicolons between."""
    return [tuple([int(count) for count in cell.replace(";", " ").split()]) for cell in cells]


def _accepted_of(path: Path, line: int, value: Any) -> tuple[int, ...]:
    try:
        if isinstance(value, str):
            return _counts([value])[0]
        if any(isinstance(count, bool) or count != int(count) for count in value or ()):
            raise ValueError
        return tuple([int(count) for count in value or ()])
    except (TypeError, ValueError):
        message = f"{value!r} is not a list of whole numbers such as [2, 0, 1]"
        raise BadFileError(path, line, "accepted", message) from None


def from_columns(path: Path, line_of: Any, given: dict[str, Any]) -> Trace:
    """Make a trace of canonical columns as read."""
    ids = given.pop("id", None)
    names = {"segments": "prefix_tokens", "request_id": "request_id" if ids is None else "id"}
    columns = {name: given[name] for name in (*REQUIRED, "priority", "think_s", "cancel_s") if name in given}
    columns["request_id"] = given.get("request_id") if ids is None else ids
    for name in ("session", "model", "accepted"):
        values = given.get(name)
        columns[name] = values if values is not None and any(values) else None
    if "prefix_chain" in given:
        names["segments"] = "prefix_chain"
        chains = given["prefix_chain"]
        columns["segments"] = chains if any(chains) else None
    elif "prefix_group" in given and "prefix_tokens" in given:
        columns["segments"] = _grouped(path, line_of, given["prefix_group"], given["prefix_tokens"])
    elif columns["session"] is not None:
        columns["segments"] = history_chains(
            columns["session"], columns["prompt_tokens"], columns["output_tokens"]
        )
    return checked(path, line_of, names, {**columns, "name": path.name})


def history_chains(session: Sequence[str], prompts: IntArray, outputs: IntArray) -> list[Chain] | None:
    """Chains of conversations whose turns contain their history; None where a prompt is too short for it."""
    held: dict[str, int] = {}
    chains: list[Chain] = []
    for name, prompt, output in zip(session, prompts.tolist(), outputs.tolist(), strict=True):
        if name and prompt < held.get(name, 0):
            return None
        held[name] = prompt + output
        chains.append(((name, prompt + output),) if name else ())
    return chains


def _grouped(path: Path, line_of: Any, groups: Sequence[str], tokens: IntArray) -> list[Chain] | None:
    if (below := tokens < 0).any():
        row = int(below.argmax())
        raise BadFileError(path, line_of(row), "prefix_tokens", f"{tokens[row]} is negative; 0 means none")
    if not tokens.any():
        return None
    known: dict[tuple[str, int], Chain] = {}
    chains: list[Chain] = []
    for key in zip(groups, tokens.tolist(), strict=True):
        chain = known.get(key)
        if chain is None:
            group, n = key
            known[key] = chain = () if n == 0 or group in ("", "-1") else (key,)
        chains.append(chain)
    return chains if any(chains) else None


class _ChainParser:
    """Parses "id:tokens|id:tokens" cells, one object for each distinct chain and segment."""

    def __init__(self) -> None:
        self._chains: dict[str, Chain] = {"": ()}
        self._segments: dict[str, tuple[str, int]] = {}

    def __call__(self, cells: Sequence[str]) -> list[Chain]:
        chains = self._chains
        for cell in cells:
            if cell not in chains:
                chains[cell] = tuple([self._segment(part) for part in cell.split("|")])
        return [chains[cell] for cell in cells]

    def _segment(self, part: str) -> tuple[str, int]:
        segment = self._segments.get(part)
        if segment is None:
            name, colon, tokens = part.rpartition(":")
            if not colon:
                raise ValueError(part)
            self._segments[part] = segment = (unquote(name), int(tokens))
        return segment


def write_csv(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a trace as a plain CSV file (`concurrency` and notes are not kept). Nothing partial is left.

    Raises:
        OSError: the place cannot be written.

    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            columns = _written(trace)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _written(trace: Trace) -> dict[str, Sequence[Any]]:
    columns: dict[str, Sequence[Any]] = {
        "id": trace.ids(),
        "arrival_s": trace.arrival_s.tolist(),
        "prompt_tokens": trace.prompt_tokens.tolist(),
        "output_tokens": trace.output_tokens.tolist(),
    }
    chains = trace.segments
    if chains is not None and all(_is_group(chain) for chain in chains):
        columns["prefix_group"] = [chain[0][0] if chain else "" for chain in chains]
        columns["prefix_tokens"] = [chain[0][1] if chain else 0 for chain in chains]
    elif chains is not None:
        columns["prefix_chain"] = ["|".join([f"{quote(str(i))}:{n}" for i, n in chain]) for chain in chains]
    elif trace.session is not None:
        columns["prefix_chain"] = [""] * len(trace)  # else a reader takes the turns to share their history
    for name in ("priority", "think_s"):
        values = getattr(trace, name)
        if values is not None:
            columns[name] = values.tolist()
    for name in ("session", "model"):
        values = getattr(trace, name)
        if values is not None:
            columns[name] = values
    if trace.cancel_s is not None:
        columns["cancel_s"] = ["" if math.isnan(at) else at for at in trace.cancel_s.tolist()]
    if trace.accepted is not None:
        columns["accepted"] = [" ".join(map(str, counts)) for counts in trace.accepted]
    return columns


def _is_group(chain: Chain) -> bool:
    return not chain or (len(chain) == 1 and str(chain[0][0]) not in ("", "-1"))
