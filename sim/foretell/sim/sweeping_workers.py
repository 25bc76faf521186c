"""Where the points of a sweep run: here, in a pool of processes, or on a Dask cluster.

All give the same: (place, result) as soon as a task is done, in whatever order.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, as_completed
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_CONNECT_S = 10
_WORKERS_S = 60
_CHANCES = 3


def on_executor(
    executor: Executor, work: Callable[[Task], Result], tasks: Mapping[int, Task]
) -> Generator[tuple[int, Result], None, None]:
    """Run tasks on any `concurrent.futures` executor; what has not begun is given up if the caller stops."""
    futures = {executor.submit(work, task): place for place, task in tasks.items()}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


def in_processes(
    work: Callable[[Task], Result], tasks: Mapping[int, Task], processes: int
) -> Generator[tuple[int, Result], None, None]:
    """Run tasks in a pool of processes, here if one is enough; what a killed worker had is run again.

    Raises:
        ValueError: workers die and no task gets done, three times in a row.

    """
    left = dict(tasks)
    chances = _CHANCES
    while left:
        if min(processes, len(left)) == 1 and chances == _CHANCES:
            yield from ((place, work(task)) for place, task in left.items())
            return
        try:
            with _pool(min(processes, len(left))) as pool:
                futures = {pool.submit(work, task): place for place, task in left.items()}
                for future in as_completed(futures):
                    result = future.result()
                    del left[futures[future]]
                    chances = _CHANCES
                    yield futures[future], result
        except BrokenExecutor:
            chances -= 1
            if not chances:
                raise ValueError(
                    f"processes: workers were killed again and again, with {len(left)} points to go; "
                    "fewer processes need less memory"
                ) from None


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[Executor]:
    """A pool whose workers do not outlive an error, an interrupt, or this process."""
    from concurrent.futures import ProcessPoolExecutor

    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(processes, initializer=_begin_worker)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.kill()
        raise
    pool.shutdown()


def _begin_worker() -> None:
    """Leave an interrupt to the parent, and end when the parent does, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """Connect to a Dask scheduler; its cluster reruns what a lost worker had.

    Args:
        address: as in "tcp://host:8786".

    Raises:
        ValueError: the extra is missing, nobody answers, there is no worker, or a task keeps killing them.

    """
    try:
        import distributed
    except ImportError:
        raise ValueError("dask: is not installed; pip install 'foretell[dask]'") from None
    try:
        connect: Any = distributed.Client
        client = connect(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"dask {address}: no scheduler answers ({why}); give tcp://HOST:PORT") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_WORKERS_S)
        except (TimeoutError, OSError):
            raise ValueError(f"dask {address}: the cluster has no workers; start `dask worker`") from None
        try:
            yield client.get_executor(pure=False)
        except distributed.KilledWorker as error:
            raise ValueError(f"dask {address}: a point keeps killing its workers ({error})") from None
