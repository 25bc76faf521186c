"""Speculative decoding and sliding windows, worked out by hand from vLLM's rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.models.stepcost import AffineCost
from foretell.sim import EngineConfig, simulate
from foretell.sim.engine import Batch
from foretell.sim.request import Request
from foretell.sim.serve import serve_on
from foretell.sim.stepwise import StepwiseEngine
from foretell.traces import Trace

SECOND = AffineCost(1.0)


def steps(config: EngineConfig, *requests: Request) -> list[list[tuple[int, int, int]]]:
    """Serve requests, a second a step: (tokens, computed before, blocks in use) of each entry."""
    told: list[list[tuple[int, int, int]]] = []

    def on_step(step: int, start_s: float, end_s: float, batch: Batch) -> None:
        used = config.num_gpu_blocks - 1 - engine.pool.free
        told.append([(n, c, used) for _, n, c in batch])

    engine = StepwiseEngine(config, SECOND, on_step=on_step)
    serve_on(engine, requests)
    return told


def entries(config: EngineConfig, *requests: Request) -> list[list[tuple[int, int]]]:
    return [[(n, c) for n, c, _ in step] for step in steps(config, *requests)]


def test_accepted_drafts_come_with_the_token_that_verifies_them() -> None:
    # 4 prompt tokens give the first token; then 2 of 2 drafts, 1 of 2, and the answer of 6 is full.
    request = Request("a", 0.0, 4, 6, accepted=(2, 1))
    config = EngineConfig(num_speculative_tokens=2)
    assert entries(config, request) == [[(4, 0)], [(3, 4)], [(3, 7)]]
    assert (request.first_token_s, request.finish_s) == (1.0, 3.0)


def test_rejected_drafts_are_computed_again_and_their_blocks_stay() -> None:
    # Nothing accepted: one token a step, three computed. Blocks of 2 hold tokens 0..6 after step 2.
    config = EngineConfig(num_speculative_tokens=2, block_size=2)
    told = steps(config, Request("a", 0.0, 4, 3))
    assert told == [[(4, 0, 2)], [(3, 4, 4)], [(3, 5, 4)]]


def test_a_drafter_with_kv_of_its_own_needs_blocks_ahead() -> None:
    # 4 + 2, 4 + 3 + 2 and 5 + 3 + 2 slots in blocks of 2.
    config = EngineConfig(num_speculative_tokens=2, block_size=2, speculative_method="eagle")
    told = steps(config, Request("a", 0.0, 4, 3))
    assert told == [[(4, 0, 3)], [(3, 4, 5)], [(3, 5, 5)]]


def test_the_end_of_the_answer_cuts_accepted_drafts() -> None:
    request = Request("a", 0.0, 4, 3, accepted=(5,))
    assert entries(EngineConfig(num_speculative_tokens=5), request) == [[(4, 0)], [(6, 4)]]
    assert request.finish_s == 2.0


def test_max_model_len_cuts_the_drafts() -> None:
    # Of 10 tokens the last is never computed: 8 are when 9 are known, so one entry has room for no draft.
    request = Request("a", 0.0, 4, 6, accepted=(0, 0, 0, 0, 0))
    told = entries(EngineConfig(num_speculative_tokens=3, max_model_len=10), request)
    assert told == [[(4, 0)], [(4, 4)], [(4, 5)], [(3, 6)], [(2, 7)], [(1, 8)]]


def test_asynchronous_drafts_are_taken_as_accepted_until_known() -> None:
    # Steps 3 and 4 are scheduled before the outputs of 2 and 3 are there; the last one is wasted.
    request = Request("a", 0.0, 4, 5, accepted=(1, 1))
    config = EngineConfig(num_speculative_tokens=1, speculative_method="eagle", async_scheduling=True)
    assert entries(config, request) == [[(4, 0)], [(2, 4)], [(2, 6)], [(2, 8)]]
    assert request.finish_s == 3.0


def test_a_draft_model_takes_a_token_of_the_budget_for_each_request() -> None:
    config = EngineConfig(
        num_speculative_tokens=1, speculative_method="draft_model", max_num_batched_tokens=6, max_num_seqs=6
    )
    assert entries(config, Request("a", 0.0, 10, 1)) == [[(5, 0)], [(5, 5)]]


def test_an_admission_of_one_token_is_filled_up_among_decodes() -> None:
    # The second request knows one token; three fillers make it as wide as the entry beside it.
    config = EngineConfig(num_speculative_tokens=3)
    first = Request("a", 0.0, 4, 9, accepted=(0, 0))
    second = Request("b", 1.5, 1, 2, accepted=(3,))
    told = entries(config, first, second)
    assert told[:4] == [[(4, 0)], [(4, 4)], [(4, 5), (4, 0)], [(4, 6), (4, 1)]]
    assert second.finish_s == 4.0  # the fillers gave nothing: one token at 3, one at 4


def test_blocks_behind_the_window_are_freed() -> None:
    # Window 4, blocks of 2: with c computed, (c - 3) // 2 blocks are behind the next token's window.
    config = EngineConfig(kv_cache_groups=(4,), block_size=2)
    told = steps(config, Request("a", 0.0, 8, 5))
    assert [used for ((_, _, used),) in told] == [4, 3, 2, 3, 2]
    both = EngineConfig(kv_cache_groups=(0, 4), block_size=2)
    told = steps(both, Request("a", 0.0, 8, 5))
    assert [used for ((_, _, used),) in told] == [4 + 4, 5 + 3, 5 + 2, 6 + 3, 6 + 2]


def prompt(id: str, arrival_s: float, tokens: int) -> Request:
    return Request(id, arrival_s, tokens, 1, segments=(("text", tokens),))


def test_a_hit_needs_the_window_and_a_second_visit_keeps_the_rest() -> None:
    # Of 8 tokens in blocks of 2, window 4: a hit ends with ceil(3 / 2) = 2 blocks in a row. What the first
    # request keeps of its window is what it could hit itself (blocks 1 and 2, up to token 7); the second
    # finds 8 tokens under full attention and 6 under the window, and keeps the window at 8 too.
    config = EngineConfig(kv_cache_groups=(0, 4), block_size=2, enable_prefix_caching=True)
    requests = [prompt("a", 0.0, 8), prompt("b", 2.0, 9), prompt("c", 4.0, 9)]
    steps(config, *requests)
    assert [request.cached_tokens for request in requests] == [0, 6, 8]


@pytest.mark.parametrize(("method", "cached"), [("ngram", 6), ("draft_model", 6), ("eagle", 4), ("mtp", 4)])
def test_a_drafter_on_hidden_states_computes_the_last_block_again(method: Any, cached: int) -> None:
    config = EngineConfig(
        num_speculative_tokens=1, speculative_method=method, block_size=2, enable_prefix_caching=True
    )
    requests = [prompt("a", 0.0, 8), prompt("b", 2.0, 8)]
    steps(config, *requests)
    assert [request.cached_tokens for request in requests] == [0, cached]


def test_a_replay_takes_accepted_drafts_and_prices_them_as_a_chunk() -> None:
    trace = Trace(np.zeros(1), prompt_tokens=np.array([4]), output_tokens=np.array([6]), accepted=[(2, 1)])
    run = simulate(trace, SECOND, EngineConfig(num_speculative_tokens=2), itl=True, loads=True)
    assert run.finish_s.tolist() == [3.0]
    assert run.itl is not None
    assert run.itl[0].tolist() == [1.0, 1.0]  # tokens that come together make one gap
    assert run.loads is not None
    # tokens, pairs, context, seqs; decodes, their context; sampled: 3 tokens on 4, then on 7 computed
    assert run.loads[0][1:, 3:].tolist() == [[3, 18.0, 7, 1, 0, 0, 1], [3, 27.0, 10, 1, 0, 0, 1]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"async_scheduling": True}, "async_scheduling: True with speculative_method ngram"),
        (
            {"max_num_batched_tokens": 3, "max_num_seqs": 1},
            "max_num_batched_tokens: 3 is less than one entry",
        ),
        ({"long_prefill_token_threshold": 3}, "long_prefill_token_threshold: 3 cuts entries"),
    ],
)
def test_settings_that_do_not_go_with_speculation(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        EngineConfig(num_speculative_tokens=3, **settings)
    assert message in str(error.value)


def test_what_may_outgrow_the_pool_is_rejected() -> None:
    # 10 tokens in one group are 5 blocks of 2, and two groups take twice as many.
    assert EngineConfig(num_gpu_blocks=6, block_size=2).rejects(8, 3) is None
    assert EngineConfig(num_gpu_blocks=10, block_size=2, kv_cache_groups=(0, 0)).rejects(8, 3) is not None
    assert EngineConfig(num_gpu_blocks=11, block_size=2, kv_cache_groups=(0, 0)).rejects(8, 3) is None
