"""Textbook queues against special cases, hand figures, a matrix, ciw, and recursions in numpy."""

from __future__ import annotations

import doctest
import importlib
import math

import numpy as np
import pytest

from foretell.models.queueing import (
    BatchTime,
    Station,
    best_limit,
    bulk_queue,
    clipped_mg1,
    erlang_b,
    erlang_c,
    fork_join,
    fork_join_bounds,
    ggc,
    kingman_bound_s,
    mg1,
    mg1_wait_variance,
    mgc,
    mmc,
    mmc_wait_percentile,
    mmc_wait_tail,
    mmpp_m1,
    mmpp_scv,
    mxg1,
    tandem,
)

MODULES = ("bulk", "mmpp", "multiserver", "networks", "occupancy", "singleserver")


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_hold(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"foretell.models.queueing.{name}"))
    assert tried
    assert not failed


def lindley(gaps: np.ndarray, services: np.ndarray) -> np.ndarray:
    """Waits at one server, first come first served."""
    steps = np.concatenate([[0.0], services[:-1] - gaps[1:]])
    sums = np.cumsum(steps)
    return sums - np.minimum.accumulate(sums)


def interval(values: list[float]) -> tuple[float, float]:
    """Mean of replications, and 3.5 standard errors: one false alarm in some hundreds at 8 of them."""
    return float(np.mean(values)), 3.5 * float(np.std(values, ddof=1)) / math.sqrt(len(values)) + 1e-12


def test_erlang_by_its_sums() -> None:
    for servers, offered in ((1, 0.3), (3, 2.0), (10, 9.5), (40, 30.0)):
        terms = [offered**k / math.factorial(k) for k in range(servers + 1)]
        blocked = terms[-1] / sum(terms)
        assert erlang_b(servers, offered) == pytest.approx(blocked, rel=1e-12)
        last = terms[-1] / (1 - offered / servers)
        assert erlang_c(servers, offered) == pytest.approx(last / (sum(terms[:-1]) + last), rel=1e-12)


def test_wait_distribution_of_mmc_has_its_mean() -> None:
    at = mmc(9.0, 1.0, 10)
    times = np.linspace(0, 40, 200_001)
    tail = [mmc_wait_tail(9.0, 1.0, 10, float(t)) for t in times[::100]]
    assert np.trapezoid(tail, times[::100]) == pytest.approx(at.wait_s, rel=1e-3)
    q99 = mmc_wait_percentile(9.0, 1.0, 10, 99)
    assert mmc_wait_tail(9.0, 1.0, 10, q99) == pytest.approx(0.01)
    assert mmc_wait_percentile(1.0, 1.0, 10, 50) == 0


def test_special_cases_meet() -> None:
    for servers in (1, 4, 30):
        rate = 0.8 * servers
        exact = mmc(rate, 1.0, servers).wait_s
        assert mgc(rate, 1.0, 1.0, servers).wait_s == pytest.approx(exact)
        assert ggc(rate, 1.0, 1.0, 1.0, servers).wait_s == pytest.approx(exact)
    for scv in (0.0, 0.5, 1.0, 4.0):
        exact = mg1(0.8, 1.0, scv).wait_s
        assert mgc(0.8, 1.0, scv).wait_s == pytest.approx(exact)
        assert ggc(0.8, 1.0, 1.0, scv).wait_s == pytest.approx(exact)
        assert kingman_bound_s(0.8, 1.0, 1.0, scv) >= exact


def test_fixed_service_waits_about_half_as_long() -> None:
    """M/D/c between half of M/M/c, its heavy-traffic limit, and M/M/c itself at no load."""
    for servers in (2, 8):
        shares = [mgc(rho * servers, 1.0, 0.0, servers).wait_s for rho in (0.3, 0.6, 0.9, 0.99)]
        shares = [
            w / mmc(rho * servers, 1.0, servers).wait_s
            for w, rho in zip(shares, (0.3, 0.6, 0.9, 0.99), strict=True)
        ]
        assert shares == sorted(shares, reverse=True)
        assert shares[-1] == pytest.approx(0.5, abs=0.01)
        assert shares[0] <= 1


@pytest.mark.parametrize("scv", [0.25, 1.0, 2.0])
def test_one_server_against_lindley(scv: float) -> None:
    rng = np.random.default_rng(3)
    waits, squares = [], []
    for _ in range(12):
        services = rng.gamma(1 / scv, 0.6 * scv, 150_000)
        wait = lindley(rng.exponential(1.0, 150_000), services)[5000:]
        waits.append(float(wait.mean()))
        squares.append(float((wait**2).mean()))
    mean, half = interval(waits)
    assert mg1(1.0, 0.6, scv).wait_s == pytest.approx(mean, abs=half)
    m2 = 0.36 * (1 + scv)
    m3 = 0.216 * (1 + scv) * (1 + 2 * scv)
    second, half = interval(squares)
    found = mg1_wait_variance(1.0, 0.6, m2, m3) + mg1(1.0, 0.6, scv).wait_s ** 2
    assert found == pytest.approx(second, abs=half)


