"""`foretell.sim.sweeping`: its points, its errors, and the same table wherever points run."""

from __future__ import annotations

import csv
import io
import math
import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretell.sim import Scenario, forecast
from foretell.sim import sweeping as module
from foretell.sim.analytic import analyse
from foretell.sim.comparing import simulated
from foretell.sim.journal import open_journal
from foretell.sim.sweeping import Sweep, sweep
from foretell.sim.sweeping_key import point_key
from foretell.sim.sweeping_points import Range, sweep_points
from foretell.sim.sweeping_records import sweep_csv
from foretell.sim.sweeping_workers import in_processes

RATE, REPLICAS = "workload.arrivals.rate_per_s", "pools.main.replicas"
BASE: dict[str, Any] = {
    "workload": {
        "arrivals": {"process": "poisson", "rate_per_s": 4},
        "lengths": {"prompt": 300, "output": 20},
        "num_requests": 30,
    },
    "pools": {
        "main": {"step_cost": "affine:0.006,2e-5,3e-5,1e-7,0", "engine": {"num_gpu_blocks": 2000}},
    },
    "sweep": {RATE: [2, 40], REPLICAS: [1, 2, 3]},
    "seed": 7,
    "replications": 3,
}


def scenario(**changes: Any) -> Scenario:
    return Scenario.from_dict({**BASE, **changes})


def swept(**axes: Any) -> Scenario:
    return scenario(sweep={path.replace("__", "."): values for path, values in axes.items()})


@pytest.fixture(scope="module")
def whole() -> Sweep:
    return sweep(scenario(), processes=1)


def test_every_point_is_the_forecast_of_its_scenario(whole: Sweep) -> None:
    assert [tuple(row.changes.values()) for row in whole.rows] == [
        (2, 1), (2, 2), (2, 3), (40, 1), (40, 2), (40, 3)
    ]  # fmt: skip
    for row in whole.rows:
        alone = forecast(scenario(sweep={}).replace(**row.changes)).summary
        assert set(row.record["figures"]) == set(alone)
        for name, found in alone.items():
            own = row.figure(name)
            for key in ("value", "low", "high"):
                mine, theirs = getattr(own, key), getattr(found, key)
                assert mine == theirs or (math.isnan(mine) and not math.isfinite(theirs))


def test_all_points_meet_the_same_randomness(whole: Sweep) -> None:
    """The prompts are the same ones: more replicas leave their number and the answers' alone."""
    for name in ("prompt_tokens", "output_tokens", "completed"):
        assert len({whole.rows[i].figure(name).value for i in range(3)}) == 1


@pytest.mark.parametrize("where", ["processes", "threads"])
def test_where_points_run_changes_nothing(whole: Sweep, where: str) -> None:
    if where == "processes":
        other = sweep(scenario(), processes=2)
    else:
        with ThreadPoolExecutor(3) as executor:
            other = sweep(scenario(), executor=executor)
    assert other.to_dict() == whole.to_dict()
    assert sweep_csv(other) == sweep_csv(whole)


def test_points_of_a_journal_are_not_run_again(
    whole: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []

    def counted(cell: Any) -> Any:
        ran.append(tuple(cell.changes.values()))
        if len(ran) == 3:
            raise KeyboardInterrupt
        return simulated(cell)

    monkeypatch.setattr(module, "METHOD", {"simulate": counted})
    journal = tmp_path / "journal.jsonl"
    with pytest.raises(KeyboardInterrupt):
        sweep(scenario(), processes=1, journal=journal)
    again = sweep(scenario(), processes=1, journal=journal)
    assert ran == [(2, 1), (2, 2), (2, 3), (2, 3), (40, 1), (40, 2), (40, 3)]
    assert again.resumed == 2
    assert again.to_dict() == whole.to_dict()
    assert sweep_csv(again) == sweep_csv(whole)

    ran.clear()
    wider = scenario(sweep={RATE: [40, 2], REPLICAS: [3, 4]})  # another order, another value
    assert sweep(wider, processes=1, journal=journal).resumed == 2
    assert ran == [(40, 4), (2, 4)]


def test_what_a_key_depends_on(tmp_path: Path) -> None:
    trace = tmp_path / "a.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,5,5\n1,5,5\n")
    made = scenario(sweep={}, workload={"trace": str(trace)})
    key = point_key(made, "simulate")
    assert point_key(made, "simulate") == key
    assert point_key(made, "closed_form") != key
    assert point_key(made.replace(seed=8), "simulate") != key
    moved = trace.with_name("b.csv")
    moved.write_bytes(trace.read_bytes())
    assert point_key(made.replace(workload={"trace": str(moved)}), "simulate") == key
    moved.write_text(moved.read_text() + "2,5,5\n")
    assert point_key(made.replace(workload={"trace": str(moved)}), "simulate") != key


