"""Metrics against hand arithmetic, and objectives as people type them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretell.sim import metrics
from foretell.sim.objectives import (
    limits_of,
    objective_from_flag,
    objectives_from_mapping,
    request_limits,
)
from foretell.sim.quantities import parse_quantity, show_number, show_seconds
from foretell.sim.simulation import Run
from foretell.sim.stats import EngineStats


def a_run() -> Run:
    """Four requests: two served, a single-token one, and a rejected one."""
    return Run(
        arrival_s=np.array([0.0, 1.0, 2.0, 3.0]),
        first_token_s=np.array([0.5, 2.0, 2.25, math.nan]),
        finish_s=np.array([2.5, 5.0, 2.25, math.nan]),
        prompt_tokens=np.array([100, 200, 300, 400]),
        output_tokens=np.array([5, 4, 1, 0]),
        n_preemptions=np.array([0, 2, 0, 0]),
        cached_tokens=np.array([0, 64, 0, 0]),
        replica=np.array([0, 1, 0, -1]),
        status=np.array([0, 0, 0, 2], dtype=np.int8),
        engines=(
            EngineStats(kv_blocks=10, steps=6, busy_s=2.0, kv_block_seconds=8.0, queue_s=0.25),
            EngineStats(kv_blocks=30, steps=4, busy_s=3.0, kv_block_seconds=32.0, queue_s=0.25),
        ),
        itl=(np.array([0.5, 1.0]), np.array([4, 3])),
    )


def test_latencies_by_hand() -> None:
    found = metrics.latencies(a_run(), percentiles=(50,))
    assert found["ttft_mean_s"] == pytest.approx((0.5 + 1.0 + 0.25) / 3)
    assert found["ttft_p50_s"] == 0.5
    assert found["tpot_mean_s"] == pytest.approx((2.0 / 4 + 3.0 / 3) / 2)  # the single token has none
    assert found["e2e_mean_s"] == pytest.approx((2.5 + 4.0 + 0.25) / 3)
    assert found["itl_mean_s"] == pytest.approx((4 * 0.5 + 3 * 1.0) / 7)
    assert found["itl_p50_s"] == 0.5


def test_throughput_and_goodput_by_hand() -> None:
    found = metrics.throughput(a_run(), {"ttft": 0.5, "tpot": 0.6})
    assert found["duration_s"] == 5.0
    assert found["completed"] == 3
    assert found["rejected"] == 1
    assert found["request_throughput_rps"] == pytest.approx(3 / 5)
    assert found["output_throughput_tps"] == pytest.approx(10 / 5)
    assert found["total_throughput_tps"] == pytest.approx(610 / 5)
    assert found["goodput_rps"] == pytest.approx(2 / 5)  # the first, and the single token without TPOT
    assert found["attainment"] == pytest.approx(2 / 4)  # the rejected one counts


def test_warmup_leaves_out_early_arrivals() -> None:
    found = metrics.throughput(a_run(), warmup_s=1.0)
    assert found["completed"] == 2
    assert found["duration_s"] == 4.0
    assert metrics.latencies(a_run(), warmup_s=1.0)["ttft_mean_s"] == pytest.approx((1.0 + 0.25) / 2)


def test_engine_figures_by_hand() -> None:
    found = metrics.engines(a_run())
    assert found["utilisation"] == pytest.approx(5 / 10)
    assert found["kv_use"] == pytest.approx(40 / (5 * 40))
    assert found["mean_waiting"] == pytest.approx(0.5 / 10)
    assert found["mean_batch"] == pytest.approx((2.5 + 4.0 + 0.25 - 0.5) / 10)
    assert found["cache_hit_rate"] == pytest.approx(64 / 600)
    assert found["preemptions"] == 2
    assert found["peak_concurrency"] == 3  # from 2.0 to 2.25


def test_money_and_energy_by_hand() -> None:
    found = metrics.costs(a_run(), 7.2)  # 0.002 USD/s for 5 s is 0.01 USD
    assert found["usd_per_query"] == pytest.approx(0.01 / 3)
    assert found["usd_per_million_output_tokens"] == pytest.approx(0.01 / 10 * 1e6)
    assert found["usd_per_million_tokens"] == pytest.approx(0.01 / 610 * 1e6)
    assert metrics.costs(a_run(), None) == {}
    joules = metrics.energies(a_run(), 500.0)
    assert joules["power_W"] == pytest.approx(100.0)
    assert joules["energy_per_output_token_J"] == pytest.approx(50.0)


def test_nothing_finished_gives_nan_not_an_error() -> None:
    run = a_run()
    nothing = dataclasses.replace(
        run,
        status=np.full(4, 2, dtype=np.int8),
        first_token_s=np.full(4, math.nan),
        finish_s=np.full(4, math.nan),
    )
    assert math.isnan(metrics.latencies(nothing)["ttft_mean_s"])
    assert math.isnan(metrics.throughput(nothing)["request_throughput_rps"])
    assert math.isnan(metrics.engines(nothing)["utilisation"])


@given(
    st.lists(st.tuples(st.floats(0, 1e3), st.integers(1, 5)), min_size=1, max_size=30),
    st.floats(0, 100),
)
def test_weighted_percentiles_are_those_of_the_repeated_values(
    pairs: list[tuple[float, int]], q: float
) -> None:
    values, counts = zip(*pairs, strict=True)
    repeated = np.repeat(values, counts)
    found = metrics.describe(values, (q,), counts)
    assert found[f"p{q:g}"] == pytest.approx(float(np.percentile(repeated, q)), rel=1e-9, abs=1e-9)
    assert found["mean"] == pytest.approx(float(repeated.mean()), rel=1e-9, abs=1e-9)
    assert found["std"] == pytest.approx(float(repeated.std()), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("500ms", "time", 0.5),
        ("1.5 s", "time", 1.5),
        ("200 us", "time", 2e-4),
        ("2min", "time", 120),
        ("95%", "share", 0.95),
        ("0.9", "share", 0.9),
        ("5 req/s", "rate", 5),
        ("0.05 usd", "money", 0.05),
    ],
)
def test_quantities(text: str, kind: str, value: float) -> None:
    assert parse_quantity(text, kind, "x") == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ms", "-5ms", "nan s", "inf s", "5 parsecs", "5", "5ms ms"])
def test_bad_times(text: str) -> None:
    with pytest.raises(ValueError, match="where: ") as caught:
        parse_quantity(text, "time", "where")
    assert "\n" not in str(caught.value)


def test_numbers_are_shown_with_three_digits() -> None:
    assert show_seconds(0.01234) == "12.3 ms"
    assert show_seconds(2.5e-5) == "25.0 µs"
    assert show_seconds(400) == "6.67 min"
    assert show_seconds(math.nan) == "–"
    assert show_number(1234567) == "1,234,567"


def test_objectives_from_flags_and_files() -> None:
    objective = objective_from_flag("ttft:p99:500ms")
    assert (objective.name, objective.key, objective.limit) == ("ttft_p99", "ttft_p99_s", 0.5)
    assert objective.percentile == 99
    assert objective.met(0.5)
    assert not objective.met(math.nan)
    assert objective_from_flag("e2el:median:2s").name == "e2e_p50"
    assert objective_from_flag("tpot:p99.9:40ms").percentile == 99.9
    goodput, cost = objectives_from_mapping({"goodput": ">= 5/s", "cost_per_query": "<= 0.05 usd"})
    assert goodput.met(5.0)
    assert not goodput.met(4.9)
    assert cost.met(0.05)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("ttft", "write METRIC"),
        ("ttft:500ms", "no statistic"),
        ("ttft:p99:500", "no unit"),
        ("ttft:p99:-1s", ">= 0"),
        ("ttft:p101:1s", "statistic 'p101'"),
        ("tft:p99:1s", "did you mean ttft"),
        ("ttft:p99:>=1s", "bounded by <="),
        ("goodput:fast", "is not a rate"),
    ],
)
def test_bad_objectives(flag: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        objective_from_flag(flag)
    assert "\n" not in str(caught.value)


def test_goodput_limits_are_vllms() -> None:
    assert request_limits(["ttft:500", "tpot:50", "e2el:2s"]) == {"ttft": 0.5, "tpot": 0.05, "e2e": 2.0}
    with pytest.raises(ValueError, match="given twice"):
        request_limits(["ttft:500", "ttft:100"])
    with pytest.raises(ValueError, match="write ttft:LIMIT"):
        request_limits(["itl:500"])
    objectives = [objective_from_flag(f) for f in ("ttft:p99:1s", "ttft:p50:200ms", "e2e:mean:9s")]
    assert limits_of(objectives) == {"ttft": 0.2}
