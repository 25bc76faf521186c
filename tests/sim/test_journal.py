"""The journal: what it keeps, and what a killed writer may leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from foretell.sim.journal import open_journal


def filled(path: Path) -> bytes:
    with open_journal(path) as journal:
        for i in range(3):
            journal.append(f"k{i}", {"value": i / 3, "none": None, "text": "ä\n"})
    return path.read_bytes()


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "journal.jsonl"
    filled(path)
    with open_journal(path) as journal:
        assert list(journal.records) == ["k0", "k1", "k2"]
        assert journal.records["k1"] == {"value": 1 / 3, "none": None, "text": "ä\n"}
        journal.append("k1", {"value": 9})
        assert journal.records["k1"]["value"] == 1 / 3
    assert len(path.read_bytes().splitlines()) == 3


def test_an_empty_journal_leaves_nothing(tmp_path: Path) -> None:
    with open_journal(tmp_path / "a" / "b" / "journal.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_whatever_of_the_last_line_is_missing_the_others_stay(tmp_path: Path) -> None:
    """Cut at every byte: the whole lines are kept, and the next one is appended where the torn one began."""
    path = tmp_path / "journal.jsonl"
    content = filled(path)
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(ends[1], len(content)):
        path.write_bytes(content[:cut])
        with open_journal(path) as journal:
            assert list(journal.records) == ["k0", "k1"]
            journal.append("k2", {"value": 2 / 3, "none": None, "text": "ä\n"})
        assert path.read_bytes() == content


def test_a_file_that_grew_before_its_content_came(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    content = filled(path)
    path.write_bytes(content + b"\0" * 100)
    with open_journal(path) as journal:
        assert len(journal.records) == 3
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"notes of mine", 1), (b'{"key": "a", "record": {}}\nnotes\n', 2), (b'{"a": 1}\n{"key": "b"', 1)],
)
def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path, content: bytes, line: int) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"journal.jsonl, line {line}: not a record"), open_journal(path):
        pass
    assert path.read_bytes() == content


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot be written"), open_journal(tmp_path / "file" / "j.jsonl"):
        pass


WRITER = """
import sys, time
from pathlib import Path
from foretell.sim.journal import open_journal
with open_journal(Path(sys.argv[1])) as journal:
    for i in range(10**9):
        journal.append(f"key {i}", {"value": "x" * (i % 5000)})
        if i == 50:
            print("begun", flush=True)
"""


def test_one_writer_at_a_time_and_a_killed_one_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "begun\n"
            with pytest.raises(ValueError, match="another sweep is writing it"), open_journal(path):
                pass
        finally:
            os.kill(writer.pid, signal.SIGKILL)
    with open_journal(path) as journal:
        keys = list(journal.records)
        assert keys == [f"key {i}" for i in range(len(keys))]
        assert len(keys) > 50
