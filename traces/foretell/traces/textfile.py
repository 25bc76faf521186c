"""Text files of traces: opening them (gzip or not) and reading columns out of CSV in chunks.

Chunks keep the memory of a million rows near that of its arrays; only when something is wrong is the file
read a second time, to tell the line.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from foretell.traces.table import FloatArray, IntArray, Trace, TraceError

_CHUNK = 2_000  # rows; small enough for the cells to stay in the processor's cache


class BadFileError(ValueError):
    """A trace file that cannot be read: one line with file, line, column, and what would be right."""

    def __init__(self, path: Path, line: int | None, column: str | None, message: str) -> None:
        place = [str(path)]
        if line is not None:
            place.append(f"line {line}")
        if column is not None:
            place.append(f"column {column}")
        told = " ".join(message.split())  # what is quoted from the file may hold line ends, or all of it
        super().__init__(f"{', '.join(place)}: {told if len(told) <= 400 else told[:400] + ' ...'}")


def open_text(path: Path) -> TextIO:
    """Open a text file, decompressing it when it is a gzip file whatever its name.

    Raises:
        ValueError: no such file, or not a file.

    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        binary: Any = gzip.open(path) if packed else path.open("rb")  # noqa: SIM115  closed by the wrapper
    except OSError as error:
        message = f"cannot be opened ({error.strerror}); give a readable file"
        raise BadFileError(path, None, None, message) from None
    return io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")


Parser = Callable[[Sequence[str]], Any]


def floats(cells: Sequence[str]) -> FloatArray:
    """Parse numbers."""
    return np.array(list(map(float, cells)), dtype=np.float64)


def integers(cells: Sequence[str]) -> IntArray:
    """Parse whole numbers; "12.0" is one."""
    try:
        return np.array(list(map(int, cells)), dtype=np.int64)
    except ValueError:
        values = floats(cells)
        if not (np.isfinite(values) & (values == np.floor(values))).all():
            raise
        return values.astype(np.int64)


def optional(parse: Parser, default: str) -> Parser:
    """Let empty cells stand for a default."""

    def parse_filled(cells: Sequence[str]) -> Any:
        return parse([cell or default for cell in cells] if "" in cells else cells)

    return parse_filled


def texts() -> Parser:
    """Keep strings, one object for each distinct value."""
    known: dict[str, str] = {}

    def parse(cells: Sequence[str]) -> list[str]:
        return [known.setdefault(cell, cell) for cell in cells]

    return parse


def read_columns(path: Path, parsers: Mapping[str, Parser], wanted: Mapping[str, str]) -> dict[str, Any]:
    """Read the columns of a CSV file that have a parser and are in its header.

    Args:
        path: the file.
        parsers: header name → function from a chunk of cells to an array or a list.
        wanted: header name → what its cells should be, for the message.

    Raises:
        ValueError: a row of another width than the header, or a cell that its parser refuses.

    """
    with open_text(path) as handle:
        rows = csv.reader(handle)
        header = header_of(rows)
        index = {name: header.index(name) for name in parsers if name in header}
        pieces: dict[str, list[Any]] = {name: [] for name in index}
        done = 0
        for chunk in _chunks(rows, path):
            if set(map(len, chunk)) != {len(header)}:
                offset, cells = next((i, len(r)) for i, r in enumerate(chunk) if len(r) != len(header))
                message = f"{cells} cells; the header has {len(header)}"
                raise BadFileError(path, csv_line(path, done + offset), None, message)
            columns = list(zip(*chunk, strict=True))
            for name, at in index.items():
                try:
                    pieces[name].append(parsers[name](columns[at]))
                except (ValueError, OverflowError):
                    bad = _first_refused(parsers[name], columns[at])
                    message = f"{columns[at][bad]!r} is not {wanted[name]}"
                    raise BadFileError(path, csv_line(path, done + bad), name, message) from None
            done += len(chunk)
    return {name: _joined(parts) for name, parts in pieces.items()}


def header_of(rows: Iterator[list[str]]) -> list[str]:
    """Return the cells of the first row that is not blank, stripped; [] when there is none."""
    return [cell.strip() for cell in next((row for row in rows if row), [])]


def csv_line(path: Path, row: int) -> int:
    """Line of the file (from 1) at which a data row (from 0) ends."""
    with open_text(path) as handle:
        rows = csv.reader(handle)
        header_of(rows)
        for at, _ in enumerate(row for row in rows if row):
            if at == row:
                break
        return rows.line_num


def checked(
    path: Path,
    line_of: Callable[[int], int | None],
    source_names: Mapping[str, str],
    columns: Mapping[str, Any],
) -> Trace:
    """Make the trace of these columns, telling what is wrong in the file's own terms.

    Args:
        path: the file.
        line_of: line of a row, None where lines mean nothing.
        source_names: canonical column → the file's name of it, where it differs.
        columns: the arguments of `Trace`.

    """
    if len(columns["arrival_s"]) == 0:
        raise BadFileError(path, None, None, "no requests; a trace needs at least one row")
    try:
        return Trace(**columns)
    except TraceError as error:
        row, column, message = error.problem
        raise BadFileError(path, line_of(row), source_names.get(column, column), message) from None


def _chunks(rows: Iterator[list[str]], path: Path) -> Iterator[list[list[str]]]:
    try:
        while batch := list(itertools.islice(rows, _CHUNK)):
            if chunk := [row for row in batch if row]:
                yield chunk
    except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise BadFileError(path, None, None, f"not a readable CSV file ({error})") from None


def _first_refused(parse: Parser, cells: Sequence[str]) -> int:
    for row, cell in enumerate(cells):
        try:
            parse([cell])
        except (ValueError, OverflowError):
            return row
    return 0


def _joined(parts: Sequence[Any]) -> Any:
    if not parts:
        return np.empty(0)
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return list(itertools.chain.from_iterable(parts))
