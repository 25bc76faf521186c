"""Reading a `vllm serve` line: what `vllm_command` writes comes back as the same pool."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.models.architecture import list_architectures
from foretell.sim import Scenario
from foretell.sim.forecasting import deployed
from foretell.sim.presets import EngineSettings
from foretell.sim.scenario import Pool
from foretell.sim.vllm_command import model_id, serve_commands
from foretell.sim.vllm_flags import ENGINE, IGNORED, POOL, SHORT, SWITCHES
from foretell.sim.vllm_line import read_serve_line

PYTHONS = [path for path in os.environ.get("FORETELL_VLLM_PYTHON", "").split(os.pathsep) if path]
NOT_OF_032 = {
    "calculate-kv-scales",
    "device",
    "disable-log-requests",
    "guided-decoding-backend",
    "logits-processor-pattern",
    "lora-extra-vocab-size",
    "max-long-partial-prefills",
    "max-num-partial-prefills",
    "num-lookahead-slots",
    "num-redundant-experts",
    "prompt-adapters",
    "rope-scaling",
    "rope-theta",
    "swap-space",
    "task",
}
"""Flags that lines for other versions of vLLM have."""
CHAT = {"model": "llama-3.1-8b", "hardware": "h100-sxm"}
WORKLOAD = {"arrivals": {"process": "poisson", "rate_per_s": 1}, "lengths": {"prompt": 64, "output": 64}}


def scenario(pool: dict[str, Any]) -> Scenario:
    return Scenario.from_dict({"workload": WORKLOAD, "pools": {"chat": pool}})


def line_of(pool: dict[str, Any]) -> str:
    asked = scenario(pool)
    [command] = serve_commands(asked, deployed(asked, 96.0))
    return command.line


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Whether two pools come to the same: architecture, layout, formats, memory, settings, step times."""
    first, second = scenario(one), scenario(other)
    bare = [replace(asked.pool, engine=EngineSettings()) for asked in (first, second)]
    assert bare[0] == bare[1]
    parts = [deployed(asked, 96.0).parts[0] for asked in (first, second)]
    assert parts[0].config == parts[1].config
    assert parts[0].capacity == parts[1].capacity
    load = (512, 512 * 256, 0, 1, 16, 16 * 1000, 16)
    assert parts[0].cost(*load) == parts[1].cost(*load)


LAYOUTS = st.sampled_from(
    [
        CHAT,
        CHAT | {"tensor_parallel_size": 2, "pipeline_parallel_size": 2},
        CHAT | {"quantization": "fp8", "kv_cache_dtype": "fp8"},
        CHAT | {"quantization": "int8", "dtype": "half"},
        CHAT | {"quantization": "awq", "hardware": "l40s"},
        CHAT | {"quantization": "modelopt_fp4", "hardware": "b200"},
        {"model": "gpt-oss-120b", "hardware": "h100-sxm", "data_parallel_size": 2},
        {
            "model": "qwen3-235b-a22b",
            "hardware": "h200",
            "tensor_parallel_size": 8,
            "enable_expert_parallel": True,
            "quantization": "fp8",
        },
    ]
)
ENGINES = st.fixed_dictionaries(
    {},
    optional={
        "preset": st.sampled_from(["vllm-0.32-server", "vllm-0.32-offline"]),
        "max_num_seqs": st.sampled_from([8, 256, 1024]),
        "max_num_batched_tokens": st.sampled_from([2048, 16384]),
        "max_model_len": st.sampled_from([2048, 16384]),
        "block_size": st.sampled_from([16, 32]),
        "enable_prefix_caching": st.booleans(),
        "async_scheduling": st.booleans(),
        "enforce_eager": st.booleans(),
        "scheduling_policy": st.sampled_from(["fcfs", "priority"]),
        "long_prefill_token_threshold": st.sampled_from([0, 1024]),
        "scheduler_reserve_full_isl": st.booleans(),
        "watermark": st.sampled_from([0.0, 0.05]),
        "performance_mode": st.sampled_from(["balanced", "throughput"]),
    },
)
MEMORY = st.sampled_from([{}, {"num_gpu_blocks": 4000}, {"gpu_memory_utilization": 0.85}])


