"""Two pools: closed forms, causality, conservation, and that a pool behaves as the same engines alone."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.models import AffineCost
from foretell.models.transfer import KVTransfer
from foretell.sim.config import EngineConfig
from foretell.sim.disaggregated import EnginePool, simulate_disaggregated
from foretell.sim.engine import Batch
from foretell.sim.simulation import Run, simulate
from foretell.sim.twopools import TwoPools
from foretell.traces import Poisson, Prefixes, Trace, generate, preset

COST = AffineCost(0.006, 2e-5, 3e-5, 1e-7, 0)
CONFIG = EngineConfig(num_gpu_blocks=3000, max_num_seqs=64, max_num_batched_tokens=8192)
POOL = EnginePool(COST, CONFIG)
AT_ONCE = KVTransfer()


def one(prompt: int, output: int) -> Trace:
    return Trace(np.array([1.0]), np.array([prompt]), np.array([output]))


def poisson(rows: int, rate: float, seed: int = 0, **more: Any) -> Trace:
    rng = np.random.default_rng(seed)
    return Trace(
        np.cumsum(rng.exponential(1 / rate, rows)),
        rng.integers(10, 800, rows),
        rng.integers(1, 100, rows),
        **more,
    )


def decoding_s(context: int, steps: int) -> float:
    return sum(float(COST(0, 0, 0, 0, 1, context + k, 1)) for k in range(1, steps + 1))


def prefill_s(prompt: int) -> float:
    return float(COST(prompt, prompt * (prompt + 1) / 2, prompt, 1, 0, 0, 1))


def test_one_request_by_hand() -> None:
    transfer = KVTransfer(token_s=1e-5, latency_s=0.002, token_bytes=1000)
    run = simulate_disaggregated(one(100, 11), POOL, POOL, transfer)
    sent = 0.002 + 100e-5
    assert run.first_token_s[0] == pytest.approx(1 + prefill_s(100))
    # the first of ten steps computes token 101, which the prefill sampled, on a context of 101
    assert run.finish_s[0] == pytest.approx(1 + prefill_s(100) + sent + decoding_s(100, 10))
    hand = run.handovers
    assert hand is not None
    assert (hand.prefill[0], run.replica[0], hand.sent_bytes[0]) == (0, 1, 100_000)
    assert hand.end_s[0] - hand.prefill_end_s[0] == pytest.approx(sent)
    assert hand.link_busy_s.tolist() == pytest.approx([100e-5, 100e-5])


def test_one_request_whose_first_token_comes_from_the_decode_engine() -> None:
    transfer = KVTransfer(token_s=1e-5, latency_s=0.002)
    run = simulate_disaggregated(one(100, 11), POOL, POOL, transfer, first_token="decode")
    sent = 0.002 + 100e-5
    # the last token of the prompt is computed once more, as a decode
    assert run.first_token_s[0] == pytest.approx(1 + prefill_s(100) + sent + decoding_s(99, 1))
    assert run.finish_s[0] == pytest.approx(1 + prefill_s(100) + sent + decoding_s(99, 11))


def test_a_layerwise_transfer_hides_behind_the_prefill() -> None:
    transfer = KVTransfer(token_s=2e-5, layerwise_share=1 / 40)
    run = simulate_disaggregated(one(1000, 2), POOL, POOL, transfer)
    hidden = prefill_s(1000)
    assert hidden > 1000 * 2e-5  # so that the last of 40 layers is all that is left
    left = 1000 * 2e-5 / 40
    assert run.finish_s[0] == pytest.approx(1 + hidden + left + decoding_s(1000, 1))


def test_one_token_needs_no_decode_engine() -> None:
    run = simulate_disaggregated(one(100, 1), POOL, POOL, KVTransfer(latency_s=9.0))
    assert run.finish_s[0] == run.first_token_s[0] == pytest.approx(1 + prefill_s(100))
    assert run.replica[0] == 0
    assert run.engines[1].steps == 0


@pytest.mark.parametrize("lag", [False, True])
def test_without_transfer_times_and_scarcity_the_first_token_is_the_prefill_pools(lag: bool) -> None:
    trace = poisson(300, rate=20)
    config = EngineConfig(num_gpu_blocks=100_000, max_num_batched_tokens=2048, async_scheduling=lag)
    pool = EnginePool(COST, config, count=2)
    run = simulate_disaggregated(trace, pool, pool, AT_ONCE)
    single = Trace(trace.arrival_s, trace.prompt_tokens, np.ones_like(trace.output_tokens))
    alone = simulate(single, COST, config, replicas=2)
    assert run.first_token_s.tolist() == alone.first_token_s.tolist()


def test_transfers_of_an_engine_wait_for_each_other() -> None:
    trace = Trace(np.zeros(2), np.array([100, 100]), np.array([2, 2]))
    transfer = KVTransfer(token_s=1e-3)
    shared = simulate_disaggregated(trace, POOL, POOL, transfer).handovers
    ideal = simulate_disaggregated(trace, POOL, POOL, transfer, shared_links=False).handovers
    assert shared is not None and ideal is not None
    both = shared.prefill_end_s[0]
    assert shared.end_s.tolist() == pytest.approx([both + 0.1, both + 0.2])
    assert ideal.end_s.tolist() == pytest.approx([both + 0.1, both + 0.1])
    two = simulate_disaggregated(trace, POOL, EnginePool(COST, CONFIG, 2), transfer).handovers
    assert two is not None  # two receivers, one sender
    assert two.end_s.tolist() == pytest.approx([both + 0.1, both + 0.2])


def test_a_full_decode_engine_holds_the_prefill_engine_up() -> None:
    """Blocks for the whole prompt come first; until then the prompt's own stay taken on the other side."""
    trace = Trace(np.zeros(3), np.full(3, 150), np.full(3, 20))
    small = EngineConfig(num_gpu_blocks=12, max_num_seqs=8)  # 11 usable: one prompt of 150 tokens
    run = simulate_disaggregated(trace, EnginePool(COST, small), EnginePool(COST, small), AT_ONCE)
    hand = run.handovers
    assert hand is not None
    assert (run.status == 0).all()
    assert hand.start_s[1] == pytest.approx(run.finish_s[0])
    assert hand.prefill_end_s[1] > hand.end_s[0]


