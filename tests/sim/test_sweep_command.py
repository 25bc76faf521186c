"""`foretell sweep` on the command line: killed and resumed, interrupted, on a cluster that loses a worker."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from foretell.sim.cli import main

POINTS = 12
SCENARIO = """
workload:
  arrivals: {process: poisson, rate_per_s: 4}
  lengths: {prompt: 300, output: 60}
  num_requests: 300
pools:
  main: {step_cost: "affine:0.006,2e-5,3e-5,1e-7,0", engine: {num_gpu_blocks: 2000}}
objectives: {ttft_p99: <= 1 s}
sweep:
  workload.arrivals.rate_per_s: [2, 4, 20, 40]
  pools.main.replicas: [1, 2, 3]
replications: 2
"""
needs_dask = pytest.mark.skipif(find_spec("distributed") is None, reason="needs the extra dask")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "scenario.yaml"
    file.write_text(SCENARIO)
    return file


def cli(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["sweep", *map(str, args)])


def started(*args: str | Path, **how: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "foretell.sim", "sweep", *map(str, args)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **how
    )


def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"no {what} after a minute")


def lines(journal: Path) -> list[bytes]:
    return journal.read_bytes().splitlines() if journal.exists() else []


def slow(file: Path) -> Path:
    """The same with points that take long enough to be interrupted."""
    file.write_text(SCENARIO.replace("num_requests: 300", "num_requests: 2000"))
    return file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the table of a sweep that nobody interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    result = cli(slow(folder / "scenario.yaml"), "--processes", "1", "--output", folder / "out")
    assert result.exit_code == 0, result.output
    return folder / "out", result.output


@contextlib.contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Kill what is left of a process and of its own."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_killed_and_run_again_nothing_is_lost_or_done_twice(
    file: Path, processes: str, whole: tuple[Path, str]
) -> None:
    folder = slow(file).parent
    journal = folder / "out" / "journal.jsonl"
    asked = (file, "--processes", processes, "--output", folder / "out")
    with started(*asked) as process, ended(process):
        until(lambda: len(lines(journal)) >= 3, "third point")
        os.kill(process.pid, signal.SIGKILL)  # its workers are not told
        process.wait()
        until(lambda: not group_lives(process.pid), "end of its workers")
    before = lines(journal)
    assert 3 <= len(before) < POINTS
    assert not (folder / "out" / "points.csv").exists()
    journal.write_bytes(b"\n".join(before) + b"\n" + before[0][:40])  # and torn, as a full disk may do
    with started(*asked) as process, ended(process):
        printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    table, resumed, _ = printed.rpartition(f"{len(before)} of {POINTS} points were in {journal}.\n")
    assert resumed
    assert table == whole[1]
    after = lines(journal)
    assert after[: len(before)] == before
    assert len({json.loads(line)["key"] for line in after}) == len(after) == POINTS
    for name in ("points.csv", "points.parquet") if find_spec("pyarrow") else ("points.csv",):
        assert (folder / "out" / name).read_bytes() == (whole[0] / name).read_bytes()


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("processes", ["1", "2"])
def test_an_interrupt_says_how_to_go_on(file: Path, processes: str) -> None:
    journal = slow(file).parent / "out" / "journal.jsonl"
    with started(file, "--processes", processes, "--output", file.parent / "out") as process, ended(process):
        until(lambda: len(lines(journal)) >= 2, "second point")
        os.killpg(process.pid, signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert not group_lives(process.pid)
    kept = len(lines(journal))
    assert errors.rstrip("\n") == (
        f"foretell: interrupted: {kept} of {POINTS} points are in {journal}; "
        "the same command goes on from there"
    )
    assert printed == ""


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and two workers, each a process of its own."""
    place = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with contextlib.ExitStack() as stack:

        def begin(*args: str) -> subprocess.Popen[bytes]:
            process = stack.enter_context(
                subprocess.Popen([*dask, *args], cwd=folder, start_new_session=True, **quiet)  # type: ignore[call-overload]
            )
            stack.enter_context(ended(process))
            return process  # type: ignore[no-any-return]

        begin(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(place),
        )
        until(lambda: place.exists() and place.stat().st_size > 0, "scheduler")
        address = json.loads(place.read_text())["address"]
        worker = ("worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard")
        yield address, [begin(*worker) for _ in range(2)]


@needs_dask
@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_gives_the_same_table(file: Path, whole: tuple[Path, str]) -> None:
    folder = slow(file).parent
    journal = folder / "out" / "journal.jsonl"
    asked = (file, "--output", folder / "out", "--dask")
    with cluster(folder) as (address, workers), started(*asked, address) as process, ended(process):
        until(lambda: len(lines(journal)) >= 2, "second point")
        os.kill(workers[0].pid, signal.SIGKILL)
        before = len(lines(journal))
        printed, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert workers[1].poll() is None
    assert before < POINTS
    assert len({json.loads(line)["key"] for line in lines(journal)}) == len(lines(journal)) == POINTS
    assert (folder / "out" / "points.csv").read_bytes() == (whole[0] / "points.csv").read_bytes()
    assert printed == whole[1]


