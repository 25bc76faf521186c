"""Reading a trace of any known format; the format is told from the content."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from foretell.traces import plain
from foretell.traces.table import Trace

Reader = Callable[[Path], Trace]

READERS: dict[str, Reader] = {
    "csv": plain.read_plain_csv,
}


def read_trace(path: str | os.PathLike[str], format: str | None = None) -> Trace:
    """
    Read a trace file (gzip or not).

    Raises:
        ValueError: not a trace; one line with file, line and column, and what would be right.

    """
    return READERS[format or "csv"](Path(path))
