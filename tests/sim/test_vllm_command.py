"""The `vllm serve` line of a pool: read back, it is the same engine."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.models.hardware import load_hardware
from foretell.sim import Scenario
from foretell.sim.forecasting import deployed
from foretell.sim.presets import EngineSettings, engine_config, resolve_settings
from foretell.sim.vllm_command import ServeCommand, serve_commands
from places import example
from serve_lines import MEMORY, PYTHONS, ask_vllm, engine_settings

CHAT = {"model": "llama-3.1-8b", "hardware": "h100-sxm"}
SERVE = "vllm serve meta-llama/Llama-3.1-8B"


def scenario(*, strategy: dict[str, Any] | None = None, **pools: Any) -> Scenario:
    workload = {"arrivals": {"process": "poisson", "rate_per_s": 1}, "lengths": {"prompt": 64, "output": 64}}
    values = {"workload": workload, "pools": pools}
    return Scenario.from_dict(values | ({} if strategy is None else {"strategy": strategy}))


def commands(asked: Scenario) -> tuple[ServeCommand, ...]:
    return serve_commands(asked, deployed(asked, 96.0))


def line(**changes: Any) -> str:
    [command] = commands(scenario(chat=CHAT | changes))
    return command.line


def read_back(text: str) -> dict[str, Any]:
    """Parse a line as vLLM's parser would, by the names and kinds of its arguments."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("model")
    for name in ("tensor", "pipeline", "data"):
        parser.add_argument(f"--{name}-parallel-size", type=int)
    for name in ("quantization", "kv-cache-dtype", "dtype", "kv-transfer-config", "scheduling-policy"):
        parser.add_argument(f"--{name}")
    for name in ("enable-expert-parallel", "enforce-eager"):
        parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction)
    for f in fields(EngineSettings):
        name = {"num_gpu_blocks": "num_gpu_blocks_override"}.get(f.name, f.name)
        flag, kind = f"--{name.replace('_', '-')}", str(f.type)
        if flag in ("--scheduling-policy", "--enforce-eager"):
            continue
        if "bool" in kind:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction)
        elif name == "max_model_len":
            parser.add_argument(flag, type=lambda x: x if x == "auto" else int(x))
        else:
            parser.add_argument(flag, type=float if "float" in kind else int)
    vllm, serve, *rest = shlex.split(text)
    assert (vllm, serve) == ("vllm", "serve")
    return {name: value for name, value in vars(parser.parse_args(rest)).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, ""),
        ({"engine": {"max_num_seqs": 1024, "max_num_batched_tokens": 8192}}, ""),
        ({"engine": {"max_num_seqs": 64}}, "--max-num-seqs 64"),
        ({"engine": {"gpu_memory_utilization": 0.9}}, "--gpu-memory-utilization 0.9"),
        ({"engine": {"preset": "vllm-0.19-server"}}, ""),
        ({"engine": {"preset": "vllm-0.32-offline"}}, "--max-num-batched-tokens 16384"),
        (
            {"engine": {"enable_prefix_caching": False, "async_scheduling": False, "enforce_eager": True}},
            "--no-enable-prefix-caching --no-async-scheduling --enforce-eager",
        ),
        (
            {"engine": {"performance_mode": "throughput"}},
            "--max-num-seqs 2048 --max-num-batched-tokens 16384",
        ),
        ({"engine": {"num_gpu_blocks": 4000}}, "--num-gpu-blocks-override 4000 --max-model-len auto"),
        (
            {"tensor_parallel_size": 2, "quantization": "fp8", "kv_cache_dtype": "fp8"},
            "--tensor-parallel-size 2 --quantization fp8 --kv-cache-dtype fp8",
        ),
        ({"pipeline_parallel_size": 2, "dtype": "half"}, "--pipeline-parallel-size 2 --dtype half"),
        (
            {"hardware": "l4", "quantization": "fp8", "engine": {"max_num_seqs": 256}},
            "--quantization fp8 --max-model-len auto",
        ),
        ({"hardware": "l40s", "engine": {"max_model_len": 8192}}, "--max-model-len 8192"),
    ],
)
def test_only_what_differs_from_vllms_own_defaults(changes: dict[str, Any], flags: str) -> None:
    found = line(**changes).removeprefix(SERVE).split()
    assert sorted(found) == sorted(flags.split())


ENGINES = engine_settings("vllm-0.32-server", "vllm-0.32-offline", "vllm-0.30-server")