def test_without_the_extra(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = cli(file, "--dask", "tcp://127.0.0.1:9", "--output", file.parent / "out")
    assert result.exit_code == 2
    assert result.output == "foretell: error: dask: is not installed; pip install 'foretell[dask]'\n"
    assert list(file.parent.iterdir()) == [file]


@needs_dask
@pytest.mark.slow
def test_no_cluster_there(file: Path) -> None:
    """In a process of its own: Dask leaves threads behind, which others that fork would meet."""
    with started(file, "--dask", "tcp://127.0.0.1:9", "--output", file.parent / "out") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "dask tcp://127.0.0.1:9: no scheduler answers" in errors
    assert errors.count("\n") == 1
    assert list(file.parent.iterdir()) == [file]


def test_what_the_command_writes(file: Path) -> None:
    result = cli(file, "--json", file.parent / "a.json", "--output", file.parent / "out", "--processes", "1")
    assert result.exit_code == 0, result.output
    told = json.loads((file.parent / "a.json").read_text())
    assert told["fields"] == ["workload.arrivals.rate_per_s", "pools.main.replicas"]
    with (file.parent / "out" / "points.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(told["points"]) == POINTS
    for row, point in zip(rows, told["points"], strict=True):
        assert {path: str(value) for path, value in point["changes"].items()} == {
            path: row[path] for path in told["fields"]
        }
        for key, column in (("value", ""), ("low", "_low"), ("high", "_high")):
            assert float(row[f"ttft_p99_s{column}"]) == point["figures"]["ttft_p99_s"][key]
        assert row["met"] == str(point["met"])
    if find_spec("pyarrow"):
        import pandas as pd

        frame = pd.read_parquet(file.parent / "out" / "points.parquet")
        assert frame["ttft_p99_s"].tolist() == [float(row["ttft_p99_s"]) for row in rows]


def test_flags_in_place_of_the_file(file: Path) -> None:
    told = cli(
        file,
        *("--set", "pools.main.replicas=2", "--set", "workload.arrivals.rate_per_s={low: 1, high: 9}"),
        *("--sample", "3", "--sampler", "sobol", "--seed", "4", "--replications", "1", "--json"),
        *("--slo", "e2e:mean:9s", "--processes", "1"),
    )
    assert told.exit_code == 0, told.output
    points = json.loads(told.output)["points"]
    assert len(points) == 3
    assert {point["changes"]["pools.main.replicas"] for point in points} == {2}
    assert all(1 <= point["changes"]["workload.arrivals.rate_per_s"] <= 9 for point in points)
    assert [each["name"] for each in points[0]["objectives"]] == ["ttft_p99", "e2e_mean"]


def test_the_figures_asked_for_are_the_columns(file: Path) -> None:
    few = ("--set", "workload.arrivals.rate_per_s=4", "--processes", "1")
    result = cli(file, *few, "--figure", "e2e_p50_s", "--figure", "kv_use")
    assert result.exit_code == 0
    head = " ".join(result.output.split("\n1 ")[0].split())
    assert "e2e" in head and "p50" in head and "kv" in head and "ttft" not in head


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--set", "pools.main.replicas=1,0"], "sweep.pools.main.replicas[1]: 0 is not a whole number"),
        (["--set", "pools.main.replicas"], "--set pools.main.replicas: write FIELD=VALUES"),
        (["--set", "pools.main.replicas=[1"], "write FIELD=VALUES"),
        (["--figure", "ttft_p98_s", "--processes", "1"], "figure: 'ttft_p98_s' is not one here"),
        (["--sample", "99999"], "sweep: 99,999 points are not 1 to 10,000"),
        (["--dask", "tcp://h:1", "--processes", "2"], "--processes: the cluster has its own"),
        (["--slo", "ttft:p99"], "ttft"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(file: Path, flags: list[str], message: str) -> None:
    result = cli(file, *flags, "--output", file.parent / "out")
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1
    assert list(file.parent.iterdir()) == [file]


def test_closed_form_has_no_intervals_to_explain(file: Path) -> None:
    result = cli(file, "--method", "closed_form", "--processes", "1")
    assert result.exit_code == 0, result.output
    assert "Closed form" in result.output and "Below a figure" not in result.output
    assert "Below a figure" in cli(file, "--processes", "1").output


def test_no_point_at_all(file: Path) -> None:
    result = cli(file, "--set", "workload.lengths.prompt=9000000", "--processes", "1")
    assert result.exit_code == 1
    assert "failed" in result.output
