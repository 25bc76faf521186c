"""A strict reader of the Trace Event Format (JSON Object Format), written from its description alone.

It knows the phases that foretell writes, and refuses what a viewer would drop, misplace or draw wrongly.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]
COMMON = {"name", "ph", "ts", "pid", "tid"}
FIELDS = {  # phase: (required besides COMMON, allowed besides)
    "M": ({"args"}, set()),
    "X": ({"dur"}, {"cat", "args"}),
    "C": ({"args"}, {"cat"}),
    "i": ({"s"}, {"cat", "args"}),
    "b": ({"cat", "id2"}, {"args"}),
    "e": ({"cat", "id2"}, {"args"}),
    "s": ({"cat", "id"}, {"args"}),
    "f": ({"cat", "id", "bp"}, {"args"}),
}
METADATA: dict[str, type] = {
    "process_name": str,
    "thread_name": str,
    "process_sort_index": int,
    "thread_sort_index": int,
}


@dataclass
class Timeline:
    """What a file says: slices, marks by thread, spans by id, counters by process and name, arrows, names."""

    about: dict[str, Any]
    processes: dict[int, str] = field(default_factory=dict)
    threads: dict[tuple[int, int], str] = field(default_factory=dict)
    slices: dict[tuple[int, int], list[Event]] = field(default_factory=lambda: defaultdict(list))
    marks: dict[tuple[int, int], list[Event]] = field(default_factory=lambda: defaultdict(list))
    counters: dict[tuple[int, str], list[Event]] = field(default_factory=lambda: defaultdict(list))
    spans: dict[tuple[int, str, int], list[tuple[str, int, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    arrows: list[tuple[Event, Event]] = field(default_factory=list)


def ns(event: Event, key: str = "ts") -> int:
    """Whole nanoseconds of a time in microseconds; refused if it is finer than that."""
    value = event[key]
    assert isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    whole = round(value * 1000)
    assert abs(whole - value * 1000) < 1e-3, f"finer than a nanosecond: {event}"
    return whole


def _no_constant(text: str) -> float:
    raise AssertionError(f"{text} is not JSON")


def read_timeline(text: str) -> Timeline:
    """Read a whole file, or fail with what is wrong."""
    data = json.loads(text, parse_constant=_no_constant)
    assert set(data) == {"traceEvents", "otherData"}
    found = Timeline(data["otherData"])
    events = data["traceEvents"]
    ordered = [event for event in events if event["ph"] != "M"]
    assert [ns(e) for e in ordered] == sorted(ns(e) for e in ordered)
    starts: dict[tuple[str, int], Event] = {}
    nested: dict[tuple[int, str, int], list[tuple[str, int]]] = defaultdict(list)
    for event in events:
        needed, allowed = FIELDS[event["ph"]]
        assert COMMON | needed <= set(event) <= COMMON | needed | allowed, event
        assert isinstance(event["name"], str) and event["name"]
        for number in ("pid", "tid"):
            assert isinstance(event[number], int) and event[number] > 0
        assert ns(event) >= 0
        assert isinstance(event.get("args", {}), dict)
        thread = event["pid"], event["tid"]
        if event["ph"] == "M":
            _named(found, event)
        elif event["ph"] == "X":
            assert ns(event, "dur") > 0
            found.slices[thread].append(event)
        elif event["ph"] == "C":
            values = event["args"].values()
            assert values and all(isinstance(v, int | float) and math.isfinite(v) for v in values)
            assert min(values) >= 0  # they are drawn as stacked areas
            found.counters[event["pid"], event["name"]].append(event)
        elif event["ph"] in "be":
            assert set(event["id2"]) == {"local"}  # else spans of all processes are one global track
            key = event["pid"], event["cat"], int(event["id2"]["local"], 16)
            if event["ph"] == "b":
                nested[key].append((event["name"], ns(event)))
            else:
                name, since = nested[key].pop()
                assert name == event["name"], "spans of one id nest"
                assert ns(event) > since
                found.spans[key].append((name, since, ns(event)))
        elif event["ph"] == "i":
            assert event["s"] == "t"  # of a thread
            found.marks[thread].append(event)
        elif event["ph"] == "s":
            assert (event["cat"], event["id"]) not in starts
            starts[event["cat"], event["id"]] = event
        else:
            assert event["bp"] == "e"  # binds to the slice round it
            found.arrows.append((starts.pop((event["cat"], event["id"])), event))
    assert not starts and not any(nested.values()), "what began has ended"
    for thread, slices in found.slices.items():
        assert thread in found.threads, f"a thread without a name: {thread}"
        _nests(slices)
    for start, end in found.arrows:
        assert _round(found, start) and _round(found, end), "an arrow ends in slices"
    assert {pid for pid, _ in found.slices} <= set(found.processes)
    return found


def _named(found: Timeline, event: Event) -> None:
    value: Any
    (value,) = event["args"].values()
    assert isinstance(value, METADATA[event["name"]])
    if event["name"] == "process_name":
        assert event["pid"] not in found.processes
        found.processes[event["pid"]] = str(value)
    if event["name"] == "thread_name":
        assert (event["pid"], event["tid"]) not in found.threads
        found.threads[event["pid"], event["tid"]] = str(value)


def _nests(slices: list[Event]) -> None:
    """No slice of a thread overlaps another one in part; a parent comes before its children."""
    open_until: list[int] = []
    for event in slices:
        start, end = ns(event), ns(event) + ns(event, "dur")
        while open_until and open_until[-1] <= start:
            open_until.pop()
        assert not open_until or end <= open_until[-1], f"overlaps in part: {event}"
        open_until.append(end)


def _round(found: Timeline, event: Event) -> Event | None:
    at = ns(event)
    for one in found.slices[event["pid"], event["tid"]]:
        if ns(one) <= at <= ns(one) + ns(one, "dur"):
            return one
    return None
