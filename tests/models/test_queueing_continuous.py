"""The parts of continuous batching against queues whose answers are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from foretell.models import AffineCost, constant_cost
from foretell.models.queueing import (
    EngineLimits,
    Lengths,
    continuous_batching,
    erlang_c,
    mmc,
    saturated,
)
from foretell.models.queueing.backlog import prompt_backlog
from foretell.models.queueing.bursts import clusters_of, together_of
from foretell.models.queueing.occupancy import entered, occupancy
from foretell.models.queueing.saturation import _recomputed

COST = AffineCost(6e-3, 2e-5, 2e-5, 2e-8, 1e-10)
LAW = Lengths(np.full(64, 512.0), np.full(64, 128.0))
LIMITS = EngineLimits(256, 2048)


@pytest.mark.parametrize("servers", [1, 5, 40])
def test_a_constant_step_time_makes_it_mmc(servers: int) -> None:
    rate = 0.85 * servers
    law, line = occupancy(rate, 50.0, np.full(servers + 1, 0.02), servers)
    assert line == pytest.approx(mmc(rate, 1.0, servers).in_line)
    assert law[-1] == pytest.approx(erlang_c(servers, rate))
    batches, longer = occupancy(rate, 50.0, np.full(servers + 1, 0.02), servers, 1 + 1e-9)
    assert batches == pytest.approx(law, rel=1e-6)
    assert longer == pytest.approx(line, rel=1e-6)


def test_without_a_limit_it_is_poisson_and_batches_spread_it() -> None:
    n = np.arange(201)
    for peakedness in (1.0, 2.5, 0.5):
        law, _ = occupancy(30.0, 50.0, np.full(201, 0.02), 200, peakedness)
        mean = float(law @ n)
        assert mean == pytest.approx(30.0, rel=0.01)
        assert float(law @ n**2) - mean**2 == pytest.approx(peakedness * mean, rel=0.02)


def test_who_enters_meets_the_law_by_littles_law() -> None:
    """Those who enter meet the law itself if Poisson; in bursts E[s] as they see it is E[n]/(λ·D)."""
    n, step_s = np.arange(201), 0.01 + 2e-4 * np.arange(201.0)
    for peakedness in (1.0, 3.0):
        law, _ = occupancy(30.0, 50.0, step_s, 200, peakedness)
        met = entered(law, 50.0, step_s)
        assert float(met[:-1] @ step_s[1:]) * 30.0 * 50.0 == pytest.approx(float(law @ n), rel=1e-3)
        assert (met @ n == pytest.approx(law @ n, rel=1e-6)) == (peakedness == 1.0)


def test_those_in_line_may_come_in_other_bursts() -> None:
    """M/M/1 behind the limit: with single arrivals the line is ρ/(1 − ρ) of P(n >= N) in any case."""
    step_s = np.full(11, 0.02)
    law, line = occupancy(8.0, 50.0, step_s, 10, 2.0, 1.0)
    assert line == pytest.approx(float(law[-1]) * 0.8 / 0.2)


def test_prompts_in_bursts_keep_the_mean_step_and_spread_it() -> None:
    cost, law = AffineCost(5e-3, 2e-5), Lengths(np.full(64, 300.0), np.full(64, 100.0))
    alone = prompt_backlog(cost, law, np.array([20.0]), 10.0, 1024)
    bursts = prompt_backlog(cost, law, np.array([20.0]), 10.0, 1024, together=3.0)
    assert bursts.mean_s == pytest.approx(alone.mean_s, rel=0.01)  # the cost is affine
    assert bursts.spread_s2(bursts.excess_s(64)) > 1.5 * alone.spread_s2(alone.excess_s(64))


def test_how_many_come_together() -> None:
    assert together_of(LAW, 10.0, 0.02, 0.04, 2048, 1.0) == 1.0
    # Over long times the excess of gamma gaps is (c² − 1)/2.
    assert together_of(LAW, 1.0, 30.0, 30.0, 10**9, 4.0) == pytest.approx(2.5, rel=0.02)
    assert together_of(LAW, 100.0, 10.0, 10.0, 10**9, 4.0) == pytest.approx(2.5, rel=0.02)
    assert clusters_of(LAW, 0.0) == 1.0
    assert clusters_of(LAW, 0.5) == pytest.approx(4.0)


def test_what_preemptions_lose() -> None:
    """X falls by n in each step without an end: E[(n − J)⁺]·D/n with J what Poisson many ends give back."""
    rng = np.random.default_rng(3)
    law = Lengths(rng.lognormal(6, 0.5, 4000).round() + 1, 1 + rng.exponential(400, 4000).round() + 1)
    n, steps = 60.0, law.decode_steps
    ends = rng.poisson(n / steps, 200_000)
    back = (law.prompt + law.output).mean() * ends
    fallen = float(np.maximum(n - back, 0).mean()) * steps / n
    assert _recomputed(law, n, found_again=False) == pytest.approx(fallen, rel=0.02)
    assert 0.3 * fallen < _recomputed(law, n, found_again=True) < fallen
    alike = Lengths(law.prompt, np.full(4000, 400.0))
    assert alike.equal == 1.0
    assert _recomputed(alike, n, found_again=True) == pytest.approx(_recomputed(alike, n, found_again=False))


def test_processor_sharing_has_its_mean() -> None:
    """With s(n) = n·s one server is shared: M/M/1-PS, ρ/(1 − ρ) in it."""
    law, _ = occupancy(0.7, 100.0, 0.01 * np.arange(401.0), 400)
    assert float(law @ np.arange(401)) == pytest.approx(0.7 / 0.3, rel=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_prompts_lengthen_the_mean_step_as_they_must(sigma: float) -> None:
    """A cost affine in tokens has s = c(n, 0)/(1 − λ·work of a prompt), whatever the law and the chunks."""
    cost = AffineCost(5e-3, 2e-5)
    prompt = np.maximum(np.random.default_rng(1).lognormal(6, sigma, 2000), 1).round()
    law = Lengths(prompt, np.full(2000, 100.0))
    for rate in (3.0, 40.0):
        found = prompt_backlog(cost, law, np.array([20.0, 60.0]), rate, 1024)
        work = 2e-5 * law.mean_prompt
        assert found.least_s == pytest.approx(5e-3 + 2e-5 * found.decoding)
        assert found.mean_s == pytest.approx(found.least_s / (1 - rate * work), rel=0.01)


def test_one_request_after_the_other_is_its_own_steps() -> None:
    """At no load: a step for the prompt, then a step a token."""
    at = continuous_batching(constant_cost(0.01), LAW, LIMITS, 1e-4)
    assert np.allclose(at.ttft_s, 0.01, rtol=1e-3)
    assert np.nanmean(at.tpot_s) == pytest.approx(0.01, rel=1e-3)
    assert np.allclose(at.e2e_s, 1.28, rtol=1e-2)


def test_a_long_prompt_takes_its_chunks() -> None:
    law = Lengths(np.full(64, 5000.0), np.full(64, 64.0))
    at = continuous_batching(constant_cost(0.01), law, LIMITS, 1e-4)
    assert np.median(at.ttft_s) == pytest.approx(0.03)


def test_asynchronous_scheduling_costs_a_step_of_waiting() -> None:
    rate = 0.5 * saturated(COST, LAW, LIMITS).rate_per_s
    late = continuous_batching(COST, LAW, replace(LIMITS, async_scheduling=True), rate)
    soon = continuous_batching(COST, LAW, LIMITS, rate)
    assert late.ttft_s.mean() - soon.ttft_s.mean() == pytest.approx(soon.step_s, rel=0.3)


def test_littles_law_and_order() -> None:
    most = saturated(COST, LAW, LIMITS).rate_per_s
    before = 0.0
    for load in (0.1, 0.4, 0.7, 0.9):
        at = continuous_batching(COST, LAW, LIMITS, load * most)
        assert at.rho == pytest.approx(load)
        decode_s = float((at.e2e_s - at.ttft_s).mean())
        assert at.decoding == pytest.approx(at.rate_per_s * decode_s, rel=0.02)
        assert at.e2e_s.mean() > before
        before = float(at.e2e_s.mean())
        assert 1 >= at.attainment({"ttft": 0.05}) >= at.attainment({"ttft": 0.05, "tpot": 0.012})


def test_what_binds_the_capacity() -> None:
    assert saturated(COST, LAW, LIMITS).bound_by == "max_num_seqs"
    assert saturated(COST, LAW, replace(LIMITS, kv_tokens=20_000)).bound_by == "kv_cache"
    prompts = Lengths(np.full(64, 4000.0), np.full(64, 8.0))
    found = saturated(COST, prompts, LIMITS)
    assert found.bound_by == "max_num_batched_tokens"
    # n + n/D·P = B: every step is full.
    assert found.decoding * (1 + 4000 / 7) == pytest.approx(2048)
    rates = [saturated(COST, LAW, replace(LIMITS, max_num_seqs=n)).rate_per_s for n in (8, 32, 128)]
    assert rates == sorted(rates)


def test_bursts_and_variable_answers_wait_longer() -> None:
    limits = replace(LIMITS, max_num_seqs=16)
    rate = 0.85 * saturated(COST, LAW, limits).rate_per_s
    calm = continuous_batching(COST, LAW, limits, rate)
    bursty = continuous_batching(COST, LAW, limits, rate, arrival_scv=4.0)
    assert bursty.waiting > 1.5 * calm.waiting
    assert bursty.ttft_s.mean() > calm.ttft_s.mean()


def test_lengths_and_their_moments() -> None:
    rng = np.random.default_rng(2)
    law = Lengths(np.full(4000, 10.0), 1 + rng.exponential(200, 4000))
    assert law.alike == pytest.approx(0.5, abs=0.02)  # E[min] of two exponentials
    assert law.variability == pytest.approx(1.0, abs=0.1)
    assert LAW.alike == pytest.approx(1.0)
    assert LAW.context == pytest.approx(512 + 64)
    # Fixed answers: ρ(t) = 1 − t/G, of which the average over g = G has 2/3 of the variance.
    assert LAW.persistence(np.array([127.0]))[0] == pytest.approx(2 / 3, rel=0.02)
    assert LAW.persistence(np.array([1.0]))[0] == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: continuous_batching(COST, LAW, LIMITS, 0.0), "rate_per_s"),
        (lambda: continuous_batching(COST, LAW, LIMITS, math.inf), "rate_per_s"),
        (lambda: continuous_batching(COST, LAW, LIMITS, 1e4), "rate_per_s"),
        (lambda: Lengths(np.ones(3), np.ones(2)), "output"),
        (lambda: Lengths(np.zeros(3), np.ones(3)), "prompt"),
        (lambda: EngineLimits(0, 10), "max_num_seqs"),
        (lambda: EngineLimits(1, 10, kv_tokens=0), "kv_tokens"),
        (lambda: occupancy(1.0, 1.0, np.ones(3), 3), "step_s"),
    ],
)
def test_what_is_wrong_is_named(call, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=f"^{field}: "):
        call()
