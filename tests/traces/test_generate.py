from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.traces import (
    ClosedLoop,
    Constant,
    Diurnal,
    Gamma,
    Mmpp,
    Poisson,
    Prefixes,
    Sessions,
    generate,
    preset,
    presets,
    summary,
    trace_from_spec,
)
from foretell.traces.generate import ExponentialTime, FixedTime, Geometric, LogNormalTime
from foretell.traces.lengths import Empirical, Fixed, Independent, Lengths, LogNormal, Uniform
from foretell.traces.spec import lengths_from_spec

SIZES = Independent(Fixed(100), Fixed(10))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("process", "cv"),
    [
        (Poisson(3.0), 1.0),
        (Gamma(3.0, 1.0), 1.0),
        (Gamma(3.0, 0.25), 2.0),  # CV = 1/√burstiness
        (Gamma(3.0, 4.0), 0.5),
    ],
)
def test_renewal_gaps_have_the_mean_and_cv_of_theory(process: Any, cv: float) -> None:
    n = 100_000
    times = process.times(rng(1), num_requests=n)
    gaps = np.diff(times, prepend=0.0)
    assert gaps.mean() == pytest.approx(1 / 3, abs=4 * cv / 3 / math.sqrt(n))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.03)


def test_constant_is_regular() -> None:
    assert Constant(4.0).times(rng(), num_requests=3).tolist() == [0.0, 0.25, 0.5]
    assert Constant(4.0).times(rng(), duration_s=1.0).tolist() == [0.0, 0.25, 0.5, 0.75]


def test_mmpp_has_the_rate_and_the_dispersion_of_theory() -> None:
    # Two states: limit of Var N(t)/E N(t) = 1 + 2·(λ1−λ2)²·r1·r2/((r1+r2)²·(λ1·r2+λ2·r1)), r the rates
    # of leaving (Fischer & Meier-Hellstern, Performance Evaluation 18, 1993).
    process = Mmpp((8.0, 1.0), (2.0, 5.0))
    l1, l2, r1, r2 = 8.0, 1.0, 1 / 2.0, 1 / 5.0
    assert process.mean_rate_per_s == pytest.approx((8 * 2 + 1 * 5) / 7)
    horizon, window = 200_000.0, 200.0
    times = process.times(rng(2), duration_s=horizon)
    counts = np.bincount((times / window).astype(int), minlength=int(horizon / window))
    dispersion = 1 + 2 * (l1 - l2) ** 2 * r1 * r2 / ((r1 + r2) ** 2 * (l1 * r2 + l2 * r1))
    error = math.sqrt(dispersion * process.mean_rate_per_s / horizon)
    assert len(times) / horizon == pytest.approx(process.mean_rate_per_s, abs=4 * error)
    assert counts.var() / counts.mean() == pytest.approx(dispersion, rel=4 * math.sqrt(2 / len(counts)))


def test_mmpp_is_silent_in_a_state_of_rate_0() -> None:
    times = Mmpp((10.0, 0.0), (1.0, 50.0)).times(rng(3), num_requests=2000)
    assert len(times) == 2000
    gaps = np.diff(times)
    assert (gaps > 10).sum() > 50  # silences of 50 s on average
    assert np.median(gaps) < 0.2


def test_diurnal_sine_follows_the_hour() -> None:
    process = Diurnal(2.0, amplitude=0.8, period_s=1000.0, peak_s=250.0)
    times = process.times(rng(4), duration_s=100_000.0)
    assert len(times) == pytest.approx(200_000, abs=4 * math.sqrt(200_000))
    # E over a period of exp(i·2π(t − peak)/period), seen by arrivals, is amplitude/2.
    phase = np.exp(2j * np.pi * (times - 250.0) / 1000.0).mean()
    assert phase.real == pytest.approx(0.4, abs=4 / math.sqrt(len(times)))
    assert phase.imag == pytest.approx(0.0, abs=4 / math.sqrt(len(times)))


