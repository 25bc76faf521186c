"""Speculation and threads on engines: forks share KV through the prefix cache, and load undoes gains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.models import AffineCost
from foretell.models.outcomes import Difficulty, Lengths, Outcomes
from foretell.sim import EngineConfig
from foretell.sim.disaggregated import EnginePool
from foretell.sim.programs.llm import PoolName
from foretell.sim.programs.run import ProgramRun, run_programs
from foretell.sim.programs.sampling import single
from foretell.sim.programs.speculative import lookahead, spec_reason
from foretell.sim.programs.threads import adaptive_parallel, thread_weaver

DRAFT = PoolName("draft")


def engine(step_s: float, *, caching: bool = True) -> EnginePool:
    """One engine: a step, 20 µs a prompt token, a tenth of a step for each sequence."""
    config = EngineConfig(num_gpu_blocks=20_000, enable_prefix_caching=caching, max_model_len=100_000)
    return EnginePool(AffineCost(step_s, 2e-5, 0.1 * step_s), config)


def run(program: Any, n: int = 20, caching: bool = True, **more: Any) -> ProgramRun:
    pools = {"base": engine(0.02, caching=caching), "draft": engine(0.004, caching=caching)}
    profiles = {
        name: Outcomes("task", name, Difficulty(2.0, 1.0), Lengths(1199.5, 0.0, 0.0), step_tokens=60)
        for name in pools
    }
    return run_programs(program, pools, profiles, n_queries=n, **({"concurrency": 1} | more))


@pytest.mark.systems(160)
def test_children_find_their_trunk_in_the_cache() -> None:
    woven = run(thread_weaver(parallel=0.6, threads=4, forks=1, imbalance=0.0, outline_tokens=0), 3)
    cached, prompts = woven.run.cached_tokens.reshape(3, 6), woven.run.prompt_tokens.reshape(3, 6)
    trunk, child = 256 + 240, 180
    # Whole blocks of 16; the KV of a call's last token is never computed by that call.
    assert (cached[:, 1:5] == (trunk - 1) // 16 * 16).all()
    assert (cached[:, 5] == (trunk + child - 1) // 16 * 16).all()
    assert (prompts[:, 5] == trunk + 4 * child).all()  # the join reads three of four children again


@pytest.mark.systems(160, 276)
def test_threads_speed_up_a_quiet_engine_and_less_a_busy_one() -> None:
    program = thread_weaver(parallel=0.8, threads=4, forks=1, imbalance=0.2)
    quiet = run(single()).latency_s.mean() / run(program).latency_s.mean()
    crowd: dict[str, Any] = {"n": 96, "concurrency": 48}
    busy = run(single(), **crowd).latency_s.mean() / run(program, **crowd).latency_s.mean()
    assert 1 < busy < quiet < 1 / (0.2 + 0.8 / 4)
    searched = run(adaptive_parallel(parallel=0.8, threads=4, imbalance=0.2))
    assert searched.run.prompt_tokens.max() < 256 + 1200 < run(program).run.prompt_tokens.max() + 300


@pytest.mark.systems(82)
def test_spec_reason_reads_only_what_is_new() -> None:
    """With a prefix cache the base prefills a draft once; without, the whole trace at every step."""
    cached, bare = (run(spec_reason(draft=DRAFT, good=0.7), 8, caching=on) for on in (True, False))
    assert np.array_equal(cached.answers, bare.answers)
    base = cached.pool == 0
    fresh = (cached.run.prompt_tokens - cached.run.cached_tokens)[base]
    assert np.median(fresh) < 60 + 2 * 16 < np.median(bare.run.prompt_tokens[base])
    alone = run(single(), 8)
    assert (
        cached.latency_s.mean() < bare.latency_s.mean() and cached.latency_s.mean() < alone.latency_s.mean()
    )


@pytest.mark.systems(161)
def test_lookahead_pays_on_a_quiet_base_and_not_on_a_full_one() -> None:
    program = lookahead(draft=DRAFT, acceptance=0.7, ahead=4)
    alone, ahead = run(single(), 10), run(program, 10)
    assert ahead.latency_s.mean() < 0.8 * alone.latency_s.mean()
    crowd: dict[str, Any] = {"n": 64, "concurrency": 64}
    assert run(program, **crowd).latency_s.mean() > run(single(), **crowd).latency_s.mean()
