"""The stepwise engine against the lazy one where both go, and what it must keep where only it goes."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cases import LARGE, SMALL, Case, draw_case
from foretell.models.stepcost import AffineCost
from foretell.sim.config import EngineConfig
from foretell.sim.engine import Batch, Engine
from foretell.sim.request import Request
from foretell.sim.serve import serve_on
from foretell.sim.stepwise import StepwiseEngine
from foretell.sim.walk import LivelockError

Told = list[tuple[float, float, list[tuple[str, int, int]]]]


def run(case: Case, engine: type[Engine] | type[StepwiseEngine]) -> tuple[Told, list[Request], object]:
    """Serve a case with one of the engines."""
    told: Told = []

    def on_step(step: int, start_s: float, end_s: float, batch: Batch) -> None:
        assert step == len(told)
        told.append((start_s, end_s, [(request.id, n, c) for request, n, c in batch]))

    made = engine(case.config, case.cost, on_step=on_step, record_loads=True)
    requests = [call.request(case.cancels.get(call.id, math.inf)) for call in case.calls]
    serve_on(made, requests)
    assert made.pool.free == case.config.num_gpu_blocks - 1, "a block was lost"
    assert made.outstanding == made.n_waiting == 0
    stats = replace(made.stats, kv_block_seconds=0.0)  # the lazy engine takes runs of decoding as linear
    return told, requests, stats


def outcomes(requests: list[Request]) -> list[tuple[object, ...]]:
    return [(r.id, r.status, r.first_token_s, r.finish_s, r.n_preemptions, r.cached_tokens) for r in requests]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_it_equals_the_lazy_engine(size: object) -> None:
    """Bit for bit: batches, times, outcomes and totals."""
    for seed in range(1000 if size is SMALL else 30):
        case = draw_case(random.Random(seed), SMALL if size is SMALL else LARGE)
        try:
            lazy = run(case, Engine)
        except LivelockError:
            with pytest.raises(LivelockError):
                run(case, StepwiseEngine)
            continue
        stepwise = run(case, StepwiseEngine)
        assert stepwise[0] == lazy[0], seed
        assert outcomes(stepwise[1]) == outcomes(lazy[1]), seed
        assert stepwise[2] == lazy[2], seed
