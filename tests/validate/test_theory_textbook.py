"""Textbook queues on foretell's engines: path by path, by replications, and that a wrong theory is found."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from foretell.models.queueing import mg1, mmc
from foretell.validate.theory_ciw import ciw_models
from foretell.validate.theory_laws import Geometrics, Listed, hyperexponential, lognormal
from foretell.validate.theory_players import arrivals, by_answers, by_prompts, kiefer_wolfowitz, lindley
from foretell.validate.theory_replications import QUICK_SWEEP, Sweep, judge, sweep
from foretell.validate.theory_slotted import slotted_mmc
from foretell.validate.theory_textbook import LONG, MODELS, VARIED, Model
from theory_sample import row

SHORT = Sweep((0.6,), 8, 3000, 20.0, 1)


def named(name: str, by: str = "engine") -> Model:
    return next(model for model in MODELS if model.name == name and model.by == by)


@pytest.mark.parametrize("law", [Geometrics((20.0,)), hyperexponential(200.0, 4.0), lognormal(40, 1.0)])
def test_laws_have_the_moments_that_they_say(law: Geometrics | Listed) -> None:
    draws = law.draw(np.random.default_rng(1), 400_000)
    assert draws.min() >= 1
    assert draws.mean() == pytest.approx(law.mean, rel=0.01)
    assert draws.var() / draws.mean() ** 2 == pytest.approx(law.scv, rel=0.05)


def test_an_engine_with_one_slot_is_lindleys_queue_path_by_path() -> None:
    """Not in the mean only: every request of it, in a queue that is nearly full."""
    rng = np.random.default_rng(2)
    times = arrivals(rng, 0.97, 5000, 2.0)
    tokens = LONG.draw(rng, 5000)
    waits, ends = by_prompts(times, tokens, 1 / LONG.mean)
    expected = lindley(times, tokens / LONG.mean)
    assert np.allclose(waits, expected, atol=1e-7)
    assert np.allclose(ends, times + expected + tokens / LONG.mean)
    answers = VARIED.draw(rng, 2000)
    waits, _ = by_answers(times[:2000], answers, 1 / VARIED.mean)
    assert np.allclose(waits, lindley(times[:2000], answers / VARIED.mean), atol=1e-7)


def test_several_servers_by_recursion_are_one_server_where_they_must() -> None:
    rng = np.random.default_rng(3)
    times, takes = arrivals(rng, 0.8, 3000), rng.exponential(1.0, 3000)
    assert np.allclose(kiefer_wolfowitz(times, takes, 1), lindley(times, takes))


def test_slots_become_servers_as_steps_become_short() -> None:
    assert slotted_mmc(0.5, 100, 0.01, 1) == pytest.approx(mg1(0.5, 1.0, 0.99).wait_s, rel=1e-6)
    exact = mmc(6.4, 1.0, 8).wait_s
    errors = [slotted_mmc(6.4, 1 / step, step, 8) / exact - 1 for step in (0.1, 0.01, 0.001)]
    assert errors[0] > errors[1] > errors[2] > 0
    assert errors[2] < 0.002
    with pytest.raises(ValueError, match=r"^rate_per_s: load 1"):
        slotted_mmc(8.0, 10, 0.1, 8)


@pytest.mark.parametrize(
    "name",
    ["M/M/1", "M/M/8, slots of an engine", "M/D/1", "M/G/1, answers cut at a limit", "bulk service, dynamic"],
)
def test_theory_is_inside_the_intervals(name: str) -> None:
    model = named(name)
    rows = list(sweep([replace(model, loads=(0.6,))], SHORT, 11))
    assert rows
    assert not judge(rows).outside
    assert all(one.spread < 0.2 for one in rows)


def test_a_wrong_theory_is_found() -> None:
    """The wait of M/M/1 is not that of M/D/1, nor is an upper bound at half of it one."""
    wrong = replace(named("M/M/1"), theory=lambda rho: mg1(rho, 1.0, 0.0).wait_s)
    bound = replace(wrong, kind="upper bound")
    (first, second), loads = sweep([wrong, bound], SHORT, 5), SHORT.loads
    assert loads == (0.6,)
    assert first.off == pytest.approx(-0.5, abs=0.1)
    assert judge([first]).outside == (first,)
    assert judge([second]).outside == (second,)
    assert not judge([replace(second, kind="lower bound")]).outside


def test_intervals_are_wider_where_more_are_asked() -> None:
    """One of 1.02 ± 0.02 lies a standard error off; so does each of a hundred of them."""
    one, many = judge([row()]), judge([row()] * 100)
    assert one.level == pytest.approx(0.99)
    assert many.level == pytest.approx(0.9999)
    assert not many.outside
    off = row(theory=0.95)  # 3.5 standard errors: beyond 99 % of t with 9 degrees, not beyond 99.99 %
    assert judge([off]).outside == (off,)
    assert not judge([off, *[row()] * 99]).outside
    found = judge([off] * 3 + [row()] * 17)
    assert (found.beyond_95, found.exact) == (3, 20)
    assert found.chance == pytest.approx(
        1 - sum(math.comb(20, k) * 0.05**k * 0.95 ** (20 - k) for k in range(3))
    )


def test_approximations_are_not_judged() -> None:
    found = judge([row(kind="approximation", theory=9.0)])
    assert (found.rows, found.exact, found.outside) == (0, 0, ())


def test_queues_by_ciw_are_inside_too() -> None:
    pytest.importorskip("ciw")
    models = [replace(m, loads=(0.6,)) for m in ciw_models() if m.name in ("M/D/1", "M^[X]/M/1")]
    rows = list(sweep(models, Sweep((0.6,), 8, 1500, 10.0), 1))
    assert len(rows) == 2
    assert not judge(rows).outside


@pytest.mark.slow
def test_the_quick_sweep_is_inside() -> None:
    found = judge(sweep(MODELS, QUICK_SWEEP, 3))
    assert not found.outside
    assert found.chance > 1e-3
