"""Traces, simulations and workers of the what-if page: real processes, ended when nobody waits."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from foretell.sim import Scenario, forecast
from foretell.sim.ui import jobs, uploads, work, workers
from foretell.sim.ui.app import Desk
from foretell.sim.ui.jobs import Jobs
from foretell.sim.ui.questions import Handed
from foretell.sim.ui.work import RefusedError
from foretell.sim.ui.workers import EndingError, SupersededError, TooLongError, Workers
from ui_client import CHAT, changed, served

QUICK = changed(workload__num_requests=60, replications=2)
LONG = changed(workload__num_requests=200_000, replications=8)
ROWS = "".join(f"{i * 0.4:.1f},{100 + i % 7},{20 + i % 5}\n" for i in range(400))
TRACE = f"arrival_s,prompt_tokens,output_tokens\n{ROWS}".encode()


def told(client: Any, job: str) -> list[tuple[str, dict[str, Any]]]:
    """All events of a simulation, until it has ended."""
    found = []
    with client.stream("GET", f"/simulate/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for block in "".join(stream.iter_text()).strip().split("\n\n"):
            event, data = block.split("\n")
            found.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def until(condition: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_simulation_ends_in_an_answer_and_a_report() -> None:
    with served() as client:
        job = client.post("/simulate", json={"scenario": QUICK}).json()["job"]
        assert client.get(f"/simulate/{job}/report").status_code in (200, 404)
        events = told(client, job)
        assert [name for name, _ in events[:-1]] == ["progress"] * (len(events) - 1)
        name, answer = events[-1]
        assert name == "done"
        found = forecast(Scenario.from_dict(QUICK))
        figures = {one["name"]: one["value"] for one in answer["figures"]}
        assert figures["e2e_p99_s"] == found.summary["e2e_p99_s"].value
        assert answer["method"] == found.method
        assert set(answer["charts"]) == {"latency", "step_time"}
        report = client.get(answer["report"])
        assert report.text.startswith("<!doctype html>")
        assert "script-src" not in report.headers["content-security-policy"]
        assert "default-src 'none'" in report.headers["content-security-policy"]
        assert told(client, job)[-1][0] == "done"  # a late reader is told as well


def test_simulations_are_few_and_can_be_cancelled() -> None:
    desk = Desk(workers=Workers(0))
    with served(desk) as client:
        first, second = (client.post("/simulate", json={"scenario": LONG}).json()["job"] for _ in range(2))
        full = client.post("/simulate", json={"scenario": QUICK})
        assert full.status_code == 429
        assert "2 simulations are running" in full.json()["error"]
        process = desk.jobs.find(first).process  # type: ignore[union-attr]
        assert client.delete(f"/simulate/{first}").json() == {"cancelled": True}
        assert told(client, first) == [("cancelled", {})]
        assert gone(process.pid)
        third = client.post("/simulate", json={"scenario": QUICK}).json()["job"]
        assert told(client, third)[-1][0] == "done"
        last = desk.jobs.find(second).process  # type: ignore[union-attr]
    assert gone(last.pid)  # with the server


def test_a_simulation_that_nobody_waits_for_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LONELY_S", 0.3)
    many = Jobs()
    job = many.begin(LONG, Handed())
    assert job is not None
    until(lambda: job.state == "cancelled" and gone(job.process.pid))


def test_a_simulation_is_ended_once_however_many_end_it() -> None:
    many = Jobs()
    job = many.begin(LONG, Handed())
    assert job is not None
    job.readers = 1
    ends = [
        threading.Thread(target=job.end, args=(state,)) for state in ("cancelled", "failed", "cancelled") * 3
    ]
    for one in ends:
        one.start()
    for one in ends:
        one.join(20)
        assert gone(job.process.pid)  # none comes back before it is ended
    state = job.state
    assert state in ("cancelled", "failed")
    job.end("done")
    assert job.state == state
    until(lambda: job.way.closed)


def test_bad_simulations_are_refused_in_a_line() -> None:
    with served() as client:
        reply = client.post("/simulate", json={"scenario": changed(pools__chat__model="x")})
        assert (reply.status_code, reply.json()["field"]) == (422, "pools.chat.model")
        job = client.post("/simulate", json={"scenario": changed(workload__num_requests=10**12)}).json()[
            "job"
        ]
        [*_, (name, error)] = told(client, job)
        assert name == "failed"
        assert error["field"] == "workload.num_requests"
        for path in ("/simulate/none/events", "/simulate/none/report", f"/simulate/{job}/report"):
            assert client.get(path).status_code == 404


def test_a_trace_is_loaded_and_forecast(tmp_path: Path) -> None:
    desk = Desk(workers=Workers(0))
    with served(desk) as client:
        reply = client.post("/trace?name=../../My requests.csv.gz", content=gzip.compress(TRACE))
        about = reply.json()
        assert reply.status_code == 200, about
        assert (about["name"], about["requests"], about["format"]) == ("My-requests.csv.gz", 400, "csv")
        assert about["rate_per_s"] == pytest.approx(2.5)
        assert about["chart"].startswith("<figure>")
        scenario = changed(workload={"trace": about["trace"]})
        answer = client.post("/answer", json={"scenario": scenario}).json()
        assert "trace: My-requests.csv.gz" in answer["yaml"]
        assert answer["yaml"].startswith("# trace: My-requests.csv.gz was loaded into the page")
        assert str(desk.uploads.folder) not in json.dumps(answer)
        back = client.post("/read", json={"yaml": answer["yaml"]}).json()
        assert back["scenario"]["workload"]["trace"] == about["trace"]
        file = tmp_path / "mine.yaml"
        file.write_text(answer["yaml"], encoding="utf-8")
        assert Scenario.load(file).workload.trace == str(tmp_path / "My-requests.csv.gz")
        job = client.post("/simulate", json={"scenario": scenario | {"replications": 2}}).json()["job"]
        name, done = told(client, job)[-1]
        assert (name, "400 requests" in done["subject"]) == ("done", True)
        assert str(desk.uploads.folder) not in client.get(done["report"]).text
        folder = desk.uploads.folder
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_bad_traces_are_a_line_and_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretell.sim.ui.app.TRACE_BYTES", 10_000)
    desk = Desk(workers=Workers(0))
    with served(desk) as client:
        for content, status in (
            (b"", 400),
            (b"nonsense\n", 422),
            (b"x" * 20_000, 413),
            (b"\x1f\x8bgarbage", 422),
        ):
            reply = client.post("/trace?name=x.csv", content=content)
            assert reply.status_code == status
            assert reply.json()["error"] and "\n" not in reply.json()["error"]
            assert "foretell-ui" not in reply.text
        assert list(desk.uploads.folder.iterdir()) == []
        for name in ("", "..", "/etc/passwd", "a\\b\x00c", "x" * 500, "é.csv"):
            reply = client.post("/trace", params={"name": name}, content=TRACE)
            assert reply.status_code == 200
        assert all(path.parent.parent == desk.uploads.folder for path in desk.uploads.paths.values())


def test_only_the_latest_traces_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "KEPT", 2)
    kept = uploads.Uploads()
    ids = [kept.keep(kept.place("x.csv")) for _ in range(3)]
    assert list(kept.paths) == ids[1:]
    assert len(list(kept.folder.iterdir())) == 2
    kept.remove()


def wait_s(seconds: float, handed: object = None) -> str:
    time.sleep(seconds)
    return json.dumps(seconds)


def too_large(handed: object = None) -> str:
    return str(len(b"x" * (64 * 2**30)))


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two workers by fork, which know the questions above."""
    import multiprocessing

    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork here")
    monkeypatch.setattr(workers, "context", lambda: multiprocessing.get_context("fork"))
    monkeypatch.setattr(workers, "_APART_S", 0.0)
    monkeypatch.setattr("foretell.sim.ui.warm.warm_ups", lambda: iter(()))
    monkeypatch.setitem(work.WORK, "wait", wait_s)
    monkeypatch.setitem(work.WORK, "large", too_large)
    made = Workers(2, patience_s=3.0)
    made.start()
    yield made
    made.stop()