@settings(max_examples=60, deadline=None)
@given(ENGINES, MEMORY, st.sampled_from(["h100-sxm", "l40s", "a100-80gb-sxm", "h200"]))
def test_read_back_it_is_the_same_engine(engine: dict[str, Any], memory: dict[str, Any], where: str) -> None:
    asked = scenario(chat=CHAT | {"hardware": where, "engine": engine | memory})
    part = deployed(asked, 96.0).parts[0]
    [command] = commands(asked)
    told = read_back(command.line)
    version = "vllm-0.30-server" if "0.30" in engine.get("preset", "") else "vllm-0.32-server"
    names = {f.name for f in fields(EngineSettings)} | {"num_gpu_blocks_override"}
    kept = {n.removesuffix("_override"): v for n, v in told.items() if n in names and v != "auto"}
    resolved = resolve_settings(EngineSettings(version, **kept), load_hardware(where).accelerator)
    blocks = part.config.num_gpu_blocks
    assert kept.get("num_gpu_blocks", blocks) == blocks
    again = engine_config(
        resolved, num_gpu_blocks=blocks, max_model_len=kept.get("max_model_len", part.config.max_model_len)
    )
    assert again == part.config
    assert resolved["gpu_memory_utilization"] == memory.get("gpu_memory_utilization", 0.92)
    assert bool(resolved.get("enforce_eager")) == engine.get("enforce_eager", False)


def test_groups_of_replicas_have_lines_of_their_own() -> None:
    groups = [{"count": 2}, {"count": 3, "hardware": "l40s", "engine": {"max_num_seqs": 32}}]
    fast, slow = commands(scenario(chat=CHAT | {"replicas": groups}))
    assert (fast.replicas, fast.hardware, fast.line) == (2, "h100-sxm", SERVE)
    assert (slow.replicas, slow.hardware) == (3, "l40s")
    assert read_back(slow.line)["max_num_seqs"] == 32


def test_ranks_of_experts() -> None:
    [command] = commands(
        scenario(
            moe={
                "model": "qwen3-30b-a3b",
                "hardware": "h100-sxm",
                "data_parallel_size": 4,
                "enable_expert_parallel": True,
                "replicas": 2,
            }
        )
    )
    assert (command.replicas, command.accelerators) == (2, 4)
    assert command.line == "vllm serve Qwen/Qwen3-30B-A3B --data-parallel-size 4 --enable-expert-parallel"


def test_prefill_and_decode_apart() -> None:
    prefill, decode = commands(Scenario.load(example("disaggregated.yaml")))
    for command, role in ((prefill, "kv_producer"), (decode, "kv_consumer")):
        told = json.loads(read_back(command.line)["kv_transfer_config"])
        assert told == {"kv_connector": "NixlConnector", "kv_role": role}
        assert any("proxy" in note for note in command.notes)
    assert (prefill.replicas, decode.replicas) == (4, 2)


def test_a_format_that_vllm_only_reads_is_told() -> None:
    [command] = commands(scenario(chat=CHAT | {"quantization": "nvfp4", "hardware": "b200"}))
    assert "--quantization modelopt_fp4" in command.line
    assert command.notes == (
        "--quantization modelopt_fp4: takes a checkpoint that is stored so; name it in place of the model",
    )
    [shipped] = commands(scenario(chat={"model": "gpt-oss-20b", "hardware": "h100-sxm"}))
    assert (shipped.line, shipped.notes) == ("vllm serve openai/gpt-oss-20b", ())


def test_without_a_model_there_is_no_name() -> None:
    [command] = commands(scenario(chat={"step_cost": "affine:0.006,2e-5,3e-5,1e-7,0"}))
    assert command.line.startswith("vllm serve MODEL")
    assert "names no model" in command.notes[0]


@pytest.mark.skipif(not PYTHONS, reason="FORETELL_VLLM_PYTHON names no interpreter that has vLLM")
@pytest.mark.parametrize("python", PYTHONS)
def test_vllms_own_parser_takes_the_lines(python: str) -> None:
    engine = {"max_num_seqs": 64, "enable_prefix_caching": False, "async_scheduling": False}
    lines = [
        line(),
        line(engine=engine, quantization="fp8", kv_cache_dtype="fp8", tensor_parallel_size=2),
        line(engine={"enforce_eager": True, "num_gpu_blocks": 9000, "scheduling_policy": "priority"}),
        line(engine={"gpu_memory_utilization": 0.85, "max_num_batched_tokens": 4096}, hardware="h200"),
        *(c.line for c in commands(Scenario.load(example("disaggregated.yaml")))),
        *(c.line for c in commands(Scenario.load(example("moe.yaml")))),
    ]
    ours = [read_back(text) for text in lines]
    names = sorted({name for row in ours for name in row} - {"model", "kv_transfer_config"})
    told = ask_vllm(python, lines, names)["parsed"]
    for mine, theirs in zip(ours, told, strict=True):
        assert theirs["model"] == mine["model"]
        for name in set(mine) & set(names):
            assert theirs[name] == (-1 if mine[name] == "auto" else mine[name]), name
        if "kv_transfer_config" in mine:
            config = json.loads(mine["kv_transfer_config"])
            assert theirs["kv_transfer"] == [config["kv_connector"], config["kv_role"]]
