"""Where the time went: shares of the busy time, by hand for a cost whose parts are known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import places
from foretell.models import AffineCost, StepCost, StepLoad
from foretell.sim import EngineConfig, Scenario, simulate
from foretell.sim.bounds import FIGURES, bound_shares
from foretell.sim.deployment import deploy
from foretell.traces import Trace


def deployed(model: str) -> StepCost:
    scenario = Scenario.load(places.example("chat.yaml")).replace(
        **{"pools.chat.model": model, "pools.chat.operator_times": "curves"}
    )
    return deploy(scenario.pool, 2000.0).engines[0].cost


CONFIG = EngineConfig(num_gpu_blocks=1000, max_num_batched_tokens=2048, max_model_len=8192)


def test_shares_of_an_affine_cost_by_hand() -> None:
    """One prompt of 100 tokens and 9 decodes: 109 tokens, 10 entries, contexts 101 to 109."""
    cost = AffineCost(0.01, 1e-4, 1e-3, 1e-5)
    trace = Trace(arrival_s=np.zeros(1), prompt_tokens=np.array([100]), output_tokens=np.array([10]))
    shares = bound_shares(simulate(trace, cost, CONFIG), [cost])
    host, compute, memory = 10 * 0.01 + 10 * 1e-3, 109 * 1e-4, sum(range(101, 110)) * 1e-5
    whole = host + compute + memory
    assert shares["time_bound_by_host"] == pytest.approx(host / whole)
    assert shares["time_bound_by_compute"] == pytest.approx(compute / whole)
    assert shares["time_bound_by_memory"] == pytest.approx(memory / whole)
    assert sum(shares.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("prefix_caching", [False, True])
def test_shares_are_those_of_the_steps(prefix_caching: bool) -> None:
    """Of a cost that is not linear, the mean step would have parts that no step has."""
    cost = deployed("llama-3.1-8b")
    config = dataclasses.replace(CONFIG, enable_prefix_caching=prefix_caching)
    rng = np.random.default_rng(0)
    trace = Trace(
        arrival_s=np.cumsum(rng.exponential(0.3, 200)),
        prompt_tokens=rng.integers(500, 4000, 200),
        output_tokens=rng.integers(50, 300, 200),
    )
    run = simulate(trace, cost, config, loads=True)
    assert run.loads is not None
    rows = run.loads[0]
    parts = cost.breakdown(*StepLoad(*rows[:, 3:10].T))
    whole = sum(np.asarray(part) for part in parts.values())
    spent = rows[:, 1] - rows[:, 0]
    shares = bound_shares(run, [cost])
    for name, part in parts.items():
        true = float(np.sum(spent * part / whole) / spent.sum())
        assert shares[f"time_bound_by_{name}"] == pytest.approx(true, abs=0.02), name
    assert 0.1 < shares["time_bound_by_compute"] < 0.9  # both kinds have their say


def test_engines_that_never_ran_have_no_say() -> None:
    fast, slow = AffineCost(0.01), AffineCost(0.0, 1e-3)
    trace = Trace(arrival_s=np.zeros(1), prompt_tokens=np.array([10]), output_tokens=np.array([2]))
    run = simulate(trace, fast, CONFIG, replicas=2)
    assert bound_shares(run, [fast, slow])["time_bound_by_host"] == pytest.approx(1.0)
    run = simulate(trace, fast, CONFIG)
    assert set(bound_shares(run, [fast])) == set(FIGURES)
    assert not any(math.isnan(value) for value in bound_shares(run, [fast]).values())
