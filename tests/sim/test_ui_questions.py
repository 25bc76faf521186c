"""A question names no file and no code of this machine, unless it was handed over."""

from __future__ import annotations

import ast
import json
import time
from pathlib import Path
from typing import Any

import pytest

import foretell.sim
from foretell.sim import Scenario
from foretell.sim.schema import load_values
from foretell.sim.ui.questions import Handed, asked, check_work, handed_by
from foretell.sim.ui.work import WORK, RefusedError, refused
from foretell.sim.ui.workers import Workers
from ui_client import CHAT, changed

NOTHING = Handed()
TASK = {
    "workload": {"task": "aime24", "arrivals": {"process": "poisson", "rate_per_s": 0.01}},
    "pools": {"solver": {"model": "qwen3-8b", "hardware": "h100-sxm"}},
}


def with_task(strategy: dict[str, Any]) -> dict[str, Any]:
    return {**TASK, "strategy": strategy}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that a question must not open; a folder with a config.json, too."""
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


PLACES: dict[str, Any] = {  # field → a scenario that names this there
    "workload.trace": lambda name: changed(workload={"trace": name}),
    "workload.lengths.trace": lambda name: changed(workload__lengths={"trace": name}),
    "pools.chat.model": lambda name: changed(pools__chat__model=name),
    "pools.chat.hardware": lambda name: changed(pools__chat__hardware=name),
    "pools.chat.calibration": lambda name: changed(pools__chat__calibration=name),
    "pools.chat.router": lambda name: changed(pools__chat__router=name),
    "pools.chat.engine": lambda name: changed(pools__chat__engine=name),
    "pools.chat.engine.preset": lambda name: changed(pools__chat__engine={"preset": name}),
    "pools.chat.outcomes": lambda name: changed(pools__chat__outcomes=name),
    "pools.chat.replicas.0.hardware": lambda name: changed(pools__chat__replicas=[{"hardware": name}]),
    "pools.chat.replicas.0.calibration": lambda name: changed(pools__chat__replicas=[{"calibration": name}]),
    "pools.chat.replicas.0.engine.preset": lambda name: changed(
        pools__chat__replicas=[{"engine": {"preset": name}}]
    ),
    "client": lambda name: changed(client=name),
    "strategy.kv_transfer.link": lambda name: changed(
        strategy={"name": "disaggregated", "kv_transfer": {"link": name}}
    ),
    "strategy.name": lambda name: with_task({"name": name}),
    "strategy.strategies.0.name": lambda name: with_task({"name": "router", "strategies": [{"name": name}]}),
    "strategy.anything.deep.0": lambda name: with_task({"name": "single", "anything": {"deep": [name]}}),
}
NAMES = (
    "{secret}",
    "{secret}/config.json",
    "{secret}/x.toml",
    "../x.toml",
    "x.JSON",
    "~/x.toml",
    "os:system",
    "C:\\x.toml",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", PLACES)
def test_files_and_code_are_refused_by_field(
    field: str, name: str, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins
    import importlib

    def never(*args: Any, **given: Any) -> Any:
        raise AssertionError(f"read {args}")

    name = name.replace("{secret}", str(secret))
    scenario = PLACES[field](name)
    with pytest.raises(ValueError, match=r"^[\w.]+: .+") as warm:  # imports are over then
        asked(scenario, NOTHING)
    monkeypatch.setattr(Path, "read_text", never)
    monkeypatch.setattr(Path, "open", never)
    monkeypatch.setattr(builtins, "open", never)
    load = importlib.import_module
    monkeypatch.setattr(
        importlib,
        "import_module",
        lambda name, *more: load(name, *more) if name.startswith("foretell") else never(name),
    )
    for kind in ("answer", "frontier", "write"):
        with pytest.raises(ValueError, match=r"^[\w.]+: .+") as told:
            WORK[kind](scenario=scenario, handed=NOTHING)
        assert str(told.value) == str(warm.value)
        found = refused(told.value)
        assert found.field == field
        assert "\n" not in found.message


READERS = {"read_trace", "read_profile", "read_file", "read_record", "import_module", "read_text", "open"}
KNOWN = {  # modules that open files or load code, and why no field of a question leads there unchecked
    *("records.py", "replayfile.py", "observations.py", "steplog.py", "journal.py"),  # of other commands
    *("sweeping.py", "sweeping_key.py"),
    "vllm_flags.py",  # what is bundled
    *("presets.py", "client.py", "catalogue.py", "__init__.py"),  # the same, or by a field of PLACES
    *("schema.py", "profile.py", "deployment.py", "workload.py", "routers.py"),  # by a field of PLACES
}


def test_every_reader_of_files_is_known() -> None:
    """Whoever adds a module that opens files says here by which field, and adds that to PLACES."""
    folder = Path(foretell.sim.__file__).parent
    found = set()
    for file in folder.rglob("*.py"):
        if {"cli", "ui", "report"} & set(file.relative_to(folder).parts):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in READERS:
                    found.add(file.name)
    assert found <= KNOWN, found - KNOWN


def test_what_was_handed_over_may_be_named(tmp_path: Path) -> None:
    trace = tmp_path / "requests.csv"
    rows = "".join(f"{i * 0.5},100,50\n" for i in range(200))
    trace.write_text(f"arrival_s,prompt_tokens,output_tokens\n{rows}", encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(
        "workload: {trace: requests.csv}\npools: {chat: {model: llama-3.1-8b, hardware: h100-sxm}}\n",
        encoding="utf-8",
    )
    values = load_values(file)
    handed = Handed(handed_by(values))
    assert asked(values, handed).workload.trace == str(trace)
    with pytest.raises(ValueError, match=r"workload\.trace: .* file of this machine"):
        asked(values, NOTHING)
    other = values | {"workload": {"trace": str(tmp_path / "other.csv")}}
    with pytest.raises(ValueError, match=r"workload\.trace"):
        asked(other, handed)
    assert "upload" not in str(handed.texts)
    told = json.loads(WORK["answer"](scenario=values, handed=handed))
    assert str(trace) in told["yaml"]


def test_an_upload_is_known_by_its_id_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    scenario = changed(workload={"trace": "upload:ab"})
    assert asked(scenario, Handed(uploads={"ab": path})).workload.trace == str(path)
    for name in ("upload:cd", "upload:../x", "upload:"):
        with pytest.raises(ValueError, match=r"workload\.trace: .*not there any more"):
            asked(changed(workload={"trace": name}), Handed(uploads={"ab": path}))
    with pytest.raises(ValueError, match=r"pools\.chat\.calibration"):
        asked(changed(pools__chat__calibration="upload:ab"), Handed(uploads={"ab": path}))


@pytest.mark.parametrize("name", ["llama-3.1-8b", "LLaMA-3.1-8B"])
def test_bundled_names_pass(name: str) -> None:
    found = asked(changed(pools__chat__model=name, pools__chat__router="power_of_d:3"), NOTHING)
    assert found.pool.router == "power_of_d:3"
    asked(changed(client={"request_s": 0.001, "source": "https://example.org/x.toml"}), NOTHING)
    asked(changed(pools={"c": {"step_cost": "affine:1e-3,2e-5"}}), NOTHING)


ABSURD = {
    "replicas": changed(pools__chat__replicas=10**9),
    "ranks": changed(pools__chat__data_parallel_size=10**9),
    "draws": changed(replications=10**9),
    "numbers": changed(workload__arrivals={"process": "poisson", "rate_per_s": 10**400}),
    "tokens": changed(workload__lengths={"prompt": 10**14, "output": 10**14}),
    "shards": changed(pools__chat__tensor_parallel_size=10**12),
    "seats": changed(pools__chat__engine={"max_num_seqs": 10**14}),
    "blocks": changed(pools__chat__engine={"num_gpu_blocks": 10**14, "max_model_len": 10**14}),
    "many": changed(pools={f"p{i}": {"model": "llama-3.1-8b", "hardware": "h100-sxm"} for i in range(9000)}),
    "deep": changed(strategy={"name": json.loads("[" * 50 + "]" * 50)}),
    "long": changed(pools__chat__model="a" * 10**5),
    "rates": changed(
        workload__arrivals={"process": "mmpp", "rates_per_s": [1e-15, 1e15], "sojourns_s": [1e15, 1e-15]}
    ),
    "fast": changed(workload__arrivals={"process": "poisson", "rate_per_s": 1e15}),
    "percentiles": changed(objectives={f"ttft_p{i}": "1 s" for i in range(99)}),
}


@pytest.mark.parametrize("name", ABSURD)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_absurd_sizes_are_answered_or_refused_in_time(name: str) -> None:
    began = time.process_time()
    for kind in ("answer", "frontier"):
        try:
            Workers(0).ask(kind, {"scenario": ABSURD[name], "handed": NOTHING})
        except RefusedError as error:
            assert "foretell failed" not in error.message, error.message
    assert time.process_time() - began < 5


def test_yaml_that_unfolds_is_refused() -> None:
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 12))
    began = time.process_time()
    with pytest.raises(RefusedError, match="more than 5,000 values"):
        Workers(0).ask("read", {"yaml": f"l0: &l0 [1]\n{levels}", "handed": NOTHING})
    assert time.process_time() - began < 2


def chained(levels: int) -> str:
    return "".join(f"m{i}: &m{i} {{<<: *m{i - 1}, k{i}: 1}}\n" for i in range(1, levels))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}\n" for i in range(1, 12)),
            "merges one table",
        ),
        ("m1: &m1 {<<: *m0, <<: *m0}\n", "merges one table"),
        (chained(4_000), "<< unfolds into more than 5,000 values"),
        (f"a: {'x' * 200_000}\n", "characters; the page reads up to 200,000"),
    ],
)
def test_yaml_that_merges_into_far_more_is_refused(text: str, why: str) -> None:
    began = time.process_time()
    with pytest.raises(RefusedError, match=why) as told:
        Workers(0).ask("read", {"yaml": f"m0: &m0 {{a: 1}}\n{text}", "handed": NOTHING})
    assert "\n" not in told.value.message
    assert time.process_time() - began < 5


def test_yaml_may_merge_a_table() -> None:
    text = """
