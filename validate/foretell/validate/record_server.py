"""Recording both sides of vLLM's server: what its client measured, and what its engine did meanwhile.

The OpenAI server runs on loopback with a made-up model and a small tokenizer; `vllm bench serve` drives it, a
load after another. Client and engine read the same monotonic clock, so a request's way to the engine and
its tokens' way back are both known: a row of sides.csv each.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foretell.sim.schema import naming, read_mapping
from foretell.validate.record import engine_settings, model_config, whole_seed

SIDES = (
    *("request_id", "prompt_tokens", "output_tokens", "sent_s", "reached_s"),
    *("engine_first_s", "engine_last_s", "client_first_s", "client_last_s"),
)
"""Columns of sides.csv; seconds since the load's first request was sent."""
LOAD_FIELDS = (
    *("num_prompts", "request_rate", "burstiness", "max_concurrency"),
    *("random_input_len", "random_output_len", "random_range_ratio"),
)
"""What a load may say, under the names of `vllm bench serve`'s options."""
_SERVER = Path(__file__).with_name("vllm_server.py")
_SCHEDULER = Path(__file__).with_name("vllm_recorder.py")
_START_S, _BENCH_S = 180.0, 600.0


@dataclass(frozen=True, slots=True)
class ServerRecording:
    """What to record.

    Attributes:
        name: of the recording.
        model: contents of its config.json.
        engine: settings under vLLM's names.
        loads: by name, options of `vllm bench serve`.
        seed: of the prompts and arrivals.

    """

    name: str
    model: Mapping[str, Any]
    engine: Mapping[str, Any]
    loads: Mapping[str, Mapping[str, Any]]
    seed: int = 0


def load_server_recording(path: Path) -> ServerRecording:
    """Read what to record; a path in it starts there.

    Raises:
        ValueError: one line that names the file and the field.

    """
    values = read_mapping(path)
    with naming(path):
        for name in values:
            if name not in ("model", "engine", "loads", "seed"):
                raise ValueError(f"{name}: unknown field; known: model, engine, loads, seed")
        settings = {k: v for k, v in engine_settings(values).items() if k != "skip_tokenizer_init"}
        model = model_config(path.parent, values.get("model"))
        return ServerRecording(path.stem, model, settings, _loads(values["loads"]), whole_seed(values))


def _loads(given: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(given, dict) or not given:
        raise ValueError("loads: give at least one, as in {low: {num_prompts: 50, request_rate: 2}}")
    for name, load in given.items():
        if not isinstance(load, dict) or not isinstance(load.get("num_prompts"), int):
            raise ValueError(f"loads.{name}.num_prompts: missing, or not a whole number")
        for field, value in load.items():
            if field not in LOAD_FIELDS:
                raise ValueError(f"loads.{name}.{field}: unknown field; known: {', '.join(LOAD_FIELDS)}")
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"loads.{name}.{field}: {value!r} is not a number >= 0")
    return {str(name): load for name, load in given.items()}


def record_server(recording: ServerRecording, folder: Path, python: Path) -> dict[str, int]:
    """Serve every load; write config.json and sides.csv to a folder of its name; requests by load.

    Raises:
        ValueError: the server does not start, or its client fails.

    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".recording", dir=folder.parent) as beside:
        place = Path(beside)
        for name in ("model", "path"):
            (place / name).mkdir()
        (place / "model" / "config.json").write_text(json.dumps(recording.model), encoding="utf-8")
        shutil.copy(_SCHEDULER, place / "path")  # alone on the path: names beside it would hide others
        vocab = str(recording.model["vocab_size"])
        _call([python, _SERVER, "tokenizer", place / "model", vocab], place, "tokenizer")
        about = json.loads(_call([python, _SCHEDULER, "about"], place, "about").splitlines()[-1])
        results = {}
        with _server(recording, place, python) as port:
            for name in recording.loads:
                started = datetime.now(UTC).isoformat(timespec="seconds")
                load = os.getloadavg()[0]
                result = _bench(recording, name, place, python, port)
                results[name] = (result, {"date": started, "loadavg": [load, os.getloadavg()[0]]})
        steps, reached = read_step_log(place / "steps.jsonl")
        tables = {name: sides(result, name, steps, reached) for name, (result, _) in results.items()}
        for name, rows in tables.items():
            config = {
                "name": f"{recording.name}/{name}",
                "clock": "monotonic, of both sides",
                "load": dict(recording.loads[name]),
                "seed": recording.seed,
                "engine_args": dict(recording.engine),
                "model_config": dict(recording.model),
                **about,
                **results[name][1],
                "client": "vllm bench serve over loopback",
            }
            _write(folder / name, config, rows)
    return {name: len(rows) for name, rows in tables.items()}


@contextlib.contextmanager
def _server(recording: ServerRecording, place: Path, python: Path) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    fixed = ["--host", "127.0.0.1", "--port", str(port), "--model", str(place / "model")]
    fixed += ["--scheduler-cls", "vllm_recorder.RecordingScheduler"]
    environment = os.environ | {
        "PYTHONPATH": str(place / "path"),
        "FORETELL_STEP_LOG": str(place / "steps.jsonl"),
    }
    command = [str(python), str(_SERVER), "serve", *fixed, *_flags(recording.engine)]
    with (place / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        _await(server, port, place / "server.log")
        yield port
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def _flags(settings: Mapping[str, Any]) -> list[str]:
    """Settings as the server's command line takes them."""
    flags = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags += [f"--{flag}", str(value)]
    return flags


