"""Retrieval: what is found by the stated law, prompts and time by hand, prefixes counted on engines."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from foretell.sim.programs.retrieval import found_within
from programmed import CALM, INSTANT, agrees, engines, latency_s, model, run

FIXED = model(tokens=100, sd=0)
SOLVER = model("solver", 1.5, 0.5)
RIGHT = SOLVER.difficulty.mean
N = 1500
SEARCH = {"search_s": 0.5, "search_spread": 0.0}


def test_rag_by_hand() -> None:
    """HyDE's text, the search, a reranker over 20 candidates at once, its own latency, then the answer."""
    strategy = {"name": "rag", "documents": 5, "document_tokens": 200, "candidates": 20, **SEARCH}
    strategy |= {"query_tokens": 50, "reranker": "main", "rerank_s": 0.2}
    done = run(strategy, FIXED)
    assert done.latency_s[0] == pytest.approx(latency_s([50, 1, 100], waits=0.7))
    assert sorted(done.run.prompt_tokens) == [64, *[264] * 20, 64 + 1000]
    assert done.tokens[0] == 50 + 20 + 100


@pytest.mark.parametrize("documents", [0, 5, 50])
@pytest.mark.parametrize("needed", [1, 3])
def test_rag_is_right_if_it_found_what_it_needs(documents: int, needed: int) -> None:
    strategy = {"name": "rag", "documents": documents, "needed": needed, "hit": 0.1, "recall": 0.9}
    done = run({**strategy, "closed_book": 0.4}, SOLVER, INSTANT, N)
    found = found_within(documents, 0.1, 0.9) ** needed
    assert agrees(done, RIGHT * (found + (1 - found) * 0.4))


@pytest.mark.systems(182)
def test_reranking_buys_short_prompts() -> None:
    """EasyRAG: two stages; with a reranker fewer documents do, and the answer comes sooner under load."""
    base = {"name": "rag", "hit": 0.1, "recall": 0.95, "closed_book": 0.0, **SEARCH}
    plain = {**base, "documents": 30}
    ranked = {**base, "documents": 6, "sharpened": 6.0, "rerank_s": 0.1}
    arrival_s = np.arange(200) * 0.15
    many, few = (
        run(strategy, SOLVER, engines(caching=False), 200, arrival_s=arrival_s)
        for strategy in (plain, ranked)
    )
    assert found_within(6, 6 * 0.1 / (0.9 + 0.6), 0.95) > found_within(30, 0.1, 0.95) - 0.05
    assert few.latency_s.mean() < many.latency_s.mean()
    assert few.prompt_tokens.mean() < 0.3 * many.prompt_tokens.mean()


@pytest.mark.systems(51)
def test_a_cheap_search_for_frames_shortens_the_prompt() -> None:
    """T*: 32 frames found by a search are as good as 128 uniform ones, in a quarter of the prompt."""
    frames = {"name": "rag", "document_tokens": 256, "needed": 1, "recall": 1.0, "closed_book": 0.2}
    uniform = {**frames, "documents": 128, "candidates": 1000, "hit": 0.02, "search_s": 0.0}
    searched = {**frames, "documents": 32, "candidates": 1000, "hit": 0.02, "sharpened": 5.0, "search_s": 0.3}
    long, short = (run(s, SOLVER, engines(caching=False, blocks=8000), 60) for s in (uniform, searched))
    assert short.latency_s.mean() < long.latency_s.mean()
    long, short = (run(s, SOLVER, INSTANT, N) for s in (uniform, searched))
    assert short.accuracy > long.accuracy - 0.03


def chained(rounds: int, hops: int, q: float, recall: float) -> float:
    """Chance that `hops` successes come in `rounds` tries of q, each hop existing with `recall`."""
    return float(recall**hops * binom.sf(hops - 1, rounds, q))


@pytest.mark.systems(81)
@pytest.mark.parametrize(("rounds", "documents"), [(3, 10), (6, 10), (6, 30), (12, 5)])
def test_iterative_rag_is_a_chain_of_hops(rounds: int, documents: int) -> None:
    """Documents × rounds: P(three hops found) by the binomial; more of both, more right, up to the recall."""
    strategy = {"name": "iterative_rag", "rounds": rounds, "documents": documents, "hops": 3}
    done = run({**strategy, "hit": 0.05, "recall": 0.9, "closed_book": 0.2}, SOLVER, INSTANT, N)
    found = chained(rounds, 3, found_within(documents, 0.05), 0.9)
    assert agrees(done, RIGHT * (found + (1 - found) * 0.2))


@pytest.mark.systems(289)
def test_iterative_rag_by_hand_and_its_rounds_by_law() -> None:
    """Certain finds: one round a hop; uncertain ones: geometric rounds (InForage's varying number)."""
    base = {"name": "iterative_rag", "hops": 2, "recall": 1.0, "rounds": 500, **SEARCH}
    done = run({**base, "hit": 1.0, "documents": 4, "document_tokens": 250}, FIXED)
    assert done.latency_s[0] == pytest.approx(latency_s([50, 100, 50, 100, 100], waits=1.0))
    assert list(done.run.prompt_tokens) == [64, 114 + 1000, 1214, 1264 + 1000, 2364]
    many = run({**base, "hit": 0.1, "documents": 3}, FIXED, INSTANT, N)
    assert ((many.calls - 1) / 2).mean() == pytest.approx(2 / found_within(3, 0.1), rel=0.05)