def test_batch_arrivals_against_lindley() -> None:
    rng = np.random.default_rng(4)
    waits = []
    for _ in range(10):
        sizes = rng.integers(1, 6, 40_000)
        gaps = np.zeros(sizes.sum())
        gaps[np.concatenate([[0], np.cumsum(sizes)[:-1]])] = rng.exponential(6.0, len(sizes))
        waits.append(float(lindley(gaps, rng.exponential(1.2, len(gaps)))[3000:].mean()))
    mean, half = interval(waits)
    assert mxg1(1 / 6, 3.0, 11.0, 1.2, 1.0).wait_s == pytest.approx(mean, abs=half)


def test_the_best_limit_is_the_best_by_trying() -> None:
    lengths = np.random.default_rng(5).lognormal(5, 1.2, 400).round() + 1
    found = best_limit(0.5, lengths, 0.05, 0.004, 3.0)

    def objective(limit: float) -> float:
        try:
            at = clipped_mg1(0.5, lengths, 0.05, 0.004, limit)
        except ValueError:
            return math.inf
        return at.queue.wait_s + 3.0 * at.lost_share

    assert objective(found.limit) == pytest.approx(min(objective(m) for m in np.unique(lengths)))
    assert 0 < found.clipped_share < 0.5


def bulk_waits(
    rng: np.random.Generator, rate: float, lengths: np.ndarray, time: BatchTime, most: int, policy: str
) -> float:
    """Play static batches event by event."""
    arrive = np.cumsum(rng.exponential(1 / rate, 40_000))
    answer = rng.choice(lengths, len(arrive))
    now, i, waits = 0.0, 0, []
    while i < len(arrive) - most:
        need = most if policy == "fixed" else 1
        now = max(now, arrive[i + need - 1])
        b = min(most, int(np.searchsorted(arrive, now, side="right")) - i)
        waits += (now - arrive[i : i + b]).tolist()
        own = answer[i : i + b]
        work = own.sum() if policy == "elastic" else b * own.max()
        now += (
            time.per_request_s * b
            + time.fixed_s
            + time.per_request_token_s * work
            + time.per_token_s * own.max()
        )
        i += b
    return float(np.mean(waits[2000:]))


@pytest.mark.parametrize("policy", ["dynamic", "fixed", "elastic"])
@pytest.mark.systems(212)
def test_bulk_service_against_play(policy: str) -> None:
    rng = np.random.default_rng(6)
    lengths = np.random.default_rng(7).lognormal(3, 0.7, 300).round() + 1
    time = BatchTime(0.01, 0.05, 0.002, 0.01)
    for rate in (1.5, 5.0):
        found = bulk_queue(rate, lengths, time, 8, policy)  # type: ignore[arg-type]
        mean, half = interval([bulk_waits(rng, rate, lengths, time, 8, policy) for _ in range(6)])
        slack = 0.02 * mean if policy == "elastic" else 0.0  # its arrivals in a batch are approximate
        assert found.wait_s == pytest.approx(mean, abs=half + slack), (rate, found.rho)


@pytest.mark.systems(212)
def test_what_the_paper_of_bulk_service_finds() -> None:
    """Elastic never waits longer than dynamic, fixed loses at light load; clipping few cuts the wait."""
    lengths = np.random.default_rng(8).lognormal(4, 1.0, 500).round() + 1
    time = BatchTime(0.005, 0.05, 0.0002, 0.01)
    rates = (0.2, 1.5, 2.5)
    dynamic, elastic, fixed = (
        [bulk_queue(rate, lengths, time, 16, policy).wait_s for rate in rates]
        for policy in ("dynamic", "elastic", "fixed")
    )
    assert all(e <= d for e, d in zip(elastic, dynamic, strict=True))
    assert fixed[0] > 10 * dynamic[0]
    whole, cut = (clipped_mg1(0.7, lengths, 0.05, 0.01, m) for m in (math.inf, np.quantile(lengths, 0.98)))
    assert cut.clipped_share <= 0.02
    assert cut.queue.wait_s < 0.85 * whole.queue.wait_s