def test_diurnal_factors_follow_the_hour() -> None:
    process = Diurnal(3.0, factors=(1.0, 0.0, 3.0, 2.0), period_s=400.0)
    times = process.times(rng(5), num_requests=60_000)
    parts = np.bincount((times % 400.0 // 100.0).astype(int), minlength=4) / len(times)
    assert parts == pytest.approx([1 / 6, 0, 3 / 6, 2 / 6], abs=4 * 0.5 / math.sqrt(len(times)))
    assert len(times) / times[-1] == pytest.approx(3.0, rel=0.03)


processes = st.sampled_from(
    [
        Poisson(5.0),
        Gamma(5.0, 0.3),
        Constant(5.0),
        Mmpp((1.0, 20.0, 0.0), (3.0, 1.0, 2.0)),
        Diurnal(5.0, amplitude=1.0, period_s=30.0),
        Diurnal(5.0, factors=(0.0, 1.0, 2.0), period_s=30.0),
    ]
)


@settings(max_examples=60, deadline=None)
@given(processes, st.integers(0, 2**32), st.integers(0, 60), st.floats(0, 60))
def test_any_bound_cuts_the_same_stream(process: Any, seed: int, n: int, duration: float) -> None:
    by_count = process.times(rng(seed), num_requests=n)
    by_time = process.times(rng(seed), duration_s=duration)
    both = process.times(rng(seed), num_requests=n, duration_s=duration)
    assert len(by_count) == n
    assert (np.diff(by_time) >= 0).all()
    assert ((by_time >= 0) & (by_time < duration)).all()
    shared = min(len(by_count), len(by_time))
    assert by_count[:shared] == pytest.approx(by_time[:shared], abs=1e-9)
    assert len(both) == shared


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Poisson(0.0), "poisson: rate_per_s is 0"),
        (lambda: Poisson(float("nan")), "poisson: rate_per_s is nan"),
        (lambda: Gamma(1.0, -1.0), "gamma: burstiness is -1"),
        (lambda: Mmpp((1.0,), (1.0,)), "2 states or more"),
        (lambda: Mmpp((0.0, 0.0), (1.0, 1.0)), "all 0"),
        (lambda: Mmpp((1.0, 2.0), (1.0, 0.0)), "sojourns_s holds 0"),
        (lambda: Diurnal(1.0, amplitude=1.5), "amplitude is 1.5"),
        (lambda: ClosedLoop(0), "concurrency is 0"),
        (lambda: Poisson(1.0).times(rng()), "give num_requests or duration_s"),
        (lambda: Poisson(1.0).times(rng(), num_requests=-1), "num_requests is -1"),
        (lambda: Fixed(0), "fixed: tokens is 0"),
        (lambda: Uniform(5, 4), "high is 4"),
        (lambda: LogNormal(0.0, 1.0), "median is 0"),
        (lambda: LogNormal.from_mean_and_median(5.0, 6.0), "mean is 5.0, p50 6.0"),
        (lambda: Prefixes(0, 5), "groups is 0"),
        (lambda: Geometric(0.5), "geometric mean is 0.5"),
        (lambda: generate(ClosedLoop(2), SIZES, duration_s=5.0), "closed loop needs num_requests"),
    ],
)
def test_bad_parameters_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize(
    "law",
    [
        Fixed(7),
        Uniform(3, 12),
        Uniform.around(1000, 0.2),
        Uniform.below(1024),
        LogNormal(300.0, 0.8),
        LogNormal(300.0, 0.8, minimum=200, maximum=900),
        LogNormal.from_mean(400.0, 0.5, maximum=500),
        LogNormal.from_percentiles(p50=500.0, p99=5000.0),
        LogNormal(2000.0, 0.0, maximum=1000),
        Geometric(4.0),
    ],
)
def test_samples_have_the_mean_and_variance_of_theory(law: Lengths) -> None:
    n = 200_000
    drawn = law.sample(rng(7), n)
    assert drawn.dtype == np.int64
    assert drawn.min() >= 1
    assert drawn.mean() == pytest.approx(law.mean(), abs=4 * math.sqrt(law.variance() / n) + 0.02)
    fourth = float(((drawn - drawn.mean()) ** 4).mean())
    error = math.sqrt(max(fourth - drawn.var() ** 2, 0.0) / n)
    assert drawn.var() == pytest.approx(law.variance(), abs=5 * error + 0.2)  # rounding adds 1/12


