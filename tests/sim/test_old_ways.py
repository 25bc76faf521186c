"""What older versions of vLLM do otherwise: each binds, and the two engines agree wherever both can."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from cases import draw_case
from foretell.sim.config import OLD_WAYS
from lazily import difference, lazy_simulate
from naive import LivelockError, naive_simulate

DRAFTED = {
    "enable_prefix_caching": True,
    "num_speculative_tokens": 2,
    "speculative_method": "eagle",
    "kv_cache_groups": (0, 5),
    "long_prefill_token_threshold": 0,
    "long_prefill_token_threshold_adaptive": False,
    "max_num_batched_tokens": 256,
    "max_num_seqs": 8,
    "num_gpu_blocks": 400,
}
# What makes it bind, and in how many of 400 scenarios it must at least.
WHERE: dict[str, tuple[Mapping[str, Any], int]] = {
    "drafted_hits_end_early": (DRAFTED, 1),
    "long_prefill_token_threshold_alone": ({"long_prefill_token_threshold": 2}, 100),
    "freed_blocks_in_line": ({"enable_prefix_caching": True}, 8),
    "idle_victim_skips_next": ({"async_scheduling": True, "scheduling_policy": "priority"}, 2),
}


@pytest.mark.parametrize("way", WHERE)
def test_an_old_way_binds_and_both_engines_follow_it(way: str) -> None:
    where, least = WHERE[way]
    bound = 0
    for seed in range(400):
        case = draw_case(random.Random(f"{way} {seed}"))
        calls, cost, cancels = case.calls, case.cost, case.cancels
        off: dict[str, Any] = dict.fromkeys(OLD_WAYS, False)
        on: dict[str, Any] = {way: True}
        newest = replace(case.config, **where, **off)
        old = replace(newest, **on)
        try:
            expected = naive_simulate(calls, old, cost, cancels)
            other = naive_simulate(calls, newest, cost, cancels)
        except LivelockError:
            continue
        if not old.stepwise:
            assert difference(expected, lazy_simulate(calls, old, cost, cancels)) == ""
        bound += expected.steps != other.steps
    assert bound >= least


def test_every_old_way_is_tested() -> None:
    assert set(OLD_WAYS) == set(WHERE)