@pytest.mark.parametrize("first_token", ["prefill", "decode"])
def test_a_closed_loop_keeps_its_number_in_flight(first_token: Any) -> None:
    trace = poisson(300, rate=1e6, concurrency=24)
    run = simulate_disaggregated(
        trace,
        EnginePool(COST, CONFIG, 2),
        EnginePool(COST, CONFIG, 3),
        KVTransfer(1e-6),
        first_token=first_token,
    )
    times = sorted([(t, 1) for t in run.arrival_s] + [(t, -1) for t in run.finish_s])
    assert max(np.cumsum([change for _, change in times])) == 24
    assert np.sort(run.arrival_s)[24:].tolist() == np.sort(run.finish_s)[: 300 - 24].tolist()


class Watch:
    """What the steps of every engine carried, by the request's name."""

    def __init__(self, prefill_engines: int) -> None:
        self.split = prefill_engines
        self.tokens: dict[tuple[str, bool], int] = defaultdict(int)
        self.starts: dict[str, float] = {}
        self.ends: dict[str, float] = {}
        self.recomputed = False

    def __call__(self, i: int, step: int, start: float, end: float, batch: Batch) -> None:
        for request, tokens, computed in batch:
            self.tokens[request.id, i < self.split] += tokens
            if i < self.split:
                self.ends[request.id] = end
            else:
                self.starts.setdefault(request.id, start)
                if tokens > 1 or computed < request.prompt_tokens - 1:
                    self.recomputed = True