workload: {arrivals: {process: poisson, rate_per_s: 2}, lengths: sharegpt, num_requests: 100}
pools:
  chat: &chat {model: llama-3.1-8b, hardware: h100-sxm}
strategy: {name: single}
plan: {again: {<<: *chat, hardware: h200}}
"""
    assert json.loads(Workers(0).ask("read", {"yaml": text, "handed": NOTHING}))["dropped"] == ["plan"]


def test_simulations_are_bounded() -> None:
    check_work(Scenario.from_dict(CHAT))
    with pytest.raises(ValueError, match=r"workload\.num_requests: 1,000,000,000,000 requests"):
        check_work(Scenario.from_dict(changed(workload__num_requests=10**12)))
    endless = changed(
        workload={"arrivals": CHAT["workload"]["arrivals"], "lengths": "sharegpt", "duration_s": 1e12}
    )
    with pytest.raises(ValueError, match=r"workload\.duration_s"):
        check_work(Scenario.from_dict(endless))


def test_a_trace_is_counted_before_it_is_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foretell.sim.ui import questions

    monkeypatch.setattr(questions, "MOST_REQUESTS", 100)
    monkeypatch.setattr(questions, "MOST_SIMULATED", 500)
    trace = tmp_path / "long.csv"
    rows = "".join(f"{i},100,50\n" for i in range(120))
    trace.write_text(f"arrival_s,prompt_tokens,output_tokens\n{rows}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"workload\.trace: 120 requests; .* set workload\.head"):
        check_work(Scenario.from_dict(changed(workload={"trace": str(trace)})))
    cut = changed(workload={"trace": str(trace), "head": 80})
    check_work(Scenario.from_dict(cut | {"replications": 6}))
    with pytest.raises(ValueError, match="replications: 8 of 80 requests each"):
        check_work(Scenario.from_dict(cut | {"replications": 8}))


def test_a_trace_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foretell.sim import workload
    from foretell.traces import read_trace

    read = []

    def counted(path: str, format: str | None) -> Any:
        read.append(path)
        return read_trace(path, format)

    monkeypatch.setattr(workload, "read_trace", counted)
    trace = tmp_path / "requests.csv"
    text = "arrival_s,prompt_tokens,output_tokens\n0,100,50\n1,100,50\n"
    trace.write_text(text, encoding="utf-8")
    spec = Scenario.from_dict(changed(workload={"trace": str(trace)})).workload
    found = [workload.fixed_trace(spec) for _ in range(3)]
    assert [len(one) for one in found if one is not None] == [2, 2, 2]
    assert len(read) == 1
    trace.write_text(text + "2,100,50\n", encoding="utf-8")
    again = workload.fixed_trace(spec)
    assert again is not None
    assert len(again) == 3


def test_a_trace_beyond_measure_is_refused_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foretell.sim.ui import uploads

    monkeypatch.setattr(uploads, "TRACE_ROWS", 10)
    for rows, good in ((10, True), (11, False), (50, False)):
        trace = tmp_path / f"{rows}.csv"
        lines = "".join(f"{i},100,50\n" for i in range(rows))
        trace.write_text(f"arrival_s,prompt_tokens,output_tokens\n{lines}", encoding="utf-8")
        if good:
            assert json.loads(WORK["trace"](path=trace))["requests"] == rows
        else:
            with pytest.raises(ValueError, match="at most 1,000,000 requests; give only its first"):
                WORK["trace"](path=trace)
