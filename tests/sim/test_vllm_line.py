"""Reading a `vllm serve` line: what `vllm_command` writes comes back as the same pool."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib.resources import files
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
from foretell.sim.vllm_flags import ENGINE, POOL, flags, names, short_flags
from foretell.sim.vllm_line import read_serve_line
from serve_lines import MEMORY, PYTHONS, ask_vllm, engine_settings

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
ENGINES = engine_settings("vllm-0.32-server", "vllm-0.32-offline")


@settings(max_examples=60, deadline=None)
@given(LAYOUTS, ENGINES, MEMORY)
def test_what_a_plan_writes_is_read_back_as_the_same_pool(
    layout: dict[str, Any], engine: dict[str, Any], memory: dict[str, Any]
) -> None:
    pool = layout | {"engine": engine | memory}
    found = read_serve_line(line_of(pool))
    assert not found.left_out + found.harmless
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
    assert bool(found.left_out) == (not pool)


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
    assert not found.left_out + found.harmless


def test_what_is_not_read_is_told_by_what_it_would_do() -> None:
    found = read_serve_line(
        "vllm serve Qwen/Qwen3-32B --port 8000 --trust-remote-code --speculative-config.method mtp "
        "--enable-auto-tool-choice --no-enable-log-requests --tensor-paralel-size 2 --swap_space 4 --bogus "
        "--cudagraph-capture-sizes 1 2 4 --served-model-name a b"
    )
    left_out = dict(found.left_out)
    assert found.pool == {"model": "qwen3-32b"}
    assert left_out == {
        "--speculative-config.method mtp": "not forecast: drafts of speculative decoding",
        "--tensor-paralel-size 2": "unknown flag, did you mean --tensor-parallel-size?",
        "--swap_space 4": "a flag of an older version: vLLM 0.32 does not have it",
        "--bogus": "unknown flag",
        "--cudagraph-capture-sizes 1 2 4": "not forecast: how CUDA graphs are compiled and captured",
    }
    assert found.harmless == (
        "--port 8000",
        "--trust-remote-code",
        "--enable-auto-tool-choice",
        "--no-enable-log-requests",
        "--served-model-name a b",
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("--port many", "vLLM would refuse it: --port: 'many' is not a whole number"),
        ("--port", "vLLM would refuse it: --port has no value"),
        ("--cpu-offload-gb a", "vLLM would refuse it: --cpu-offload-gb: 'a' is not a number"),
        ("--enable-lora=2", "vLLM would refuse it: --enable-lora: '2' is not true or false"),
        ("--no-port 80", "unknown flag, did you mean --port?"),
        ("--no-headless", "unknown flag, did you mean --headless?"),
        ("--scheduling-policy lifo", "lifo is not modelled; known: fcfs, priority"),
        ("--performance-mode interactivity", "interactivity is not modelled; known: balanced, throughput"),
    ],
)
def test_values_that_a_flag_does_not_take_are_told(given: str, why: str) -> None:
    found = read_serve_line(f"vllm serve Qwen/Qwen3-32B {given}")
    assert found.left_out == ((given, why),)


@pytest.mark.parametrize("given", ["--port=$PORT", "--port None", "--hf-token", "--hf-token a", "-h"])
def test_values_that_are_not_known_yet_are_nobodys_business(given: str) -> None:
    assert read_serve_line(f"vllm serve Qwen/Qwen3-32B {given}").harmless == (given,)


def test_the_beginning_of_a_name_stands_for_it_as_with_vllm() -> None:
    found = read_serve_line("vllm serve a/b --max-num-seq 3 --tensor-par 2 --no-enable-prefix --gpu-mem 0.5")
    engine = {"max_num_seqs": 3, "enable_prefix_caching": False, "gpu_memory_utilization": 0.5}
    assert found.pool == {"tensor_parallel_size": 2, "engine": engine}
    ambiguous = read_serve_line("vllm serve Qwen/Qwen3-32B --quant fp8")
    assert ambiguous.pool == {"model": "qwen3-32b"}
    assert ambiguous.left_out[0][1].startswith("unknown flag")


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
        "vllm serve a/b --max-num-seqs 1k",
        "vllm serve a/b --max-model-len 1.5K",
        "vllm serve --served-model-name a Qwen/Qwen3-32B",
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
            st.sampled_from([*short_flags(), *(f"--{name}" for name in [*names(), *flags()])]),
            st.text(max_size=6),
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
    text = (files("foretell.sim") / "data" / "vllm_flags.toml").read_text(encoding="utf-8")
    told = [
        name
        for group in ("not_forecast", "harmless")
        for kinds in tomllib.loads(text)[group].values()
        for all_of_kind in kinds.values()
        for name in all_of_kind.split()
    ]
    assert len(told) == len(set(told)) > 250
    assert not {*POOL, *ENGINE} & set(told)
    assert set(short_flags().values()) <= set(flags())
    assert set(POOL.values()) <= set(Pool.__dataclass_fields__)
    assert {flag.kind for flag in flags().values()} == KINDS


@pytest.mark.skipif(not PYTHONS, reason="FORETELL_VLLM_PYTHON names no interpreter that has vLLM")
@pytest.mark.parametrize("python", PYTHONS)
def test_the_flags_are_those_of_vllms_own_parser(python: str) -> None:
    found = ask_vllm(python)
    if not found["version"].startswith("0.32."):
        pytest.skip(f"vLLM {found['version']}: the tables are those of 0.32")
    theirs = found["flags"]
    assert {f"--{name}" for name in names()} == {name for name in theirs if name.startswith("--")}
    shorts = {name: f"--{flag}" for name, flag in short_flags().items() if name != "-O"}
    assert set(shorts) == {name for name in theirs if not name.startswith("--")}
    assert all(flag in theirs[short][0] for short, flag in shorts.items())
    for name, flag in flags().items():
        if flag.stands == "older":
            assert f"--{name}" not in theirs
        else:
            assert theirs[f"--{name}"][1] == flag.kind, name


KINDS = {"switch", "on", "list", "maybe", "whole", "tokens", "number", "text"}
"""What flags take."""