@settings(max_examples=60, deadline=None)
@given(LAYOUTS, ENGINES, MEMORY)
def test_what_a_plan_writes_is_read_back_as_the_same_pool(
    layout: dict[str, Any], engine: dict[str, Any], memory: dict[str, Any]
) -> None:
    pool = layout | {"engine": engine | memory}
    found = read_serve_line(line_of(pool))
    assert found.ignored == ()
    same(
        pool,
        found.laid_over({"model": "qwen3-8b", "hardware": pool["hardware"], "engine": {"block_size": 64}}),
    )


def test_every_bundled_model_is_found_by_what_a_line_calls_it() -> None:
    for name in list_architectures():
        found = read_serve_line(f"vllm serve {model_id(name)}").pool["model"]
        assert model_id(found) == model_id(name)


@pytest.mark.parametrize(
    ("model", "pool"),
    [
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", {"model": "llama-3.1-8b"}),
        ("Qwen/Qwen3-32B-FP8", {"model": "qwen3-32b", "quantization": "fp8"}),
        (
            "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8",
            {"model": "llama-3.1-8b", "quantization": "int8"},
        ),
        ("Qwen/Qwen3-32B-AWQ", {"model": "qwen3-32b", "quantization": "awq"}),
        ("/models/Qwen3-32B/", {"model": "qwen3-32b"}),
        ("nobody/NothingLikeIt", {}),
    ],
)
def test_names_of_checkpoints(model: str, pool: dict[str, str]) -> None:
    found = read_serve_line(f"vllm serve {model}")
    assert found.pool == pool
    assert bool(found.ignored) == (not pool)


@pytest.mark.parametrize(
    "text",
    [
        "vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2 --max-num-seqs 64",
        "$ vllm serve --tensor-parallel-size=2 Qwen/Qwen3-32B --max_num_seqs=64",
        "A=0,1 B='b c' /opt/venv/bin/vllm serve Qwen/Qwen3-32B \\\n  -tp 2 \\\r\n --max-num-seqs 64",
        "python3 -m vllm.entrypoints.openai.api_server --model Qwen/Qwen3-32B -tp=2 --max-num-seqs '64'",
        "pip install vllm && nohup vllm serve Qwen/Qwen3-32B -tp2 --max-num-seqs 64 > log 2>&1 &",
        "docker run -p 80:80 vllm/vllm-openai:v0.32.0 --model Qwen/Qwen3-32B -tp 2 --max-num-seqs 64",
        "vllm serve Qwen/Qwen3-32B -tp 2 --max-num-seqs 64; echo done",
        "vllm serve Qwen/Qwen3-32B -tp 2 --max-num-seqs 64 # two GPUs",
    ],
)
def test_however_a_server_is_started(text: str) -> None:
    found = read_serve_line(text)
    assert found.pool == {"model": "qwen3-32b", "tensor_parallel_size": 2, "engine": {"max_num_seqs": 64}}
    assert found.ignored == ()


def test_what_changes_nothing_is_named_with_its_reason() -> None:
    found = read_serve_line(
        "vllm serve Qwen/Qwen3-32B --port 8000 --trust-remote-code --speculative-config.method mtp "
        "--enable-auto-tool-choice --no-enable-log-requests --tensor-paralel-size 2 --swap_space 4 --bogus"
    )
    ignored = dict(found.ignored)
    assert found.pool == {"model": "qwen3-32b"}
    assert ignored["--port 8000"].startswith("says how the server is reached")
    assert "not modelled" in ignored["--speculative-config.method mtp"]
    assert "not modelled" in ignored["--swap_space 4"]
    assert ignored["--tensor-paralel-size 2"].endswith("did you mean --tensor-parallel-size?")
    assert ignored["--bogus"] == "not a flag that is known here"
    assert len(ignored) == 8


