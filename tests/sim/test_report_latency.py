"""What a report draws of a run: curves against numpy, queues and rates against independent counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.sim import Scenario, forecast, metrics
from foretell.sim.forecasting import Forecast
from foretell.sim.intervals import Estimate
from foretell.sim.report.distribution import band, distribution, quantiles
from foretell.sim.report.latency import latency_section
from foretell.sim.report.presence import kv_share, output_rate, presence, rates, running_and_waiting
from foretell.sim.steps import engine_steps, with_loads
from foretell.sim.timeline_spans import stays


def _scenario(**changes: Any) -> Scenario:
    values = {
        "workload": {
            "arrivals": {"process": "poisson", "rate_per_s": 30},
            "lengths": {"prompt": {"fixed": 300}, "output": {"fixed": 300}},
            "num_requests": 250,
        },
        "pools": {
            "main": {
                "step_cost": "affine:0.006,1e-5",
                "replicas": 2,
                "engine": {"max_num_seqs": 16, "num_gpu_blocks": 200},
            }
        },
        "replications": 2,
    }
    return Scenario.from_dict(values).replace(**changes)


@pytest.fixture(scope="module")
def crowded() -> Forecast:
    """Two engines with a long line and preemptions."""
    return with_loads(forecast(_scenario()))


def test_a_curve_is_the_empirical_distribution() -> None:
    rng = np.random.default_rng(1)
    values = np.r_[rng.lognormal(size=997), np.nan, np.nan]
    of = distribution(values)
    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        assert of.quantile(share) == np.nanquantile(values, share, method="inverted_cdf")
    for limit in (0.1, 1.0, 5.0):
        assert of.within(limit) == pytest.approx(np.mean(values[:997] <= limit))


def test_weights_count_as_repetitions() -> None:
    rng = np.random.default_rng(2)
    values, times = rng.random(200), rng.integers(0, 9, 200)
    weighted, repeated = distribution(values, times), distribution(np.repeat(values, times))
    for share in (0.05, 0.5, 0.95):
        assert weighted.quantile(share) == repeated.quantile(share)


def test_a_band_meets_the_intervals_where_they_are_known() -> None:
    values = np.linspace(1, 2, 2001)
    known = {q: Estimate(1 + q, 0.8 * (1 + q), 1.3 * (1 + q)) for q in (0.5, 0.9, 0.99)}
    found_band = band(distribution(values), known)
    assert found_band is not None
    x, low, high = found_band
    for share, found in known.items():
        assert np.interp(found.low, x, high) == pytest.approx(share, abs=0.01)
        assert np.interp(found.high, x, low) == pytest.approx(share, abs=0.01)
    assert (low <= high + 1e-12).all()
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) >= 0).all()


def test_without_intervals_or_with_wild_ones_there_is_no_band() -> None:
    of = distribution(np.linspace(1, 2, 100))
    nan = float("nan")
    assert band(of, {q: Estimate(1.5, nan, nan) for q in (0.5, 0.9)}) is None
    assert band(of, {0.5: Estimate(1.5, 0.1, 20), 0.9: Estimate(1.8, 1.7, 1.9)}) is None


def test_running_and_waiting_are_what_littles_law_says(crowded: Forecast) -> None:
    run, engines = crowded.run, engine_steps(crowded)
    edges = np.linspace(run.arrival_s.min(), max(one.end_s[-1] for one in engines), 41)
    width = edges[1] - edges[0]
    assert run.n_preemptions.sum() > 0
    assert run.loads is not None
    for i, (steps, there) in enumerate(zip(engines, stays(run), strict=True)):
        running, waiting = running_and_waiting(steps, presence(there), edges)
        here = run.replica == i
        assert waiting.sum() * width == pytest.approx(run.engines[i].queue_s)
        present = (run.finish_s[here] - run.arrival_s[here]).sum()
        assert (running + waiting).sum() * width == pytest.approx(present)


def test_who_is_there_at_a_moment_is_counted_from_the_records(crowded: Forecast) -> None:
    run = crowded.run
    for i, there in enumerate(stays(run)):
        found, here = presence(there), run.replica == i
        for moment in np.linspace(run.arrival_s.min(), np.nanmax(run.finish_s), 37):
            expected = ((run.arrival_s[here] <= moment) & (run.finish_s[here] > moment)).sum()
            at = np.searchsorted(found.time_s, moment, side="right") - 1
            assert found.count[at] == expected


def test_output_and_memory_over_time_add_up_to_the_run(crowded: Forecast) -> None:
    run, engines = crowded.run, engine_steps(crowded)
    edges = np.linspace(run.arrival_s.min(), max(one.end_s[-1] for one in engines), 31)
    width = edges[1] - edges[0]
    written = run.output_tokens[run.status == metrics.FINISHED].sum()
    assert output_rate(engines, edges).sum() * width == pytest.approx(written)
    for steps, stats in zip(engines, run.engines, strict=True):
        held = kv_share(steps, edges).sum() * width * stats.kv_blocks
        assert held == pytest.approx(stats.kv_block_seconds)
    assert rates(run.arrival_s, edges).sum() * width == pytest.approx(len(run))


def test_percentiles_on_the_page_are_the_forecasts(crowded: Forecast) -> None:
    page = latency_section(crowded)
    from foretell.sim.quantities import show_seconds

    for metric in ("ttft", "tpot", "itl", "e2e"):
        known = quantiles(crowded.summary, metric)
        assert list(known) == [0.5, 0.9, 0.99]
        for share, found in known.items():
            assert f"p{share * 100:g}: {show_seconds(found.value)}" in page


def test_goodput_names_its_limits(crowded: Forecast) -> None:
    limited = forecast(_scenario(goodput={"ttft": "80ms", "e2e": "5s"}))
    page = latency_section(with_loads(limited))
    assert "TTFT ≤ 80.0\u00a0ms and E2E ≤ 5.00\u00a0s" in page
    assert "goodput: ≤ 80.0 ms" in page
    assert "a goodput of" not in latency_section(crowded)
