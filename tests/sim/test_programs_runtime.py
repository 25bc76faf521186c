"""The runtime of programs: calls meet the engines as a trace would, clocks agree, deadlines hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foretell.models import AffineCost
from foretell.models.outcomes import Difficulty, Lengths, Outcomes
from foretell.sim import EngineConfig, simulate
from foretell.sim.disaggregated import EnginePool
from foretell.sim.engine import Batch
from foretell.sim.engines import make_engine
from foretell.sim.programs.catalogue import choose
from foretell.sim.programs.draws import Draws
from foretell.sim.programs.llm import LLM, Call, Program, Query, Steps, every, first
from foretell.sim.programs.run import ProgramRun, run_programs
from foretell.sim.programs.servers import UnloadedPool
from foretell.sim.request import Request
from foretell.traces import Trace

PROFILE = Outcomes(
    "task",
    "model",
    Difficulty(0.5, 0.4, 0.1),
    Lengths(60.0, 0.5, 0.4, hardness=0.5, cap_tokens=400),
    prompt_tokens=40,
    shared_prompt_tokens=10,
)
COST = AffineCost(0.01, 1e-5, 1e-4)
CALM = UnloadedPool(0.1, 0.01)


def program(name: str, **parameters: object) -> Program:
    return choose({"name": name, **parameters}, ["main"]).program


def run(
    strategy: Program, pool: EnginePool | UnloadedPool = CALM, seed: int = 0, **how: object
) -> ProgramRun:
    return run_programs(strategy, {"main": pool}, {"main": PROFILE}, seed=seed, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("caching", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("replicas", [1, 3])
def test_single_calls_are_a_trace(caching: bool, asynchronous: bool, replicas: int) -> None:
    """The program of one call does to the engines exactly what a replayed trace of these calls does."""
    config = EngineConfig(
        num_gpu_blocks=60, max_num_seqs=8, enable_prefix_caching=caching, async_scheduling=asynchronous
    )
    n = 150
    arrival = np.cumsum(np.random.default_rng(1).exponential(0.05, n))
    pool = EnginePool(COST, config, replicas, "least_outstanding")
    done = run(program("single"), pool, arrival_s=arrival)
    samples = Draws.make({"main": PROFILE}, n, np.random.SeedSequence(0)).samples["main"]
    segments: list[Any] = [(("task", 10), (("query", q), 30)) for q in range(n)]
    trace = Trace(
        arrival,
        prompt_tokens=np.full(n, 40),
        output_tokens=np.array([samples.outcome(q, 0).tokens for q in range(n)]),
        segments=segments,
    )
    same = simulate(trace, COST, config, replicas=replicas, router="least_outstanding")
    order = np.argsort(done.query)
    assert np.array_equal(done.run.first_token_s[order], same.first_token_s)
    assert np.array_equal(done.run.finish_s[order], same.finish_s)
    assert np.array_equal(done.run.cached_tokens[order], same.cached_tokens)
    assert np.array_equal(done.finish_s, same.finish_s)
    assert [e.steps for e in done.run.engines] == [e.steps for e in same.engines]


@given(
    cancel=st.lists(st.floats(0.0, 4.0), min_size=6, max_size=6),
    asynchronous=st.booleans(),
    blocks=st.sampled_from([12, 40]),
)
@example(cancel=[0.0, 0.0, 0.21, 0.0, 0.0, 0.0], asynchronous=True, blocks=12)  # while it comes back
@settings(max_examples=60, deadline=None)
def test_what_a_cancelled_call_has_written_is_what_its_steps_have_delivered(
    cancel: list[float], asynchronous: bool, blocks: int
) -> None:
    config = EngineConfig(
        num_gpu_blocks=blocks, max_num_seqs=4, max_num_batched_tokens=64, async_scheduling=asynchronous
    )
    ends: dict[str, list[float]] = {}

    def note(step: int, start_s: float, end_s: float, batch: Batch) -> None:
        for request, tokens, before in batch:
            if before + tokens >= request.prompt_tokens + len(ends.get(request.id, [])):
                ends.setdefault(request.id, []).append(end_s)

    for which, at in enumerate(cancel):
        ends.clear()
        engine = make_engine(config, COST)
        watched = make_engine(config, COST, on_step=note)
        for each in (engine, watched):
            requests = [Request(f"r{i}", 0.0, 30 + 7 * i, 20 + 9 * i, i) for i in range(6)]
            for request in requests:
                assert each.submit(request)
            each.advance(at if each is engine else np.inf)
            if each is engine and requests[which].status not in ("finished", "rejected"):
                written = engine.written(requests[which], at)
                slack = asynchronous and requests[which].n_preemptions > 0  # a token was in flight
            elif each is engine:
                written = -1
        if written >= 0:
            delivered = sum(end <= at for end in ends.get(f"r{which}", []))
            assert 0 <= written - min(delivered, 20 + 9 * which) <= slack


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_first_to_finish_wins_and_the_others_stop(replicas: int) -> None:
    pool = EnginePool(COST, EngineConfig(), replicas)
    arrival = np.arange(20.0)
    done = run(program("first_finish", n=4), pool, arrival_s=arrival)
    samples = Draws.make({"main": PROFILE}, 20, np.random.SeedSequence(0)).samples["main"]
    assert (done.calls == 4).all()
    for q in range(20):
        lengths = [samples.outcome(q, i).tokens for i in range(4)]
        winner = int(np.argmin(lengths))
        assert done.answers[q] == (-1 if (a := samples.outcome(q, winner).answer) is None else a)
        assert done.tokens[q] <= 4 * min(lengths)
        assert done.tokens[q] > 4 * (min(lengths) - 3)  # they started together
    assert ((done.run.status == 0).sum(), (done.run.status == 1).sum()) == (20, 60)


def test_samples_are_the_same_whoever_asks() -> None:
    """Common random numbers: the first 8 of 16 are those of 8, under any load, in any order."""
    seen: dict[tuple[int, int], list[tuple[int, int | None]]] = {}

    def asks(n: int) -> Program:
        def asking(query: Query, llm: LLM) -> Steps:
            calls = [llm.sample(query) for _ in range(n)]
            yield every(calls)
            seen[n, query.id] = [(call.tokens, call.answer) for call in calls]
            return None

        return asking

    run(asks(8), n_queries=10)
    run(asks(40), n_queries=10, concurrency=1)
    assert all(seen[8, q] == seen[40, q][:8] for q in range(10))
    assert seen[8, 0] != seen[8, 1]


def test_equal_seeds_give_equal_runs_and_others_others() -> None:
    strategy = program("self_consistency", n=5)
    pool = EnginePool(COST, EngineConfig(), 2, "power_of_two")
    arrival = np.cumsum(np.full(30, 0.3))
    one, two, other = (run(strategy, pool, seed=s, arrival_s=arrival) for s in (3, 3, 4))
    assert np.array_equal(one.finish_s, two.finish_s)
    assert np.array_equal(one.answers, two.answers)
    assert not np.array_equal(one.finish_s, other.finish_s)


@pytest.mark.parametrize("pool", [CALM, EnginePool(COST, EngineConfig(max_num_seqs=4))])
def test_past_its_deadline_a_query_answers_with_what_it_has(pool: EnginePool | UnloadedPool) -> None:
    arrival = np.arange(40) * 0.2
    free = run(program("self_consistency", n=8), pool, arrival_s=arrival)
    bound = run(program("self_consistency", n=8), pool, arrival_s=arrival, deadline_s=0.6)
    assert bound.latency_s.max() <= 0.6 + 1e-9
    assert bound.late.any()
    assert bound.tokens.sum() < free.tokens.sum()
    assert bound.accuracy < free.accuracy
    in_time = ~bound.late
    if isinstance(pool, UnloadedPool):  # under load the others' leaving makes it faster
        assert np.array_equal(bound.answers[in_time], free.answers[in_time])
    assert not np.isnan(bound.left_s).any()


def test_a_program_that_goes_on_past_its_deadline_takes_no_time() -> None:
    def stubborn(query: Query, llm: LLM) -> Steps:
        for _ in range(50):
            yield llm.sample(query)
            yield llm.wait(1.0)
        return 0 if query.over else None

    done = run(stubborn, n_queries=3, deadline_s=2.5)
    assert (done.latency_s == 2.5).all()
    assert done.right.all()
    assert (done.calls == 50).all()


def test_chunks_of_a_trace_are_the_trace() -> None:
    pairs: list[tuple[Call, Call]] = []

    def chunked(query: Query, llm: LLM) -> Steps:
        whole = llm.sample(query)
        query.sampled.clear()  # the same sample once more
        call = yield llm.sample(query, max_tokens=25)
        while not call.ended:
            assert call.answer is None
            call = yield llm.resume(call, 25)
        yield whole
        pairs.append((whole, call))
        return None

    run(chunked, EnginePool(COST, EngineConfig()), n_queries=20)
    for whole, last in pairs:
        assert last.position == whole.position
        assert last.answer == whole.answer


def test_forks_share_the_prefix_cache() -> None:
    def tree(query: Query, llm: LLM) -> Steps:
        trunk = yield llm.write(query, 64)
        leaves = [llm.write(query, 16, after=trunk) for _ in range(4)]
        yield every(leaves)
        return None

    config = EngineConfig(enable_prefix_caching=True, block_size=16)
    done = run(tree, EnginePool(COST, config), n_queries=1)
    # 40 tokens of prompt and 64 written; a last token is never computed, and full blocks are hit.
    assert done.run.prompt_tokens.tolist() == [40, 104, 104, 104, 104]
    assert done.run.cached_tokens.tolist() == [0, 96, 96, 96, 96]


def test_the_first_of_nobody_is_none_and_waits_end() -> None:
    seen = []

    def late(query: Query, llm: LLM) -> Steps:
        calls = [llm.sample(query) for _ in range(3)]
        winner = yield first(calls)
        seen.append(winner)
        return None

    done = run(late, n_queries=1, deadline_s=0.05)
    assert seen == [None]
    assert done.finish_s[0] == 0.05


def test_a_closed_loop_keeps_so_many_in_flight() -> None:
    done = run(program("single"), n_queries=40, concurrency=3)
    times = np.concatenate([done.arrival_s, done.finish_s])
    change = np.repeat([1, -1], 40)[np.lexsort((np.repeat([1, 0], 40), times))]
    assert np.cumsum(change).max() == 3


def test_what_can_never_fit_comes_back_undone() -> None:
    config = EngineConfig(max_model_len=32)
    done = run(program("single"), EnginePool(COST, config), n_queries=4)
    assert (done.answers == -1).all()
    assert (done.run.status == 2).all()