def test_mmpp_by_its_whole_chain() -> None:
    """The matrix-geometric solution against the same chain cut at 400 and solved at once."""
    rates, stays, service = [1.6, 0.2], [3.0, 5.0], 1.0
    size, most = 2, 400
    chain = np.zeros((most * size, most * size))
    for n in range(most):
        for s in range(size):
            at = n * size + s
            chain[at, n * size + 1 - s] += 1 / stays[s]
            if n + 1 < most:
                chain[at, at + size] += rates[s]
            if n:
                chain[at, at - size] += 1 / service
    chain -= np.diag(chain.sum(1))
    balance = chain.T.copy()
    balance[-1] = 1.0
    law = np.linalg.solve(balance, np.eye(len(chain))[-1])
    number = law @ (np.arange(len(chain)) // size)
    found = mmpp_m1(rates, stays, service)
    assert found.in_system == pytest.approx(number, rel=1e-9)
    assert found.wait_s > mmc(found.rate_per_s, service).wait_s


def test_the_dispersion_of_an_mmpp_by_counting() -> None:
    rng = np.random.default_rng(9)
    counts = []
    for _ in range(4000):
        t, high, count = 0.0, rng.random() < 0.25, 0
        while t < 12.0:
            stay = min(rng.exponential(1.0 if high else 3.0), 12.0 - t)
            count += rng.poisson((5.0 if high else 1.0) * stay)
            t, high = t + stay, not high
        counts.append(count)
    index = np.var(counts) / np.mean(counts)
    assert mmpp_scv([5.0, 1.0], [1.0, 3.0], 12.0) == pytest.approx(index, rel=0.1)
    assert mmpp_scv([5.0, 1.0], [1.0, 3.0], 1e6) == pytest.approx(mmpp_scv([5.0, 1.0], [1.0, 3.0]), rel=1e-3)


def test_fork_join_lies_between_its_bounds_and_near_play() -> None:
    rng = np.random.default_rng(10)
    for branches in (2, 8):
        low, high = fork_join_bounds(0.7, 1.0, branches)
        found = fork_join(0.7, 1.0, branches)
        assert low <= found <= high
        times = []
        for _ in range(6):
            gaps = rng.exponential(1 / 0.7, 60_000)
            work = rng.exponential(1.0, (branches, 60_000))
            slowest = np.max([lindley(gaps, each) + each for each in work], axis=0)
            times.append(float(slowest[3000:].mean()))
        assert found == pytest.approx(np.mean(times), rel=0.05)


@pytest.mark.parametrize("scv", [0.5, 1.0])
def test_a_tandem_against_play(scv: float) -> None:
    """Prefill by one server, decode by one: exact for exponential services, near it for others."""
    rng = np.random.default_rng(11)
    waits = []
    for _ in range(8):
        gaps = rng.exponential(1.0, 100_000)
        first, second = rng.gamma(1 / scv, 0.7 * scv, (2, 100_000))
        out = np.cumsum(gaps) + lindley(gaps, first) + first
        waits.append(float(lindley(np.diff(out, prepend=0.0), second)[5000:].mean()))
    mean, half = interval(waits)
    found = tandem(1.0, (Station(1, 0.7, scv), Station(1, 0.7, scv)))[1].wait_s
    assert found == pytest.approx(mean, abs=half + (0 if scv == 1 else 0.1 * mean))


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: mmc(1.0, 1.0, 1), "rate_per_s"),
        (lambda: mmc(-1.0, 1.0, 1), "rate_per_s"),
        (lambda: mgc(0.5, 1.0, -1.0), "service_scv"),
        (lambda: erlang_b(0, 1.0), "servers"),
        (lambda: bulk_queue(1.0, [1], BatchTime(), 1, "odd"), "policy"),  # type: ignore[arg-type]
        (lambda: mmpp_m1([1.0], [1.0], 0.1), "stays_s"),
        (lambda: clipped_mg1(1.0, [], 0.0, 1.0), "output_tokens"),
    ],
)
def test_what_is_wrong_is_named(call, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=f"^{field}: "):
        call()


@pytest.mark.slow
@pytest.mark.parametrize(("servers", "scv"), [(4, 0.0), (4, 1.0), (8, 0.5)])
def test_several_servers_against_ciw(servers: int, scv: float) -> None:
    ciw = pytest.importorskip("ciw")
    law = (
        ciw.dists.Deterministic(1.0)
        if scv == 0
        else ciw.dists.Exponential(1.0)
        if scv == 1
        else ciw.dists.Gamma(1 / scv, scv)
    )
    rate = 0.8 * servers
    waits = []
    for seed in range(6):
        ciw.seed(seed)
        network = ciw.create_network(
            arrival_distributions=[ciw.dists.Exponential(rate)],
            service_distributions=[law],
            number_of_servers=[servers],
        )
        simulation = ciw.Simulation(network)
        simulation.simulate_until_max_time(9000 / rate)
        waits.append(float(np.mean([r.waiting_time for r in simulation.get_all_records()[800:]])))
    mean, half = interval(waits)
    slack = 0.03 * mean if scv != 1 else 0.0  # Kimura's own error
    assert mgc(rate, 1.0, scv, servers).wait_s == pytest.approx(mean, abs=half + slack)