def test_length_laws_by_hand() -> None:
    assert (Uniform.around(1000, 0.2).low, Uniform.around(1000, 0.2).high) == (800, 1200)
    assert (Uniform.below(1024).low, Uniform.below(1024).high) == (819, 1024)
    law = LogNormal.from_mean(200.0, 0.7)
    assert law.mean() == pytest.approx(200.0, abs=0.01)
    drawn = LogNormal.from_percentiles(p50=500.0, p99=5000.0).sample(rng(8), 200_000)
    assert np.percentile(drawn, [50, 99]) == pytest.approx([500, 5000], rel=0.03)
    assert LogNormal.from_mean_and_median(1527.0, 792.0).mean() == pytest.approx(1527.0, rel=1e-3)


def test_empirical_lengths_keep_their_pairs() -> None:
    source = generate(Poisson(1.0), SIZES, num_requests=3)
    assert Empirical.of(source).means() == (100.0, 10.0)
    law = Empirical(np.array([1, 2, 3]), np.array([10, 20, 30]))
    prompt, output = law.sample(rng(9), 3000)
    assert (output == 10 * prompt).all()
    assert prompt.mean() == pytest.approx(2.0, abs=4 * math.sqrt(2 / 3 / 3000))


def test_presets_have_the_published_percentiles() -> None:
    for name, record in presets().items():
        assert {"source", "about", "note"} <= set(record), name
        prompt, output = preset(name).sample(rng(10), 200_000)
        for law, drawn in ((record["prompt"], prompt), (record["output"], output)):
            figures = law["lognormal"]
            assert np.percentile(drawn, 50) == pytest.approx(figures["p50"], rel=0.02)
            if "p90" in figures:
                assert np.percentile(drawn, 90) == pytest.approx(figures["p90"], rel=0.02)
            if "mean" in figures:  # the cut takes a little of the tail
                assert drawn.mean() == pytest.approx(figures["mean"], rel=0.12)


def test_the_same_seed_makes_the_same_trace() -> None:
    sequence = np.random.SeedSequence(5)
    one, two = (generate(Poisson(2.0), preset("sharegpt"), num_requests=50, seed=sequence) for _ in "ab")
    three = generate(Poisson(2.0), preset("sharegpt"), num_requests=50, seed=5)
    for other in (two, three):
        assert (one.arrival_s == other.arrival_s).all()
        assert (one.prompt_tokens == other.prompt_tokens).all()
    assert (generate(Poisson(2.0), SIZES, num_requests=50, seed=6).arrival_s != one.arrival_s).all()


def test_what_ifs_share_their_randomness() -> None:
    base = generate(Poisson(2.0), preset("sharegpt"), num_requests=50, seed=5)
    faster = generate(Poisson(4.0), preset("sharegpt"), num_requests=50, seed=5)
    assert faster.arrival_s == pytest.approx(base.arrival_s / 2)
    assert (faster.output_tokens == base.output_tokens).all()
    shared = generate(Poisson(2.0), preset("sharegpt"), num_requests=50, seed=5, prefixes=Prefixes(3, 64))
    assert (shared.arrival_s == base.arrival_s).all()
    assert (shared.prompt_tokens == base.prompt_tokens + 64).all()
    longer = generate(
        Poisson(2.0),
        Independent(Fixed(9), LogNormal(415, 0.5)),
        num_requests=50,
        seed=5,
        priorities={0: 1, 1: 1},
    )
    assert (longer.arrival_s == base.arrival_s).all()