@given(
    seed=st.integers(0, 2**31),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    blocks=st.tuples(st.sampled_from([80, 300, 5000]), st.sampled_from([80, 300, 5000])),
    caching=st.booleans(),
    lag=st.booleans(),
    first_token=st.sampled_from(["prefill", "decode"]),
    shared=st.booleans(),
    token_s=st.sampled_from([0.0, 1e-6, 1e-4]),
    share=st.sampled_from([0.0, 0.1]),
    concurrency=st.sampled_from([None, 1, 10]),
)
@settings(max_examples=80, deadline=None)
def test_what_holds_of_any_two_pools(
    seed: int,
    sizes: tuple[int, int],
    blocks: tuple[int, int],
    caching: bool,
    lag: bool,
    first_token: Any,
    shared: bool,
    token_s: float,
    share: float,
    concurrency: int | None,
) -> None:
    """Every request ends once; causes come before effects; no token is computed twice without need."""
    trace = generate(
        Poisson(rate_per_s=15), preset("sharegpt"), num_requests=50, seed=seed, prefixes=Prefixes(3, 64)
    )
    if concurrency is not None:
        trace = Trace(
            trace.arrival_s,
            trace.prompt_tokens,
            trace.output_tokens,
            segments=trace.segments,
            concurrency=concurrency,
        )
    pools = [
        EnginePool(
            COST,
            EngineConfig(
                num_gpu_blocks=n,
                enable_prefix_caching=caching,
                async_scheduling=lag,
                max_num_batched_tokens=512,
                max_num_seqs=16,
            ),
            count,
            "least_outstanding",
        )
        for n, count in zip(blocks, sizes, strict=True)
    ]
    transfer = KVTransfer(token_s, 1e-3 if token_s else 0.0, 1.0, share)
    runs: list[Run] = []
    for _ in range(2):
        watch = Watch(sizes[0])
        runs.append(
            simulate_disaggregated(
                trace,
                pools[0],
                pools[1],
                transfer,
                first_token=first_token,
                shared_links=shared,
                seed=seed,
                itl=True,
                on_step=watch,
            )
        )
    run, again = runs
    hand = run.handovers
    assert hand is not None and run.itl is not None
    assert again.finish_s.tobytes() == run.finish_s.tobytes()
    config = pools[1].configs[0]
    early = first_token == "prefill"
    for row in range(len(trace)):
        prompt, output = int(trace.prompt_tokens[row]), int(trace.output_tokens[row])
        refused = pools[0].configs[0].rejects(prompt, 1) or config.rejects(prompt, output)
        if run.status[row] == 2:
            assert refused is not None
            continue
        name = f"r{row}"
        assert run.status[row] == 0 and run.output_tokens[row] == output
        assert run.arrival_s[row] < hand.prefill_end_s[row] <= run.finish_s[row]
        assert watch.ends[name] == hand.prefill_end_s[row]
        if early:
            assert run.first_token_s[row] == hand.prefill_end_s[row]
        if early and output == 1:
            assert run.replica[row] == hand.prefill[row] < sizes[0]
            continue
        assert sizes[0] <= run.replica[row] < sum(sizes)
        assert hand.prefill_end_s[row] <= hand.start_s[row] <= hand.end_s[row] <= watch.starts[name]
        if not run.n_preemptions[row]:
            assert watch.tokens[name, True] == prompt - run.cached_tokens[row]
            assert watch.tokens[name, False] == output - early
        if not caching:
            assert hand.sent_bytes[row] == prompt
    if not run.n_preemptions.any():
        assert not watch.recomputed
        assert all(engine.prefill_tokens == 0 for engine in run.engines[sizes[0] :])
    gaps, counts = run.itl
    served = run.status == 0
    assert counts.sum() == (run.output_tokens[served] - 1).sum()
    between = (run.finish_s - run.first_token_s)[served].sum()
    assert (gaps * counts).sum() == pytest.approx(between, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("caching", [False, True])
def test_no_block_is_lost(caching: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On both sides all blocks are free when all is over, whatever was preempted, held and received."""
    seen: list[TwoPools] = []
    run = TwoPools.run

    def watched(self: TwoPools, progress: Any) -> None:
        seen.append(self)
        run(self, progress)

    monkeypatch.setattr(TwoPools, "run", watched)
    config = EngineConfig(num_gpu_blocks=120, enable_prefix_caching=caching)
    result = simulate_disaggregated(
        poisson(300, rate=30),
        EnginePool(COST, config, 2),
        EnginePool(COST, config, 2),
        KVTransfer(1e-5, 1e-3),
    )
    assert result.n_preemptions.sum() > 10
    for engine in seen[0].engines:
        assert engine.pool.free == 119
        assert not (engine.held or engine.unheld or engine.wanted or engine.n_receiving or engine.outstanding)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="first_token: 'both' is not"):
        simulate_disaggregated(one(1, 1), POOL, POOL, AT_ONCE, first_token="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="config: 2 given for 3 engines"):
        EnginePool(COST, [CONFIG, CONFIG], count=3)
