"""What is written appears whole, and of what is interrupted nothing is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foretell.sim.records import output_folder


@pytest.mark.parametrize("made", [1, 2, 3, 4])
def test_an_interrupt_as_a_folder_is_made(made: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the parent, of the folder itself (a call within a call), and of the one that is written in."""
    count, make = [0], Path.mkdir

    def interrupted(self: Path, *args: Any, **settings: Any) -> None:
        make(self, *args, **settings)
        count[0] += 1
        if count[0] == made:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path / "parent" / "out"):
        pytest.fail("it was not interrupted")
    assert count == [made]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path) as folder:
        (folder / "partial.txt").write_text("partial")
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["kept.txt"]


def test_files_appear_and_those_of_a_run_before_go(tmp_path: Path) -> None:
    for name in ("old.txt", "kept.txt"):
        (tmp_path / name).write_text(name)
    with output_folder(tmp_path, ("old.txt", "new.txt")) as folder:
        (folder / "new.txt").write_text("new")
        assert not (tmp_path / "new.txt").exists()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kept.txt", "new.txt"]