def test_prefix_groups_follow_zipf() -> None:
    prefixes = Prefixes(4, 32, zipf=1.0, share=0.5)
    t = generate(Constant(1.0), SIZES, num_requests=40_000, seed=1, prefixes=prefixes)
    assert t.segments is not None
    first = [chain[0][0] if chain else "" for chain in t.segments]
    total = 1 + 1 / 2 + 1 / 3 + 1 / 4
    for k in range(4):
        expected = 0.5 / (k + 1) / total
        assert first.count(f"g{k}") / 40_000 == pytest.approx(expected, abs=4 * math.sqrt(expected / 40_000))
    lengths = set(zip(map(bool, t.segments), t.prompt_tokens.tolist(), strict=True))
    assert lengths == {(True, 132), (False, 100)}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.booleans(), st.sampled_from([None, 700, 2000]))
def test_conversations_hold_their_history(seed: int, n: int, shared: bool, limit: int | None) -> None:
    sessions = Sessions(Geometric(3.0), ExponentialTime(10.0), max_tokens=limit)
    t = generate(
        Poisson(1.0),
        Independent(Uniform(10, 200), Uniform(5, 100)),
        num_requests=n,
        seed=seed,
        prefixes=Prefixes(2, 50) if shared else None,
        sessions=sessions,
        priorities={0: 1, 3: 1},
    )
    assert len(t) <= n if limit else len(t) == n
    assert t.session is not None
    assert t.segments is not None
    assert t.think_s is not None
    assert t.priority is not None
    held: dict[str, int] = {}
    priority: dict[str, int] = {}
    begins: list[float] = []
    for i, name in enumerate(t.session):
        prompt, total = int(t.prompt_tokens[i]), int(t.prompt_tokens[i] + t.output_tokens[i])
        assert sum(k for _, k in t.segments[i]) == total
        assert t.segments[i][-1][0] == name
        assert limit is None or total <= limit
        if name not in held:
            begins.append(float(t.arrival_s[i]))
            priority[name] = int(t.priority[i])
            assert t.think_s[i] == 0
        else:
            assert prompt >= held[name] + 10  # the history and a new question
            assert t.arrival_s[i] == 0
        assert t.priority[i] == priority[name]
        held[name] = total
    assert begins == sorted(begins)


def test_turns_and_think_times_have_their_means() -> None:
    sessions = Sessions(Geometric(3.0), LogNormalTime(20.0, 0.5))
    t = generate(Poisson(1.0), SIZES, duration_s=20_000.0, seed=2, sessions=sessions)
    s = summary(t)
    assert s["turns_per_session"] == pytest.approx(3.0, abs=4 * math.sqrt(6 / s["sessions"]))
    assert t.think_s is not None
    later = t.think_s[t.think_s > 0]
    assert np.median(later) == pytest.approx(20.0, rel=0.03)
    fixed = generate(Poisson(1.0), SIZES, num_requests=9, sessions=Sessions(Fixed(3), FixedTime(4.0)))
    assert fixed.think_s is not None
    assert fixed.think_s.tolist() == [0.0, 4.0, 4.0] * 3
    assert fixed.prompt_tokens.tolist() == [100, 210, 320] * 3


def test_a_closed_loop_travels_with_its_trace() -> None:
    t = generate(ClosedLoop(8, think_s=2.0), SIZES, num_requests=5)
    assert t.concurrency == 8
    assert t.arrival_s.tolist() == [0.0] * 5
    assert t.think_s is not None
    assert t.think_s.tolist() == [2.0] * 5


