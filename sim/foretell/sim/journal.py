"""A journal of finished work on disk: one JSON line a result, written through, safe against kill -9.

A line is written by one call and synced before the next piece of work counts as done. What a killed run left
half-written at the end is cut off when the journal is opened again; anything else that is not a record is
an error, since a journal is never to lose what it holds.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]
"""What came of a piece of work, as plain JSON values."""


@dataclass(frozen=True, slots=True)
class Journal:
    """An open journal.

    Attributes:
        path: the file.
        records: what it holds, by key.

    """

    path: Path
    records: dict[str, Record] = field(default_factory=dict)
    _descriptor: int = -1

    def append(self, key: str, record: Record) -> None:
        """Keep a result for good; a key that is there already stays as it is.

        Raises:
            ValueError: the disk takes no more.

        """
        if key in self.records:
            return
        line = json.dumps({"key": key, "record": record}, allow_nan=False) + "\n"
        try:
            _write_all(self._descriptor, line.encode())
            os.fsync(self._descriptor)
        except OSError as error:
            raise ValueError(f"journal {self.path}: cannot be written ({error.strerror or error})") from None
        self.records[key] = json.loads(line)["record"]


@contextlib.contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open a journal, made with its folders when it is not there; nothing stays of one that is left empty.

    Raises:
        ValueError: it cannot be written, is no journal, or another process writes it.

    """
    path = path.absolute()
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        _remove_folders(made)
        raise ValueError(f"journal {path}: cannot be written ({error.strerror or error})") from None
    try:
        _lock(descriptor, path)
        try:
            records, whole = _read(descriptor, path)
            os.ftruncate(descriptor, whole)
            _sync_folder(path.parent)
            yield Journal(path, records, descriptor)
        finally:
            if os.fstat(descriptor).st_size == 0:
                path.unlink(missing_ok=True)
                _remove_folders(made)
    finally:
        os.close(descriptor)


def _read(descriptor: int, path: Path) -> tuple[dict[str, Record], int]:
    """The records, and how many bytes of the file are whole lines."""
    # Not by another descriptor: closing that one would give up the lock.
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    records: dict[str, Record] = {}
    whole = 0
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        try:
            entry: Any = json.loads(line) if line.endswith(b"\n") else None
            key, record = entry["key"], entry["record"]
        except (ValueError, TypeError, KeyError):
            # Torn: only its beginning came to the disk, or the file grew before any of it did.
            torn = whole + len(line) == len(content)
            if torn and (line.startswith(_BEGIN[: len(line)]) or not line.strip(b"\0\n")):
                break
            raise ValueError(
                f"journal {path}, line {number}: not a record of ours; remove it, or name another folder"
            ) from None
        records.setdefault(key, record)
        whole += len(line)
    return records, whole


_BEGIN = b'{"key": "'


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _lock(descriptor: int, path: Path) -> None:
    """Lock the file while this process lives; where there are no locks, do without."""
    try:
        import fcntl

        # Not flock: that one would live on in processes forked from this one.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise ValueError(
                f"journal {path}: another sweep is writing it; wait for that one, or name another folder"
            ) from None


def _sync_folder(folder: Path) -> None:
    """Let the file's name reach the disk too."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_folders(made: list[Path]) -> None:
    for folder in made:
        with contextlib.suppress(OSError):
            folder.rmdir()
