"""Speed of programs: what a call costs beside the same call in a replayed trace, and as load grows.

    pytest -m benchmark tests/benchmarks/test_programs_speed.py -s

A ratio is asserted, each side the least of several runs; seconds are only reported.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from foretell.models.profiles import load_outcomes
from foretell.sim.deployment import deploy
from foretell.sim.disaggregated import EnginePool
from foretell.sim.programs.catalogue import choose
from foretell.sim.programs.run import ProgramRun, run_programs
from foretell.sim.scenario import Pool
from foretell.sim.simulation import simulate
from foretell.traces import Trace

pytestmark = pytest.mark.benchmark
SAMPLES = 16


def votes(queries: int, rate_per_s: float) -> tuple[ProgramRun, float, EnginePool]:
    """Self-consistency on MATH-500 with Qwen2.5-7B on an H100, and the CPU-seconds that it takes."""
    profile = load_outcomes("math-500", "qwen2.5-7b")
    part = deploy(Pool(model="qwen2.5-7b", hardware="h100-sxm"), 700.0).parts[0]
    pool = EnginePool(part.cost, part.config)
    program = choose({"name": "self_consistency", "n": SAMPLES}, ["main"]).program
    arrival = np.cumsum(np.random.default_rng(0).exponential(1 / rate_per_s, queries))
    start = time.process_time()
    done = run_programs(program, {"main": pool}, {"main": profile}, arrival_s=arrival)
    return done, time.process_time() - start, pool


@pytest.mark.benchmark(group="simulation")
def test_a_call_of_a_program_costs_little_more_than_one_of_a_trace(benchmark: Any) -> None:
    """At 10,000 queries of 16 samples under load: at most 15 CPU-s are asked, on one core."""
    ours, theirs = [], []
    for _ in range(3):
        done, seconds, pool = votes(1_500, 1.2)
        order = np.argsort(done.run.arrival_s, kind="stable")
        pairs = zip(done.query[order].tolist(), done.run.prompt_tokens[order].tolist(), strict=True)
        segments: list[Any] = [((("query", query), tokens),) for query, tokens in pairs]
        trace = Trace(
            done.run.arrival_s[order],
            done.run.prompt_tokens[order],
            done.run.output_tokens[order],
            segments=segments,
        )
        start = time.process_time()
        same = simulate(trace, pool.costs, pool.configs, itl=True)
        theirs.append(time.process_time() - start)
        ours.append(seconds)
        assert np.isclose(np.nansum(same.finish_s), np.nansum(done.run.finish_s), rtol=1e-3)
    ratio = min(ours) / min(theirs)
    done, whole, _ = votes(10_000, 1.2)
    assert done.run.engines[0].busy_s > 0.9 * float(done.finish_s.max())  # it is under load
    benchmark.extra_info.update(ratio=ratio, cpu_s=whole)
    benchmark.pedantic(lambda: votes(300, 1.2), rounds=1)
    print("\n\n| what | reached |\n|---|---|")
    print(f"| a call of a program over one of a trace, CPU | {ratio:.2f} |")
    print(f"| 10,000 queries of self-consistency, {SAMPLES} samples each, under load | {whole:.1f} CPU-s |")
    print(f"| mean batch | {done.run.engines[0].decode_seqs / done.run.engines[0].steps:.0f} |")
    assert ratio <= 2.5
