"""Presets of vLLM's versions, and that they are what its own EngineArgs come to."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from foretell.models.hardware import load_hardware
from foretell.sim.config import OLD_WAYS, EngineConfig
from foretell.sim.presets import (
    EngineSettings,
    as_version,
    engine_config,
    list_presets,
    load_preset,
    resolve_settings,
)

PYTHONS = [path for path in os.environ.get("FORETELL_VLLM_PYTHON", "").split(os.pathsep) if path]
CPU = load_hardware("cpu-2core").accelerator
ACCELERATORS = ("b200", "h200", "h100-sxm", "a100-80gb-sxm", "l40s", "rtx-4090")
SCHEDULER = (
    "max_num_batched_tokens",
    "max_num_seqs",
    "enable_chunked_prefill",
    "long_prefill_token_threshold",
    "long_prefill_token_threshold_adaptive",
    "scheduler_reserve_full_isl",
    "watermark",
    "async_scheduling",
)
CACHE = ("gpu_memory_utilization", "enable_prefix_caching", "block_size")
GIVEN: tuple[dict[str, Any], ...] = (
    {},
    {"enable_chunked_prefill": False, "max_model_len": 1024},
    {"enable_chunked_prefill": False, "max_model_len": 8192},
    {"max_model_len": 8},
    {"max_model_len": 64, "max_num_seqs": 4},
    {"max_num_batched_tokens": 40},
    {"max_num_batched_tokens": 8192, "max_num_seqs": 32},
)


def config_of(preset: str, **given: Any) -> tuple[EngineConfig, dict[str, Any]]:
    """What the engine runs with on a CPU, and the settings that it came from."""
    resolved = resolve_settings(EngineSettings(preset, **given), CPU)
    length = given.get("max_model_len", 32_768)
    return engine_config(resolved, num_gpu_blocks=10_000, max_model_len=length), resolved


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({}, (2048, 128)),
        ({"enable_chunked_prefill": False, "max_model_len": 1024}, (2048, 128)),
        ({"enable_chunked_prefill": False, "max_model_len": 8192}, (8192, 128)),
        ({"max_model_len": 8}, (1024, 128)),
        ({"max_model_len": 64, "max_num_seqs": 4}, (256, 4)),
        ({"max_num_batched_tokens": 40}, (40, 40)),
    ],
)
def test_batch_limits_that_nobody_gave_follow_the_length(
    given: dict[str, Any], limits: tuple[int, int]
) -> None:
    config, _ = config_of("vllm-0.32-server", **given)
    assert (config.max_num_batched_tokens, config.max_num_seqs) == limits


def test_each_version_has_a_server_and_an_offline_preset() -> None:
    versions = {load_preset(name)["engine_version"] for name in list_presets()}
    assert versions == {"0.32", "0.31", "0.30", "0.19"}
    assert set(list_presets()) == {f"vllm-{v}-{kind}" for v in versions for kind in ("server", "offline")}


@pytest.mark.parametrize(
    ("version", "ways"),
    [
        ("0.32", ()),
        ("0.31.0", ("drafted_hits_end_early",)),
        ("0.33.1", ()),
        ("0.30.0", ("drafted_hits_end_early", "long_prefill_token_threshold_alone")),
        ("0.19", OLD_WAYS[1:]),  # it has neither drafts nor windows here
    ],
)
def test_settings_under_a_versions_ways(version: str, ways: tuple[str, ...]) -> None:
    given = EngineConfig(
        watermark=0.1, long_prefill_token_threshold=8, long_prefill_token_threshold_adaptive=True
    )
    found = as_version(given, version)
    assert tuple(way for way in OLD_WAYS if getattr(found, way)) == ways
    assert found.watermark == (0.0 if version == "0.19" else 0.1)
    assert found.long_prefill_token_threshold_adaptive is (version not in ("0.30.0", "0.19"))
    assert found.long_prefill_token_threshold == 8


def test_the_presets_ways_reach_the_engine() -> None:
    for name in list_presets():
        config, _ = config_of(name)
        assert config == as_version(config, load_preset(name)["engine_version"])


def test_a_setting_that_a_version_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^watermark: .* vLLM 0\.19 .*drop it, or take a newer preset$"):
        config_of("vllm-0.19-server", watermark=0.05)
    with pytest.raises(ValueError, match=r"^long_prefill_token_threshold_adaptive: .* vLLM 0\.30 "):
        config_of("vllm-0.30-offline", long_prefill_token_threshold_adaptive=False)
    with pytest.raises(ValueError, match=r"^vLLM 0\.29: no preset .* 0\.19, 0\.30, 0\.31, 0\.32$"):
        as_version(EngineConfig(), "0.29")


def test_a_preset_that_lacks_what_no_engine_has(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    lines = ['name = "own"', 'engine_version = "0.30"', 'unsupported = ["watermarks"]', "devices = [{}]"]
    path.write_text("\n".join([*lines, "[settings]"]), encoding="utf-8")
    with pytest.raises(ValueError, match="'watermarks' is no setting of an engine"):
        load_preset(str(path))


@pytest.mark.skipif(not PYTHONS, reason="FORETELL_VLLM_PYTHON names no interpreter that has vLLM")
@pytest.mark.parametrize("python", PYTHONS)
def test_presets_are_what_vllms_own_arguments_come_to(python: str) -> None:
    accelerators = {name: load_hardware(name).accelerator for name in ACCELERATORS}
    asked = {
        "devices": {name: a.memory_bytes for name, a in accelerators.items()},
        "given": GIVEN,
        "scheduler": SCHEDULER,
        "cache": CACHE,
    }
    script = Path(__file__).with_name("vllm_defaults.py")
    done = subprocess.run(
        [python, str(script)], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(done.stdout)
    version = ".".join(theirs["version"].split(".")[:2])
    for kind in ("server", "offline"):
        preset = f"vllm-{version}-{kind}"
        for given, row in zip(GIVEN, theirs["cpu"][kind], strict=True):
            config, resolved = config_of(preset, **given)
            ours = {f.name: getattr(config, f.name) for f in fields(config)} | {
                name: resolved[name] for name in CACHE
            }
            assert {name: ours[name] for name in row} == row, given
        for name, accelerator in accelerators.items():
            resolved = resolve_settings(EngineSettings(preset), accelerator)
            limits = [resolved["max_num_batched_tokens"], resolved["max_num_seqs"]]
            assert limits == theirs["devices"][kind][name], name
        unsupported = set(load_preset(preset).get("unsupported", ())) & set(SCHEDULER)
        assert unsupported == set(SCHEDULER) - set(theirs["knows"])
