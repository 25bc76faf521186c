"""`foretell ui` as a command: one line, a browser, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import ui_client

FORETELL = (sys.executable, "-m", "foretell.sim", "ui", "--no-browser")
PROMISE = "Only this machine can reach it; it reads no file but those you hand to it"


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The command, its line and its URL."""
    process = subprocess.Popen(
        [*FORETELL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield process, line, line.split()[0]
    finally:
        process.kill()
        process.communicate()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FORETELL, *arguments], capture_output=True, text=True, timeout=60, check=False)


def children(pid: int) -> set[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    direct = {int(text) for text in found.stdout.split()}
    return direct.union(*(children(child) for child in direct)) if direct else set()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a process there")
def test_it_starts_answers_and_ends_on_ctrl_c() -> None:
    with running("--port", "0") as (process, line, url):
        assert PROMISE in line
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        began = time.monotonic()
        assert "<html" in httpx.get(url, timeout=30).text
        assert time.monotonic() - began < 5
        headers = {"origin": url.rstrip("/")}
        reply = httpx.post(
            f"{url}answer", json={"scenario": dict(ui_client.CHAT)}, headers=headers, timeout=60
        )
        assert reply.json()["met"] is True
        started = children(process.pid)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 5
        out, err = process.communicate()
        assert (out, err) == ("", "")  # requests are not logged
        end = time.monotonic() + 8
        while any(Path(f"/proc/{pid}").exists() for pid in started):
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are looked for in /proc")
def test_nothing_outlives_a_killed_server() -> None:
    """A process in the middle of a simulation of minutes ends when the server is killed."""
    with running("--port", "0") as (process, _, url):
        scenario = httpx.get(f"{url}choices", timeout=30).raise_for_status().json()["scenario"]
        scenario["workload"] |= {"num_requests": 400_000}
        headers = {"origin": url.rstrip("/")}
        httpx.post(f"{url}simulate", json={"scenario": scenario}, headers=headers).raise_for_status()
        time.sleep(1)  # it is at work
        started = children(process.pid)
        assert started
        process.kill()
        end = time.monotonic() + 8
        while any(Path(f"/proc/{pid}").exists() for pid in started):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_it_is_not_reached_from_elsewhere() -> None:
    with running("--port", "0") as (_, _, url):
        port = int(url.rsplit(":", 1)[1].strip("/"))
        addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in addresses - {"127.0.0.1"}:
            with pytest.raises(OSError), socket.create_connection((str(address), port), timeout=2):
                pass


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        found = run("--port", port)
    assert found.returncode == 2
    assert (
        found.stderr
        == f"foretell: error: --port {port}: is in use; name another by --port, or --port 0 for any\n"
    )


def test_any_other_address_is_warned_about() -> None:
    with running("--host", "0.0.0.0", "--port", "0") as (_, line, _):
        assert "Warning: whoever reaches 0.0.0.0 can use it" in line
        assert PROMISE not in line
    found = run("--host", "no.such.host.invalid")
    assert found.returncode == 2
    assert found.stderr.startswith("foretell: error: --host no.such.host.invalid: ")
    found = run("--host", "192.0.2.1", "--port", "0")  # of documentation: nobody's
    assert (found.returncode, "--port" in found.stderr) == (2, False)
    assert found.stderr == "foretell: error: --host 192.0.2.1: no address of this machine\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is to be set up first")
def test_any_address_of_loopback_is_promised() -> None:
    with running("--host", "127.0.0.2", "--port", "0") as (_, line, url):
        assert PROMISE in line
        assert httpx.get(url, timeout=30).status_code == 200


def test_a_scenario_is_handed_over_by_name(tmp_path: Path) -> None:
    rows = "".join(f"{i * 0.5},100,50\n" for i in range(200))
    (tmp_path / "requests.csv").write_text(f"arrival_s,prompt_tokens,output_tokens\n{rows}", encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "workload: {trace: requests.csv}\npools: {chat: {model: llama-3.1-8b, hardware: h100-sxm}}\n"
        "plan: {fields: {pools.chat.hardware: [h200]}}\n",
        encoding="utf-8",
    )
    with running(str(file), "--port", "0") as (_, _, url), httpx.Client(base_url=url, timeout=60) as client:
        client.headers["origin"] = url.rstrip("/")
        choices = client.get("/choices").json()
        assert choices["file"] == "mine.yaml"
        scenario: dict[str, Any] = choices["scenario"]
        assert scenario["workload"] == {"trace": str(tmp_path / "requests.csv")}
        assert client.post("/answer", json={"scenario": scenario}).status_code == 200
        other = scenario | {"workload": {"trace": str(file)}}
        assert client.post("/answer", json={"scenario": other}).json()["field"] == "workload.trace"


def test_a_bad_scenario_is_refused_before_anything_is_served(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("workload: {lengths: sharegpt}\n", encoding="utf-8")
    found = run(str(file))
    assert (found.returncode, found.stdout) == (2, "")
    assert "bad.yaml" in found.stderr


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    found = subprocess.run(
        [*FORETELL],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
        check=False,
    )
    assert found.returncode == 2
    assert found.stderr == "foretell: error: foretell ui needs the extra ui: pip install 'foretell[ui]'\n"


def test_help_imports_no_server() -> None:
    code = (
        "import sys; from foretell.sim.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit(bool({'starlette', 'uvicorn', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
