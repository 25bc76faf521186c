"""Scenarios of two pools: what they forecast, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from foretell.models import transfer
from foretell.sim import Scenario, forecast
from foretell.sim.apart import DisaggregatedDeployment
from foretell.sim.cli import main
from foretell.sim.disaggregated import EnginePool, simulate_disaggregated
from foretell.sim.strategies import EFFICIENCY, Disaggregated, strategy_from_mapping

MODEL = {"model": "llama-3.1-8b", "hardware": "h100-sxm"}
OWN = {"step_cost": "affine:0.01,0.0001", "price_usd_per_h": 2, "engine": {"max_model_len": 8192}}
BASE: dict[str, Any] = {
    "workload": {
        "arrivals": {"process": "poisson", "rate_per_s": 4},
        "lengths": {"prompt": 500, "output": 40},
        "num_requests": 60,
    },
    "pools": {"p": {**MODEL, "replicas": 2}, "d": {**MODEL, "tensor_parallel_size": 2}},
    "strategy": {"name": "disaggregated", "prefill": "p", "decode": "d", "kv_transfer": {"latency_s": 0.002}},
    "replications": 3,
}


def changed(path: str, value: Any) -> dict[str, Any]:
    return Scenario.from_dict(BASE).replace(**{path: value}).to_dict()


@pytest.mark.systems(29)
def test_two_pools_and_what_joins_them_are_made_concrete() -> None:
    result = forecast(Scenario.from_dict(BASE))
    deployment, run = result.deployment, result.run
    assert isinstance(deployment, DisaggregatedDeployment)
    assert (len(deployment.engines), deployment.accelerators) == (3, 4)
    assert deployment.usd_per_h == pytest.approx(sum(4 * [deployment.parts[0].usd_per_h or math.nan]))
    found = deployment.transfers[0][0]
    token_bytes = 2 * 32 * 8 * 128 * 2  # layers, KV heads, head size, bf16
    assert found.token_bytes == token_bytes
    assert found.token_s == pytest.approx(token_bytes / (50e9 * 0.8))  # H100 nodes are joined by 400 Gb/s
    assert found.latency_s == 0.002
    again = simulate_disaggregated(
        result.trace,
        EnginePool(deployment.parts[0].cost, deployment.parts[0].config, 2),
        EnginePool(deployment.parts[1].cost, deployment.parts[1].config),
        found,
    )
    assert again.finish_s.tolist() == run.finish_s.tolist()


def test_figures_cover_both_pools() -> None:
    result = forecast(Scenario.from_dict(BASE))
    figures = {name: found.value for name, found in result.summary.items()}
    busy = [sum(e.busy_s for e in part) for part in (result.run.engines[:2], result.run.engines[2:])]
    assert figures["utilisation"] * 3 == pytest.approx(
        figures["prefill_utilisation"] * 2 + figures["decode_utilisation"]
    )
    assert busy[0] > 0 and busy[1] > 0
    assert figures["kv_transfer_p99_s"] > figures["kv_transfer_p50_s"] > 0.002
    assert 0 < figures["kv_transfer_utilisation"] < 0.1
    assert figures["output_throughput_per_accelerator_tps"] * 4 == pytest.approx(
        figures["output_throughput_tps"]
    )
    for name in (
        "ttft_p99_s",
        "tpot_mean_s",
        "itl_p50_s",
        "usd_per_million_tokens",
        "energy_per_output_token_J",
    ):
        found = result.summary[name]
        assert found.low <= found.value <= found.high and found.high > 0, name
    assert result.to_dict()["deployment"]["engines"] == 3


def test_the_first_token_of_the_decode_engine_comes_later() -> None:
    early = forecast(Scenario.from_dict(BASE))
    late = forecast(Scenario.from_dict(changed("strategy.first_token", "decode")))
    assert late.summary["ttft_mean_s"].value > early.summary["ttft_mean_s"].value + 0.002


def test_a_step_cost_needs_the_size_of_the_kv_cache() -> None:
    base = {**BASE, "pools": {"p": OWN, "d": OWN}}
    with pytest.raises(ValueError, match="bytes_per_token: missing"):
        forecast(Scenario.from_dict(base))
    strategy = {**BASE["strategy"], "kv_transfer": {"bytes_per_token": 100_000}}
    with pytest.raises(ValueError, match=r"kv_transfer\.link: missing"):
        forecast(Scenario.from_dict({**base, "strategy": strategy}))
    strategy["kv_transfer"]["link"] = "ethernet-100g"
    result = forecast(Scenario.from_dict({**base, "strategy": strategy}))
    assert isinstance(result.deployment, DisaggregatedDeployment)
    assert result.deployment.transfers[0][0].token_s == pytest.approx(100_000 / (12.5e9 * 0.8))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("strategy.prefill", "q", "strategy.prefill: 'q' is no pool; the pools are p, d"),
        ("strategy.decode", "p", "strategy.decode: 'p' is the prefill pool too"),
        ("pools.x", MODEL, "pools.x: strategy disaggregated does not use it"),
        ("strategy.first_tokn", "decode", "strategy.first_tokn: unknown field; did you mean first_token?"),
        ("strategy.first_token", "router", "strategy.first_token: 'router' is not prefill or decode"),
        ("strategy.kv_transfer.eficiency", 1, "strategy.kv_transfer.eficiency: unknown field; did you mean"),
        (
            "strategy.kv_transfer.efficiency",
            80,
            "strategy.kv_transfer.efficiency: 80 is not a number in (0, 1]",
        ),
        ("strategy.kv_transfer.links_per_engine", 0, "links_per_engine: 0 is not a whole number >= 1"),
        ("strategy.kv_transfer", "nvlink5", "strategy.kv_transfer: 'nvlink5' is not a table of fields"),
        ("strategy.kv_transfer.link", "nvlnk5", "strategy.kv_transfer.link: "),
        ("strategy.kv_transfer.bytes_per_token", 5, "the model says how large a KV cache is"),
        ("pools.d.kv_cache_dtype", "fp8", "the KV cache is bf16 on one side and fp8 on the other"),
        ("pools.d.model", "llama-3.2-3b", "llama-3.1-8b cannot hand its KV cache to llama-3.2-3b"),
        ("pools.d.tensor_parallel_size", 3, "pools.d: tensor_parallel_size: 3 does not divide"),
    ],
)
def test_bad_scenarios_are_told_in_one_line(path: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        forecast(Scenario.from_dict(changed(path, value)))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_command_tells_the_pools_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    file = tmp_path / "two.json"
    file.write_text(json.dumps(BASE))
    with pytest.raises(SystemExit) as end:
        main(["forecast", str(file)])
    assert not end.value.code
    told = " ".join(capsys.readouterr().out.split())
    assert "2 prefill and 1 decode engines" in told
    assert "KV transfer links busy" in told
    assert "131 kB a token" in told


def test_defaults_agree() -> None:
    assert transfer.EFFICIENCY == EFFICIENCY
    assert strategy_from_mapping({"name": "disaggregated"}, ["prefill", "decode"]) == Disaggregated()
