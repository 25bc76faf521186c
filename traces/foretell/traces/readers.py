"""Reading a trace of any known format; the format is told from the content."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from foretell.traces import benchmarks, plain, recorded
from foretell.traces.table import Trace
from foretell.traces.textfile import BadFileError, header_of, open_text

FORMATS: Mapping[str, Callable[[Path], Trace]] = {
    "csv": plain.read_plain_csv,
    "jsonl": plain.read_plain_jsonl,
    "azure": recorded.read_azure,
    "burstgpt": recorded.read_burstgpt,
    "mooncake": recorded.read_mooncake,
    "vllm-bench": benchmarks.read_vllm_bench,
    "guidellm": benchmarks.read_guidellm,
    "inference-perf": benchmarks.read_inference_perf,
}
"""Names of the formats, and their readers."""

_HEADERS = {
    "csv": plain.REQUIRED,
    "azure": recorded.AZURE_COLUMNS,
    "burstgpt": recorded.BURSTGPT_COLUMNS,
}
_KEYS = {"jsonl": plain.REQUIRED, "mooncake": recorded.MOONCAKE_KEYS}
_SNIFFED = 1 << 16


def read_trace(path: str | os.PathLike[str], format: str | None = None) -> Trace:
    """Read a trace file, gzip or not.

    Args:
        path: the file.
        format: one of `FORMATS`; told from the content when None.

    Raises:
        ValueError: not a trace; one line with file, line and column, and what would be right.

    """
    file = Path(path)
    if format is not None and format not in FORMATS:
        raise ValueError(f"trace format {format!r} is unknown; known: {', '.join(FORMATS)}")
    found = detect_format(file) if format is None else format
    if format in _HEADERS:  # a format that was asked for is not sniffed, but its columns must be there
        with open_text(file) as handle:
            _require(file, format, header_of(csv.reader(handle)))
    return FORMATS[found](file)


def detect_format(path: Path) -> str:
    """Tell the format of a trace file from its first lines.

    Raises:
        ValueError: empty, or nothing known.

    """
    with open_text(path) as handle:
        try:
            head = handle.read(_SNIFFED)
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise BadFileError(path, None, None, f"not readable text ({error})") from None
    text = head.lstrip()
    if not text:
        raise BadFileError(path, None, None, "empty; a trace needs a header and at least one row")
    if text[0] in "{[":
        return _json_format(path, text)
    header = header_of(csv.reader(io.StringIO(text)))
    for name, columns in _HEADERS.items():
        if set(columns) <= set(header):
            return name
    # Name what lacks in the format that the header comes nearest to.
    nearest = max(_HEADERS, key=lambda name: len(set(_HEADERS[name]) & set(header)))
    _require(path, nearest, header)
    raise AssertionError("unreachable")


def _require(path: Path, format: str, header: list[str]) -> None:
    lacking = [column for column in _HEADERS[format] if column not in header]
    if lacking:
        message = (
            f"missing from the header ({', '.join(header)}); {format} needs {', '.join(_HEADERS[format])}"
        )
        raise BadFileError(path, 1, lacking[0], message)


def _json_format(path: Path, text: str) -> str:
    try:
        item: Any = json.loads(text.split("\n", 1)[0])
    except json.JSONDecodeError:
        item = None
    if isinstance(item, dict):
        for name, keys in _KEYS.items():
            if set(keys) <= set(item):
                return name
        if "input_lens" in item:
            return "vllm-bench"
    # One document over many lines, or on one long line: look for the keys that only one tool writes.
    for name, mark in (("guidellm", '"benchmarks"'), ("vllm-bench", '"input_lens"')):
        if mark in text:
            return name
    if text[0] == "[" and '"start_time"' in text:
        return "inference-perf"
    if isinstance(item, dict) and set(item) & {*plain.REQUIRED, *recorded.MOONCAKE_KEYS}:
        nearest = max(_KEYS, key=lambda name: len(set(_KEYS[name]) & set(item)))
        lacking = next(key for key in _KEYS[nearest] if key not in item)
        message = f"missing; {nearest} rows need {', '.join(_KEYS[nearest])}"
        raise BadFileError(path, 1, lacking, message)
    return _document_format(path)


def _document_format(path: Path) -> str:
    """Tell the format from a whole document: the marks lie behind its first 64 KiB."""
    from foretell.traces.textjson import json_document

    document = json_document(path)
    if isinstance(document, dict) and "input_lens" in document:
        return "vllm-bench"
    if isinstance(document, dict) and "benchmarks" in document:
        return "guidellm"
    if (
        isinstance(document, list)
        and document
        and isinstance(document[0], dict)
        and "start_time" in document[0]
    ):
        return "inference-perf"
    known = "JSONL rows, Mooncake, vllm bench serve (--save-detailed), guidellm, inference-perf"
    raise BadFileError(path, None, None, f"not a trace of a known JSON format ({known})")
