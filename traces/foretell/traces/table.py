"""The canonical trace: one table of requests, in numpy columns.

Each row is a request: when it is asked, how long its prompt and its answer are, and optionally what it
shares with others. A trace is checked when it is made, so that everything downstream may trust it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Chain = tuple[tuple[str | int, int], ...]
"""What a request's tokens are, from the front: ((stream id, tokens), ...); () if all its own."""

_ARRAYS = {
    "arrival_s": np.float64,
    "prompt_tokens": np.int64,
    "output_tokens": np.int64,
    "priority": np.int64,
    "think_s": np.float64,
    "cancel_s": np.float64,
}
_LISTS = ("request_id", "session", "model", "segments", "accepted")


class Problem(NamedTuple):
    """The first thing wrong with a table: in which row (from 0), which column, and what."""

    row: int
    column: str
    message: str


class TraceError(ValueError):
    """A value that a trace may not hold; `problem` says where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"trace: row {problem.row}, column {problem.column}: {problem.message}")
        self.problem = problem


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Who asks what, when. Columns are of equal length; optional ones are None when absent.

    Two requests share their first k tokens iff their chains in `segments` agree there: (id, n) after the
    same parents names the first n tokens of stream id. Tokens past the chain belong to the request alone.
    A chain covers the prompt first, then the answer.

    A session is a conversation: its rows, in row order, are its turns. The first turn is asked at its
    `arrival_s`; a later one at max(finish of the previous turn + `think_s`, `arrival_s`), so that 0 there
    sets no bound. Its `prompt_tokens` include the history.

    With `concurrency` the trace is a closed loop: at most that many requests are in flight, and the next
    row is asked `think_s` after a finish has made room for it (never before its `arrival_s`).

    Attributes:
        arrival_s: when a request is asked, from the start of the trace, in order [s].
        prompt_tokens: length of the prompt, at least 1.
        output_tokens: length of the answer, at least 1.
        request_id: names; `ids()` makes them up ("r0", "r1", ...) when absent.
        priority: vLLM's: a lower value is more urgent.
        session: the conversation a row belongs to, "" for none.
        think_s: pause between the previous answer and this question [s].
        model: the model asked for, "" for any.
        segments: the chain of each row.
        cancel_s: when the client gives up, on the clock of `arrival_s`; NaN: never [s].
        accepted: draft tokens accepted by the successive verification steps of speculative decoding, none
            once they run out; () for none at all.
        concurrency: bound on the requests in flight (closed loop), or None (open loop).
        name: where the trace comes from.
        notes: what a reader dropped or changed.

    Raises:
        ValueError: a column of the wrong length, or (TraceError) a value out of range, with row and column.

    """

    arrival_s: FloatArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    request_id: Sequence[str] | None = None
    priority: IntArray | None = None
    session: Sequence[str] | None = None
    think_s: FloatArray | None = None
    model: Sequence[str] | None = None
    segments: Sequence[Chain] | None = None
    cancel_s: FloatArray | None = None
    accepted: Sequence[tuple[int, ...]] | None = None
    concurrency: int | None = None
    name: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for column, dtype in _ARRAYS.items():
            given = getattr(self, column)
            if given is not None:
                array = _as_array(given, dtype, column)
                array.flags.writeable = False
                object.__setattr__(self, column, array)
        for column in (*_ARRAYS, *_LISTS):
            given = getattr(self, column)
            if given is not None and len(given) != len(self.arrival_s):
                raise ValueError(
                    f"trace: column {column} has {len(given)} rows; arrival_s has {len(self.arrival_s)}"
                )
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError(f"trace: concurrency is {self.concurrency}; it must be at least 1")
        problem = first_problem(self)
        if problem is not None:
            raise TraceError(problem)

    def __len__(self) -> int:
        return len(self.arrival_s)

    def ids(self) -> Sequence[str]:
        """Names of the requests: the given ones, else "r0", "r1", ... by row."""
        return self.request_id if self.request_id is not None else [f"r{i}" for i in range(len(self))]

    def take(self, rows: npt.ArrayLike) -> Trace:
        """Return the trace of these rows (indices, or a boolean mask), in that order.

        Raises:
            ValueError: the order leaves the arrivals unsorted.

        """
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        picked: dict[str, Any] = {}
        for column in _ARRAYS:
            array = getattr(self, column)
            picked[column] = None if array is None else array[index]
        positions = index.tolist()
        for column in _LISTS:
            values = getattr(self, column)
            picked[column] = None if values is None else [values[i] for i in positions]
        return replace(self, **picked)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with the columns that the trace has."""
        import pandas as pd  # heavy, and only this method needs it

        columns = {column: getattr(self, column) for column in (*_ARRAYS, *_LISTS)}
        columns["request_id"] = self.ids()
        order = [f.name for f in fields(self) if f.name in columns]
        return pd.DataFrame({c: columns[c] for c in order if columns[c] is not None})


def openers(session: Sequence[str] | None, rows: int) -> npt.NDArray[np.bool_]:
    """Mark the rows that do not wait for another one: those without a session, and first turns."""
    mark = np.ones(rows, dtype=bool)
    if session is not None:
        seen: set[str] = set()
        for i, name in enumerate(session):
            if name:
                if name in seen:
                    mark[i] = False
                seen.add(name)
    return mark


def chain_tokens(segments: Sequence[Chain]) -> IntArray:
    """Tokens covered by each chain."""
    known: dict[int, int] = {}  # chains are shared between rows: sum each object once
    totals = np.empty(len(segments), dtype=np.int64)
    for i, chain in enumerate(segments):
        total = known.get(id(chain))
        if total is None:
            known[id(chain)] = total = sum([n for _, n in chain])
        totals[i] = total
    return totals


def first_problem(trace: Trace) -> Problem | None:
    """Find the first value that a trace may not hold, looking through one column after the other."""
    checks: list[tuple[str, Callable[[Any], npt.NDArray[np.bool_]], str]] = [
        (
            "arrival_s",
            lambda x: ~(np.isfinite(x) & (x >= 0)),
            "it must be a finite number of seconds, 0 or more",
        ),
        ("prompt_tokens", lambda x: x < 1, "it must be at least 1"),
        ("output_tokens", lambda x: x < 1, "it must be at least 1"),
        (
            "think_s",
            lambda x: ~(np.isfinite(x) & (x >= 0)),
            "it must be a finite number of seconds, 0 or more",
        ),
        (
            "cancel_s",
            lambda x: ~(np.isnan(x) | (np.isfinite(x) & (x >= 0))),
            "it must be a finite number of seconds, 0 or more, or empty (never)",
        ),
    ]
    for column, wrong, wanted in checks:
        values = getattr(trace, column)
        if values is not None and (bad := wrong(values)).any():
            row = int(bad.argmax())
            return Problem(row, column, f"{values[row].item()} is out of range; {wanted}")
    # A later turn's arrival is only a bound: it need not be in order.
    first = np.flatnonzero(openers(trace.session, len(trace)))
    arrival = trace.arrival_s[first]
    if (back := np.diff(arrival) < 0).any():
        at = int(back.argmax())
        row, was, now = int(first[at + 1]), arrival[at].item(), arrival[at + 1].item()
        return Problem(row, "arrival_s", f"{now} comes after {was}; sort the rows by arrival")
    for row, counts in enumerate(trace.accepted or ()):
        if any(count < 0 for count in counts):
            return Problem(row, "accepted", f"{min(counts)} is out of range; counts must be 0 or more")
    if trace.segments is not None:
        return _chain_problem(trace, trace.segments)
    return None


def _chain_problem(trace: Trace, segments: Sequence[Chain]) -> Problem | None:
    known: set[int] = set()
    for row, chain in enumerate(segments):
        if id(chain) not in known:
            known.add(id(chain))
            for _, n in chain:
                if n < 1:
                    return Problem(row, "segments", f"a segment of {n} tokens; each must have at least 1")
    room = trace.prompt_tokens + trace.output_tokens
    totals = chain_tokens(segments)
    if (over := totals > room).any():
        row = int(over.argmax())
        return Problem(
            row, "segments", f"{totals[row]} tokens; prompt and output together have only {room[row]}"
        )
    return None


def _as_array(values: Any, dtype: type, column: str) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"trace: column {column} has {array.ndim} dimensions; it must have one")
    if array.size == 0:
        return np.empty(0, dtype)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"trace: column {column} holds {array.dtype} values; it must hold numbers")
    if dtype is np.int64 and array.dtype.kind == "f":
        broken = ~(np.isfinite(array) & (array == np.floor(array)))
        if broken.any():
            row = int(broken.argmax())
            raise TraceError(Problem(row, column, f"{array[row]} is not a whole number"))
    return array.astype(dtype, copy=False).view()


def concat(traces: Iterable[Trace], order: IntArray | None = None) -> Trace:
    """Put traces one after the other, as they are; see `merge` for overlaying them on one clock.

    Args:
        traces: at least one; a column that some lack is filled with its neutral value.
        order: rows of the result, as positions in the joined table; all of them in sequence when None.

    Raises:
        ValueError: the arrivals of the result are not in order, or the concurrency bounds differ.

    """
    parts = list(traces)
    if not parts:
        raise ValueError("concat needs at least one trace")
    if len({part.concurrency for part in parts}) > 1:
        raise ValueError("concat: the traces have different concurrency bounds; give them all the same")
    picked = None if order is None else order.tolist()
    fill: dict[str, Any] = {"priority": 0, "think_s": 0.0, "session": "", "model": "", "segments": ()}
    fill |= {"cancel_s": np.nan, "accepted": ()}
    columns: dict[str, Any] = {}
    for column in (*_ARRAYS, *_LISTS):
        if all(getattr(part, column) is None for part in parts):
            continue
        pieces = [part.ids() if column == "request_id" else getattr(part, column) for part in parts]
        filled = [
            [fill[column]] * len(part) if values is None else values
            for part, values in zip(parts, pieces, strict=True)
        ]
        if column in _ARRAYS:
            array = np.concatenate([np.asarray(values, dtype=_ARRAYS[column]) for values in filled])
            columns[column] = array if order is None else array[order]
        else:
            joined = [value for values in filled for value in values]
            columns[column] = joined if picked is None else [joined[i] for i in picked]
    names = dict.fromkeys(part.name for part in parts if part.name)
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    return Trace(**columns, concurrency=parts[0].concurrency, name=" + ".join(names), notes=notes)