class Elsewhere(ThreadPoolExecutor):
    """Workers on which something that the key tells is otherwise."""

    def submit(self, fn: Any, task: Any, /) -> Future[Any]:  # type: ignore[override]
        return super().submit(fn, module._Task("0" * 64, task.method, task.cell))


def test_a_worker_with_other_files_or_another_version_is_refused(tmp_path: Path) -> None:
    with Elsewhere(1) as executor, pytest.raises(ValueError, match="a worker has another version of fore"):
        sweep(scenario(), executor=executor, journal=tmp_path / "j.jsonl")
    assert list(tmp_path.iterdir()) == []


def die_once(task: tuple[Path, int]) -> int:
    mark, number = task
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def die(task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return task


def test_a_killed_process_is_replaced(tmp_path: Path) -> None:
    tasks = {i: (tmp_path / "mark", i) for i in range(6)}
    assert sorted(in_processes(die_once, tasks, 2)) == [(i, i * i) for i in range(6)]
    assert (tmp_path / "mark").exists()


def test_processes_that_always_die_end_the_sweep() -> None:
    with pytest.raises(ValueError, match="killed again and again, with 2 points to go"):
        list(in_processes(die, {0: 0, 1: 1}, 2))


def test_closed_form_is_that_of_the_queueing_models() -> None:
    asked = swept(workload__arrivals__rate_per_s=[2, 40, 4000]).replace(objectives={"ttft_p99": "<= 100 ms"})
    rows = sweep(asked, method="closed_form", processes=1).rows
    for row in rows:
        alone = analyse(asked.replace(sweep={}, **row.changes)).figures
        assert set(alone) == set(row.record["figures"])
        for name, value in alone.items():
            assert row.record["figures"][name]["value"] == (value if math.isfinite(value) else None)
    assert [row.record["met"] for row in rows] == [True, True, False]  # the last is far beyond the capacity
    assert rows[2].record["figures"]["ttft_p99_s"]["value"] is None


def test_what_cannot_be_deployed_keeps_its_reason() -> None:
    pool = {"model": "llama-3.1-70b", "hardware": "h100-sxm", "operator_times": "curves"}
    asked = scenario(pools={"main": pool}, sweep={"pools.main.tensor_parallel_size": [1, 4]})
    result = sweep(asked, processes=1)
    assert [bool(row.reason) for row in result.rows] == [True, False]
    assert not result.rows[0].record["figures"]
    rows = list(csv.DictReader(io.StringIO(sweep_csv(result))))
    assert rows[0]["reason"] == result.rows[0].reason != ""
    assert rows[0]["ttft_p99_s"] == "" and float(rows[1]["ttft_p99_s"]) > 0
    frame = result.frame
    assert frame["ttft_p99_s"].isna().tolist() == [True, False]
    assert frame["pools.main.tensor_parallel_size"].tolist() == [1, 4]


def test_the_table_as_csv_and_frame_is_that_of_the_rows(whole: Sweep) -> None:
    rows = list(csv.DictReader(io.StringIO(sweep_csv(whole))))
    frame = whole.frame
    assert len(rows) == len(frame) == len(whole.rows)
    for at, (row, own) in enumerate(zip(rows, whole.rows, strict=True)):
        assert [float(row[RATE]), int(row[REPLICAS])] == list(own.changes.values())
        for name in ("ttft_p99_s", "utilisation"):
            found = own.figure(name)
            for column, value in (
                (name, found.value),
                (f"{name}_low", found.low),
                (f"{name}_high", found.high),
            ):
                assert float(row[column]) == value == frame[column][at]


@pytest.mark.parametrize("sampler", ["latin_hypercube", "sobol"])
def test_samples_are_spread_over_each_range(sampler: str) -> None:
    """Each of 64 equal strata has one point; Sobol's have that property for powers of two."""
    asked = swept(
        workload__arrivals__rate_per_s={"low": 1, "high": 100, "log": True},
        workload__warmup_s={"low": 0.5, "high": 2.5},
        pools__main__engine__max_num_seqs={"low": 1, "high": 64},
        pools__main__replicas=[1, 2, 4, 8],
    )
    cells = sweep_points(asked, sample=64, sampler=sampler)
    drawn = {path: [cell.changes[path] for cell in cells] for path in asked.sweep}
    rates = np.log(drawn[RATE]) / np.log(100)
    assert sorted((rates * 64).astype(int).tolist()) == list(range(64))
    times = (np.array(drawn["workload.warmup_s"]) - 0.5) / 2
    assert sorted((times * 64).astype(int).tolist()) == list(range(64))
    assert sorted(drawn["pools.main.engine.max_num_seqs"]) == list(range(1, 65))
    assert sorted(drawn[REPLICAS]) == sorted([1, 2, 4, 8] * 16)
    assert cells == sweep_points(asked, sample=64, sampler=sampler)
    other = sweep_points(asked.replace(seed=8), sample=64, sampler=sampler)
    assert drawn[RATE] != [cell.changes[RATE] for cell in other]


def test_the_ends_of_whole_ranges_are_as_likely_as_the_rest() -> None:
    even = Range(1, 4, whole=True)
    assert [even.at(share) for share in (0, 0.24, 0.26, 0.49, 0.51, 0.74, 0.76, 0.999)] == [
        1, 1, 2, 2, 3, 3, 4, 4
    ]  # fmt: skip
    log = Range(1, 7, log=True, whole=True)
    assert [log.at(share) for share in (0, 0.33, 0.34, 0.66, 0.67, 0.999)] == [1, 1, 2, 3, 4, 7]


def test_points_that_come_out_alike_are_one() -> None:
    asked = swept(pools__main__replicas={"low": 1, "high": 3})
    assert len(sweep_points(asked, sample=32)) == 3


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "sweep: missing; give values by field"),
        ({REPLICAS: [1, 0]}, r"sweep.pools.main.replicas\[1\]: 0 is not a whole number >= 1"),
        ({REPLICAS: [1, "x"]}, r"sweep.pools.main.replicas\[1\]: 'x' is not"),
        (
            {"pools.main.replicsa": [1]},
            r"sweep.pools.main.replicsa\[0\]: unknown field; did you mean replicas",
        ),
        ({"pools.min.replicas": [1]}, r"sweep.pools.min.replicas\[0\]: 'min' is no pool"),
        ({"pools": [{}]}, "sweep.pools: name a field of a pool"),
        ({RATE: [1, -1]}, r"sweep.workload.arrivals.rate_per_s\[1\]: .* -1"),
        ({"workload.lengths": ["sharegpt", "sharegtp"]}, r"sweep.workload.lengths\[1\]: .*sharegtp"),
        ({"pool.main.replicas": [1]}, "sweep.pool.main.replicas: 'pool' is no part of a scenario"),
        ({"compare": [1]}, "sweep.compare: 'compare' is no part"),
        ({REPLICAS: 3}, r"sweep.pools.main.replicas: 3 is neither a list of values nor a range"),
        ({REPLICAS: []}, r"sweep.pools.main.replicas: \[\] is neither"),
        ({REPLICAS: {"low": 1, "high": 3}}, "sweep.pools.main.replicas: a range needs a sample"),
        ({REPLICAS: {"low": 1}}, "sweep.pools.main.replicas.high: missing"),
        ({REPLICAS: {"low": 1, "high": 2.5}}, "sweep.pools.main.replicas: 1 to 2.5 are not whole"),
        ({RATE: {"low": 0, "high": 3, "log": True}}, "sweep.workload.arrivals.rate_per_s.low: 0 has no log"),
        ({RATE: {"low": 5, "high": 3}}, "sweep.workload.arrivals.rate_per_s.high: 3 is below low 5"),
        (
            {RATE: {"low": "a", "high": 3}},
            "sweep.workload.arrivals.rate_per_s.low: 'a' is not a finite number",
        ),
        (
            {RATE: {"low": 1, "high": 3, "log": 7}},
            "sweep.workload.arrivals.rate_per_s.log: 7 is not true or false",
        ),
        ({RATE: {"low": 1, "high": 3, "step": 1}}, "sweep.workload.arrivals.rate_per_s.step: unknown field"),
        (
            {"seed": list(range(101)), REPLICAS: list(range(1, 102))},
            "sweep: 10,201 points are not 1 to 10,000",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(asked: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        sweep(scenario(sweep=asked), processes=1)


def test_an_unknown_figure_ends_the_sweep_at_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    with pytest.raises(ValueError, match="'ttft_p98_s' is not one here; did you mean ttft_p9"):
        sweep(scenario(), processes=1, figures=["ttft_p98_s"], journal=journal)
    assert not journal.exists()
    sweep(scenario(), processes=1, journal=journal)
    with pytest.raises(ValueError, match="'ttft_p98_s' is not one here"):
        sweep(scenario(), processes=1, figures=["ttft_p98_s"], journal=journal)
    with open_journal(journal) as kept:
        assert len(kept.records) == 6