@pytest.mark.parametrize(
    ("value", "tokens"), [("8192", 8192), ("8k", 8000), ("8K", 8192), ("1.5k", 1500), ("1m", 10**6)]
)
def test_numbers_as_vllm_takes_them(value: str, tokens: int) -> None:
    found = read_serve_line(f"vllm serve Qwen/Qwen3-32B --max-model-len {value}")
    assert found.pool["engine"] == {"max_model_len": tokens}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ls -l",
        "vllm",
        "vllm bench serve",
        "vllm serve",
        "vllm serve --port 80",
        "vllm serve 'a",
        "vllm serve a/b --max-num-seqs many",
        "vllm serve a/b --max-num-seqs",
        "vllm serve a/b --max-num-seqs 1.5",
        "vllm serve a/b --watermark x",
        "vllm serve a/b --enforce-eager=maybe",
    ],
)
def test_what_is_no_such_line_is_refused_in_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"^command: [^\n]+$"):
        read_serve_line(text)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([*SHORT, *(f"--{f}" for f in [*POOL, *ENGINE, *IGNORED])]), st.text(max_size=6)
        )
    )
)
def test_any_words_give_a_line_or_a_refusal(words: list[str]) -> None:
    try:
        found = read_serve_line(" ".join(["vllm serve Qwen/Qwen3-32B", *words]))
    except ValueError as error:
        assert str(error).startswith("command: ")
    else:
        assert found.pool.get("model") == "qwen3-32b"


def test_flags_are_of_one_kind_each() -> None:
    assert not set(POOL) & set(ENGINE)
    assert not {*POOL, *ENGINE} & set(IGNORED)
    assert {*POOL, *ENGINE, *IGNORED} >= SWITCHES
    assert set(SHORT.values()) <= {*POOL, *ENGINE, *IGNORED}
    assert set(POOL.values()) <= set(Pool.__dataclass_fields__)


def test_what_bears_on_speed_and_is_not_modelled_is_told_so() -> None:
    flags = "--max-num-scheduled-tokens 4096 --spec-method ngram --spec-tokens 3 --dcp-q-replicate"
    line = read_serve_line(f"vllm serve Qwen/Qwen3-32B {flags}")
    assert len(line.ignored) == 4
    assert all("not modelled" in why for _, why in line.ignored)


@pytest.mark.skipif(not PYTHONS, reason="FORETELL_VLLM_PYTHON names no interpreter that has vLLM")
@pytest.mark.parametrize("python", PYTHONS)
def test_the_flags_are_those_of_vllms_own_parser(python: str) -> None:
    done = subprocess.run(
        [python, str(Path(__file__).with_name("vllm_parses.py"))],
        input=json.dumps({"lines": [], "names": []}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    if not found["version"].startswith("0.32."):
        pytest.skip(f"vLLM {found['version']}: the tables are those of 0.32")
    theirs = {name.removeprefix("--"): kind for name, (_, kind) in found["flags"].items()}
    ours = {*POOL, *ENGINE, *IGNORED}
    assert ours - set(theirs) == NOT_OF_032
    assert {flag for flag in ours & set(theirs) if theirs[flag] == "switch"} == SWITCHES - NOT_OF_032
    for short, flag in SHORT.items():
        assert (
            short == "-O" or f"--{flag}" in found["flags"][short][0]
        )  # -O3 is rewritten before it is parsed
    for flag, field in ENGINE.items():
        kind = str(EngineSettings.__dataclass_fields__[field].type)
        told = next((name for name in ("bool", "float", "int") if name in kind), "str")
        assert theirs[flag] in TYPES[told], flag


TYPES = {
    "bool": ("switch",),
    "float": ("float",),
    "int": ("int", "human_readable_int", "human_readable_int_or_auto", "_optional_type"),
    "str": ("str",),
}
"""Type of a setting → what reads its flag's value there."""