@pytest.mark.systems(293)
def test_a_fast_search_that_finds_less_takes_more_rounds() -> None:
    """SearchAgent-X: latency against recall moves the number of rounds; there is a best in between, and
    what is waiting for a search loses its KV cache when memory is short."""
    found = []
    for search_s, hit in ((0.05, 0.02), (0.5, 0.15), (8.0, 0.2)):
        strategy = {"name": "iterative_rag", "rounds": 40, "hops": 2, "recall": 1.0, "hit": hit}
        done = run({**strategy, "search_s": search_s, "search_spread": 0.0}, FIXED, CALM, 500)
        found.append((done.latency_s.mean(), done.calls.mean()))
    latencies, calls = zip(*found, strict=True)
    assert calls[0] > calls[1] > calls[2]
    assert latencies[1] < latencies[0] and latencies[1] < latencies[2]
    strategy = {"name": "iterative_rag", "rounds": 4, "stop": False, "search_s": 2.0}
    cached = []
    for blocks in (8000, 700):
        done = run(strategy, FIXED, engines(blocks=blocks), 40, arrival_s=np.arange(40) * 0.4)
        cached.append(done.run.cached_tokens.sum() / done.run.prompt_tokens.sum())
    assert cached[1] < 0.8 * cached[0]


@pytest.mark.systems(156, 44)
def test_searches_at_once_take_fewer_turns() -> None:
    """HybridDeepSearcher, DTA-Llama: two dependent turns of three searches, against six turns of one."""
    strategy = {"name": "parallel_search", "hops": 2, "width": 3, "document_tokens": 100, **SEARCH}
    at_once, serial = (run({**strategy, "at_once": b}, FIXED) for b in (True, False))
    assert at_once.latency_s[0] == pytest.approx(latency_s([150, 150, 100], waits=1.0))
    assert serial.latency_s[0] == pytest.approx(latency_s([50] * 6 + [100], waits=3.0))
    assert at_once.prompt_tokens[0] < serial.prompt_tokens[0]
    assert at_once.tokens[0] == serial.tokens[0]
    slow = run({**strategy, "search_spread": 1.0}, FIXED, INSTANT, N)  # a turn waits for the slowest of three
    rng = np.random.default_rng(0)
    expected = 2 * 0.5 * np.exp(rng.standard_normal((100_000, 3))).max(1).mean()
    assert slow.latency_s.mean() == pytest.approx(expected, rel=0.06)


def test_self_rag_by_its_law() -> None:
    """Nothing retrieved: closed book; all retrieved and a blind critic: the passage by luck."""
    never = run({"name": "self_rag", "retrieve": 0.0, "closed_book": 0.3}, SOLVER, INSTANT, N)
    assert agrees(never, 0.3 * RIGHT)
    base = {"name": "self_rag", "retrieve": 1.0, "passages": 4, "hit": 0.4, "recall": 0.9, "closed_book": 0.0}
    known = run({**base, "auc": 1.0}, SOLVER, INSTANT, N)
    assert agrees(known, RIGHT * found_within(4, 0.4, 0.9))
    blind = run({**base, "auc": 0.5}, SOLVER, INSTANT, N)
    assert agrees(blind, RIGHT * found_within(4, 0.4, 0.9) / 4)
    assert (known.calls == 5).all()


@pytest.mark.systems(57)
def test_think_on_graph_by_hand() -> None:
    """2·width·depth + depth + 1 calls; right as often as the beam keeps the path."""
    strategy = {"name": "think_on_graph", "width": 3, "depth": 2, "enough": 0.0, "step": 0.5}
    done = run({**strategy, "graph_s": 0.1, "graph_spread": 0.0}, FIXED)
    assert done.calls[0] == 2 * 3 * 2 + 2 + 1
    assert done.latency_s[0] == pytest.approx(latency_s([60, 60, 1, 60, 60, 1, 100], waits=0.4))
    many = run({**strategy, "closed_book": 0.0}, SOLVER, INSTANT, N)
    assert agrees(many, RIGHT * (1 - 0.5**3) ** 2)
    small = run({**strategy, "closed_book": 0.0, "width": 1}, SOLVER, INSTANT, N)
    assert agrees(small, RIGHT * 0.5**2)


@pytest.mark.systems(250)
def test_a_memory_of_concepts_lengthens_the_prompt_and_lifts_what_was_wrong() -> None:
    base = {"name": "concept_memory", "entries": 4, "entry_tokens": 100}
    done = run({**base, "lifted": 0.1}, SOLVER, INSTANT, N)
    assert agrees(done, RIGHT + 0.1 * (1 - RIGHT))
    fixed = run({**base, "abstract_tokens": 30}, FIXED)
    assert fixed.latency_s[0] == pytest.approx(latency_s([100, 100]))  # the abstraction keeps nobody waiting
    assert sorted(fixed.run.prompt_tokens) == [64, 64, 64 + 100 + 400]
    assert fixed.tokens[0] == 100 + 100 + 30


def test_searches_queue_for_their_slots() -> None:
    """A search engine that serves two at once: the k-th pair of queries waits k − 1 searches."""
    done = run({"name": "rag", "search_slots": 2, **SEARCH}, FIXED, INSTANT, 6)
    assert sorted(done.latency_s) == pytest.approx([0.5, 0.5, 1.0, 1.0, 1.5, 1.5])
