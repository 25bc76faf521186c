"""Production traces: Azure 2023 and 2024, BurstGPT, Mooncake."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from foretell.traces.table import Chain, IntArray, Trace
from foretell.traces.textfile import (
    BadFileError,
    Parser,
    checked,
    csv_line,
    floats,
    integers,
    read_columns,
    texts,
)
from foretell.traces.textjson import json_lines, number, whole

AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
BURSTGPT_COLUMNS = ("Timestamp", "Model", "Request tokens", "Response tokens")
MOONCAKE_KEYS = ("timestamp", "input_length", "output_length")
MOONCAKE_BLOCK = 512
"""Tokens that a Mooncake hash id stands for (https://github.com/kvcache-ai/Mooncake, read 2026-11-20)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PLAIN_TIME = re.compile(r"(?a:(19|20)\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?)")


def read_azure(path: Path) -> Trace:
    """Read an Azure LLM inference trace, of 2023 or of 2024 (with a time zone).

    Source: https://github.com/Azure/AzurePublicDataset (CC-BY-4.0; cite Splitwise, ISCA 2024).
    """
    parsers: dict[str, Parser] = {
        "TIMESTAMP": _timestamps_ns,
        "ContextTokens": integers,
        "GeneratedTokens": integers,
    }
    wanted = dict.fromkeys(parsers, "a whole number")
    wanted["TIMESTAMP"] = "a time such as 2023-11-16 18:17:03.9799600"
    columns = read_columns(path, parsers, wanted)
    return _kept(path, columns, AZURE_COLUMNS, {}, unit=1e9)


def _timestamps_ns(cells: Sequence[str]) -> IntArray:
    """Nanoseconds since 1970 of ISO times; in UTC when they have no time zone."""
    stripped = [cell.removesuffix("Z").removesuffix("+00:00") for cell in cells]
    if not all(map(_PLAIN_TIME.fullmatch, stripped)):  # another offset, or not a time at all
        since = [datetime.fromisoformat(cell).astimezone(UTC) - _EPOCH for cell in cells]
        return np.array([gap // _MICROSECOND * 1000 for gap in since], dtype=np.int64)
    times = np.array(stripped, dtype="datetime64[ns]")
    return times.astype(np.int64)


def read_burstgpt(path: Path) -> Trace:
    """Read a BurstGPT trace (https://github.com/HPMLL/BurstGPT, CC-BY-4.0), of version 1 or 2.

    Rows without response tokens are failed requests: they are dropped, and counted in the notes. The
    release does not say whether a turn's request tokens include the history, so that its sessions are
    left aside: each row arrives at its recorded time.
    """
    parsers: dict[str, Parser] = {
        "Timestamp": floats,
        "Request tokens": integers,
        "Response tokens": integers,
        "Model": texts(),
    }
    wanted = dict.fromkeys(parsers, "a whole number") | {"Timestamp": "a number of seconds"}
    columns = read_columns(path, parsers, wanted)
    names = ("Timestamp", "Request tokens", "Response tokens")
    return _kept(path, columns, names, {"model": columns["Model"]})


def _kept(
    path: Path, columns: dict[str, Any], names: Sequence[str], more: dict[str, list[str]], unit: float = 1.0
) -> Trace:
    """Drop what has no answer or no prompt, and put the start of the trace at 0."""
    arrival, prompt, output = (columns[name] for name in names)
    if len(arrival) == 0:
        raise BadFileError(path, None, None, "no requests; a trace needs at least one row")
    if (broken := ~np.isfinite(arrival)).any():
        row = int(broken.argmax())
        raise BadFileError(path, csv_line(path, row), names[0], f"{arrival[row]} is not a finite number")
    answered = (output != 0) & (prompt != 0)
    rows = np.flatnonzero(answered)
    notes: tuple[str, ...] = ()
    if len(rows) < len(answered):
        notes = (f"dropped {len(answered) - len(rows)} rows with 0 {names[1]} or 0 {names[2]} (failures)",)
    if len(rows) == 0:
        raise BadFileError(path, None, names[2], "0 in every row; a trace needs requests with an answer")
    kept = arrival[rows]
    if (back := np.diff(kept) < 0).any():
        row = int(rows[int(back.argmax()) + 1])
        message = "earlier than the row before; sort the rows by time"
        raise BadFileError(path, csv_line(path, row), names[0], message)
    positions = rows.tolist()
    table = {
        "arrival_s": (kept - kept[0]) / unit,
        "prompt_tokens": prompt[rows],
        "output_tokens": output[rows],
        **{name: [values[i] for i in positions] for name, values in more.items()},
        "name": path.name,
        "notes": notes,
    }
    source_names = dict(zip(("arrival_s", "prompt_tokens", "output_tokens"), names, strict=True))
    return checked(path, lambda row: csv_line(path, positions[row]), source_names, table)


class _Blocks(dict[Any, tuple[str, int]]):
    """Full blocks by hash id, made when first asked for."""

    def __missing__(self, key: Any) -> tuple[str, int]:
        self[key] = block = (str(key), MOONCAKE_BLOCK)
        return block


def read_mooncake(path: Path) -> Trace:
    """Read a Mooncake trace: timestamps in ms, and a hash id for each block of 512 prompt tokens.

    The last block of a prompt may be partly filled: its segment covers what is left of the prompt.
    Source: https://github.com/kvcache-ai/Mooncake (Apache-2.0; Mooncake, FAST 2025).
    """
    arrival: list[float] = []
    prompts: list[int] = []
    outputs: list[int] = []
    chains: list[Chain] = []
    lines: list[int] = []
    blocks = _Blocks()
    for line, item in json_lines(path):
        arrival.append(number(path, line, "timestamp", item) / 1000)
        prompt = whole(path, line, "input_length", item)
        hashes = item.get("hash_ids", [])
        if not isinstance(hashes, list):
            raise BadFileError(path, line, "hash_ids", f"{hashes!r} is not a list of ids")
        if any(isinstance(h, (list, dict)) for h in hashes):
            raise BadFileError(
                path, line, "hash_ids", "a list or an object; each id must be a number or a text"
            )
        chain = [blocks[h] for h in hashes]
        past = MOONCAKE_BLOCK * len(chain) - prompt
        if past >= MOONCAKE_BLOCK:
            message = f"{len(chain)} blocks of {MOONCAKE_BLOCK}; {prompt} tokens fill fewer"
            raise BadFileError(path, line, "hash_ids", message)
        if past > 0:
            chain[-1] = (chain[-1][0], MOONCAKE_BLOCK - past)
        prompts.append(prompt)
        outputs.append(whole(path, line, "output_length", item))
        chains.append(tuple(chain))
        lines.append(line)
    answered = [i for i, output in enumerate(outputs) if output != 0]
    notes: tuple[str, ...] = ()
    if len(answered) < len(outputs):
        notes = (f"dropped {len(outputs) - len(answered)} rows with output_length 0",)
    if not answered:
        raise BadFileError(path, None, None, "no requests; a trace needs at least one row")
    columns = {
        "arrival_s": np.array([arrival[i] for i in answered]),
        "prompt_tokens": np.array([prompts[i] for i in answered]),
        "output_tokens": np.array([outputs[i] for i in answered]),
        "segments": [chains[i] for i in answered] if any(chains) else None,
        "name": path.name,
        "notes": notes,
    }
    names = {"arrival_s": "timestamp", "prompt_tokens": "input_length", "output_tokens": "output_length"}
    names["segments"] = "hash_ids"
    return checked(path, lambda row: lines[answered[row]], names, columns)
