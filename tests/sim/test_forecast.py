"""Forecasts: determinism, intervals, verdicts, and the JSON that scripts read."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from foretell.sim import Scenario, forecast
from foretell.sim.closed_form_verdict import verdict
from foretell.sim.forecasting import chance
from foretell.sim.intervals import chance_below, estimate, t_cdf, t_quantile
from foretell.sim.objectives import objective_from_flag

POOL = {"step_cost": "affine:0.005,5e-5,1e-4,1e-7,1e-8", "price_usd_per_h": 3.6}


def scenario(**changes: Any) -> Scenario:
    values: dict[str, Any] = {
        "workload": {
            "arrivals": {"process": "poisson", "rate_per_s": 4},
            "lengths": {"prompt": 200, "output": {"geometric": 50}},
            "num_requests": 60,
        },
        "pools": {"main": POOL},
        "objectives": {"ttft_p99": "<= 1 s"},
        "seed": 1,
        "replications": 4,
    }
    return Scenario.from_dict(values | changes)


def modelled(**changes: Any) -> Scenario:
    return scenario(pools={"main": {"model": "qwen3-0.6b", "hardware": "l4", "replicas": 2}}, **changes)


@pytest.mark.parametrize("make", [scenario, modelled])
def test_one_process_two_processes_and_an_executor_agree(make: Any) -> None:
    alone = forecast(make(), processes=1).to_json(detailed=True)
    assert forecast(make(), processes=2).to_json(detailed=True) == alone
    with ThreadPoolExecutor(2) as pool:
        assert forecast(make(), executor=pool).to_json(detailed=True) == alone


def test_another_seed_gives_another_forecast() -> None:
    assert forecast(scenario()).summary["ttft_mean_s"] != forecast(scenario(seed=2)).summary["ttft_mean_s"]


def test_common_random_numbers_across_what_ifs() -> None:
    one = forecast(scenario())
    other = forecast(scenario(pools={"main": POOL | {"replicas": 2}}))
    assert np.array_equal(one.run.arrival_s, other.run.arrival_s)
    assert np.array_equal(one.run.output_tokens, other.run.output_tokens)


def test_more_replications_keep_the_first_ones() -> None:
    few = forecast(scenario(replications=2)).summary["e2e_mean_s"].values
    many = forecast(scenario(replications=4)).summary["e2e_mean_s"].values
    assert many[:2] == few


def test_values_lie_in_their_intervals() -> None:
    for name, found in forecast(modelled()).summary.items():
        assert found.low <= found.value <= found.high or math.isnan(found.value), name


def test_with_a_fixed_trace_the_interval_is_the_cost_models(tmp_path: Any) -> None:
    file = tmp_path / "t.csv"
    rows = "".join(f"{i / 4},{100 + i},{20 + i % 7}\n" for i in range(40))
    file.write_text("arrival_s,prompt_tokens,output_tokens\n" + rows, encoding="utf-8")
    workload = {"trace": str(file)}
    known = forecast(scenario(workload=workload)).summary["tpot_mean_s"]
    assert known.low == known.value == known.high  # a step cost that is given has no error
    pool = {"model": "qwen3-0.6b", "hardware": "l4"}
    guessed = forecast(scenario(workload=workload, pools={"main": pool})).summary["tpot_mean_s"]
    assert guessed.low < guessed.value < guessed.high


def test_verdicts() -> None:
    loose, tight = {"ttft_p99": "<= 1 h", "goodput": ">= 0.1/s"}, {"ttft_p99": "<= 1 us"}
    good = forecast(scenario(objectives=loose, goodput={"ttft": "10 s"}))
    assert good.met
    assert all(verdict.probability > 0.99 for verdict in good.verdicts)
    bad = forecast(scenario(objectives=tight))
    assert not bad.met
    assert bad.verdicts[0].probability < 0.01


def test_objectives_that_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="needs per-request limits"):
        forecast(scenario(objectives={"goodput": ">= 1"}))
    with pytest.raises(ValueError, match="has no price"):
        pools = {"main": {"step_cost": "constant:0.01"}}
        forecast(scenario(pools=pools, objectives={"cost_per_query": "<= 1 usd"}))


def test_json_has_vllms_keys_and_ours() -> None:
    result = forecast(scenario(goodput={"ttft": "500 ms"}))
    found = json.loads(result.to_json(detailed=True))
    # The keys that `vllm bench serve --save-result --save-detailed` writes, less those of the client.
    theirs = {
        *("duration", "completed", "failed", "total_input_tokens", "total_output_tokens"),
        *("request_throughput", "request_goodput", "output_throughput", "total_token_throughput"),
        *("max_concurrent_requests", "input_lens", "output_lens", "ttfts"),
        *(f"{s}_{m}_ms" for s in ("mean", "median", "std", "p99") for m in ("ttft", "tpot", "itl", "e2el")),
    }
    assert theirs <= set(found)
    ours = {"schema_version", "tool_version", "scenario", "seed", "intervals", "objectives", "notes", "met"}
    assert ours <= set(found)
    assert found["completed"] == 60
    assert found["mean_ttft_ms"] == pytest.approx(1e3 * result.summary["ttft_mean_s"].value)
    assert found["intervals"]["ttft_mean_s"]["low"] < found["mean_ttft_ms"] / 1e3
    assert Scenario.from_dict(found["scenario"]) == result.scenario


def test_everything_at_once_is_valid_json() -> None:
    workload = {
        "arrivals": {"process": "poisson", "rate_per_s": math.inf},
        "lengths": {"prompt": 10, "output": 1},
        "num_requests": 5,
    }
    result = forecast(scenario(workload=workload))
    assert set(result.run.arrival_s.tolist()) == {0.0}
    found = json.loads(result.to_json())
    assert found["mean_tpot_ms"] is None  # answers of one token have none
    assert Scenario.from_dict(found["scenario"]).workload.arrivals is not None


def test_closed_loop_keeps_its_concurrency() -> None:
    workload = {"lengths": {"prompt": 10, "output": 20}, "num_requests": 30, "concurrency": 4}
    assert forecast(scenario(workload=workload)).summary["peak_concurrency"].value <= 4


def test_rejected_requests_are_told() -> None:
    pools = {"main": {**POOL, "engine": {"max_model_len": 100}}}
    lengths = {"prompt": {"uniform": {"low": 50, "high": 200}}, "output": 5}
    workload = scenario().to_dict()["workload"] | {"lengths": lengths}
    result = forecast(scenario(workload=workload, pools=pools, goodput={"ttft": "1 s"}))
    rejected = int((result.run.prompt_tokens >= 100).sum())
    assert 0 < rejected < 60
    assert any(f"{rejected} of 60 requests rejected" in note for note in result.notes)
    assert result.summary["attainment"].value < 1
    with pytest.raises(ValueError, match="all 60 need more than max_model_len"):
        forecast(scenario(pools=pools))


def test_calls_are_a_frame_with_a_row_each() -> None:
    result = forecast(scenario())
    assert len(result.calls) == len(result.queries) == 60
    assert {"request_id", "ttft_s", "e2e_s", "status"} <= set(result.calls.columns)


def test_progress_ends_at_the_whole() -> None:
    seen: list[tuple[int, int]] = []
    forecast(scenario(), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (240, 240)
    assert seen == sorted(seen)


def test_energy_lies_between_idle_and_maximum() -> None:
    from foretell.models.hardware import load_hardware

    part = load_hardware("l4").accelerator
    result = forecast(modelled())
    assert part.idle_W is not None and part.tdp_W is not None
    assert 2 * part.idle_W <= result.summary["power_W"].value <= 2 * part.tdp_W


def test_t_against_published_tables() -> None:
    # Student's t, upper 5 % points (Abramowitz and Stegun, table 26.10).
    for df, point in ((1, 6.314), (2, 2.920), (3, 2.353), (7, 1.895), (30, 1.697)):
        assert t_quantile(0.95, df) == pytest.approx(point, abs=5e-4)
        assert t_cdf(point, df) == pytest.approx(0.95, abs=1e-4)
        assert t_cdf(-point, df) == pytest.approx(0.05, abs=1e-4)


def test_intervals_by_hand() -> None:
    # mean 0.25, s = 0.1291, t(0.95, 3) = 2.353: 0.25 ± 2.353·0.1291·√1.25, cut to [0, 1]
    found = estimate([0.1, 0.2, 0.3, 0.4], share=True)
    assert found.value == pytest.approx(0.25)
    assert found.low == 0
    assert found.high == pytest.approx(0.25 + 2.3534 * 0.1290994 * 1.25**0.5, rel=1e-4)
    few = estimate([0.2, 0.4])  # of so few runs only the range says something
    assert (few.low, few.high) == (0.2, 0.4)
    exact = estimate([2.0, 2.0, 2.0])
    assert exact.low == pytest.approx(2.0)
    assert exact.high == pytest.approx(2.0)
    assert math.isnan(estimate([1.0]).low)
    assert estimate([1.0, math.nan]).value == 1.0
    assert chance_below([1.0, 2.0, 3.0], 2.0, share=True) == pytest.approx(0.5)
    assert chance_below([2.0, 2.0], 2.0) == 1.0
    assert math.isnan(chance_below([1.0, math.nan], 2.0))
    assert math.isnan(chance_below([1.0], 2.0))


def test_runs_that_are_all_at_the_limit_meet_it() -> None:
    all_good, short = objective_from_flag("attainment:100%"), objective_from_flag("ttft:p99:1s")
    for objective in (all_good, short):
        assert chance(objective, [1.0, 1.0, 1.0]) == 1.0
        assert verdict(objective, {objective.key: estimate([1.0, 1.0, 1.0])}).probability == 1.0
        assert math.isnan(chance(objective, [1.0, 1.0, math.nan]))
        assert math.isnan(chance(objective, [1.0]))
    assert chance(all_good, [0.99, 0.99]) == chance(short, [1.01, 1.01]) == 0.0
    many, few = objective_from_flag("attainment:90%"), [0.85, 0.9, 0.95]
    assert chance(many, few) == pytest.approx(1 - chance_below(few, 0.9, share=True)) == pytest.approx(0.5)
    found = forecast(scenario(objectives={"attainment": ">= 100 %"}, goodput={"ttft": "1h"}))
    assert found.met
    assert found.verdicts[0].probability == 1.0


def test_nine_of_ten_runs_land_in_the_interval() -> None:
    """Theory inside: 90 % nominal, and no less than 84 % around saturation, where figures spread widely."""
    rng = np.random.default_rng(5)
    for spread, least in ((0.1, 0.87), (0.4, 0.87), (1.5, 0.84)):
        hits = 0
        for _ in range(1500):
            *known, new = np.exp(spread * rng.standard_normal(9)).tolist()
            found = estimate(known)
            hits += found.low <= new <= found.high
        assert least < hits / 1500 < 0.95, spread


def test_python_names_are_importable_and_light() -> None:
    code = (
        "import sys, foretell.sim; from foretell.sim import EngineConfig, simulate, forecast, Scenario; "
        "assert callable(forecast) and callable(simulate); "
        "heavy = {'pandas', 'scipy', 'pydantic', 'rich', 'yaml'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_replications_share_no_state() -> None:
    first = forecast(modelled())
    again = forecast(modelled())
    assert first.to_json() == again.to_json()
    assert dataclasses.is_dataclass(first)


def test_values_are_those_of_runs_with_nothing_drawn(tmp_path: Any) -> None:
    """Draws are lopsided, and a queue amplifies them: their mean is no forecast of the fitted cost."""
    path = tmp_path / "trace.csv"
    rows = [f"{i / 4},{100 + i},{20 + i % 7}" for i in range(80)]
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + "\n".join(rows) + "\n")
    fixed = modelled(workload={"trace": str(path)})
    once = forecast(fixed.replace(replications=1))
    often = forecast(fixed.replace(replications=5))
    for name, estimate_ in often.summary.items():
        assert estimate_.value == once.summary[name].value or math.isnan(estimate_.value), name
    ttft = often.run.first_token_s - often.run.arrival_s
    assert often.summary["ttft_mean_s"].value == pytest.approx(float(ttft.mean()), rel=1e-12)
    assert often.summary["ttft_mean_s"].value not in often.summary["ttft_mean_s"].values


def test_the_kv_cache_is_drawn_from_its_band() -> None:
    from foretell.sim.deployment import deploy
    from foretell.sim.uncertain import drawn_part

    part = deploy(modelled().pool).parts[0]
    assert part.capacity is not None
    rng = np.random.default_rng(0)
    blocks = np.array([drawn_part(part, rng).config.num_gpu_blocks for _ in range(2000)])
    inside = (blocks >= part.capacity.low) & (blocks <= part.capacity.high)
    assert abs(inside.mean() - 0.9) < 0.03
    assert abs(np.median(blocks) / part.capacity.num_gpu_blocks - 1) < 0.02
    known = dataclasses.replace(part, capacity=None)
    assert drawn_part(known, rng).config == part.config
