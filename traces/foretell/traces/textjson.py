"""Helpers for reading traces out of JSON: lines, documents, and numbers with their place in messages."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foretell.traces.textfile import BadFileError, open_text


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, object) for each line that is not blank.

    Raises:
        ValueError: a line is not a JSON object.

    """
    with open_text(path) as handle:
        number = 0
        try:
            for number, line in enumerate(handle, start=1):
                if line.strip():
                    item = json.loads(line)
                    if not isinstance(item, dict):
                        raise BadFileError(path, number, None, "not a JSON object; each line must be one")
                    yield number, item
        except json.JSONDecodeError as error:
            raise BadFileError(path, number, None, f"not JSON ({error.msg}, position {error.pos})") from None
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise BadFileError(path, number + 1, None, f"not readable text ({error})") from None


def json_document(path: Path) -> Any:
    """Return the one JSON value that a file holds.

    Raises:
        ValueError: it is not JSON.

    """
    with open_text(path) as handle:
        try:
            return json.load(handle)
        except json.JSONDecodeError as error:
            raise BadFileError(path, error.lineno, None, f"not JSON ({error.msg})") from None
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise BadFileError(path, None, None, f"not readable text ({error})") from None


def number(
    path: Path, line: int | None, column: str, item: Mapping[str, Any], key: str | None = None
) -> float:
    """Return a finite number out of a JSON object.

    Args:
        path: the file, for the message.
        line: its line, or None in a document.
        column: what to call the value.
        item: the object.
        key: its key, when not `column`.

    """
    value = item.get(key or column)
    if value is None:
        raise BadFileError(path, line, column, f"missing; the row has {', '.join(sorted(item)) or 'nothing'}")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadFileError(path, line, column, f"{value!r} is not a number")
    return value


def whole(path: Path, line: int | None, column: str, item: Mapping[str, Any], key: str | None = None) -> int:
    """Return a whole number out of a JSON object; see `number`."""
    value = number(path, line, column, item, key)
    if value != int(value):
        raise BadFileError(path, line, column, f"{value!r} is not a whole number")
    if abs(value) >= 2**63:
        raise BadFileError(path, line, column, f"{value!r} is too large; it must be below 2**63")
    return int(value)
