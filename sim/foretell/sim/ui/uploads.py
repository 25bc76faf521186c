"""Traces loaded into the page: kept in a folder of our own while the server runs; what is told of them."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

TRACE_BYTES = 200 * 2**20
"""Of one trace at most."""
TRACE_ROWS = 1_000_000
"""Of one trace at most: every answer goes through all of them."""
BODY_BYTES = 2**20
"""Of a question at most."""
KEPT = 8
"""Traces that are kept; the oldest goes first."""


@dataclass(slots=True)
class Uploads:
    """The traces that a server has been given.

    Attributes:
        paths: by id, oldest first.

    """

    paths: dict[str, Path] = field(default_factory=dict)
    _folder: str = ""

    @property
    def folder(self) -> Path:
        """Where they lie; made when the first one comes."""
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix="foretell-ui-")
        return Path(self._folder)

    def place(self, name: str) -> Path:
        """An empty file for a trace of this name, in a folder of its own."""
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir()
        path = folder / _plain(name)
        path.touch()
        return path

    def keep(self, path: Path) -> str:
        """Keep what was put there, under its id."""
        found = path.parent.name
        self.paths[found] = path
        while len(self.paths) > KEPT:
            self.drop(self.paths.pop(next(iter(self.paths))))
        return found

    def drop(self, path: Path) -> None:
        """Remove what was put there."""
        shutil.rmtree(path.parent, ignore_errors=True)

    def without_folders(self, text: str) -> str:
        """A text about them without the name of our folder."""
        if not self._folder:
            return text
        return re.sub(rf"{re.escape(self._folder)}[/\\]+[0-9a-f]{{16}}[/\\]+", "", text)

    def remove(self) -> None:
        """Remove all of them."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""
        self.paths.clear()


def _plain(name: str) -> str:
    """A file name without folders and without what file systems or shells stumble over."""
    last = re.split(r"[/\\]", name)[-1]
    kept = re.sub(r"[^\w.-]+", "-", last, flags=re.ASCII).strip(".-")
    return kept[-80:].lstrip(".-") or "trace"


_TOO_LONG = f"a trace of the page has at most {TRACE_ROWS:,} requests; give only its first"


def about_trace(path: Path) -> dict[str, Any]:
    """What is told of a trace.

    Raises:
        ValueError: it is none, with line and column, or too long; one line.

    """
    import numpy as np

    from foretell.sim.quantities import show_number, show_seconds
    from foretell.sim.ui.trace_chart import arrivals_chart
    from foretell.traces import read_trace
    from foretell.traces.readers import detect_format
    from foretell.traces.textfile import open_text

    kind = detect_format(path)
    lines = 0
    with suppress(OSError, EOFError, UnicodeDecodeError), open_text(path) as file:  # the reader says where
        lines = sum(1 for _ in islice(file, TRACE_ROWS + 2))
    if lines > TRACE_ROWS + 1:  # a header more
        raise ValueError(_TOO_LONG)
    trace = read_trace(path)
    if len(trace) > TRACE_ROWS:
        raise ValueError(_TOO_LONG)
    if not len(trace):
        raise ValueError(f"{path}: no requests in it")
    span = float(np.ptp(trace.arrival_s))
    timed = trace.concurrency is None and span > 0
    rate = (len(trace) - 1) / span if timed else None
    when = (
        f" in {show_seconds(span)}, {show_number(rate)}/s"
        if rate is not None
        else ", without a rate of their own"
    )
    mean = {name: float(getattr(trace, name).mean()) for name in ("prompt_tokens", "output_tokens")}
    return {
        "name": path.name,
        "format": kind,
        "about": f"{len(trace):,} requests{when}; on average {mean['prompt_tokens']:,.0f} tokens in, "
        f"{mean['output_tokens']:,.0f} out",
        "requests": len(trace),
        "duration_s": span,
        "rate_per_s": rate,
        **mean,
        "notes": list(trace.notes),
        "chart": arrivals_chart(trace) if timed else "",
    }