def _await(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
            return
        time.sleep(0.2)
    lines = [line for line in log.read_text(errors="replace").splitlines() if "rror" in line]
    raise ValueError(f"vLLM's server did not start: {lines[-1].strip() if lines else 'see its settings'}")


def _bench(recording: ServerRecording, name: str, place: Path, python: Path, port: int) -> Mapping[str, Any]:
    options = {
        "backend": "openai",
        "endpoint": "/v1/completions",
        "host": "127.0.0.1",
        "port": port,
        "model": place / "model",
        "dataset-name": "random",
        "seed": recording.seed,
        "num-warmups": 4,
        "request-id-prefix": f"{name}-",
        "result-dir": place,
        "result-filename": f"{name}.json",
        **{field.replace("_", "-"): value for field, value in recording.loads[name].items()},
    }
    flags = [str(part) for key, value in options.items() for part in (f"--{key}", value)]
    flags += ["--ignore-eos", "--save-result", "--save-detailed", "--disable-tqdm"]
    _call([python, _SERVER, "bench", *flags], place, f"loads.{name}")
    result: dict[str, Any] = json.loads((place / f"{name}.json").read_text(encoding="utf-8"))
    if result["failed"]:
        raise ValueError(f"loads.{name}: {result['failed']} requests failed: {max(result['errors'])[:200]}")
    return result


def _call(command: Sequence[object], place: Path, what: str) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=place, timeout=_BENCH_S, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ValueError(f"{what}: {lines[-1].strip() if lines else f'exit code {done.returncode}'}")
    return done.stdout


def read_step_log(path: Path) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Steps, and when each request reached the engine's process, by vLLM's names [s, monotonic]."""
    steps: list[dict[str, Any]] = []
    reached: dict[str, float] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "step" in entry:
            steps.append(entry["step"])
        else:
            reached[entry["reached"][0]] = entry["reached"][1]
    return steps, reached


def sides(
    result: Mapping[str, Any], name: str, steps: Sequence[Mapping[str, Any]], reached: Mapping[str, float]
) -> list[tuple[Any, ...]]:
    """Join the client's times with the engine's: rows of SIDES.

    vLLM calls the client's request `low-7` `cmpl-low-7-0-89abcdef`; a warm-up may have gone by the name too,
    so that the latest counts.

    Raises:
        ValueError: a request that only one side knows.

    """
    in_order = sorted(reached, key=lambda theirs: reached[theirs])
    of_name = {theirs.removeprefix("cmpl-").rsplit("-", 2)[0]: theirs for theirs in in_order}
    ends: dict[str, list[float]] = {}
    for step in steps:
        for theirs, _, _, _, samples in step["batch"]:
            if samples:
                ends.setdefault(theirs, []).append(step["end"])
    zero = min(result["start_times"])
    rows = []
    for i, sent in enumerate(result["start_times"]):
        theirs = of_name.get(f"{name}-{i}", "")
        if theirs not in ends or len(ends[theirs]) != result["output_lens"][i]:
            raise ValueError(f"loads.{name}: request {i} is not in the engine's log; record again")
        times = (sent, reached[theirs], ends[theirs][0], ends[theirs][-1])
        back = (sent + result["ttfts"][i], sent + result["latencies"][i])
        seconds = tuple(f"{t - zero:.6f}" for t in (*times, *back))
        rows.append((f"{name}-{i}", result["input_lens"][i], result["output_lens"][i], *seconds))
    return rows


def _write(folder: Path, config: Mapping[str, Any], rows: Sequence[Sequence[Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "sides.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(SIDES)
        table.writerows(rows)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
