"""The clock that programs and engines share, and events that wait for several calls."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappush
from typing import Any

import simpy

_NORMAL = 1


class Clock(simpy.Environment):
    """simpy's environment, whose time engines move too, and which takes events at exact times."""

    def come_to(self, time_s: float) -> None:
        """Let it be `time_s`, as an engine wakes then; nothing of the programs may be due before."""
        self._now = time_s

    def at(self, time_s: float) -> simpy.Event:
        """An event that triggers at `time_s`, to the bit: now + (then − now) may differ from then."""
        event = simpy.Event(self)
        event._ok = True
        event._value = None
        heappush(self._queue, (max(time_s, self._now), _NORMAL, next(self._eid), event))  # type: ignore[misc]
        return event


class _Join(simpy.Event):
    """Triggers when so many of some events have, or all that can."""

    def __init__(self, env: simpy.Environment, events: Iterable[simpy.Event]) -> None:
        super().__init__(env)
        self.left = 0
        for event in events:
            if event.callbacks is None:
                self.ended(event)
            else:
                self.left += 1
                event.callbacks.append(self._one)

    def _one(self, event: simpy.Event) -> None:
        self.left -= 1
        self.ended(event)
        if not self.left and not self.triggered:
            self.nothing_left()

    def ended(self, event: simpy.Event) -> None:
        """One of them ended."""

    def nothing_left(self) -> None:
        """All of them have ended."""
        self.succeed()


class First(_Join):
    """Triggers with the first call that is done; with None when all ended and none was."""

    def __init__(self, env: simpy.Environment, calls: Iterable[simpy.Event]) -> None:
        super().__init__(env, calls)
        if not self.left and not self.triggered:
            self.succeed()

    def ended(self, event: Any) -> None:
        """Take the first one that is done."""
        if event.done and not self.triggered:
            self.succeed(event)


class Every(_Join):
    """Triggers when all calls have ended, done or not."""

    def __init__(self, env: simpy.Environment, calls: Iterable[simpy.Event]) -> None:
        super().__init__(env, calls)
        if not self.left:
            self.succeed()
