"""Programs by the queueing models: calls as batch arrivals, answers by fork and join."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.models.queueing.networks import fork_join_bounds, join_bounds
from foretell.sim import Scenario, forecast
from foretell.sim.analytic import analyse

SCENARIO: dict[str, Any] = {
    "workload": {
        "task": "math-500",
        "arrivals": {"process": "poisson", "rate_per_s": 0.012},
        "num_requests": 800,
    },
    "pools": {"solver": {"model": "qwen3-1.7b", "hardware": "l40s"}},
    "strategy": {"name": "single"},
    "replications": 1,
}
VOTE = {"name": "self_consistency", "n": 4}


def scenario(strategy: dict[str, Any], **changes: Any) -> Scenario:
    return Scenario.from_dict({**SCENARIO, "strategy": strategy}).replace(**changes)


def test_a_program_gets_the_figures_of_a_forecast() -> None:
    asked = scenario(VOTE)
    at, truth = analyse(asked).figures, forecast(asked).summary
    assert at["accuracy"] == pytest.approx(truth["accuracy"].value, abs=0.03)
    assert at["calls_per_query"] == 4
    for name in ("tokens_per_query", "e2e_mean_s", "e2e_p50_s", "mean_batch", "energy_per_query_J"):
        assert at[name] == pytest.approx(truth[name].value, rel=0.35), name
    assert at["load"] < 0.5
    assert at["usd_per_correct"] == pytest.approx(at["usd_per_query"] / at["accuracy"])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [{"name": "single"}, VOTE, {"name": "first_finish", "n": 4}])
def test_long_runs_agree_closer(strategy: dict[str, Any]) -> None:
    rate = 0.3 * analyse(scenario(strategy)).figures["capacity_rps"]
    asked = scenario(strategy, **{"workload.arrivals.rate_per_s": rate, "workload.num_requests": 3000})
    at, truth = analyse(asked).figures, forecast(asked).summary
    assert at["e2e_mean_s"] == pytest.approx(truth["e2e_mean_s"].value, rel=0.20)
    assert at["e2e_p99_s"] == pytest.approx(truth["e2e_p99_s"].value, rel=0.40)
    assert at["mean_batch"] == pytest.approx(truth["mean_batch"].value, rel=0.25)


def test_siblings_come_together_and_the_query_waits_for_the_longest() -> None:
    """At the same load of tokens a vote of four has longer queries, within the bounds of fork and join."""
    alone = analyse(scenario({"name": "single"}, **{"workload.arrivals.rate_per_s": 0.048})).figures
    vote = analyse(scenario(VOTE)).figures
    assert vote["tokens_per_query"] == pytest.approx(4 * alone["tokens_per_query"])
    assert vote["e2e_mean_s"] > 1.2 * alone["e2e_mean_s"]
    assert vote["e2e_mean_least_s"] < vote["e2e_mean_s"] < vote["e2e_mean_most_s"]
    assert "e2e_mean_least_s" not in alone


def test_the_first_to_end_is_within_its_bounds_too() -> None:
    first = analyse(scenario({"name": "first_finish", "n": 4})).figures
    assert first["e2e_mean_s"] < analyse(scenario(VOTE)).figures["e2e_mean_s"]


def test_two_pools_have_a_load_each() -> None:
    judge = {"name": "best_of_n", "n": 4, "verifier": {"pool": "judge", "auc": 0.8}}
    pools = {**SCENARIO["pools"], "judge": {"model": "qwen2.5-7b", "hardware": "l40s"}}
    at = analyse(Scenario.from_dict({**SCENARIO, "pools": pools, "strategy": judge})).figures
    alone = analyse(scenario(VOTE)).figures
    assert at["load"] == pytest.approx(alone["load"], rel=0.02)
    assert at["e2e_mean_s"] > alone["e2e_mean_s"]
    assert at["usd_per_h"] == pytest.approx(2 * alone["usd_per_h"])


def test_what_has_no_closed_form_is_told() -> None:
    with pytest.raises(ValueError, match=r"^strategy.name: .* has no closed form"):
        analyse(scenario({"name": "beam_search", "verifier": {"auc": 0.8}}))
    with pytest.raises(ValueError, match=r"^workload.deadline_s"):
        analyse(scenario(VOTE, **{"workload.deadline_s": 60}))
    over = analyse(scenario(VOTE, **{"workload.arrivals.rate_per_s": 1.0}))
    assert over.figures["e2e_mean_s"] == float("inf")
    assert any(note.startswith("overloaded") for note in over.notes)


def test_bounds_hold_for_whatever_siblings_have_in_common() -> None:
    rng = np.random.default_rng(1)
    common, own = rng.exponential(1.0, (20_000, 1)), rng.exponential(1.0, (20_000, 4))
    for part in (0.0, 0.5, 0.95):
        times = part * common + (1 - part) * own
        low, high = join_bounds(times.ravel(), 4)
        assert low <= times.max(1).mean() <= high * 1.01
        low, high = join_bounds(times.ravel(), 4, first=True)
        assert low * 0.99 <= times.min(1).mean() <= high
    exponential = -np.log1p(-(np.arange(100_000) + 0.5) / 100_000)
    assert join_bounds(exponential, 4)[1] == pytest.approx(
        (1 - 0.5) * fork_join_bounds(0.5, 1.0, 4)[1], rel=1e-3
    )
