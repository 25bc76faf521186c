"""The seconds of every term within latencies: against each request's overlap with each step, one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretell.models import AffineCost, StepLoad
from foretell.sim import EngineConfig, simulate
from foretell.sim.simulation import Run
from foretell.sim.term_times import Floats, latency_terms
from foretell.traces import Trace

COST = AffineCost(8e-3, 9e-5, 3e-4, 1e-7, 2e-8)


def terms(*load: Any) -> dict[str, Any]:
    at = StepLoad(*load)
    return {"step": 1.0, "tokens": at.prefill_tokens + at.decode_seqs, "context": at.decode_context}


def overlap(run: Run, row: int, since: float, until: float) -> Floats:
    """Terms of the steps of a request's engine between two times, by definition."""
    assert run.loads is not None
    total = np.zeros(3)
    for start, end, steps, *figures in run.loads[run.replica[row]]:
        share = max(min(until, end) - max(since, start), 0.0) / (end - start)
        figures[5] += figures[4] * (steps - 1) / 2
        total += share * steps * np.array(list(terms(*figures).values()))
    return total


def slowly(run: Run) -> dict[str, Floats]:
    rows = range(len(run))
    first = [overlap(run, i, run.arrival_s[i], run.first_token_s[i]) for i in rows]
    rest = [overlap(run, i, run.first_token_s[i], run.finish_s[i]) for i in rows]
    gaps = run.output_tokens - 1
    more = [i for i in rows if gaps[i]]
    return {
        "ttft": np.mean(first, axis=0),
        "e2e": np.mean(np.add(first, rest), axis=0),
        "tpot": np.sum([rest[i] / gaps[i] for i in more], axis=0) / max(len(more), 1),
        "itl": np.sum([rest[i] for i in more], axis=0) / max(gaps.sum(), 1),
    }


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 12),
    replicas=st.integers(1, 3),
    lag=st.booleans(),
    blocks=st.sampled_from([60, 5000]),
)
def test_terms_are_the_overlaps_of_requests_with_steps(
    seed: int, n: int, replicas: int, lag: bool, blocks: int
) -> None:
    """Engines without a request, answers of one token, preemptions and steps in flight among them."""
    rng = np.random.default_rng(seed)
    trace = Trace(
        arrival_s=np.sort(rng.random(n)),
        prompt_tokens=rng.integers(1, 500, n),
        output_tokens=rng.integers(1, 40, n),
    )
    config = EngineConfig(
        num_gpu_blocks=blocks, max_num_seqs=8, max_num_batched_tokens=256, async_scheduling=lag
    )
    run = simulate(trace, COST, config, replicas=replicas, loads=True)
    found, expected = latency_terms(run, terms), slowly(run)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-9, abs=1e-9), name


def test_replicas_may_have_terms_of_their_own() -> None:
    """Two requests of one step's prompt and one decode each: 1 in one engine's terms, 10 in the other's."""
    trace = Trace(arrival_s=np.zeros(2), prompt_tokens=np.full(2, 8), output_tokens=np.full(2, 2))
    run = simulate(trace, COST, EngineConfig(num_gpu_blocks=100), replicas=2, loads=True)
    found = latency_terms(run, [lambda *_: {"x": 1.0}, lambda *_: {"x": 10.0}])
    assert {name: float(values[0]) for name, values in found.items()} == pytest.approx(
        {"ttft": 5.5, "tpot": 5.5, "itl": 5.5, "e2e": 11.0}
    )


def test_bad_input_is_told_in_one_line() -> None:
    trace = Trace(arrival_s=np.zeros(1), prompt_tokens=np.full(1, 8), output_tokens=np.full(1, 2))
    config = EngineConfig(num_gpu_blocks=100)
    with pytest.raises(ValueError, match="run: has no loads"):
        latency_terms(simulate(trace, COST, config), terms)
    with pytest.raises(ValueError, match="terms: 2 given for 1 replicas"):
        latency_terms(simulate(trace, COST, config, loads=True), [terms, terms])
