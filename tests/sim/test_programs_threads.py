"""Parallel threads: critical paths of the programs on unloaded pools against order statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.models.accuracy.threads import critical_share, longest_over_mean, overlapped, thread_speedup
from foretell.models.outcomes import Difficulty, Lengths, Outcomes
from foretell.sim.programs.run import ProgramRun, run_programs
from foretell.sim.programs.sampling import single
from foretell.sim.programs.servers import UnloadedPool
from foretell.sim.programs.threads import (
    adaptive_parallel,
    async_think,
    hogwild,
    prompt_fan_out,
    skeleton_of_thought,
    thread_weaver,
)

TPOT_S = 0.01
TOKENS = 6000


def run(program: Any, n: int = 2000, sd: float = 0.0, **more: Any) -> ProgramRun:
    profile = Outcomes(
        "task", "model", Difficulty(2.0, 1.0), Lengths(TOKENS - 0.5, sd, 0.0, cap_tokens=10**7)
    )
    pool = {"solver": UnloadedPool(TPOT_S, TPOT_S)}
    return run_programs(program, pool, {"solver": profile}, n_queries=n, **more)


def agrees(sample: Any, expected: float, rounding: float = 0.0) -> None:
    """The mean of a sample is within four standard errors of what is expected, and rounding."""
    values = np.asarray(sample, dtype=np.float64)
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean() - expected) <= 4 * error + rounding, (values.mean(), expected, error)


@pytest.mark.parametrize("sd", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("k", [1, 2, 8, 64])
def test_longest_of_k_is_that_of_draws(k: int, sd: float) -> None:
    draws = np.exp(sd * np.random.default_rng(k).standard_normal((40_000, k)) - sd**2 / 2)
    agrees(draws.max(1), float(longest_over_mean(k, sd)), 1e-9)
    agrees(np.maximum(draws.max(1), 1.3), float(overlapped(1.3, k, sd, 1.0)), 1e-3)


@pytest.mark.systems(160)
@pytest.mark.parametrize(
    ("parallel", "threads", "forks", "sd"), [(0.0, 3, 1, 0.4), (0.5, 3, 2, 0.4), (0.9, 6, 1, 1)]
)
def test_thread_weaver_takes_its_critical_path(parallel: float, threads: int, forks: int, sd: float) -> None:
    program = thread_weaver(parallel=parallel, threads=threads, forks=forks, imbalance=sd, outline_tokens=10)
    took = run(program)
    overhead = forks * threads * 10 / TOKENS
    share = float(critical_share(parallel, threads, sd, overhead))
    # Pieces are whole tokens, and a child writes at least one.
    agrees(took.latency_s, share * TOKENS * TPOT_S, (2 * forks + 1) * TPOT_S)
    agrees(took.tokens, TOKENS * (1 + overhead), forks * threads + 1)


@pytest.mark.systems(160)
def test_speedup_needs_the_ratio_of_means_where_lengths_vary() -> None:
    """Length cancels: the mean latency over the sequential one's is the closed form's, whatever its law."""
    alone = run(single(), sd=0.8)
    woven = run(thread_weaver(parallel=0.6, threads=4, forks=1, outline_tokens=0), sd=0.8)
    expected = float(thread_speedup(0.6, 4, 0.4))
    assert alone.latency_s.mean() / woven.latency_s.mean() == pytest.approx(expected, rel=0.03)
    assert np.array_equal(alone.answers, woven.answers)


@pytest.mark.systems(160)
def test_the_join_reads_again_all_children_but_the_first() -> None:
    took = run(thread_weaver(parallel=0.5, threads=3, forks=1, imbalance=0.0, outline_tokens=0), 10)
    trunk, child = TOKENS // 4, TOKENS // 6
    prompt = 256
    expected = prompt + 3 * (prompt + trunk) + (prompt + trunk + 3 * child)
    assert (took.prompt_tokens == expected).all()


@pytest.mark.systems(15)
def test_hogwild_is_amdahls_and_all_workers_write_all_the_time() -> None:
    took = run(hogwild(parallel=0.8, workers=4, redundant=0.1), 50)
    share = 0.2 + 0.8 * 1.1 / 4
    assert took.latency_s.mean() == pytest.approx(share * TOKENS * TPOT_S, abs=TPOT_S)
    assert took.tokens.mean() == pytest.approx(4 * share * TOKENS, abs=4)


@pytest.mark.systems(276)
def test_adaptive_parallel_finishes_what_one_window_cannot_hold() -> None:
    settings: dict[str, Any] = {
        "parallel": 0.8,
        "threads": 4,
        "imbalance": 0.2,
        "message_tokens": 50,
        "result_tokens": 30,
    }
    window = 4096
    wide = run(adaptive_parallel(**settings))
    narrow = run(adaptive_parallel(**settings, window_tokens=window))
    serial = run(single(max_tokens=window))
    assert np.array_equal(wide.answers, narrow.answers)  # 6000 tokens, of which no thread holds 4096
    assert serial.accuracy == 0 < narrow.accuracy
    too_narrow = run(adaptive_parallel(**settings, window_tokens=600), 50)
    assert (too_narrow.answers == -1).all()
    overhead = (4 * 50 + 30) / TOKENS
    agrees(wide.latency_s, float(critical_share(0.8, 4, 0.2, overhead)) * TOKENS * TPOT_S, 4 * TPOT_S)


@pytest.mark.systems(287)
def test_async_think_hides_the_workers_behind_the_organiser() -> None:
    for own in (0.2, 0.9):
        took = run(async_think(parallel=0.6, workers=3, own=own, imbalance=0.5))
        serial = 0.4 * TOKENS
        middle = float(overlapped(serial * own, 3, 0.5, 0.6 * TOKENS / 3))
        agrees(took.latency_s, (serial * (1 - own) + middle) * TPOT_S, 4 * TPOT_S)
    in_turn = run(thread_weaver(parallel=0.6, threads=3, forks=1, imbalance=0.5, outline_tokens=0))
    assert took.latency_s.mean() < in_turn.latency_s.mean()


@pytest.mark.systems(316)
def test_fan_outs_wait_for_the_longest_part() -> None:
    longest = float(longest_over_mean(5, 0.4)) / 5 * TOKENS
    skeleton = run(skeleton_of_thought(points=5, skeleton_tokens=60))
    agrees(skeleton.latency_s, (longest + 60) * TPOT_S, 2 * TPOT_S)
    half = run(prompt_fan_out(items=5, decomposable=0.5))
    agrees(half.latency_s, (longest + TOKENS) / 2 * TPOT_S, 2 * TPOT_S)
    assert run(prompt_fan_out(decomposable=0.0), 20).calls.max() == 1


@pytest.mark.systems(15, 160, 276, 287)
def test_a_deadline_leaves_no_answer() -> None:
    for program in (thread_weaver(), hogwild(), adaptive_parallel(), async_think(), skeleton_of_thought()):
        late = run(program, 5, deadline_s=1.0)
        assert (late.answers == -1).all() and np.allclose(late.latency_s, 1.0)


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"parallel": 1.5}, "parallel"), ({"threads": 0}, "threads"), ({"imbalance": -1.0}, "imbalance")],
)
def test_bad_shapes_are_refused(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        thread_weaver(**settings)
    name = {"imbalance": "sd_log"}.get(field, field)
    closed = {"parallel": 0.5, "threads": 2, "sd_log": 0.0} | {name: settings[field]}
    with pytest.raises(ValueError, match=name):
        critical_share(**closed)
