"""Simulations that the page asks for: each in a process of its own, ended when nobody waits for it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from foretell.sim.ui.questions import Handed
from foretell.sim.ui.work import RefusedError, refused
from foretell.sim.ui.workers import bound_memory, context, end_with_server

MOST = 2
"""Simulations at once."""
KEPT = 8
"""Ended ones whose report is kept."""
LONELY_S = 6.0
"""A simulation whose events nobody has read for so long is ended."""
_TICK_S = 0.1
_GRACE_S = 2.0
"""For a process to end by itself."""


@dataclass(slots=True)
class Job:
    """A simulation.

    Attributes:
        id: its name in URLs.
        done, total: requests simulated, of how many.
        seconds: since it began.
        state: "running", then "done", "failed" or "cancelled".
        answer: as JSON, once it is done.
        report: HTML, once it is done.
        error: once it has failed.
        readers: of its events.
        seen_s: when somebody last read them, by `time.monotonic`.

    """

    id: str
    process: Any
    way: Connection
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    state: str = "running"
    answer: str = ""
    report: str = ""
    error: RefusedError | None = None
    readers: int = 0
    seen_s: float = field(default_factory=time.monotonic)
    _began_s: float = field(default_factory=time.monotonic)
    _ending: Any = field(default_factory=threading.Lock)

    def follow(self) -> None:
        """Read what the process tells until it ends; what a thread of its own does.

        Nobody else closes the way: another file could get its number while it is read.
        """
        try:
            self._follow()
        finally:
            with contextlib.suppress(OSError):
                self.way.close()

    def _follow(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while self.state == "running":
                self.seconds = time.monotonic() - self._began_s
                if self.readers:
                    self.seen_s = time.monotonic()
                elif time.monotonic() - self.seen_s > LONELY_S:
                    self.end("cancelled")
                    return
                while self.state == "running" and self.way.poll(_TICK_S):
                    self._hear(*self.way.recv())
                    if self.readers:
                        self.seen_s = time.monotonic()
        if self.state == "running":  # it ended without a word
            why = "the simulation ended without an answer; it may need more memory than there is"
            self.end("failed", RefusedError(why))

    def _hear(self, what: str, told: Any) -> None:
        if what == "progress":
            self.done, self.total = told
            self.seconds = time.monotonic() - self._began_s
        elif what == "done":
            self.answer, self.report = told
            self.end("done")
        else:
            self.end("failed", told)

    def end(self, state: str, error: RefusedError | None = None) -> None:
        """End its process, and all that it has started; who comes second waits until it is ended."""
        with self._ending:
            if self.state == "running":
                self.error = error
                self.state = state
                self._end(state)

    def _end(self, state: str) -> None:
        if state == "cancelled":
            self.process.terminate()
        self.process.join(_GRACE_S)
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg") and os.getpgid(self.process.pid) == self.process.pid:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()


@dataclass(slots=True)
class Jobs:
    """All simulations of a server.

    Attributes:
        most: at once.
        work: what a job's process does with its way, the scenario's fields and what may be named.

    """

    most: int = MOST
    work: Callable[[Connection, object, Handed], None] | None = None
    _jobs: dict[str, Job] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def begin(self, scenario: object, handed: Handed) -> Job | None:
        """Begin one; None where as many as may be are running."""
        made = context()
        with self._lock:
            if sum(job.state == "running" for job in self._jobs.values()) >= self.most:
                return None
            way, other = made.Pipe()
            process = made.Process(target=self.work or simulate, args=(other, scenario, handed))
            process.start()
            other.close()
            job = Job(secrets.token_hex(12), process, way)
            self._jobs[job.id] = job
            ended = [id for id, one in self._jobs.items() if one.state != "running"]
            for id in ended[:-KEPT]:
                del self._jobs[id]
        threading.Thread(target=job.follow, daemon=True).start()
        return job

    def find(self, id: str) -> Job | None:
        """The job of this id."""
        return self._jobs.get(id)

    def stop(self) -> None:
        """End all of them."""
        for job in list(self._jobs.values()):
            job.end("cancelled")


def simulate(way: Connection, scenario: object, handed: Handed) -> None:
    """What the process of a job does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's, which then ends this
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # so that all that this starts can be ended together
    signal.signal(signal.SIGTERM, _end_workers)
    end_with_server(_end_group)
    bound_memory()
    last = 0.0

    def tick(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _TICK_S:
            last = time.monotonic()
            way.send(("progress", (done, total)))

    try:
        way.send(("done", _simulated(scenario, handed, tick)))
    except (BrokenPipeError, ConnectionError):
        return
    except Exception as error:  # whatever it is, the page is told
        way.send(("failed", refused(error)))


def _simulated(scenario: object, handed: Handed, tick: Callable[[int, int], None]) -> tuple[str, str]:
    """The answer as JSON, and the report."""
    import json

    from foretell.sim.forecasting import forecast
    from foretell.sim.report.forecast_page import forecast_page
    from foretell.sim.ui.answers import told
    from foretell.sim.ui.questions import asked, check_work

    began = time.perf_counter()
    question = asked(scenario, handed)
    check_work(question)
    found = forecast(question, progress=tick, processes=None if hasattr(os, "setpgid") else 1)
    answer = told(found, handed) | {"intervals": question.replications > 1}
    answer["seconds"] = time.perf_counter() - began
    return json.dumps(answer, allow_nan=False), forecast_page(found)


def _end_workers(signum: int, frame: object) -> None:
    """End what this process has started, then itself: its semaphores are given back so."""
    import multiprocessing

    for worker in multiprocessing.active_children():
        worker.kill()
    raise SystemExit(128 + signum)


def _end_group() -> None:
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
