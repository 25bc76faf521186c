"""Scenarios in and out of files, presets, and the one line that says what is wrong."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from foretell.models import StepLoad
from foretell.models.hardware import load_hardware
from foretell.sim.deployment import deploy, precision_of
from foretell.sim.presets import EngineSettings, list_presets, load_preset, resolve_settings
from foretell.sim.scenario import Pool, ReplicaGroup, Scenario, Workload

BASE: dict[str, Any] = {
    "workload": {
        "arrivals": {"process": "poisson", "rate_per_s": 2},
        "lengths": {"prompt": 512, "output": 64},
        "num_requests": 10,
    },
    "pools": {"main": {"model": "llama-3.1-8b", "hardware": "h100-sxm"}},
}

YAML = """
workload:
  trace: t.csv
  head: 5
pools:
  main: {model: llama-3.1-8b, hardware: h100-sxm, replicas: 2, engine: vllm-0.32-offline}
objectives: {ttft_p99: "<= 1 s"}
seed: 3
"""


def with_change(path: str, value: Any) -> dict[str, Any]:
    values = copy.deepcopy(BASE)
    *parents, leaf = path.split(".")
    at: Any = values
    for parent in parents:
        at = at.setdefault(parent, {})
    at[leaf] = value
    return values


def test_a_file_is_read_and_its_trace_is_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "chat.yaml"
    file.write_text(YAML, encoding="utf-8")
    scenario = Scenario.load(file)
    assert scenario.workload.trace == str(tmp_path / "t.csv")
    assert scenario.pool.replicas == 2
    assert scenario.pool.engine.preset == "vllm-0.32-offline"
    assert scenario.seed == 3


def test_to_dict_is_read_back() -> None:
    scenario = Scenario.from_dict(
        with_change("pools.main.replicas", [{"count": 2}, {"hardware": "l40s", "count": 4}])
    )
    assert Scenario.from_dict(scenario.to_dict()) == scenario
    assert [group.hardware for group in scenario.pool.groups] == ["h100-sxm", "l40s"]


def test_replace_whole_fields_and_leaves() -> None:
    scenario = Scenario.from_dict(BASE)
    more = scenario.replace(seed=7, **{"pools.main.replicas": 4, "pools.main.engine.max_num_seqs": 8})
    assert (more.seed, more.pool.replicas, more.pool.engine.max_num_seqs) == (7, 4, 8)
    assert scenario.pool.replicas == 1
    with pytest.raises(ValueError, match="did you mean seed"):
        scenario.replace(sed=1)


def test_python_and_dict_scenarios_are_equal() -> None:
    workload = Workload(
        arrivals={"process": "poisson", "rate_per_s": 2},
        lengths={"prompt": 512, "output": 64},
        num_requests=10,
    )
    assert Scenario(workload, {"main": Pool("llama-3.1-8b", "h100-sxm")}) == Scenario.from_dict(BASE)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("pools.main.replicas", -1, "pools.main.replicas: -1 is not a whole number >= 1"),
        ("pools.main.replicas", "many", "pools.main.replicas: 'many' is not a whole number"),
        ("pools.main.replicas", [{"count": 0}], "pools.main.replicas.0.count: 0 is not a whole number >= 1"),
        ("pools.main.hardwre", "l4", "pools.main.hardwre: unknown field; did you mean hardware?"),
        (
            "pools.main.engine.max_num_sqs",
            4,
            "pools.main.engine.max_num_sqs: unknown field; did you mean max_num_seqs?",
        ),
        (
            "pools.main.engine.max_num_seqs",
            -4,
            "pools.main.engine.max_num_seqs: -4 is not a whole number >= 1",
        ),
        ("pools.main.engine.max_num_seqs", 2.5, "pools.main.engine.max_num_seqs: 2.5 is not a whole number"),
        ("pools.main.engine.scheduling_policy", "lifo", "'lifo' is not 'fcfs' or 'priority'"),
        ("pools.main.engine.gpu_memory_utilization", 92, "92.0 is not a share in (0, 1]"),
        ("pools.main.engine", {"num_gpu_blocks": 9, "gpu_memory_utilization": 0.9}, "contradicts"),
        ("pools.main.step_cost", "constant:1", "drop one"),
        ("pools.main.model", None, "pools.main.model: missing"),
        ("pools.judge", {"model": "a", "hardware": "b"}, "single takes exactly one, found 2 (main, judge)"),
        ("pools", {}, "strategy single takes exactly one, found none"),
        ("strategy", {"name": "best_of_n", "n": 8}, "give workload.task"),
        ("strategy", {"name": "single", "n": 8}, "strategy.n: strategy single takes no parameters"),
        ("workload.trace", "x.csv", "drop it or arrivals and lengths and num_requests"),
        ("workload.head", 5, "only a trace can be sliced"),
        ("workload.rate_scale", float("nan"), "workload.rate_scale: nan is not a finite number > 0"),
        ("workload.duration_s", -1, "workload.duration_s: -1.0 is not a finite number > 0"),
        ("workload.arrivals", None, "workload.arrivals: missing"),
        ("objectives.ttft_p99", "<= 500", "has no unit"),
        ("objectives.tft_p99", "<= 500 ms", "did you mean ttft?"),
        ("seed", "x", "seed: 'x' is not a whole number"),
        ("replications", 0, "replications: 0 is not a whole number >= 1"),
        ("wrkload", {}, "wrkload: unknown field; did you mean workload?"),
        ("pools", [1], "pools: [1] is not a table of fields"),
    ],
)
def test_bad_scenarios_are_told_in_one_line(path: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Scenario.from_dict(with_change(path, value))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3", "line 2"),
        ("- 1", "expected fields such as workload"),
        ("", "expected fields such as workload"),
        ("workload: {}\npools: {}", "lengths: missing"),
    ],
)
def test_malformed_files_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        Scenario.load(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


# vLLM 0.32's table of defaults: max_num_batched_tokens and max_num_seqs (vllm/engine/arg_utils.py).
@pytest.mark.parametrize(
    ("preset", "hardware", "limits"),
    [
        ("vllm-0.32-server", "b200", (16384, 1024)),
        ("vllm-0.32-server", "mi300x", (16384, 1024)),
        ("vllm-0.32-server", "h100-sxm", (8192, 1024)),
        ("vllm-0.32-server", "h200", (8192, 1024)),
        ("vllm-0.32-server", "a100-80gb-sxm", (2048, 256)),
        ("vllm-0.32-server", "l40s", (2048, 256)),
        ("vllm-0.32-server", "rtx-4090", (2048, 256)),
        ("vllm-0.32-server", "cpu-2core", (2048, 128)),
        ("vllm-0.32-offline", "b200", (16384, 1024)),
        ("vllm-0.32-offline", "h100-sxm", (16384, 1024)),
        ("vllm-0.32-offline", "a100-80gb-sxm", (8192, 256)),
        ("vllm-0.32-offline", "cpu-2core", (4096, 256)),
    ],
)
def test_presets_are_vllms_defaults(preset: str, hardware: str, limits: tuple[int, int]) -> None:
    accelerator = load_hardware(hardware).accelerator
    found = resolve_settings(EngineSettings(preset), accelerator)
    assert (found["max_num_batched_tokens"], found["max_num_seqs"]) == limits
    assert found["async_scheduling"] is (hardware != "cpu-2core")
    assert found["block_size"] == (128 if hardware == "cpu-2core" else 16)
    assert found["gpu_memory_utilization"] == 0.92
    doubled = resolve_settings(EngineSettings(preset, performance_mode="throughput"), accelerator)
    assert doubled["max_num_seqs"] == 2 * limits[1]


def test_cpu_defaults_grow_with_the_ranks() -> None:
    cpu = load_hardware("cpu-2core").accelerator
    assert resolve_settings(EngineSettings(), cpu, world_size=4)["max_num_batched_tokens"] == 8192
    gpu = load_hardware("h100-sxm").accelerator
    assert resolve_settings(EngineSettings(), gpu, world_size=4)["max_num_batched_tokens"] == 8192


def test_what_is_given_wins_and_derives_as_in_vllm() -> None:
    gpu = load_hardware("h100-sxm").accelerator
    small = resolve_settings(EngineSettings(max_num_batched_tokens=256), gpu)
    assert small["max_num_seqs"] == 256  # never more than the tokens of a step
    pool = Pool(
        "llama-3.1-8b", "h100-sxm", engine=EngineSettings(enable_chunked_prefill=False, max_model_len=4096)
    )
    assert deploy(pool).parts[0].config.max_num_batched_tokens == 8192  # the default, which is longer


def test_every_preset_has_sources() -> None:
    for name in list_presets():
        record = load_preset(name)
        assert record["name"] == name
        assert set(record["sources"]) == {"settings", "devices"}


def test_preset_errors() -> None:
    with pytest.raises(ValueError, match=r"did you mean vllm-0\.32"):
        load_preset("vllm-0.33-server")


def test_deployment_adds_up() -> None:
    groups = (ReplicaGroup(2), ReplicaGroup(3, hardware="l40s", tensor_parallel_size=2))
    deployment = deploy(Pool("llama-3.1-8b", "h100-sxm", replicas=groups))
    assert len(deployment.engines) == 5
    assert deployment.accelerators == 2 + 3 * 2
    prices = [load_hardware(name).accelerator.price_usd_per_h for name in ("h100-sxm", "l40s")]
    assert None not in prices
    assert deployment.usd_per_h == pytest.approx(2 * (prices[0] or 0) + 6 * (prices[1] or 0))


def test_eager_engines_have_longer_small_steps_and_more_blocks() -> None:
    """By the graphs' 11.4 MB for each of Llama's 32 layers: 174 blocks of 2 MiB."""
    graphs, eager = (
        deploy(Pool("llama-3.1-8b", "h100-sxm", engine=EngineSettings(enforce_eager=given)))
        for given in (None, True)
    )
    assert eager.parts[0].config.num_gpu_blocks - graphs.parts[0].config.num_gpu_blocks == pytest.approx(
        174, abs=1
    )
    load = StepLoad(decode_seqs=1, decode_context=100, sampled=1)
    assert eager.parts[0].cost(*load) > 1.5 * graphs.parts[0].cost(*load)
    assert any(note.startswith("enforce_eager: ") for note in eager.notes)
    assert not any("eager" in note for note in graphs.notes)


def test_a_measured_block_count_replaces_the_estimate() -> None:
    pool = Pool("llama-3.1-8b", "h100-sxm", engine=EngineSettings(num_gpu_blocks=20_000))
    part = deploy(pool).parts[0]
    assert part.config.num_gpu_blocks == 20_000
    assert part.capacity is None


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (Pool("llama-3.1-8", "h100-sxm"), "did you mean llama-3.1-8b"),
        (Pool("llama-3.1-8b", "h100"), "did you mean h100"),
        (Pool("llama-3.1-8b", "h100-sxm", router="roundrobin"), "did you mean 'round_robin'"),
        (
            Pool("llama-3.1-8b", "h100-sxm", tensor_parallel_size=3),
            "3 does not divide the 32 attention heads",
        ),
        (Pool("llama-3.1-70b", "h100-sxm"), r"does not fit .* GiB a rank short"),
        (Pool("llama-3.1-8b", "h100-sxm", kv_cache_dtype="fp7"), "kv_cache_dtype: 'fp7' is not one of"),
        (Pool("llama-3.1-8b", "h100-sxm", quantization="fp3"), "quantization: 'fp3' is not one of"),
        (
            Pool("llama-3.1-8b", "h100-sxm", engine=EngineSettings(max_model_len=10**7)),
            "10,000,000 tokens do not fit the KV cache",
        ),
        (Pool(step_cost="afine:1"), "write affine:BASE"),
        (
            Pool(step_cost="constant:0.01", engine=EngineSettings(enforce_eager=True)),
            "enforce_eager: has no effect with step_cost",
        ),
        (
            Pool("llama-3.1-8b", "h100-sxm", calibration="p.toml", engine=EngineSettings(enforce_eager=True)),
            "enforce_eager: a calibration holds for the server as it ran",
        ),
        (Pool(step_cost="affine:1,2,x"), "'x' is not a number"),
        (Pool(step_cost="constant:1,2"), "at most 1"),
        (Pool(step_cost="affine:nan"), "not a finite number"),
    ],
)
def test_impossible_pools(pool: Pool, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        deploy(pool)
    assert "\n" not in str(caught.value)


def test_formats_follow_vllms_flags() -> None:
    from foretell.models.architecture import load_architecture

    llama = load_architecture("llama-3.1-8b")
    assert precision_of(llama, "auto", None, "auto").weights == "bf16"
    assert precision_of(llama, "auto", "fp8", "fp8").kv_cache == "fp8"
    assert precision_of(llama, "half", None, "auto").kv_cache == "fp16"
    deepseek = load_architecture("deepseek-v3")
    assert precision_of(deepseek, "auto", None, "auto").activations == "fp8"


def test_a_groups_engine_is_laid_over_the_pools() -> None:
    engine = {"max_model_len": 4096, "num_gpu_blocks": 900}
    groups = [{"count": 1}, {"count": 2, "engine": {"max_num_seqs": 16}}]
    pool = {"step_cost": "constant:0.01", "engine": engine, "replicas": groups}
    workload = {"arrivals": {"process": "poisson", "rate_per_s": 1}, "lengths": {"prompt": 5, "output": 5}}
    workload |= {"num_requests": 5, "priorities": {0: 9, 1: 1}}  # whole numbers as keys, as YAML has them
    made = Scenario.from_dict({"workload": workload, "pools": {"main": pool}})
    _, other = made.pool.groups
    assert other.engine is not None
    assert (other.engine.max_model_len, other.engine.max_num_seqs) == (4096, 16)
    assert made.workload.priorities == {"0": 9, "1": 1}


@pytest.mark.parametrize(
    "idle", [{"quantization": "fp8"}, {"kv_cache_dtype": "fp8"}, {"engine": {"gpu_memory_utilization": 0.5}}]
)
def test_settings_without_effect_are_refused(idle: dict[str, object]) -> None:
    workload = {"arrivals": {"process": "poisson", "rate_per_s": 1}, "lengths": {"prompt": 5, "output": 5}}
    pool = {"step_cost": "constant:0.01"} | idle
    made = Scenario.from_dict({"workload": workload | {"num_requests": 5}, "pools": {"main": pool}})
    with pytest.raises(ValueError, match="has no effect with step_cost"):
        deploy(made.pool)
