"""Processes that answer questions: a slow question keeps no other waiting, and one without end is ended."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from foretell.sim.ui.work import WORK, refused

PATIENCE_S = 15.0
"""After so long a question is given up."""
_SUPERSEDED_S = 1.0
"""A question that nobody waits for any more may take so long before its process is ended."""
MEMORY_BYTES = 6 * 2**30
_TICK_S = 0.05
_APART_S = 1.5
"""Between the starts of workers."""


class SupersededError(Exception):
    """A newer question of the same page makes this one void."""


class TooLongError(Exception):
    """No answer came within the time that a question has."""


class EndingError(Exception):
    """The server is ending."""


def context() -> Any:
    """How processes are started: from one that has imported what they need, where there is such a thing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["foretell.sim.ui.warm"])
    return made


@dataclass(slots=True)
class Worker:
    """A process and the way to it; `begin` starts it."""

    process: Any = None
    way: Connection | None = None

    def begin(self) -> None:
        """Start it; it warms up by itself."""
        made = context()
        self.way, other = made.Pipe()
        self.process = made.Process(target=_serve, args=(other,), daemon=True)
        self.process.start()
        other.close()

    def end(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None
        if self.way is not None:
            self.way.close()

    def ask(self, kind: str, given: Mapping[str, Any], void: Callable[[], bool], patience_s: float) -> Any:
        """Put a question and wait for its answer.

        Raises:
            RefusedError: with the reason in one line.
            SupersededError: it was void, and took too long to be let finish.
            TooLongError: no answer in time; or the process ended, as it does when memory runs out.

        """
        if self.process is None or not self.process.is_alive():
            self.end()
            self.begin()
        assert self.way is not None
        began = time.monotonic()
        try:
            self.way.send((kind, dict(given)))
            while not self.way.poll(_TICK_S):
                spent = time.monotonic() - began
                if spent > patience_s or (spent > _SUPERSEDED_S and void()):
                    self.end()
                    raise SupersededError if void() else TooLongError
            good, answer = self.way.recv()
        except (EOFError, OSError):
            self.end()
            raise TooLongError from None
        if good:
            return answer
        raise answer


def _serve(way: Connection) -> None:
    """What a worker does until its server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    end_with_server(lambda: None)
    warnings.simplefilter("ignore")
    bound_memory()
    from foretell.sim.ui.warm import warm_ups

    warming: Iterator[None] | None = warm_ups()
    with contextlib.suppress(EOFError, OSError):
        while True:
            if warming is not None and not way.poll(_TICK_S):
                if next(warming, warming) is warming:
                    warming = None
                continue
            kind, given = way.recv()
            way.send(_answered(kind, given))


def _answered(kind: str, given: Mapping[str, Any]) -> tuple[bool, Any]:
    try:
        return True, WORK[kind](**given)
    except Exception as error:  # whatever it is, the page is told, and the worker goes on
        return False, refused(error)


def bound_memory() -> None:
    """Let a question that needs far too much memory fail by itself, where the system can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def end_with_server(last: Callable[[], None]) -> None:
    """End this process when the server is gone, however that came and whatever is being computed.

    Args:
        last: what is done before.

    """
    server = multiprocessing.parent_process()
    if server is None:
        return

    def watch() -> None:
        wait([server.sentinel])
        last()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(slots=True)
class Workers:
    """A few workers, and who may still be answered.

    Attributes:
        count: of processes; with 0 questions are answered in the thread that asks.
        patience_s: seconds of a question at most.

    """

    count: int = 2
    patience_s: float = PATIENCE_S
    _all: list[Worker] = field(default_factory=list)
    _idle: list[Worker] = field(default_factory=list)
    _free: threading.Condition = field(default_factory=threading.Condition)
    _newest: dict[tuple[str, str], int] = field(default_factory=dict)
    _serial: int = 0
    _stopped: bool = False

    def start(self) -> None:
        """Start them in the background, the first one first: others would keep it from the first page."""
        self._all = [Worker() for _ in range(self.count)]
        self._idle = list(self._all)
        threading.Thread(target=self._begin, daemon=True).start()

    def _begin(self) -> None:
        for index in range(self.count):
            if index:
                time.sleep(_APART_S)
            with self._free:
                worker = next((one for one in self._idle if one.process is None), None)
                if worker is None or self._stopped:
                    return
                self._idle.remove(worker)
            worker.begin()
            self._give_back(worker)

    def _give_back(self, worker: Worker) -> None:
        with self._free:
            if self._stopped:
                worker.end()
            self._idle.insert(0, worker) if worker.process is None else self._idle.append(worker)
            self._free.notify()

    def stop(self) -> None:
        """End them all at once."""
        with self._free:
            self._stopped = True
            self._free.notify_all()
        for worker in self._all:
            worker.end()

    def ask(self, kind: str, given: Mapping[str, Any], page: str = "") -> Any:
        """Answer a question; blocks the thread that asks.

        Args:
            kind: of `work.WORK`.
            given: its arguments.
            page: who asks; a newer question of the same kind and page makes this one void.

        Raises:
            RefusedError: bad input, in one line.
            SupersededError, TooLongError, EndingError: see there.

        """
        with self._free:
            self._serial += 1
            mine = self._serial
            if page:
                self._newest[page, kind] = mine
                while len(self._newest) > 500:
                    self._newest.pop(next(iter(self._newest)))

        def void() -> bool:
            return bool(page) and self._newest.get((page, kind), mine) > mine

        if not self.count:
            good, answer = _answered(kind, given)
            if good:
                return answer
            raise answer
        worker = self._taken(void)
        try:
            return worker.ask(kind, given, void, self.patience_s)
        except Exception:
            if self._stopped:  # whatever broke, that is why
                raise EndingError from None
            raise
        finally:
            self._give_back(worker)

    def _taken(self, void: Callable[[], bool]) -> Worker:
        until = time.monotonic() + self.patience_s
        with self._free:
            while not void():
                if self._stopped:
                    raise EndingError
                if self._idle:
                    return self._idle.pop()
                if not self._free.wait(min(0.5, until - time.monotonic())) and time.monotonic() > until:
                    raise TooLongError
        raise SupersededError
