"""Chances in closed form, from few draws: near the capacity they know of overload that no draw has shown."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foretell.sim.closed_form_verdict import verdict
from foretell.sim.intervals import chance_below, estimate
from foretell.sim.objectives import objective_from_flag

SLOW = objective_from_flag("e2e:p99:1s")


def test_a_chance_is_no_greater_than_that_of_keeping_up() -> None:
    loads = [0.8, 0.97, 0.88, 0.91, 0.84, 0.95, 0.9, 0.86]
    quick = [0.1, 0.11, 0.1, 0.12, 0.1, 0.11, 0.1, 0.11]
    summary = {SLOW.key: estimate(quick), "load": estimate(loads)}
    assert verdict(SLOW, summary).probability == pytest.approx(chance_below(loads, 1.0))
    assert 0.8 < chance_below(loads, 1.0) < 0.99
    assert verdict(SLOW, {SLOW.key: estimate(quick)}).probability > 0.995
    for same in (0.5, 1.0):  # nothing varies; a closed loop's load is 1 for ever
        assert verdict(SLOW, summary | {"load": estimate([same] * 8)}).probability > 0.995
    cheap = objective_from_flag("accuracy:50%")
    right = {cheap.key: estimate([0.9] * 8), "load": estimate(loads)}
    assert verdict(cheap, right).probability == 1.0  # overload makes no answer wrong


def test_few_of_the_sure_are_not() -> None:
    """M/M/1 waits of a load that is not known for sure: where 19 of 20 draws meet, few eights are sure."""
    rng = np.random.default_rng(7)
    loads = 0.75 * np.exp(0.16 * rng.standard_normal((400, 8)))
    times = np.where(loads < 1, 0.02 / np.maximum(1 - loads, 1e-9), np.nan)
    limit = float(np.quantile(np.where(np.isnan(times), math.inf, times), 0.95))
    asked = objective_from_flag(f"e2e:p99:{limit}s")
    told, alone = [], []
    for load, time in zip(loads.tolist(), times.tolist(), strict=True):
        summary = {asked.key: estimate(time, nominal=[0.08]), "load": estimate(load)}
        told.append(verdict(asked, summary).probability)
        alone.append(verdict(asked, {asked.key: summary[asked.key]}).probability)
    assert np.mean(np.array(told) >= 0.995) < 0.15 < np.mean(np.array(alone) >= 0.995)
    assert 0.87 < np.mean(told) < 0.97
