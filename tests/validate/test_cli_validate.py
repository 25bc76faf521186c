"""`foretell validate`: found by name, loaded late, written whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from click.testing import CliRunner

from foretell.models.silicon_source import has_silicon
from foretell.sim.cli import main
from foretell.validate import cli
from foretell.validate.silicon_rows import MeasuredRow
from foretell.validate.silicon_tables import show_summary, show_table
from silicon_table import table

needs_silicon = pytest.mark.skipif(not has_silicon(), reason="the extra silicon is not installed")


def run(*args: str) -> subprocess.CompletedProcess[str]:
    code = "from foretell.sim.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)


def test_the_group_is_listed_and_helps() -> None:
    assert "validate" in CliRunner().invoke(main, ["--help"]).output
    shown = CliRunner().invoke(main, ["validate", "--help"], standalone_mode=False)
    assert not shown.exception
    for name in ("silicon", "operators", "energy", "kv"):
        assert name in shown.output


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom foretell.validate import cli\n"
        "assert not {'pandas', 'numpy', 'scipy', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_kv_prints_its_table_as_json() -> None:
    done = run("validate", "kv", "--json")
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout)
    rows = found["rows"]
    assert len(rows) == found["summary"]["runs"] >= 30
    assert {"model", "estimate_gib", "actual_gib"} <= set(rows[0])


@pytest.mark.parametrize(
    ("args", "word"), [(("--data", "no/such"), "--data"), (("--html", "no/such/x.html"), "--html")]
)
@needs_silicon
def test_bad_input_is_one_line_and_exit_code_two(args: tuple[str, str], word: str) -> None:
    done = run("validate", "silicon", *args)
    assert done.returncode == 2
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1


@needs_silicon
def test_silicon_prints_json_and_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[MeasuredRow] = []

    def validate_silicon(
        rows: Sequence[MeasuredRow], progress: Callable[[int, int], None], operator_times: str
    ) -> pd.DataFrame:
        assert operator_times == "silicon"
        asked.extend(rows)
        progress(len(rows), len(rows))
        return table()

    module = ModuleType("foretell.validate.silicon")
    monkeypatch.setattr(module, "validate_silicon", validate_silicon, raising=False)
    monkeypatch.setitem(sys.modules, "foretell.validate.silicon", module)
    page = tmp_path / "page.html"
    args = ["--json", "--html", str(page), "--data", str(tmp_path), "--backend", "sglang", "--sample", "5"]
    cli.silicon_command.main(args, standalone_mode=False)
    summary = json.loads(capsys.readouterr().out)
    assert [row.run.backend for row in asked] == ["sglang"] * 5
    assert (summary["rows"], summary["rows_predicted"]) == (5, 4)
    assert "sample's own columns" in summary["source"]
    assert {name.split()[0] for name in summary["left_out"]} == {"sglang"}
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    cli.silicon_command.main(["--data", str(tmp_path)], standalone_mode=False)
    assert "Missed" in capsys.readouterr().out


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from foretell.models import silicon_source

    silicon_source.data_folder.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"foretell\[silicon\]"):
        cli.silicon_command.main(["--json"], standalone_mode=False)
    silicon_source.data_folder.cache_clear()


def test_the_folder_of_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORETELL_SHARED", raising=False)
    monkeypatch.chdir(tmp_path)
    assert cli.data_folder(None) is None
    (tmp_path / "s" / "data").mkdir(parents=True)
    monkeypatch.setenv("FORETELL_SHARED", str(tmp_path / "s"))
    assert cli.data_folder(None) == tmp_path / "s" / "data"
    assert cli.data_folder(tmp_path) == tmp_path
    with pytest.raises(ValueError, match="is not a folder"):
        cli.data_folder(tmp_path / "none")


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    cli.write_whole(page, "ä")
    assert page.read_text(encoding="utf-8") == "ä"
    assert list(tmp_path.iterdir()) == [page]
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="cannot be written"):
        cli.write_whole(tmp_path / "folder", "b")
    assert len(list(tmp_path.iterdir())) == 2


def test_plain_values() -> None:
    record = pd.DataFrame({"a": [1], "b": [float("nan")], "c": [True]}).to_dict("records")[0]
    assert cli.plain({"x": (record, 2.5)}) == {"x": [{"a": 1, "b": None, "c": True}, 2.5]}


def test_tables_show_missing_numbers_as_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(pd.DataFrame({"name": ["a", "b"], "error": [0.04321, float("nan")]}), "Errors")
    show_summary({"runs": 3, "median": {"h200": 0.5}})
    shown = capsys.readouterr().out
    assert "0.0432" in shown
    assert "–" in shown
    assert "median, h200: 0.5" in shown
