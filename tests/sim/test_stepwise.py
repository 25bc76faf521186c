"""The stepwise engine against the lazy one where both go, and what any must keep where only it goes."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from cases import LARGE, SMALL, Case, Size, draw_case
from foretell.sim.engine import Batch, Engine
from foretell.sim.request import Request
from foretell.sim.serve import serve_on
from foretell.sim.stats import EngineStats
from foretell.sim.stepwise import StepwiseEngine
from foretell.sim.stepwise_blocks import Block, behind
from foretell.sim.stepwise_requests import Entry, Live
from foretell.sim.stepwise_scheduler import Scheduler
from foretell.sim.walk import LivelockError
from widened import draw_widened

Told = list[tuple[float, float, list[tuple[str, int, int]]]]


def serve_told(
    case: Case, engine: type[Engine] | type[StepwiseEngine]
) -> tuple[Told, list[Request], EngineStats]:
    """Serve a case with one of the engines: its steps, the requests, the totals."""
    told: Told = []

    def on_step(step: int, start_s: float, end_s: float, batch: Batch) -> None:
        assert step == len(told)
        told.append((start_s, end_s, [(request.id, n, c) for request, n, c in batch]))

    made = engine(case.config, case.cost, on_step=on_step)
    requests = [replace(call, cancel_s=case.cancels.get(call.id)).request() for call in case.calls]
    serve_on(made, requests)
    assert made.pool.free == case.config.num_gpu_blocks - 1, "a block was lost"
    assert made.outstanding == made.n_waiting == 0
    # The lazy engine takes the use of blocks as linear within a run of decoding.
    return told, requests, replace(made.stats, kv_block_seconds=0.0)


def outcomes(requests: list[Request]) -> list[tuple[object, ...]]:
    return [(r.id, r.status, r.first_token_s, r.finish_s, r.n_preemptions, r.cached_tokens) for r in requests]


@pytest.mark.parametrize(("size", "seeds"), [(SMALL, range(400)), (LARGE, range(15))])
def test_it_equals_the_lazy_engine(size: Size, seeds: range) -> None:
    """Bit for bit: batches, times, outcomes and totals."""
    for seed in seeds:
        case = draw_case(random.Random(seed), size)
        try:
            steps, requests, stats = serve_told(case, Engine)
        except LivelockError:
            with pytest.raises(LivelockError):
                serve_told(case, StepwiseEngine)
            continue
        ours = serve_told(case, StepwiseEngine)
        assert ours[0] == steps, seed
        assert outcomes(ours[1]) == outcomes(requests), seed
        assert ours[2] == stats, seed


# ------------------------------------------------------------------------- drafts and windows: what must hold


def check_blocks(scheduler: Scheduler, batch: list[Entry]) -> None:
    """After a step was scheduled: who holds what."""
    config = scheduler.config
    held: Counter[Block] = Counter()
    for live in [*scheduler.running, *scheduler.waiting]:
        for table in live.tables:
            held.update(block for block in table if block is not None)
    assert scheduler.memory.pool.free == config.num_gpu_blocks - 1 - len(held)
    assert all(block.users == users for block, users in held.items())
    for entry in batch:
        live = entry.live
        processed = live.computed - live.in_flight
        for window, table in zip(config.kv_cache_groups, live.tables, strict=True):
            past = behind(window, config.block_size, processed)
            assert all(block is None for block in table[:past]), "a block behind the window is held"
            first = behind(window, config.block_size, entry.computed_before) if window else 0
            last = -(-live.computed // config.block_size)
            assert len(table) >= last
            if not config.async_scheduling:
                assert all(block is not None for block in table[first:last]), "a token has no block"


def check_batch(scheduler: Scheduler, batch: list[Entry]) -> None:
    config = scheduler.config
    spent = sum(entry.tokens + config.draft_slots for entry in batch)
    assert spent <= config.max_num_batched_tokens
    assert len(batch) <= len(scheduler.running) <= config.max_num_seqs
    for entry in batch:
        assert 0 <= entry.drafts <= min(config.num_speculative_tokens, entry.tokens - 1)
        assert entry.computed_before + entry.tokens < config.max_model_len


def drive(case: Case) -> tuple[dict[str, int], Counter[str]]:
    """Step the scheduler with all calls there from the start; tokens of each, and what was reached."""
    config = case.config
    scheduler = Scheduler(config)
    calls = [call for call in case.calls if config.rejects(call.prompt_tokens, call.output_tokens) is None]
    for call in calls:
        scheduler.add(call.live(config))
    came: dict[str, int] = {call.id: 0 for call in calls}
    reached: Counter[str] = Counter()
    flying: deque[list[Entry]] = deque()

    def sampled(live: Live, tokens: int) -> None:
        came[live.request.id] += tokens
        assert live.known == live.prompt + came[live.request.id] <= live.total
        reached["several tokens at once"] += tokens > 1

    patience = 1000 + 10 * sum(call.prompt_tokens + call.output_tokens for call in calls)
    while scheduler.running or scheduler.waiting or flying:
        patience -= 1
        if not patience:
            raise LivelockError
        batch = scheduler.schedule() if scheduler.running or scheduler.waiting else []
        check_blocks(scheduler, batch)
        check_batch(scheduler, batch)
        reached["preemption"] += len(scheduler.preempted_now)
        reached["fillers"] += sum(entry.blank for entry in batch)
        reached["hit"] += sum(entry.computed_before > 0 and len(entry.live.names) > 0 for entry in batch)
        if batch:
            flying.append(batch)
        if flying and (len(flying) > config.async_scheduling or not batch):
            done = flying.popleft()
            before = {entry.live: entry.live.known for entry in done}
            scheduler.update(done, sampled)
            for entry in done:
                got = entry.live.known - before[entry.live]
                assert got <= 1 + (0 if entry.blank else entry.drafts)
                reached["rejection"] += 0 < got <= entry.drafts
    reached["eviction"] += scheduler.memory.pool.evictions
    assert scheduler.memory.pool.free == config.num_gpu_blocks - 1
    return came, reached


def check(case: Case) -> Counter[str]:
    try:
        came, reached = drive(case)
        told, requests, stats = serve_told(case, StepwiseEngine)
    except LivelockError:
        return Counter()
    calls = {call.id: call for call in case.calls}
    for id, tokens in came.items():
        assert tokens == min(calls[id].output_tokens, case.config.max_model_len - calls[id].prompt_tokens)
    free_at = 0.0
    for start_s, end_s, batch in told:
        assert free_at <= start_s < end_s
        free_at = end_s
        assert all(calls[id].arrival_s <= start_s for id, _, _ in batch)
    assert stats.steps == len(told)
    for request in requests:
        assert request.status in ("finished", "cancelled", "rejected")
        if request.status == "finished":
            assert request.first_token_s is not None
            assert request.finish_s is not None
            assert request.arrival_s < request.first_token_s <= request.finish_s
    return reached


@given(st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_drafts_and_windows_keep_what_any_engine_must(drawn: random.Random) -> None:
    case = draw_widened(drawn)
    note(repr(case))
    check(case)


def test_and_fixed_scenarios_reach_what_matters() -> None:
    reached: Counter[str] = Counter()
    for seed in range(300):
        reached.update({what for what, n in check(draw_widened(random.Random(seed))).items() if n})
    wanted = ("several tokens at once", "preemption", "fillers", "hit", "rejection", "eviction")
    assert {what: reached[what] for what in wanted if reached[what] < 20} == {}