def test_trace_from_spec() -> None:
    spec = {
        "arrivals": {"process": "gamma", "rate_per_s": "2e0", "burstiness": 0.5},
        "lengths": {"prompt": 512, "output": {"lognormal": {"mean": 200, "sigma": 0.7, "maximum": 1000}}},
        "num_requests": 200,
        "prefixes": {"groups": 4, "tokens": 64, "zipf": 1.1},
        "priorities": {0: 9, 1: 1},
    }
    t = trace_from_spec(spec, seed=3)
    lengths = Independent(Fixed(512), LogNormal.from_mean(200.0, 0.7, maximum=1000))
    same = generate(
        Gamma(2.0, 0.5),
        lengths,
        num_requests=200,
        seed=3,
        prefixes=Prefixes(4, 64, 1.1),
        priorities={0: 9, 1: 1},
    )
    assert (t.arrival_s == same.arrival_s).all()
    assert (t.output_tokens == same.output_tokens).all()
    assert t.segments == same.segments
    chat = trace_from_spec(
        {
            "arrivals": {"process": "mmpp", "rates_per_s": [1, 5], "sojourns_s": [60, 20]},
            "lengths": {"preset": "sharegpt"},
            "duration_s": 600,
            "sessions": {"turns": {"uniform": {"low": 1, "high": 5}}, "think_s": {"exponential": 30}},
        }
    )
    assert chat.session is not None


def test_lengths_from_a_trace_file(tmp_path: Any) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,1\n1,20,2\n")
    assert lengths_from_spec({"trace": str(path)}).means() == (15.0, 1.5)


BASE: dict[str, Any] = {
    "arrivals": {"process": "poisson", "rate_per_s": 1},
    "lengths": {"prompt": 10, "output": 10},
    "num_requests": 5,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arivals": {}}, "workload.arivals is unknown; did you mean arrivals?"),
        ({"num_requests": None}, "give num_requests or duration_s"),
        ({"num_requests": 2.5}, "num_requests is 2.5; it must be a whole number, at least 1"),
        ({"duration_s": -1}, "duration_s is -1.0"),
        ({"arrivals": {"rate_per_s": 1}}, "arrivals.process is missing"),
        ({"arrivals": {"process": "poison"}}, "arrivals.process 'poison' is unknown; did you mean poisson?"),
        ({"arrivals": {"process": "poisson"}}, "arrivals.rate_per_s is missing"),
        (
            {"arrivals": {"process": "poisson", "rate": 1}},
            "arrivals.rate is unknown; did you mean rate_per_s?",
        ),
        ({"arrivals": {"process": "poisson", "rate_per_s": "fast"}}, "arrivals.rate_per_s is 'fast'"),
        ({"arrivals": {"process": "poisson", "rate_per_s": [1]}}, "lists and numbers are mixed up"),
        ({"arrivals": {"process": "mmpp", "rates_per_s": 1, "sojourns_s": [2]}}, "mixed up"),
        ({"arrivals": 5}, "arrivals is 5; it must be a mapping"),
        (
            {"lengths": {"preset": "share-gpt"}},
            "lengths.preset 'share-gpt' is unknown; did you mean sharegpt?",
        ),
        ({"lengths": {"prompt": 10}}, "lengths.output is missing"),
        ({"lengths": {"prompt": {"normal": 5}, "output": 5}}, "lengths.prompt.normal is unknown"),
        (
            {"lengths": {"prompt": {"lognormal": {"mean": 5}}, "output": 5}},
            "lengths.prompt.lognormal has mean",
        ),
        ({"lengths": {"prompt": {"uniform": {"low": 0, "high": 2}}, "output": 5}}, "uniform.low is 0"),
        ({"prefixes": {"groups": 2}}, "prefixes.tokens is missing"),
        ({"prefixes": {"groups": 2.5, "tokens": 3}}, "prefixes.groups is 2.5; it must be a whole number"),
        ({"sessions": {"turns": {"geometric": 0.2}}}, "geometric mean is 0.2"),
        ({"sessions": {"think_s": 1}}, "sessions.turns is missing"),
        ({"sessions": {"turns": 2, "think_s": -1}}, "think_s is -1.0"),
        ({"priorities": {0: 0}}, "priorities: weights are [0.0]"),
    ],
)
def test_a_bad_spec_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        trace_from_spec(BASE | change)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