def test_a_slow_question_keeps_no_other_waiting(pool: Workers) -> None:
    slow = threading.Thread(target=pool.ask, args=("wait", {"seconds": 2.0}))
    slow.start()
    began = time.monotonic()
    assert pool.ask("wait", {"seconds": 0.01}) == "0.01"
    assert time.monotonic() - began < 1.5
    slow.join()


def test_a_question_without_end_is_ended_and_the_next_is_answered(pool: Workers) -> None:
    began = time.monotonic()
    with pytest.raises(TooLongError):
        pool.ask("wait", {"seconds": 60})
    assert time.monotonic() - began < 5
    assert pool.ask("wait", {"seconds": 0.01}) == "0.01"


def test_a_newer_question_of_the_page_makes_an_older_one_void(pool: Workers) -> None:
    outcome: list[object] = []

    def ask() -> None:
        try:
            outcome.append(pool.ask("wait", {"seconds": 2.9}, "page"))
        except SupersededError as error:
            outcome.append(error)

    old = threading.Thread(target=ask)
    old.start()
    time.sleep(0.3)
    assert pool.ask("wait", {"seconds": 0.01}, "other") == "0.01"
    assert pool.ask("wait", {"seconds": 0.02}, "page") == "0.02"
    old.join()
    assert isinstance(outcome[0], SupersededError)


def test_questions_are_told_that_the_server_is_ending(pool: Workers) -> None:
    """Those that are worked at, those that wait for a worker, and those that come after."""
    outcome: list[object] = []

    def ask() -> None:
        try:
            outcome.append(pool.ask("wait", {"seconds": 2.9}))
        except Exception as error:
            outcome.append(error)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for one in asking:
        one.start()
    time.sleep(0.5)
    pool.stop()
    for one in asking:
        one.join(5)
    ask()
    assert [type(one) for one in outcome] == [EndingError] * 5


def test_a_question_that_needs_too_much_memory_is_refused(pool: Workers) -> None:
    with pytest.raises(RefusedError, match="not enough memory"):
        pool.ask("large", {})
    assert pool.ask("wait", {"seconds": 0.01}) == "0.01"


def test_workers_answer_as_the_thread_does() -> None:
    made = Workers(1)
    made.start()
    try:
        given = {"scenario": dict(CHAT), "handed": Handed()}
        one, other = json.loads(made.ask("answer", given)), json.loads(Workers(0).ask("answer", given))
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
        with pytest.raises(RefusedError) as told:
            made.ask("answer", {"scenario": {}, "handed": Handed()})
        assert told.value.field == "workload"
    finally:
        made.stop()
