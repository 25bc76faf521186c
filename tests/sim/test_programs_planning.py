"""Speculative planning: lossless, faster by as much as drafts agree, dearer by what is thrown away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.sim.programs.run import ProgramRun
from foretell.sim.programs.servers import UnloadedPool
from programmed import INSTANT, agrees, engines, model, run

MODELS = {"target": model("target", 1.2, 0.6, tokens=100, sd=0), "draft": model("draft", tokens=100, sd=0)}
POOLS = {"target": UnloadedPool(0.1, 0.02), "draft": UnloadedPool(0.05, 0.005)}
TARGET_S, DRAFT_S, TOOL_S, ANSWER_S = 0.1 + 299 * 0.02, 0.05 + 99 * 0.005, 0.5, 0.1 + 99 * 0.02


def plan(n: int = 1, pools: Any = None, **parameters: Any) -> ProgramRun:
    strategy = {"name": "speculative_planning", "target": "target", "draft": "draft", **parameters}
    return run(strategy, MODELS, pools or POOLS, n)


def test_the_target_alone_by_hand() -> None:
    done = plan(lookahead=0, steps=4)
    assert done.latency_s[0] == pytest.approx(4 * (TARGET_S + TOOL_S) + ANSWER_S)
    assert done.tokens[0] == 4 * 300 + 100
    assert list(done.run.prompt_tokens[:3]) == [64, 64 + 500, 64 + 1000]


@pytest.mark.parametrize("lookahead", [1, 2, 4])
def test_drafts_that_all_agree_by_hand(lookahead: int) -> None:
    """A round of k: the last check begins when k − 1 drafts and their tools are done."""
    done = plan(lookahead=lookahead, steps=4, agreement=1.0)
    rounds = 4 // lookahead
    round_s = max((lookahead - 1) * (DRAFT_S + TOOL_S) + TARGET_S, lookahead * (DRAFT_S + TOOL_S))
    assert done.latency_s[0] == pytest.approx(rounds * round_s + ANSWER_S)
    assert done.tokens[0] == 4 * 300 + 4 * 100 + 100


def test_drafts_that_never_agree_by_hand() -> None:
    """The first check fails: the target's own step is carried out; what was drafted ahead is cancelled."""
    slow = {**POOLS, "draft": UnloadedPool(0.05, 0.03)}  # its third step is being written as the check fails
    done = plan(pools=slow, lookahead=3, steps=4, agreement=0.0)
    assert done.latency_s[0] == pytest.approx(4 * (TARGET_S + TOOL_S) + ANSWER_S)  # no gain, no loss
    assert done.tokens[0] > 4 * 300 + 100
    cancelled = done.run.status != 0
    assert cancelled.any() and not np.isfinite(done.run.finish_s[cancelled]).any()


def test_nothing_is_lost_but_tokens() -> None:
    """The answers are the target's own, sample by sample, whatever the drafts."""
    alone, drafted = plan(200, lookahead=0), plan(200, lookahead=3, agreement=0.6)
    assert np.array_equal(alone.answers, drafted.answers)
    assert agrees(drafted, MODELS["target"].difficulty.mean)


@pytest.mark.systems(215)
def test_lookahead_trades_money_for_time() -> None:
    """DSP: a longer lookahead is faster and wastes more; one that adapts wastes less than the longest."""
    found = {k: plan(150, lookahead=k, agreement=0.6, steps=10) for k in (0, 1, 3, 6)}
    time = [done.latency_s.mean() for done in found.values()]
    tokens = [done.tokens.mean() for done in found.values()]
    assert time == sorted(time, reverse=True) and time[-1] < 0.75 * time[0]
    assert tokens == sorted(tokens)
    adapted = plan(150, lookahead=3, adapt=True, agreement=0.6, steps=10)  # 1 to 6
    assert adapted.tokens.mean() < tokens[-1]
    assert adapted.latency_s.mean() < time[1]
    wasted = [t - tokens[1] for t in (adapted.tokens.mean(), tokens[-1])]
    assert wasted[0] < 0.6 * wasted[1]


def test_checks_share_the_prefix_of_what_they_check() -> None:
    """On an engine a check finds the state before it in the cache: its draft's text is read once."""
    pools = {"target": engines(), "draft": INSTANT}
    done = plan(1, pools, lookahead=2, agreement=1.0, steps=6)
    target = (done.pool == 0) & (done.run.prompt_tokens > 400)
    new = done.run.prompt_tokens[target] - done.run.cached_tokens[target]
    assert (new < 2 * (100 + 200) + 300 + 32).all()
    asked = done.pool == 0
    assert done.run.cached_tokens[asked].sum() > 0.5 * done.run.prompt_tokens[asked].sum()
