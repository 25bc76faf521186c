"""Fleets: routing, sessions, closed loops; and that a fleet is nothing but its engines."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.models import AffineCost
from foretell.sim.config import EngineConfig
from foretell.sim.engine import Engine
from foretell.sim.records import CALL_COLUMNS
from foretell.sim.request import Request
from foretell.sim.routers import ROUTERS, Fleet, check_router, choices_of, make_router
from foretell.sim.serve import serve
from foretell.sim.simulation import Run, simulate
from foretell.traces import Poisson, Prefixes, Sessions, Trace, generate, preset
from foretell.traces.generate import FixedTime
from foretell.traces.lengths import Fixed

COST = AffineCost(0.006, 2e-5, 3e-5, 1e-7, 0)
CONFIG = EngineConfig(num_gpu_blocks=3000, max_num_seqs=64, max_num_batched_tokens=2048)


def poisson(rows: int, rate: float, seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    return Trace(
        np.cumsum(rng.exponential(1 / rate, rows)),
        rng.integers(10, 800, rows),
        rng.integers(1, 200, rows),
    )


def alone(trace: Trace, config: EngineConfig) -> tuple[list[float], list[float]]:
    calls = [
        Request(f"r{i}", at, prompt, output)
        for i, (at, prompt, output) in enumerate(
            zip(
                trace.arrival_s.tolist(),
                trace.prompt_tokens.tolist(),
                trace.output_tokens.tolist(),
                strict=True,
            )
        )
    ]
    serve(calls, config, COST)
    return [c.first_token_s or math.nan for c in calls], [c.finish_s or math.nan for c in calls]


@pytest.mark.parametrize("settings", [{}, {"async_scheduling": True}, {"num_gpu_blocks": 120}])
def test_a_fleet_under_round_robin_is_its_engines_side_by_side(settings: dict[str, int]) -> None:
    """The event loop over several engines changes nothing in any of them."""
    trace = poisson(400, rate=30)
    config = EngineConfig(**{"num_gpu_blocks": 3000, "max_num_seqs": 64, **settings})  # type: ignore[arg-type]
    run = simulate(trace, COST, config, replicas=3, router="round_robin")
    for i in range(3):
        part = trace.take(np.arange(i, len(trace), 3))
        first, finish = alone(part, config)
        assert run.first_token_s[i::3].tolist() == first
        assert run.finish_s[i::3].tolist() == finish
        assert (run.replica[i::3] == i).all()


def test_steps_told_and_steps_not_told_are_the_same() -> None:
    trace = poisson(300, rate=20)
    entries: list[tuple[int, int]] = []
    told = simulate(trace, COST, CONFIG, on_step=lambda i, k, s, e, batch: entries.append((k, len(batch))))
    silent = simulate(trace, COST, CONFIG, itl=True)
    assert told.finish_s.tolist() == silent.finish_s.tolist()
    assert [k for k, _ in entries] == list(range(told.engines[0].steps))
    stats = silent.engines[0]
    assert sum(n for _, n in entries) == stats.decode_seqs + stats.prefill_seqs
    assert silent.itl is not None
    gaps, counts = silent.itl
    assert counts.sum() == (trace.output_tokens - 1).sum()
    # Σ gaps is Σ (last token − first token) of all requests
    assert (gaps * counts).sum() == pytest.approx((silent.finish_s - silent.first_token_s).sum(), rel=1e-9)


@given(
    st.integers(0, 2**31),
    st.sampled_from(sorted(ROUTERS)),
    st.booleans(),
    st.sampled_from([60, 200, 3000]),
)
@settings(max_examples=60, deadline=None)
def test_every_request_ends_once_and_causes_come_before_effects(
    seed: int, router: str, caching: bool, blocks: int
) -> None:
    """Invariants 1, 3, 4 and 6 on a fleet."""
    trace = generate(
        Poisson(rate_per_s=15),
        preset("sharegpt"),
        num_requests=60,
        seed=seed,
        prefixes=Prefixes(groups=4, tokens=96),
    )
    config = EngineConfig(num_gpu_blocks=blocks, enable_prefix_caching=caching, max_num_batched_tokens=512)
    runs = [simulate(trace, COST, config, replicas=3, router=router, seed=seed) for _ in range(2)]
    run = runs[0]
    served = run.status == 0
    assert set(run.status.tolist()) <= {0, 2}
    for i in np.flatnonzero(~served):
        assert config.rejects(int(trace.prompt_tokens[i]), int(trace.output_tokens[i])) is not None
    assert (run.first_token_s[served] > run.arrival_s[served]).all()
    assert (run.finish_s[served] >= run.first_token_s[served]).all()
    assert ((run.finish_s > run.first_token_s) | (run.output_tokens <= 1) | ~served).all()
    assert not np.isnan(run.finish_s[served]).any()
    assert runs[1].finish_s.tobytes() == run.finish_s.tobytes()
    assert runs[1].replica.tolist() == run.replica.tolist()


def test_turns_wait_for_the_answer_and_for_thought() -> None:
    trace = generate(
        Poisson(rate_per_s=2),
        preset("sharegpt"),
        num_requests=120,
        seed=3,
        sessions=Sessions(turns=Fixed(4), think=FixedTime(2.0)),
    )
    config = EngineConfig(num_gpu_blocks=20_000, enable_prefix_caching=True, max_num_batched_tokens=8192)
    run = simulate(trace, COST, config, replicas=2, router="session_affinity")
    assert trace.session is not None
    assert trace.think_s is not None
    last: dict[str, int] = {}
    for row, session in enumerate(trace.session):
        if session in last:
            before = last[session]
            assert run.arrival_s[row] == run.finish_s[before] + trace.think_s[row]
            assert run.replica[row] == run.replica[before]
            # All of the history but what no full block holds, and the answer's last token, is cached.
            history = trace.prompt_tokens[before] + run.output_tokens[before]
            assert history - 1 - 16 < run.cached_tokens[row] <= history
        else:
            assert run.arrival_s[row] == trace.arrival_s[row]
        last[session] = row


def test_a_session_ends_with_a_turn_that_gets_no_answer() -> None:
    trace = Trace(
        np.zeros(3),
        np.array([10, 5000, 6000]),
        np.array([5, 5, 5]),
        session=["a", "a", "a"],
    )
    run = simulate(trace, COST, EngineConfig(num_gpu_blocks=100))
    assert run.status.tolist() == [0, 2, 1]
    assert run.replica.tolist() == [0, 0, -1]


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_closed_loop_keeps_its_number_in_flight(replicas: int) -> None:
    rows, bound = 200, 8
    rng = np.random.default_rng(0)
    trace = Trace(np.zeros(rows), rng.integers(10, 500, rows), rng.integers(2, 100, rows), concurrency=bound)
    run = simulate(trace, COST, CONFIG, replicas=replicas, router="least_outstanding")
    moments = sorted(
        [(t, 1) for t in run.arrival_s.tolist()] + [(t, -1) for t in run.finish_s.tolist()],
        key=lambda m: (m[0], m[1]),
    )
    level, levels = 0, []
    for _, change in moments:
        level += change
        levels.append(level)
    assert max(levels) == bound
    # Each row after the first eight is asked at the very moment that another ends.
    assert set(run.arrival_s[bound:].tolist()) <= set(run.finish_s.tolist())


def test_sessions_in_a_closed_loop_are_refused() -> None:
    trace = Trace(np.zeros(1), np.array([5]), np.array([5]), session=["a"], concurrency=1)
    with pytest.raises(ValueError, match="both sessions and concurrency"):
        simulate(trace, COST, CONFIG)


def test_least_outstanding_fills_the_faster_replica_more() -> None:
    trace = poisson(600, rate=25)
    slow = AffineCost(0.024, 8e-5, 12e-5, 4e-7, 0)
    run = simulate(trace, [COST, slow], CONFIG, router="least_outstanding")
    assert (run.replica == 0).sum() > 1.5 * (run.replica == 1).sum()


def test_two_choices_beat_one() -> None:
    """Mitzenmacher 2001: the longer of two random queues is avoided, so that waits shrink."""
    trace = poisson(3000, rate=16 * 6.0)
    config = EngineConfig(num_gpu_blocks=3000, max_num_seqs=8)

    def waits(router: str) -> float:
        run = simulate(trace, COST, config, replicas=16, router=router)
        return float(np.mean(run.first_token_s - run.arrival_s))

    assert waits("least_outstanding") <= waits("power_of_d:3") < waits("power_of_two") < waits("random")
    assert waits("power_of_d:16") == waits("least_outstanding")


def test_prefix_affinity_hits_more_than_round_robin() -> None:
    trace = generate(
        Poisson(rate_per_s=20),
        preset("sharegpt"),
        num_requests=400,
        seed=1,
        prefixes=Prefixes(groups=40, tokens=1024),
    )
    config = EngineConfig(num_gpu_blocks=4000, enable_prefix_caching=True, max_num_batched_tokens=8192)

    def cached(run: Run) -> int:
        return sum(e.cached_tokens for e in run.engines)

    affine = simulate(trace, COST, config, replicas=4, router="prefix_affinity")
    blind = simulate(trace, COST, config, replicas=4, router="round_robin")
    assert cached(affine) > 1.1 * cached(blind)


@pytest.mark.parametrize("name", sorted(ROUTERS))
def test_bundled_routers_obey_the_rules(name: str) -> None:
    check_router(ROUTERS[name])


@given(st.integers(1, 6), st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 99))
def test_power_of_d_takes_the_least_of_d(choices: int, outstanding: list[int], seed: int) -> None:
    """At least d - 1 others are as loaded or more, and nothing else is known of the draw."""
    route = make_router(f"power_of_d:{choices}", np.random.default_rng(seed))
    chosen = outstanding[route(Request("a", 0.0, 1, 1), Fleet(outstanding, ()))]
    assert sum(other >= chosen for other in outstanding) >= min(choices, len(outstanding))


def test_rules_are_told() -> None:
    with pytest.raises(ValueError, match="it must be an int from 0 to 2"):
        check_router(lambda rng: lambda request, fleet: 3)

    def vandal(request: Request, fleet: Fleet) -> int:
        fleet.outstanding[0] = 7
        return 0

    with pytest.raises(ValueError, match="may only read"):
        check_router(lambda rng: vandal)
    with pytest.raises(ValueError, match="did you mean 'round_robin'"):
        make_router("roundrobin", np.random.default_rng())
    for wrong in ("power_of_d:0", "power_of_d:", "power_of_d:two", "power_of_d:-1"):
        with pytest.raises(ValueError, match="no whole number >= 1 after the colon"):
            make_router(wrong, np.random.default_rng())
        with pytest.raises(ValueError, match="no whole number >= 1 after the colon"):
            choices_of(wrong)
    with pytest.raises(ValueError, match="cannot load"):
        make_router("nowhere:router", np.random.default_rng())


def test_advance_leaves_the_step_that_an_arrival_may_join() -> None:
    engine = Engine(EngineConfig(), AffineCost(1.0))
    one, two = Request("a", 0.0, 10, 3), Request("b", 2.0, 10, 1)
    engine.submit(one)
    assert engine.advance(2.0) == []
    engine.submit(two)
    assert engine.advance(100.0) == [one, two]
    assert (one.first_token_s, one.finish_s, two.first_token_s) == (1.0, 3.0, 3.0)


def test_impossible_numbers_of_replicas() -> None:
    trace = poisson(3, rate=1)
    with pytest.raises(ValueError, match="replicas: 0"):
        simulate(trace, COST, CONFIG, replicas=0)
    with pytest.raises(ValueError, match="cost: 2 given for 3 replicas"):
        simulate(trace, [COST, COST], CONFIG, replicas=3)


def test_equal_names_are_no_trouble_under_priorities() -> None:
    trace = Trace(
        np.zeros(4), np.full(4, 20), np.full(4, 3), request_id=["a"] * 4, priority=np.zeros(4, dtype=int)
    )
    run = simulate(trace, COST, EngineConfig(scheduling_policy="priority", max_num_seqs=1))
    assert len(set(run.finish_s.tolist())) == 4


def test_a_run_is_the_table_that_is_written() -> None:
    run = simulate(poisson(5, rate=3), COST, CONFIG)
    frame = run.to_frame()
    assert tuple(frame.columns) == CALL_COLUMNS
    assert frame["finish_s"].tolist() == run.finish_s.tolist()
